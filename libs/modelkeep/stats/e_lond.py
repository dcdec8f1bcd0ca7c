"""e-LOND: online control of the false discovery rate under arbitrary dependence.

Xu & Ramdas, "Online multiple testing with e-values", AISTATS 2024 (arXiv 2311.06412):
LOND of Javanmard & Montanari ("On online control of false discovery rate", arXiv
1502.06197) run on the inverses of e-values, without its correction for dependence (the
rule was read in the first author's own code and, for LOND, in R's onlineFDR). With R
rejections before t,

    alpha_t = alpha gamma_t (R + 1),        reject H_t when e_t >= 1 / alpha_t.

e_t is a non-negative statistic with a mean of at most 1 while H_t is true, such as a
likelihood ratio. Any p-values are too weak a promise for it, any dependence is not. The
price is power: levels only sink between rejections.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.online_fdr import Ruling, check_rates, slow_gamma


class ELondState(NamedTuple):
    tested: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class ELond:
    alpha: float = 0.05

    def __post_init__(self) -> None:
        check_rates(self.alpha, self.alpha)

    def level(self, state: ELondState) -> float:
        """Return alpha_t of the next test."""
        return self.alpha * slow_gamma(state.tested + 1) * (state.rejected + 1)

    def test(self, state: ELondState, e: float) -> tuple[ELondState, Ruling]:
        """Test the next hypothesis; `e` may be infinite.

        >>> state, found = ELond().test(ELondState(), 400.0)
        >>> found.rejected, round(found.level, 10), round(ELond().level(state), 10)
        (True, 0.0026758385, 0.0011638206)
        """
        if math.isnan(e) or e < 0:
            raise Invalid.field("e", f"{e} is no e-value")
        level, number = self.level(state), state.tested + 1
        rejected = e * level >= 1
        return (
            ELondState(number, state.rejected + rejected),
            Ruling(number, level, rejected),
        )
