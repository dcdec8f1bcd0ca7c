"""Confidence-based performance estimation: how good a model is before the truth is in.

A calibrated score is the chance that the case is true, so counts of scores tell how
many true and false positives to expect, and all that follows from them (NannyML's CBPE;
Białek et al., "Estimating model performance under covariate shift without labels",
arXiv 2401.08348, describe it and weigh it further). Calibration is isotonic regression
of outcomes on the baseline's score cells (Ayer et al., "An empirical distribution
function for sampling with incomplete information", Annals of Mathematical Statistics 26
(1955), 641-647).

**Blind to concept drift**: if the same score has come to mean another chance, nothing
here can see it. Every estimate says so.

Counts are of ascending cells of the score, 64 equal ones (see `scores`) or fine ones
(see `fine`), without scores outside or missing; they add up over any split of the rows.
The interval is where the realised figure of these rows will lie in 95 % of cases if the
concept holds: chance of their outcomes, and of the baseline's behind the calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Counts, Floats
from modelkeep.stats.pairs import Estimate
from modelkeep.stats.wilson import NORMAL_95

CAVEAT: Final = "estimated without outcomes; blind to concept drift"


@dataclass(frozen=True)
class Calibration:
    """The chance of each score cell, ascending, and the baseline rows behind it."""

    chances: tuple[float, ...]
    rows: tuple[float, ...]

    # every window asks for these

    @cached_property
    def true(self) -> Floats:
        return np.array(self.chances)

    @cached_property
    def false(self) -> Floats:
        miss: Floats = 1 - self.true
        return miss

    @cached_property
    def spread(self) -> Floats:
        """Return the variance of one outcome in each cell."""
        return self.true * self.false

    @cached_property
    def doubt(self) -> Floats:
        """Return what the baseline's rows leave open, in variances of one outcome."""
        each: Floats = 1 / np.maximum(np.array(self.rows), 1)
        return each


class PerformanceEstimate(NamedTuple):
    """What to expect of `n` rows if the concept holds. None where nothing can be."""

    n: int
    auc: Estimate | None
    accuracy: Estimate | None
    false_positive_rate: Estimate | None
    precision: Estimate | None
    recall: Estimate | None
    base_rate: Estimate | None
    caveat: str = CAVEAT


def calibrate(table: Counts) -> Calibration | None:
    """Fit to baseline rows by outcome (0, 1) and score cell; None without rows.

    Cells that no row is in lie on the line between their neighbours.

    The second cell has fewer true than the first, so both share 3 of 6:

    >>> calibrate(np.array([[1, 2, 1], [2, 1, 3]])).chances
    (0.5, 0.5, 0.75)
    """
    if table.ndim != 2 or table.shape[0] != 2:  # noqa: PLR2004 - two outcomes
        raise Invalid.field("table", f"has shape {table.shape}, not two rows")
    rows = table.sum(axis=0)
    used = np.flatnonzero(rows)
    if not used.size:
        return None
    blocks: list[list[int]] = []
    for cell in used.tolist():
        blocks.append([int(table[1, cell]), int(rows[cell]), 1])
        # pool while a block is truer than the one above it
        while len(blocks) > 1 and _falls(blocks[-2], blocks[-1]):
            true, seen, cells = blocks.pop()
            blocks[-1] = [
                blocks[-1][0] + true,
                blocks[-1][1] + seen,
                blocks[-1][2] + cells,
            ]
    sizes = [cells for _, _, cells in blocks]
    chances = np.repeat([true / seen for true, seen, _ in blocks], sizes)
    behind = np.repeat([float(seen) for _, seen, _ in blocks], sizes)
    place = np.arange(table.shape[1])
    return Calibration(
        tuple(np.interp(place, used, chances).tolist()),
        tuple(np.interp(place, used, behind).tolist()),
    )


