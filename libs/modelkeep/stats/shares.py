"""Shares: counts of features that lie end to end, as parts of each feature's rows.

What PSI, Jensen-Shannon and chi-square all begin with, worked out once a side. A
baseline is compared with every window, so it keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Counts, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """One side. `sizes` are the bins of each feature, `rows` its rows.

    `each` is the share of a bin and `half` that of half a row of its feature; NaN and
    infinity where the feature has no rows at all.
    """

    counts: Counts
    starts: Counts
    sizes: Counts
    rows: Counts
    each: Floats
    half: Floats

    @classmethod
    def of(cls, counts: Counts, starts: Counts, sizes: Counts | None = None) -> Self:
        """Features begin at each of `starts`, the first at 0.

        >>> Shares.of(np.array([1, 3, 5]), np.array([0, 2])).each.tolist()
        [0.25, 0.75, 1.0]
        """
        if sizes is None:
            sizes = np.diff(np.append(starts, counts.size))
        rows = np.add.reduceat(counts, starts)
        whole = rows.repeat(sizes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(counts, starts, sizes, rows, counts / whole, 0.5 / whole)

    def beside(self, window: Counts) -> Shares:
        """Return the shares of the other side, counted over the same bins."""
        if window.shape != self.counts.shape:
            raise Invalid.field("window", "has other bins than the baseline")
        return Shares.of(window, self.starts, self.sizes)

    def bins_of_either(self, other: Shares) -> Counts:
        """Return how many bins of each feature hold a row of one side or the other."""
        held = (self.counts + other.counts) > 0
        return np.add.reduceat(held, self.starts, dtype=np.int64)
