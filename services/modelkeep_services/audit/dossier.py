"""A decision's dossier: all it rested on, gathered, proven and signed as one file.

`modelkeep.proof.dossier` says what the file holds. The rules of gathering: every event
that is cited is in it with its proof, or it is not cited; what cannot be shown is a
gap, in words; what is more than a file can hold is left out, and said to be.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.decisions.rows import NEVER, Cell
from modelkeep.errors import (
    Corrupt,
    Forbidden,
    Invalid,
    ModelkeepError,
    NotFound,
    TooLarge,
)
from modelkeep.events.types import Sealed
from modelkeep.identity import SECOND_LINE, THIRD_LINE
from modelkeep.keyring import Purpose
from modelkeep.keystore import ERASED
from modelkeep.ledger import stamp
from modelkeep.objects import artifacts_of
from modelkeep.proof import dossier as form
from modelkeep.proof import dsse, verdict
from modelkeep.proof.errors import ProofError
from modelkeep.proof.inclusions import Inclusions
from modelkeep.proof.merkle import root_at, verify_inclusion
from modelkeep.proof.note import SigningKey, unbase64
from modelkeep.service import Asked, asked_time
from modelkeep.store.port import Recorded
from modelkeep.views import Reader
from modelkeep_services.audit import claims, decision_log, events, moments
from modelkeep_services.audit.claims import Claim, Place, Stood, stood
from modelkeep_services.audit.decision_log import Logged, Placed, Told
from modelkeep_services.audit.known import inventory
from modelkeep_services.audit.known.monitoring import autonomy, dispositions
from modelkeep_services.audit.notary import Notary
from modelkeep_services.audit.signed import Signed
from modelkeep_services.audit.trees import leaf_of

READERS: Final = (
    THIRD_LINE
    | (SECOND_LINE - {"policy_author"})
    | {
        "owner",
        "privacy_officer",
    }
)
"""Who may have one: it holds a customer's row."""
ENTITLED: Final = frozenset({"auditor", "privacy_officer"})
"""Who may have the personal fields in it opened."""
DOSSIERS: Final = Purpose("modelkeep-dossiers", "dossier.key", form.KEYS)
SEALED: Final = "[sealed]"
SEALED_PARTS: Final = {"key_id", "nonce", "ciphertext"}

MOST_BYTES: Final = 2_000_000
"""Of events and their proofs: an envelope of them still is a message."""
SLACK: Final = 4_096
"""For what is around an envelope in its message."""
AROUND: Final = 250
HASH: Final = 48
"""About the bytes of an event's other fields, and of one hash of its proof."""
MOST_CARD: Final = 512 * 1024
MOST_VERDICT: Final = 64 * 1024
SHADOW: Final = "shadow"


def get_dossier(
    notary: Notary, key: SigningKey, request: pb.GetDossierRequest, asked: Asked
) -> pb.GetDossierResponse:
    """Raises Invalid for what is no UUID, NotFound for a decision nobody logged by the
    moment asked for, Corrupt for a row that is not the one recorded.
    """
    if request.open_personal and not asked.actor.roles & ENTITLED:
        raise Forbidden(
            f"personal fields are opened for {', '.join(sorted(ENTITLED))} alone"
        )
    logged = _found(request, asked)
    gathered = _gather(logged, request, asked)
    if request.verdict:
        gathered.verdict = _given_verdict(request.verdict, gathered)
    signed = notary.sign()
    cited = _Events(asked, notary, signed, open_personal=request.open_personal)
    predicate = _predicate(gathered, cited, asked, signed)
    decision = UUID(bytes=logged.row.id)
    envelope = form.seal(logged.encoded, decision, predicate, key)
    if len(envelope) > form.MAX_BYTES - SLACK:
        raise TooLarge(
            f"the dossier of {decision} has {len(envelope):,} bytes: its row is too"
            " large for a file"
        )
    return pb.GetDossierResponse(
        envelope=envelope, digest=f"sha256:{sha256(envelope).hexdigest()}"
    )


