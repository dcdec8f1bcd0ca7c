"""What to fix first: severity by tier by burn by money, divided by the cost to cure.

A debt that another item caused is not listed beside it: it lends it its cost to cure
and its carrying charge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from modelkeep.events.types import Money
from modelkeep.views import Reader
from modelkeep_services.insight.documents import QueueRules, queue_rules
from modelkeep_services.insight.spending import Spending, spendings_of
from modelkeep_services.insight.views import attention, debt, inventory, monitoring
from modelkeep_services.insight.views.debt import LiabilityRow

MICRO: Final = 1_000_000
MINUTES_AN_HOUR: Final = 60
REVIEW_SEVERITY: Final = "medium"


@dataclass(frozen=True)
class Item:
    """Something to put right. `money_share` is of the dearest in its currency."""

    kind: str
    model: str
    id: str
    title: str
    severity: str
    vector: str
    owner: str
    due_at: datetime | None
    overdue: bool
    evidence: tuple[str, ...]
    play: str = ""
    money_per_hour: Money | None = None
    money_basis: str = ""
    metric: str = ""
    points: float | None = None
    """The carrying charge of the debt it became, in points a 30 days."""
    cure_hours: float | None = None
    called: str | None = None
    """The role that it was escalated to."""


@dataclass(frozen=True)
class Remediation:
    """An item with its place. `score` is rounded to 4 decimals."""

    kind: str
    model: str
    id: str
    title: str
    severity: str
    vector: str
    owner: str
    play: str
    due_at: datetime | None
    overdue: bool
    score: float
    reasons: tuple[str, ...]
    money_per_hour: Money | None
    money_basis: str
    cure_hours: float
    evidence: tuple[str, ...]
    rank: int = field(default=0)


def remediations(
    read: Reader, now: datetime, spendings: Sequence[Spending] | None = None
) -> list[Remediation]:
    """Return everything open, most pressing first; ties by kind, model and id."""
    rules = queue_rules().says
    known = spendings_of(read, now) if spendings is None else spendings
    burns = _burns(known)
    tiers = {key: row.tier for key, row in read.scan(inventory.models)}
    items = [
        item
        for item in _with_debt(read, now, list(_items(read, now)))
        if _still_here(read, item.model)
    ]
    dearest = _dearest(items)
    found = [
        _rank(item, tiers.get(item.model), burns.get(item.model), dearest, rules)
        for item in items
    ]
    found.sort(key=lambda one: (-one.score, one.kind, one.model, one.id))
    return [replace(one, rank=place) for place, one in enumerate(found, 1)]


def _still_here(read: Reader, model: str) -> bool:
    row = read.get(inventory.models, model)
    return row is None or row.lifecycle != "retired"


def _burns(spendings: Sequence[Spending]) -> dict[str, Spending]:
    """Return each model's fastest burning budget."""
    found: dict[str, Spending] = {}
    for one in spendings:
        known = found.get(one.row.model)
        if known is None or (one.status.burn or 0) > (known.status.burn or 0):
            found[one.row.model] = one
    return found


def _items(read: Reader, now: datetime) -> Iterator[Item]:
    for _, alert in read.scan(monitoring.alerts):
        if alert.resolved_at is None:
            key = f"{alert.model}/{alert.alert}"
            called = read.get(attention.escalations, key)
            yield Item(
                kind="alert",
                model=alert.model,
                id=alert.alert,
                title=alert.cause[:200],
                severity=alert.severity,
                vector=alert.vector,
                owner=alert.owner or "",
                due_at=alert.due_at,
                overdue=alert.due_at < now,
                evidence=_ids(
                    alert.event,
                    alert.overdue_event,
                    None if called is None else called.event,
                ),
                play=alert.play or "",
                money_per_hour=alert.money_per_hour,
                money_basis=alert.money_basis or "",
                metric=alert.metric,
                called=None if called is None else called.role,
            )
    for _, finding in read.scan(inventory.findings):
        if finding.closed_at is None:
            yield Item(
                kind="finding",
                model=finding.model,
                id=finding.finding,
                title=finding.title,
                severity=finding.severity,
                vector=finding.vector,
                owner=finding.owner,
                due_at=finding.due_at,
                overdue=finding.due_at < now,
                evidence=_ids(finding.event, finding.overdue_event),
            )
    for _, review in read.scan(inventory.reviews):
        if review.completed_at is None and review.due_at < now:
            model = read.get(inventory.models, review.model)
            yield Item(
                kind="review",
                model=review.model,
                id=review.review,
                title=f"{review.kind} review is overdue",
                severity=REVIEW_SEVERITY,
                vector="governance_lapse",
                owner="" if model is None else model.owner,
                due_at=review.due_at,
                overdue=True,
                evidence=_ids(review.event, review.overdue_event),
            )


