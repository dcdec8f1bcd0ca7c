"""Risk of a deployed model against its baseline, with labels that come late."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.empirical_bernstein import (
    LossSum,
    LowerSequence,
    SequenceState,
    upper_bound,
)
from modelkeep.stats.risk_tracking import RiskTracker


def one_by_one(losses: list[float], alpha: float) -> list[float]:
    sequence, state, found = LowerSequence(alpha), SequenceState(), []
    for loss in losses:
        state = sequence.update(state, LossSum.of([loss]))
        found.append(state.lower)
    return found


def test_bounds_are_those_of_the_authors_package_and_never_above() -> None:
    # confseq 0.0.11, predmix_empbern_lower_cs(x, alpha=.05) after 30, 60 and 100 rows
    losses = [(7 * i * i + 3 * i) % 101 / 100 for i in range(60)]
    ours = one_by_one(losses[:30], 0.05)
    assert ours[0] == ours[9] == 0
    sequence, state = LowerSequence(0.05), SequenceState()
    for loss in losses[:29]:
        state = sequence.update(state, LossSum.of([loss]))
    last = sequence.update(state._replace(lower=0.0), LossSum.of([losses[29]]))
    assert last.lower == pytest.approx(0.163169402, abs=3e-6)
    assert last.lower <= 0.163169402
    for loss in losses[29:59]:
        state = sequence.update(state, LossSum.of([loss]))
    last = sequence.update(state._replace(lower=0.0), LossSum.of([losses[59]]))
    assert last.lower == pytest.approx(0.324873668, abs=3e-6)
    assert last.lower <= 0.324873668
    assert one_by_one([1.0] * 100, 0.05)[-1] == pytest.approx(0.936222, abs=3e-6)


@pytest.mark.parametrize("size", [2, 25, 400])
def test_a_bound_is_hardly_ever_above_the_mean_at_any_time(size: int) -> None:
    chance = np.random.default_rng(size)
    sequence, wrong, best = LowerSequence(0.1), 0, []
    for _ in range(120):
        state = SequenceState()
        for _ in range(800 // size):
            batch = LossSum.of(chance.beta(1, 4, size).tolist())
            state = sequence.update(state, batch)
        wrong += state.lower > 0.2
        best.append(state.lower)
    assert wrong / 120 <= 0.1
    assert np.mean(best) > 0.1, "a bound that says nothing is no bound"


def test_the_bound_of_a_fixed_sample_covers_the_mean() -> None:
    chance = np.random.default_rng(8)
    missed = sum(
        upper_bound(LossSum.of(chance.beta(1, 4, 200).tolist()), 0.1) < 0.2
        for _ in range(300)
    )
    assert missed / 300 <= 0.1
    assert upper_bound(LossSum.of([0.5]), 0.1) == 1.0
    assert upper_bound(LossSum.of([]), 0.1) == 1.0
    with pytest.raises(Invalid):
        upper_bound(LossSum(10, 1.0, 1.0), 0.0)


def test_late_batches_of_any_size_show_a_loss_that_rose() -> None:
    chance = np.random.default_rng(3)
    baseline = LossSum.of(chance.binomial(1, 0.10, 20_000).tolist())
    tracker = RiskTracker.against(baseline, tolerance=0.01, alpha=0.05)
    assert 0.11 < tracker.ceiling < 0.13
    state = SequenceState()
    for size in (1, 500, 0, 37, 2_000, 4_000):
        step = tracker.update(
            state, LossSum.of(chance.binomial(1, 0.10, size).tolist())
        )
        state = step.state
        assert not step.risen
    state = SequenceState()
    for size in (1, 500, 0, 37, 2_000, 4_000):
        step = tracker.update(
            state, LossSum.of(chance.binomial(1, 0.16, size).tolist())
        )
        state = step.state
    assert step.risen
    assert step.lower > step.ceiling
    healed = tracker.update(state, LossSum.of([0.0] * 10_000))
    assert healed.risen, "what was shown once stays shown"


def test_states_are_written_to_six_decimals_and_read_back_exactly() -> None:
    tracker = RiskTracker.against(
        LossSum.of_errors(100, 1_000), tolerance=0.01, alpha=0.05
    )
    chance = np.random.default_rng(5)
    state = SequenceState()
    for _ in range(20):
        state = tracker.update(state, LossSum.of(chance.random(7).tolist())).state
    again = tracker.from_json(tracker.to_json(state))
    assert again == state
    batch = LossSum.of(chance.random(9).tolist())
    assert tracker.update(again, batch) == tracker.update(state, batch)
    told = json.loads(tracker.to_json(state))
    assert all(
        round(value, 6) == value for value in told.values() if isinstance(value, float)
    )
    other = RiskTracker.against(
        LossSum.of_errors(101, 1_000), tolerance=0.01, alpha=0.05
    )
    with pytest.raises(Invalid):
        other.from_json(tracker.to_json(state))
    for broken in (b"", b"{}", b"[]", b"null", json.dumps(told | {"rows": "x"})):
        with pytest.raises(Corrupt):
            tracker.from_json(broken)


def test_losses_that_are_none_are_refused() -> None:
    for losses in ([1.1], [-0.1], [float("nan")]):
        with pytest.raises(Invalid):
            LossSum.of(losses)
    for wrong in (LossSum(2, 3.0, 9.0), LossSum(-1, 0.0, 0.0), LossSum(2, 1.9, 0.1)):
        with pytest.raises(Invalid):
            wrong.checked()
    with pytest.raises(Invalid):
        LossSum.of_errors(11, 10)
    with pytest.raises(Invalid):
        RiskTracker.against(LossSum.of([0.1]), tolerance=-1, alpha=0.05)
    with pytest.raises(Invalid):
        LowerSequence(1.0)
