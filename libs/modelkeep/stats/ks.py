"""The Kolmogorov-Smirnov distance of two samples, from counts in ordered bins.

D = sup |F - G|, the largest gap between two cumulative shares (Smirnov, "Table for
estimating the goodness of fit of empirical distributions", Annals of Mathematical
Statistics 19 (1948), 279-281). Counts give the gap at the edges of bins, which is D of
the binned data; within a bin the gap of the rows themselves can be larger, and no more
than if all of one side lay at the bin's start and all of the other at its end:

    D  <=  D of the rows  <=  max_k max(F_k - G_(k-1), G_k - F_(k-1))

That bracket is rigorous, whatever the rows. `p` is the limit law of D sqrt(nm/(n+m))
(Kolmogorov), conservative for binned and for discrete data. With many rows it finds
shifts of no importance (.02 standard deviations at a million rows: p = 2e-8), so judge
`distance` against a tolerance, not `p` alone.

Missing values belong in no bin: leave them out of the counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Counts, Floats
from modelkeep.stats.fine import FineProfile


class KolmogorovSmirnov(NamedTuple):
    """`distance` is exact for the bins; that of the rows lies between it and `most`."""

    distance: float
    most: float
    p: float
    rows: int
    baseline_rows: int


def ks(baseline: Counts, window: Counts) -> KolmogorovSmirnov | None:
    """Compare counts over the same ascending bins; None when either is empty.

    Needs scipy. Shares .5, .5, 0 and 0, .5, .5: the gap is .5 at both inner edges, and
    within the second bin it could be 1 - 0.

    >>> found = ks(np.array([2, 2, 0]), np.array([0, 2, 2]))
    >>> found.distance, found.most
    (0.5, 1.0)
    """
    return ks_each(baseline[None], window[None])[0]


def ks_each(baseline: Counts, window: Counts) -> list[KolmogorovSmirnov | None]:
    """Return a result for each row of counts: [feature, bin]."""
    if baseline.shape != window.shape:
        raise Invalid.field("window", "has other bins than the baseline")
    before, after = baseline.sum(axis=1), window.sum(axis=1)
    p = baseline / np.maximum(before, 1)[:, None]
    q = window / np.maximum(after, 1)[:, None]
    gap = np.cumsum(p, axis=1) - np.cumsum(q, axis=1)
    return _tell(gap, p, q, before, after)


def ks_of_profiles(
    baseline: FineProfile, window: FineProfile
) -> dict[str, KolmogorovSmirnov]:
    """Return a result by column, of those that both sides have values of."""
    if baseline.layout.digest != window.layout.digest:
        raise Invalid.field("window", "was counted in another layout")
    gap = baseline.cumulative - window.cumulative
    each = _tell(gap, baseline.shares, window.shares, baseline.known, window.known)
    named = zip(baseline.layout.scales, each, strict=True)
    return {scale.name: found for scale, found in named if found is not None}


def _tell(
    gap: Floats, p: Floats, q: Floats, before: Counts, after: Counts
) -> list[KolmogorovSmirnov | None]:
    from scipy.special import kolmogorov  # noqa: PLC0415 - slow to import

    distance = np.maximum(gap.max(axis=1), -gap.min(axis=1))
    # at a bin's end less the other's start: its own gap and the other's share
    most = np.maximum((gap + q).max(axis=1), (p - gap).max(axis=1))
    most = np.clip(most, distance, 1.0)
    rows = before / np.maximum(before + after, 1) * after
    told = zip(
        distance.tolist(),
        most.tolist(),
        kolmogorov(distance * np.sqrt(rows)).tolist(),
        after.tolist(),
        before.tolist(),
        strict=True,
    )
    return [KolmogorovSmirnov(*row) if row[3] and row[4] else None for row in told]