def _ids(*events: str | None) -> tuple[str, ...]:
    return tuple(event for event in events if event is not None)


def _with_debt(read: Reader, now: datetime, items: Sequence[Item]) -> Iterator[Item]:
    caused: dict[str, LiabilityRow] = {}
    for _, row in read.scan(debt.liabilities):
        if row.open and row.source is not None:
            caused[row.source] = row
    joined: set[str] = set()
    for item in items:
        became = next((caused[e] for e in item.evidence if e in caused), None)
        if became is None:
            yield item
            continue
        joined.add(became.liability)
        yield replace(
            item,
            points=became.carrying(now) / MICRO,
            cure_hours=became.minutes / MINUTES_AN_HOUR,
            evidence=(*item.evidence, became.event),
        )
    for _, row in read.scan(debt.liabilities):
        if row.open and row.liability not in joined:
            yield _debt(row, now)


def _debt(row: LiabilityRow, now: datetime) -> Item:
    return Item(
        kind="debt",
        model=row.model,
        id=row.liability,
        title=row.title,
        severity=row.severity,
        vector=row.vector,
        owner=row.owner,
        due_at=row.due_at,
        overdue=row.due_at is not None and row.due_at < now,
        evidence=_ids(row.event, row.source),
        points=row.carrying(now) / MICRO,
        cure_hours=row.minutes / MINUTES_AN_HOUR,
    )


def _dearest(items: Sequence[Item]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in items:
        if (money := item.money_per_hour) is not None:
            found[money.currency] = max(found.get(money.currency, 0), money.minor)
    return found


def _rank(
    item: Item,
    tier: int | None,
    burning: Spending | None,
    dearest: Mapping[str, int],
    rules: QueueRules,
) -> Remediation:
    points, reasons = _points(item, tier, rules)
    burn = 0.0 if burning is None else max(0.0, burning.status.burn or 0.0)
    if burning is not None and burn > 0:
        points *= 1 + burn
        reasons.append(f"budget {burning.row.budget} burns at {burn:.2f}")
    if (money := item.money_per_hour) is not None and dearest[money.currency] > 0:
        points *= 1 + max(0, money.minor) / dearest[money.currency]
        reasons.append(
            f"{money.minor / 100:,.0f} {money.currency} an hour "
            f"({item.money_basis or 'assumption'})"
        )
    if item.called is not None:
        reasons.append(f"escalated to the {item.called.replace('_', ' ')}")
    hours = item.cure_hours or rules.cure_hours[item.kind]
    reasons.append(f"{hours:g} h to cure")
    return Remediation(
        kind=item.kind,
        model=item.model,
        id=item.id,
        title=item.title,
        severity=item.severity,
        vector=item.vector,
        owner=item.owner,
        play=item.play,
        due_at=item.due_at,
        overdue=item.overdue,
        score=round(points / hours, 4),
        reasons=tuple(reasons),
        money_per_hour=item.money_per_hour,
        money_basis=item.money_basis,
        cure_hours=round(hours, 4),
        evidence=item.evidence,
    )


def _points(item: Item, tier: int | None, rules: QueueRules) -> tuple[float, list[str]]:
    if item.points is not None:
        return item.points, [f"carries {item.points:g} risk points a 30 days"]
    severity = rules.severity_points[item.severity]
    counted = tier or rules.unclassified_tier
    factor = rules.tier_factors[counted]
    reasons = [f"{item.severity} severity ({severity:g} points)"]
    reasons.append(
        f"tier {counted} (times {factor:g})"
        if tier is not None
        else f"not classified: counts as tier {counted} (times {factor:g})"
    )
    if item.overdue:
        reasons.append(f"overdue (times {rules.overdue_factor:g})")
    return severity * factor * (rules.overdue_factor if item.overdue else 1), reasons
