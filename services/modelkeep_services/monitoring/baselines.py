"""RegisterBaseline: reference data, sent or logged before, and what they looked like.

The data themselves are not kept: their counts are, their bins, and how well the version
did on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decider import Context
from modelkeep.decisions.matrix import Column, Floats, Octets, Times
from modelkeep.decisions.rows import NEVER
from modelkeep.errors import Exhausted, Invalid, NotFound
from modelkeep.events.monitoring import Estimate
from modelkeep.ledger import Order, body_hash, stream_name
from modelkeep.service import Call
from modelkeep.stats.performance import performance
from modelkeep.stats.profile import Baseline
from modelkeep.stats.regression import errors
from modelkeep_services.monitoring import (
    columns,
    label_free,
    measures,
    views,
    wire_values,
)
from modelkeep_services.monitoring.arrays import array_of, micros
from modelkeep_services.monitoring.book import Book, Books, Held, truth_of
from modelkeep_services.monitoring.commands import RegisterBaseline
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.observe import see_all, within
from modelkeep_services.monitoring.outcomes import as_declared
from modelkeep_services.monitoring.seasonal import by_season, season_of
from modelkeep_services.monitoring.windows import error_estimates, estimates

MAX_VALUES: Final = 32_000_000
"""Rows times columns of one baseline: a quarter of a gigabyte of float64."""
UNKNOWN: Final = 2


class Piece(NamedTuple):
    """Some rows: of the features by name, scores, and outcomes where known: yes or no,
    or numbers, NaN where none is.
    """

    features: dict[str, tuple[str, Column]]
    scores: Floats | None
    outcomes: Octets | None
    latency_ms: Floats | None
    rows: int
    times: Times | None = None
    values: Floats | None = None


class BaselineTaker:
    """Shared by all streams of a process."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def take(
        self, requests: AsyncIterator[pb.RegisterBaselineRequest], call: Call
    ) -> AsyncIterator[pb.RegisterBaselineResponse]:
        await asyncio.to_thread(see_all, call)
        first: pb.RegisterBaselineRequest | None = None
        pieces: list[Piece] = []
        values = 0
        async for request in requests:
            if first is None:
                first = request
                await asyncio.to_thread(_check_header, request, call)
            if request.columns or request.scores:
                pieces.append(await asyncio.to_thread(_piece, request))
                values += pieces[-1].rows * (1 + len(pieces[-1].features))
            if values > MAX_VALUES:
                raise Exhausted(f"a baseline has at most {MAX_VALUES} values")
        if first is None:
            raise Invalid.field("header", "nothing was sent")
        yield await asyncio.to_thread(self._register, first, pieces, call)

    def _register(
        self,
        first: pb.RegisterBaselineRequest,
        pieces: list[Piece],
        call: Call,
    ) -> pb.RegisterBaselineResponse:
        header = first.header
        if header.from_log:
            if pieces:
                raise Invalid.field("columns", "are sent, and the log is named too")
            pieces = self._logged(header, call)
        elif not pieces:
            raise Invalid.field("columns", "a baseline needs rows")
        whole = _whole(pieces)
        _same_kind(call, header.model, whole)
        command = _command(first, whole)
        now = call.now()
        effective = wire_values.instant("effective_at", first, "effective_at") or now
        written = call.execute(
            Order(
                stream_name("monitor", call.actor.tenant, command.model),
                MONITOR,
                command,
                Context(call.actor, now, effective, _request_id(first.request_id)),
                body_hash(command),
                first.expected_revision
                if first.HasField("expected_revision")
                else None,
            )
        )
        answer = pb.RegisterBaselineResponse()
        answer.written.position, answer.written.revision = written[:2]
        answer.written.replayed, answer.written.changed = written[2:]
        answer.written.id = command.model
        return answer

    def _logged(self, header: pb.BaselineHeader, call: Call) -> list[Piece]:
        start, end = _period(header)
        if start is None or end is None or start >= end:
            raise Invalid.field("header.period_start", "a period of the log is needed")
        book = self._books.of(call.actor.tenant, header.model)
        environment = header.environment or "prod"
        found = []
        with book.lock:
            book.catch_up()
            for held in book.between(micros(start), micros(end)):
                event = held.event
                if (
                    event.version,
                    event.environment,
                    event.quarantined,
                ) == (header.version, environment, False):
                    piece = _of_batch(book, held, start, end)
                    if piece.rows:
                        found.append(piece)
        if not found:
            raise Invalid.field("header.period_start", "nothing was logged then")
        return found


