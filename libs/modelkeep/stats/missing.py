"""Missing rates: how many values a window lacks, beside its baseline.

Wilson's interval (see `wilson`) for both. A rate has *risen* when the window's lower
bound lies above the baseline's upper bound: chance at either side is excluded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.wilson import Interval, wilson


class MissingRate(NamedTuple):
    name: str
    share: float
    bounds: Interval
    baseline_share: float
    baseline_bounds: Interval
    rows: int

    @property
    def risen(self) -> bool:
        return self.bounds.low > self.baseline_bounds.high


def missing_rates(baseline: Baseline, window: Profile) -> tuple[MissingRate, ...]:
    """Return a rate for each feature in the layout's order; none of an empty window."""
    layout = baseline.layout
    if window.layout.digest != layout.digest:
        raise Invalid.field("window", "was counted in another layout")
    if not window.rows:
        return ()
    rows = window.rows
    lacking = window.counts[layout.ends - 1].tolist()
    # most columns lack as little as their neighbours
    told = {hits: (hits / rows, wilson(hits, rows)) for hits in set(lacking)}
    return tuple(
        MissingRate(name, *told[hits], was, bounds, rows)
        for hits, (name, was, bounds) in zip(lacking, _before(baseline), strict=False)
    )


@lru_cache(maxsize=256)
def _before(baseline: Baseline) -> tuple[tuple[str, float, Interval], ...]:
    """Return a baseline's names, shares and bounds, which every window asks for."""
    layout, rows = baseline.layout, baseline.reference.rows
    lacking = baseline.reference.counts[layout.ends - 1].tolist()
    return tuple(
        (feature.name, hits / rows, wilson(hits, rows))
        for feature, hits in zip(layout.features, lacking, strict=False)
    )
