"""Crossings, recorded as they happen: what a cause changes is computed as of the cause.

A window, a batch's silence or a deployment changes one model. The first tick of a day
looks at every model, because evidence ages; a period that ends by the clock is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, cast

from modelkeep.events.clock import Ticked
from modelkeep.events.insight import Band, BudgetDefined
from modelkeep.events.inventory import (
    Deployed,
    Resumed,
    Retired,
    RolledBack,
    Suspended,
    TrafficSet,
    VerdictRevoked,
)
from modelkeep.events.monitoring import (
    SilenceDetected,
    SlotCounted,
    WindowClosed,
    WindowRestated,
)
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.views import Fact, Reader
from modelkeep_services.insight.domain import (
    INSIGHT,
    ClosePeriod,
    RecordHealth,
    RecordSpending,
)
from modelkeep_services.insight.health import health_of
from modelkeep_services.insight.periods import Length, period_of
from modelkeep_services.insight.spending import CITED, Spending, spending_of
from modelkeep_services.insight.views import crossings, days, inventory
from modelkeep_services.insight.views.crossings import BudgetRow

MOMENT: Final = timedelta(microseconds=1)

# From the start, so that the crossings do not depend on when insight was first run.
crossing = Reactor("insight.crossings", from_start=True)


@crossing.on(WindowClosed)
def window_closed(event: WindowClosed, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(WindowRestated)
def window_restated(
    event: WindowRestated, fact: Fact, read: Reader
) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(SlotCounted)
def slot_counted(event: SlotCounted, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """Health is not judged by a slot: only what is spent has changed."""
    for _, row in read.scan(crossings.budgets, f"{event.model}/"):
        yield _spending(row, fact.known_at, fact, read)


@crossing.on(SilenceDetected)
def fell_silent(event: SilenceDetected, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


# What serves changed, or what allowed it.


@crossing.on(Deployed)
def deployed(event: Deployed, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(TrafficSet)
def traffic_set(event: TrafficSet, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(RolledBack)
def rolled_back(event: RolledBack, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(Suspended)
def suspended(event: Suspended, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(Resumed)
def resumed(event: Resumed, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(Retired)
def retired(event: Retired, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(VerdictRevoked)
def revoked(event: VerdictRevoked, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(BudgetDefined)
def budget_defined(
    event: BudgetDefined, fact: Fact, read: Reader
) -> Iterable[Reaction]:
    return look(event.model, fact, read)


@crossing.on(Ticked)
def ticked(event: Ticked, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """The clock is nobody's tenant: it is answered for each."""
    for tenant in read.tenants(crossings.due):
        yield from _close_periods(event, fact, read.other(tenant))
    if not days.is_first(read, event, fact):
        return
    for tenant in read.tenants(inventory.models):
        mine = read.other(tenant)
        for model, row in mine.scan(inventory.models):
            if row.lifecycle != "retired":
                yield from age(model, event.instant, fact, mine)


def look(model: str, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """Compute a model's health and budgets; what did not change is not recorded."""
    yield _health(model, fact.known_at, fact, read)
    for _, row in read.scan(crossings.budgets, f"{model}/"):
        yield _spending(row, fact.known_at, fact, read)


def age(model: str, instant: datetime, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """Compute what time alone changes: evidence ages, and a slowed budget eases."""
    yield _health(model, instant, fact, read)
    for _, row in read.scan(crossings.budgets, f"{model}/"):
        if row.slowed:
            yield _spending(row, instant, fact, read)


def _health(model: str, now: datetime, fact: Fact, read: Reader) -> Reaction:
    health = health_of(read, model, now)
    index = health.index
    return Reaction(
        stream_name("insight", read.tenant, model),
        INSIGHT,
        RecordHealth(
            model=model,
            band=cast("Band", health.band),
            index=index.value,
            component=index.worst,
            cause=index.cause,
            measured_weight=index.measured_weight,
            marks=tuple(mark.value for mark in index.marks),
            evidence=index.evidence[:CITED],
            document=health.rules.stamp,
            source=str(fact.id),
            at=now,
        ),
        tenant=read.tenant,
    )


def _spending(row: BudgetRow, now: datetime, fact: Fact, read: Reader) -> Reaction:
    spending = spending_of(read, row, now)
    status = spending.status
    return Reaction(
        stream_name("insight", read.tenant, row.model),
        INSIGHT,
        RecordSpending(
            model=row.model,
            budget=row.budget,
            period_start=spending.span.start,
            period_end=spending.span.end,
            spent=status.spent,
            spent_low=status.low,
            provisional=status.provisional,
            elapsed=status.elapsed,
            burn=status.burn,
            exhausted_at=spending.exhausted_at,
            hard_stop=spending.rules.says.budget.hard_stop.value,
            ahead=spending.ahead,
            evidence=spending.evidence[:CITED],
            document=spending.rules.stamp,
            source=str(fact.id),
            at=now,
        ),
        tenant=read.tenant,
        part=row.budget,
    )


def _close_periods(event: Ticked, fact: Fact, read: Reader) -> Iterator[Reaction]:
    for key, row in read.scan(crossings.due):
        ended = datetime.fromisoformat(key.partition("/")[0])
        if ended > event.instant:
            return
        budget = read.get(crossings.budgets, row.subject)
        if budget is not None:
            yield _closing(budget, ended, event.instant, fact, read)


def _closing(
    row: BudgetRow, ended: datetime, now: datetime, fact: Fact, read: Reader
) -> Reaction:
    length = cast("Length", row.period)
    over = period_of(ended - MOMENT, length, row.periods)
    spending: Spending = spending_of(read, row, now, over)
    return Reaction(
        stream_name("insight", read.tenant, row.model),
        INSIGHT,
        ClosePeriod(
            model=row.model,
            budget=row.budget,
            period_start=over.start,
            period_end=ended,
            next_period_end=period_of(ended, length, row.periods).end,
            spent=spending.status.spent,
            spent_low=spending.status.low,
            provisional=spending.status.provisional,
            document=spending.rules.stamp,
            source=str(fact.id),
        ),
        tenant=read.tenant,
        part=f"{row.budget}/{ended:%Y-%m-%d}",
    )


REACTORS = (crossing,)