def _check_header(request: pb.RegisterBaselineRequest, call: Call) -> None:
    _request_id(request.request_id)
    if not request.HasField("header"):
        raise Invalid.field("header", "the first message says what the data are")
    header = request.header
    model = columns.slug_of("header.model", header.model)
    version = columns.slug_of("header.version", header.version)
    columns.slug_of("header.baseline", header.baseline)
    within(call, model)
    with call.views.reader(call.actor.tenant) as read:
        if read.get(views.versions, f"{model}/{version}") is None:
            raise NotFound("version", f"{model}/{version}")


def _same_kind(call: Call, model: str, data: Piece) -> None:
    """Raises Refused for outcomes of another kind than the model's."""
    if data.values is not None:
        as_declared(call, model, "number")
    elif data.outcomes is not None and (data.outcomes < NEVER).any():
        as_declared(call, model, "binary")


def _request_id(given: str) -> str:
    try:
        return str(UUID(given))
    except ValueError:
        raise Invalid.field(
            "request_id", "must be a UUID, chosen by the caller"
        ) from None


def _piece(request: pb.RegisterBaselineRequest) -> Piece:
    rows = len(request.scores) // 8
    if request.scores and len(request.scores) % 8:
        raise Invalid.field("scores", "are not whole float64 values")
    if not rows:
        raise Invalid.field("scores", "every message says the scores of its rows")
    scores = np.frombuffer(request.scores, dtype=columns.F8)
    if not np.isfinite(scores).all():
        raise Invalid.field("scores", "one is no number")
    outcomes = None
    if request.outcomes:
        outcomes = np.frombuffer(request.outcomes, dtype=np.uint8)
        if len(outcomes) != rows or (outcomes > UNKNOWN).any():
            raise Invalid.field("outcomes", f"must be {rows} bytes of 0, 1 or 2")
    values = _values(request, rows)
    latency = None
    if request.latency_ms:
        if len(request.latency_ms) != rows * 8:
            raise Invalid.field("latency_ms", f"must be {rows * 8} bytes")
        latency = np.frombuffer(request.latency_ms, dtype=columns.F8)
    features = {
        name: (dtype, column)
        for name, dtype, column in columns.read_columns(request.columns, rows)
    }
    times = columns.times("times", request.times, rows) if request.times else None
    return Piece(features, scores, outcomes, latency, rows, times, values)


def _values(request: pb.RegisterBaselineRequest, rows: int) -> Floats | None:
    """Return outcomes that are numbers; None where they are not."""
    if not request.outcome_values:
        return None
    if request.outcomes:
        raise Invalid.field("outcome_values", "are sent beside outcomes")
    values = columns.doubles("outcome_values", request.outcome_values, rows)
    if np.isinf(values).any():
        raise Invalid.field("outcome_values", "one is infinite")
    return values


def _of_batch(book: Book, held: Held, start: datetime, end: datetime) -> Piece:
    rows, truth = book.decisions(held), truth_of(book.rows(held))
    kept = (rows.times >= micros(start)) & (rows.times < micros(end))
    part, truth = columns.taken(rows, kept), truth.taken(kept)
    numbers = None
    if truth.values is not None:
        numbers = np.where(truth.outcomes < NEVER, truth.values, np.nan)
    named = zip(part.schema.columns, part.columns, strict=True)
    return Piece(
        features={name: (dtype, column) for (name, dtype), column in named},
        scores=part.scores,
        outcomes=None if numbers is not None else np.minimum(truth.outcomes, UNKNOWN),
        latency_ms=part.latency_ms,
        rows=len(part),
        times=part.times,
        values=numbers,
    )


