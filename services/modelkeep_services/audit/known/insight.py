"""How models stood: the colour of their health, and what their budgets had left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from modelkeep.events.insight import (
    BudgetDefined,
    BudgetEased,
    BudgetExhausted,
    BudgetSlowed,
    HealthBandChanged,
)
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class HealthRow:
    """The colour a model took last, and why: it holds until the next crossing."""

    model: str
    band: str
    index: float | None
    component: str
    cause: str
    document: str
    since: datetime
    event_id: str


health = View("health", HealthRow)


@health.on(HealthBandChanged)
def _band(event: HealthBandChanged, fact: Fact, rows: Rows[HealthRow]) -> None:
    row = HealthRow(
        model=event.model,
        band=event.to_band,
        index=event.index,
        component=event.component,
        cause=event.cause,
        document=event.document.version,
        since=fact.effective_at,
        event_id=str(fact.id),
    )
    rows.put(event.model, row)


@dataclass(frozen=True)
class BudgetRow:
    """A risk budget, and the last line it crossed (in the period it names)."""

    model: str
    budget: str
    kind: str
    metric: str
    accepted_rate: float
    limit_rate: float
    expected_events: int
    period: str
    status: str
    event_id: str
    banded: bool = False
    periods: int = 1
    spent: float | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None


budgets = View("budgets", BudgetRow)


@budgets.on(BudgetDefined)
def _defined(event: BudgetDefined, fact: Fact, rows: Rows[BudgetRow]) -> None:
    row = BudgetRow(
        model=event.model,
        budget=event.budget,
        kind=event.kind,
        metric=event.metric,
        accepted_rate=event.p0,
        limit_rate=event.p1,
        expected_events=event.expected_events,
        period=event.period,
        banded=event.band is not None,
        periods=event.periods,
        status="within",
        event_id=str(fact.id),
    )
    rows.put(f"{event.model}/{event.budget}", row)


@budgets.on(BudgetSlowed)
def _slowed(event: BudgetSlowed, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _crossed(event, "slowed", fact, rows)


@budgets.on(BudgetEased)
def _eased(event: BudgetEased, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _crossed(event, "within", fact, rows)


@budgets.on(BudgetExhausted)
def _exhausted(event: BudgetExhausted, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _crossed(event, "exhausted", fact, rows)


def _crossed(
    event: BudgetSlowed | BudgetEased | BudgetExhausted,
    status: str,
    fact: Fact,
    rows: Rows[BudgetRow],
) -> None:
    key = f"{event.model}/{event.budget}"
    row = rows.get(key)
    if row is None:
        return
    crossed = replace(
        row,
        status=status,
        spent=event.spent,
        period_start=event.period_start,
        period_end=event.period_end,
        event_id=str(fact.id),
    )
    rows.put(key, crossed)


VIEWS: Final = (health, budgets)
