"""Reference data to a server, in messages that fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

import grpc

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.sdk import packing
from modelkeep.sdk.batches import MAX_BYTES, MAX_ROWS, Source
from modelkeep.sdk.outcomes import OutcomeKind, Truth, of_numbers, truths
from modelkeep.sdk.packing import Values


class Baseline(NamedTuple):
    name: str
    columns: Mapping[str, Values]
    scores: Values
    outcomes: Sequence[Truth] | None
    importances: Mapping[str, float]
    categorical: Sequence[str]
    threshold: float
    period: tuple[datetime, datetime] | None
    note: str
    outcome_kind: OutcomeKind | None = None


def register(
    channel: grpc.Channel,
    metadata: tuple[tuple[str, str], ...],
    source: Source,
    given: Baseline,
    request_id: str | None,
    timeout: float,
) -> int:
    """Raises grpc.RpcError."""
    first = pb.RegisterBaselineRequest(
        request_id=request_id or str(uuid4()), header=_header(source, given)
    )
    answers = MonitoringServiceStub(channel).RegisterBaseline(
        _messages(first, given), timeout=timeout, metadata=metadata
    )
    [answer] = list(answers)
    return answer.written.position


def _header(source: Source, given: Baseline) -> pb.BaselineHeader:
    header = pb.BaselineHeader(
        model=source.model,
        version=source.version,
        environment=source.environment,
        baseline=given.name,
        importances=given.importances,
        categorical=given.categorical,
        threshold=given.threshold,
        note=given.note,
    )
    if given.period is not None:
        header.period_start.FromDatetime(given.period[0])
        header.period_end.FromDatetime(given.period[1])
    return header


def _messages(
    first: pb.RegisterBaselineRequest, given: Baseline
) -> Iterator[pb.RegisterBaselineRequest]:
    yield first
    outcomes = given.outcomes
    # an array has no truth value of its own
    numbers = outcomes is not None and of_numbers(given.outcome_kind, outcomes)
    yield from _sliced(given, 0, len(given.scores), numbers=numbers)


def _sliced(
    given: Baseline, start: int, end: int, *, numbers: bool
) -> Iterator[pb.RegisterBaselineRequest]:
    if start >= end:
        return
    if end - start <= MAX_ROWS:
        request = _slice(given, slice(start, end), numbers=numbers)
        if end - start == 1 or request.ByteSize() <= MAX_BYTES:
            yield request
            return
    middle = (start + end) // 2
    yield from _sliced(given, start, middle, numbers=numbers)
    yield from _sliced(given, middle, end, numbers=numbers)


def _slice(
    given: Baseline, part: slice, *, numbers: bool
) -> pb.RegisterBaselineRequest:
    request = pb.RegisterBaselineRequest(
        columns=[
            packing.column(name, values[part]) for name, values in given.columns.items()
        ],
        scores=packing.doubles_of(given.scores[part]),
    )
    if given.outcomes is not None and numbers:
        request.outcome_values = packing.doubles(given.outcomes[part])
    elif given.outcomes is not None:
        request.outcomes = truths(given.outcomes[part])
    return request
