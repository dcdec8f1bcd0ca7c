"""Calibration: whether scores say how often things come true.

In the large: mean outcome less mean score (Cox, "Two further applications of a model
for binary regression", Biometrika 45 (1958), 562-565, in its additive form). Expected
calibration error: the mean distance between score and outcome over equal cells of the
score, weighted by rows (Naeini, Cooper & Hauskrecht, AAAI 2015); it is biased upwards
in small samples, and has no interval here.
"""

from __future__ import annotations

import numpy as np

from modelkeep.stats.bins import Column
from modelkeep.stats.pairs import Estimate, known_pairs, mean_estimate
from modelkeep.stats.wilson import NORMAL_95


def calibration_in_the_large(scores: Column, outcomes: Column) -> Estimate | None:
    """Return above 0 when more came true than was said; None when empty.

    >>> calibration_in_the_large(np.array([0.25, 0.25]), np.array([0, 1])).value
    0.25
    """
    said, true = known_pairs(scores, outcomes)
    return mean_estimate(true - said, NORMAL_95)


def expected_calibration_error(
    scores: Column, outcomes: Column, cells: int = 10
) -> float | None:
    """Return the error over `cells` equal cells of [0, 1]; None when empty.

    Scores beyond the range fall into the outer cells. Two rows at .25, one true, and
    two at .75, both true: half of |.5 - .25| and half of |1 - .75|.

    >>> scores, outcomes = np.array([0.25, 0.25, 0.75, 0.75]), np.array([0, 1, 1, 1])
    >>> expected_calibration_error(scores, outcomes)
    0.25
    """
    said, true = known_pairs(scores, outcomes)
    if not said.size:
        return None
    cell = np.clip(np.floor(said * cells), 0, cells - 1).astype(np.int64)
    gaps = np.bincount(cell, weights=true - said, minlength=cells)
    return float(np.abs(gaps).sum()) / said.size
