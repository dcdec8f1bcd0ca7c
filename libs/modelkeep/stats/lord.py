"""LORD++: online control of the false discovery rate, from independent p-values.

Ramdas, Yang, Wainwright & Jordan, "Online control of the false discovery rate with
decaying memory", NeurIPS 2017; the rule as R's onlineFDR states it. With rejections at
tau_1 < tau_2 < ... before t,

    alpha_t = w gamma_t + (alpha - w) gamma_(t - tau_1)
              + alpha sum_(j > 1) gamma_(t - tau_j)

and H_t is rejected when p_t <= alpha_t. p-values that share one estimated baseline are
not independent: the control is then approximate. For arbitrary dependence see `e_lond`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from modelkeep.stats.online_fdr import Ruling, check_p, check_rates, slow_gamma


class LordState(NamedTuple):
    """How many were tested, and the numbers of those that were rejected."""

    tested: int = 0
    rejections: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Lord:
    """`wealth` is w, alpha / 10 unless told."""

    alpha: float = 0.05
    wealth: float | None = None

    def __post_init__(self) -> None:
        check_rates(self.alpha, self.start)

    @property
    def start(self) -> float:
        return self.alpha / 10 if self.wealth is None else self.wealth

    def level(self, state: LordState) -> float:
        """Return the level of the next test; each rejection adds one term."""
        now = state.tested + 1
        first = state.rejections[:1]
        return math.fsum(
            [
                slow_gamma(now) * self.start,
                *((self.alpha - self.start) * slow_gamma(now - at) for at in first),
                *(self.alpha * slow_gamma(now - at) for at in state.rejections[1:]),
            ]
        )

    def test(self, state: LordState, p: float) -> tuple[LordState, Ruling]:
        """Test the next hypothesis.

        >>> state, found = Lord().test(LordState(), 2.9e-8)
        >>> found.rejected, round(found.level, 10), round(Lord().level(state), 10)
        (True, 0.0002675839, 0.0024664457)
        """
        level, number = self.level(state), state.tested + 1
        rejected = check_p(p) <= level
        known = (*state.rejections, number) if rejected else state.rejections
        return LordState(number, known), Ruling(number, level, rejected)
