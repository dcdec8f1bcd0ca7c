"""What insight itself recorded: budgets, health bands, lines crossed, things due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from modelkeep.events.insight import (
    BudgetDefined,
    BudgetEased,
    BudgetExhausted,
    BudgetPeriodClosed,
    BudgetSlowed,
    HealthBandChanged,
)
from modelkeep.events.types import Money
from modelkeep.ledger import stamp
from modelkeep.timekeeper import Due, due_key, due_view
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class BudgetRow:
    """A budget as agreed; `period_end` is the end of the period not closed yet."""

    model: str
    budget: str
    kind: str
    metric: str
    p0: float
    p1: float
    expected_events: int
    period: str
    periods: int
    band: float | None
    batch: bool
    slo: str | None
    worth: Money | None
    period_end: datetime
    event: str
    defined_at: datetime
    slowed: bool = False
    """Its last word was that it runs ahead: time alone may ease it."""


budgets = View("budgets", BudgetRow)
"""By `model/budget`."""


@dataclass(frozen=True)
class BandRow:
    """The colour a model's health was last recorded to have taken."""

    model: str
    band: str
    index: float | None
    component: str
    cause: str
    since: datetime
    event: str


bands = View("bands", BandRow)


@dataclass(frozen=True)
class CrossingRow:
    model: str
    what: str
    budget: str
    text: str
    direction: str
    at: datetime
    event: str
    source: str
    evidence: tuple[str, ...] = ()


crossings = View("crossings", CrossingRow)
"""By `model/known_at/version in the stream`: oldest first."""

due = due_view()
PERIOD = "budget-period"

_WORST = ("green", "amber", "red")


@budgets.on(BudgetDefined)
def defined(event: BudgetDefined, fact: Fact, rows: Rows[BudgetRow]) -> None:
    rows.put(
        f"{event.model}/{event.budget}",
        BudgetRow(
            model=event.model,
            budget=event.budget,
            kind=event.kind,
            metric=event.metric,
            p0=event.p0,
            p1=event.p1,
            expected_events=event.expected_events,
            period=event.period,
            periods=event.periods,
            band=event.band,
            batch=event.batch,
            slo=event.slo,
            worth=event.worth,
            period_end=event.period_end,
            event=str(fact.id),
            defined_at=fact.effective_at,
        ),
    )


@budgets.on(BudgetSlowed)
def runs_ahead(event: BudgetSlowed, _: Fact, rows: Rows[BudgetRow]) -> None:
    key = f"{event.model}/{event.budget}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, slowed=True))


@budgets.on(BudgetEased)
def fell_back(event: BudgetEased, _: Fact, rows: Rows[BudgetRow]) -> None:
    key = f"{event.model}/{event.budget}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, slowed=False))


@budgets.on(BudgetPeriodClosed)
def begins_anew(event: BudgetPeriodClosed, _: Fact, rows: Rows[BudgetRow]) -> None:
    key = f"{event.model}/{event.budget}"
    if (row := rows.get(key)) is not None:
        after = replace(row, slowed=False, period_end=event.next_period_end)
        rows.put(key, after)


@due.on(BudgetDefined)
def falls_due(event: BudgetDefined, _: Fact, rows: Rows[Due]) -> None:
    subject = f"{event.model}/{event.budget}"
    rows.put(due_key(event.period_end, PERIOD, subject), Due(PERIOD, subject))


@due.on(BudgetPeriodClosed)
def falls_due_again(event: BudgetPeriodClosed, _: Fact, rows: Rows[Due]) -> None:
    subject = f"{event.model}/{event.budget}"
    rows.delete(due_key(event.period_end, PERIOD, subject))
    rows.put(due_key(event.next_period_end, PERIOD, subject), Due(PERIOD, subject))


@bands.on(HealthBandChanged)
def took(event: HealthBandChanged, fact: Fact, rows: Rows[BandRow]) -> None:
    rows.put(
        event.model,
        BandRow(
            event.model,
            event.to_band,
            event.index,
            event.component,
            event.cause,
            event.at or fact.effective_at,
            str(fact.id),
        ),
    )


def _add(rows: Rows[CrossingRow], fact: Fact, row: CrossingRow) -> None:
    rows.put(f"{row.model}/{stamp(fact.known_at)}/{fact.version:09d}", row)


@crossings.on(HealthBandChanged)
def band_changed(event: HealthBandChanged, fact: Fact, rows: Rows[CrossingRow]) -> None:
    before = event.from_band or "not_rated"
    index = "" if event.index is None else f" ({event.index:.1f})"
    shown = f"health {_said(before)} → {_said(event.to_band)}{index}: {event.cause}"
    _add(
        rows,
        fact,
        CrossingRow(
            event.model,
            "health-band-changed",
            "",
            shown,
            _direction(before, event.to_band),
            event.at or fact.effective_at,
            str(fact.id),
            event.source,
            event.evidence,
        ),
    )


def _direction(before: str, after: str) -> str:
    if after == "red":
        return "worse"
    if "not_rated" in {before, after}:
        return "news"
    return "worse" if _WORST.index(after) > _WORST.index(before) else "better"


def _said(band: str) -> str:
    return band.replace("_", " ")


@crossings.on(BudgetSlowed)
def slowed(event: BudgetSlowed, fact: Fact, rows: Rows[CrossingRow]) -> None:
    text = (
        f"budget {event.budget}: at least {event.spent_low:.0%} spent when "
        f"{event.elapsed:.0%} of its period had passed; no unattended change"
    )
    _add(rows, fact, _budget(event, fact, "budget-slowed", text, "worse"))


@crossings.on(BudgetEased)
def eased(event: BudgetEased, fact: Fact, rows: Rows[CrossingRow]) -> None:
    text = (
        f"budget {event.budget}: {event.spent:.0%} spent, {event.elapsed:.0%} of its "
        "period passed; no longer ahead"
    )
    _add(rows, fact, _budget(event, fact, "budget-eased", text, "better"))


@crossings.on(BudgetExhausted)
def exhausted(event: BudgetExhausted, fact: Fact, rows: Rows[CrossingRow]) -> None:
    text = (
        f"budget {event.budget} is exhausted ({event.spent:.0%} spent): "
        f"{event.hard_stop}"
    )
    row = _budget(event, fact, "budget-exhausted", text, "worse", event.evidence)
    _add(rows, fact, row)


@crossings.on(BudgetPeriodClosed)
def period_closed(
    event: BudgetPeriodClosed, fact: Fact, rows: Rows[CrossingRow]
) -> None:
    text = (
        f"budget {event.budget}: the period to {event.period_end:%Y-%m-%d} ended with "
        f"{event.spent:.0%} spent"
    )
    _add(rows, fact, _budget(event, fact, "budget-period-closed", text, "news"))


def _moment(
    event: BudgetSlowed | BudgetEased | BudgetExhausted | BudgetPeriodClosed,
    fact: Fact,
) -> datetime:
    """The moment it was so: a tick is known a little before what it announces."""
    if isinstance(event, BudgetPeriodClosed):
        return event.period_end
    return event.at or fact.effective_at


def _budget(
    event: BudgetSlowed | BudgetEased | BudgetExhausted | BudgetPeriodClosed,
    fact: Fact,
    what: str,
    text: str,
    direction: str,
    evidence: tuple[str, ...] = (),
) -> CrossingRow:
    return CrossingRow(
        event.model,
        what,
        event.budget,
        text,
        direction,
        _moment(event, fact),
        str(fact.id),
        event.source,
        evidence,
    )


VIEWS = (budgets, bands, crossings, due)
