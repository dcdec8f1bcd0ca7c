"""What drifted: the labels, the mix of cases, the concept, or the columns together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelkeep.errors import Invalid
from modelkeep.stats.concept_drift import concept_drift
from modelkeep.stats.fine import FineBaseline, FineLayout
from modelkeep.stats.label_drift import label_drift
from modelkeep.stats.reconstruction import MOST, STEPS, Components, Together, together
from modelkeep.stats.scores import outcome_table

Floats = NDArray[np.float64]
TABLE = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=3
)


@settings(deadline=None)  # the first call imports scipy
@given(TABLE, TABLE)
def test_mix_and_rate_add_up_to_the_change(
    before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    was, now = np.array(before).T, np.array(after).T
    found = concept_drift(was, now)
    if found is None:
        return
    if found.covered == 1:
        drift = label_drift(was, now)
        assert drift is not None
        assert found.mix + found.rate == pytest.approx(drift.difference, abs=1e-12)
    assert found.low <= found.rate <= found.high
    assert 0 <= found.p <= 1


def test_squares_over_cells_are_the_sum_of_scipys_chi_squares() -> None:
    stats = pytest.importorskip("scipy.stats")
    was = np.array([[900, 700, 300], [100, 300, 200]])
    now = np.array([[80, 50, 1], [20, 50, 0]])
    found = concept_drift(was, now)
    assert found is not None
    # the third cell has too few rows to count
    exact = sum(
        stats.chi2_contingency(
            np.stack([was[:, cell], now[:, cell]]), correction=False
        ).statistic
        for cell in (0, 1)
    )
    assert found.statistic == pytest.approx(exact, abs=1e-9)
    assert found.freedom == 2
    assert found.p == pytest.approx(stats.chi2.sf(exact, 2), abs=1e-9)


def test_another_mix_is_no_concept_drift_and_a_new_meaning_is() -> None:
    chance = np.random.default_rng(51)

    def table(rows: int, by: float, turned: float) -> NDArray[np.int64]:
        said = chance.beta(2 + by, 3, rows)
        return outcome_table(said, (chance.random(rows) < said * (1 - turned)) * 1.0)

    was = table(50_000, 0, 0)
    mixed = concept_drift(was, table(5_000, 2, 0))
    turned = concept_drift(was, table(5_000, 0, 0.2))
    labels = label_drift(was, table(5_000, 2, 0))
    assert mixed is not None
    assert turned is not None
    assert labels is not None
    assert labels.drifted
    assert (mixed.drifted, turned.drifted) == (False, True)
    assert mixed.mix > 0.1
    assert abs(turned.mix) < 0.02 < -turned.rate
    alarms = ps = 0
    for _ in range(300):
        same = concept_drift(was, table(500, 1, 0))
        assert same is not None
        alarms += same.drifted
        ps += same.p < 0.05
    assert alarms <= 0.08 * 300
    assert ps <= 0.08 * 300


def test_changes_that_cancel_are_seen_in_the_squares() -> None:
    was = np.array([[500, 500], [500, 500]])
    found = concept_drift(was, np.array([[350, 650], [650, 350]]))
    assert found is not None
    assert not found.drifted
    assert found.p < 1e-6


def test_tables_that_do_not_compare() -> None:
    none = np.zeros((2, 2), dtype=np.int64)
    some = np.array([[1, 0], [1, 0]])
    assert concept_drift(none, some) is None
    assert concept_drift(some, none) is None
    assert concept_drift(some, np.array([[0, 3], [0, 3]])) is None
    assert label_drift(none, some) is None
    for broken in (np.zeros((3, 2), dtype=np.int64), np.zeros((2, 3), dtype=np.int64)):
        with pytest.raises(Invalid):
            concept_drift(some, broken)
    with pytest.raises(Invalid):
        label_drift(some, np.zeros((3, 2), dtype=np.int64))
    half = concept_drift(some, np.array([[1, 1], [1, 1]]))
    assert half is not None
    assert (half.covered, half.n, half.p) == (0.5, 2, 1.0)


# --- columns that move together ------------------------------------------------------


def bound(chance: np.random.Generator, rows: int, tie: float) -> dict[str, Floats]:
    shared = chance.normal(size=rows)
    own = (1 - tie**2) ** 0.5
    return {
        name: tie * shared + own * chance.normal(size=rows) for name in ("a", "b", "c")
    } | {"d": chance.lognormal(size=rows)}


def fitted() -> tuple[FineLayout, Components, np.random.Generator]:
    chance = np.random.default_rng(52)
    columns = bound(chance, 20_000, 0.9)
    layout = FineBaseline.fit(columns).layout
    return layout, Components.fit(layout, columns), chance


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=20,
    ),
    st.data(),
)
def test_second_moments_add_up_in_any_order(
    rows: list[tuple[float, float]], data: st.DataObject
) -> None:
    layout = FineBaseline.fit({"a": np.arange(9.0), "b": np.arange(9.0)}).layout

    def summed(some: list[tuple[float, float]]) -> Together:
        table = np.array(some, dtype=np.float64).reshape(-1, 2)
        return together(layout, {"a": table[:, 0], "b": table[:, 1]})

    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    parts = summed(shuffled[:cut]) + summed(shuffled[cut:]) + Together.empty(layout)
    assert parts.sums.tolist() == summed(rows).sums.tolist()
    assert parts.rows == len(rows)
    assert np.abs(parts.sums).max() <= max(1, len(rows)) * MOST**2


def test_misfit_is_what_a_projection_of_the_rows_gives() -> None:
    layout, told, chance = fitted()
    now = bound(chance, 3_000, 0.5)
    found = told.misfit(together(layout, now))
    assert found is not None
    folded = []
    for scale in layout.scales:
        far = (now[scale.name] - scale.centre) / scale.spread
        folded.append(np.clip(np.rint(far * STEPS), -MOST, MOST))
    standard = (np.array(folded) - told.centre[:, None]) / told.scale[:, None]
    left = told.residual @ standard
    assert found.error == pytest.approx((left**2).sum(axis=0).mean(), rel=1e-9)
    assert sum(found.by_column.values()) == pytest.approx(
        found.error - found.baseline_error, abs=1e-9
    )


def test_a_tie_that_loosens_is_seen_though_each_column_looks_the_same() -> None:
    layout, told, chance = fitted()
    loose = told.misfit(together(layout, bound(chance, 2_000, 0.5)))
    tight = told.misfit(together(layout, bound(chance, 2_000, 0.99)))
    assert loose is not None
    assert tight is not None
    assert loose.drifted
    assert loose.error > loose.baseline_error
    assert tight.drifted
    assert tight.error < tight.baseline_error
    assert abs(loose.by_column["d"]) < 0.1 * (loose.error - loose.baseline_error)
    alarms = 0
    for _ in range(200):
        same = told.misfit(together(layout, bound(chance, 300, 0.9)))
        assert same is not None
        alarms += same.drifted
    assert alarms <= 0.09 * 200


def test_an_outlier_weighs_no_more_than_eight_spreads() -> None:
    layout, told, chance = fitted()
    rows = bound(chance, 5_000, 0.9)
    plain = told.misfit(together(layout, rows))
    rows["a"] = np.append(rows["a"][:-1], 1e6)
    wild = told.misfit(together(layout, rows))
    assert plain is not None
    assert wild is not None
    assert wild.error - plain.error < 0.05


def test_too_little_to_have_anything_in_common() -> None:
    one = FineBaseline.fit({"a": np.arange(9.0)}).layout
    with pytest.raises(Invalid):
        Components.fit(one, {"a": np.arange(9.0)})
    layout, told, _ = fitted()
    with pytest.raises(Invalid):
        Components.fit(layout, {"a": np.array([1.0])})
    assert told.misfit(Together.empty(layout)) is None
    with pytest.raises(Invalid):
        told.misfit(Together.empty(one))
    with pytest.raises(Invalid):
        _ = Together.empty(one) + Together.empty(layout)
    with pytest.raises(Invalid):
        together(layout, {"a": np.ones(2), "b": np.ones(3)})


def test_constant_columns_bind_nothing_until_they_move() -> None:
    chance = np.random.default_rng(53)
    columns = {"a": chance.normal(size=500), "b": np.full(500, 3.0)}
    layout = FineBaseline.fit(columns).layout
    told = Components.fit(layout, columns)
    still = told.misfit(together(layout, columns))
    assert still is not None
    assert not still.drifted
    assert np.isfinite(still.error)
    moved = told.misfit(together(layout, columns | {"b": np.full(500, 9.0)}))
    assert moved is not None
    assert moved.drifted
    assert moved.by_column["b"] > 1
