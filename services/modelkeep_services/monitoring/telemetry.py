"""What senders say of a batch beside its rows: the time of explanations, what it used.

It is no part of the proven rows. Cells of latency and sums of resources add up; memory
is the peak of peaks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.errors import Invalid
from modelkeep.events.monitoring import LatencyCell, Resources
from modelkeep.events.types import Money
from modelkeep.stats import latency as latencies
from modelkeep.wire import checked, values
from modelkeep_services.monitoring.columns import F8


class Telemetry(NamedTuple):
    """`explanation_ms` has ascending cells."""

    explanation_ms: tuple[LatencyCell, ...] = ()
    resources: Resources | None = None


SILENT: Final = Telemetry()


def telemetry(request: pb.ObserveRequest, rows: int) -> Telemetry:
    """Read what a batch says. Raises Invalid, naming the field."""
    return Telemetry(_explanations(request.explanation_ms, rows), _used(request, rows))


def merged(many: Iterable[Telemetry]) -> Telemetry:
    """Add up what several batches say."""
    found = list(many)
    cells: Counter[int] = Counter()
    for one in found:
        cells.update({part.cell: part.rows for part in one.explanation_ms})
    return Telemetry(_cells(cells), total(one.resources for one in found))


def total(many: Iterable[Resources | None]) -> Resources | None:
    """Add up; None where nobody said anything."""
    found = [one for one in many if one is not None]
    if not found:
        return None
    seconds = [one.cpu_seconds for one in found if one.cpu_seconds is not None]
    peaks = [one.memory_bytes for one in found if one.memory_bytes is not None]
    cost: Counter[str] = Counter()
    for money in (money for one in found for money in one.cost):
        cost[money.currency] += money.minor
    return Resources(
        rows=sum(one.rows for one in found),
        cpu_seconds=round(sum(seconds), 6) if seconds else None,
        memory_bytes=max(peaks, default=None),
        cost=tuple(Money(minor=cost[name], currency=name) for name in sorted(cost)),
    )


def _cells(rows: Mapping[int, int]) -> tuple[LatencyCell, ...]:
    return tuple(LatencyCell(cell=cell, rows=rows[cell]) for cell in sorted(rows))


def _explanations(given: bytes, rows: int) -> tuple[LatencyCell, ...]:
    if not given:
        return ()
    if len(given) != rows * 8:
        raise Invalid.field("explanation_ms", f"must be {rows * 8} bytes")
    counts = latencies.count_latency(np.frombuffer(given, dtype=F8))
    used = np.flatnonzero(counts[: latencies.MISSING])
    return _cells(dict(zip(used.tolist(), counts[used].tolist(), strict=True)))


def _used(request: pb.ObserveRequest, rows: int) -> Resources | None:
    if not request.HasField("resources"):
        return None
    return checked(Resources, values(request.resources) | {"rows": rows})
