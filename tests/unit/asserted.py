"""A log as an assertion sees it, made of the ledger's own events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from modelkeep.events import inventory, policy
from modelkeep.events.base import Event, encode
from modelkeep.events.monitoring import BatchRecorded
from modelkeep.events.types import Person
from modelkeep.proof.assertion import Asserting, Scope
from modelkeep.proof.assertions import asked
from modelkeep.proof.note import SigningKey
from modelkeep.proof.reading import Seen
from modelkeep.proof.report import Asserted
from modelkeep.proof.signer import Signer
from modelkeep.store.port import ANY, NewEvent
from modelkeep.store.sqlite import SqliteStore

T0 = datetime(2013, 4, 1, 9, tzinfo=UTC)
DIGEST = f"sha256:{'d' * 64}"
BUNDLE = f"sha256:{'b' * 64}"
MODEL, VERSION, PROD, PROMOTE = "fraud", "v1", "prod", "promote"
TIER_1 = ("risk_officer", "validator", "business_owner")


def person(name: str) -> Person:
    return Person(issuer="idp", subject=name)


RITA, VIK, BEA, DANA, OMAR = map(person, ("rita", "vik", "bea", "dana", "omar"))
ROLES = {"rita": "risk_officer", "vik": "validator", "bea": "business_owner"}


class Log:
    """`add` events one after another; ask what is true `of` all of them."""

    def __init__(self) -> None:
        self.events: list[tuple[str, NewEvent]] = []
        self.now = T0

    def add(
        self, key: str, event: Event, by: Person = DANA, *, roles: str = "engineer"
    ) -> str:
        """Return the event's id. `key` is a stream without its tenant."""
        category, _, name = key.partition(".")
        around = {
            "known_at": self.now.isoformat(timespec="microseconds")[:26] + "Z",
            "tenant": "main",
            "actor_issuer": by.issuer,
            "actor_subject": by.subject,
            "actor_roles": roles,
        }
        id_ = UUID(int=len(self.events) + 1)
        new = NewEvent(
            id_,
            event.event_name,
            event.event_version,
            encode(event),
            json.dumps(around, separators=(",", ":")).encode(),
        )
        self.events.append((f"{category}-main.{name}", new))
        return str(id_)

    def seen(self) -> Sequence[Seen]:
        versions: dict[str, int] = {}
        found: list[Seen] = []
        for leaf, (stream, new) in enumerate(self.events):
            version = versions.get(stream, 0)
            versions[stream] = version + 1
            found.append(
                Seen(leaf, stream, version, new.id.bytes, *new[1:]),
            )
        return found

    def sign(self, folder: Path, *, time: str) -> list[str]:
        """Write it as a ledger and sign it; return the command line that checks it."""
        origin = "bank.example/ledger"
        key = SigningKey(origin, bytes(range(32)))
        signer = Signer(
            key, origin, state=folder / "signer", published=folder / "published"
        )
        path = folder / "ledger.db"
        with SqliteStore(path, origin=origin) as store:
            for stream, event in self.events:
                store.append(stream, [event], expected=ANY)
            signer.sign(store.frozen_tree(), time=time)
        published = str(folder / "published")
        return [str(path), "--checkpoint", published, "--key", str(key.verifier)]

    def of(self, name: str, scope: Scope | None = None) -> Asserted:
        watch = Asserting(asked([name], scope or Scope()), len(self.events))
        for seen in self.seen():
            if seen.name in watch.names:
                watch.take(seen)
        (result,) = watch.finish(None).each
        return result


def barred(who: Person, why: str) -> policy.Barred:
    return policy.Barred(person=who, why=why)


def duty(*roles: str) -> policy.Duty:
    seats = tuple(policy.Seats(role=role, count=1) for role in roles)
    return policy.Duty(policy="quorum", seats=seats, max_age_s=14 * 86_400)


def given(request: str, *roles: str, **more: object) -> policy.VerdictGiven:
    said: dict[str, object] = {
        "request": request,
        "action": PROMOTE,
        "model": MODEL,
        "version": VERSION,
        "digest": DIGEST,
        "environment": PROD,
        "tier": 1,
        "verdict": "pending" if roles else "allow",
        "bundle": BUNDLE,
        "bundle_name": "baseline",
        "bundle_version": "1",
        "engine": "cel",
        "descriptor": DIGEST,
        "facts": "",
        "facts_digest": DIGEST,
        "stood_at": 0,
        "duties": (duty(*roles),) if roles else (),
        "parties": (barred(DANA, "a developer"), barred(OMAR, "the owner")),
        "requested_by": DANA,
        "human": True,
        "expires_at": T0 + timedelta(days=30),
    }
    return policy.VerdictGiven.model_validate(said | more)


def approval(
    by: Person, at: datetime, request: str, roles: str, **more: object
) -> policy.Approval:
    said: dict[str, object] = {
        "by": by,
        "roles": tuple(sorted(roles.split(","))),
        "at": at,
        "request": request,
    }
    return policy.Approval.model_validate(said | more)


def approved(one: policy.Approval, **more: object) -> policy.Approved:
    said: dict[str, object] = {
        "request": one.request,
        "model": MODEL,
        "action": PROMOTE,
        "environment": PROD,
        "digest": DIGEST,
        "by": one.by,
        "roles": one.roles,
        "at": one.at,
        "expires_at": one.expires_at,
        "lent": one.lent,
    }
    return policy.Approved.model_validate(said | more)


def settled(
    request: str, approvals: Sequence[policy.Approval], **more: object
) -> policy.VerdictSettled:
    said: dict[str, object] = {
        "request": request,
        "action": PROMOTE,
        "model": MODEL,
        "version": VERSION,
        "digest": DIGEST,
        "environment": PROD,
        "tier": 1,
        "verdict": "allow",
        "bundle": BUNDLE,
        "facts_digest": DIGEST,
        "approvals": tuple(approvals),
        "requested_by": DANA,
        "expires_at": T0 + timedelta(days=14),
    }
    return policy.VerdictSettled.model_validate(said | more)


def deployed(source: str, **more: object) -> inventory.Deployed:
    said: dict[str, object] = {
        "model": MODEL,
        "version": VERSION,
        "digest": DIGEST,
        "environment": PROD,
        "share": 1.0,
        "verdict_source": source,
        "by": DANA,
    }
    return inventory.Deployed.model_validate(said | more)


def batch(**more: object) -> BatchRecorded:
    said: dict[str, object] = {
        "model": MODEL,
        "version": VERSION,
        "environment": PROD,
        "batch": str(UUID(int=7)),
        "sent": (),
        "rows": 0,
        "root": DIGEST,
        "row_schema": DIGEST,
        "address": "a",
        "file_digest": DIGEST,
        "file_bytes": 1,
        "first_id": str(UUID(int=1)),
        "last_id": str(UUID(int=1)),
        "first_at": T0,
        "last_at": T0,
    }
    return BatchRecorded.model_validate(said | more)


def agreed(log: Log, request: str = "r1", *people: Person) -> str:
    """A tier-1 promotion that three people agreed on; return the settling event's id.

    Without some of them it is as somebody would write it who cannot wait.
    """
    stream = f"request.{request}"
    log.add(stream, given(request, *TIER_1))
    said = []
    for who in people or (RITA, VIK, BEA):
        one = approval(who, log.now, request, ROLES[who.subject])
        log.add(stream, approved(one), who, roles=ROLES[who.subject])
        said.append(one)
    return log.add(stream, settled(request, said), BEA)
