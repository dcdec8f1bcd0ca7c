"""Moments: sums and squares of values, as integers that add up exactly.

Floating-point sums depend on their order; these do not. A value is rounded to a
multiple of `unit`, at most half a unit away, and its sums are kept whole, so any split
and order of the same rows gives the same integers. The mean is within unit / 2 of the
exact one. With the unit for losses, 2 ** -32, that is 1.2e-10.

Values beyond 2 ** 52 units count as that, and are told in `beyond`; so do infinities.
NaN is left out.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column
from modelkeep.stats.pairs import Estimate
from modelkeep.stats.wilson import NORMAL_95

UNIT: Final = 2.0**-32
MOST: Final = 2**52
"""Units: beyond, not every integer is a float."""

_BITS: Final = 26
_LENGTH: Final = 1_024
"""Values whose products, of 52 bits, have a sum of 62."""


class Moments(NamedTuple):
    """`total` and `squares` are in units and in units squared."""

    n: int = 0
    total: int = 0
    squares: int = 0
    beyond: int = 0
    unit: float = UNIT

    def plus(self, other: Moments) -> Moments:
        """Raise Invalid when the other was counted in other units."""
        if self.unit != other.unit:
            raise Invalid.field("unit", f"{self.unit} and {other.unit} do not add")
        return Moments(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.beyond + other.beyond,
            self.unit,
        )

    def mean(self) -> float | None:
        return self.total / self.n * self.unit if self.n else None

    def variance(self) -> float | None:
        """Return the sample variance; None of fewer than two."""
        if self.n < 2:  # noqa: PLR2004 - two are the least that differ
            return None
        # whole numbers until the last division: nothing cancels
        spread = self.n * self.squares - self.total**2
        return spread / (self.n * (self.n - 1)) * self.unit**2

    def estimate(self) -> Estimate | None:
        """Return the mean with its normal interval, infinite for one value."""
        mean, variance = self.mean(), self.variance()
        if mean is None:
            return None
        if variance is None:
            return Estimate(mean, self.n, -math.inf, math.inf)
        half = NORMAL_95 * math.sqrt(variance / self.n)
        return Estimate(mean, self.n, mean - half, mean + half)


def moments(values: Column, unit: float = UNIT) -> Moments:
    """Sum up values; see the module on NaN, infinities and rounding.

    1, 2 and 6 have mean 3 and variance (4 + 1 + 9) / 2.

    >>> seen = moments(np.array([1.0, 2.0, np.nan, 6.0]))
    >>> seen.n, seen.mean(), seen.variance()
    (3, 3.0, 7.0)
    """
    if not 0 < unit < math.inf:
        raise Invalid.field("unit", f"{unit} measures nothing")
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    with np.errstate(over="ignore"):
        scaled = np.rint(known / unit)
    whole = np.clip(scaled, -MOST, MOST).astype(np.int64)
    beyond = int(np.count_nonzero(np.abs(scaled) > MOST))
    padded = np.zeros((-(-whole.size // _LENGTH), _LENGTH), dtype=np.int64)
    padded.ravel()[: whole.size] = whole
    high, low = padded >> _BITS, padded & (2**_BITS - 1)
    squares = (
        (_products(high, high) << 2 * _BITS)
        + (_products(high, low) << _BITS + 1)
        + _products(low, low)
    )
    return Moments(known.size, sum(padded.sum(axis=1).tolist()), squares, beyond, unit)


def _products(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    return sum(np.einsum("ij,ij->i", a, b).tolist())
