"""Newcombe's interval: what two observed shares say about their difference.

Newcombe, "Interval estimation for the difference between independent proportions:
comparison of eleven methods", Statistics in Medicine 17 (1998), 873-890, method 10:
Wilson's interval of each share, combined. It holds in small samples and never leaves
[-1, 1]. Standard library only.
"""

from __future__ import annotations

import math

from modelkeep.stats.wilson import NORMAL_95, Interval, wilson


def difference(
    hits: float, trials: float, other_hits: float, other_trials: float
) -> Interval:
    """Return the 95 % interval of the first share less the second.

    (-1, 1) when nothing was tried on either side. Raises Invalid as `wilson` does. The
    paper's table II, 56 of 70 and 48 of 80:

    >>> [round(bound, 4) for bound in difference(56, 70, 48, 80)]
    [0.0524, 0.3339]
    """
    one = wilson(hits, trials, NORMAL_95)
    two = wilson(other_hits, other_trials, NORMAL_95)
    if not (trials and other_trials):
        return Interval(-1.0, 1.0)
    share, other = hits / trials, other_hits / other_trials
    apart = share - other
    below = math.hypot(share - one.low, two.high - other)
    above = math.hypot(one.high - share, other - two.low)
    return Interval(apart - below, apart + above)
