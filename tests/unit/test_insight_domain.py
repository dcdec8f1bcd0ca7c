"""Budgets are agreed with room to spend, and lines are crossed once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from modelkeep.events.insight import (
    BudgetDefined,
    BudgetEased,
    BudgetExhausted,
    BudgetPeriodClosed,
    BudgetSlowed,
    Document,
    HealthBandChanged,
)
from modelkeep.testing.deciding import given
from modelkeep_services.insight.domain import (
    INSIGHT,
    ClosePeriod,
    DefineBudget,
    RecordHealth,
    RecordSpending,
)

CAUSE = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
OTHER = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1b"
RULES = Document(version="d-1", digest="sha256:" + "a" * 64)
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def define(**changed: object) -> DefineBudget:
    said = {
        "model": "flights",
        "budget": "errors",
        "kind": "degradation",
        "metric": "errors",
        "p0": 0.25,
        "p1": 0.35,
        "expected_events": 25_000,
        "period": "month",
        "document": RULES,
    }
    return DefineBudget.model_validate(said | changed)


def defined(**changed: object) -> BudgetDefined:
    said = define().model_dump(exclude={"least_events"}) | {"period_end": FEBRUARY}
    return BudgetDefined.model_validate(said | changed)


def spending(**changed: object) -> RecordSpending:
    said = {
        "model": "flights",
        "budget": "errors",
        "period_start": JANUARY,
        "period_end": FEBRUARY,
        "spent": 0.2,
        "spent_low": 0.1,
        "provisional": 0.0,
        "elapsed": 0.5,
        "burn": 0.4,
        "exhausted_at": None,
        "hard_stop": "human",
        "ahead": False,
        "document": RULES,
        "source": CAUSE,
        "at": JANUARY + timedelta(days=15),
    }
    return RecordSpending.model_validate(said | changed)


def health(band: str, source: str = CAUSE, at: datetime = JANUARY) -> RecordHealth:
    return RecordHealth.model_validate(
        {
            "model": "flights",
            "band": band,
            "index": 91.0,
            "component": "outcome variance",
            "cause": "brier rose",
            "measured_weight": 1.0,
            "document": RULES,
            "source": source,
            "at": at,
        }
    )


def test_a_budget_is_defined_with_the_end_of_its_first_period() -> None:
    past = given(INSIGHT).when(define()).then(defined())
    past.when(define()).then_nothing()


def test_a_budget_changes_only_with_a_reason() -> None:
    past = given(INSIGHT, defined())
    past.when(define(p1=0.4)).then_refused("insight.budget-change-has-reason")
    past.when(define(p1=0.4, reason="the winter was mild")).then(
        defined(p1=0.4, reason="the winter was mild")
    )


def test_a_budget_of_fewer_than_ten_bad_events_is_noise() -> None:
    small = define(expected_events=50)
    outcome = given(INSIGHT).when(small)
    outcome.then_refused("insight.budget-too-small")
    assert "take 2 periods" in str(outcome.error)
    given(INSIGHT).when(define(expected_events=50, periods=2)).and_then()


@pytest.mark.parametrize(
    ("field", "value"),
    [("p1", 0.25), ("p1", 0.1), ("p0", -0.1), ("p0", float("nan")), ("period", "week")],
)
def test_a_budget_needs_room_between_its_rates(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        define(**{field: value})


def test_an_auc_needs_a_band() -> None:
    with pytest.raises(ValidationError, match="no bad events"):
        define(kind="auc", metric="auc")
    assert define(kind="auc", metric="auc", band=0.03).band == 0.03


def test_a_health_band_is_recorded_when_it_changes_and_not_again() -> None:
    first = given(INSIGHT).when(health("green"))
    past = first.and_then()
    (event,) = first.events
    assert isinstance(event, HealthBandChanged)
    assert (event.from_band, event.to_band) == (None, "green")
    past.when(health("green", OTHER)).then_nothing()
    (event,) = past.when(health("red", OTHER)).events
    assert isinstance(event, HealthBandChanged)
    assert (event.from_band, event.to_band, event.source) == ("green", "red", OTHER)


def test_what_was_computed_for_an_earlier_moment_is_not_news() -> None:
    past = given(INSIGHT, defined())
    past = past.when(health("green")).and_then()
    past = past.when(health("red", OTHER, at=FEBRUARY)).and_then()
    past.when(health("green")).then_nothing()
    late = spending(ahead=True, at=JANUARY + timedelta(days=20))
    past = past.when(late).and_then()
    past.when(spending()).then_nothing()


def test_a_budget_slows_and_eases_as_it_runs_ahead_and_falls_back() -> None:
    past = given(INSIGHT, defined())
    past.when(spending()).then_nothing()
    slowed = past.when(spending(ahead=True, spent_low=0.6))
    assert [type(event) for event in slowed.events] == [BudgetSlowed]
    past = slowed.and_then()
    past.when(spending(ahead=True, spent_low=0.7)).then_nothing()
    later = JANUARY + timedelta(days=16)
    eased = past.when(spending(at=later))
    assert [type(event) for event in eased.events] == [BudgetEased]
    eased.and_then().when(spending(at=later)).then_nothing()


def test_exhaustion_is_said_once_a_period() -> None:
    past = given(INSIGHT, defined())
    over = past.when(spending(spent=1.2, spent_low=1.1, ahead=True))
    assert [type(event) for event in over.events] == [BudgetSlowed, BudgetExhausted]
    past = over.and_then()
    # restated below the limit, and above it again
    past = past.when(spending(spent=0.9, ahead=True)).then_nothing()
    past.when(spending(spent=1.3, ahead=True)).then_nothing()
    again = spending(
        spent=1.0,
        ahead=True,
        period_start=FEBRUARY,
        period_end=MARCH,
        source=OTHER,
        at=FEBRUARY,
    )
    found = past.when(again).events
    assert [type(event) for event in found] == [BudgetSlowed, BudgetExhausted]


def test_a_budget_that_is_defined_anew_may_be_exhausted_anew() -> None:
    over = spending(spent=1.2, ahead=True)
    past = given(INSIGHT, defined()).when(over).and_then()
    past = past.when(define(p1=0.3, reason="tighter")).and_then()
    assert len(past.when(over).events) == 2


def test_spending_of_a_budget_nobody_defined_is_nothing() -> None:
    given(INSIGHT).when(spending(spent=2.0)).then_nothing()


def test_a_period_closes_once() -> None:
    close = ClosePeriod(
        model="flights",
        budget="errors",
        period_start=JANUARY,
        period_end=FEBRUARY,
        next_period_end=MARCH,
        spent=0.4,
        spent_low=0.3,
        provisional=0.0,
        document=RULES,
        source=CAUSE,
    )
    closed = given(INSIGHT, defined()).when(close)
    assert [type(event) for event in closed.events] == [BudgetPeriodClosed]
    closed.and_then().when(close.model_copy(update={"source": OTHER})).then_nothing()
    given(INSIGHT).when(close).then_nothing()
