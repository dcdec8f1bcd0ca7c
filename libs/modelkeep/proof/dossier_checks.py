"""What a dossier must be for its claims to hold: each check says which part it is of.

Hashes lead from the row to its batch, from each event to the log, from the log to a key
that the reader got elsewhere. Beyond that the parts must be of one another: the version
that decided, its artifacts, the verdict on them, the approvals of that verdict; and
what is said to have been known then must have been known then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from modelkeep.proof import checkpoint, verdict
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.dossier import Cited, Claim, Dossier, Moment, Proven
from modelkeep.proof.errors import ProofError
from modelkeep.proof.leaf import Leafer
from modelkeep.proof.merkle import leaf_hash, verify_inclusion
from modelkeep.proof.note import VerifierKey

BATCH: Final = "monitoring.batch-recorded"
OUTCOMES: Final = "monitoring.outcomes-recorded"
ALLOWED: Final = "allow"
NODES: Final = "models"
"""The namespace that a version's node of the lineage is in."""


def _named(service: str, *names: str) -> frozenset[str]:
    return frozenset(f"{service}.{name}" for name in names)


KINDS: Final[Mapping[str, frozenset[str]]] = {
    "model": _named(
        "inventory",
        "model-registered",
        "model-classified",
        "override-expired",
        "uses-approved",
        "role-assigned",
        "role-vacated",
        "suspended",
        "resumed",
        "retired",
    ),
    "version": _named("inventory", "version-registered"),
    "card": _named("inventory", "card-attached"),
    "deployment": _named("inventory", "deployed", "traffic-set", "rolled-back"),
    "validation": _named("inventory", "validation-recorded"),
    "finding": _named(
        "inventory",
        "finding-raised",
        "finding-responded",
        "finding-overdue",
        "finding-closed",
        "risk-accepted",
    ),
    "verdict": _named(
        "policy",
        "verdict-given",
        "verdict-settled",
        "verdict-revoked",
        "approved",
        "rejected",
    ),
    "bundle": _named(
        "policy", "bundle-proposed", "bundle-approved", "bundle-activated"
    ),
    "exception": _named(
        "policy", "exception-granted", "exception-withdrawn", "exception-expired"
    ),
    "lineage": _named("lineage", "node-recorded", "linked"),
    "manifest": _named("lineage", "manifest-recorded"),
    "baseline": _named("monitoring", "baseline-registered"),
    "window": _named("monitoring", "window-closed", "window-restated"),
    "alert": _named(
        "monitoring", "alert-raised", "alert-acknowledged", "alert-resolved"
    ),
    "autonomy": _named("monitoring", "autonomy-raised", "autonomy-lowered"),
    "disposition": _named("monitoring", "disposition-recorded"),
    "health": _named("insight", "health-band-changed"),
    "budget": _named(
        "insight",
        "budget-defined",
        "budget-slowed",
        "budget-eased",
        "budget-exhausted",
    ),
}
"""The events that a claim of a kind may rest on. Evidence may be any event."""
EVIDENCE: Final = "evidence"
OF_NO_MODEL: Final = frozenset({EVIDENCE, "bundle", "lineage", "manifest"})


class Check(NamedTuple):
    """One thing that was looked at, and whether it is as it must be."""

    what: str
    holds: bool


def checks(dossier: Dossier, keys: Sequence[VerifierKey]) -> Iterator[Check]:
    """Hold a dossier against the log's public keys. Raises nothing of the file's."""
    signed = _signed(dossier, keys)
    if isinstance(signed, str):
        yield Check(f"the checkpoint: {signed}", holds=False)
        return
    when = f" on {signed.time}" if signed.time else ""
    yield Check(
        f"a log of {signed.size:,} events was signed by {signed.origin}{when}",
        holds=True,
    )
    yield from _events(dossier, signed)
    yield from _row(dossier)
    yield from _outcome(dossier)
    for name, moment in (("then", dossier.then), ("now", dossier.now)):
        yield from _moment(dossier, name, moment)
    yield from _parts(dossier)


def _signed(dossier: Dossier, keys: Sequence[VerifierKey]) -> Checkpoint | str:
    try:
        signed, _ = checkpoint.open_signed(dossier.checkpoint.encode(), keys)
    except (ProofError, UnicodeEncodeError) as error:
        return str(error)
    if signed.origin != dossier.origin:
        return f"it is of {signed.origin}, not of {dossier.origin}"
    return signed


def _events(dossier: Dossier, signed: Checkpoint) -> Iterator[Check]:
    leafer, wrong = Leafer(signed.origin), 0
    for event in dossier.events.values():
        if not _in_log(leafer, event, signed):
            wrong += 1
            yield Check(
                f"event {event.id} ({event.name}, {event.stream}@{event.version}) is"
                f" number {event.rank + 1:,} of that log",
                holds=False,
            )
    if not wrong:
        yield Check(f"all {len(dossier.events):,} events cited are in it", holds=True)


