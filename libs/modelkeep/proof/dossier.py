"""A decision's dossier: what it rested on, and the proof of it, as one signed file.

The file is a DSSE envelope; its body is an in-toto Statement about the decision's row,
with this predicate (`modelkeep.dossier/1`):

    decision   the row's values, and the way from its bytes to the root of its batch
    outcome    what became true of it, likewise; null while nothing is known
    log        a signed checkpoint, and each event cited: its bytes and its way to it
    then, now  two moments, and what stood at each: `claims`
    card       the model card's text, under the digest that its event names
    verdict    what let the version serve, as policy signed it; or null
    personal   sealed personal fields, by `event/field`: opened, `[sealed]`, `[erased]`
    gaps       what could not be shown, in words

A claim is a kind, a key and the events it rests on. What is shown of it is read from
those events, which are here with their proofs, so nothing is said twice. `derived`
holds the few words that no single event says (a status, what a budget has spent): they
are the signer's conclusion, and a reader is told so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias, cast
from uuid import UUID

from modelkeep.proof import dsse, row, verdict
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import SigningKey, VerifierKey, unbase64
from modelkeep.proof.times import instant

FORMAT: Final = "modelkeep.dossier/1"
DOSSIER: Final = "https://modelkeep.dev/predicates/dossier/v1"
KEYS: Final = "dossiers.vkeys"
"""The name that the public keys are published under, beside the checkpoint's."""

