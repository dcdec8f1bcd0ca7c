"""Clopper and Pearson's bounds: exact limits of a share, never too narrow.

Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of
the binomial", Biometrika 26 (1934), 404-413. Where a guarantee rests on a bound, Wilson
(see `wilson`) is too short in small samples; these cover at least as often as they say.
Needs scipy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Counts, Floats


class Bounds(NamedTuple):
    low: Floats
    high: Floats


def clopper_pearson(hits: Counts, trials: Counts, error: float) -> Bounds:
    """Return limits, each of which fails with a probability of `error` at most.

    (0, 1) where nothing was tried. Raises Invalid unless 0 <= hits <= trials.

    No hit in 100 trials: the upper limit solves (1 - p) ** 100 = .05.

    >>> bounds = clopper_pearson(np.array([0]), np.array([100]), 0.05)
    >>> float(bounds.low[0]), round(float(bounds.high[0]), 6)
    (0.0, 0.029513)
    """
    from scipy.special import betaincinv  # noqa: PLC0415 - slow to import, seldom needed

    if not 0 < error < 1:
        raise Invalid.field("error", "must lie between 0 and 1")
    if np.any(hits < 0) or np.any(hits > trials):
        raise Invalid.field("hits", "are more than trials, or less than nothing")
    # counts repeat, and a limit costs far more than finding it again
    wide = int(np.max(trials, initial=0)) + 1
    keys, places = np.unique(trials * wide + hits, return_inverse=True)
    tried, found = np.divmod(keys, wide)
    missed = tried - found
    # the law has no such parameter where a limit is 0 or 1 by definition
    low = betaincinv(np.maximum(found, 1), missed + 1, error)
    high = betaincinv(found + 1, np.maximum(missed, 1), 1 - error)
    return Bounds(
        np.where(found == 0, 0.0, low)[places],
        np.where(missed == 0, 1.0, high)[places],
    )
