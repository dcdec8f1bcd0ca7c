"""Control of the false discovery rate within one report, all p-values at hand.

Benjamini & Hochberg, "Controlling the false discovery rate", Journal of the Royal
Statistical Society B 57 (1995), 289-300, for independent or positively dependent
p-values; Benjamini & Yekutieli, "The control of the false discovery rate in multiple
testing under dependency", Annals of Statistics 29 (2001), 1165-1188, for any. Needs
scipy.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from modelkeep.stats.online_fdr import check_p


class Dependence(StrEnum):
    POSITIVE = "bh"
    ANY = "by"


def adjusted(
    p_values: Sequence[float], dependence: Dependence = Dependence.POSITIVE
) -> tuple[float, ...]:
    """Return p-values to hold against the rate itself; none of none.

    Reject those at most alpha. The largest stays; .01 of four becomes .04, and .02, the
    second of them, 4 / 2 * .02.

    >>> [round(p, 4) for p in adjusted([0.01, 0.02, 0.5, 0.9])]
    [0.04, 0.04, 0.6667, 0.9]
    """
    from scipy.stats import false_discovery_control  # noqa: PLC0415 - slow to import

    if not p_values:
        return ()
    checked = [check_p(p) for p in p_values]
    return tuple(false_discovery_control(checked, method=dependence.value).tolist())
