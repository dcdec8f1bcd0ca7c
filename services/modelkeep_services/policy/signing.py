"""Verdicts and permits as signed statements, by a key of their own (`keyring.py`)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.errors import Refused
from modelkeep.events.policy import VerdictGiven
from modelkeep.home import Home
from modelkeep.keyring import Purpose, purpose_key
from modelkeep.ledger import stamp
from modelkeep.policy.bundle import Permit, seconds
from modelkeep.proof import verdict
from modelkeep.proof.errors import Malformed
from modelkeep.proof.evidence import LATEST
from modelkeep.proof.note import MAX_NOTE_BYTES, SigningKey
from modelkeep.proof.note import parse as parse_note
from modelkeep.service import Asked
from modelkeep_services.policy import seen, views

VERDICTS: Final = Purpose("modelkeep-verdicts", "verdict.key", verdict.KEYS)
WORDS: Final[Mapping[str, str]] = {
    "allowed": "ALLOW",
    "denied": "DENY",
    "pending": "PENDING",
    "revoked": "REVOKED",
}


def signing_key(home: Home) -> SigningKey:
    """Load or make the key, and publish its public half. Raises Unavailable."""
    return purpose_key(home, VERDICTS)


def signed_verdict(
    key: SigningKey, row: views.RequestRow, given: VerdictGiven, asked: Asked
) -> bytes:
    """Sign what became of a request, as of now. Refused for what has no files."""
    said = {
        **_question(row, given),
        "verdict": WORDS[row.status],
        "reasons": list(row.reasons),
        "owed": [
            {"role": one.role, "count": one.count, "of": one.of} for one in row.owed
        ],
        "conditions": list(row.conditions),
        "breakGlass": row.break_glass,
        "evidence": list(given.evidence),
        "stoodAt": given.stood_at,
        "position": asked.read.history(views.requests, row.request)[-1][0],
        "issuedAt": stamp(asked.now),
    }
    if row.max_traffic_share is not None:
        said["maxTrafficShare"] = row.max_traffic_share
    if row.expires_at is not None:
        said["expiresAt"] = stamp(row.expires_at)
    if (note := _checkpoint(asked.host.home)) is not None:
        said["checkpoint"] = note
    return verdict.seal(verdict.VERDICT, _subjects(given, asked), said, key)


def signed_permit(
    key: SigningKey,
    row: views.RequestRow,
    given: VerdictGiven,
    terms: Permit,
    nonce: str,
    asked: Asked,
) -> bytes:
    """Sign that a serving stack may serve, for as long as the bundle's action says."""
    ends = asked.now + timedelta(seconds=seconds(terms.lasts))
    said = {
        **_question(row, given),
        "verdict": WORDS[row.status],
        "holder": {
            "issuer": given.requested_by.issuer,
            "subject": given.requested_by.subject,
        },
        "nonce": nonce,
        "position": asked.position,
        "issuedAt": stamp(asked.now),
        "expiresAt": stamp(min(ends, row.expires_at or ends)),
        "refreshSeconds": seconds(terms.refresh),
        "onUnreachable": terms.unreachable(row.tier),
        "graceSeconds": seconds(terms.grace),
    }
    return verdict.seal(verdict.PERMIT, _subjects(given, asked), said, key)


def use_of(given: VerdictGiven) -> str:
    """What it would be used for, as the rules were told."""
    facts = Facts.FromString(b64decode(given.facts))
    return facts.model.requested_use.value


def _question(row: views.RequestRow, given: VerdictGiven) -> dict[str, object]:
    """What was asked, and what decided it; what was not said is left out."""
    return {
        name: value
        for name, value in {
            "request": row.request,
            "eventId": row.event_id,
            "settledBy": row.settled_by,
            "action": row.action,
            "model": row.model,
            "version": row.version,
            "digest": row.digest,
            "environment": row.environment,
            "use": use_of(given) or None,
            "trafficShare": given.traffic_share,
            "tier": row.tier,
            "bundle": given.bundle,
            "bundleName": f"{given.bundle_name} {given.bundle_version}",
            "factsDigest": given.facts_digest,
            "descriptor": given.descriptor,
            "engine": given.engine,
        }.items()
        if value is not None
    }


def _subjects(given: VerdictGiven, asked: Asked) -> dict[str, str]:
    if given.version is None or given.digest is None:
        raise Refused(
            "policy.about-a-version",
            f"{given.request} is about no version: there is no artifact to sign for",
            subject=given.request,
        )
    known = asked.read.get(seen.artifacts, f"{given.model}/{given.version}")
    files = known.files if known is not None else ()
    if verdict.version_digest(digest for _, digest in files) != given.digest:
        raise Refused(
            "policy.artifacts-known",
            f"the artifacts of {given.model}/{given.version} are not known here",
            subject=given.request,
        )
    return _named(files)


def _named(files: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Files by name; two of one name are told apart by their digests."""
    names = [name for name, _ in files]
    return {
        name if names.count(name) == 1 else f"{name} {digest}": digest
        for name, digest in files
    }


def _checkpoint(home: Home) -> str | None:
    """The last note that the log's signer published, if there is one."""
    try:
        with (home.published / LATEST).open("rb") as file:
            raw = file.read(MAX_NOTE_BYTES + 1)
        parse_note(raw)
        return raw.decode()
    except (OSError, Malformed):
        return None


def unexpired(row: views.RequestRow, now: datetime) -> bool:
    return row.expires_at is None or now < row.expires_at
