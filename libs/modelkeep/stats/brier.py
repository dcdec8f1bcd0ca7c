"""The Brier score: the mean squared distance of a probability from what came true.

Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
Review 78 (1950), 1-3, in its one-sided binary form: 0 is perfect, .25 a constant .5.
"""

from __future__ import annotations

from modelkeep.stats.bins import Column
from modelkeep.stats.pairs import Estimate, known_pairs, mean_estimate
from modelkeep.stats.wilson import NORMAL_95


def brier(scores: Column, outcomes: Column) -> Estimate | None:
    """Return None when empty; rows with NaN are left out. The interval is normal.

    >>> import numpy as np
    >>> brier(np.array([0.5, 1.0]), np.array([1, 1])).value
    0.125
    """
    said, true = known_pairs(scores, outcomes)
    found = mean_estimate((said - true) ** 2, NORMAL_95)
    return found and found._replace(low=max(0.0, found.low))