def _found(request: pb.GetDossierRequest, asked: Asked) -> Logged:
    try:
        decision = UUID(request.decision)
    except ValueError:
        raise Invalid.field("decision", "must be a UUID") from None
    logged = decision_log.find(asked.read, asked.host.home.decisions, decision)
    if logged is None:
        raise NotFound("decision", str(decision))
    models = asked.actor.models
    if models and logged.schema.model not in models:
        raise Forbidden(f"{asked.actor.subject} may not see {logged.schema.model}")
    if not logged.intact:
        raise Corrupt(
            f"the rows of batch {logged.batch.batch} are not those that were recorded:"
            " the object was changed, and nothing can be proven from it"
        )
    return logged


# --- what stood, then and now ------------------------------------------------------


@dataclass
class _Gathered:
    """What a dossier will say, before its events are fetched and proven."""

    logged: Logged
    place: Place
    before: Reader
    then: Stood
    now: Stood
    outcome: tuple[Told, Placed] | None
    card: str | None
    gaps: list[str] = field(default_factory=list)
    verdict: str | None = None


def _gather(logged: Logged, request: pb.GetDossierRequest, asked: Asked) -> _Gathered:
    schema, read = logged.schema, asked.read
    at = form.EPOCH + timedelta(microseconds=logged.row.at)
    place = Place(schema.model, schema.version, schema.environment, schema.use, at)
    asked_about = moments.moment_of(asked, request.as_of)
    before = read.at(moments.earlier(read.when(at), asked_about))
    then = stood(before, at, place)
    after = stood(read, max(asked_time(request, asked), at), place, then)
    decision = UUID(bytes=logged.row.id)
    said = f"{schema.model}/{decision}"
    if read.get(dispositions, said) is not None:
        after.claims.append(
            Claim("disposition", said, claims.told(read, dispositions, said))
        )
    folder = asked.host.home.decisions
    known = decision_log.last_word(read, folder, schema.model, decision, at)
    outcome = None if known is None else (known, decision_log.placed(folder, known))
    card, missing = _card(asked, place)
    found = _Gathered(logged, place, before, then, after, outcome, card)
    found.gaps += [*missing, *_gaps(found, asked)]
    return found


def _card(asked: Asked, place: Place) -> tuple[str | None, list[str]]:
    """Return the model card that the version has, or why it is not here."""
    version = inventory.version_of(asked.read, place.model, place.version)
    if version is None or not version.card_digest:
        return None, []
    digest = version.card_digest
    try:
        with artifacts_of(asked.host.home).open(digest) as kept:
            content = kept.read(MOST_CARD + 1)
        text = content.decode()
    except (ModelkeepError, OSError, UnicodeDecodeError) as error:
        return None, [f"the model card {digest} cannot be read: {error}"]
    if f"sha256:{sha256(content).hexdigest()}" != digest:
        return None, [f"the model card kept is not the one attached, {digest}"]
    return text, []


def _gaps(found: _Gathered, asked: Asked) -> Iterator[str]:
    place, then, row = found.place, found.then, found.logged.row
    if found.logged.not_proven:
        yield f"the row is not proven: {found.logged.not_proven}"
    version = f"{place.model}/{place.version}"
    if not then.of("version"):
        late = " It was registered later." if found.now.of("version") else ""
        yield f"version {version} was not registered when it decided.{late}"
    elif not then.of("card"):
        late = " One was attached later." if found.now.of("card") else ""
        yield f"no model card was attached to {version} when it decided.{late}"
    yield from _serving(found)
    if not any(claim.derived for claim in then.of("verdict")):
        yield f"no rule is known to have let {version} serve in {place.environment}"
    yield from _origin(found, asked)
    if not then.of("health"):
        yield f"the health of {place.model} was not known yet"
    if not then.of("window"):
        yield f"no window of {version} in {place.environment} had been closed yet"
    if row.reason_codes is False:
        yield "reason codes were owed for this decision and were not given"
    if found.outcome is None:
        yield "nothing is known of its outcome by the second moment: it may still come"
    for left in (*then.left_out, *found.now.left_out):
        yield f"left out: {left}"


