"""What may happen to a liability, and that its books balance whatever happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from modelkeep.errors import Invalid, NotFound
from modelkeep.events.base import Event
from modelkeep.events.debt import (
    AcceptanceExpired,
    Accepted,
    Charged,
    Cured,
    DebtEvent,
    DragRecorded,
    Incurred,
    Reassessed,
)
from modelkeep.events.types import Money, Person
from modelkeep.testing import actor, given
from modelkeep.testing.deciding import Outcome, Past
from modelkeep_services.debt.accrual import accrued, month_ends
from modelkeep_services.debt.domain import (
    LIABILITY,
    Accept,
    AcceptByCause,
    Cure,
    CureByCause,
    FallDue,
    Incur,
    IncurByCause,
    LinkIncident,
    Reassess,
    RecordDrag,
    Retier,
)
from modelkeep_services.debt.liability import Liability
from modelkeep_services.debt.rates import CARD, MICRO

START = datetime(2026, 1, 11, tzinfo=UTC)
DANA = actor("dana", "owner")
OLGA = actor("olga", "risk_officer")
ROBOT = actor("debt.owed", "reactor", issuer="modelkeep", human=False)

INCUR = Incur(
    liability="tangle",
    model="credit",
    kind="technical",
    vector="operational_regression",
    title="Two copies of one transform",
    severity="high",
    minutes=600,
    money=Money(minor=50_000, currency="EUR"),
    owner="dana",
    due_at=START + timedelta(days=60),
    tier=2,
)
REVIEW = IncurByCause(**dict(INCUR), origin="review", source="an-event")


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def when(past: Past, command: object, at: datetime, by: object = DANA) -> Outcome:
    return past.when(command, by=by, at=at)  # type: ignore[arg-type]  # of any kind


def incurred(command: Incur = INCUR) -> Past:
    by = ROBOT if isinstance(command, IncurByCause) else DANA
    return when(given(LIABILITY), command, START, by).and_then()


def liability(past: Past) -> Liability:
    assert isinstance(past.state, Liability)
    return past.state


def points(events: Sequence[Event]) -> int:
    return sum(event.points for event in events if isinstance(event, Charged))


# --- charges -----------------------------------------------------------------------


def test_a_liability_is_charged_by_severity_tier_and_incidents() -> None:
    (event,) = when(given(LIABILITY), INCUR, START).events
    assert isinstance(event, Incurred)
    assert event.points_per_30d == 10 * 4 * MICRO
    assert event.awaits == datetime(2026, 2, 1, tzinfo=UTC)
    assert CARD.points_per_30d("critical", 1, 0) == 240 * MICRO
    assert CARD.points_per_30d("low", 4, 1) == 1_500_000
    assert CARD.points_per_30d("low", 4, 99) == 3 * MICRO


def test_months_are_charged_to_their_end() -> None:
    outcome = when(incurred(), FallDue(instant=day(55)), day(55), ROBOT)
    ends = [event.upto for event in outcome.events if isinstance(event, Charged)]
    assert ends == [
        datetime(2026, 2, 1, tzinfo=UTC),
        datetime(2026, 3, 1, tzinfo=UTC),
    ]
    assert points(outcome.events) == 40 * MICRO * 49 // 30
    when(outcome.and_then(), FallDue(instant=day(55)), day(55), ROBOT).then_nothing()


def test_past_its_date_it_is_charged_twice() -> None:
    past = when(incurred(), FallDue(instant=day(120)), day(120), ROBOT).and_then()
    state = liability(past)
    assert state.carrying(day(59)) == 40 * MICRO
    assert state.carrying(day(61)) == 80 * MICRO
    days = (state.upto - START).days
    assert state.posted == 40 * MICRO * (days + days - 60) // 30


def test_a_group_of_incidents_counts_once() -> None:
    past = when(incurred(), LinkIncident(liability="tangle", group="outage"), day(1))
    assert liability(past.and_then()).rate == 60 * MICRO
    again = LinkIncident(liability="tangle", group="outage")
    when(past.and_then(), again, day(2)).then_nothing()


def test_a_change_is_charged_up_to_itself_first() -> None:
    command = Reassess(liability="tangle", severity="low", reason="half was done")
    events = when(incurred(), command, day(15)).events
    assert [type(event) for event in events] == [Charged, Reassessed]
    assert points(events) == 20 * MICRO


def test_a_model_of_another_tier_owes_another_charge() -> None:
    outcome = when(incurred(), Retier(tier=1, reason="reclassified"), day(1), ROBOT)
    assert liability(outcome.and_then()).rate == 80 * MICRO
    when(outcome.and_then(), Retier(tier=1, reason="again"), day(2)).then_nothing()


# --- balances ----------------------------------------------------------------------


def test_a_cure_takes_all_that_is_owed() -> None:
    cure = Cure(liability="tangle", evidence="merged in 4f2a")
    outcome = when(incurred(), cure, day(3))
    state = liability(outcome.and_then())
    assert (state.status, state.owed, state.awaits) == ("cured", {}, None)
    assert points(outcome.events) == 4 * MICRO
    when(outcome.and_then(), cure, day(4)).then_refused("debt.cured")
    past = outcome.and_then()
    when(past, CureByCause(evidence="x", source="y"), day(4)).then_nothing()
    when(past, FallDue(instant=day(99)), day(99)).then_nothing()


def test_what_a_cause_made_its_end_cures() -> None:
    past = incurred(REVIEW)
    cure = Cure(liability="tangle", evidence="we looked again")
    when(past, cure, day(1)).then_refused("debt.cured-by-its-cause")
    by_cause = CureByCause(evidence="review completed", source="another")
    event = when(past, by_cause, day(1), ROBOT).events[-1]
    assert isinstance(event, Cured)
    assert event.source == "another"


def test_an_exception_outlives_its_end_and_is_cured_by_hand() -> None:
    past = incurred(REVIEW.model_copy(update={"origin": "exception"}))
    assert when(past, Cure(liability="tangle", evidence="complies"), day(1)).events


def test_a_cause_that_comes_back_is_owed_again() -> None:
    past = incurred(REVIEW)
    when(past, REVIEW, day(1), ROBOT).then_nothing()
    past = when(past, CureByCause(evidence="x", source="y"), day(2)).and_then()
    past = when(past, REVIEW, day(40), ROBOT).and_then()
    state = liability(past)
    assert (state.status, state.posted, state.since) == ("open", 0, day(40))


def test_an_accepted_liability_is_off_the_balance_until_its_date() -> None:
    accept = Accept(liability="tangle", until=day(45), reason="replaced in March")
    past = when(incurred(), accept, day(15), OLGA).and_then()
    state = liability(past)
    assert (state.status, state.owed, state.awaits) == ("accepted", {}, day(45))
    assert state.carrying(day(20)) == 0
    when(past, FallDue(instant=day(44)), day(44), ROBOT).then_nothing()
    events = when(past, FallDue(instant=day(60)), day(60), ROBOT).events
    assert [type(event) for event in events] == [AcceptanceExpired, Charged]
    back = liability(when(past, FallDue(instant=day(60)), day(60)).and_then())
    days = 15 + (back.upto - day(45)).days
    assert back.owed == {
        "EUR": 50_000,
        "minutes": 600,
        "points": 40 * MICRO * days // 30,
    }


def test_a_cure_while_accepted_leaves_nothing() -> None:
    accept = Accept(liability="tangle", until=day(45), reason="replaced in March")
    past = when(incurred(), accept, day(15), OLGA).and_then()
    past = when(past, Cure(liability="tangle", evidence="done"), day(20)).and_then()
    assert (liability(past).owed, liability(past).accepted) == ({}, {})


@pytest.mark.parametrize(
    ("by", "until", "rule"),
    [
        (DANA, day(30), "debt.accepted-by-another"),
        (ROBOT, day(30), "debt.accepted-by-another"),
        (OLGA, day(0), "debt.acceptance-expires"),
        (OLGA, day(400), "debt.acceptance-expires"),
    ],
)
def test_an_acceptance_is_anothers_and_ends(
    by: object, until: datetime, rule: str
) -> None:
    accept = Accept(liability="tangle", until=until, reason="because")
    when(incurred(), accept, day(1), by).then_refused(rule)


def test_who_entered_it_may_not_accept_it_either() -> None:
    past = when(given(LIABILITY), INCUR, START, OLGA).and_then()
    accept = Accept(liability="tangle", until=day(9), reason="because")
    when(past, accept, day(1), OLGA).then_refused("debt.accepted-by-another")


def test_it_is_accepted_once_at_a_time() -> None:
    accept = Accept(liability="tangle", until=day(9), reason="because")
    past = when(incurred(), accept, day(1), OLGA).and_then()
    when(past, accept, day(2), OLGA).then_refused("debt.accepted")


def test_an_acceptance_elsewhere_holds_here() -> None:
    by = Person(issuer="tests", subject="olga")
    accept = AcceptByCause(until=day(9), reason="because", by=by)
    event = when(incurred(REVIEW), accept, day(1), ROBOT).events[-1]
    assert isinstance(event, Accepted)
    assert event.by == by


def test_drag_is_beside_the_balance() -> None:
    drag = RecordDrag(
        liability="tangle",
        start=day(1),
        end=day(8),
        minutes=90,
        method="time sheets",
        evidence="ticket 7",
    )
    before = incurred()
    outcome = when(before, drag, day(9))
    assert isinstance(outcome.events[0], DragRecorded)
    assert liability(outcome.and_then()).owed == liability(before).owed


@pytest.mark.parametrize(
    ("said", "field"), [({"end": day(1)}, "end"), ({"minutes": 0}, "minutes")]
)
def test_drag_is_something_over_some_time(said: dict[str, object], field: str) -> None:
    drag = {
        "liability": "tangle",
        "start": day(1),
        "end": day(2),
        "minutes": 9,
        "method": "m",
        "evidence": "e",
    }
    with pytest.raises(Invalid, match=field):
        RecordDrag.model_validate(drag | said)


def test_books_go_forward_only() -> None:
    past = when(incurred(), FallDue(instant=day(55)), day(55), ROBOT).and_then()
    late = past.when(
        Reassess(liability="tangle", severity="low", reason="late"),
        by=DANA,
        at=day(55),
        effective_at=day(5),
    )
    late.then_refused("debt.in-order")
    ahead = given(LIABILITY).when(INCUR, by=DANA, at=START, effective_at=day(1))
    ahead.then_refused("debt.not-ahead")


def test_a_reassessment_that_says_nothing_new_changes_nothing() -> None:
    same = Reassess(liability="tangle", severity="high", reason="no news")
    when(incurred(), same, day(1)).then_nothing()


def test_what_is_not_there_is_not_found_by_hand_and_nothing_to_causes() -> None:
    cure = Cure(liability="tangle", evidence="x")
    when(given(LIABILITY), cure, day(1)).then_raises(NotFound)
    when(given(LIABILITY), Retier(tier=1, reason="x"), day(1)).then_nothing()


def test_a_liability_is_entered_once() -> None:
    when(incurred(), INCUR, day(1)).then_refused("debt.incurred-once")


# --- whatever happens --------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    hours: int
    what: int
    severity: str
    minutes: int


steps = st.lists(
    st.builds(
        Step,
        st.integers(0, 24 * 40),
        st.integers(0, 7),
        st.sampled_from(["low", "medium", "high", "critical"]),
        st.integers(0, 10_000),
    ),
    max_size=25,
)


def commands(step: Step, at: datetime) -> tuple[object, object]:
    found: list[tuple[object, object]] = [
        (FallDue(instant=at), ROBOT),
        (
            Reassess.model_validate(
                {
                    "liability": "tangle",
                    "severity": step.severity,
                    "minutes": step.minutes,
                    "reason": "r",
                }
            ),
            DANA,
        ),
        (LinkIncident(liability="tangle", group=f"g{step.minutes % 7}"), DANA),
        (
            Accept(
                liability="tangle",
                until=at + timedelta(hours=1 + step.minutes % 2_000),
                reason="r",
            ),
            OLGA,
        ),
        (CureByCause(evidence="e", source="s"), ROBOT),
        (REVIEW, ROBOT),
        (Retier(tier=1 + step.minutes % 4, reason="r"), ROBOT),
        (
            RecordDrag(
                liability="tangle",
                start=START,
                end=day(1),
                minutes=step.minutes + 1,
                method="m",
                evidence="e",
            ),
            DANA,
        ),
    ]
    return found[step.what]


def lived(history: list[Step], *, ticked: bool = False) -> list[tuple[Event, Past]]:
    """Every event of a history with the past it made. `ticked`: the clock comes by
    before every step, and days between.
    """
    past, at = given(LIABILITY), START
    found: list[tuple[Event, Past]] = []

    def take(command: object, by: object, now: datetime) -> None:
        nonlocal past
        outcome = when(past, command, now, by)
        if outcome.error is None:
            for event in outcome.events:
                state = LIABILITY.evolve(past.state, event)
                past = Past(LIABILITY, state)
                found.append((event, past))

    take(REVIEW, ROBOT, at)
    for step in history:
        after = at + timedelta(hours=step.hours)
        while ticked and (at := at + timedelta(days=3)) < after:
            take(FallDue(instant=at), ROBOT, at)
        at = after
        take(FallDue(instant=at), ROBOT, at)
        command, by = commands(step, at)
        take(command, by, at)
    return found


@for_all(steps)
def test_every_posting_sums_to_zero_and_opening_leads_to_closing(
    history: list[Step],
) -> None:
    accounts: Counter[tuple[str, str]] = Counter()
    for event, past in lived(history):
        assert isinstance(event, DebtEvent)
        units: Counter[str] = Counter()
        for entry in event.entries:
            units[entry.unit] += entry.amount
            accounts[entry.account, entry.unit] += entry.amount
        assert not any(units.values())
        owed = {
            unit: amount
            for (account, unit), amount in accounts.items()
            if account == "owed" and amount
        }
        assert liability(past).owed == owed
        for unit, amount in owed.items():
            closing = (
                -accounts["incurred", unit]
                - accounts["accrued", unit]
                - accounts["cured", unit]
                - accounts["accepted", unit]
            )
            assert closing == amount


@for_all(steps)
def test_the_charge_does_not_depend_on_how_often_it_is_posted(
    history: list[Step],
) -> None:
    seldom, often = lived(history), lived(history, ticked=True)
    assert points([e for e, _ in seldom]) == points([e for e, _ in often])
    assert by_month(seldom) == by_month(often)


def by_month(found: list[tuple[Event, Past]]) -> dict[str, int]:
    months: Counter[str] = Counter()
    for event, _ in found:
        if isinstance(event, Charged):
            # A month's last moment is its own, not the next one's first.
            months[f"{event.upto - timedelta(microseconds=1):%Y-%m}"] += event.points
    return {month: total for month, total in months.items() if total}


@for_all(steps, st.integers(0, 24 * 800))
def test_what_was_posted_is_what_had_accrued(history: list[Step], hours: int) -> None:
    *_, (_, past) = lived(history)
    state = liability(past)
    assert state.posted == accrued(state.stretches, state.upto)
    later = state.upto + timedelta(hours=hours)
    assert state.posted + state.unposted(later) == accrued(state.stretches, later)


@for_all(steps)
def test_what_an_event_awaits_the_next_has_awaited(history: list[Step]) -> None:
    events = [cast("DebtEvent", event) for event, _ in lived(history)]
    for before, after in pairwise(events):
        assert after.awaited == before.awaits or isinstance(after, Incurred)


def test_a_month_ends_where_the_next_begins() -> None:
    ends = list(month_ends(day(0), day(60)))
    assert ends == [
        datetime(2026, 2, 1, tzinfo=UTC),
        datetime(2026, 3, 1, tzinfo=UTC),
    ]
