"""Performance before the truth is in: near NannyML's, and honest about its blindness.

NannyML 0.13.1 was run once on `sample()`: data made by arithmetic alone, a reference of
100,000 rows and a chunk of 60,000 whose scores have moved.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelkeep.errors import Invalid
from modelkeep.stats.cbpe import (
    CAVEAT,
    Calibration,
    calibrate,
    estimate_performance,
)
from modelkeep.stats.direct_loss import estimate_loss, loss_table
from modelkeep.stats.fine import FineBaseline, outcome_table_fine, place_of
from modelkeep.stats.performance import performance
from modelkeep.stats.scores import CELLS, cells_of, count_scores, outcome_table

Floats = NDArray[np.float64]

NANNYML = {
    "auc": 0.8776220343435164,
    "precision": 0.6805082501549589,
    "recall": 0.73686481529432,
    "false_positive_rate": 1 - 0.8336753433531878,
    "accuracy": 0.802243065472486,
}


def weyl(rows: int, step: float) -> Floats:
    return np.asarray((np.arange(1, rows + 1) * step) % 1.0, dtype=np.float64)


def sample(rows: int, by: float, phase: float) -> tuple[Floats, Floats]:
    said = weyl(rows, 0.6180339887498949) ** (2 - by)
    return said, (weyl(rows, 0.7548776662466927 + phase) < said**1.3).astype(np.float64)


@pytest.mark.parametrize("fine", [False, True])
def test_estimates_are_nannymls_within_five_in_ten_thousand(*, fine: bool) -> None:
    said, true = sample(100_000, 0.0, 0)
    now, _ = sample(60_000, 0.4, 0.01)
    if fine:
        baseline = FineBaseline.fit({"score": said})
        scale = baseline.layout.scales[0]
        table = outcome_table_fine(scale, said, true)
        counts = baseline.profile({"score": now}).cells[0]
        place = place_of(scale, 0.5)
    else:
        table, place = outcome_table(said, true), 32.0
        counts = count_scores(now)[:CELLS]
    calibration = calibrate(table)
    assert calibration is not None
    seen = estimate_performance(calibration, counts, place)
    for name, theirs in NANNYML.items():
        assert getattr(seen, name).value == pytest.approx(theirs, abs=5e-4), name
    assert seen.caveat == CAVEAT


@settings(deadline=None)  # the first call imports scipy
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12
    ).filter(lambda cells: any(map(any, cells)))
)
def test_calibration_is_scipys_isotonic_regression(
    cells: list[tuple[int, int]],
) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    table = np.array(cells).T
    found = calibrate(table)
    assert found is not None
    rows = table.sum(axis=0)
    used = rows > 0
    exact = optimize.isotonic_regression(
        table[1, used] / rows[used], weights=rows[used]
    ).x
    assert np.array(found.chances)[used] == pytest.approx(exact, abs=1e-9)
    assert np.all(np.diff(found.chances) >= 0)


def test_the_interval_holds_while_the_concept_does_and_is_blind_when_it_does_not() -> (
    None
):
    chance = np.random.default_rng(31)
    said = chance.beta(2, 3, 20_000)
    true = (chance.random(20_000) < said).astype(np.float64)
    calibration = calibrate(outcome_table(said, true))
    assert calibration is not None
    names = ("auc", "accuracy", "recall", "precision", "false_positive_rate")
    held = dict.fromkeys(names, 0)
    for _ in range(200):
        now = chance.beta(3, 3, 1_000)
        seen = estimate_performance(calibration, count_scores(now)[:CELLS], 32)
        real = performance(now, (chance.random(1_000) < now).astype(np.float64))
        for name in names:
            told = getattr(seen, name)
            held[name] += told.low <= getattr(real, name).value <= told.high
    assert all(0.9 <= share / 200 <= 0.995 for share in held.values()), held
    # the concept turns around, the scores do not: nothing is seen
    now = chance.beta(3, 3, 1_000)
    seen = estimate_performance(calibration, count_scores(now)[:CELLS], 32)
    real = performance(now, (chance.random(1_000) >= now).astype(np.float64))
    assert seen.accuracy is not None
    assert real.accuracy is not None
    assert real.accuracy.value < 0.5 < seen.accuracy.low


def test_nothing_calibrates_nothing_and_an_empty_window_has_no_estimate() -> None:
    assert calibrate(np.zeros((2, 3), dtype=np.int64)) is None
    told = Calibration((0.2, 0.8), (10.0, 10.0))
    empty = estimate_performance(told, np.zeros(2, dtype=np.int64), 1)
    assert (empty.n, set(empty[1:-1])) == (0, {None})
    with pytest.raises(Invalid):
        estimate_performance(told, np.zeros(3, dtype=np.int64), 1)
    with pytest.raises(Invalid):
        calibrate(np.zeros((3, 2), dtype=np.int64))


def test_a_window_without_yes_has_no_precision_and_a_sure_one_no_auc() -> None:
    told = Calibration((0.2, 0.8), (10.0, 10.0))
    seen = estimate_performance(told, np.array([10, 0]), 1)
    assert seen.precision is None
    assert seen.recall is not None
    assert seen.recall.value == 0
    sure = estimate_performance(Calibration((0.0, 0.0), (9, 9)), np.array([5, 5]), 1)
    assert (sure.auc, sure.recall) == (None, None)
    assert sure.accuracy is not None
    assert sure.accuracy.value == 0.5


def test_direct_losses_follow_the_mix_of_cells() -> None:
    chance = np.random.default_rng(32)

    def sampled(rows: int, by: float) -> tuple[Floats, Floats]:
        said = chance.beta(2 + by, 5, rows)
        return said, np.abs(chance.normal(0, said))

    said, losses = sampled(50_000, 0)
    table = loss_table(cells_of(said), losses, CELLS)
    held, last = 0, 0.0
    for _ in range(200):
        now, later = sampled(500, 2)
        seen = estimate_loss(table, count_scores(now)[:CELLS])
        assert seen is not None
        held += seen.low <= later.mean() <= seen.high
        assert seen.covered > 0.98
        last = seen.value
    assert 0.9 <= held / 200 <= 0.99
    assert last > losses.mean() + 0.05


def test_cells_that_the_baseline_does_not_know_are_told() -> None:
    table = loss_table(np.array([0, 0, 0]), np.array([1.0, 3.0, np.nan]), 2)
    seen = estimate_loss(table, np.array([30, 10]))
    assert seen is not None
    assert (seen.value, seen.n, seen.covered) == (2.0, 30, 0.75)
    assert seen.caveat == CAVEAT
    assert estimate_loss(table, np.array([0, 10])) is None
    assert estimate_loss(table, np.array([0, 0])) is None
    with pytest.raises(Invalid):
        estimate_loss(table, np.array([1]))
    with pytest.raises(Invalid):
        loss_table(np.array([2]), np.array([1.0]), 2)
    with pytest.raises(Invalid):
        loss_table(np.array([0]), np.array([1.0, 2.0]), 2)
