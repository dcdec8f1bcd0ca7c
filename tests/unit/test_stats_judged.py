"""Performance from sums that add up: the figures of the rows, in any order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelkeep.errors import Invalid
from modelkeep.stats.auc import auc
from modelkeep.stats.judged import Judged, judge
from modelkeep.stats.log_loss import log_loss
from modelkeep.stats.moments import MOST, UNIT, Moments, moments
from modelkeep.stats.pairs import Estimate
from modelkeep.stats.performance import Performance, performance

Floats = NDArray[np.float64]
ODD = st.floats(allow_nan=True, allow_infinity=True)
ROWS = st.lists(
    st.tuples(
        st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 1.0, math.nan, 1.5]),
        st.sampled_from([0.0, 1.0, math.nan]),
    ),
    max_size=40,
)


def scored(rows: int) -> tuple[Floats, Floats]:
    chance = np.random.default_rng(21)
    said = chance.beta(2, 5, rows)
    return said, (chance.random(rows) < said**1.2).astype(np.float64)


@given(st.lists(ODD, max_size=30), st.data())
def test_moments_do_not_depend_on_order(
    values: list[float], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(values)))
    shuffled = np.array(data.draw(st.permutations(values)), dtype=np.float64)
    parts = moments(shuffled[:cut]).plus(moments(shuffled[cut:]))
    assert parts == moments(np.array(values, dtype=np.float64))
    assert Moments().plus(parts) == parts


@given(st.lists(st.integers(-MOST, MOST), min_size=2, max_size=20))
def test_moments_are_whole_numbers_however_large(values: list[int]) -> None:
    seen = moments(np.array(values, dtype=np.float64), unit=1.0)
    assert seen == (len(values), sum(values), sum(v * v for v in values), 0, 1.0)


def test_moments_of_many_values_are_numpys() -> None:
    chance = np.random.default_rng(22)
    values = 1e5 + chance.normal(size=5_000)
    seen = moments(values)
    assert seen.mean() == pytest.approx(values.mean(), rel=1e-12)
    assert seen.variance() == pytest.approx(values.var(ddof=1), rel=1e-9)


def test_moments_of_little_or_of_too_much() -> None:
    assert moments(np.array([np.nan])).estimate() is None
    alone = moments(np.array([2.0])).estimate()
    assert alone == Estimate(2.0, 1, -math.inf, math.inf)
    assert moments(np.array([np.inf, -1e300, 1.0])).beyond == 2
    assert moments(np.array([np.inf])).mean() == MOST * UNIT
    with pytest.raises(Invalid):
        moments(np.array([1.0])).plus(moments(np.array([1.0]), unit=1.0))
    with pytest.raises(Invalid):
        moments(np.array([1.0]), unit=0.0)


@given(ROWS, st.data())
def test_judged_rows_add_up_in_any_order(
    rows: list[tuple[float, float]], data: st.DataObject
) -> None:
    def judged(some: list[tuple[float, float]]) -> Judged:
        table = np.array(some, dtype=np.float64).reshape(-1, 2)
        return judge(table[:, 0], table[:, 1])

    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    assert judged(shuffled[:cut]) + judged(shuffled[cut:]) == judged(rows)
    assert Judged.empty() + judged(rows) == judged(rows)


def same(ours: Performance, theirs: Performance, places: float) -> None:
    for name, one, other in zip(Performance._fields, ours, theirs, strict=True):
        if name != "auc":
            assert one == pytest.approx(other, abs=places), name


def test_sums_tell_what_the_rows_tell() -> None:
    said, true = scored(20_000)
    seen = judge(said, true)
    told, exact = seen.performance(), performance(said, true)
    same(told, exact, 1e-9)
    whole = auc(said, true)
    assert told.auc is not None
    assert whole is not None
    assert seen.auc_slack is not None
    assert abs(told.auc.value - whole.value) <= seen.auc_slack < 0.02
    assert abs(told.auc.value - whole.value) < 1e-3


def test_figures_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    said, true = scored(3_000)
    yes = said >= 0.3
    found = performance(said, true, 0.3)
    for ours, theirs in (
        (found.precision, metrics.precision_score(true, yes)),
        (found.recall, metrics.recall_score(true, yes)),
        (found.accuracy, metrics.accuracy_score(true, yes)),
        (found.auc, metrics.roc_auc_score(true, said)),
        (found.brier, metrics.brier_score_loss(true, said)),
        (found.log_loss, metrics.log_loss(true, said)),
    ):
        assert ours is not None
        assert ours.value == pytest.approx(theirs, abs=1e-9)


def test_a_certainty_that_was_wrong_is_a_finite_surprise() -> None:
    found = log_loss(np.array([1.0]), np.array([0]))
    assert found is not None
    assert found.value == pytest.approx(52 * math.log(2), abs=1e-9)
    assert log_loss(np.array([]), np.array([])) is None
    with pytest.raises(Invalid):
        log_loss(np.array([1.5]), np.array([0]))
    assert performance(np.array([1.5]), np.array([0])).log_loss is None
    assert judge(np.array([1.5, 0.5]), np.array([0, 0])).outside == 1


def test_nothing_judged_says_nothing() -> None:
    seen = Judged.empty()
    assert set(seen.performance()[1:]) == {None}
    assert seen.auc_slack is None
    with pytest.raises(Invalid):
        _ = seen + Judged.empty(0.4)
