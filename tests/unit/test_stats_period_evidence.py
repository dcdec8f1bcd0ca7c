"""A period's e-values: by hand, from the same bets as the detectors, and their mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import Invalid
from modelkeep.stats.e_detector import Detector, Side
from modelkeep.stats.e_lond import ELond, ELondState
from modelkeep.stats.online_fdr import slow_gamma
from modelkeep.stats.period_evidence import Counted, period_evidence


def detector(
    *, sides: tuple[Side, ...] = (Side.ABOVE, Side.BELOW), alike: int = 1
) -> Detector:
    """Two features of two cells; half of the rows in each, a tenth more tolerated."""
    return Detector.between(
        [("a", 2), ("b", 2)],
        np.full((1, 4), 0.45),
        np.full((1, 4), 0.55),
        threshold=1e9,
        odds=(1.5,),
        sides=sides,
        alike=alike,
    )


def counted(*pairs: tuple[int, int]) -> Counted:
    hits, trials = zip(*pairs, strict=True)
    return Counted(np.array(hits), np.array(trials))


def test_the_e_value_is_the_mean_of_likelihood_ratios_by_hand() -> None:
    one = detector(sides=(Side.ABOVE,))
    seen = counted((80, 100), (20, 100), (50, 100), (50, 100))
    edge = 0.55
    share = 1.5 * edge / (1 - edge + 1.5 * edge)
    ratios = [
        (share / edge) ** c * ((1 - share) / (1 - edge)) ** (100 - c)
        for c in (80, 20, 50)
    ]
    a, b = period_evidence(one, {"": seen})
    assert (a.name, b.name, a.n) == ("a", "b", 100)
    assert a.log_e == pytest.approx(math.log((ratios[0] + ratios[1]) / 2), abs=1e-3)
    assert b.log_e == pytest.approx(math.log(ratios[2]), abs=1e-3)


def test_a_period_is_its_windows_added_up_in_any_order() -> None:
    one = detector()
    parts = [counted((k, 20), (20 - k, 20), (9, 20), (11, 20)) for k in (15, 11, 19)]
    whole = Counted(
        np.sum([part.hits for part in parts], axis=0),
        np.sum([part.trials for part in parts], axis=0),
    )
    [a, _] = period_evidence(one, {"": whole})
    # the first window of a detector that begins is worth its likelihood ratio
    step = one.update(one.start(), whole.hits, whole.trials)
    by_name = one.by_name(step.evidence)
    assert math.log(2 * by_name["a"]) == pytest.approx(a.log_e, abs=0.02)


def test_copies_of_rows_are_worth_no_more_than_one() -> None:
    seen = counted((80, 100), (20, 100), (50, 100), (50, 100))
    tenfold = Counted(seen.hits * 10, seen.trials * 10)
    one = period_evidence(detector(), {"": seen})
    ten = period_evidence(detector(alike=10), {"": tenfold})
    assert [e.log_e for e in ten] == pytest.approx([e.log_e for e in one], abs=1e-2)


def test_what_was_not_tried_is_not_tested() -> None:
    seen = counted((80, 100), (20, 100), (0, 0), (0, 0))
    assert [one.name for one in period_evidence(detector(), {"": seen})] == ["a"]
    assert period_evidence(detector(), {}) == ()
    with pytest.raises(Invalid):
        period_evidence(detector(), {"h00": seen})
    with pytest.raises(Invalid):
        period_evidence(detector(), {"": counted((1, 2))})


@pytest.mark.parametrize("share", [0.45, 0.5, 0.55])
def test_e_values_have_a_mean_of_one_at_most_inside_the_band(share: float) -> None:
    # exactly: over every outcome of 30 rows, weighted by the binomial law
    one, n, mean = detector(), 30, 0.0
    for k in range(n + 1):
        chance = math.comb(n, k) * share**k * (1 - share) ** (n - k)
        seen = counted((k, n), (n - k, n), (k, n), (n - k, n))
        [a, _] = period_evidence(one, {"": seen})
        mean += chance * math.exp(a.log_e)
    assert mean <= 1


# --- e-LOND on them ----------------------------------------------------------------


@given(st.lists(st.one_of(st.floats(0, 1e9), st.just(math.inf)), max_size=200))
def test_levels_add_up_to_alpha_at_most_between_discoveries(
    values: list[float],
) -> None:
    rule, state, spent = ELond(0.05), ELondState(), 0.0
    for number, e in enumerate(values, 1):
        level = rule.level(state)
        found = state.rejected
        state, ruling = rule.test(state, e)
        assert ruling.level == level == 0.05 * slow_gamma(number) * (found + 1)
        assert ruling.rejected == (e * level >= 1)
        assert state == (number, found + ruling.rejected)
        # what a null's e-value of mean 1 can cost: Markov's inequality, level by level
        spent += level / (found + 1)
    assert spent <= 0.05


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.integers(0, 59), st.data()
)
def test_more_evidence_never_loses_a_discovery(
    values: list[float], place: int, data: st.DataObject
) -> None:
    place %= len(values)
    more = data.draw(st.floats(values[place], 1e7))
    first, second = (
        _discoveries(values),
        _discoveries([*values[:place], more, *values[place + 1 :]]),
    )
    assert first <= second


def _discoveries(values: list[float]) -> set[int]:
    rule, state, found = ELond(0.05), ELondState(), set()
    for e in values:
        state, ruling = rule.test(state, e)
        if ruling.rejected:
            found.add(ruling.number)
    return found


def test_the_realised_rate_is_below_alpha_where_hypotheses_share_a_baseline() -> None:
    """Features copy each other, periods share what they are held against: e-LOND asks
    for no independence, and p-values of the same tables need more than that.
    """
    chance = np.random.default_rng(11)
    one, rate = detector(), 0.2
    shares, discoveries = [], 0
    for _ in range(150):
        rule, state = ELond(rate), ELondState()
        false = found = 0
        # a model: nulls are at the band's edge, the same one in all periods
        null = float(chance.choice((0.45, 0.55)))
        for _period in range(6):
            moved = chance.random() < 0.3
            a = int(chance.binomial(400, null))
            b = int(chance.binomial(400, 0.68)) if moved else a
            seen = counted((a, 400), (400 - a, 400), (b, 400), (400 - b, 400))
            for evidence in period_evidence(one, {"": seen}):
                state, ruling = rule.test(state, math.exp(evidence.log_e))
                found += ruling.rejected
                false += ruling.rejected and not (moved and evidence.name == "b")
        discoveries += found
        shares.append(false / max(1, found))
    assert discoveries > 100, "it finds something"
    assert np.mean(shares) <= rate
