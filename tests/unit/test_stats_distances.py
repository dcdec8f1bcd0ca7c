"""Distances between samples: exact where the counts are, bracketed where they are not.

Peers' figures were measured once, on data made by arithmetic alone: Evidently 0.7.23
and NannyML 0.13.1, both on pandas 2.3.3, numpy 2.4.6 and scipy 1.17.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.chi_square import chi_square, chi_square_each
from modelkeep.stats.comparison import compare
from modelkeep.stats.fine import (
    ABOVE,
    BELOW,
    BEYOND,
    CELLS,
    CHUNK,
    EXCESS_UNIT,
    MISSING,
    SHORT,
    FineBaseline,
    FineProfile,
    edges_of,
)
from modelkeep.stats.jensen_shannon import (
    divergence_by_chance,
    jensen_shannon,
    jensen_shannon_each,
)
from modelkeep.stats.ks import ks, ks_of_profiles
from modelkeep.stats.profile import Baseline
from modelkeep.stats.psi import PsiDocument, expected_by_chance, limits, psi
from modelkeep.stats.ranges import ranges
from modelkeep.stats.unseen import unseen_categories, unseen_values
from modelkeep.stats.wasserstein import bounds, wasserstein

Floats = NDArray[np.float64]

COUNTS = st.lists(st.integers(0, 500), min_size=5, max_size=5).filter(any)

LETTERS = np.array([500, 300, 150, 50]), np.array([200, 300, 100, 400])
EVIDENTLY_PSI = 1.0229650145555973
EVIDENTLY_JS = 0.336444632066381
"""Of natural logarithms."""


def ramp(rows: int, step: int) -> Floats:
    return ((np.arange(rows) * step) % rows + 0.5) / rows


def exponentials() -> tuple[Floats, Floats]:
    return -np.log(ramp(2003, 37)), -np.log(ramp(1009, 41)) * 1.2 + 0.1


NANNYML_JS = 0.40411118689084236
NANNYML_CHI_SQUARE = 410.79365079365084
NANNYML_KS = 0.1110613564291818
NANNYML_W = 0.2997608872807393
EVIDENTLY_KS_P = 1.1414112287197857e-07
EVIDENTLY_NORMED_W = 0.3002176828297288

SHAPES: dict[str, Callable[[Generator, int, float], Floats]] = {
    "normal": lambda chance, rows, by: chance.normal(by, 1, rows),
    "lognormal": lambda chance, rows, by: chance.lognormal(by, 1, rows),
    "uniform": lambda chance, rows, by: chance.random(rows) + by,
    "poisson": lambda chance, rows, by: chance.poisson(3 + by, rows).astype(np.float64),
    "mostly zero": lambda chance, rows, by: np.maximum(
        0, chance.normal(by - 0.5, 1, rows)
    ),
    "heavy tails": lambda chance, rows, by: chance.standard_cauchy(rows) + by,
    "constant": lambda _, rows, by: np.full(rows, 7.0 + by),
    "sentinel": lambda chance, rows, by: np.where(
        chance.random(rows) < 0.9 - by, 999.0, chance.integers(0, 30, rows) * 1.0
    ),
    "instants": lambda chance, rows, by: 1.7e9 + 1e5 * (chance.random(rows) + by),
}


def both(before: Floats, after: Floats) -> tuple[FineBaseline, FineProfile]:
    baseline = FineBaseline.fit({"x": before})
    return baseline, baseline.profile({"x": after})


@settings(deadline=None)  # the first call imports scipy
@given(COUNTS, COUNTS)
def test_jensen_shannon_is_scipys(before: list[int], after: list[int]) -> None:
    distance = pytest.importorskip("scipy.spatial.distance")
    p, q = np.array(before), np.array(after)
    # the root turns an error of 1e-16 in the divergence into 1e-8 next to 0
    exact = distance.jensenshannon(p, q, base=2) ** 2
    assert jensen_shannon(p, q) ** 2 == pytest.approx(exact, abs=1e-12)
    assert 0 <= jensen_shannon(p, q) <= 1


def test_jensen_shannon_and_psi_of_categories_are_evidentlys() -> None:
    assert jensen_shannon(*LETTERS) * math.log(2) ** 0.5 == pytest.approx(
        EVIDENTLY_JS, abs=1e-12
    )
    assert psi(*LETTERS) == pytest.approx(EVIDENTLY_PSI, abs=1e-12)


def test_jensen_shannon_and_chi_square_of_categories_are_nannymls() -> None:
    assert jensen_shannon(*LETTERS) == pytest.approx(NANNYML_JS, abs=1e-12)
    found = chi_square(*LETTERS)
    assert found is not None
    assert found.statistic == pytest.approx(NANNYML_CHI_SQUARE, abs=1e-9)


def test_jensen_shannon_of_nothing_is_nan_and_of_strangers_one() -> None:
    assert math.isnan(jensen_shannon(np.array([0, 0]), np.array([1, 1])))
    assert jensen_shannon(np.array([5, 0]), np.array([0, 9])) == 1.0
    with pytest.raises(Invalid):
        jensen_shannon(np.array([1]), np.array([1, 1]))
    p, q = np.array([5, 5, 1, 2, 3]), np.array([4, 6, 3, 2, 1])
    each = jensen_shannon_each(p, q, np.array([0, 2]))
    assert each.tolist() == [
        jensen_shannon(p[:2], q[:2]),
        jensen_shannon(p[2:], q[2:]),
    ]


def test_without_drift_the_divergence_has_the_mean_it_should_have() -> None:
    chance = np.random.default_rng(12)
    shares = np.full(10, 0.1)
    found = [
        jensen_shannon(
            chance.multinomial(5_000, shares), chance.multinomial(500, shares)
        )
        ** 2
        for _ in range(2_000)
    ]
    assert np.mean(found) == pytest.approx(
        divergence_by_chance(10, 5_000, 500), rel=0.05
    )


@settings(deadline=None)  # the first call imports scipy
@given(COUNTS, COUNTS)
def test_chi_square_is_scipys_contingency(before: list[int], after: list[int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    p, q = np.array(before), np.array(after)
    found = chi_square(p, q)
    assert found is not None
    used = (p + q) > 0
    exact = stats.chi2_contingency(np.stack([p, q])[:, used], correction=False)
    assert found.statistic == pytest.approx(exact.statistic, rel=1e-9, abs=1e-9)
    assert found.p == pytest.approx(exact.pvalue, abs=1e-9)
    assert found.freedom == exact.dof
    assert 0 <= found.effect <= 1


def test_chi_square_of_an_empty_side_is_nothing_and_of_one_bin_is_certain() -> None:
    assert chi_square(np.array([0, 0]), np.array([1, 2])) is None
    alone = chi_square(np.array([3, 0]), np.array([5, 0]))
    assert alone is not None
    assert (alone.statistic, alone.freedom, alone.p) == (0.0, 0, 1.0)
    each = chi_square_each(
        np.array([5, 5, 0, 0]), np.array([4, 6, 1, 2]), np.array([0, 2])
    )
    assert each[0] == chi_square(np.array([5, 5]), np.array([4, 6]))
    assert each[1] is None
    with pytest.raises(Invalid):
        chi_square(np.array([1]), np.array([1, 1]))


def test_two_uncertain_samples_alarm_as_often_as_they_may() -> None:
    # a one-sample test against the baseline alarms in nearly all of these
    stats = pytest.importorskip("scipy.stats")
    chance = np.random.default_rng(13)
    shares, alarms, naive = np.full(8, 0.125), 0, 0
    for _ in range(500):
        before = chance.multinomial(1_000, shares)
        after = chance.multinomial(10_000, shares)
        found = chi_square(before, after)
        assert found is not None
        alarms += found.p < 0.05
        naive += stats.chisquare(after, before * 10.0).pvalue < 0.05
    assert alarms <= 0.08 * 500
    assert naive > 0.8 * 500


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by", [0.0, 0.1])
def test_the_brackets_hold_the_distances_of_the_rows(shape: str, by: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    chance = np.random.default_rng(14)
    before, after = SHAPES[shape](chance, 20_000, 0), SHAPES[shape](chance, 5_000, by)
    baseline, window = both(before, after)
    gap = ks_of_profiles(baseline.reference, window)["x"]
    exact = stats.ks_2samp(before, after).statistic
    assert gap.distance <= exact + 1e-12
    assert exact <= gap.most + 1e-12
    moved = wasserstein(baseline.reference, window)["x"]
    exact = stats.wasserstein_distance(before, after)
    least, most = bounds(baseline.reference, window)["x"]
    assert least <= exact * (1 + 1e-4) + 1e-9
    assert exact <= most * (1 + 1e-4) + 1e-9
    assert least <= moved.distance <= most
    if shape != "heavy tails":
        # a cell at the centre: a constant that moves within one cannot be told
        slack = baseline.layout.scales[0].spread / 128
        assert moved.distance == pytest.approx(exact, rel=0.05, abs=slack)


def test_ks_and_wasserstein_are_near_what_peers_say_of_rows() -> None:
    before, after = exponentials()
    baseline, window = both(before, after)
    gap = ks_of_profiles(baseline.reference, window)["x"]
    assert gap.distance <= NANNYML_KS <= gap.most
    assert gap.distance == pytest.approx(NANNYML_KS, abs=2e-3)
    # a p-value of the binned distance, and of the limit law, beside scipy's exact one
    assert math.log10(gap.p) == pytest.approx(math.log10(EVIDENTLY_KS_P), abs=0.5)
    moved = wasserstein(baseline.reference, window)["x"]
    assert moved.normed == pytest.approx(EVIDENTLY_NORMED_W, rel=2e-3)
    assert moved.distance == pytest.approx(NANNYML_W, rel=2e-3)


def test_ks_on_bins_is_ks_of_binned_rows() -> None:
    stats = pytest.importorskip("scipy.stats")
    p, q = np.array([30, 50, 15, 5]), np.array([20, 30, 10, 40])
    found = ks(p, q)
    rows = stats.ks_2samp(
        np.repeat(np.arange(4), p), np.repeat(np.arange(4), q), method="asymp"
    )
    assert found is not None
    assert found.distance == pytest.approx(rows.statistic, abs=1e-12)
    limit = stats.kstwobign.sf(rows.statistic * 50**0.5)
    assert found.p == pytest.approx(limit, abs=1e-9)
    assert ks(p, np.zeros(4, dtype=np.int64)) is None
    with pytest.raises(Invalid):
        ks(p, q[:3])


def test_one_outlier_takes_no_cell_from_the_rest() -> None:
    # binned over both samples it would: a shift of one deviation is lost
    stats = pytest.importorskip("scipy.stats")
    chance = np.random.default_rng(15)
    before, after = chance.normal(size=10_000), chance.normal(1, 1, 10_000)
    spoilt = np.append(after, 1e6)
    wild = np.append(before, 1e6)
    for reference, rows in ((before, spoilt), (wild, after)):
        baseline, window = both(reference, rows)
        gap = ks_of_profiles(baseline.reference, window)["x"]
        assert gap.distance == pytest.approx(
            stats.ks_2samp(reference, rows).statistic, abs=2e-3
        )
        moved = wasserstein(baseline.reference, window)["x"]
        exact = stats.wasserstein_distance(reference, rows)
        assert exact > 50
        assert moved.distance == pytest.approx(exact, rel=0.03)


def test_a_saturated_column_is_seen_and_a_constant_one_has_no_norm() -> None:
    chance = np.random.default_rng(16)
    before = chance.normal(size=5_000)
    baseline, window = both(before, np.minimum(chance.normal(size=5_000), 0.5))
    found = ks_of_profiles(baseline.reference, window)["x"]
    assert found.distance == pytest.approx(0.31, abs=0.03)
    cents = both(before, before * 1e5)[1]
    moved = wasserstein(baseline.reference, cents)["x"]
    assert moved.distance == pytest.approx(1e5 * np.abs(before).mean(), rel=1e-2)
    steady, same = both(np.full(100, 7.0), np.full(10, 7.0))
    assert wasserstein(steady.reference, same)["x"].normed is None
    assert wasserstein(steady.reference, same)["x"].distance == 0


def test_nothing_beside_something_has_no_distance() -> None:
    baseline, window = both(np.arange(10.0), np.array([np.nan, np.nan]))
    assert ks_of_profiles(baseline.reference, window) == {}
    assert wasserstein(baseline.reference, window) == {}
    assert ranges(baseline, window) == ()
    other = FineBaseline.fit({"y": np.arange(10.0)})
    for method in (ks_of_profiles, wasserstein, bounds):
        with pytest.raises(Invalid):
            method(baseline.reference, other.reference)
    with pytest.raises(Invalid):
        ranges(baseline, other.reference)


def test_a_comparison_holds_what_each_method_says() -> None:
    chance = np.random.default_rng(19)
    columns = {
        "x": chance.normal(size=3_000),
        "gone": chance.normal(size=3_000),
        "c": chance.choice(np.array(["u", "v", "w"]), 3_000),
    }
    later = {
        "x": chance.normal(0.3, 1, 900),
        "gone": np.full(900, np.nan),
        "c": chance.choice(np.array(["u", "v"]), 900),
    }
    baseline = Baseline.fit(columns)
    fine = FineBaseline.fit({name: columns[name] for name in ("x", "gone")})
    window, far = baseline.profile(later), fine.profile(later)
    found = {
        one.name: one
        for one in compare(baseline, window, PsiDocument("d"), (fine, far))
    }
    assert list(found) == ["c", "gone", "x"]
    for name, one in found.items():
        counts = baseline.reference.feature(name), window.feature(name)
        assert one.drift.psi == psi(*counts)
        assert one.jensen_shannon == jensen_shannon(*counts)
        assert one.chi_square == chi_square(*counts)
        told = (one.drift.bins, one.drift.baseline_rows, one.drift.rows)
        assert (one.drift.warning, one.drift.hard) == limits(*told, PsiDocument("d"))
        assert one.drift.by_chance == expected_by_chance(*told)
        assert one.divergence_by_chance == pytest.approx(divergence_by_chance(*told))
    assert found["x"].ks == ks_of_profiles(fine.reference, far)["x"]
    assert found["x"].wasserstein == wasserstein(fine.reference, far)["x"]
    assert (found["c"].ks, found["gone"].ks, found["gone"].wasserstein) == (None,) * 3
    assert found["gone"].jensen_shannon == 1
    assert compare(baseline, baseline.profile({}), PsiDocument("d")) == ()


# --- the fine cells ----------------------------------------------------------------

STEADY = FineBaseline.fit(
    {
        "a": np.random.default_rng(1).normal(size=500),
        "b": np.arange(50.0)[::-1].repeat(10),
    }
)
ODD = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, -0.0, 49.0, 1e6, -1e300, 3.0]
)


@given(st.lists(st.tuples(ODD, ODD), max_size=30), st.data())
def test_any_split_and_order_gives_the_same_fine_bytes(
    rows: list[tuple[float, float]], data: st.DataObject
) -> None:
    def counted(some: list[tuple[float, float]]) -> FineProfile:
        table = np.array(some, dtype=np.float64).reshape(-1, 2)
        return STEADY.profile({"a": table[:, 0], "b": table[:, 1]})

    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    parts = counted(shuffled[:cut]) + counted(shuffled[cut:])
    whole = counted(rows)
    assert parts == whole
    assert FineProfile.from_json(whole.to_json(), STEADY.layout) == parts
    known = whole.counts[:, : CELLS + 1].sum(axis=1)
    assert known.tolist() == [len(rows)] * 2


def test_rows_fall_into_the_cells_whose_edges_are_told() -> None:
    chance = np.random.default_rng(17)
    rows = chance.lognormal(0, 2, 2 * CHUNK + 5)
    baseline, window = both(rows, rows)
    edges = edges_of(baseline.layout.scales[0])
    expected = np.bincount(np.searchsorted(edges, rows), minlength=CELLS)
    moved = np.abs(np.cumsum(window.cells[0] - expected)).max()
    assert moved <= 3
    assert window.counts[0, MISSING] == 0


def test_what_lies_beyond_the_baseline_is_counted_exactly() -> None:
    baseline = FineBaseline.fit({"x": np.arange(1.0, 1_000)})
    told = np.array([0.999, 1, 999, 999.001, np.inf, -np.inf, np.nan, 500])
    window = baseline.profile({"x": told})
    assert (window.counts[0, BELOW], window.counts[0, ABOVE]) == (2, 2)
    (found,) = ranges(baseline, window)
    assert (found.below, found.above, found.rows, found.left) == (2, 2, 7, True)
    (same,) = ranges(baseline, baseline.reference)
    assert (same.share, same.left) == (0.0, False)
    assert (found.low, found.high) == (1.0, 999.0)


def test_an_excess_is_summed_and_has_a_ceiling() -> None:
    baseline = FineBaseline.fit({"x": np.array([-1.0, 0, 0.5, 1])})
    spread = baseline.layout.scales[0].spread
    centre = baseline.layout.scales[0].centre
    rows = centre + spread * np.array([127 + 10, -127 - 3, 0])
    window = baseline.profile({"x": rows})
    assert window.counts[0, [SHORT, BEYOND]].tolist() == [
        3 / EXCESS_UNIT,
        10 / EXCESS_UNIT,
    ]
    wild = baseline.profile({"x": np.array([np.inf, 1e300])})
    assert wild.counts[0, BEYOND] == 2 * 2**30 / EXCESS_UNIT


def test_columns_may_be_absent_but_not_of_another_kind() -> None:
    window = STEADY.profile({"a": np.arange(5)})
    assert window.counts[1, MISSING] == 5
    assert STEADY.profile({}).rows == 0
    assert FineProfile.empty(STEADY.layout) + window == window
    with pytest.raises(Invalid, match="numeric"):
        STEADY.profile({"a": np.array(["x"])})
    with pytest.raises(Invalid):
        STEADY.profile({"a": np.ones(2), "b": np.ones(3)})
    nothing = FineBaseline.fit({"x": np.array([np.nan])})
    assert nothing.reference.counts[0, MISSING] == 1


def test_a_fine_baseline_survives_json() -> None:
    again = FineBaseline.from_json(STEADY.to_json())
    assert again.to_json() == STEADY.to_json()
    assert again.reference == STEADY.reference
    for broken in (b"{}", b"[]", b"nonsense"):
        with pytest.raises(Corrupt):
            FineBaseline.from_json(broken)
        with pytest.raises(Corrupt):
            FineProfile.from_json(broken, STEADY.layout)


@pytest.mark.parametrize(
    "values",
    [
        [1e308, -1e308],
        [5e-324, 0],
        [1e308] * 3,
        [np.inf, -np.inf],
        [0.0] * 9 + [1e-320],
    ],
)
def test_extreme_columns_can_be_folded(values: list[float]) -> None:
    baseline, window = both(np.array(values), np.array(values))
    assert window == baseline.reference
    assert b"Infinity" not in baseline.to_json()


# --- categories nobody has seen ----------------------------------------------------


def test_unseen_categories_are_counted_and_named() -> None:
    baseline = Baseline.fit({"c": np.array(list("aabbc"), dtype=object)})
    column = np.array(["a", "z", "z", "y", None, "b"], dtype=object)
    (found,) = unseen_categories(baseline, baseline.profile({"c": column}))
    assert (found.unseen, found.rows, found.whole, found.risen) == (3, 5, True, False)
    assert unseen_values(column, ("a", "b", "c")) == ("y", "z")
    assert unseen_categories(baseline, baseline.profile({})) == ()


def test_a_million_categories_are_other_and_do_not_read_as_unseen() -> None:
    chance = np.random.default_rng(18)
    ids = chance.integers(0, 10**6, 20_000).astype(str)
    baseline = Baseline.fit({"c": ids})
    window = baseline.profile({"c": chance.integers(0, 10**6, 5_000).astype(str)})
    (found,) = unseen_categories(baseline, window)
    assert (found.whole, found.risen) == (False, False)
    assert len(window.to_json()) < 2_000
    other = Baseline.fit({"d": ids})
    with pytest.raises(Invalid):
        unseen_categories(other, window)
