"""Judged rows: scores beside outcomes, kept as integers that add up.

What `performance` reads from rows can be read from these long after the rows are gone,
and outcomes that arrive late are simply added. The counts are exact; means and their
intervals are within 2 ** -33 of the rows' (see `moments`); the AUC treats each of 64
score cells as a tie, and `auc_slack` bounds what that can cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.auc import auc_of_table
from modelkeep.stats.bins import Column, Counts
from modelkeep.stats.confusion import Confusion, confusion
from modelkeep.stats.log_loss import log_losses
from modelkeep.stats.moments import UNIT, Moments, moments
from modelkeep.stats.pairs import Estimate, known_pairs
from modelkeep.stats.performance import Performance
from modelkeep.stats.scores import CELLS, outcome_table

TENTHS: Final = 10
"""Equal cells of the score over which calibration is judged."""


class _Sums(NamedTuple):
    brier: Moments = Moments()
    log_loss: Moments = Moments()
    gap: Moments = Moments()


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows with both score and outcome, at one threshold.

    `table` has rows by outcome and score cell, `gaps` the sum of outcome less score in
    each tenth, in units of 2 ** -32. Rows whose score is no probability are in none:
    they are `outside`.
    """

    threshold: float
    matrix: Confusion
    table: Counts
    sums: _Sums
    gaps: tuple[int, ...]
    outside: int

    @classmethod
    def empty(cls, threshold: float = 0.5) -> Self:
        table = np.zeros((2, CELLS), dtype=np.int64)
        matrix = Confusion(0, 0, 0, 0)
        return cls(threshold, matrix, table, _Sums(), (0,) * TENTHS, 0)

    def __add__(self, other: Judged) -> Judged:
        """Raise Invalid when the other was judged at another threshold."""
        if self.threshold != other.threshold:
            raise Invalid.field("threshold", "rows of two thresholds do not add")
        return Judged(
            self.threshold,
            self.matrix.plus(other.matrix),
            self.table + other.table,
            _Sums(*(a.plus(b) for a, b in zip(self.sums, other.sums, strict=True))),
            tuple(a + b for a, b in zip(self.gaps, other.gaps, strict=True)),
            self.outside + other.outside,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Judged) and self._told() == other._told()

    def __hash__(self) -> int:
        return hash(self._told())

    @property
    def n(self) -> int:
        return self.matrix.n

    @property
    def auc_slack(self) -> float | None:
        """Return how far the AUC of the rows can lie from that of the cells.

        Half the share of pairs whose order a cell does not tell.
        """
        negatives, positives = self.table.astype(np.float64)
        pairs = float(negatives.sum() * positives.sum())
        return float(negatives @ positives) / pairs / 2 if pairs else None

    def performance(self) -> Performance:
        """Return every figure of a binary model; None where nothing can be said."""
        matrix, sums = self.matrix, self.sums
        return Performance(
            n=self.n,
            auc=auc_of_table(self.table),
            brier=_loss(sums.brier),
            accuracy=matrix.accuracy(),
            false_positive_rate=matrix.false_positive_rate(),
            precision=matrix.precision(),
            recall=matrix.recall(),
            base_rate=matrix.base_rate(),
            gap=sums.gap.estimate(),
            calibration_error=self._calibration_error(),
            log_loss=_loss(sums.log_loss),
        )

    def _calibration_error(self) -> float | None:
        return sum(map(abs, self.gaps)) * UNIT / self.n if self.n else None

    def _told(self) -> tuple[object, ...]:
        table = self.table.tobytes()
        return (
            self.threshold,
            self.matrix,
            table,
            self.sums,
            self.gaps,
            self.outside,
        )


def judge(scores: Column, outcomes: Column, threshold: float = 0.5) -> Judged:
    """Sum up a batch; rows with NaN in either are left out.

    >>> seen = judge(np.array([0.25, 0.75]), np.array([0, 1]))
    >>> told = seen.performance()
    >>> told.n, told.auc.value, told.brier.value, told.calibration_error
    (2, 1.0, 0.0625, 0.25)
    """
    said, true = known_pairs(scores, outcomes)
    inside = (said >= 0) & (said <= 1)
    outside = int(np.count_nonzero(~inside))
    said, true = said[inside], true[inside]
    cell = np.minimum(np.floor(said * TENTHS), TENTHS - 1).astype(np.int64)
    gap = np.rint((true - said) / UNIT)
    # float64 adds these exactly up to 2 ** 21 rows: whole numbers of at most 32 bits
    step = 2**20
    gaps = np.zeros(TENTHS, dtype=np.int64)
    for start in range(0, said.size, step):
        part = slice(start, start + step)
        found = np.bincount(cell[part], weights=gap[part], minlength=TENTHS)
        gaps += found.astype(np.int64)
    return Judged(
        threshold,
        confusion(said, true, threshold),
        outcome_table(said, true),
        _Sums(
            moments((said - true) ** 2),
            moments(log_losses(said, true)),
            moments(true - said),
        ),
        tuple(gaps.tolist()),
        outside,
    )


def _loss(sums: Moments) -> Estimate | None:
    found = sums.estimate()
    return found and found._replace(low=max(0.0, found.low))
