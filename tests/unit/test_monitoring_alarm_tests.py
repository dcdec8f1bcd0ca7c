"""Declared groups under a budget: tested once a window, counted, told of once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from modelkeep.events.alarm_watch import GroupTest, WatchStepped
from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.monitoring import (
    AlertKind,
    Fairness,
    PerformanceFigure,
    Thresholds,
    WindowFigures,
)
from modelkeep.stats.fairness import Group
from modelkeep.testing.deciding import Past, given
from modelkeep_services.monitoring.alarm_eyes import WATCH
from modelkeep_services.monitoring.alarm_rules import left_to_rules
from modelkeep_services.monitoring.alarm_tests import group_tests, told_once, words
from modelkeep_services.monitoring.alarm_watch import StepWatch
from modelkeep_services.monitoring.fairness import figure
from modelkeep_services.monitoring.rules import Breach

LIMITS = Thresholds()
DECLARED = Fairness(column="sex", reference="m", groups=("f", "x"), favourable="yes")
DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
ONE = FalseAlarms()


def window(
    women: tuple[int, int], men: tuple[int, int], *, mature: bool = False
) -> WindowFigures:
    """Favoured of so many, of both; a third group is too small to tell of."""
    groups = (
        Group("m", men[1], men[0], men[1], men[0]),
        Group("f", women[1], women[0], women[1], women[0]),
        Group("x", 3, 0, 0, 0),
    )
    rows = men[1] + women[1] + 3
    found = figure(DECLARED, groups, rows, LIMITS)
    return WindowFigures(rows=rows, mature=mature, baseline="b", fairness=(found,))


def judged(figures: WindowFigures, alpha: float = 1e-3) -> tuple[GroupTest, ...]:
    return tuple(group_tests(figures, LIMITS, alpha, 1))


def test_every_limit_of_every_group_has_an_equal_part_of_the_error() -> None:
    found = judged(window((100, 500), (250, 500), mature=True), 0.006)
    assert [(one.metric, one.group) for one in found] == [
        ("adverse_impact_ratio", "f"),
        ("parity_difference", "f"),
        ("equal_opportunity", "f"),
    ]
    # three limits of two groups, though of one of them nothing can be told
    assert [one.error for one in found] == pytest.approx([0.001] * 3)
    assert [one.loud for one in found] == [True, True, True]
    assert [one.limit for one in found] == [0.8, -0.1, -0.1]


def test_those_who_merited_it_wait_for_their_outcomes() -> None:
    found = judged(window((100, 400), (200, 400)))
    assert "equal_opportunity" not in {one.metric for one in found}


def test_two_limits_on_the_same_rates_call_somebody_once() -> None:
    found = judged(window((100, 1_000), (600, 1_000), mature=True))
    assert [one.loud for one in found] == [True, True, True]
    told = list(told_once(found))
    assert [one.metric for one in told] == ["adverse_impact_ratio", "equal_opportunity"]
    assert words(told[0]) == (
        "sex f get a favourable decision 0.17 times as often as m, limit 0.8"
    )
    assert words(found[1]).startswith("sex f got a favourable decision -50.0% from m")
    assert words(told[1]).startswith("of those who merited it, sex f")


def test_a_group_at_its_limit_keeps_the_budget_and_breaks_the_interval() -> None:
    chance = np.random.default_rng(5)
    fixed = budgeted = 0
    for _ in range(2_000):
        women = int(chance.binomial(400, 0.4))
        figures = window((women, 400), (int(chance.binomial(400, 0.5)), 400))
        gap = figures.fairness[0].groups[1].impact
        assert gap is not None
        fixed += gap.judgement == "breached"
        budgeted += any(one.loud for one in judged(figures, 4 / 2_000))
    assert fixed > 20, "one in forty, by the 95 % interval"
    assert budgeted <= 4


# --- what the watch counts ---------------------------------------------------------


def stepping(
    day: int, *, mature: bool = False, women: tuple[int, int] = (200, 400)
) -> StepWatch:
    tests = judged(window(women, (200, 400), mature=mature))
    start = START + day * DAY
    return StepWatch(
        model="m",
        version="v",
        environment="prod",
        window=f"w{day}",
        start=start,
        end=start + DAY,
        cadence_hours=24,
        false_alarms=1,
        period="quarter",
        eyes=(),
        tests=tests,
    )


def metrics(past: Past, command: StepWatch) -> list[str]:
    outcome = past.when(command)
    found = [e for e in outcome.events if isinstance(e, WatchStepped)]
    return [test.metric for event in found for test in event.tests]


def test_a_window_is_tested_once_and_its_outcomes_once_they_are_mature() -> None:
    rates = ["adverse_impact_ratio", "parity_difference"]
    new = given(WATCH)
    assert metrics(new, stepping(0)) == rates
    seen = new.when(stepping(0)).and_then()
    assert metrics(seen, stepping(0)) == []
    assert metrics(seen, stepping(0, mature=True)) == ["equal_opportunity"]
    late = seen.when(stepping(0, mature=True)).and_then()
    assert metrics(late, stepping(0, mature=True)) == []
    assert metrics(late, stepping(1, mature=True)) == [*rates, "equal_opportunity"]
    whole = late.when(stepping(1, mature=True)).and_then()
    assert metrics(whole, stepping(1, mature=True)) == []


# --- who is silent -----------------------------------------------------------------


def breach(kind: AlertKind) -> Breach:
    return Breach(kind, "concept_shift", "medium", kind, 1.0, 0.5, 9, "a cause")


def kinds(figures: WindowFigures, budget: FalseAlarms | None) -> set[str]:
    every: tuple[AlertKind, ...] = (
        *("feature_drift", "unseen_categories", "range_drift", "multivariate_drift"),
        *("label_drift", "concept_drift", "fairness", "slo", "contract", "latency"),
    )
    breaches = [breach(kind) for kind in every]
    return {one.kind for one in left_to_rules(breaches, figures, budget)}


def test_under_a_budget_only_promises_speak_by_themselves() -> None:
    loss = PerformanceFigure(metric="brier", value=0.1, n=9, baseline=0.1)
    figures = window((200, 400), (200, 400))
    watched = figures.model_copy(update={"performance": (loss,)})
    promises = {"slo", "contract", "latency"}
    assert kinds(watched, ONE) == promises
    # nobody watches the loss where the baseline has none
    assert kinds(figures, ONE) == promises | {"concept_drift"}
    # nor tests groups where there is no baseline
    bare = figures.model_copy(update={"baseline": None})
    assert kinds(bare, ONE) == promises | {"concept_drift", "fairness"}
    assert len(kinds(watched, None)) == 10
