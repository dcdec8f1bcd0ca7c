"""Fairness figures: an interval before a number, and silence about a few people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import Invalid
from modelkeep.stats.adverse_impact import adverse_impact, ratio_interval
from modelkeep.stats.categories import Coded
from modelkeep.stats.equal_opportunity import opportunity_differences
from modelkeep.stats.fairness import Group, Judgement, group_counts
from modelkeep.stats.newcombe import difference
from modelkeep.stats.parity import parity_differences

PEOPLE = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", None]),
        st.booleans(),
        st.sampled_from([0.0, 1.0, math.nan]),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # statsmodels 0.15.0, confint_proportions_2indep(method="newcomb")
        ((56, 70, 48, 80), 0.05243147240236498, 0.33387265403690614),
        ((9, 10, 3, 10), 0.1705227239345029, 0.809017973535488),
        ((0, 20, 5, 40), -0.261121198388511, 0.05083566256362734),
        ((250, 1000, 300, 900), -0.1240407459392204, -0.042436350603363746),
    ],
)
def test_the_difference_has_statsmodels_interval(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert difference(*counts) == pytest.approx((low, high), abs=1e-12)


def test_the_ratio_has_scipys_and_statsmodels_interval() -> None:
    contingency = pytest.importorskip("scipy.stats.contingency")
    counts = (250, 1_000, 300, 900)
    exact = contingency.relative_risk(*counts).confidence_interval(0.95)
    assert ratio_interval(*counts) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert ratio_interval(*counts) == pytest.approx(
        (0.6509523976937706, 0.8641184854573937), abs=1e-12
    )


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_intervals_hold_their_figures(a: int, b: int, c: int, d: int) -> None:
    n, m = a + b, c + d
    low, high = difference(a, n, c, m)
    assert -1 - 1e-12 <= low <= high <= 1 + 1e-12
    lower, upper = ratio_interval(a, n, c, m)
    assert 0 <= lower <= upper
    if n and m:
        assert low - 1e-12 <= a / n - c / m <= high + 1e-12
    if a and b and c and d:
        assert lower - 1e-12 <= a / n / (c / m) <= upper + 1e-12


@given(PEOPLE, st.data())
def test_groups_add_up_over_batches_and_coded_ones_count_alike(
    people: list[tuple[str | None, bool, float]], data: st.DataObject
) -> None:
    def counted(some: list[tuple[str | None, bool, float]]) -> tuple[Group, ...]:
        return group_counts(
            np.array([name for name, _, _ in some], dtype=object),
            np.array([yes for _, yes, _ in some], dtype=np.bool_),
            ("a", "b"),
            np.array([true for _, _, true in some], dtype=np.float64),
        )

    cut = data.draw(st.integers(0, len(people)))
    halves = zip(counted(people[:cut]), counted(people[cut:]), strict=True)
    assert tuple(one.plus(two) for one, two in halves) == counted(people)
    codes = [-1 if name is None else "abc".index(name) for name, _, _ in people]
    coded = group_counts(
        Coded(np.array(codes, dtype=np.int8), ("a", "b", "c")),
        np.array([yes for _, yes, _ in people], dtype=np.bool_),
        ("a", "b"),
    )
    assert [group[:3] for group in coded] == [group[:3] for group in counted(people)]


def test_what_cannot_be_counted_is_refused() -> None:
    names, yes = np.array(["a", "b"]), np.array([True, False])
    with pytest.raises(Invalid):
        group_counts(names, yes[:1], ["a"])
    with pytest.raises(Invalid):
        group_counts(names, yes, ["a"], np.array([1.0]))
    with pytest.raises(Invalid):
        group_counts(names, yes, ["a"], np.array([1.0, 2.0]))
    with pytest.raises(Invalid):
        Group("a", 1, 1).plus(Group("b", 1, 1))
    with pytest.raises(Invalid):
        parity_differences((Group("a", 9, 9),), "b")
    with pytest.raises(Invalid):
        parity_differences((Group("a", 9, 9), Group("b", 9, 9)), "b", tolerance=1)
    with pytest.raises(Invalid):
        adverse_impact((Group("a", 90, 9),), limit=0)


def test_a_few_people_get_no_number() -> None:
    few, many = Group("few", 29, 0, 29, 0), Group("many", 1_000, 900, 800, 790)
    (parity,) = parity_differences((few, many), "many")
    (chance,) = opportunity_differences((few, many), "many")
    (impact,) = adverse_impact((few, many))
    assert (parity.value, chance.value, impact.ratio) == (None, None, None)
    for found in (parity, chance, impact):
        assert found.judgement is Judgement.UNSURE
        assert str(found.judgement) == "not enough to say"
    assert adverse_impact((few,)) == ()
    (nobody,) = adverse_impact((Group("a", 100, 0), Group("b", 100, 0)))
    assert (nobody.ratio, nobody.judgement) == (None, Judgement.UNSURE)


def test_an_interval_across_the_limit_is_not_enough_to_say() -> None:
    # .75 beside .8, forty people each: the ratio .94 could be .74
    small = adverse_impact((Group("a", 40, 30), Group("b", 40, 32)))
    assert [one.judgement for one in small] == [Judgement.UNSURE]
    large = adverse_impact((Group("a", 4_000, 3_000), Group("b", 4_000, 3_200)))
    assert [one.judgement for one in large] == [Judgement.HOLDS]
    (equal,) = parity_differences(
        (Group("a", 4_000, 3_000), Group("b", 4_000, 3_200)), "b"
    )
    assert equal.judgement is Judgement.HOLDS
    (near,) = parity_differences((Group("a", 40, 30), Group("b", 40, 32)), "b")
    assert near.judgement is Judgement.UNSURE
    assert near.value == pytest.approx(-0.05)


def test_a_group_that_is_favoured_more_breaches_parity_too() -> None:
    (found,) = parity_differences((Group("a", 400, 300), Group("b", 400, 100)), "b")
    assert found.judgement is Judgement.BREACHED
    assert found.value == 0.5


def test_the_four_fifths_rule_seldom_cries_wolf_where_groups_are_equal() -> None:
    chance = np.random.default_rng(41)
    fixed = judged = 0
    for _ in range(500):
        one, two = chance.binomial(60, 0.4, 2).tolist()
        (found,) = adverse_impact((Group("a", 60, one), Group("b", 60, two)))
        judged += found.judgement is Judgement.BREACHED
        fixed += found.ratio is not None and found.ratio < 0.8
    assert fixed > 0.3 * 500
    assert judged <= 0.05 * 500
