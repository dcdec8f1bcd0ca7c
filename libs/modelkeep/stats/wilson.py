"""Wilson's interval: what a share observed in few trials says about the true share.

Wilson, "Probable inference, the law of succession, and statistical inference", Journal
of the American Statistical Association 22 (1927), 209-212, without continuity
correction. Standard library only.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

from modelkeep.errors import Invalid

NORMAL_95 = NormalDist().inv_cdf(0.975)
"""Two-sided 95 %: 1.959964."""


class Interval(NamedTuple):
    low: float
    high: float


def wilson(hits: float, trials: float, z: float = NORMAL_95) -> Interval:
    """Return the interval for `hits` out of `trials`; (0, 1) when nothing was tried.

    Both may be fractions: expected hits, effective trials. Raises Invalid unless
    0 <= hits <= trials < infinity, which also refuses NaN.

    Ten tries, five hits, z = 2: the centre is .5 and the half width
    2 / 14 * sqrt(10 / 4 + 1) = .26726.

    >>> [round(bound, 5) for bound in wilson(5, 10, z=2)]
    [0.23274, 0.76726]
    >>> wilson(0, 0)
    Interval(low=0.0, high=1.0)
    """
    if not 0 <= hits <= trials < math.inf:
        raise Invalid.field("hits", f"{hits} of {trials} trials is not a share")
    if trials == 0:
        return Interval(0.0, 1.0)
    share = hits / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = (
        z
        * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
        / scale
    )
    # the formula reaches these ends exactly; floating point misses them by an ulp
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    high = 1.0 if hits == trials else min(1.0, centre + half)
    return Interval(low, high)
