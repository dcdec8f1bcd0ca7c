"""Online false-discovery control, against what R's onlineFDR prints.

The p-values and levels are those of its reference pages of LORD, SAFFRON and LOND.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelkeep.errors import Invalid
from modelkeep.stats.e_lond import ELond, ELondState
from modelkeep.stats.fdr import Dependence, adjusted
from modelkeep.stats.lord import Lord, LordState
from modelkeep.stats.online_fdr import slow_gamma, steep_gamma
from modelkeep.stats.saffron import Saffron, SaffronState

P_VALUES = (
    *(2.90e-08, 0.06743, 0.01514, 0.08174, 0.00171),
    *(3.60e-05, 0.79149, 0.27201, 0.28295, 7.59e-08),
    *(0.69274, 0.30443, 0.00136, 0.72342, 0.54757),
)
LORD = (
    *(0.0002675839, 0.0024664457, 0.0005732818, 0.0004872805, 0.0004059066),
    *(0.0003447286, 0.0029745013, 0.0008450114, 0.0007305648, 0.0006243143),
    *(0.0032185913, 0.0010617227, 0.0009256825, 0.0008019657, 0.0007059610),
)
LORD_REORDERED = (
    *(2.90e-08, 0.06743, 0.01514, 0.08174, 0.00171),
    *(0.27201, 3.60e-05, 0.79149, 7.59e-08, 0.28295),
    *(0.69274, 0.72342, 0.30443, 0.54757, 0.00136),
)
LORD_RICHER = (
    *(0.0026758385, 0.0032577488, 0.0010775352, 0.0009078052, 0.0007616238),
    *(0.0006517385, 0.0005682672, 0.0058549106, 0.0016151293, 0.0067518870),
    *(0.0023619734, 0.0020342733, 0.0017477495, 0.0015277362, 0.0013569121),
)
SAFFRON = (
    *(0.005468627, 0.010937254, 0.010937254, 0.010937254, 0.010937254),
    *(0.021874508, 0.032811762, 0.010823845, 0.010823845, 0.010823845),
    *(0.021761099, 0.009265591, 0.009265591, 0.020202846, 0.009064367),
)
LOND = (
    *(0.0026758385, 0.0011638206, 0.0009912499, 0.0008243606, 0.0006988870),
    *(0.0006045900, 0.0007979166, 0.0007117838, 0.0006421423, 0.0005847378),
    *(0.0007155186, 0.0006610273, 0.0006141682, 0.0005734509, 0.0005377472),
)


def test_lord_has_the_published_levels_and_rejections() -> None:
    rule, state, found = Lord(), LordState(), []
    for p in P_VALUES:
        state, ruling = rule.test(state, p)
        found.append(ruling)
    assert [r.level for r in found] == pytest.approx(LORD, abs=5.1e-11)
    assert [r.number for r in found if r.rejected] == [1, 6, 10]
    assert state == LordState(15, (1, 6, 10))


def test_lord_has_the_published_levels_with_more_wealth() -> None:
    rule, state, levels = Lord(0.1, 0.05), LordState(), []
    for p in LORD_REORDERED:
        state, ruling = rule.test(state, p)
        levels.append(ruling.level)
    assert levels == pytest.approx(LORD_RICHER, abs=5.1e-11)
    assert state.rejections == (1, 7, 9)


def test_saffron_has_the_published_levels_and_rejections() -> None:
    rule, state, found = Saffron(), SaffronState(), []
    for p in P_VALUES:
        state, ruling = rule.test(state, p)
        found.append(ruling)
    assert [r.level for r in found] == pytest.approx(SAFFRON, abs=5.1e-10)
    assert [r.number for r in found if r.rejected] == [1, 5, 6, 10, 13]


def test_e_lond_is_lond_on_the_inverses_of_e_values() -> None:
    rule, state, found = ELond(), ELondState(), []
    for p in P_VALUES:
        state, ruling = rule.test(state, 1 / p)
        found.append(ruling)
    assert [r.level for r in found] == pytest.approx(LOND, abs=5.1e-11)
    assert [r.number for r in found if r.rejected] == [1, 6, 10]
    assert rule.test(state, math.inf)[1].rejected
    assert not rule.test(state, 0.0)[1].rejected


def test_the_parts_of_alpha_add_up_to_one_at_most() -> None:
    numbers = range(1, 100_001)
    steep = math.fsum(steep_gamma(n) for n in numbers)
    # the rest of sum j ** -1.6 beyond N is about N ** -.6 / .6
    assert steep + steep_gamma(1) * 100_000**-0.6 / 0.6 == pytest.approx(1, abs=1e-5)
    slow = math.fsum(slow_gamma(n) for n in numbers)
    # with u = sqrt(log j) the rest is 2 C times the integral of u ** 3 exp(-u)
    u = math.sqrt(math.log(100_000))
    rest = 2 * 0.07720838 * math.exp(-u) * (u**3 + 3 * u**2 + 6 * u + 6)
    assert 0.95 < slow + rest <= 1
    assert slow_gamma(0) == steep_gamma(0) == 0


@pytest.mark.parametrize("kind", ["lord", "saffron", "e-lond"])
def test_the_share_of_false_discoveries_stays_below_alpha(kind: str) -> None:
    chance = np.random.default_rng(9)
    shares = []
    for _ in range(60):
        true = chance.random(300) < 0.2
        z = chance.normal(size=300) + 3.5 * true
        if kind == "e-lond":
            # the likelihood ratio of 3.5 against 0
            lond, wanted = ELondState(), []
            for value in z.tolist():
                lond, ruling = ELond(0.2).test(lond, math.exp(3.5 * value - 6.125))
                wanted.append(ruling.rejected)
        else:
            wanted = _rejected(kind, z.tolist())
        told = np.array(wanted)
        shares.append(float((told & ~true).sum() / max(1, told.sum())))
        assert told.sum() > 3, "it finds something"
    assert np.mean(shares) <= 0.2


def _rejected(kind: str, values: list[float]) -> list[bool]:
    lord, saffron, found = LordState(), SaffronState(), []
    for value in values:
        p = 0.5 * math.erfc(value / math.sqrt(2))
        if kind == "lord":
            lord, ruling = Lord(0.2).test(lord, p)
        else:
            saffron, ruling = Saffron(0.2).test(saffron, p)
        found.append(ruling.rejected)
    return found


def test_what_is_no_p_or_e_value_is_refused() -> None:
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(Invalid):
            Lord().test(LordState(), p)
        with pytest.raises(Invalid):
            Saffron().test(SaffronState(), p)
        with pytest.raises(Invalid):
            adjusted([p])
    for e in (-1.0, math.nan):
        with pytest.raises(Invalid):
            ELond().test(ELondState(), e)
    for bad in ((0.0, None), (1.0, None), (0.05, 0.06), (0.05, 0.0)):
        with pytest.raises(Invalid):
            Lord(*bad)
    with pytest.raises(Invalid):
        Saffron(candidate=1.0)


def test_reports_are_adjusted_as_scipy_does() -> None:
    stats = pytest.importorskip("scipy.stats")
    for kind in Dependence:
        wanted = stats.false_discovery_control(P_VALUES, method=kind.value)
        assert adjusted(P_VALUES, kind) == pytest.approx(tuple(wanted), abs=1e-15)
    # by hand: 15 / 3 * .000036 is the third of the smallest three
    assert sorted(adjusted(P_VALUES))[2] == pytest.approx(15 / 3 * 3.6e-5)
    assert adjusted([]) == ()
