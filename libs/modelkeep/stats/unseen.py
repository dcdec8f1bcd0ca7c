"""Unseen categories: values that a baseline's dictionary does not know.

The share of a window's rows that are *other*, beside the baseline's, each with Wilson's
interval (see `wilson`). Where the baseline has no other rows its dictionary was whole,
and every other row of a window is a value never seen before; else the dictionary was
cut to its most frequent entries, and a rise of other says the same, less surely.

Chance must not read as news. Of a whole dictionary, the share of unseen values that the
next rows will show is about that of categories seen once (Good, "The population
frequencies of species and the estimation of population parameters", Biometrika 40
(1953), 237-264). Of a cut one, entries with few rows are there by luck (of a million
ids the 32 kept are those that happened to come twice): below `LEAST` rows they count as
other when `risen` is judged.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column
from modelkeep.stats.categories import Coded, rank_categories
from modelkeep.stats.profile import Baseline, Categorical, Profile
from modelkeep.stats.wilson import Interval, wilson

LEAST: Final = 30
"""Rows from which an entry of a cut dictionary is taken to be frequent indeed."""


class Unseen(NamedTuple):
    """`baseline_share` is as counted; its bounds allow for luck.

    `unseen` of `rows` known values are other; missing values are in neither.
    """

    name: str
    unseen: int
    rows: int
    share: float
    bounds: Interval
    baseline_share: float
    baseline_bounds: Interval
    whole: bool

    @property
    def risen(self) -> bool:
        """Chance at either side is excluded, at 95 % each."""
        return self.bounds.low > self.baseline_bounds.high


def unseen_categories(baseline: Baseline, window: Profile) -> tuple[Unseen, ...]:
    """Return one a categorical feature that the window has values of.

    >>> import numpy as np
    >>> colours = Baseline.fit({"colour": np.array(["red", "blue"] * 50)})
    >>> (found,) = unseen_categories(
    ...     colours, colours.profile({"colour": np.array(["red", "mauve"])})
    ... )
    >>> found.unseen, found.share, found.whole, found.risen
    (1, 0.5, True, True)
    """
    layout = baseline.layout
    if window.layout.digest != layout.digest:
        raise Invalid.field("window", "was counted in another layout")
    found = []
    for place, feature in enumerate(layout.features):
        if not isinstance(feature, Categorical):
            continue
        part = layout.part(place)
        before, after = baseline.reference.counts[part], window.counts[part]
        was, known = int(before[-2]), int(before[:-1].sum())
        entries = before[:-2]
        lucky = int(entries[entries < (LEAST if was else 2)].sum())
        now, rows = int(after[-2]), int(after[:-1].sum())
        if rows:
            found.append(
                Unseen(
                    feature.name,
                    now,
                    rows,
                    now / rows,
                    wilson(now, rows),
                    was / known if known else 0.0,
                    wilson(was + lucky, known),
                    not was,
                )
            )
    return tuple(found)


def unseen_values(
    column: Column | Coded, known: tuple[str, ...], most: int = 5
) -> tuple[str, ...]:
    """Return the most frequent values that are not `known`, in alphabetical order.

    >>> import numpy as np
    >>> unseen_values(np.array(["red", "mauve", "puce", "mauve"]), ("red",), most=1)
    ('mauve',)
    """
    expected = set(known)
    strange = [name for name in rank_categories(column) if name not in expected]
    return tuple(sorted(strange[:most]))
