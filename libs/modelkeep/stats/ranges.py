"""Range: how many values lie beyond all that a baseline had.

Counted, not estimated (see `fine`): infinities are beyond any range. Of n exchangeable
baseline rows and one new one, each is equally likely to be the largest, so 1 / (n + 1)
of a window is expected on either side by chance alone (Wilks, "Determination of sample
sizes for setting tolerance limits", Annals of Mathematical Statistics 12 (1941),
91-96); `left` says that the window's share, by Wilson's interval, lies above both
sides' sum.
"""

from __future__ import annotations

from typing import NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.fine import ABOVE, BELOW, CELLS, FineBaseline, FineProfile
from modelkeep.stats.wilson import Interval, wilson


class Range(NamedTuple):
    """`below` and `above` of `rows` lie beyond `low` to `high`, the baseline's ends."""

    name: str
    low: float
    high: float
    below: int
    above: int
    rows: int
    share: float
    bounds: Interval
    by_chance: float

    @property
    def left(self) -> bool:
        return self.bounds.low > self.by_chance


def ranges(baseline: FineBaseline, window: FineProfile) -> tuple[Range, ...]:
    """Return one a column that both sides have values of.

    >>> import numpy as np
    >>> ages = FineBaseline.fit({"age": np.arange(18.0, 100)})
    >>> (found,) = ranges(ages, ages.profile({"age": np.array([17, 50, 50, 120])}))
    >>> found.below, found.above, found.share
    (1, 1, 0.5)
    """
    if window.layout.digest != baseline.layout.digest:
        raise Invalid.field("window", "was counted in another layout")
    found = []
    for place, scale in enumerate(window.layout.scales):
        counts, before = window.counts[place], baseline.reference.counts[place]
        rows, known = int(counts[:CELLS].sum()), int(before[:CELLS].sum())
        if not (rows and known):
            continue
        below, above = int(counts[BELOW]), int(counts[ABOVE])
        found.append(
            Range(
                scale.name,
                scale.low,
                scale.high,
                below,
                above,
                rows,
                (below + above) / rows,
                wilson(below + above, rows),
                2 / (known + 1),
            )
        )
    return tuple(found)