def _whole(pieces: Sequence[Piece]) -> Piece:
    """Put pieces end to end. Raises Invalid where they do not have the same columns."""
    first = pieces[0]
    names = {name: dtype for name, (dtype, _) in first.features.items()}
    for piece in pieces:
        if {name: dtype for name, (dtype, _) in piece.features.items()} != names:
            raise Invalid.field("columns", "differ from one message to the next")
    outcomes = [
        np.full(p.rows, UNKNOWN, np.uint8) if p.outcomes is None else p.outcomes
        for p in pieces
    ]
    numbers = any(p.values is not None for p in pieces)
    if numbers and any(p.outcomes is not None for p in pieces):
        raise Invalid.field("outcome_values", "are numbers in some messages alone")
    latency = [
        np.full(p.rows, np.nan) if p.latency_ms is None else p.latency_ms
        for p in pieces
    ]
    return Piece(
        features={
            name: (dtype, columns.joined_column([p.features[name][1] for p in pieces]))
            for name, dtype in names.items()
        },
        scores=np.concatenate([p.scores for p in pieces if p.scores is not None]),
        outcomes=np.concatenate(outcomes),
        latency_ms=np.concatenate(latency),
        rows=sum(p.rows for p in pieces),
        times=_times(pieces),
        values=np.concatenate(
            [np.full(p.rows, np.nan) if p.values is None else p.values for p in pieces]
        )
        if numbers
        else None,
    )


def _times(pieces: Sequence[Piece]) -> Times | None:
    found = [piece.times for piece in pieces if piece.times is not None]
    return np.concatenate(found) if len(found) == len(pieces) else None


def _command(first: pb.RegisterBaselineRequest, data: Piece) -> RegisterBaseline:
    header = first.header
    scores, outcomes = data.scores, data.outcomes
    if scores is None or outcomes is None:
        raise Invalid.field("scores", "are missing")
    weights = {
        name: wire_values.finite("header.importances", weight)
        for name, weight in header.importances.items()
    }
    named = {name: array_of(column) for name, (_, column) in data.features.items()}
    baseline = Baseline.fit(
        named,
        scores=scores,
        latency_ms=data.latency_ms,
        importances=weights or None,
        categorical=tuple(header.categorical),
    )
    yardstick = measures.fit(baseline, named)
    threshold = header.threshold if header.HasField("threshold") else 0.5
    start, end = _period(header)
    known = outcomes < NEVER
    said, truth = scores[known], outcomes[known].astype(np.float64)
    season = season_of(header)
    seasons = by_season(season, baseline, named, scores, data.times)
    return wire_values.command(
        RegisterBaseline,
        "header",
        model=header.model,
        version=header.version,
        baseline=header.baseline,
        profile=baseline.to_json().decode(),
        layout=baseline.layout.digest,
        rows=data.rows,
        features=tuple(feature.name for feature in baseline.layout.features),
        threshold=threshold,
        performance=_measured(data, threshold),
        outcomes=_known(data),
        origin="logged" if header.from_log else "sent",
        period_start=start,
        period_end=end,
        note=header.note or None,
        **({} if yardstick is None else measures.spelled(yardstick)),
        score_outcomes=label_free.score_outcomes(said, truth),
        brier_cells=label_free.brier_cells(said, truth),
        season=season.replace("-", "_"),
        seasons=seasons,
    )


def _known(data: Piece) -> int:
    """Return how many outcomes are known."""
    if data.values is not None:
        return int(np.count_nonzero(~np.isnan(data.values)))
    return 0 if data.outcomes is None else int(np.count_nonzero(data.outcomes < NEVER))


def _measured(data: Piece, threshold: float) -> tuple[Estimate, ...]:
    scores, outcomes = data.scores, data.outcomes
    if scores is None or outcomes is None:
        return ()
    known = outcomes < NEVER
    mean = Estimate(
        metric="score_mean", value=round(float(scores.mean()), 6), n=len(scores)
    )
    if data.values is not None:
        return (mean, *error_estimates(errors(scores, data.values)))
    if not known.any():
        return (mean,)
    truth = outcomes[known].astype(np.float64)
    return (mean, *estimates(performance(scores[known], truth, threshold)))


def _period(header: pb.BaselineHeader) -> tuple[datetime | None, datetime | None]:
    return (
        wire_values.instant("header.period_start", header, "period_start"),
        wire_values.instant("header.period_end", header, "period_end"),
    )
