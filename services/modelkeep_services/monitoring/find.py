"""One decision as it was logged, with the proof that it is in its batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.digests import column_leaves
from modelkeep.decisions.matrix import Decisions, Words, leaves, row_matrix
from modelkeep.decisions.rows import NEVER, UNSAID
from modelkeep.errors import Corrupt, NotFound
from modelkeep.proof.merkle import Leaves, inclusion_proof, root_of
from modelkeep.service import Asked
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.monitoring import columns, views
from modelkeep_services.monitoring.arrays import instant
from modelkeep_services.monitoring.objects import (
    Reference,
    find_reference,
    load_decisions,
    load_ids,
    load_outcomes,
    said,
)
from modelkeep_services.monitoring.proving import COLUMNS_ONLY

DTYPES = {word: number for number, word in columns.DTYPES.items() if number}


class Place(NamedTuple):
    batch: views.BatchRow
    row: int


class Outcome(NamedTuple):
    """`value` is 0, 1 or NEVER; `known_at` in microseconds. `number` is one instead,
    of a model whose outcomes are numbers.
    """

    value: int
    known_at: int
    number: float | None = None


def find_decision(
    request: pb.FindDecisionRequest, asked: Asked
) -> pb.FindDecisionResponse:
    folder = asked.host.home.decisions
    if request.reference:
        model = columns.slug_of("model", request.model)
        place = by_reference(asked.read, folder, model, request.reference)
        wanted = f"{model} {request.reference}"
    else:
        wanted = columns.uuid_of("decision", request.decision)
        model = columns.slug_of("model", request.model) if request.model else ""
        place = by_id(asked.read, folder, model, UUID(wanted))
    if place is None:
        raise NotFound("decision", wanted)
    return _answer(asked.read, folder, place)


def by_id(read: Reader, folder: Path, model: str, decision: UUID) -> Place | None:
    """Look into the batches whose range holds the id; ids of one time lie together."""
    key = str(decision)
    octets = np.frombuffer(decision.bytes, dtype=np.uint8)
    for batch in _batches(read, model):
        if batch.first_id <= key <= batch.last_id:
            ids = load_ids(folder / batch.address)
            found = np.flatnonzero((ids == octets).all(axis=1))
            if found.size:
                return Place(batch, int(found[0]))
    return None


def by_reference(
    read: Reader, folder: Path, model: str, reference: str
) -> Place | None:
    """Ask every batch of the model, the latest first; open those that say perhaps."""
    wanted = Reference.of(reference)
    for batch in reversed(list(_batches(read, model))):
        row = find_reference(folder / batch.address, wanted)
        if row is not None:
            return Place(batch, row)
    return None


def _batches(read: Reader, model: str) -> Iterator[views.BatchRow]:
    for _, row in read.scan(views.batches, f"{model}/" if model else ""):
        yield row


def _answer(read: Reader, folder: Path, place: Place) -> pb.FindDecisionResponse:
    batch, index = place
    rows = load_decisions(folder / batch.address)
    answer = pb.FindDecisionResponse(
        decision=_decision(rows, index),
        batch=batch_message(batch),
        index=index,
        row_schema=rows.schema.to_json().decode(),
    )
    if batch.proof == "rows":
        _prove(answer, batch, rows)
    else:
        _keep_root(batch, _column_hashes(batch, rows))
        answer.not_proven = COLUMNS_ONLY
    _add_outcome(answer, _outcome(read, folder, batch, rows, index))
    key = f"{batch.model}/{answer.decision.decision}"
    disposed = read.get(views.dispositions, key)
    if disposed is not None:
        told = {
            "disposition": disposed.disposition,
            "disposition_reason": disposed.reason,
            "disposition_by": disposed.by,
        }
        fill(answer, told)
    return answer


def _prove(
    answer: pb.FindDecisionResponse, batch: views.BatchRow, rows: Decisions
) -> None:
    matrix = row_matrix(rows)
    hashes = leaves(matrix)
    _keep_root(batch, hashes)
    answer.row = matrix[answer.index, 1:].tobytes()
    proof = inclusion_proof(Leaves(hashes), answer.index, len(hashes))
    answer.proof.extend(proof)


def _column_hashes(batch: views.BatchRow, rows: Decisions) -> list[bytes]:
    if sum(batch.parts) != len(rows):
        raise _changed(batch)
    parts = columns.parted(rows, batch.parts)
    return [leaf for part in parts for leaf in column_leaves(part)]


def _keep_root(batch: views.BatchRow, hashes: Sequence[bytes]) -> None:
    if f"sha256:{root_of(hashes).hex()}" != batch.root:
        raise _changed(batch)


def _changed(batch: views.BatchRow) -> Corrupt:
    return Corrupt(f"the rows of batch {batch.batch} are not those recorded")


def batch_message(row: views.BatchRow) -> pb.Batch:
    return fill(pb.Batch(), row)


def _decision(rows: Decisions, index: int) -> pb.Decision:
    schema = rows.schema
    latency = float(rows.latency_ms[index])
    found = {
        "decision": str(UUID(bytes=rows.ids[index].tobytes())),
        "model": schema.model,
        "version": schema.version,
        "environment": schema.environment,
        "use": schema.use,
        "at": instant(int(rows.times[index])),
        "score": float(rows.scores[index]),
        "latency_ms": None if np.isnan(latency) else latency,
        "explained": said(int(rows.explained[index])),
        "reason_codes": None
        if rows.reason_codes[index] == UNSAID
        else bool(rows.reason_codes[index]),
        "reference": _word(rows.references, index),
        "features": list(_cells(rows, index)),
    }
    return fill(pb.Decision(), found)


def _cells(rows: Decisions, index: int) -> Iterator[pb.Cell]:
    for (name, dtype), column in zip(rows.schema.columns, rows.columns, strict=True):
        cell = pb.Cell(name=name, dtype=pb.Dtype.ValueType(DTYPES[dtype]))
        if isinstance(column, Words):
            word = _word(column, index)
            if word is not None:
                cell.text = word
        elif column.valid[index]:
            value = column.values[index]
            if dtype == "bool":
                cell.truth = bool(value)
            elif dtype == "i64":
                cell.integer = int(value)
            else:
                cell.number = float(value)
        yield cell


def _word(column: Words, index: int) -> str | None:
    code = int(column.codes[index])
    return None if code < 0 else column.dictionary[code]


def _outcome(
    read: Reader, folder: Path, batch: views.BatchRow, rows: Decisions, index: int
) -> Outcome | None:
    """Return the latest word on the decision, by when it was known."""
    found: Outcome | None = None
    for _, told in read.scan(views.outcome_batches, f"{batch.model}/"):
        if not told.first_id <= _spelled(rows, index) <= told.last_id:
            continue
        outcomes = load_outcomes(folder / told.address)
        for row in np.flatnonzero((outcomes.ids == rows.ids[index]).all(axis=1)):
            word = Outcome(
                int(outcomes.outcomes[row]),
                int(outcomes.known[row]),
                None if outcomes.values is None else float(outcomes.values[row]),
            )
            if found is None or word.known_at >= found.known_at:
                found = word
    return found


def _spelled(rows: Decisions, index: int) -> str:
    return str(UUID(bytes=rows.ids[index].tobytes()))


def _add_outcome(answer: pb.FindDecisionResponse, outcome: Outcome | None) -> None:
    if outcome is None:
        return
    answer.outcome_known_at.FromDatetime(instant(outcome.known_at))
    if outcome.value == NEVER:
        answer.outcome_never = True
    elif outcome.number is not None:
        answer.outcome_value = outcome.number
    else:
        answer.outcome = bool(outcome.value)
