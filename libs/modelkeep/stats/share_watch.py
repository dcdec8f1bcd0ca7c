"""Which shares of a profile a detector watches: features, missing values, the score.

One detector each (see `alarm_budget.Monitor`): a feature's bins as shares of its known
values, its missing values as a share of all rows, the score's bins like a feature's. So
a column that goes missing is told once, as missing, and not as drift of all of its
bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.alarm_budget import AlarmDocument, Allotment, Monitor
from modelkeep.stats.bins import Counts
from modelkeep.stats.e_detector import Detector, Evidence, Step
from modelkeep.stats.profile import Baseline, Layout, Profile
from modelkeep.stats.tolerance import band


class Seen(NamedTuple):
    """What a window showed of each cell."""

    hits: Counts
    trials: Counts


@dataclass(frozen=True, eq=False)
class ShareWatch:
    """Reads the cells of one monitor out of profiles of one layout."""

    monitor: Monitor
    layout: Layout

    @cached_property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Return a name and a number of cells for each feature that is watched."""
        if self.monitor is Monitor.MISSING:
            return tuple((feature.name, 1) for feature in self.layout.features)
        return tuple(
            (self.layout.binned[place].name, self.layout.binned[place].size - 1)
            for place in self._features
        )

    def see(self, profile: Profile) -> Seen:
        """Raise Invalid when the profile was counted in another layout."""
        if profile.layout.digest != self.layout.digest:
            raise Invalid.field("window", "was counted in another layout")
        counts = profile.counts[: self.layout.bins_end]
        if not self.groups:
            return Seen(counts[:0], counts[:0])
        rows = np.add.reduceat(counts, self.layout.starts)[self._features]
        if self.monitor is Monitor.MISSING:
            return Seen(counts[self._cells], rows)
        known = rows - counts[self._missing]
        return Seen(counts[self._cells], np.repeat(known, self._sizes))

    @cached_property
    def _features(self) -> list[int]:
        features = len(self.layout.features)
        if self.monitor is Monitor.PREDICTION:
            return list(range(features, len(self.layout.binned)))
        return list(range(features))

    @cached_property
    def _missing(self) -> Counts:
        last = [self.layout.part(place).stop - 1 for place in self._features]
        return np.array(last, dtype=np.int64)

    @cached_property
    def _cells(self) -> Counts:
        if self.monitor is Monitor.MISSING:
            return self._missing
        parts = [self.layout.part(place) for place in self._features]
        ranges = [np.arange(part.start, part.stop - 1) for part in parts]
        return np.concatenate([*ranges, np.empty(0, np.int64)]).astype(np.int64)

    @cached_property
    def _sizes(self) -> Counts:
        return np.array([size for _, size in self.groups], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Watching:
    """A detector and the eyes it has."""

    watch: ShareWatch
    detector: Detector

    def update(self, evidence: Evidence, window: Profile, season: str = "") -> Step:
        """Return what a window does; see `Detector.update`."""
        hits, trials = self.watch.see(window)
        return self.detector.update(evidence, hits, trials, season)


def watching(
    allotment: Allotment, baselines: Sequence[Baseline], document: AlarmDocument
) -> Watching | None:
    """Return the detector of one monitor, None where the layout has nothing to watch.

    One baseline a season, all of one layout; a single one may have any season. Raises
    Invalid for none, for two of one season, and for performance, which no profile
    tells (see `outcome_watch`). Needs scipy.
    """
    if not baselines:
        raise Invalid.field("baselines", "there is none")
    if allotment.monitor is Monitor.PERFORMANCE:
        raise Invalid.field("monitor", "performance is not in a profile")
    seasons = [baseline.season for baseline in baselines]
    if len(set(seasons)) != len(seasons):
        raise Invalid.field("baselines", "two have the same season")
    watch = ShareWatch(allotment.monitor, baselines[0].layout)
    if not watch.groups:
        return None
    seen = [watch.see(baseline.reference) for baseline in baselines]
    found = band(
        np.stack([hits for hits, _ in seen]),
        np.stack([trials for _, trials in seen]),
        document.tolerance,
        alike=document.alike,
    )
    return Watching(
        watch,
        Detector.between(
            watch.groups,
            found.low,
            found.high,
            threshold=allotment.threshold,
            odds=document.odds,
            seasons=seasons,
            alike=document.alike,
        ),
    )


def is_seasonal(
    whole: Baseline, seasons: Sequence[Baseline], document: AlarmDocument
) -> bool:
    """Say whether one baseline for all would cry wolf: a season is outside its band.

    A season counts when its own error does not reach back into the band. Needs scipy.
    """
    watch = ShareWatch(Monitor.FEATURES, whole.layout)
    if not seasons or not watch.groups:
        return False
    hits, trials = watch.see(whole.reference)
    one = band(hits[None], trials[None], document.tolerance)
    parts = [watch.see(season.reference) for season in seasons]
    exact = band(
        np.stack([part.hits for part in parts]),
        np.stack([part.trials for part in parts]),
        document.tolerance.__class__(0.0, 0.0, document.tolerance.confidence),
    )
    return bool(np.any((exact.low > one.high) | (exact.high < one.low)))
