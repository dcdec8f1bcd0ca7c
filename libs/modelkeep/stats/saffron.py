"""SAFFRON: online control that spends nothing on p-values that are no candidates.

Ramdas, Zrnic, Wainwright & Jordan, "SAFFRON: an adaptive algorithm for online control
of the false discovery rate", ICML 2018; the rule as R's onlineFDR states it. A
candidate has p <= lambda. With rejections at tau_1 < tau_2 < ... and C_j candidates
after tau_j (C_0 of all) before t,

    alpha_t = min(lambda, (1 - lambda) (w gamma_(t - C_0)
              + (alpha - w) gamma_(t - tau_1 - C_1)
              + alpha sum_(j > 1) gamma_(t - tau_j - C_j)))

For independent p-values, like LORD++ (see `lord`), and stronger where many are no
nulls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.online_fdr import Ruling, check_p, check_rates, steep_gamma


class SaffronState(NamedTuple):
    """What the rule remembers.

    `rejections` are pairs: the number of the hypothesis, and the candidates up to and
    including it.
    """

    tested: int = 0
    candidates: int = 0
    rejections: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Saffron:
    """`wealth` is w, alpha / 2 unless told; `candidate` is lambda."""

    alpha: float = 0.05
    wealth: float | None = None
    candidate: float = 0.5

    def __post_init__(self) -> None:
        check_rates(self.alpha, self.start)
        if not 0 < self.candidate < 1:
            raise Invalid.field("candidate", "must lie between 0 and 1")

    @property
    def start(self) -> float:
        return self.alpha / 2 if self.wealth is None else self.wealth

    def level(self, state: SaffronState) -> float:
        """Return the level of the next test."""
        now, seen = state.tested + 1, state.candidates
        terms = [steep_gamma(now - at - (seen - upto)) for at, upto in state.rejections]
        first, rest = terms[:1], terms[1:]
        spent = math.fsum(
            [
                self.start * steep_gamma(now - seen),
                *((self.alpha - self.start) * term for term in first),
                *(self.alpha * term for term in rest),
            ]
        )
        return min(self.candidate, (1 - self.candidate) * spent)

    def test(self, state: SaffronState, p: float) -> tuple[SaffronState, Ruling]:
        """Test the next hypothesis.

        >>> state, found = Saffron().test(SaffronState(), 2.9e-8)
        >>> found.rejected, round(found.level, 9), round(Saffron().level(state), 9)
        (True, 0.005468627, 0.010937254)
        """
        level, number = self.level(state), state.tested + 1
        rejected = check_p(p) <= level
        candidates = state.candidates + (p <= self.candidate)
        known = state.rejections
        if rejected:
            known = (*known, (number, candidates))
        return SaffronState(number, candidates, known), Ruling(number, level, rejected)
