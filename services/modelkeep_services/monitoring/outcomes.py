"""RecordOutcomes: what became true, a batch a message, acknowledged once durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.matrix import Octets, Times
from modelkeep.decisions.rows import NEVER
from modelkeep.errors import Invalid, NotFound
from modelkeep.events.monitoring import OutcomeKind
from modelkeep.service import Call
from modelkeep_services.monitoring import columns, kinds, known, views
from modelkeep_services.monitoring.book import Books
from modelkeep_services.monitoring.objects import Outcomes
from modelkeep_services.monitoring.observe import see_all, within
from modelkeep_services.monitoring.record import record_outcomes


class OutcomeTaker:
    """Shared by all streams of a process."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def take(
        self, requests: AsyncIterator[pb.RecordOutcomesRequest], call: Call
    ) -> AsyncIterator[pb.RecordOutcomesResponse]:
        async for request in requests:
            yield await asyncio.to_thread(self._take, request, call)

    def _take(
        self, request: pb.RecordOutcomesRequest, call: Call
    ) -> pb.RecordOutcomesResponse:
        batch = columns.uuid_of("batch", request.batch)
        model = columns.slug_of("model", request.model)
        within(call, model)
        rows = parsed(request)
        _registered(call, model)
        as_declared(call, model, rows.kind)
        book = self._books.of(call.actor.tenant, model)
        answer, replayed = record_outcomes(book, call, model, batch, rows)
        return pb.RecordOutcomesResponse(
            batch=batch,
            replayed=replayed,
            position=answer.position,
            matched=answer.matched,
            unmatched=answer.unmatched,
            duplicates=answer.duplicates,
            contradictions=answer.contradictions,
            never=answer.never,
        )


def parsed(request: pb.RecordOutcomesRequest) -> Outcomes:
    """Raises Invalid, naming the field."""
    rows = columns.row_count(request.rows)
    ids = columns.ids(request.decision_ids, rows)
    known_at = columns.times("known_at", request.known_at, rows)
    if request.values:
        if request.outcomes:
            raise Invalid.field("values", "are sent beside outcomes: send one of them")
        return _numbers(request, rows, ids, known_at)
    if request.never:
        raise Invalid.field("never", "goes with values; an outcome of never is 2")
    outcomes = columns.octets("outcomes", request.outcomes, rows)
    if (outcomes > NEVER).any():
        raise Invalid.field("outcomes", "a byte is none of 0, 1 and 2")
    return Outcomes(ids, outcomes, known_at)


def _numbers(
    request: pb.RecordOutcomesRequest, rows: int, ids: Octets, known_at: Times
) -> Outcomes:
    """A number that will never be known is 0, whatever was sent, and no zero has a
    sign: what is equal is the same.
    """
    values = columns.doubles("values", request.values, rows)
    never = np.zeros(rows, dtype=np.uint8)
    if request.never:
        never = columns.octets("never", request.never, rows)
    if (never > 1).any():
        raise Invalid.field("never", "a byte is neither 0 nor 1")
    values = np.where(never == 1, 0.0, values) + 0.0
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise Invalid.field("values", f"row {row} is no number")
    return Outcomes(ids, never * np.uint8(NEVER), known_at, values)


def as_declared(call: Call, model: str, given: OutcomeKind) -> None:
    """Raises Refused where the model's outcomes are declared of the other kind."""
    if _declared(call, model) != given:
        see_all(call)  # it may have been declared a moment ago
        kinds.keep_declared(model, _declared(call, model), given)


def _declared(call: Call, model: str) -> OutcomeKind:
    with call.views.reader(call.actor.tenant) as read:
        return known.monitor(read, model).outcome_kind


def _registered(call: Call, model: str) -> None:
    if not _known(call, model):
        see_all(call)  # it may have been registered a moment ago
        if not _known(call, model):
            raise NotFound("model", model)


def _known(call: Call, model: str) -> bool:
    with call.views.reader(call.actor.tenant) as read:
        found = read.get(views.models, model)
    return found is not None
