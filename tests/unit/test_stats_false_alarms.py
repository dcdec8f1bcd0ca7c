"""The simulation of false alarms, short: seconds, seeded, and able to fail.

The long one is `python -m tests.bench.false_alarms`, or `modelkeep simulate-alarms`.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from modelkeep.errors import Invalid
from modelkeep.stats.alarm_budget import AlarmDocument, Tolerance
from modelkeep.stats.alarm_simulation import (
    BH,
    LOND,
    LOND_DAILY,
    OURS,
    Quiet,
    Scenario,
    Simulated,
    _Online,
    run,
)
from modelkeep.stats.e_detector import Detector
from modelkeep.stats.e_lond import ELond, ELondState
from modelkeep.stats.period_evidence import Counted, period_evidence
from modelkeep.stats.tolerance import band
from modelkeep_services.__main__ import app
from modelkeep_services.cli import simulating

SHORT = Scenario(
    seed=3,
    replicas=20,
    windows=240,
    drift_replicas=20,
    warm_up=24,
    horizon=24,
    features=8,
    shifts=(0.25,),
)
POOLED = "e-SR, one baseline for all hours"
PSI = "PSI > .10, any feature"


@pytest.fixture(scope="module")
def found() -> Simulated:
    return run(SHORT)


def test_the_budget_is_kept_where_the_usual_rules_cry_wolf(found: Simulated) -> None:
    ours, theirs = found.quiet_of(OURS), found.quiet_of(BH)
    assert ours.windows == 4_800
    # 4,800 windows at 1 in 4,416: an alarm or two would be within the promise
    assert ours.alarms <= 3
    assert ours.alarms * 100 < theirs.alarms
    # BH at .05 without drift is wrong in 5 % of windows: 240 of 4,800, sd 15
    assert 180 <= theirs.alarms <= 300
    # any of 8 independent tests at .05: 1 - .95 ** 8 = .337
    assert 0.29 < found.quiet_of("chi2 p < .05, any feature").per_thousand / 1e3 < 0.38


def test_a_quarter_of_sigma_is_seen_within_three_windows(found: Simulated) -> None:
    delay = found.delay_of(OURS, 0.25)
    assert delay.found == 20
    assert delay.median is not None
    assert delay.median <= 3
    assert delay.named == 1.0
    assert delay.onset is not None
    assert delay.onset <= 1
    slow = found.delay_of(PSI, 0.25)
    assert slow.median is None or slow.median > 3


def test_one_baseline_for_all_hours_cries_wolf(found: Simulated) -> None:
    assert found.quiet_of(POOLED).per_thousand > 100


def test_large_windows_turn_the_error_of_a_baseline_into_alarms() -> None:
    chance = np.random.default_rng(12)
    groups = [(str(feature), 10) for feature in range(25)]
    rows = np.full((1, 250), 10_000)
    known = chance.multinomial(10_000, np.full(10, 0.1), 25).reshape(1, -1)
    share, bands = known / rows, band(known, rows, Tolerance())
    alarms = []
    for low, high in ((share, share), bands):
        watch = Detector.between(
            groups, low, high, threshold=4_416, odds=SHORT.document.odds
        )
        evidence, loud = watch.start(), 0
        for _ in range(100):
            window = chance.multinomial(10_000, np.full(10, 0.1), 25).ravel()
            step = watch.update(evidence, window, rows[0])
            evidence, loud = step.evidence, loud + (step.alarm is not None)
        alarms.append(loud)
    assert alarms[0] > 10, "taken for the truth"
    assert alarms[1] == 0, "tolerated"


@pytest.mark.parametrize("rule", [LOND, LOND_DAILY])
def test_reviews_keep_their_rate_where_a_procedure_a_window_does_not(
    found: Simulated, rule: str
) -> None:
    ours, theirs = found.delay_of(rule, 0.25), found.delay_of(BH, 0.25)
    assert ours.false is not None
    assert theirs.false is not None
    assert ours.false <= SHORT.document.false_discovery_rate
    # .05 in each window; over many windows of which half have nothing to find, more
    assert theirs.false > SHORT.document.false_discovery_rate
    assert found.quiet_of(rule).loud <= 1


def test_a_review_of_a_day_finds_what_single_windows_do_not(found: Simulated) -> None:
    daily, single = found.delay_of(LOND_DAILY, 0.25), found.delay_of(LOND, 0.25)
    assert daily.found == 20
    assert daily.median == 24
    assert single.found < daily.found


def test_simulated_reviews_are_those_of_one_model_after_another() -> None:
    chance = np.random.default_rng(2)
    groups = [("a", 4), ("b", 4)]
    watch = Detector.between(
        groups,
        np.full((1, 8), 0.23),
        np.full((1, 8), 0.27),
        threshold=4_416,
        odds=SHORT.document.odds,
    )
    many = _Online([watch, watch], [0] * 24, 0.05, every=2)
    states, said = [ELondState(), ELondState()], []
    for _ in range(20):
        # the second model's second feature has moved
        seen = chance.multinomial(300, np.full((2, 2, 4), 0.25))
        seen[1, 1] = chance.multinomial(300, [0.55, 0.15, 0.15, 0.15])
        more = chance.multinomial(300, np.full((2, 2, 4), 0.25))
        many.step(0, seen)
        many.step(1, more)
        both = (seen + more).reshape(2, -1)
        alone = []
        for model, hits in enumerate(both):
            counted = Counted(hits, np.full(8, 600))
            for one in period_evidence(watch, {"": counted}):
                states[model], ruling = ELond(0.05).test(
                    states[model], math.exp(one.log_e)
                )
                alone.append(ruling.rejected)
        assert many.said.ravel().tolist() == alone
        said += alone
    assert any(said)


def test_no_alarm_at_all_still_has_an_upper_bound() -> None:
    none = Quiet(OURS, alarms=0, windows=110_400, loud=0, periods=50)
    # the rule of three, exactly: 1 - .05 ** (1 / n)
    assert none.per_thousand_upper == pytest.approx(1e3 * (1 - 0.05 ** (1 / 110_400)))
    assert none.loud_upper == pytest.approx(1 - 0.05 ** (1 / 50))


def test_the_same_seed_finds_the_same_and_progress_ends_where_it_should() -> None:
    tiny = replace(SHORT, replicas=2, windows=24, drift_replicas=2, features=2)
    told: list[tuple[int, int]] = []
    assert run(tiny, lambda *progress: told.append(progress)) == run(tiny)
    assert told[-1] == (tiny.steps, tiny.steps)
    assert run(replace(tiny, seed=4)) != run(tiny)


def test_a_broken_promise_is_told_by_the_exit_code(found: Simulated) -> None:
    assert simulating.kept(found)
    loud = found.quiet_of(OURS)._replace(alarms=50)
    others = tuple(one for one in found.quiet if one.rule != OURS)
    assert not simulating.kept(found._replace(quiet=(loud, *others)))


def test_it_answers_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = replace(SHORT, replicas=2, windows=24, drift_replicas=2, features=2)
    assert simulating.simulate(tiny, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kept"] is True
    assert told["budget"]["threshold"] == pytest.approx(4_416)
    assert {one["rule"] for one in told["without_drift"]} >= {OURS, BH, PSI}
    assert simulating.simulate(tiny, as_json=False) == 0


def test_the_command_refuses_a_document_that_is_none(tmp_path: Path) -> None:
    document = tmp_path / "budget.yaml"
    document.write_text("false_alarms: 0")
    said = CliRunner().invoke(
        app, ["simulate-alarms", "--document", str(document), "--quarters", "1"]
    )
    assert isinstance(said.exception, Invalid)


def test_a_scenario_of_nothing_is_refused() -> None:
    with pytest.raises(Invalid):
        Scenario(replicas=0)
    with pytest.raises(Invalid):
        Scenario(features=0)
    with pytest.raises(Invalid):
        Scenario(bins=1)
    with pytest.raises(Invalid):
        Scenario(warm_up=-1)
    louder = replace(SHORT, document=AlarmDocument("d", false_alarms=4))
    assert louder.allotment.false_alarms == pytest.approx(2)
