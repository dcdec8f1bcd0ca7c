"""What a risk budget had left at a moment, from what was counted by then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from modelkeep.errors import Invalid
from modelkeep.stats.budget import (
    Budget,
    Counted,
    Slot,
    Stretch,
    counted_once,
    spent,
)
from modelkeep.views import Reader
from modelkeep_services.audit.known.insight import BudgetRow, budgets
from modelkeep_services.audit.known.monitoring import (
    SlotRow,
    WindowRow,
    slots,
    windows,
)

MONTHS: Final = {"month": 1, "quarter": 3}
YEAR: Final = 12


@dataclass(frozen=True)
class Standing:
    """See the proto's Budget."""

    model: str
    budget: str
    kind: str
    metric: str
    status: str
    spent: float | None
    accepted_rate: float
    limit_rate: float
    expected_events: int
    bad_events: int | None
    events: int | None
    period_start: datetime
    period_end: datetime
    event_id: str


def standings(read: Reader, model: str, now: datetime) -> list[Standing]:
    return [_standing(read, row, now) for _, row in read.scan(budgets, f"{model}/")]


def _standing(read: Reader, row: BudgetRow, now: datetime) -> Standing:
    start, end = _period(now, MONTHS[row.period] * row.periods)
    crossed = row.period_start == start
    slots = None if row.banded else _slots(read, row, start, now)
    share = row.spent if crossed else None
    if slots is not None:
        share = _spent(row, slots, start, end)
    return Standing(
        model=row.model,
        budget=row.budget,
        kind=row.kind,
        metric=row.metric,
        # A crossing speaks of its own period alone.
        status=row.status if crossed else "within",
        spent=share,
        accepted_rate=row.accepted_rate,
        limit_rate=row.limit_rate,
        expected_events=row.expected_events,
        bad_events=None if slots is None else int(sum(s.bad for s in slots)),
        events=None if slots is None else int(sum(s.n for s in slots)),
        period_start=start,
        period_end=end,
        event_id=row.event_id,
    )


def _period(instant: datetime, months: int) -> tuple[datetime, datetime]:
    """Return the calendar period around `instant`, in UTC, counted from year 1."""
    instant = instant.astimezone(UTC)
    month = instant.year * YEAR + instant.month - 1
    first = month - month % months
    return _first_of(first), _first_of(first + months)


def _first_of(month: int) -> datetime:
    return datetime(month // YEAR, month % YEAR + 1, 1, tzinfo=UTC)


def _slots(
    read: Reader, row: BudgetRow, start: datetime, until: datetime
) -> list[Slot] | None:
    """Return one slot a window, and a slot's own; None when the metric is counted in
    another way.
    """
    told: list[WindowRow | SlotRow] = [
        window for _, window in read.scan(windows, f"{row.model}/")
    ]
    told += [slot for _, slot in read.scan(slots, f"{row.model}/")]
    stretches: list[Stretch] = []
    for one in told:
        if one.start >= until or row.metric not in one.bad:
            continue
        n = _chances(row, one)
        if n is None:
            return None
        of = f"{one.environment}/{one.version}"
        began, ended = int(one.start.timestamp()), int(one.end.timestamp())
        stretches.append(Stretch(of, began, ended, Counted(n, one.bad[row.metric])))
    once = zip(stretches, counted_once(stretches), strict=True)
    first = int(start.timestamp())
    found = [Slot(s.start, c.n, c.bad) for s, c in once if s.start >= first]
    return found or None


def _chances(row: BudgetRow, window: WindowRow | SlotRow) -> int | None:
    match row.kind:
        case "latency":
            return window.latency_n
        case "false_positive_rate":
            return window.outcomes - window.positives
        case "degradation":
            return window.outcomes
    return None


def _spent(
    row: BudgetRow, slots: list[Slot], start: datetime, end: datetime
) -> float | None:
    try:
        budget = Budget(
            accepted=row.accepted_rate,
            limit=row.limit_rate,
            expected=row.expected_events * row.periods,
            start=int(start.timestamp()),
            end=int(end.timestamp()),
        )
    except Invalid:
        return None
    return round(spent(slots, budget), 4)