def _in_log(leafer: Leafer, event: Cited, signed: Checkpoint) -> bool:
    try:
        leaf = leafer.leaf(
            event.stream,
            event.version,
            event.id.bytes,
            event.name,
            event.schema_version,
            event.data.encode(),
            event.metadata.encode(),
        )
    except ProofError:
        return False
    return verify_inclusion(leaf, event.rank, signed.size, event.path, signed.root)


# --- rows --------------------------------------------------------------------------


def _row(dossier: Dossier) -> Iterator[Check]:
    proven, schema = dossier.proven, dossier.schema
    try:
        octets = dossier.row_bytes()
    except ProofError as error:
        yield Check(f"the decision's row: {error}", holds=False)
        return
    batch = dossier.events.get(proven.event)
    yield from _batch(dossier, "the decision", proven, octets, BATCH)
    if batch is None:
        return
    said = batch.said
    yield Check(
        f"that batch is of {schema.model} {schema.version} in {schema.environment}",
        (said.get("model"), said.get("version"), said.get("environment"))
        == (schema.model, schema.version, schema.environment)
        and said.get("row_schema") == f"sha256:{schema.digest.hex()}",
    )
    yield Check(
        "the signed statement is about that row",
        dossier.subject == hashlib.sha256(octets).hexdigest(),
    )


def _outcome(dossier: Dossier) -> Iterator[Check]:
    if dossier.outcome is None:
        return
    try:
        octets = dossier.outcome_bytes()
    except ProofError as error:
        yield Check(f"the outcome's row: {error}", holds=False)
        return
    proven = dossier.outcome.proven
    yield from _batch(dossier, "the outcome", proven, octets, OUTCOMES)
    event = dossier.events.get(proven.event)
    if event is not None:
        yield Check(
            f"those outcomes are of {dossier.schema.model}",
            event.said.get("model") == dossier.schema.model,
        )


def _batch(
    dossier: Dossier, what: str, proven: Proven, octets: bytes, name: str
) -> Iterator[Check]:
    event = dossier.events.get(proven.event)
    if event is None or event.name != name:
        yield Check(f"{what}'s batch is recorded in event {proven.event}", holds=False)
        return
    if proves_columns(event):
        yield Check(
            f"{what} is said to be one of {proven.rows:,} in the batch of event"
            f" {event.id}, which proves columns",
            event.said.get("rows") == proven.rows
            and proven.place < proven.rows
            and not proven.path,
        )
        return
    leaf, root = leaf_hash(octets), _digest(event.said.get("root"))
    yield Check(
        f"{what} is row {proven.place + 1:,} of {proven.rows:,} under the root in event"
        f" {event.id}",
        event.said.get("rows") == proven.rows
        and verify_inclusion(leaf, proven.place, proven.rows, proven.path, root),
    )


def proves_columns(batch: Cited) -> bool:
    """Whether the leaves under a batch's root are its columns, as was chosen for some
    models: then no row of it can be proven alone.
    """
    return batch.name == BATCH and batch.said.get("proof") == "columns"


def _digest(said: object) -> bytes:
    try:
        return bytes.fromhex(str(said).removeprefix("sha256:"))
    except ValueError:
        return b""


# --- claims ------------------------------------------------------------------------


def _moment(dossier: Dossier, name: str, moment: Moment) -> Iterator[Check]:
    wrong = 0
    for claim in moment.claims:
        for said in _wrong(dossier, claim, moment.time):
            wrong += 1
            yield Check(f"{name}: {claim.kind} {claim.key} {said}", holds=False)
    cited = {event for claim in moment.claims for event in claim.events}
    if name == "then" and moment.time != dossier.at:
        yield Check("then is when the decision was made", holds=False)
    if not wrong:
        yield Check(
            f"{name}: {len(moment.claims):,} claims rest on {len(cited):,} of these"
            f" events, all known by {_spelled(moment.time)}",
            holds=True,
        )


def _wrong(dossier: Dossier, claim: Claim, until: datetime) -> Iterator[str]:
    if claim.kind != EVIDENCE and claim.kind not in KINDS:
        yield "is of no known kind"
        return
    if not claim.events:
        yield "rests on nothing"
    for one in claim.events:
        event = dossier.events.get(one)
        if event is None:
            yield f"rests on event {one}, which is not here"
            continue
        if claim.kind != EVIDENCE and event.name not in KINDS[claim.kind]:
            yield f"rests on event {one}, which is {event.name}"
        if claim.kind not in OF_NO_MODEL and not _of_model(event, dossier):
            yield f"rests on event {one}, which is of {event.said.get('model')}"
        try:
            late = event.known_at > until
        except ProofError as error:
            yield str(error)
            continue
        if late:
            yield f"rests on event {one}, which was not known by then"


def _of_model(event: Cited, dossier: Dossier) -> bool:
    return event.said.get("model") == dossier.schema.model


