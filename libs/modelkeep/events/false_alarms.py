"""How many false alarms a model may raise, as its owner states it.

The same document as `modelkeep.stats.alarm_budget` reads from YAML, as a value: what
has a bound there has it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from modelkeep.events.types import Slug, Value

WatchKind = Literal["features", "prediction", "missing", "performance"]
"""One detector of a version in an environment each; all features together are one."""

GroupMetric = Literal["adverse_impact_ratio", "parity_difference", "equal_opportunity"]
"""What is tested of declared groups."""

Period = Literal["month", "quarter", "year"]
Part = Annotated[float, Field(ge=0.000_001, le=1_000_000, allow_inf_nan=False)]
"""Never so little that no evidence would do."""
Room = Annotated[float, Field(ge=0, lt=1)]
Odds = Annotated[float, Field(gt=1, le=1_000)]
Rate = Annotated[float, Field(gt=0, lt=1)]
"""An expected share of discoveries that are none."""


METRICS: Final = frozenset(
    {
        "feature_evidence",
        "prediction_evidence",
        "missing_evidence",
        "performance_evidence",
        "adverse_impact_ratio",
        "parity_difference",
        "equal_opportunity",
    }
)
"""Metrics of alerts that may spend a budget: of detectors, and of declared groups."""

_MONTHS: Final[Mapping[Period, int]] = {"month": 1, "quarter": 3, "year": 12}
_QUARTERS: Final[Mapping[Period, float]] = {"month": 3.0, "quarter": 1.0, "year": 0.25}


def a_quarter(false_alarms: float, period: Period) -> float:
    """Return what so many a period are a quarter, to 4 decimals."""
    return round(false_alarms * _QUARTERS[period], 4)


def quarter_of(at: datetime) -> str:
    """Name the quarter of a moment in UTC, such as 2026Q1."""
    return f"{at.year}Q{(at.month + 2) // 3}"


def period_of(at: datetime, period: Period) -> tuple[datetime, datetime]:
    """Return the calendar month, quarter or year of a moment, in UTC: [start, end).

    >>> start, end = period_of(datetime(2026, 5, 9, tzinfo=UTC), "quarter")
    >>> f"{start:%Y-%m-%d} {end:%Y-%m-%d}"
    '2026-04-01 2026-07-01'
    """
    utc, months = at.astimezone(UTC), _MONTHS[period]
    first = (utc.month - 1) // months * months
    last = first + months
    return (
        datetime(utc.year, first + 1, 1, tzinfo=UTC),
        datetime(utc.year + last // 12, last % 12 + 1, 1, tzinfo=UTC),
    )


class AlarmShares(Value):
    """How the detectors and the tests of declared groups divide the budget, relative
    to each other.
    """

    features: Part = 0.5
    prediction: Part = 0.2
    missing: Part = 0.1
    performance: Part = 0.2
    fairness: Part = 0.1


class AlarmTolerance(Value):
    """What is too little to be called a change: a part of the baseline's share, a share
    of rows, and how sure the baseline's own bounds must be.
    """

    relative: Room = 0.10
    absolute: Room = 0.002
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.999


class FalseAlarms(Value):
    """At most `false_alarms` a period, in expectation, from everything that watches a
    model statistically. `odds` are the changes bet on. Up to `alike` rows of a window
    may tell the same thing: customers who come back, flights of one hour's weather.
    When a period is over it is reviewed: of all that reviews call a change, the
    expected share that is none is at most `false_discovery_rate`.
    """

    version: Slug = "alarms-1"
    false_alarms: Part = 1.0
    period: Period = "quarter"
    shares: AlarmShares = AlarmShares()
    tolerance: AlarmTolerance = AlarmTolerance()
    odds: Annotated[tuple[Odds, ...], Field(min_length=1, max_length=10)] = (1.12, 1.5)
    alike: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    false_discovery_rate: Rate = 0.05
