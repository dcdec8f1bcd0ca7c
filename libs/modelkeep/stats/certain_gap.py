"""Whether two groups are treated unlike beyond a limit, at an error one chooses.

The intervals of `adverse_impact` and `parity` are of 95 %, once: of forty windows that
keep the limit barely, one breaks it. Who promises few false alarms a quarter needs a
far smaller error, where normal intervals are no longer true. Here each share has
Chernoff's bound (see `chernoff`) and the errors of the bounds add up (Bonferroni), so
that the chance of a false claim is below `error` whatever the sizes, and however the
groups depend on each other. Standard library only.
"""

from __future__ import annotations

from typing import NamedTuple

from modelkeep.stats.chernoff import chernoff


class Favour(NamedTuple):
    """`favoured` of `n` people."""

    favoured: int
    n: int


def is_ratio_below(
    one: Favour, other: Favour, limit: float, error: float, alike: int = 1
) -> bool:
    """Whether the rate of one is below `limit` times that of the other.

    Two bounds, half of the error each. A quarter beside three quarters, of 400 each:

    >>> is_ratio_below(Favour(100, 400), Favour(300, 400), 0.8, 1e-6)
    True
    >>> is_ratio_below(Favour(10, 40), Favour(30, 40), 0.8, 1e-6)
    False
    """
    high = chernoff(one.favoured, one.n, error / 2, alike).high
    low = chernoff(other.favoured, other.n, error / 2, alike).low
    return high < limit * low


def are_apart(
    one: Favour, other: Favour, tolerance: float, error: float, alike: int = 1
) -> bool:
    """Whether the rates differ by more than `tolerance`, either way.

    Four bounds, a quarter of the error each.

    >>> are_apart(Favour(100, 400), Favour(300, 400), 0.1, 1e-6)
    True
    >>> are_apart(Favour(100, 400), Favour(200, 400), 0.1, 1e-6)
    False
    """
    first = chernoff(one.favoured, one.n, error / 4, alike)
    second = chernoff(other.favoured, other.n, error / 4, alike)
    return first.low - second.high > tolerance or second.low - first.high > tolerance
