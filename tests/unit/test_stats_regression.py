"""Errors of models that predict numbers: what peers tell, from sums that add up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.regression import LARGEST, Errors, errors, mae, rmse

ODD = st.floats(allow_nan=True, allow_infinity=True)
ROWS = st.lists(st.tuples(ODD, ODD), max_size=30)


def summed(rows: Sequence[tuple[float, float]]) -> Errors:
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return errors(table[:, 0], table[:, 1])


@settings(deadline=None)
@given(ROWS, st.data())
def test_errors_add_up_in_any_order_and_any_grouping(
    rows: list[tuple[float, float]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(rows))
    here, there = sorted(data.draw(st.integers(0, len(rows))) for _ in range(2))
    parts = (shuffled[:here], shuffled[here:there], shuffled[there:])
    first, second, third = map(summed, parts)
    whole = summed(rows)
    assert first.plus(second).plus(third) == whole
    assert first.plus(second.plus(third)) == whole
    assert Errors().plus(whole) == whole


@settings(deadline=None)
@given(ROWS, ROWS)
def test_rows_that_are_taken_out_leave_nothing_behind(
    some: list[tuple[float, float]], others: list[tuple[float, float]]
) -> None:
    assert summed(some + others).minus(summed(others)) == summed(some)


@settings(deadline=None)
@given(ROWS)
def test_what_is_spelled_is_read_again(rows: list[tuple[float, float]]) -> None:
    found = summed(rows)
    assert Errors.of(found.spelled()) == found


@pytest.mark.parametrize("text", ["1.5", "zp-3", "1p-9999", "p0", "1p"])
def test_what_is_no_sum_is_corrupt(text: str) -> None:
    with pytest.raises(Corrupt):
        Errors.of({"n": 1, "signed": text})


def test_sums_stay_small_whatever_the_rows() -> None:
    chance = np.random.default_rng(9)
    true = chance.normal(size=10_000) * 10.0 ** chance.integers(-300, 75, 10_000)
    told = errors(true * 1.01, true).spelled()
    assert sum(len(str(one)) for one in told.values()) < 6 * 700


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12])
def test_errors_tell_what_scikit_learn_tells_whatever_the_offset(offset: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = np.random.default_rng(23)
    true = offset + chance.lognormal(3, 0.5, 4_000)
    said = true + chance.normal(0.1, 2, 4_000)
    seen = errors(said, true)
    for ours, by_rows, theirs in (
        (seen.rmse(), rmse(said, true), metrics.root_mean_squared_error(true, said)),
        (seen.mae(), mae(said, true), metrics.mean_absolute_error(true, said)),
    ):
        assert ours is not None
        assert ours.value == pytest.approx(theirs, rel=1e-12)
        assert ours == pytest.approx(by_rows, rel=1e-9)
    error = said - true
    bias = seen.mean_error()
    assert bias is not None
    half = 1.959964 * error.std(ddof=1) / math.sqrt(4_000)
    assert bias.value == pytest.approx(error.mean(), rel=1e-9)
    assert (bias.low, bias.high) == pytest.approx(
        (error.mean() - half, error.mean() + half), rel=1e-6
    )
    assert seen.actual_mean() == pytest.approx(true.mean(), rel=1e-12)
    assert seen.predicted_mean() == pytest.approx(said.mean(), rel=1e-12)


def test_a_spread_that_offsets_would_cancel_is_found() -> None:
    # squares of some 1e16 differ in digits that a running sum of floats has lost
    error = 1e8 + np.tile([0.0, 1.0], 500)
    found = errors(error, np.zeros(1_000)).mean_error()
    assert found is not None
    half = 1.959964 * error.std(ddof=1) / math.sqrt(1_000)
    assert found.high - found.value == pytest.approx(half, rel=1e-4)


def test_the_intervals_cover_the_truth_nineteen_times_in_twenty() -> None:
    # skewed errors: lognormal ones less their mean, which no chi-square fits
    chance = np.random.default_rng(24)
    mean, square = math.exp(0.125), math.exp(0.5)
    truths = {"mean_error": 0.0, "rmse": math.sqrt(square - mean**2), "mae": 0.0}
    many = np.abs(chance.lognormal(0, 0.5, 2_000_000) - mean)
    truths["mae"] = float(many.mean())
    held = dict.fromkeys(truths, 0)
    for _ in range(1_000):
        seen = errors(chance.lognormal(0, 0.5, 400) - mean, np.zeros(400))
        for name, found in (
            ("mean_error", seen.mean_error()),
            ("rmse", seen.rmse()),
            ("mae", seen.mae()),
        ):
            assert found is not None
            held[name] += found.low <= truths[name] <= found.high
    assert all(0.90 <= covered / 1_000 <= 0.97 for covered in held.values()), held


def test_errors_of_nothing_of_one_row_and_of_infinities() -> None:
    seen = errors(np.array([np.nan]), np.array([1.0]))
    assert (seen.n, seen.mae(), seen.rmse(), seen.mean_error()) == (0, *[None] * 3)
    assert (seen.actual_mean(), seen.predicted_mean()) == (None, None)
    assert mae(np.array([]), np.array([])) is None
    assert rmse(np.array([]), np.array([])) is None
    one = errors(np.array([3.0]), np.array([1.0])).mean_error()
    assert one == (2.0, 1, -math.inf, math.inf)
    beyond = errors(np.array([np.inf, 1e6, -1e300]), np.array([np.inf, 0, LARGEST]))
    assert beyond.beyond == 2
    assert beyond.fourth > 0
    with pytest.raises(Invalid):
        errors(np.ones(2), np.ones(3))
