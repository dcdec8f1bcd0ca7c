"""The first Wasserstein distance: how far rows must move, in the column's own unit.

W = integral |F - G| dx (Vallender, "Calculation of the Wasserstein distance between
probability distributions on the line", Theory of Probability and its Applications 18
(1974), 784-786), from fine cells (see `fine`). Within a cell rows are taken to be
spread evenly. Beyond the outermost cells, 127 spreads away, each side's sum of excess
stands in: there one outlier of a million counts for its whole way, and no cell for it.

`bounds` bracket the distance of the rows whatever their places within cells (to 1e-5
relatively, see `edges_of`; an excess is rounded to 1/8 of a spread). The even spread is
good to a few percent where there is drift; where there is none, the distance is small,
and so is the error, but not relatively: read it beside the bracket.

`normed` is the distance in standard deviations of the baseline, Evidently's convention;
None when the baseline is constant.
"""

from __future__ import annotations

from typing import Final, NamedTuple

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
from modelkeep.stats.wilson import Interval

WIDTHS: Final = np.diff(folded_edges())
"""Of the inner cells, in spreads."""


class Wasserstein(NamedTuple):
    distance: float
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
    _check(baseline, window)
    before, after = baseline.known.tolist(), window.known.tolist()
    inner, (apart, _) = _even(baseline, window), _beyond(baseline, window)
    found: dict[str, Wasserstein] = {}
    told = zip(
        baseline.layout.scales, (inner + apart).tolist(), after, before, strict=True
    )
    for scale, far, rows, baseline_rows in told:
        if rows and baseline_rows:
            distance = far * scale.spread
            normed = distance / scale.deviation if scale.deviation else None
            found[scale.name] = Wasserstein(distance, normed, rows, baseline_rows)
    return found


def bounds(baseline: FineProfile, window: FineProfile) -> dict[str, Interval]:
    """Return what the distance of the rows lies between, by column.

    However rows lie within a cell, the difference of the shares there is at least
    start - q and at most start + p.
    """
    _check(baseline, window)
    start = (baseline.cumulative - window.cumulative)[:, :-2]
    low, high = start - window.shares[:, 1:-1], start + baseline.shares[:, 1:-1]
    apart, both = _beyond(baseline, window)
    least = np.maximum(0.0, np.maximum(low, -high)) @ WIDTHS + apart
    most = np.maximum(high, -low) @ WIDTHS + both
    known = (np.minimum(baseline.known, window.known) > 0).tolist()
    told = zip(
        baseline.layout.scales, least.tolist(), most.tolist(), known, strict=True
    )
    return {
        scale.name: Interval(few * scale.spread, many * scale.spread)
        for scale, few, many, compared in told
        if compared
    }


def _check(baseline: FineProfile, window: FineProfile) -> None:
    if baseline.layout.digest != window.layout.digest:
        raise Invalid.field("window", "was counted in another layout")


def _even(baseline: FineProfile, window: FineProfile) -> Floats:
    """Return the distance over the inner cells, in spreads, rows spread evenly."""
    gap = baseline.cumulative - window.cumulative
    size = np.abs(gap)
    # the difference is a line from cell to cell
    even = size[:, :-2] + size[:, 1:-1]
    even /= 2
    product = (gap[:, :-2] * gap[:, 1:-1]).ravel()
    # where it changes sign there are two triangles, not one trapezium
    turned, flat = np.flatnonzero(product < 0), even.ravel()
    flat[turned] += product[turned] / (2 * flat[turned])
    found: Floats = even @ WIDTHS
    return found


def _beyond(baseline: FineProfile, window: FineProfile) -> tuple[Floats, Floats]:
    """Return least and most over both tails, in spreads."""
    p, q = (
        side.counts[:, SHORT : BEYOND + 1] / np.maximum(side.known, 1)[:, None]
        for side in (baseline, window)
    )
    least: Floats = np.abs(p - q).sum(axis=1) * EXCESS_UNIT
    most: Floats = (p + q).sum(axis=1) * EXCESS_UNIT
    return least, most