def _serving(found: _Gathered) -> Iterator[str]:
    place = found.place
    levels = [
        row.level
        for _, row in found.before.scan(autonomy, f"{place.model}/")
        if row.use in {place.use, ""}
    ]
    if place.environment == SHADOW or SHADOW in levels:
        yield (
            f"{place.version} decided in the shadow: its score was recorded and nobody"
            " was bound by it"
        )
    if found.then.of("deployment"):
        return
    key = f"{place.model}/{place.environment}/{place.version}"
    served = any(found.before.history(inventory.deployments, key))
    yield (
        f"{place.version} had been taken out of traffic in {place.environment} when it"
        " decided"
        if served
        else f"{place.version} was not deployed in {place.environment} when it decided"
    )


def _origin(found: _Gathered, asked: Asked) -> Iterator[str]:
    place = found.place
    if found.then.of("lineage"):
        return
    model = asked.read.get(inventory.models, place.model)
    if model is not None and model.kind == "vendor":
        yield (
            f"{place.model} is a third party's: what it was made of is the vendor's to"
            " say"
        )
    else:
        yield f"nothing was recorded of where {place.model}/{place.version} came from"


def _given_verdict(raw: bytes, found: _Gathered) -> str:
    """Take a verdict that policy signed, if it is of what let the version serve."""
    if len(raw) > MOST_VERDICT:
        raise Invalid.field("verdict", f"is longer than {MOST_VERDICT} bytes")
    let = {one.key for one in found.then.of("verdict") if one.derived}
    try:
        envelope = dsse.read_object(raw, "an envelope")
        said = verdict.parse(unbase64(dsse.text(envelope, "payload")))
        text = raw.decode()
    except (ProofError, UnicodeDecodeError) as error:
        raise Invalid.field("verdict", str(error)) from None
    if said.word("request") not in let:
        raise Invalid.field(
            "verdict", f"{said.word('request')} is not what let the version serve"
        )
    return text


# --- events, and their way to the checkpoint ----------------------------------------


class _Events:
    """Fetches, weighs and proves what is cited; each once."""

    def __init__(
        self, asked: Asked, notary: Notary, signed: Signed, *, open_personal: bool
    ) -> None:
        self._asked, self._tree, self._open = asked, notary.tree, open_personal
        size = signed.checkpoint.size
        self._proofs = Inclusions(signed.nodes, size)
        self._root = root_at(signed.nodes, size)
        self._apiece = AROUND + size.bit_length() * HASH
        self._bytes = 0
        self._taken: dict[str, Recorded] = {}

    def take(self, ids: Iterable[str]) -> bool:
        """Add events; False, and nothing, when the file would become too large. Raises
        NotFound for one that this tenant's log does not hold.
        """
        new = [one for one in dict.fromkeys(ids) if one not in self._taken]
        found = {one: events.find(self._asked, one) for one in new}
        size = sum(map(self._size, found.values()))
        if self._bytes + size > MOST_BYTES:
            return False
        self._bytes += size
        self._taken |= found
        return True

    def proven(self) -> list[dict[str, object]]:
        """Return the events in the log's order, each with its proof."""
        ordered = sorted(self._taken.values(), key=lambda one: one.position)
        return [self._proven(one) for one in ordered]

    def personal(self) -> dict[str, str]:
        return {
            f"{one.uuid}/{name}": personal(self._asked, name, sealed, self._open)
            for one in self._taken.values()
            for name, sealed in _sealed_fields(one.data)
        }

    def _size(self, recorded: Recorded) -> int:
        """About the bytes it takes in the file."""
        told = recorded.data + recorded.metadata
        escaped = told.count(b'"') + told.count(b"\\")
        return len(told) + escaped + self._apiece

    def _proven(self, recorded: Recorded) -> dict[str, object]:
        index = self._tree.leaf_index(recorded.position)
        path, size = self._proofs.proof(index), self._proofs.size
        leaf = leaf_of(self._tree.origin, recorded)
        if not verify_inclusion(leaf, index, size, path, self._root):
            raise Corrupt(
                f"event {recorded.uuid} is not the one whose leaf is in the tree"
            )
        return {
            "id": str(recorded.uuid),
            "stream": recorded.stream,
            "version": recorded.version,
            "name": recorded.name,
            "schema_version": recorded.schema_version,
            "data": recorded.data.decode(),
            "metadata": recorded.metadata.decode(),
            "index": index,
            "path": _spelled(path),
        }


