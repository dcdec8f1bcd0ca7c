"""Tolerance bands: how far a share may be from its baseline and still be no change.

An estimated baseline taken for the truth breaks every sequential guarantee: with enough
rows a window, its own error is found and called drift. So a band reaches as far as the
baseline leaves the true share open (see `clopper_pearson`), at a confidence for all
cells and seasons at once (Bonferroni), and no less far than what would matter to
anybody.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.stats.alarm_budget import Tolerance
from modelkeep.stats.bins import Counts, Floats
from modelkeep.stats.clopper_pearson import Bounds, clopper_pearson


class Band(NamedTuple):
    """Shares from `low` to `high` are no change; [season, cell]."""

    low: Floats
    high: Floats


def band(
    hits: Counts,
    trials: Counts,
    tolerance: Tolerance,
    cells: int | None = None,
    alike: int = 1,
) -> Band:
    """Return the bands around hits / trials; (0, 1) where nothing was tried.

    The confidence is for `cells` of them at once, all unless told. Where up to `alike`
    rows may be copies of one, so many count as one. Needs scipy.

    A tenth of a million rows: its error is far below the tenth that does not matter.

    >>> found = band(np.array([[100_000]]), np.array([[1_000_000]]), Tolerance())
    >>> round(float(found.low[0, 0]), 3), round(float(found.high[0, 0]), 3)
    (0.09, 0.11)
    """
    error = (1 - tolerance.confidence) / (
        2 * max(hits.size if cells is None else cells, 1)
    )
    exact = _exact(hits, trials, error, alike)
    share = hits / np.maximum(trials, 1)
    room = np.maximum(tolerance.relative * share, tolerance.absolute)
    return Band(
        np.where(trials > 0, np.clip(np.minimum(exact.low, share - room), 0, 1), 0.0),
        np.where(trials > 0, np.clip(np.maximum(exact.high, share + room), 0, 1), 1.0),
    )


def _exact(hits: Counts, trials: Counts, error: float, alike: int) -> Bounds:
    if alike == 1:
        return clopper_pearson(hits, trials, error)
    # both roundings of both counts, each where it makes the bounds wider
    few, many = hits // alike, -(-hits // alike)
    least, most = trials // alike, -(-trials // alike)
    return Bounds(
        clopper_pearson(few, most, error).low,
        clopper_pearson(np.minimum(many, least), least, error).high,
    )
