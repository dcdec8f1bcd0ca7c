"""Score cells: a histogram of 64 equal cells that adds up over any split of the rows.

Two more cells follow: scores outside the range, infinities included, and missing ones
(NaN). With outcomes beside them the cells make a table from which AUC, calibration and
label-free estimates can be had long after the rows are gone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modelkeep.decisions.kernel import kernel
from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Counts, is_whole

CELLS: Final = 64
OUTSIDE: Final = 64
MISSING: Final = 65
SIZE: Final = 66
F8: Final = np.dtype(np.float64)
CHUNK: Final = 32_768
"""Scores at a time: what is made of them on the way stays in the cache."""
PAIRED: Final = 8_192
"""Scores from which counting them in pairs is worth the larger table."""


def cells_of(scores: Column, low: float = 0.0, high: float = 1.0) -> Counts:
    """Return the cell of each score; the last cell holds `high` as well.

    On [0, 1] this is exact: multiplying by 64 does not round.

    >>> cells_of(np.array([0.0, 0.5, 1.0, 1.5, np.nan])).tolist()
    [0, 32, 63, 64, 65]
    """
    if not low < high:
        raise Invalid.field("scores", f"range {low} to {high} is empty")
    numbers = np.asarray(scores, dtype=np.float64)
    inside = (numbers >= low) & (numbers <= high)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (numbers - low) * (CELLS / (high - low))
    np.minimum(scaled, CELLS - 1, out=scaled)
    if not inside.all():
        scaled[~inside] = OUTSIDE
        scaled[np.isnan(numbers)] = MISSING
    return scaled.astype(np.int64)


def count_scores(scores: Column, low: float = 0.0, high: float = 1.0) -> Counts:
    counts = np.zeros(SIZE, dtype=np.int64)
    compiled = kernel() if is_whole(scores) and (low, high) == (0.0, 1.0) else None
    if compiled is not None and compiled.scores(scores.astype(F8, copy=False), counts):
        return counts
    # doubles, as most are, and so many that room for them is worth making
    paired = len(scores) > PAIRED and scores.dtype == F8 and (low, high) == (0.0, 1.0)
    pairs = _Pairs() if paired else None
    # never less than once: an impossible range is refused for no rows as well
    for start in range(0, max(1, len(scores)), CHUNK):
        part = scores[start : start + CHUNK]
        if pairs is None or not pairs.take(part):
            counts += np.bincount(cells_of(part, low, high), minlength=SIZE)
    if pairs is not None:
        counts[:CELLS] += pairs.counts()
    return counts


class _Pairs:
    """Scores in [0, 1] counted two by two, because looking up a place takes longest."""

    def __init__(self) -> None:
        self._scaled = np.empty(CHUNK)
        self._cells = np.empty(CHUNK, dtype=np.int32)
        self._places = np.empty(CHUNK // 2, dtype=np.intp)
        self._pairs = np.zeros(CELLS * CELLS, dtype=np.int64)
        self._odd = np.zeros(CELLS, dtype=np.int64)

    def take(self, scores: Column) -> bool:
        """Count them if all lie in the range; NaN lies nowhere."""
        least, most = float(np.min(scores)), float(np.max(scores))
        if not (least >= 0 and most <= 1):
            return False
        scaled, cells = self._scaled[: scores.size], self._cells[: scores.size]
        np.multiply(scores, CELLS, out=scaled)
        np.copyto(cells, scaled, casting="unsafe")
        if most == 1:
            np.minimum(cells, CELLS - 1, out=cells)
        half = scores.size // 2
        one, places = cells[:half], self._places[:half]
        one *= CELLS
        one += cells[half : 2 * half]
        np.copyto(places, one)
        self._pairs += np.bincount(places, minlength=CELLS * CELLS)
        if scores.size % 2:
            self._odd[cells[-1]] += 1
        return True

    def counts(self) -> Counts:
        both = self._pairs.reshape(CELLS, CELLS)
        found: Counts = both.sum(axis=0) + both.sum(axis=1) + self._odd
        return found


def outcome_table(scores: Column, outcomes: Column) -> Counts:
    """Return rows by outcome (0, 1) and score cell: [2, 64]; tables add up.

    Rows whose score is missing or outside [0, 1], or whose outcome is NaN, are left
    out.
    Raises Invalid when an outcome is neither 0, 1 nor NaN.

    >>> table = outcome_table(np.array([0.1, 0.9, 0.95]), np.array([0, 1, 0]))
    >>> [row.nonzero()[0].tolist() for row in table]
    [[6, 60], [57]]
    """
    truth = np.asarray(outcomes, dtype=np.float64)
    check_outcomes(truth)
    cells = cells_of(scores)
    kept = (cells < CELLS) & ~np.isnan(truth)
    place = truth[kept].astype(np.int64) * CELLS + cells[kept]
    return np.bincount(place, minlength=2 * CELLS).astype(np.int64).reshape(2, CELLS)


def check_outcomes(truth: Column) -> None:
    if not np.all(np.isnan(truth) | (truth == 0) | (truth == 1)):
        raise Invalid.field("outcomes", "must be 0, 1 or missing")
