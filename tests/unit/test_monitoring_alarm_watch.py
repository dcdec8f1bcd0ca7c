"""False-alarm detectors by window: given steps, when a window closes, then a step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given as assuming
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import ValidationError

from modelkeep.events.alarm_watch import WatchStep, WatchStepped
from modelkeep.events.false_alarms import (
    METRICS,
    AlarmShares,
    FalseAlarms,
    GroupMetric,
)
from modelkeep.events.monitoring import (
    AlertRaised,
    AlertRepeated,
    Estimate,
    FeatureFigure,
    MonitorConfigured,
    PerformanceFigure,
    PredictionFigure,
    WindowClosed,
    WindowFigures,
)
from modelkeep.stats.e_detector import Detector
from modelkeep.stats.profile import Baseline
from modelkeep.testing.deciding import Past, given
from modelkeep_services.monitoring.alarm_eyes import (
    WATCH,
    Asked,
    asked_of,
    cell_of,
    eyes,
    made,
)
from modelkeep_services.monitoring.alarm_reactions import MANNERS
from modelkeep_services.monitoring.alarm_rules import left_to_rules
from modelkeep_services.monitoring.alarm_watch import StepWatch
from modelkeep_services.monitoring.commands import (
    CloseWindow,
    Closing,
    ConfigureMonitor,
    RaiseAlert,
)
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.rules import Breach
from modelkeep_services.monitoring.windows import Reference

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
ONE = FalseAlarms()
ROWS = 400
WRITTEN = "sha256:2724a2873797b6bd2876a957153996d6c14d658b43faa503bc320460d6df8ba6"


def columns(
    rng: np.random.Generator, rows: int, shift: float, missing: float = 0.0
) -> dict[str, np.ndarray[Any, Any]]:
    y = rng.normal(0, 1, rows)
    y[rng.random(rows) < missing] = np.nan
    return {"x": rng.normal(shift, 1, rows), "y": y}


@cache
def baseline(seed: int = 0) -> Baseline:
    rng = np.random.default_rng(seed)
    return Baseline.fit(columns(rng, 20_000, 0.0), scores=rng.random(20_000))


@cache
def asked(
    seed: int = 0, name: str = "spring", sharing: int = 1, budget: FalseAlarms = ONE
) -> Asked:
    loss = Estimate(metric="brier", value=0.15, n=20_000)
    profile = baseline(seed).to_json().decode()
    return asked_of(budget, 24.0, sharing, Reference(name, profile, 0.5, (loss,)))


def figures(loss: float | None = None, *, mature: bool = True) -> WindowFigures:
    told = PerformanceFigure(metric="brier", value=loss or 0.0, n=ROWS, baseline=0.15)
    return WindowFigures(
        rows=ROWS, mature=mature, performance=() if loss is None else (told,)
    )


def closing(
    day: int,
    *,
    shift: float = 0.0,
    missing: float = 0.0,
    loss: float | None = None,
    mature: bool = True,
    of: Asked | None = None,
    restated: bool = False,
    **changes: Any,
) -> StepWatch:
    rng = np.random.default_rng(day + 1_000)
    window = baseline().profile(
        columns(rng, ROWS, shift, missing), scores=rng.random(ROWS)
    )
    if of is not None and of.profile != asked().profile:
        window = baseline(1).profile(columns(rng, ROWS, shift), scores=rng.random(ROWS))
    profile = None if restated else window.to_json().decode()
    start = START + day * DAY
    said: dict[str, Any] = {
        "model": "m",
        "version": "v1",
        "environment": "prod",
        "window": f"v1.prod.{day}",
        "start": start,
        "end": start + DAY,
        "cadence_hours": 24.0,
        "false_alarms": ONE.false_alarms,
        "period": ONE.period,
        "eyes": eyes(of or asked(), profile, figures(loss, mature=mature)),
    }
    return StepWatch(**(said | changes))


def lived(
    commands: Sequence[StepWatch], past: Past | None = None
) -> list[WatchStepped]:
    """Close windows one after the other; return all that was counted."""
    past = past or given(WATCH)
    found: list[WatchStepped] = []
    for command in commands:
        outcome = past.when(command)
        found += [e for e in outcome.events if isinstance(e, WatchStepped)]
        past = outcome.and_then()
    return found


def steps(events: Sequence[WatchStepped], monitor: str) -> list[WatchStep]:
    return [step for e in events for step in e.steps if step.monitor == monitor]


def test_a_year_without_drift_raises_nothing() -> None:
    events = lived([closing(day, loss=0.15) for day in range(365)])
    assert len(events) == 365
    assert all(len(event.steps) == 4 for event in events)
    assert not [step for e in events for step in e.steps if step.alarm]


def test_half_a_sigma_is_found_and_named_with_its_onset() -> None:
    events = lived([closing(day, shift=0.5 * (day >= 30)) for day in range(34)])
    alarms = [step for step in steps(events, "features") if step.alarm]
    [first, *_] = alarms
    assert first.alarm is not None
    assert first.alarm.group == "x"
    assert first.alarm.since == START + 30 * DAY
    assert first.value >= first.threshold
    assert not [step for step in steps(events, "prediction") if step.alarm]


def test_after_an_alarm_a_detector_begins_anew_and_speaks_again() -> None:
    events = lived([closing(day, shift=0.8) for day in range(8)])
    alarms = [step.alarm is not None for step in steps(events, "features")]
    assert sum(alarms) > 1
    assert not all(step.begun for step in steps(events, "features")[1:])


def test_values_that_go_missing_are_told_as_missing() -> None:
    events = lived([closing(day, missing=0.2) for day in range(3)])
    told = {s.monitor for e in events for s in e.steps if s.alarm}
    assert told == {"missing"}


def test_a_window_counts_once() -> None:
    past = given(WATCH).when(closing(1)).and_then()
    past.when(closing(1, shift=2.0)).then_nothing()


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (START, START + DAY),
        (START + 1.5 * DAY, START + 2.5 * DAY),
        (START + 2 * DAY, START + 2.5 * DAY),
    ],
    ids=["before", "overlapping", "shorter than the cadence"],
)
def test_rows_count_once_and_windows_keep_their_cadence(
    start: datetime, end: datetime
) -> None:
    past = given(WATCH).when(closing(1)).and_then()
    past.when(closing(2, start=start, end=end, window="other")).then_nothing()


def test_outcomes_count_once_when_they_are_mature() -> None:
    first = given(WATCH).when(closing(0, loss=0.1, mature=False))
    assert not steps(_events(first), "performance")
    late = closing(0, loss=0.3, restated=True)
    second = first.and_then().when(late)
    [step] = _events(second)[0].steps
    assert (step.monitor, step.n) == ("performance", ROWS)
    second.and_then().when(late).then_nothing()


def test_outcomes_may_mature_in_another_order_than_windows_close() -> None:
    past = given(WATCH)
    for day in range(3):
        past = past.when(closing(day)).and_then()
    for day in (1, 0, 2):
        outcome = past.when(closing(day, loss=0.15, restated=True))
        assert len(_events(outcome)) == 1
        past = outcome.and_then()


def test_outcomes_of_a_window_that_was_not_counted_are_not() -> None:
    past = given(WATCH).when(closing(1)).and_then()
    past.when(closing(0, loss=0.9, restated=True)).then_nothing()


def test_a_loss_that_rises_is_found() -> None:
    events = lived([closing(day, loss=0.15 + 0.1 * (day >= 5)) for day in range(9)])
    [first, *_] = [step for step in steps(events, "performance") if step.alarm]
    assert first.alarm is not None
    assert (first.alarm.group, first.alarm.since) == ("brier", START + 5 * DAY)


def test_another_baseline_begins_another_detector_and_says_so() -> None:
    past = given(WATCH).when(closing(0)).and_then()
    [event] = _events(past.when(closing(1, of=asked(1, "summer"))))
    assert {step.begun.because for step in event.steps if step.begun} == {"baseline"}
    assert {step.windows for step in event.steps} == {1}


@pytest.mark.parametrize(
    "other",
    [asked(sharing=2), asked(budget=FalseAlarms(version="b", false_alarms=2.0))],
    ids=["shared by two", "another budget"],
)
def test_another_budget_begins_another_detector_and_says_so(other: Asked) -> None:
    past = given(WATCH).when(closing(0)).and_then()
    [event] = _events(past.when(closing(1, of=other)))
    assert {step.begun.because for step in event.steps if step.begun} == {"budget"}


def test_versions_that_share_a_budget_need_more_evidence_each() -> None:
    alone, shared = made(asked()), made(asked(sharing=2))
    for one, two in zip(alone, shared, strict=True):
        a, b = Detector.from_json(one.detector), Detector.from_json(two.detector)
        assert b.threshold == pytest.approx(2 * a.threshold)


def test_a_quarter_of_windows_can_cost_what_was_declared() -> None:
    quarter = 92
    cost = sum(
        quarter / Detector.from_json(m.detector).threshold for m in made(asked())
    )
    assert cost == pytest.approx(ONE.false_alarms)


def test_a_detector_in_the_log_goes_on_though_it_would_be_made_otherwise_now() -> None:
    past = given(WATCH).when(closing(0)).and_then()
    now = closing(1)
    other = [eye.model_copy(update={"detector": "{}"}) for eye in now.eyes]
    assert _events(past.when(now.model_copy(update={"eyes": tuple(other)}))) == (
        _events(past.when(now))
    )


shifts = st.lists(st.sampled_from([0.0, 0.2, 0.8]), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@assuming(shifts, st.integers(0, 5))
def test_a_replay_stands_where_the_first_life_stood(
    moved: list[float], broken: int
) -> None:
    commands = [closing(day, shift=shift, loss=0.2) for day, shift in enumerate(moved)]
    whole = lived(commands)
    # A restart reads the stream, and goes on from there.
    cut = min(broken, len(commands))
    again = lived(commands[cut:], given(WATCH, *whole[:cut]))
    assert again == whole[cut:]
    assert _digests(again) == _digests(whole[cut:])
    assert given(WATCH, *whole).state == given(WATCH, *whole[:cut], *again).state


def test_steps_are_those_of_the_bare_detector() -> None:
    commands = [closing(day, shift=0.3) for day in range(5)]
    [eye] = [e for e in commands[0].eyes if e.monitor == "features"]
    detector = Detector.from_json(eye.detector)
    evidence = detector.start()
    for event, command in zip(lived(commands), commands, strict=True):
        [seen] = [e for e in command.eyes if e.monitor == "features"]
        hits, trials = np.array(seen.hits), np.array(seen.trials)
        evidence, value, _ = detector.update(evidence, hits, trials)
        [step] = steps([event], "features")
        assert (step.evidence, step.value) == (evidence.to_json().decode(), value)


def _digests(events: Sequence[WatchStepped]) -> list[str]:
    return [json.loads(s.evidence)["digest"] for e in events for s in e.steps]


def _events(outcome: Any) -> list[WatchStepped]:
    return [e for e in outcome.events if isinstance(e, WatchStepped)]


def test_what_no_detector_rests_on_begins_none_anew() -> None:
    before, *_ = made(asked())
    # as it was written before budgets said anything of groups and reviews
    assert before.terms.document == WRITTEN
    shares = AlarmShares(fairness=3.0)
    later = FalseAlarms(shares=shares, false_discovery_rate=0.01)
    after, *_ = made(asked(budget=later))
    assert after.terms == before.terms
    groups, *_ = made(asked()._replace(groups=True))
    assert groups.terms.false_alarms == pytest.approx(
        before.terms.false_alarms / 1.1, rel=1e-6
    )


def test_insight_knows_the_alerts_of_detectors_by_their_metrics() -> None:
    of_detectors = {manner.metric for manner in MANNERS.values()}
    assert of_detectors | set(get_args(GroupMetric)) == METRICS


def test_a_cell_is_told_by_what_it_holds() -> None:
    layout = baseline().layout
    assert cell_of(layout, "x", 0).startswith("below ")
    assert cell_of(layout, "score", 9).endswith(" on")
    assert cell_of(layout, "brier", 0) == "cell 0"


# --- the monitor -------------------------------------------------------------------


def test_a_budget_needs_a_cadence() -> None:
    with pytest.raises(ValidationError, match="cadence") as refused:
        ConfigureMonitor(model="m", false_alarms=ONE)
    assert refused.value.errors()[0]["loc"] == ("false_alarms",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"false_alarms": 0},
        {"false_alarms": float("inf")},
        {"shares": {"features": 0}},
        {"tolerance": {"relative": 1}},
        {"tolerance": {"confidence": 1}},
        {"odds": [1]},
        {"odds": []},
        {"period": "week"},
    ],
)
def test_an_impossible_budget_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        ConfigureMonitor(model="m", cadence_hours=24, false_alarms=wrong)
    problem, *_ = refused.value.errors()
    assert problem["loc"][:2] == ("false_alarms", next(iter(wrong)))


def drifted() -> WindowFigures:
    x = FeatureFigure(feature="x", psi=0.9, lo=0.1, hi=0.25, n=500, importance=1.0)
    return WindowFigures(
        rows=500,
        features=(x,),
        prediction=PredictionFigure(psi=0.9, lo=0.1, hi=0.25, n=500),
        breaches={"x.null_rate": 3},
        reason_codes_owed=10,
        reason_codes_missing=5,
    )


def closed(configured: MonitorConfigured) -> set[str]:
    found = Closing(figures=drifted(), method="windows/1", owner="olga")
    command = CloseWindow(
        model="m", version="v", start=START, end=START + DAY, found=found
    )
    outcome = given(MONITOR, configured).when(command)
    assert any(isinstance(event, WindowClosed) for event in outcome.events)
    return {e.kind for e in outcome.events if isinstance(e, AlertRaised)}


def test_one_rule_speaks_and_hard_rules_stay() -> None:
    fixed = MonitorConfigured(model="m", cadence_hours=24, reason_codes_compulsory=True)
    assert closed(fixed) == {
        "feature_drift",
        "prediction_drift",
        "contract",
        "reason_codes",
    }
    budgeted = fixed.model_copy(update={"false_alarms": ONE})
    assert closed(budgeted) == {"contract", "reason_codes"}


def test_performance_is_left_to_rules_where_no_baseline_has_outcomes() -> None:
    breach = Breach(
        "performance", "concept_shift", "high", "auc", 0.5, 0.7, 500, "worse"
    )
    bare = PerformanceFigure(metric="brier", value=0.2, n=500)
    without = WindowFigures(rows=500, performance=(bare,))
    assert left_to_rules([breach], without, ONE) == [breach]
    assert left_to_rules([breach], figures(0.2), ONE) == []
    assert left_to_rules([breach], figures(0.2), None) == [breach]


def test_a_model_too_wide_for_an_event_is_left_to_its_rules() -> None:
    [x] = drifted().features
    wide = WindowFigures(rows=500, features=(x,) * 501)
    breach = Breach(
        "feature_drift", "data_drift", "high", "feature_psi", 0.5, 0.25, 500, "moved"
    )
    assert left_to_rules([breach], wide, ONE) == [breach]
    narrow = WindowFigures(rows=500, features=(x,) * 500)
    assert left_to_rules([breach], narrow, ONE) == []


def raising(day: int, feature: str = "x") -> RaiseAlert:
    return RaiseAlert(
        model="m",
        version="v",
        environment="prod",
        kind="feature_drift",
        vector="data_drift",
        severity="high",
        metric="feature_evidence",
        feature=feature,
        value=5_000.0,
        threshold=4_416.0,
        n=500,
        window=f"v.prod.{day}",
        start=START,
        end=START + DAY,
        cause="more of x than before",
        thresholds="ours-1",
        occasion=f"v.prod.{day}",
    )


def test_an_open_alert_takes_in_what_its_detector_says_again() -> None:
    first = given(MONITOR).when(raising(1))
    [alert] = first.events
    assert isinstance(alert, AlertRaised)
    assert (alert.version, alert.feature, alert.window) == ("v", "x", "v.prod.1")
    assert alert.thresholds == "ours-1"
    first.and_then().when(raising(1)).then_nothing()
    [again] = first.and_then().when(raising(2)).events
    assert isinstance(again, AlertRepeated)
    assert again.alert == alert.alert
    [other] = first.and_then().when(raising(2, "y")).events
    assert isinstance(other, AlertRaised)
