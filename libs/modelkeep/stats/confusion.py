"""The confusion matrix at a threshold, and the rates read from it.

A score at or above the threshold says yes. Every rate has Wilson's interval (see
`wilson`) and is None where nothing could be counted. Matrices of batches add up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.stats.bins import Column
from modelkeep.stats.pairs import Estimate, known_pairs
from modelkeep.stats.wilson import wilson


class Confusion(NamedTuple):
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def n(self) -> int:
        return sum(self)

    def plus(self, other: Confusion) -> Confusion:
        return Confusion(*(a + b for a, b in zip(self, other, strict=True)))

    def accuracy(self) -> Estimate | None:
        return _rate(self.true_positives + self.true_negatives, self.n)

    def false_positive_rate(self) -> Estimate | None:
        """Return the share of yes among those that were no."""
        return _rate(self.false_positives, self.false_positives + self.true_negatives)

    def precision(self) -> Estimate | None:
        """Return the share of true among those said yes."""
        return _rate(self.true_positives, self.true_positives + self.false_positives)

    def recall(self) -> Estimate | None:
        """Return the share of yes among those that were true."""
        return _rate(self.true_positives, self.true_positives + self.false_negatives)

    def base_rate(self) -> Estimate | None:
        """Return the share of true among all."""
        return _rate(self.true_positives + self.false_negatives, self.n)


def confusion(scores: Column, outcomes: Column, threshold: float = 0.5) -> Confusion:
    """Count the four cases; rows with NaN are left out.

    >>> confusion(np.array([0.9, 0.5, 0.1, 0.2]), np.array([1, 0, 0, 1]))
    Confusion(true_positives=1, false_positives=1, true_negatives=1, false_negatives=1)
    """
    said, true = known_pairs(scores, outcomes)
    yes, right = said >= threshold, true == 1
    hits = int(np.count_nonzero(yes & right))
    said_yes, were_true = int(np.count_nonzero(yes)), int(np.count_nonzero(right))
    return Confusion(
        true_positives=hits,
        false_positives=said_yes - hits,
        true_negatives=said.size - said_yes - were_true + hits,
        false_negatives=were_true - hits,
    )


def _rate(hits: int, n: int) -> Estimate | None:
    return Estimate(hits / n, n, *wilson(hits, n)) if n else None