def estimate_performance(
    calibration: Calibration, counts: Counts, threshold_place: float
) -> PerformanceEstimate:
    """Say what to expect of a window's counts by score cell.

    The threshold lies at cell `threshold_place`: 32 for .5 of 64 equal cells. Within a
    cell that it cuts rows are taken to be spread evenly, which can shift a rate by no
    more than that cell's share of the rows it is of.

    Ten rows of chance .2 said no, ten of .8 said yes: 16 of 20 will be right.

    >>> told = Calibration((0.2, 0.8), (1e9, 1e9))
    >>> seen = estimate_performance(told, np.array([10, 10]), 1)
    >>> [round(e.value, 6) for e in (seen.accuracy, seen.precision, seen.recall)]
    [0.8, 0.8, 0.8]
    """
    if counts.shape != (len(calibration.chances),):
        raise Invalid.field("counts", "has other cells than the calibration")
    chance, miss = calibration.true, calibration.false
    rows = counts.astype(np.float64)
    n = int(counts.sum())
    if n == 0:
        return PerformanceEstimate(0, None, None, None, None, None, None)
    yes = rows * _above(rows.size, threshold_place)
    true, false = rows * chance, rows * miss
    hits, alarms = float(yes @ chance), float(yes @ miss)
    right = hits + float((rows - yes) @ miss)
    ones, zeros, said = float(true.sum()), float(false.sum()), float(yes.sum())
    recall, alarm_rate = hits / ones if ones else 0.0, alarms / zeros if zeros else 0.0
    # how each figure moves with the chance of a cell: by its rows, and by those above
    slopes = np.empty((6, rows.size))
    area, slopes[0] = _auc(true, false)
    slopes[0] *= rows
    moves = [
        (-1 / n, 2 / n),
        (alarm_rate / zeros, -1 / zeros) if zeros else (0.0, 0.0),
        (0.0, 1 / said) if said else (0.0, 0.0),
        (-recall / ones, 1 / ones) if ones else (0.0, 0.0),
        (1 / n, 0.0),
    ]
    np.matmul(moves, (rows, yes), out=slopes[1:])
    # what chance leaves open in each cell; one without rows moves nothing
    doubt = (1 / np.maximum(rows, 1) + calibration.doubt) * calibration.spread
    slopes *= slopes
    half = iter((NORMAL_95 * np.sqrt(slopes @ doubt)).tolist())
    return PerformanceEstimate(
        n,
        _within(area, n, next(half)),
        _within(right / n, n, next(half)),
        _within(alarm_rate if zeros else None, n, next(half)),
        _within(hits / said if said else None, n, next(half)),
        _within(recall if ones else None, n, next(half)),
        _within(ones / n, n, next(half)),
    )


@lru_cache(maxsize=256)
def _above(cells: int, threshold_place: float) -> Floats:
    """Return the part of each cell that lies above a threshold."""
    found: Floats = np.clip(np.arange(cells) + 1 - threshold_place, 0, 1)
    found.flags.writeable = False
    return found


def _auc(true: Floats, false: Floats) -> tuple[float | None, Floats]:
    """Return the area, and how it moves with the chance of a row in each cell."""
    ones, zeros = float(true.sum()), float(false.sum())
    if not (ones and zeros):
        return None, np.zeros(true.size)
    # the share of the other class that each cell beats, or loses to; a cell is a tie
    beaten = (np.cumsum(false) - false / 2) / zeros
    losing = (ones - np.cumsum(true) + true / 2) / ones
    area = float(true @ beaten) / ones
    return area, (beaten - area) / ones - (losing - area) / zeros


def _within(value: float | None, n: int, half: float) -> Estimate | None:
    if value is None:
        return None
    return Estimate(value, n, max(0.0, value - half), min(1.0, value + half))


def _falls(lower: list[int], upper: list[int]) -> bool:
    # shares compared as whole numbers, so that equal ones are equal
    return lower[0] * upper[1] >= upper[0] * lower[1]