MAX_BYTES: Final = 4 << 20
"""Of an envelope."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = 253_402_300_799_999_999
"""The last microsecond that has a date."""

Json: TypeAlias = Mapping[str, object]


class Cited(NamedTuple):
    """An event in the dossier, as it is stored; `path` leads from it to the root."""

    id: UUID
    stream: str
    version: int
    name: str
    schema_version: int
    data: str
    metadata: str
    rank: int
    path: Sequence[bytes]
    said: Json
    around: Json

    @property
    def known_at(self) -> datetime:
        return instant(dsse.text(self.around, "known_at"), f"event {self.id}")

    @property
    def effective_at(self) -> datetime:
        if "effective_at" not in self.around:
            return self.known_at
        return instant(dsse.text(self.around, "effective_at"), f"event {self.id}")


class Claim(NamedTuple):
    """Something that stood at a moment, by the events it rests on."""

    kind: str
    key: str
    events: Sequence[str]
    derived: Json


class Moment(NamedTuple):
    time: datetime
    claims: Sequence[Claim]


class Proven(NamedTuple):
    """A row's place in its batch. `event` recorded the batch's root."""

    event: str
    place: int
    rows: int
    path: Sequence[bytes]


class Outcome(NamedTuple):
    """What became true: 0, 1, or a number; None when that will never be known."""

    value: float | None
    is_number: bool
    known_at: int
    proven: Proven


@dataclass(frozen=True)
class Dossier:
    """A dossier taken apart: that it reads says nothing of what it proves."""

    issued_at: datetime
    schema: row.Schema
    decision: row.Row
    proven: Proven
    outcome: Outcome | None
    checkpoint: str
    origin: str
    events: Mapping[str, Cited]
    then: Moment
    now: Moment
    card: str | None
    verdict: str | None
    personal: Mapping[str, str]
    gaps: Sequence[str]
    subject: str
    signed_by: Sequence[VerifierKey] = ()

    @property
    def id(self) -> UUID:
        return UUID(bytes=self.decision.id)

    @property
    def at(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.decision.at)

    def row_bytes(self) -> bytes:
        return row.decision(self.schema, self.decision)

    def outcome_bytes(self) -> bytes:
        """Raises Malformed when there is none."""
        known = self.outcome
        if known is None:
            raise Malformed("nothing is known of the outcome")
        model, decision = self.schema.model, self.decision.id
        if known.is_number:
            return row.number(model, decision, known.value, known.known_at)
        became = row.NEVER if known.value is None else known.value
        return row.outcome(model, decision, became, known.known_at)


def seal(row_bytes: bytes, decision: UUID, predicate: Json, key: SigningKey) -> bytes:
    """Sign a dossier about a row."""
    statement = {
        "_type": verdict.STATEMENT,
        "subject": [
            {
                "name": f"decision/{decision}",
                "digest": {"sha256": hashlib.sha256(row_bytes).hexdigest()},
            }
        ],
        "predicateType": DOSSIER,
        "predicate": {"format": FORMAT, **predicate},
    }
    body = json.dumps(
        statement,
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
        ensure_ascii=False,
    )
    return dsse.seal(dsse.IN_TOTO, body.encode(), key)


def open_sealed(raw: bytes, keys: Iterable[VerifierKey]) -> Dossier:
    """Read a dossier that one of `keys` signed. Safe on anything.

    Raises Malformed and BadSignature. Says nothing of whether its proofs hold.
    """
    opened = dsse.open_sealed(raw, keys, dsse.IN_TOTO, most=MAX_BYTES)
    _one_spelling(raw)
    return parse(opened.body, opened.signers)


def unsigned(raw: bytes) -> Dossier:
    """Read a dossier whoever signed it, to say what is wrong in it. Raises Malformed.

    Nothing in it is to be believed.
    """
    if len(raw) > MAX_BYTES:
        raise Malformed(f"{len(raw)} bytes: {MAX_BYTES} is the most")
    envelope = dsse.read_object(raw, "an envelope")
    return parse(unbase64(dsse.text(envelope, "payload")))


def _one_spelling(raw: bytes) -> None:
    """Refuse what was changed around the signed body without being part of it."""
    envelope = dsse.read_object(raw, "an envelope")
    if json.dumps(envelope, separators=(",", ":")).encode() + b"\n" != raw:
        raise Malformed("the envelope is not spelled as it was written")


# --- reading -----------------------------------------------------------------------


def parse(body: bytes, signers: Sequence[VerifierKey] = ()) -> Dossier:
    """Take a statement apart; raises Malformed."""
    found = dsse.read_object(body, "a statement")
    if _text(found, "_type") != verdict.STATEMENT:
        raise Malformed(f"it is no statement: {found['_type']!r}")
    if _text(found, "predicateType") != DOSSIER:
        raise Malformed(f"it is a {found['predicateType']!r}, not a {DOSSIER}")
    said = _object(found, "predicate")
    if _text(said, "format") != FORMAT:
        raise Malformed(f"its format is {said['format']!r}, not {FORMAT}")
    decided, log = _object(said, "decision"), _object(said, "log")
    schema = row.read_schema(_text(decided, "schema"))
    decision = _decision(decided)
    return Dossier(
        issued_at=instant(_text(said, "issued_at"), "issued_at"),
        schema=schema,
        decision=decision,
        proven=_proven(_object(decided, "batch")),
        outcome=_outcome(said),
        checkpoint=_text(log, "checkpoint"),
        origin=_text(log, "origin"),
        events=_events(log),
        then=_moment(said, "then"),
        now=_moment(said, "now"),
        card=_maybe(said, "card"),
        verdict=_maybe(said, "verdict"),
        personal={
            name: _text(_object(said, "personal"), name)
            for name in _object(said, "personal")
        },
        gaps=[_word(one, "a gap") for one in _list(said, "gaps")],
        subject=_subject(found, UUID(bytes=decision.id)),
        signed_by=signers,
    )


def _subject(found: Json, decision: UUID) -> str:
    """Return the SHA-256 of the row that the statement is about."""
    subjects = _list(found, "subject")
    if len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise Malformed("a dossier is about one decision")
    if _text(subjects[0], "name") != f"decision/{decision}":
        raise Malformed(f"its subject is not decision {decision}")
    return _text(_object(subjects[0], "digest"), "sha256")


def _decision(found: Json) -> row.Row:
    at = _whole(found, "at")
    if at > LATEST:
        raise Malformed(f"the decision was made after the year 9999: {at}")
    return row.Row(
        id=_uuid(_text(found, "id")).bytes,
        at=at,
        score=_cell(found.get("score")),
        latency_ms=_cell(found.get("latency_ms")),
        explained=_flag(found, "explained"),
        reason_codes=_flag(found, "reason_codes"),
        reference=_maybe(found, "reference"),
        values=[_cell(one) for one in _list(found, "values")],
    )


def _outcome(said: Json) -> Outcome | None:
    if said.get("outcome") is None:
        return None
    found = _object(said, "outcome")
    value, kind = found.get("value"), _text(found, "kind")
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise Malformed("the outcome's value is no number")
    if kind not in {"binary", "number"}:
        raise Malformed(f"an outcome is binary or a number, not {kind!r}")
    return Outcome(
        value,
        kind == "number",
        _whole(found, "known_at"),
        _proven(_object(found, "batch")),
    )


def _proven(found: Json) -> Proven:
    return Proven(
        _text(found, "event"),
        _whole(found, "index"),
        _whole(found, "rows"),
        _path(found),
    )


def _events(log: Json) -> dict[str, Cited]:
    listed = [_cited(one) for one in _list(log, "events")]
    events = {str(one.id): one for one in listed}
    if len(events) != len(listed):
        raise Malformed("an event comes twice")
    return events


def _cited(found: object) -> Cited:
    if not isinstance(found, dict):
        raise Malformed("an event is an object")
    event = _uuid(_text(found, "id"))
    data, metadata = _text(found, "data"), _text(found, "metadata")
    return Cited(
        event,
        _text(found, "stream"),
        _whole(found, "version"),
        _text(found, "name"),
        _whole(found, "schema_version"),
        data,
        metadata,
        _whole(found, "index"),
        _path(found),
        dsse.read_object(data.encode(), f"the data of event {event}"),
        dsse.read_object(metadata.encode(), f"the metadata of event {event}"),
    )


def _moment(said: Json, name: str) -> Moment:
    found = _object(said, name)
    claims = [_claim(one) for one in _list(found, "claims")]
    return Moment(instant(_text(found, "time"), f"{name}.time"), claims)


def _claim(found: object) -> Claim:
    if not isinstance(found, dict):
        raise Malformed("a claim is an object")
    return Claim(
        _text(found, "kind"),
        _text(found, "key"),
        [_word(one, "an event's id") for one in _list(found, "events")],
        _object(found, "derived"),
    )


def _object(found: Json, name: str) -> dict[str, object]:
    value = found.get(name)
    if not isinstance(value, dict):
        raise Malformed(f"{name} is missing, or no object")
    return cast("dict[str, object]", value)


def _list(found: Json, name: str) -> list[object]:
    value = found.get(name)
    if not isinstance(value, list):
        raise Malformed(f"{name} is missing, or no list")
    return cast("list[object]", value)


def _whole(found: Json, name: str) -> int:
    value = found.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{name} is missing, or no whole number")
    if not 0 <= value < 1 << 63:
        raise Malformed(f"{name} is not a count: {value}")
    return value


def _path(found: Json) -> list[bytes]:
    return [unbase64(_word(one, "a hash")) for one in _list(found, "path")]


def _text(found: Json, name: str) -> str:
    return _word(found.get(name), name)


def _word(value: object, what: str) -> str:
    """Half a character, which JSON can spell, is no text: it cannot be hashed."""
    if not isinstance(value, str) or not dsse.is_utf8(value):
        raise Malformed(f"{what} is missing, or no text")
    return value


def _maybe(found: Json, name: str) -> str | None:
    return None if found.get(name) is None else _text(found, name)


def _flag(found: Json, name: str) -> bool | None:
    value = found.get(name)
    if value is not None and not isinstance(value, bool):
        raise Malformed(f"{name} is neither true nor false")
    return value


def _cell(value: object) -> row.Cell:
    if value is None or isinstance(value, str | int | float):
        return value
    raise Malformed("a value of the row is an object")


def _uuid(text: str) -> UUID:
    try:
        found = UUID(text)
    except ValueError:
        raise Malformed(f"{text!r} is no UUID") from None
    if str(found) != text:
        raise Malformed(f"{text!r} is a UUID with another spelling")
    return found
