"""Months and quarters, in UTC: which period an instant lies in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

Length = Literal["month", "quarter"]
MONTHS: Final[dict[Length, int]] = {"month": 1, "quarter": 3}
YEAR: Final = 12


class Span(NamedTuple):
    """[start, end)."""

    start: datetime
    end: datetime

    @property
    def hours(self) -> float:
        return (self.end - self.start).total_seconds() / 3_600


def period_of(instant: datetime, length: Length, periods: int = 1) -> Span:
    """Return the period around `instant`: `periods` calendar ones, counted from year 1.

    >>> span = period_of(datetime(2013, 5, 17, 9, tzinfo=UTC), "quarter")
    >>> f"{span.start:%F} {span.end:%F}"
    '2013-04-01 2013-07-01'
    >>> f"{period_of(span.end, 'month').end:%F}"
    '2013-08-01'
    """
    size = MONTHS[length] * periods
    instant = instant.astimezone(UTC)
    month = instant.year * YEAR + instant.month - 1
    first = month - month % size
    return Span(_first_of(first), _first_of(first + size))


def _first_of(month: int) -> datetime:
    return datetime(month // YEAR, month % YEAR + 1, 1, tzinfo=UTC)
