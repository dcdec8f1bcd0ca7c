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
    before, after = baseline.reference, window
    found = []
    for place, feature in enumerate(layout.features):
        last = layout.part(place).stop - 1
        was, now = int(before.counts[last]), int(after.counts[last])
        found.append(
            MissingRate(
                feature.name,
                now / after.rows,
                wilson(now, after.rows),
                was / before.rows,
                _bounds(was, before.rows),
                after.rows,
            )
        )
    return tuple(found)


@lru_cache(maxsize=4_096)
def _bounds(hits: int, trials: int) -> Interval:
    """A baseline's, which every window asks for again."""
    return wilson(hits, trials)
