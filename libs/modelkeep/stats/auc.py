"""AUC: how often a positive scores above a negative, ties counting half.

Exact with ties. The interval is that of DeLong, DeLong & Clarke-Pearson, "Comparing the
areas under two or more correlated ROC curves", Biometrics 44 (1988), 837-845, computed
on groups of equal score, so that an array of scores and a table of score cells share
one formula; a table's AUC treats a cell as a tie.
"""

from __future__ import annotations

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Counts, Floats
from modelkeep.stats.pairs import Estimate, known_pairs
from modelkeep.stats.wilson import NORMAL_95, wilson


def auc(scores: Column, outcomes: Column) -> Estimate | None:
    """Return None when either class is absent; rows with NaN are left out.

    Positives .4 and .8, negatives .3 and .4: of four pairs three are won and one tied.

    >>> auc(np.array([0.4, 0.8, 0.3, 0.4]), np.array([1, 1, 0, 0])).value
    0.875
    """
    said, true = known_pairs(scores, outcomes)
    _, group = np.unique(said, return_inverse=True)
    groups = int(group.max()) + 1 if group.size else 1
    positives = np.bincount(group[true == 1], minlength=groups)
    negatives = np.bincount(group[true == 0], minlength=groups)
    return auc_of_table(np.stack([negatives, positives]).astype(np.int64))


def auc_of_table(table: Counts) -> Estimate | None:
    """Return the AUC of rows by outcome (0, 1) and ascending score: [2, any].

    Where the data show no variance (perfect separation, or one row of a class) the
    interval is Wilson's, with as many trials as the rarer class has rows.
    """
    if table.ndim != 2 or table.shape[0] != 2:  # noqa: PLR2004 - two outcomes
        raise Invalid.field("table", f"has shape {table.shape}, not two rows")
    negatives, positives = table.astype(np.float64)
    zeros, ones = float(negatives.sum()), float(positives.sum())
    if not (zeros and ones):
        return None
    # the share of the other class that each group beats, or loses to
    beaten = (np.cumsum(negatives) - negatives / 2) / zeros
    losing = (ones - np.cumsum(positives) + positives / 2) / ones
    area = float(positives @ beaten) / ones
    variance = _variance(beaten, positives, area) + _variance(losing, negatives, area)
    n = int(zeros + ones)
    if not 0 < variance < np.inf:
        low, high = wilson(area * min(zeros, ones), min(zeros, ones))
        return Estimate(area, n, low, high)
    half = NORMAL_95 * variance**0.5
    return Estimate(area, n, max(0.0, area - half), min(1.0, area + half))


def _variance(placed: Floats, rows: Floats, area: float) -> float:
    """Return the variance of the mean placement of one class; inf of a single row."""
    n = float(rows.sum())
    if n < 2:  # noqa: PLR2004 - two rows are the least that differ
        return float("inf")
    return float(rows @ (placed - area) ** 2) / (n - 1) / n
