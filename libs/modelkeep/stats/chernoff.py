"""Chernoff's bounds on a share: wide, and kept at any error, however few the rows.

Chernoff, "A measure of asymptotic efficiency for tests of a hypothesis based on the sum
of observations", Annals of Mathematical Statistics 23 (1952), 493-507; Hoeffding,
"Probability inequalities for sums of bounded random variables", Journal of the American
Statistical Association 58 (1963), 13-30, theorem 1. With n rows and a true share p, an
observed share of s or more, s >= p, has a chance of at most exp(-n KL(s, p)). So

    low = the least p <= s with n KL(s, p) <= log(1 / error)

is above the truth with a chance of `error` at most, and `high` below it likewise: an
`error` each, not both together.

Where rows come in groups of at most k, alike inside a group and independent between,
n / k takes the place of n: the moment generating function of a group of m <= k rows at
1 / k is at most that of a row to the power of m / k (Hoelder's inequality, then
Jensen's). Standard library only.
"""

from __future__ import annotations

import math
from typing import Final

from modelkeep.errors import Invalid
from modelkeep.stats.wilson import Interval

HALVINGS: Final = 60


def chernoff(hits: float, trials: float, error: float, alike: int = 1) -> Interval:
    """Return both bounds; (0, 1) when nothing was tried.

    None of 100: the share is at most 1 - error ** (1 / 100).

    >>> found = chernoff(0, 100, 0.05)
    >>> found.low, round(found.high, 6) == round(1 - 0.05 ** 0.01, 6)
    (0.0, True)
    """
    if not 0 <= hits <= trials:
        raise Invalid.field("hits", f"{hits} of {trials} is no share")
    if not 0 < error < 1 or alike < 1:
        raise Invalid.field("error", "lies between 0 and 1, and alike is 1 or more")
    if not trials:
        return Interval(0.0, 1.0)
    share, room = hits / trials, -math.log(error) * alike / trials
    return Interval(_edge(share, 0.0, room), _edge(share, 1.0, room))


def _edge(share: float, end: float, room: float) -> float:
    """Return the share farthest towards `end` that is within `room`, rounded there."""
    if share == end or divergence(share, end) <= room:
        return end
    inside, outside = share, end
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if divergence(share, middle) <= room:
            inside = middle
        else:
            outside = middle
    return outside


def divergence(share: float, other: float) -> float:
    """Return Kullback and Leibler's divergence of two coins, in nats; may be inf.

    >>> divergence(0.5, 0.5), round(divergence(1.0, 0.5), 6), divergence(0.5, 0.0)
    (0.0, 0.693147, inf)
    """
    return _part(share, other) + _part(1 - share, 1 - other)


def _part(share: float, other: float) -> float:
    if share == 0:
        return 0.0
    return share * math.log(share / other) if other > 0 else math.inf
