"""Performance figures are exact, and their intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import Invalid
from modelkeep.stats.auc import auc, auc_of_table
from modelkeep.stats.brier import brier
from modelkeep.stats.calibration import (
    calibration_in_the_large,
    expected_calibration_error,
)
from modelkeep.stats.confusion import confusion
from modelkeep.stats.performance import performance
from modelkeep.stats.scores import outcome_table

PAIRS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.integers(0, 1)),
    min_size=1,
    max_size=60,
)


@given(PAIRS)
def test_auc_is_the_share_of_pairs_won(pairs: list[tuple[float, int]]) -> None:
    said, true = (np.array(side) for side in zip(*pairs, strict=True))
    ones, zeros = said[true == 1], said[true == 0]
    found = auc(said, true)
    if not (ones.size and zeros.size):
        assert found is None
        return
    won = (ones[:, None] > zeros) + 0.5 * (ones[:, None] == zeros)
    assert found is not None
    assert found.value == pytest.approx(won.mean(), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_auc_and_its_interval_agree_with_mann_whitney_and_a_jackknife() -> None:
    stats = pytest.importorskip("scipy.stats")
    chance = np.random.default_rng(2)
    true = (chance.random(400) < 0.3).astype(np.int64)
    said = np.round(chance.normal(true * 0.8), 1)
    ones, zeros = said[true == 1], said[true == 0]
    found = auc(said, true)
    assert found is not None
    u = stats.mannwhitneyu(ones, zeros).statistic / (ones.size * zeros.size)
    assert found.value == pytest.approx(u, abs=1e-12)
    # DeLong's variance by its definition: sample variances of the placements
    won = (ones[:, None] > zeros) + 0.5 * (ones[:, None] == zeros)
    variance = won.mean(axis=1).var(ddof=1) / ones.size
    variance += won.mean(axis=0).var(ddof=1) / zeros.size
    assert found.high - found.value == pytest.approx(1.959964 * variance**0.5, rel=1e-6)


def test_the_auc_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    stats = pytest.importorskip("scipy.stats")
    chance = np.random.default_rng(4)
    truth = stats.norm.cdf(1 / 2**0.5)
    held = 0
    for _ in range(1_000):
        true = (chance.random(300) < 0.25).astype(np.int64)
        found = auc(chance.normal(true), true)
        assert found is not None
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 1_000 <= 0.97


def test_a_table_of_cells_gives_nearly_the_auc_of_its_rows() -> None:
    chance = np.random.default_rng(6)
    true = (chance.random(20_000) < 0.2).astype(np.int64)
    said = chance.beta(2 + 2 * true, 5)
    whole = auc_of_table(outcome_table(said, true))
    halves = outcome_table(said[:999], true[:999]) + outcome_table(
        said[999:], true[999:]
    )
    exact = auc(said, true)
    assert whole is not None
    assert exact is not None
    assert auc_of_table(halves) == whole
    assert whole.value == pytest.approx(exact.value, abs=1e-3)
    assert whole.low == pytest.approx(exact.low, abs=1e-3)


def test_perfect_separation_of_a_few_rows_proves_little() -> None:
    found = auc(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    assert found is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 0.4
    one = auc(np.array([0.1, 0.2, 0.8]), np.array([0, 0, 1]))
    assert one is not None
    assert one.low < 0.3


def test_the_counted_rates_are_the_textbook_ones() -> None:
    matrix = confusion(
        np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1]), np.array([1, 0, 1, 1, 1, 0])
    )
    assert matrix == (3, 1, 1, 1)
    rates = [
        rate.value if rate else None
        for rate in (
            matrix.accuracy(),
            matrix.false_positive_rate(),
            matrix.precision(),
            matrix.recall(),
            matrix.base_rate(),
        )
    ]
    assert rates == [4 / 6, 1 / 2, 3 / 4, 3 / 4, 4 / 6]
    assert matrix.plus(matrix).n == 12


def test_brier_and_calibration_have_normal_intervals() -> None:
    chance = np.random.default_rng(8)
    said = chance.random(5_000)
    true = (chance.random(5_000) < said).astype(np.int64)
    error, gap = brier(said, true), calibration_in_the_large(said, true)
    assert error is not None
    assert gap is not None
    assert error.value == pytest.approx(1 / 6, abs=0.01)
    assert gap.low < 0 < gap.high
    half = 1.959964 * ((said - true) ** 2).std(ddof=1) / 5_000**0.5
    assert error.high - error.value == pytest.approx(half, rel=1e-6)
    calibrated = expected_calibration_error(said, true)
    assert calibrated is not None
    assert calibrated < 0.03


def test_rows_without_score_or_outcome_are_left_out() -> None:
    said = np.array([0.1, np.nan, 0.9, 0.8])
    true = np.array([0, 1, 1, np.nan])
    seen = performance(said, true)
    assert (seen.n, seen.brier and seen.brier.n) == (2, 2)
    assert outcome_table(said, true).sum() == 2


def test_nothing_to_measure_is_none_everywhere() -> None:
    empty = np.array([])
    seen = performance(empty, empty)
    assert seen.n == 0
    assert set(seen[1:]) == {None}
    single = brier(np.array([0.5]), np.array([1]))
    assert single is not None
    assert (single.low, single.high) == (0.0, float("inf"))


@pytest.mark.parametrize(
    ("said", "true"),
    [([0.5], [2]), ([0.5], [0.3]), ([0.5], [np.inf]), ([0.5, 0.5], [1])],
)
def test_outcomes_that_are_no_outcomes_are_refused(
    said: list[float], true: list[float]
) -> None:
    with pytest.raises(Invalid):
        performance(np.array(said), np.array(true))
    with pytest.raises(Invalid):
        auc_of_table(np.zeros((3, 2), dtype=np.int64))
