"""Jensen-Shannon distance: how far apart two rows of shares are, between 0 and 1.

The root of the Jensen-Shannon divergence in bits, a metric (Lin, "Divergence measures
based on the Shannon entropy", IEEE Transactions on Information Theory 37 (1991),
145-151; Endres & Schindelin, "A new metric for probability distributions", same
journal 49 (2003), 1858-1860):

    JSD = sum p/2 log2 (p / m) + sum q/2 log2 (q / m),    m = (p + q) / 2

Empty bins need no floor. Peers differ in base and bins, not in kind: Evidently takes
base e, NannyML base 2. Without drift the divergence is (B - 1) (1/N + 1/n) / (8 ln 2)
on average, N and n being the rows of either side, B the bins that hold any.

NaN when either side has no rows at all.
"""

from __future__ import annotations

import math

import numpy as np

from modelkeep.stats.bins import Counts, Floats
from modelkeep.stats.shares import Shares


def jensen_shannon(baseline: Counts, window: Counts) -> float:
    """Return the distance between two rows of counts over the same bins.

    All in the first bin and half in each: m is three quarters and a quarter, and
    JSD = 1/2 log2 (4/3) + 1/4 log2 (2/3) + 1/4 log2 2 = .311278.

    >>> round(jensen_shannon(np.array([4, 0]), np.array([1, 1])) ** 2, 6)
    0.311278
    """
    return float(jensen_shannon_each(baseline, window, np.array([0]))[0])


def jensen_shannon_each(baseline: Counts, window: Counts, starts: Counts) -> Floats:
    """Return a distance a feature; features lie end to end, from each of `starts`."""
    before = Shares.of(baseline, starts)
    return jensen_shannon_of_shares(before, before.beside(window))


def jensen_shannon_of_shares(baseline: Shares, window: Shares) -> Floats:
    """Return a distance a feature of two sides over the same bins."""
    middle = (baseline.each + window.each) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = _term(baseline.each, middle)
        terms += _term(window.each, middle)
    # floating point may miss equality by an ulp, on the wrong side of 0 or of 1
    bits = np.add.reduceat(terms, baseline.starts) / (2 * math.log(2))
    np.maximum(bits, 0.0, out=bits)
    np.minimum(bits, 1.0, out=bits)
    each: Floats = np.sqrt(bits)
    return each


def divergence_by_chance(bins: int, baseline_rows: int, rows: int) -> float:
    """Return the divergence, the distance squared, to expect without drift.

    >>> round(divergence_by_chance(10, 10**9, 1_000), 6)
    0.001623
    """
    return max(0, bins - 1) * (1 / baseline_rows + 1 / rows) / (8 * math.log(2))


def _term(share: Floats, middle: Floats) -> Floats:
    # 0 log 0 is 0; NaN, of an empty side, stays
    found: Floats = share / middle
    np.log(found, out=found)
    found *= share
    found[share == 0] = 0.0
    return found
