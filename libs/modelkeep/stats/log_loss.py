"""Log loss: the surprise at what came true, given the probability said, in nats.

-ln p where it came true, -ln (1 - p) where not (Good, "Rational decisions", Journal of
the Royal Statistical Society B 14 (1952), 107-114). A constant .5 has ln 2 = .693. A
certainty that was wrong would be infinitely surprising: probabilities are kept 2 ** -52
away from 0 and 1, so that it counts 36.04, as scikit-learn has it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Floats
from modelkeep.stats.pairs import Estimate, known_pairs, mean_estimate
from modelkeep.stats.wilson import NORMAL_95

LEAST: Final = 2.0**-52


def log_loss(scores: Column, outcomes: Column) -> Estimate | None:
    """Return None when empty; rows with NaN are left out. The interval is normal.

    Raises Invalid for scores that are no probabilities. Half a quarter's surprise and
    half that of a half: (2 ln 2 + ln 2) / 2.

    >>> found = log_loss(np.array([0.25, 0.5]), np.array([1, 0]))
    >>> round(found.value / np.log(2).item(), 6)
    1.5
    """
    said, true = known_pairs(scores, outcomes)
    found = mean_estimate(log_losses(said, true), NORMAL_95)
    return found and found._replace(low=max(0.0, found.low))


def log_losses(said: Floats, true: Floats) -> Floats:
    """Return the loss of each row; both are known."""
    if said.size and not 0 <= said.min() <= said.max() <= 1:
        raise Invalid.field("scores", "a probability lies between 0 and 1")
    right = np.where(true == 1, said, 1 - said)
    losses: Floats = -np.log(np.clip(right, LEAST, 1 - LEAST))
    return losses
