"""Liabilities under another rate card: by their own events, folded as ever."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from hypothesis import given as for_all
from tests.unit.test_debt_domain import (
    DANA,
    INCUR,
    REVIEW,
    ROBOT,
    START,
    Step,
    day,
    lived,
    steps,
    when,
)
from tests.unit.test_rescore_tiers import classified

from modelkeep.events.base import Event
from modelkeep.events.debt import Incurred
from modelkeep.events.inventory import ModelClassified
from modelkeep.testing import given
from modelkeep_services.debt.domain import (
    LIABILITY,
    Cure,
    FallDue,
    Incur,
    IncurByCause,
    LinkIncident,
    Reassess,
)
from modelkeep_services.debt.liability import LiabilityEvent
from modelkeep_services.debt.rates import CARD, MICRO, RateCard
from modelkeep_services.debt.repricing import Priced, repriced

DEARER = CARD.model_copy(
    update={
        "card": "dearer",
        "severity_points": {**CARD.severity_points, "high": 20},
        "overdue_times": 4,
    }
)


def told(*said: tuple[object, datetime], first: Incur = INCUR) -> list[Event]:
    """Every event of a liability to which these commands came."""
    by = ROBOT if isinstance(first, IncurByCause) else DANA
    outcome = when(given(LIABILITY), first, START, by)
    found = [*outcome.events]
    for command, at in said:
        outcome = when(outcome.and_then(), command, at)
        found += outcome.events
    return found


def price(events: Sequence[Event], card: RateCard, upto: float = 40) -> Priced:
    said = cast("Sequence[LiabilityEvent | ModelClassified]", events)
    (one,) = repriced(said, card, None, day(upto))
    return one


def entered_by_hand(event: Event) -> Event:
    """What a person entered, no card gave: the same history of such a one."""
    by_hand = {"origin": "hand", "source": None}
    return event.model_copy(update=by_hand) if isinstance(event, Incurred) else event


@for_all(steps)
def test_the_card_in_force_changes_nothing_whatever_happened(
    history: list[Step],
) -> None:
    events = [entered_by_hand(event) for event, _ in lived(history)]
    one = price(events, CARD, 400)
    assert (one.charge_is, one.carrying_is) == (one.charge_was, one.carrying_was)
    assert one.minutes_are == one.minutes_were
    assert not one.moved


def test_what_the_card_gave_it_gives_again() -> None:
    terms = CARD.terms("review", CARD.tier_when_unclassified, START)
    entered = REVIEW.model_copy(update=terms._asdict())
    assert not price(told(first=entered), CARD, 400).moved


def test_a_dearer_card_charges_more_from_the_first_day() -> None:
    one = price(told(), DEARER, 30)
    assert (one.charge_was, one.charge_is) == (40 * MICRO, 80 * MICRO)
    assert (one.carrying_was, one.carrying_is) == (40 * MICRO, 80 * MICRO)


def test_past_its_date_the_other_card_counts_its_own_times() -> None:
    one = price(told(), DEARER, 90)
    assert one.carrying_was == 80 * MICRO
    assert one.carrying_is == 4 * 80 * MICRO


def test_a_period_counts_what_accrued_within_it() -> None:
    (one,) = repriced(
        cast("Sequence[LiabilityEvent]", told()), DEARER, day(15), day(30)
    )
    assert (one.charge_was, one.charge_is) == (20 * MICRO, 40 * MICRO)


def test_what_a_person_reassessed_is_reassessed_under_the_other_card() -> None:
    change = Reassess(liability="tangle", reason="smaller", severity="low")
    events = told((change, day(15)))
    one = price(events, DEARER, 30)
    assert one.charge_was == 20 * MICRO + 4 * MICRO // 2
    assert one.charge_is == 40 * MICRO + 4 * MICRO // 2


def test_incidents_add_to_the_other_cards_rate() -> None:
    link = LinkIncident(liability="tangle", group="outage")
    events = told((link, day(0)))
    assert price(events, DEARER, 30).charge_is == 120 * MICRO


def test_a_cured_liability_stays_cured() -> None:
    cure = Cure(liability="tangle", evidence="one transform now")
    events = told((cure, day(10)))
    one = price(events, DEARER, 300)
    assert one.status == "cured"
    assert (one.carrying_was, one.carrying_is) == (0, 0)
    assert one.charge_is == 2 * one.charge_was


def test_what_a_card_gave_another_gives_and_what_a_cause_stated_stays() -> None:
    review = CARD.cures["review"]
    cures = {
        **CARD.cures,
        "review": review.model_copy(
            update={"severity": "critical", "minutes": {1: 1, 2: 2, 3: 3, 4: 4}}
        ),
    }
    other = CARD.model_copy(update={"cures": cures})
    # The model of this liability was never classified: it is charged as such.
    one = price(told(first=REVIEW), other, 30)
    assert one.minutes_are == cures["review"].minutes[CARD.tier_when_unclassified]
    assert one.carrying_is == CARD.points_per_30d("critical", 2, 0)
    finding = REVIEW.model_copy(update={"origin": "finding"})
    assert price(told(first=finding), other, 30).carrying_is == 40 * MICRO


def test_a_tier_for_models_without_one_is_for_those_alone() -> None:
    other = CARD.model_copy(update={"tier_when_unclassified": 4})
    events = told(first=REVIEW)
    assert price(events, other).carrying_is == 2 * CARD.points_per_30d("high", 4, 0)
    known = classified(model="credit")
    assert price([known, *events], other).carrying_is == price(events, CARD).carrying_is


def test_charges_that_were_posted_are_not_counted_again() -> None:
    events = told((FallDue(instant=day(55)), day(55)))
    posted, bare = price(events, DEARER, 55), price(told(), DEARER, 55)
    assert posted.charge_is == bare.charge_is
