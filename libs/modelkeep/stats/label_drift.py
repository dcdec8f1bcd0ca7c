"""Label drift: whether outcomes have become more or less frequent.

The window's share of true outcomes less the baseline's, with Newcombe's interval (see
`newcombe`). It does not say why: other cases came (see `concept_drift` for the mix), or
the same cases came to mean something else (the rate).
"""

from __future__ import annotations

from typing import NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Counts
from modelkeep.stats.newcombe import difference


class LabelDrift(NamedTuple):
    difference: float
    low: float
    high: float
    share: float
    baseline_share: float
    n: int
    baseline_n: int

    @property
    def drifted(self) -> bool:
        """Chance is excluded at 95 %."""
        return not self.low <= 0 <= self.high


def label_drift(baseline: Counts, window: Counts) -> LabelDrift | None:
    """Compare tables of rows by outcome (0, 1) and anything; None when either is empty.

    >>> import numpy as np
    >>> found = label_drift(np.array([[900], [100]]), np.array([[80], [20]]))
    >>> round(found.difference, 6), found.drifted
    (0.1, True)
    """
    for table in (baseline, window):
        if table.ndim != 2 or table.shape[0] != 2:  # noqa: PLR2004 - two outcomes
            raise Invalid.field("table", f"has shape {table.shape}, not two rows")
    n, before = int(window.sum()), int(baseline.sum())
    if not (n and before):
        return None
    true, was = int(window[1].sum()), int(baseline[1].sum())
    low, high = difference(true, n, was, before)
    share, baseline_share = true / n, was / before
    return LabelDrift(
        share - baseline_share, low, high, share, baseline_share, n, before
    )
