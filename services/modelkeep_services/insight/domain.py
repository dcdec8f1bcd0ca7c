"""What a model may spend, and which lines it has crossed: decided from its own past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import Refused
from modelkeep.events.insight import (
    Band,
    BudgetDefined,
    BudgetEased,
    BudgetExhausted,
    BudgetKind,
    BudgetPeriodClosed,
    BudgetSlowed,
    Document,
    EventId,
    Evidence,
    HealthBandChanged,
    MetricName,
    Period,
    Spent,
)
from modelkeep.events.types import (
    Count,
    Finite,
    Instant,
    Money,
    Share,
    Slug,
    Text,
)
from modelkeep_services.insight.periods import period_of

InsightEvent = (
    BudgetDefined
    | HealthBandChanged
    | BudgetSlowed
    | BudgetEased
    | BudgetExhausted
    | BudgetPeriodClosed
)

NO_DOCUMENT = Document(version="none", digest=f"sha256:{'0' * 64}")


class DefineBudget(Command):
    """The last three fields are not asked for: what views and documents say."""

    model: Slug
    budget: Slug
    kind: BudgetKind
    metric: MetricName | None = None
    p0: Share
    p1: Share
    expected_events: Annotated[Count, Field(ge=1)]
    period: Period
    periods: Annotated[int, Field(ge=1, le=24)] = 1
    band: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, validate_default=True
    )
    batch: bool = False
    slo: Slug | None = None
    reason: Text | None = None
    worth: Money | None = None
    least_events: Finite = 10.0
    document: Document = NO_DOCUMENT

    @field_validator("p1")
    @classmethod
    def _room(cls, p1: float, said: ValidationInfo) -> float:
        if p1 <= said.data.get("p0", 0.0):
            raise ValueError("must be more than p0: the room between is the budget")
        return p1

    @field_validator("band")
    @classmethod
    def _banded(cls, band: float | None, said: ValidationInfo) -> float | None:
        if band is None and said.data.get("kind") == "auc":
            raise ValueError("is compulsory: an AUC has no bad events to count")
        return band


class RecordHealth(Command):
    """The index as computed after `source`."""

    model: Slug
    band: Band
    index: Finite | None
    component: str
    cause: Text
    measured_weight: Share
    marks: tuple[str, ...] = ()
    evidence: Evidence = ()
    document: Document
    source: EventId
    at: Instant


class RecordSpending(Command):
    """A budget's status as computed after `source`. `ahead`: the lower bound of what is
    spent is more than what has elapsed.
    """

    model: Slug
    budget: Slug
    period_start: Instant
    period_end: Instant
    spent: Spent
    spent_low: Spent
    provisional: Finite
    elapsed: Share
    burn: Finite | None
    exhausted_at: Instant | None
    hard_stop: Literal["rollback", "throttle", "human"]
    ahead: bool
    evidence: Evidence = ()
    document: Document
    source: EventId
    at: Instant


class ClosePeriod(Command):
    """The period is over by the clock."""

    model: Slug
    budget: Slug
    period_start: Instant
    period_end: Instant
    next_period_end: Instant
    spent: Spent
    spent_low: Spent
    provisional: Finite
    document: Document
    source: EventId


InsightCommand = DefineBudget | RecordHealth | RecordSpending | ClosePeriod


@dataclass(frozen=True)
class BudgetState:
    """`slowed` and `exhausted` are of the period that began at `period_start`."""

    defined: BudgetDefined
    period_start: datetime | None = None
    slowed: bool = False
    exhausted: bool = False
    closed_until: datetime | None = None
    said_at: datetime | None = None

    def in_period(self, start: datetime) -> BudgetState:
        """Return what is said of the period that began at `start`."""
        if self.period_start == start:
            return self
        return replace(self, period_start=start, slowed=False, exhausted=False)


@dataclass(frozen=True)
class InsightState:
    band: Band | None = None
    rated_at: datetime | None = None
    budgets: dict[str, BudgetState] = field(default_factory=dict)


def decide(
    command: InsightCommand, state: InsightState, context: Context
) -> Sequence[InsightEvent]:
    match command:
        case DefineBudget():
            return _define(command, state, context)
        case RecordHealth():
            return _record_health(command, state)
        case RecordSpending():
            return _record_spending(command, state)
        case ClosePeriod():
            return _close(command, state)


def _define(
    command: DefineBudget, state: InsightState, context: Context
) -> Sequence[InsightEvent]:
    room = command.expected_events * command.periods * (command.p1 - command.p0)
    if room < command.least_events - 1e-9:
        longer = ceil(command.least_events * command.periods / room - 1e-9)
        raise Refused(
            "insight.budget-too-small",
            f"{command.expected_events} events leave {room:.2f} bad events to spend, "
            f"fewer than {command.least_events:g} are noise: take {longer} periods",
            subject=f"{command.model}/{command.budget}",
        )
    defined = _defined(command, context)
    known = state.budgets.get(command.budget)
    if known is not None:
        if _same(known.defined, defined):
            return []
        if command.reason is None:
            raise Refused(
                "insight.budget-change-has-reason",
                f"budget {command.budget} of {command.model} is defined otherwise: "
                "say why it changes",
                subject=f"{command.model}/{command.budget}",
            )
    return [defined]


def _defined(command: DefineBudget, context: Context) -> BudgetDefined:
    span = period_of(context.now, command.period, command.periods)
    return BudgetDefined(
        model=command.model,
        budget=command.budget,
        kind=command.kind,
        metric=command.metric or command.kind,
        p0=command.p0,
        p1=command.p1,
        expected_events=command.expected_events,
        period=command.period,
        periods=command.periods,
        band=command.band,
        batch=command.batch,
        slo=command.slo,
        reason=command.reason,
        period_end=span.end,
        worth=command.worth,
        document=command.document,
    )


def _same(one: BudgetDefined, other: BudgetDefined) -> bool:
    said = {"reason", "worth", "document", "period_end"}
    return one.model_dump(exclude=said) == other.model_dump(exclude=said)


def _record_health(
    command: RecordHealth, state: InsightState
) -> Sequence[InsightEvent]:
    if _stale(command.at, state.rated_at):
        return []
    # a model that nobody has rated yet is not news
    if command.band == (state.band or "not_rated"):
        return []
    return [
        HealthBandChanged(
            model=command.model,
            from_band=state.band,
            to_band=command.band,
            index=command.index,
            component=command.component,
            cause=command.cause,
            measured_weight=command.measured_weight,
            marks=command.marks,
            evidence=command.evidence,
            document=command.document,
            source=command.source,
            at=command.at,
        )
    ]


def _record_spending(
    command: RecordSpending, state: InsightState
) -> Sequence[InsightEvent]:
    known = state.budgets.get(command.budget)
    if known is None:
        return []
    if _stale(command.at, known.said_at):
        return []
    known = known.in_period(command.period_start)
    events: list[InsightEvent] = []
    if command.ahead and not known.slowed:
        events.append(_slowed(command))
    if known.slowed and not command.ahead:
        events.append(_eased(command))
    if command.spent >= 1 and not known.exhausted:
        events.append(_exhausted(command))
    return events


def _stale(at: datetime, said_at: datetime | None) -> bool:
    """What was computed for a moment before the last crossing is history, not news: a
    reaction that is asked again after its checkpoint was lost must change nothing.
    """
    return said_at is not None and at < said_at


def _slowed(command: RecordSpending) -> BudgetSlowed:
    return BudgetSlowed(
        model=command.model,
        budget=command.budget,
        period_start=command.period_start,
        period_end=command.period_end,
        spent=command.spent,
        spent_low=command.spent_low,
        elapsed=command.elapsed,
        burn=command.burn,
        exhausted_at=command.exhausted_at,
        document=command.document,
        source=command.source,
        at=command.at,
    )


def _eased(command: RecordSpending) -> BudgetEased:
    return BudgetEased(
        model=command.model,
        budget=command.budget,
        period_start=command.period_start,
        period_end=command.period_end,
        spent=command.spent,
        spent_low=command.spent_low,
        elapsed=command.elapsed,
        document=command.document,
        source=command.source,
        at=command.at,
    )


def _exhausted(command: RecordSpending) -> BudgetExhausted:
    return BudgetExhausted(
        model=command.model,
        budget=command.budget,
        period_start=command.period_start,
        period_end=command.period_end,
        spent=command.spent,
        spent_low=command.spent_low,
        provisional=command.provisional,
        burn=command.burn,
        hard_stop=command.hard_stop,
        evidence=command.evidence,
        document=command.document,
        source=command.source,
        at=command.at,
    )


def _close(command: ClosePeriod, state: InsightState) -> Sequence[InsightEvent]:
    known = state.budgets.get(command.budget)
    if known is None:
        return []
    if known.closed_until is not None and command.period_end <= known.closed_until:
        return []
    return [BudgetPeriodClosed(**dict(command))]


def evolve(state: InsightState, event: InsightEvent) -> InsightState:
    match event:
        case HealthBandChanged():
            return replace(state, band=event.to_band, rated_at=event.at)
        case BudgetDefined():
            # other figures are another budget: what was said of it is said anew
            return _with(state, event.budget, BudgetState(event))
        case BudgetSlowed():
            return _in_period(state, event, slowed=True)
        case BudgetEased():
            return _in_period(state, event, slowed=False)
        case BudgetExhausted():
            return _in_period(state, event, exhausted=True)
        case BudgetPeriodClosed():
            budget = state.budgets[event.budget]
            return _with(
                state, event.budget, replace(budget, closed_until=event.period_end)
            )


def _in_period(
    state: InsightState,
    event: BudgetSlowed | BudgetEased | BudgetExhausted,
    **said: bool,
) -> InsightState:
    budget = state.budgets[event.budget].in_period(event.period_start)
    budget = replace(budget, said_at=event.at)
    if "slowed" in said:
        budget = replace(budget, slowed=said["slowed"])
    if "exhausted" in said:
        budget = replace(budget, exhausted=said["exhausted"])
    return _with(state, event.budget, budget)


def _with(state: InsightState, name: str, budget: BudgetState) -> InsightState:
    return replace(state, budgets={**state.budgets, name: budget})


INSIGHT = decider(InsightState(), decide, evolve)
