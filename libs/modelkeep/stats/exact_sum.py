"""The exact sum of floats, whatever their order: an integer that adds up.

A float is an integer of 53 bits times a power of two; the integers of each power are
added, and what they come to is one whole number of the smallest unit. Sums of batches
add, and only the mean is rounded, once. The idea is Shewchuk's ("Adaptive Precision
Floating-Point Arithmetic", Discrete & Computational Geometry 18 (1997)) with Python's
integers in place of his expansions.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column

BITS: Final = 1_126
"""A unit is 2 ** -1126: the least float has 53 bits more than its exponent says."""
_MANTISSA: Final = 53
_LOW: Final = 26
_CHUNK: Final = 1 << 24
"""So many numbers of 27 bits have a sum that a float holds exactly."""


def exact_sum(values: Column) -> int:
    """Return the sum in units of 2 ** -1126. Raises Invalid unless all are finite.

    Added as floats, these three make 0 from left to right, and 1 from right to left.

    >>> seen = exact_sum(np.array([1.0, 1e100, -1e100]))
    >>> seen == exact_sum(np.array([-1e100, 1e100, 1.0])) == 1 << BITS
    True
    >>> exact_sum(np.empty(0))
    0
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise Invalid.field("values", "an infinity or NaN has no place in a sum")
    return sum(
        _sum(numbers[start : start + _CHUNK])
        for start in range(0, len(numbers), _CHUNK)
    )


def exact_mean(total: int, n: int) -> float:
    """Return the float next to the mean of `n` values whose exact sum is `total`.

    >>> exact_mean(exact_sum(np.array([0.1, 0.2, 0.4])), 3)
    0.23333333333333334
    """
    return total / (n << BITS)


def _sum(numbers: Column) -> int:
    fractions, exponents = np.frexp(numbers)
    whole = np.ldexp(fractions, _MANTISSA).astype(np.int64)
    least = int(exponents.min())
    places = exponents - least
    high = np.bincount(places, weights=(whole >> _LOW).astype(np.float64))
    low = np.bincount(places, weights=(whole & (2**_LOW - 1)).astype(np.float64))
    # one power of two a place, from the least exponent there is
    shift = least - _MANTISSA + BITS
    return sum(
        ((int(h) << _LOW) + int(lo)) << shift + place
        for place, (h, lo) in enumerate(zip(high, low, strict=True))
    )
