"""The statement adds up: at every position, over every period, in every unit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from hypothesis import given as for_all
from hypothesis import strategies as st
from tests.unit.test_debt_domain import START, Step, day, lived, steps

from modelkeep.events.base import Event
from modelkeep.events.debt import DebtEvent
from modelkeep.events.types import Person
from modelkeep.views import Fact
from modelkeep_services.debt.liability import Liability, LiabilityEvent, evolve
from modelkeep_services.debt.statement import Line, statement
from modelkeep_services.debt.views import EntryRow, PostingRow, dated


def posting(event: Event, at: int) -> PostingRow:
    debt = cast("DebtEvent", event)
    fact = Fact(
        debt,
        UUID(int=at),
        "debt-main.tangle",
        at,
        at,
        "main",
        START,
        START,
        Person(issuer="tests", subject="dana"),
        (),
        "",
    )
    return PostingRow(
        debt.liability,
        debt.model,
        dated(debt, fact),
        str(fact.id),
        debt.event_name,
        tuple(EntryRow(e.account, e.unit, e.amount) for e in debt.entries),
        None,
    )


def stated(
    events: list[Event], start: datetime | None, end: datetime
) -> dict[str, Line]:
    state: Liability | None = None
    for event in events:
        state = evolve(state, cast("LiabilityEvent", event))
    lines = statement(
        [posting(event, at) for at, event in enumerate(events)],
        [state] if state else [],
        lambda _: "all",
        start,
        end,
    )
    return {line.unit: line for line in lines}


@for_all(steps, st.integers(1, 80), st.integers(0, 900), st.integers(1, 900))
def test_a_statement_adds_up_as_of_any_position(
    history: list[Step], known: int, start: int, days: int
) -> None:
    events = [event for event, _ in lived(history)][:known]
    for line in stated(events, day(start), day(start + days)).values():
        moved = line.incurred + line.accrued - line.cured - line.accepted
        assert line.opening + moved == line.closing


@for_all(steps, st.integers(1, 900), st.integers(1, 900))
def test_where_one_period_closes_the_next_opens(
    history: list[Step], first: int, second: int
) -> None:
    events = [event for event, _ in lived(history)]
    middle, end = day(first), day(first + second)
    before, after = stated(events, None, middle), stated(events, middle, end)
    whole = stated(events, None, end)
    for unit, line in after.items():
        earlier = before.get(unit, Line("all", unit))
        assert line.opening == earlier.closing
        for column in ("incurred", "accrued", "cured", "accepted", "drag"):
            both = getattr(earlier, column) + getattr(line, column)
            assert both == getattr(whole[unit], column)


@for_all(steps)
def test_the_last_closing_is_what_is_owed(history: list[Step]) -> None:
    found = lived(history)
    lines = stated([event for event, _ in found], None, day(10_000))
    state = cast("Liability", found[-1][1].state)
    closing = {unit: line.closing for unit, line in lines.items() if line.closing}
    assert closing == state.owed


def test_what_accrued_since_the_last_posting_is_beside_the_balance() -> None:
    events = [event for event, _ in lived([])]
    line = stated(events, None, START + timedelta(days=3))["points"]
    assert (line.closing, line.unposted) == (0, 4_000_000)


def test_the_last_moment_of_a_month_is_that_months() -> None:
    step = Step(hours=24 * 30, what=0, severity="low", minutes=0)
    events = [event for event, _ in lived([step])]
    january = stated(events, datetime.fromisoformat("2026-01-01T00:00:00Z"), FEBRUARY)
    assert january["points"].accrued == 40_000_000 * 21 // 30
    assert "points" in stated(events, FEBRUARY, FEBRUARY + timedelta(days=28))
    later = stated(events, FEBRUARY, FEBRUARY + timedelta(days=28))["points"]
    assert (later.opening, later.accrued) == (28_000_000, 0)


FEBRUARY = datetime.fromisoformat("2026-02-01T00:00:00Z")
