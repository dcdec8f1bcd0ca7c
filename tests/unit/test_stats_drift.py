"""PSI and its limits, against scipy, simulation and the traps in real data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from modelkeep.errors import Invalid
from modelkeep.stats.drift import Drift, feature_drift, prediction_drift
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import (
    PsiDocument,
    expected_by_chance,
    limits,
    psi,
    psi_each,
)

HOUSE = PsiDocument("psi-1")


def drift_of(column: NDArray[np.generic], window: NDArray[np.generic]) -> Drift:
    baseline = Baseline.fit({"x": column})
    (found,) = feature_drift(baseline, baseline.profile({"x": window}), HOUSE)
    return found


def test_psi_agrees_with_scipys_relative_entropies() -> None:
    special = pytest.importorskip("scipy.special")
    p, q = np.array([50, 30, 15, 5]), np.array([200, 300, 100, 400])
    p1, q1 = p / p.sum(), q / q.sum()
    both = special.rel_entr(q1, p1).sum() + special.rel_entr(p1, q1).sum()
    assert psi(p, q) == pytest.approx(both, abs=1e-12)


def test_an_empty_bin_is_floored_and_two_empty_ones_agree() -> None:
    half_a_row = (0.5 - 0.005) * np.log(0.5 / 0.005) + 0.5 * np.log(2)
    few = psi(np.array([0, 100, 0]), np.array([50, 50, 0]))
    # the third bin is empty on both sides
    assert few == pytest.approx(half_a_row)
    epsilon = (0.5 - 1e-4) * np.log(0.5 / 1e-4) + 0.5 * np.log(2)
    many = psi(np.array([0, 10**6, 0]), np.array([10**6, 10**6, 0]))
    assert many == pytest.approx(epsilon)


def test_a_bin_too_rare_to_be_expected_may_be_empty() -> None:
    # 2 in 10,000 before, none of 100 now: that is no news
    assert psi(np.array([9_998, 2]), np.array([100, 0])) == pytest.approx(0, abs=1e-6)


def test_psi_of_nothing_is_nan_and_other_bins_are_refused() -> None:
    assert np.isnan(psi(np.array([0, 0]), np.array([1, 1])))
    assert np.isnan(psi(np.array([1, 1]), np.array([0, 0])))
    with pytest.raises(Invalid):
        psi(np.array([1]), np.array([1, 1]))


def test_features_end_to_end_give_what_each_gives_alone() -> None:
    p, q = np.array([5, 5, 1, 2, 3]), np.array([4, 6, 3, 2, 1])
    each = psi_each(p, q, np.array([0, 2]))
    assert each.tolist() == [psi(p[:2], q[:2]), psi(p[2:], q[2:])]


def test_limits_agree_with_scipy_and_yield_to_large_samples() -> None:
    stats = pytest.importorskip("scipy.stats")
    for bins, before, after in [(10, 1_000, 100), (3, 50, 20), (100, 10**4, 10**3)]:
        q = stats.chi2.ppf(0.99, bins - 1) * (1 / before + 1 / after)
        found = limits(bins, before, after, HOUSE)
        assert found == pytest.approx((max(0.10, q), max(0.25, 2.5 * q)), rel=1e-12)
    assert limits(10, 10**6, 10**6, HOUSE) == (0.10, 0.25)
    assert limits(1, 10, 10, HOUSE) == (0.10, 0.25)
    with pytest.raises(Invalid):
        limits(10, 10, 0, HOUSE)
    for bad in ({"warning": 0.3}, {"confidence": 1.0}):
        with pytest.raises(Invalid):
            PsiDocument("bad", **bad)


def test_without_drift_psi_has_the_mean_and_the_tail_it_should_have() -> None:
    chance = np.random.default_rng(11)
    shares, before, after = np.full(10, 0.1), 5_000, 500
    bound = limits(10, before, after, PsiDocument("d", 1e-6, 2e-6)).warning
    values = [
        psi(chance.multinomial(before, shares), chance.multinomial(after, shares))
        for _ in range(4_000)
    ]
    mean = expected_by_chance(10, before, after)
    assert np.mean(values) == pytest.approx(mean, rel=0.05)
    assert np.mean(np.array(values) > bound) == pytest.approx(0.01, abs=0.006)


@pytest.mark.parametrize("rows", [10, 20, 50, 100])
def test_tiny_windows_do_not_cry_wolf(rows: int) -> None:
    chance = np.random.default_rng(3)
    baseline = Baseline.fit({"x": chance.normal(size=10_000)})
    passed = fixed = 0
    for _ in range(500):
        window = baseline.profile({"x": chance.normal(size=rows)})
        (found,) = feature_drift(baseline, window, HOUSE)
        passed += found.psi > found.warning
        fixed += found.psi > 0.10
    assert passed <= 0.05 * 500
    assert fixed > 0.3 * 500


def test_one_outlier_does_not_hide_a_shift() -> None:
    # binning over window and baseline together would: .973 becomes .022
    chance = np.random.default_rng(5)
    baseline, window = chance.normal(size=10_000), chance.normal(1, size=10_000)
    outlier = window.copy()
    outlier[0] = 1e6
    assert drift_of(baseline, window).psi > 0.8
    assert drift_of(baseline, outlier).psi == pytest.approx(
        drift_of(baseline, window).psi, abs=0.01
    )


def test_a_value_nobody_has_seen_before_is_drift() -> None:
    window = np.append(np.full(900, 999), np.arange(100))
    assert drift_of(np.full(1_000, 999), window).psi > 0.5


def test_drift_of_the_score_and_of_features_share_one_profile() -> None:
    chance = np.random.default_rng(9)
    baseline = Baseline.fit(
        # a rare event: every score lies in the first two of 64 cells
        {"x": chance.normal(size=5_000)},
        scores=chance.uniform(0, 0.03, 5_000),
    )
    window = baseline.profile(
        {"x": chance.normal(size=5_000)}, chance.uniform(0, 0.015, 5_000)
    )
    found = prediction_drift(baseline, window, HOUSE)
    assert found is not None
    assert (found.name, found.rows, found.importance) == ("score", 5_000, 0.0)
    assert found.psi > found.hard
    (feature,) = feature_drift(baseline, window, HOUSE)
    assert feature.psi < feature.warning
    assert feature.psi == pytest.approx(feature.by_chance, abs=0.01)


def test_an_empty_window_has_no_drift_and_no_scores_no_prediction_drift() -> None:
    scored = Baseline.fit({"x": np.arange(10)}, scores=np.linspace(0, 1, 10))
    empty = Profile.empty(scored.layout)
    assert feature_drift(scored, empty, HOUSE) == ()
    assert prediction_drift(scored, empty, HOUSE) is None
    plain = Baseline.fit({"x": np.arange(10)})
    assert prediction_drift(plain, plain.reference, HOUSE) is None
    with pytest.raises(Invalid):
        feature_drift(plain, empty, HOUSE)


def shared(name: str) -> Path:
    """Skip, by name, where the data are not beside the repository."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("MODELKEEP_SHARED_DATA", beside)) / name
    if not path.exists():
        pytest.skip(f"{name} is not here (MODELKEEP_SHARED_DATA)")
    return path


def test_the_banks_sentinels_do_not_hide_in_deciles() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared("bank_additional_full.parquet"))
    months = table["ym"].to_numpy(zero_copy_only=False).astype(str)
    first = months < "2008-08"
    worst: dict[str, float] = {}
    for name in ("pdays", "previous"):
        column = table[name].to_numpy()
        baseline = Baseline.fit({name: column[first]})
        for month in np.unique(months[~first]):
            window = baseline.profile({name: column[months == month]})
            (found,) = feature_drift(baseline, window, HOUSE)
            if found.rows < 100:
                continue
            worst[name] = max(worst.get(name, 0.0), found.psi)
        # all deciles are the sentinel: closed on its side, it swallows the rest
        deciles = np.quantile(column[first], np.arange(1, 10) / 10)
        side: Literal["left", "right"] = "left" if name == "pdays" else "right"
        before, after = (
            np.bincount(np.searchsorted(deciles, part, side=side), minlength=10)
            for part in (column[first], column[~first])
        )
        assert psi(before, after) < 0.01
    assert worst["pdays"] > 1.5
    assert worst["previous"] > 1.5