def _spelled(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


# --- what belongs together ---------------------------------------------------------


def _parts(dossier: Dossier) -> Iterator[Check]:
    for look in (_version, _card, _verdict, _deployment, _lineage, _disposition):
        yield from look(dossier, _cited(dossier))


Look = Callable[[str], list[Cited]]


def _cited(dossier: Dossier) -> Look:
    """Return what finds the events behind the claims of a kind, then before now."""

    def find(kind: str) -> list[Cited]:
        claims = [*dossier.then.claims, *dossier.now.claims]
        ids = [one for c in claims if c.kind == kind for one in c.events]
        known = dossier.events
        return [known[one] for one in dict.fromkeys(ids) if one in known]

    return find


def _version(dossier: Dossier, cited: Look) -> Iterator[Check]:
    schema = dossier.schema
    for event in cited("version"):
        listed = event.said.get("artifacts")
        digests = [
            str(one.get("digest"))
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict)
        ]
        mine = event.said.get("version") == schema.version
        yield Check(
            f"{schema.model} {schema.version} is made of its {len(digests)} artifacts",
            mine and event.said.get("digest") == verdict.version_digest(digests),
        )


def _card(dossier: Dossier, cited: Look) -> Iterator[Check]:
    if dossier.card is None:
        return
    found = (
        "sha256:" + hashlib.sha256(dossier.card.encode(errors="replace")).hexdigest()
    )
    held = {str(event.said.get("card_digest")) for event in cited("card")}
    yield Check("the model card is the one that was attached", found in held)


def _let(dossier: Dossier) -> list[Claim]:
    return [
        claim
        for claim in dossier.then.claims
        if claim.kind == "verdict" and claim.derived.get("let_it_serve") is True
    ]


def _verdict(dossier: Dossier, _: Look) -> Iterator[Check]:
    for claim in _let(dossier):
        if claim.events:
            events = [dossier.events[e] for e in claim.events if e in dossier.events]
            yield from _let_through(dossier, claim.key, events)


def _let_through(
    dossier: Dossier, request: str, events: Sequence[Cited]
) -> Iterator[Check]:
    schema = dossier.schema
    given = [one for one in events if one.name == "policy.verdict-given"]
    settled = [one for one in events if one.name == "policy.verdict-settled"]
    answers = [*given, *settled]
    allowed = bool(given) and answers[-1].said.get("verdict") == ALLOWED
    people = [one for one in events if one.name == "policy.approved"]
    yield Check(
        f"policy allowed it in request {request}, with {_approvals(len(people))}",
        allowed
        and all(one.said.get("request") == request for one in answers)
        and all(one.said.get("version") == schema.version for one in answers),
    )
    digests = {str(one.said.get("digest")) for one in (*answers, *people)}
    built = {str(e.said.get("digest")) for e in _cited(dossier)("version")}
    if built:
        yield Check("those judged and approved these very artifacts", digests == built)


def _deployment(dossier: Dossier, _: Look) -> Iterator[Check]:
    schema = dossier.schema
    for claim in dossier.then.claims:
        if claim.kind != "deployment":
            continue
        for event in (dossier.events[e] for e in claim.events if e in dossier.events):
            said = event.said
            version = said.get("version", said.get("to_version"))
            yield Check(
                f"{schema.version} was serving in {schema.environment}",
                (version, said.get("environment"))
                == (schema.version, schema.environment),
            )
            source, let = str(said.get("verdict_source")), _let(dossier)
            if let or source in dossier.events:
                yield Check(
                    "its deployment names that verdict",
                    any(source in one.events for one in let),
                )


def _lineage(dossier: Dossier, cited: Look) -> Iterator[Check]:
    events = cited("lineage")
    nodes = {
        str(one.said.get("node"))
        for one in events
        if one.name == "lineage.node-recorded"
    }
    if not nodes:
        return
    links: dict[str, list[str]] = {}
    for one in events:
        if one.name == "lineage.linked":
            below = str(one.said.get("target_node"))
            links.setdefault(below, []).append(str(one.said.get("source_node")))
    reached = set[str]()
    waiting = [_node(dossier, event) for event in cited("version")]
    while waiting:
        for above in links.get(waiting.pop(), ()):
            if above not in reached:
                reached.add(above)
                waiting.append(above)
    yield Check(f"{len(nodes)} nodes lead to this version", nodes == reached)


def _node(dossier: Dossier, version: Cited) -> str:
    """Name a version's node as the lineage does: by what it is."""
    schema = dossier.schema
    content = json.dumps(
        {
            "digest": version.said.get("digest"),
            "kind": "model_version",
            "name": f"{schema.model}/{schema.version}",
            "namespace": NODES,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return f"model_version:{hashlib.sha256(content.encode()).hexdigest()}"


def _disposition(dossier: Dossier, cited: Look) -> Iterator[Check]:
    for event in cited("disposition"):
        yield Check(
            f"a person {event.said.get('disposition')} this decision",
            event.said.get("decision") == str(dossier.id),
        )


def _approvals(count: int) -> str:
    return f"{count} approval{'' if count == 1 else 's'}"
