"""A budget's status at a moment: slots from what was counted, arithmetic from stats.

A week is judged, and its days or hours are counted for burn windows that are shorter:
each decision counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias, cast

from modelkeep.stats.budget import (
    Budget,
    Counted,
    Permission,
    Slot,
    Status,
    Stretch,
    counted_once,
    may_change,
    status,
    window_slot,
)
from modelkeep.views import Reader
from modelkeep_services.insight.documents import (
    BudgetRules,
    Loaded,
    budget_rules,
    health_rules,
)
from modelkeep_services.insight.periods import Length, Span, period_of
from modelkeep_services.insight.views import crossings, monitoring
from modelkeep_services.insight.views.crossings import BudgetRow
from modelkeep_services.insight.views.monitoring import SlotRow, WindowRow, sortable

REACH: Final = timedelta(days=35)
"""Rules look back over the period's edge: nine runs, or as many seconds as they say."""
CITED: Final = 50


Told: TypeAlias = WindowRow | SlotRow
"""What was counted from its start until before its end."""


class Spending(NamedTuple):
    """`evidence`: what was counted in the period, newest first."""

    row: BudgetRow
    span: Span
    status: Status
    slots: tuple[Slot, ...]
    evidence: tuple[str, ...]
    rules: Loaded[BudgetRules]

    @property
    def ahead(self) -> bool:
        return self.status.low > self.status.elapsed

    @property
    def exhausted_at(self) -> datetime | None:
        at = self.status.exhausted_at
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def permission(self, *, attended: bool, remedy: bool) -> Permission:
        return may_change(self.status, attended=attended, remedy=remedy)


def spending_of(
    read: Reader, row: BudgetRow, now: datetime, span: Span | None = None
) -> Spending:
    """Return the status of the period around `now`, or of `span` as known at `now`."""
    rules = budget_rules()
    around = span or period_of(now, cast("Length", row.period), row.periods)
    until = min(now, around.end)
    stretches = _stretches(read, row, around.start - _reach(row, rules.says), until)
    slots = _slots(row, stretches, rules.says)
    budget = _budget(row, around)
    inside = [w for w in stretches if around.start <= w.start < around.end]
    return Spending(
        row,
        around,
        status(slots, budget, _seconds(until), rules.says.budget),
        tuple(s for s in slots if s.start >= _seconds(around.start)),
        tuple(w.event for w in reversed(inside)),
        rules,
    )


def spendings_of(read: Reader, now: datetime, prefix: str = "") -> list[Spending]:
    return [
        spending_of(read, row, now) for _, row in read.scan(crossings.budgets, prefix)
    ]


def _budget(row: BudgetRow, span: Span) -> Budget:
    return Budget(
        accepted=row.p0,
        limit=row.p1,
        expected=row.expected_events * row.periods,
        start=_seconds(span.start),
        end=_seconds(span.end),
        batch=row.batch,
    )


def _reach(row: BudgetRow, rules: BudgetRules) -> timedelta:
    if row.batch:
        return REACH
    return timedelta(seconds=max(rule.long for rule in rules.budget.continuous))


def _stretches(
    read: Reader, row: BudgetRow, since: datetime, until: datetime
) -> list[Told]:
    """Return what ended after `since` and began before `until`, by its end. An AUC is
    of windows: a slot has none.
    """
    after = f"{row.model}/{sortable(since)}"
    found: list[Told] = [
        window
        for _, window in read.scan(monitoring.windows, f"{row.model}/", after=after)
    ]
    if row.band is None:
        slots = read.scan(monitoring.slots, f"{row.model}/", after=after)
        found += [slot for _, slot in slots]
    ignored = health_rules().says.ignored_environments
    kept = [w for w in found if w.start < until and w.environment not in ignored]
    return sorted(kept, key=lambda w: (w.end, w.start, w.environment, w.version))


def _slots(row: BudgetRow, stretches: Sequence[Told], rules: BudgetRules) -> list[Slot]:
    """What is pending burns at the rate of what arrived before."""
    slots: list[Slot] = []
    arrived = bad = 0
    once = counted_once([_stretch(row, one) for one in stretches])
    for stretch, counted in zip(stretches, once, strict=True):
        arrived, bad = arrived + counted.n, bad + counted.bad
        enough = arrived >= rules.provisional_least
        expected = counted.pending * (bad / arrived if enough else row.p0)
        slots.append(_slot(row, stretch, counted, expected))
    return slots


def _stretch(row: BudgetRow, one: Told) -> Stretch:
    of = f"{one.environment}/{one.version}"
    return Stretch(of, _seconds(one.start), _seconds(one.end), count(row, one))


def _slot(row: BudgetRow, window: Told, counted: Counted, bad: float) -> Slot:
    start = _seconds(window.start)
    if row.band is None or counted.pending:
        trials = None if row.band is None else 1.0
        return Slot(start, counted.n, counted.bad, counted.pending, bad, trials)
    return window_slot(start, counted.n, out_of_band=counted.bad > 0)


def count(row: BudgetRow, window: Told) -> Counted:
    """Return what one means to a budget: which chances, which went bad."""
    found = _count(row, window)
    # a metric that is not this kind's may count more than its chances: all went bad
    return found._replace(bad=min(found.bad, found.n))


def _count(row: BudgetRow, window: Told) -> Counted:
    if row.band is not None and isinstance(window, WindowRow):
        return _banded(row.metric, row.band, window)
    bad = window.bad.get(row.metric, 0)
    match row.kind:
        case "latency":
            return Counted(window.latency_n, bad, 0)
        case "data_quality":
            return _quality(row.metric, window)
        case "false_positive_rate":
            negatives = window.outcomes - window.positives
            share = negatives / window.outcomes if window.outcomes else 1.0
            return Counted(negatives, bad, round(window.pending * share))
        case _:
            return Counted(window.outcomes, bad, window.pending)


def _banded(metric: str, band: float, window: WindowRow) -> Counted:
    """Judge a window as a whole, as far as its bounds prove it out of band."""
    found = next((m for m in window.performance if m.metric == metric), None)
    if found is None or found.baseline is None or not window.mature:
        return Counted(0, 0, window.rows)
    direction = health_rules().says.bands.get(metric)
    rises = direction is not None and direction.direction == "rises"
    worse = (
        _or(found.lower, found.value) - found.baseline
        if rises
        else found.baseline - _or(found.upper, found.value)
    )
    return Counted(window.rows, window.rows if worse > band else 0, 0)


def _or(bound: float | None, value: float) -> float:
    return value if bound is None else bound


def _quality(metric: str, window: Told) -> Counted:
    """Rows that broke the contract: at least as many as broke its worst rule."""
    if metric in window.bad:
        broken = window.bad[metric]
    elif metric in window.breaches:
        broken = window.breaches[metric]
    else:
        broken = max(window.breaches.values(), default=0)
    seen = window.rows + window.quarantined
    return Counted(seen, min(seen, broken + window.quarantined), 0)


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())
