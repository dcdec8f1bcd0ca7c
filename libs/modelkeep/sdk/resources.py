"""What decisions used, as their sender measures it: processor, memory, money.

Batches carry it beside their rows. Processor time and money are divided among the
batches that leave together, by their rows and without a rest; memory is a peak, and
each has it whole.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from modelkeep.api.common.v1.common_pb2 import Money
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]  # asked for before each use

HOUR_NS: Final = 3_600 * 10**9
LONGEST: Final = 2**63 - 1

Cost: TypeAlias = tuple[int, str]
"""Minor units and their ISO 4217 currency: (12, "USD") is twelve cents."""


class Used(NamedTuple):
    """None: nobody measured it."""

    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    cost: Cost | None = None


Usage: TypeAlias = Callable[[], Used]
"""Says what was used since it was last asked. Asked from more than one thread."""


class Process:
    """A Usage: what this process used since it was last asked, in all its threads,
    whatever for. Memory is its largest resident set so far, where the system knows.
    `per_hour` is what an hour of it costs, busy or not.
    """

    def __init__(self, per_hour: Cost | None = None) -> None:
        self._per_hour = per_hour
        self._asked = deque([(time.process_time(), time.monotonic_ns())])

    def __call__(self) -> Used:
        # Each who asks leaves a mark and takes the one before: what all are told adds
        # up, without a lock that a fork could find taken.
        now = time.process_time(), time.monotonic_ns()
        self._asked.append(now)
        before = self._asked.popleft()
        cpu = now[0] - before[0]
        if cpu < 0:  # a forked child's clock began anew
            cpu = now[0]
        return Used(cpu, _peak(), self._cost(before[1], now[1]))

    def _cost(self, start: int, end: int) -> Cost | None:
        if self._per_hour is None:
            return None
        minor, currency = self._per_hour
        return minor * end // HOUR_NS - minor * start // HOUR_NS, currency


def _peak() -> int | None:
    if resource is None:
        return None
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


def checked(used: Used) -> Used | None:
    """Refuse what would make a server refuse the batch; None: nothing was measured.
    Raises ValueError.
    """
    cpu, memory, cost = used
    if cpu is not None and not 0 <= cpu < math.inf:
        raise ValueError(f"{cpu} is no processor time")
    if memory is not None and not 0 <= memory <= LONGEST:
        raise ValueError(f"{memory} is no size of memory")
    if cost is not None and not _is_money(*cost):
        raise ValueError(f"{cost} is no cost: give minor units and a currency")
    return None if used == Used() else used


def _is_money(minor: int, currency: str) -> bool:
    small = -LONGEST <= minor <= LONGEST
    return small and len(currency) == 3 and currency.isalpha() and currency.isupper()  # noqa: PLR2004  # ISO 4217


def share(used: Used, start: int, end: int, rows: int) -> pb.Resources:
    """Return what rows [start, end) of `rows` used: of processor and money their part.

    >>> [share(Used(cost=(10, "USD")), at, at + 1, 3).cost[0].minor for at in range(3)]
    [3, 3, 4]
    """
    cpu, memory, cost = used
    return pb.Resources(
        cpu_seconds=None if cpu is None else cpu * (end - start) / rows,
        memory_bytes=memory,
        cost=[] if cost is None else [_money(cost, start, end, rows)],
    )


def _money(cost: Cost, start: int, end: int, rows: int) -> Money:
    minor, currency = cost
    part = minor * end // rows - minor * start // rows
    return Money(minor=part, currency=currency)
