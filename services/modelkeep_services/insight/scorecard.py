"""A line a model: tier, health, budget, debt, alerts, owner, what is due next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

from modelkeep.views import Reader, View
from modelkeep_services.insight.documents import HealthRules, health_rules
from modelkeep_services.insight.health import health_of, live_deployments
from modelkeep_services.insight.spending import Spending, spendings_of
from modelkeep_services.insight.views import (
    attention,
    debt,
    inventory,
    monitoring,
)
from modelkeep_services.insight.views.debt import LiabilityRow
from modelkeep_services.insight.views.inventory import ModelRow

R = TypeVar("R")
CITED: Final = 20


@dataclass(frozen=True)
class Line:
    """As the wire spells it; `debt_minutes` is the cost to cure all that is open."""

    model: str
    title: str
    business_line: str
    owner: str
    lifecycle: str
    tier: int | None
    health: float | None
    colour: str
    worst: str
    cause: str
    budget_spent: float | None
    budget: str
    debt_carrying_micro: int
    debt_minutes: int
    open_alerts: int
    open_findings: int
    next_due: str
    next_due_at: datetime | None
    live_versions: tuple[str, ...]
    evidence: tuple[str, ...]
    autonomy: tuple[str, ...] = ()
    """How far it decides alone, as `use: level`."""


class Next(NamedTuple):
    at: datetime
    what: str


def scorecard(
    read: Reader,
    now: datetime,
    models: Sequence[ModelRow],
    spendings: Sequence[Spending] | None = None,
) -> list[Line]:
    """Return a line for each model; `spendings`, if given, are all there are."""
    rules = health_rules().says
    if spendings is None:
        return [
            _line(read, now, row, spendings_of(read, now, f"{row.model}/"), rules)
            for row in models
        ]
    by_model: dict[str, list[Spending]] = defaultdict(list)
    for one in spendings:
        by_model[one.row.model].append(one)
    return [_line(read, now, row, by_model[row.model], rules) for row in models]


def _line(
    read: Reader,
    now: datetime,
    model: ModelRow,
    spendings: Sequence[Spending],
    rules: HealthRules,
) -> Line:
    prefix = f"{model.model}/"
    health = health_of(read, model.model, now)
    index = health.index
    budget = worst_budget(spendings)
    owed = [row for row in _all(read, debt.liabilities, prefix) if row.open]
    alerts = [
        row for row in _all(read, monitoring.alerts, prefix) if row.resolved_at is None
    ]
    findings = [
        row for row in _all(read, inventory.findings, prefix) if row.closed_at is None
    ]
    coming = _next(read, prefix)
    autonomies = _all(read, attention.autonomies, prefix)
    return Line(
        model=model.model,
        title=model.title,
        business_line=model.business_line,
        owner=model.owner,
        lifecycle=model.lifecycle,
        tier=model.tier,
        health=index.value,
        colour=health.band,
        worst=index.worst,
        cause=index.cause,
        budget_spent=None if budget is None else budget.status.spent,
        budget="" if budget is None else budget.row.budget,
        debt_carrying_micro=sum(row.carrying(now) for row in owed),
        debt_minutes=sum(_minutes(row) for row in owed),
        open_alerts=len(alerts),
        open_findings=len(findings),
        next_due="" if coming is None else coming.what,
        next_due_at=None if coming is None else coming.at,
        live_versions=tuple(
            f"{row.environment}: {row.version}"
            for row in live_deployments(read, model.model, rules)
        ),
        evidence=unique(
            (model.classified_event or model.event, *index.evidence)
            + (() if budget is None else (budget.row.event, *budget.evidence[:1]))
            + tuple(row.event for row in alerts)
            + tuple(row.event for row in findings)
            + tuple(row.event for row in owed)
            + tuple(row.event for row in autonomies)
        )[:CITED],
        autonomy=tuple(f"{row.use}: {row.level}" for row in autonomies),
    )


def worst_budget(spendings: Sequence[Spending]) -> Spending | None:
    return max(
        spendings, key=lambda one: (one.status.spent, one.row.budget), default=None
    )


def _minutes(row: LiabilityRow) -> int:
    return row.owed.get("minutes", 0)


def _all(read: Reader, view: View[R], prefix: str) -> list[R]:
    return [row for _, row in read.scan(view, prefix)]


def _next(read: Reader, prefix: str) -> Next | None:
    """Return what falls due first of all that is open, overdue things included."""
    found = [
        Next(row.due_at, f"{row.kind} review")
        for row in _all(read, inventory.reviews, prefix)
        if row.completed_at is None
    ]
    found += [
        Next(row.due_at, f"finding {row.finding}")
        for row in _all(read, inventory.findings, prefix)
        if row.closed_at is None
    ]
    found += [
        Next(row.due_at, f"alert {row.alert}")
        for row in _all(read, monitoring.alerts, prefix)
        if row.resolved_at is None
    ]
    return min(found, default=None)


def unique(ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ids))
