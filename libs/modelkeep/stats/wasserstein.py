"""The first Wasserstein distance: how far rows must move, in the column's own unit.

W = integral |F - G| dx (Vallender, "Calculation of the Wasserstein distance between
probability distributions on the line", Theory of Probability and its Applications 18
(1974), 784-786), from fine cells (see `fine`). Within a cell rows are taken to be
spread evenly. Beyond the outermost cells, 255 spreads away, each side's sum of excess
stands in: there one outlier of a million counts for its whole way, and no cell for it.

`least` and `most` bracket the distance of the rows whatever their places within cells
(to 1e-5 relatively, see `edges_of`; an excess is rounded to 1/8 of a spread). The even
spread is good to a few percent where there is drift; where there is none, the distance
is small, and so is the error, but not relatively: read it beside the bracket.

`normed` is the distance in standard deviations of the baseline, Evidently's convention;
None when the baseline is constant.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Floats
from modelkeep.stats.fine import (
    BEYOND,
    EXCESS_UNIT,
    SHORT,
    FineProfile,
    folded_edges,
)


class Wasserstein(NamedTuple):
    distance: float
    least: float
    most: float
    normed: float | None
    rows: int
    baseline_rows: int


def wasserstein(baseline: FineProfile, window: FineProfile) -> dict[str, Wasserstein]:
    """Return a result by column, of those that both sides have values of.

    Rows spread evenly over 0 to 100 move up by 10:

    >>> from modelkeep.stats.fine import FineBaseline
    >>> rows = np.arange(10_000) / 100
    >>> steady = FineBaseline.fit({"x": rows})
    >>> moved = steady.profile({"x": rows + 10})
    >>> round(wasserstein(steady.reference, moved)["x"].distance, 1)
    10.0
    """
    layout = baseline.layout
    if layout.digest != window.layout.digest:
        raise Invalid.field("window", "was counted in another layout")
    before = baseline.cells.sum(axis=1)
    after = window.cells.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance, least, most = _within(
            baseline.cells / before[:, None], window.cells / after[:, None]
        )
        apart, both = _beyond(
            baseline.counts / before[:, None], window.counts / after[:, None]
        )
    found: dict[str, Wasserstein] = {}
    for place, scale in enumerate(layout.scales):
        if not (before[place] and after[place]):
            continue
        told = (
            float(distance[place] + apart[place]) * scale.spread,
            float(least[place] + apart[place]) * scale.spread,
            float(most[place] + both[place]) * scale.spread,
        )
        normed = told[0] / scale.deviation if scale.deviation else None
        rows = (int(after[place]), int(before[place]))
        found[scale.name] = Wasserstein(*told, normed, *rows)
    return found


def _within(p: Floats, q: Floats) -> tuple[Floats, Floats, Floats]:
    """Return distance, least and most over the 510 inner cells, in spreads."""
    width = np.diff(folded_edges())
    gap = np.cumsum(p - q, axis=1)
    start, end = gap[:, :-2], gap[:, 1:-1]
    p, q = p[:, 1:-1], q[:, 1:-1]
    # the difference is a line from start to end; where it changes sign, two triangles
    steep = np.abs(start) + np.abs(end)
    crossed = np.where(start * end < 0, 2 * np.abs(start * end) / steep, 0.0)
    even = (steep / 2 - np.where(steep > 0, crossed, 0.0) / 2) @ width
    low, high = start - q, start + p
    nearest = np.maximum(0.0, np.maximum(low, -high))
    return even, nearest @ width, np.maximum(np.abs(low), np.abs(high)) @ width


def _beyond(p: Floats, q: Floats) -> tuple[Floats, Floats]:
    """Return least and most over both tails, in spreads; `p`, `q` are a share a row."""
    tails = [SHORT, BEYOND]
    least = np.abs(p[:, tails] - q[:, tails]).sum(axis=1) * EXCESS_UNIT
    most = (p[:, tails] + q[:, tails]).sum(axis=1) * EXCESS_UNIT
    return least, most
