"""RecordOutcomes: what became true, a batch a message, acknowledged once durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.rows import NEVER
from modelkeep.errors import Invalid, NotFound
from modelkeep.service import Call
from modelkeep_services.monitoring import columns, views
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
    if len(request.outcomes) != rows:
        raise Invalid.field(
            "outcomes", f"has {len(request.outcomes)} bytes, not {rows}"
        )
    outcomes = np.frombuffer(request.outcomes, dtype=np.uint8)
    if (outcomes > NEVER).any():
        raise Invalid.field("outcomes", "a byte is none of 0, 1 and 2")
    return Outcomes(ids, outcomes, columns.times("known_at", request.known_at, rows))


def _registered(call: Call, model: str) -> None:
    if not _known(call, model):
        see_all(call)  # it may have been registered a moment ago
        if not _known(call, model):
            raise NotFound("model", model)


def _known(call: Call, model: str) -> bool:
    with call.views.reader(call.actor.tenant) as read:
        found = read.get(views.models, model)
    return found is not None
