"""Latency: a histogram with cells of constant relative width, and its quantiles.

Each power of two is cut into 32 cells, by the float's own exponent and first five bits
of fraction, so that no logarithm is taken and every machine agrees. A quantile read
from a cell is within 1/65 (1.54 %) of the exact one. Cells of relative width are those
of Masson, Rim & Lee, "DDSketch", PVLDB 12 (2019); these are fixed, so that merging is
addition and gives the same counts in any order.

Milliseconds, from 2 ** -10 (a microsecond) to 2 ** 22 (70 minutes): shorter ones are
counted together, longer ones too. NaN and negative ones are missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Counts

SHORTEST: Final = 2.0**-10
LONGEST: Final = 2.0**22
OCTAVE: Final = 32
CELLS: Final = 32 * OCTAVE
SHORTER: Final = 0
LONGER: Final = CELLS + 1
MISSING: Final = CELLS + 2
SIZE: Final = CELLS + 3
RELATIVE_ERROR: Final = 1 / 65

_FRACTION_BITS: Final = 52 - 5
_FIRST: Final = int(np.float64(SHORTEST).view(np.int64)) >> _FRACTION_BITS


def count_latency(milliseconds: Column) -> Counts:
    """Return the rows in each cell: shorter, the 1,024 cells, longer, missing.

    >>> counts = count_latency(np.array([1.0, 1.01, 1e9, -1.0]))
    >>> counts.nonzero()[0].tolist(), counts[321].item()
    ([321, 1025, 1026], 2)
    """
    times = np.ascontiguousarray(milliseconds, dtype=np.float64)
    cells = (times.view(np.int64) >> _FRACTION_BITS) - (_FIRST - 1)
    # the bits of positive floats are ordered like the floats, infinity included
    np.clip(cells, SHORTER, LONGER, out=cells)
    cells[~(times >= 0)] = MISSING
    return np.bincount(cells, minlength=SIZE).astype(np.int64)


def quantiles(counts: Counts, shares: Sequence[float]) -> list[float | None]:
    """Return the latency that each share of the rows does not exceed (nearest rank).

    None when nothing was measured; 2 ** -10 for shorter ones, inf for longer ones.

    Ten rows, nine at 1 ms and one at 8 ms: the median's cell is 1 to 33/32 ms, and the
    value within 1/65 of all of it is 66/65.

    >>> seen = count_latency(np.array([1.0] * 9 + [8.0]))
    >>> [round(value, 4) for value in quantiles(seen, (0.5, 0.9, 0.95))]
    [1.0154, 1.0154, 8.1231]
    """
    if not all(0 <= share <= 1 for share in shares):
        raise Invalid.field("shares", "must lie between 0 and 1")
    below = np.cumsum(counts[:MISSING])
    rows = int(below[-1])
    if rows == 0:
        return [None] * len(shares)
    # a rank that floating point pushes just over a whole number is that number
    ranks = [max(1, math.ceil(share * rows - 1e-9)) for share in shares]
    return [_value(int(cell)) for cell in np.searchsorted(below, ranks)]


def _value(cell: int) -> float:
    if cell == SHORTER:
        return SHORTEST
    if cell == LONGER:
        return math.inf
    low, high = _edge(cell - 1), _edge(cell)
    # equally far, relatively, from both ends
    return 2 * low * high / (low + high)


def _edge(cell: int) -> float:
    octave, part = divmod(cell, OCTAVE)
    return SHORTEST * 2.0**octave * (1 + part / OCTAVE)
