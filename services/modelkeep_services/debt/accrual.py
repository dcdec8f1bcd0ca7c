"""The carrying charge: an exact function of time, however often it is posted.

Micro-points accrued by a moment are the floor of an exact sum over stretches of
constant rate; a posting is the difference of two such numbers. So a year posted daily,
monthly or once comes to the same, and so does a replay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

MICROSECOND: Final = timedelta(microseconds=1)
PERIOD: Final = timedelta(days=30) // MICROSECOND


@dataclass(frozen=True)
class Stretch:
    """From `since` to the next stretch: micro-points a 30 days, and `times` as many
    past `due_at`.
    """

    since: datetime
    rate: int
    due_at: datetime | None = None
    times: int = 1


def accrued(stretches: Sequence[Stretch], upto: datetime) -> int:
    """Micro-points by `upto`.

    >>> start = datetime(2026, 1, 1, tzinfo=UTC)
    >>> due = start + timedelta(days=30)
    >>> accrued([Stretch(start, 40, due, 2)], start + timedelta(days=45))
    80
    """
    total = 0
    for at, stretch in enumerate(stretches):
        following = stretches[at + 1].since if at + 1 < len(stretches) else upto
        end = min(following, upto)
        total += stretch.rate * _between(stretch.since, end)
        if stretch.due_at is not None:
            late = _between(max(stretch.since, stretch.due_at), end)
            total += stretch.rate * (stretch.times - 1) * late
    return total // PERIOD


def _between(start: datetime, end: datetime) -> int:
    return max(0, (end - start) // MICROSECOND)


def month_end(after: datetime) -> datetime:
    """Return the first moment of the next month in UTC: the month before ends there.

    >>> month_end(datetime(2026, 12, 1, tzinfo=UTC)).isoformat()
    '2027-01-01T00:00:00+00:00'
    """
    here = after.astimezone(UTC)
    year, month = (here.year + here.month // 12, here.month % 12 + 1)
    return datetime(year, month, 1, tzinfo=UTC)


def month_ends(after: datetime, upto: datetime) -> Iterator[datetime]:
    """Every month's end after one moment, up to and including another."""
    end = month_end(after)
    while end <= upto:
        yield end
        end = month_end(end)