def personal(asked: Asked, name: str, sealed: Sealed, opened: bool) -> str:  # noqa: FBT001  # the caller asked for it or did not
    """Return what a file says of a sealed field: all of them pass here."""
    text = asked.host.keystore.open(asked.read.tenant, name, sealed)
    if text == ERASED:
        return ERASED
    return text if opened else SEALED


def _sealed_fields(data: bytes) -> Iterator[tuple[str, Sealed]]:
    if b'"ciphertext"' not in data:
        return
    for name, value in json.loads(data).items():
        if isinstance(value, dict) and value.keys() >= SEALED_PARTS:
            yield name, Sealed.model_validate(value)


# --- the file ----------------------------------------------------------------------


def _predicate(
    found: _Gathered, cited: _Events, asked: Asked, signed: Signed
) -> dict[str, object]:
    logged, known = found.logged, found.outcome
    cited.take([logged.batch.event_id])
    if known is not None:
        cited.take([known[0].batch.event_id])
    for moment in (found.then, found.now):
        _keep(moment, cited, found.gaps)
    return {
        "issued_at": stamp(asked.now),
        "decision": _decision(logged),
        "outcome": None if known is None else _outcome(*known),
        "log": {
            "origin": signed.checkpoint.origin,
            "checkpoint": signed.note.decode(),
            "events": cited.proven(),
        },
        "then": found.then.plain(),
        "now": found.now.plain(),
        "card": found.card,
        "verdict": found.verdict,
        "personal": cited.personal(),
        "gaps": found.gaps,
    }


def _keep(moment: Stood, cited: _Events, gaps: list[str]) -> None:
    """Keep the claims whose events can be shown, and say of the others why not."""
    kept, left = list[Claim](), dict[str, int]()
    for claim in moment.claims:
        try:
            if cited.take(claim.events):
                kept.append(claim)
            else:
                left[claim.kind] = left.get(claim.kind, 0) + 1
        except (NotFound, Invalid) as error:  # an id that is none is not here either
            gaps.append(f"{claim.kind} {claim.key} cites what is not here: {error}")
    moment.claims = kept
    gaps += [
        f"left out, for the file would be too large: {count} of kind {kind}"
        for kind, count in left.items()
    ]


def _decision(logged: Logged) -> dict[str, object]:
    row = logged.row
    return {
        "id": str(UUID(bytes=row.id)),
        "schema": logged.schema.to_json().decode(),
        "at": row.at,
        "score": _cell(row.score),
        "latency_ms": _cell(row.latency_ms),
        "explained": row.explained,
        "reason_codes": row.reason_codes,
        "reference": row.reference,
        "values": [_cell(value) for value in row.values],
        "batch": _batch(logged.batch.event_id, logged.place, logged.rows, logged.proof),
    }


def _outcome(told: Told, placed: Placed) -> dict[str, object]:
    known = told.known
    value = known.number if told.numbers else known.outcome
    return {
        "kind": "number" if told.numbers else "binary",
        "value": None if known.outcome == NEVER else value,
        "known_at": round((known.at - form.EPOCH) / timedelta(microseconds=1)),
        "batch": _batch(told.batch.event_id, placed.place, placed.rows, placed.proof),
    }


def _batch(event: str, place: int, rows: int, path: list[bytes]) -> dict[str, object]:
    return {"event": event, "index": place, "rows": rows, "path": _spelled(path)}


def _spelled(path: Iterable[bytes]) -> list[str]:
    return [b64encode(one).decode() for one in path]


def _cell(value: Cell) -> Cell:
    """Spell a value in JSON, which has neither NaN (missing here) nor infinities."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    return "Infinity" if value > 0 else "-Infinity"
