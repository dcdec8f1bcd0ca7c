"""Bounds that hold at any error: exact by enumeration, and what they cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import Invalid
from modelkeep.stats.certain_gap import Favour, are_apart, is_ratio_below
from modelkeep.stats.chernoff import chernoff, divergence
from modelkeep.stats.wilks import beyond_ends


def chances(n: int, p: float) -> list[float]:
    """The binomial law, term by term."""
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


@pytest.mark.parametrize("n", [1, 7, 60])
@pytest.mark.parametrize("p", [0.001, 0.03, 0.5, 0.8])
@pytest.mark.parametrize("error", [0.2, 0.025, 1e-4])
def test_each_bound_misses_the_truth_with_its_error_at_most(
    n: int, p: float, error: float
) -> None:
    found = [chernoff(k, n, error) for k in range(n + 1)]
    law = list(zip(found, chances(n, p), strict=True))
    assert math.fsum(chance for one, chance in law if one.low > p) <= error
    assert math.fsum(chance for one, chance in law if one.high < p) <= error


@given(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(1e-12, 0.5),
)
def test_bounds_enclose_what_was_seen_and_widen_as_errors_shrink(
    seen: tuple[int, int], error: float
) -> None:
    hits, trials = seen
    wide, narrow = chernoff(hits, trials, error / 2), chernoff(hits, trials, error)
    assert wide.low <= narrow.low <= hits / trials <= narrow.high <= wide.high
    copied = chernoff(3 * hits, 3 * trials, error, alike=3)
    assert copied == pytest.approx(narrow, abs=1e-12)


def test_the_smallest_share_is_by_hand() -> None:
    # of none in n the chance is (1 - p) ** n, so the bound is exact there
    assert chernoff(0, 20, 0.01).high == pytest.approx(1 - 0.01 ** (1 / 20))
    assert chernoff(20, 20, 0.01).low == pytest.approx(0.01 ** (1 / 20))
    assert chernoff(0, 0, 0.01) == (0.0, 1.0)
    assert divergence(0.0, 1.0) == math.inf


def test_what_is_no_share_or_error_is_refused() -> None:
    for hits, trials, error, alike in (
        (2, 1, 0.1, 1),
        (-1, 1, 0.1, 1),
        (1, 1, 0.0, 1),
        (1, 1, 1.0, 1),
        (1, 1, 0.1, 0),
    ):
        with pytest.raises(Invalid):
            chernoff(hits, trials, error, alike)


def test_groups_at_their_limit_are_told_of_no_more_often_than_the_error() -> None:
    error, n, m = 0.05, 60, 90
    of = chances(n, 0.4)
    beside = chances(m, 0.5)
    ratio = gap = 0.0
    for k, one in enumerate(of):
        for j, other in enumerate(beside):
            groups = Favour(k, n), Favour(j, m)
            ratio += one * other * is_ratio_below(*groups, 0.8, error)
            gap += one * other * are_apart(*groups, 0.1, error)
    # .4 is .8 times .5 and .1 below it: both limits are kept, barely
    assert 0 < ratio <= error
    assert 0 < gap <= error


def test_copies_of_people_are_no_more_evidence() -> None:
    chance = np.random.default_rng(4)
    told = 0
    for _ in range(400):
        one = Favour(10 * int(chance.binomial(60, 0.4)), 600)
        other = Favour(10 * int(chance.binomial(90, 0.5)), 900)
        told += is_ratio_below(one, other, 0.8, 0.05, alike=10)
        # taken for 600 people they would speak
    assert told <= 0.05 * 400
    apart = Favour(200, 600), Favour(600, 900)
    assert is_ratio_below(*apart, 0.8, 1e-6)
    assert not is_ratio_below(*apart, 0.8, 1e-6, alike=10)


def test_what_lies_beyond_a_sample_is_no_more_than_was_said() -> None:
    chance = np.random.default_rng(3)
    for rows, error in ((20, 0.2), (300, 0.05)):
        said = beyond_ends(rows, error)
        samples = chance.random((4_000, rows))
        beyond = samples.min(axis=1) + 1 - samples.max(axis=1)
        # of a uniform the share beyond is exact, and the limit is reached as often
        assert np.mean(beyond > said) == pytest.approx(error, abs=0.02)
    assert beyond_ends(0, 0.1) == beyond_ends(1, 0.1) == 1.0
    for wrong in ((-1, 0.1), (1, 0.0), (1, 1.0)):
        with pytest.raises(Invalid):
            beyond_ends(*wrong)
