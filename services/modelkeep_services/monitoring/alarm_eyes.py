"""What the false-alarm detectors of a version are, and what they see of a window.

The bands need scipy and are made when a detector begins; after that its text in the log
is the detector, whatever version of scipy runs later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from modelkeep.events.alarm_watch import WatchTerms
from modelkeep.events.false_alarms import FalseAlarms, WatchKind
from modelkeep.events.monitoring import Estimate, WindowFigures
from modelkeep.stats.alarm_budget import (
    AlarmDocument,
    Allotment,
    Monitor,
    Period,
    Shares,
    Tolerance,
    split,
    windows_in,
)
from modelkeep.stats.e_detector import Detector
from modelkeep.stats.empirical_bernstein import LossSum
from modelkeep.stats.outcome_watch import THOUSANDTHS, watching_outcomes
from modelkeep.stats.profile import Baseline, Layout, Numeric, Profile
from modelkeep.stats.share_watch import ShareWatch, watching
from modelkeep_services.monitoring.alarm_rules import LOSS
from modelkeep_services.monitoring.alarm_watch import (
    Eye,
    Spoke,
    Taken,
    watch_decider,
)
from modelkeep_services.monitoring.windows import Reference, parsed

HOUR: Final = 3_600
ROUNDED: Final = 1e-6
"""Figures are stored with six decimals: a loss may have been so much less."""
NO_SEASONS: Final[Mapping[str, str]] = MappingProxyType({})
FEWEST: Final = 2
"""Outcomes of a baseline that has a bound at all."""
KINDS: Final[Mapping[Monitor, WatchKind]] = {
    Monitor.FEATURES: "features",
    Monitor.PREDICTION: "prediction",
    Monitor.MISSING: "missing",
    Monitor.PERFORMANCE: "performance",
}
NOT_OF_DETECTORS: Final[dict[str, Any]] = {
    "shares": {"fairness"},
    "false_discovery_rate": True,
}
"""What of a budget no detector rests on but by its own part, which its terms name: a
field that came later starts none anew."""


def document_of(given: FalseAlarms) -> AlarmDocument:
    return AlarmDocument(
        given.version,
        given.false_alarms,
        Period(given.period),
        Shares(**dict(given.shares)),
        Tolerance(**dict(given.tolerance)),
        given.odds,
        given.alike,
        given.false_discovery_rate,
    )


def windows_a_period(given: FalseAlarms, cadence_hours: float) -> int:
    """Return how many windows of the cadence may close in a period, at most."""
    return windows_in(Period(given.period), max(1, math.floor(cadence_hours * HOUR)))


def allotted(
    given: FalseAlarms, cadence_hours: float, sharing: int, monitors: Sequence[Monitor]
) -> Sequence[Allotment]:
    """Divide a budget among detectors of `sharing` versions and environments each."""
    windows = windows_a_period(given, cadence_hours) * sharing
    found = split(document_of(given), dict.fromkeys(monitors, windows))
    return list(found.values())


# --- detectors ---------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A detector that may begin; `watch` reads its cells out of profiles."""

    monitor: WatchKind
    terms: WatchTerms
    detector: str
    watch: ShareWatch | None


class Asked(NamedTuple):
    """What a version's detectors are made from."""

    given: FalseAlarms
    cadence_hours: float
    sharing: int
    baseline: str
    profile: str
    loss: Estimate | None
    seasons: tuple[tuple[str, str], ...] = ()
    """Profiles by season, where windows are short enough to have one."""
    groups: bool = False
    """Groups of people are declared: their tests have a part of the budget."""


def asked_of(
    given: FalseAlarms,
    cadence_hours: float,
    sharing: int,
    reference: Reference,
    seasons: Mapping[str, str] = NO_SEASONS,
    *,
    groups: bool = False,
) -> Asked:
    loss = next((e for e in reference.performance if e.metric == LOSS), None)
    if loss is not None and loss.n < FEWEST:
        loss = None
    return Asked(
        given,
        cadence_hours,
        sharing,
        reference.name,
        reference.profile,
        loss,
        tuple(sorted(seasons.items())),
        groups,
    )


@lru_cache(maxsize=256)
def made(asked: Asked) -> tuple[Made, ...]:
    """Return the detectors that a baseline allows. Raises Corrupt. Needs scipy."""
    return tuple(
        _make(asked, kind, allotment)
        for allotment in _allotments(asked)
        if (kind := KINDS.get(allotment.monitor)) is not None
    )


def error_of_groups(asked: Asked) -> float:
    """Return what a window's tests of groups may err together."""
    found = {one.monitor: one.alpha for one in _allotments(asked)}
    return found[Monitor.FAIRNESS]


def _allotments(asked: Asked) -> Sequence[Allotment]:
    layout = parsed(asked.profile).layout
    monitors = list(_monitors(layout, asked))
    return allotted(asked.given, asked.cadence_hours, asked.sharing, monitors)


def _monitors(layout: Layout, asked: Asked) -> Iterator[Monitor]:
    if layout.features:
        yield from (Monitor.FEATURES, Monitor.MISSING)
    if layout.scores is not None:
        yield Monitor.PREDICTION
    if asked.loss is not None:
        yield Monitor.PERFORMANCE
    if asked.groups:
        yield Monitor.FAIRNESS


def _make(asked: Asked, kind: WatchKind, allotment: Allotment) -> Made:
    terms = WatchTerms(
        baseline=asked.baseline,
        profile=_digest("".join((asked.profile, *(k + p for k, p in asked.seasons)))),
        budget=asked.given.version,
        document=_digest(asked.given.model_dump_json(exclude=NOT_OF_DETECTORS)),
        false_alarms=allotment.false_alarms,
        windows=allotment.windows,
        sharing=asked.sharing,
    )
    detector, watch = _detector(asked, allotment)
    return Made(kind, terms, detector.to_json().decode(), watch)


def _detector(asked: Asked, allotment: Allotment) -> tuple[Detector, ShareWatch | None]:
    document = document_of(asked.given)
    if allotment.monitor is Monitor.PERFORMANCE and asked.loss is not None:
        before = _losses(asked.loss.n, asked.loss.value)
        return watching_outcomes(LOSS, allotment, before, document).detector, None
    found = watching(allotment, _baselines(asked), document)
    if found is None:
        raise AssertionError(f"{allotment.monitor} has nothing to watch")
    return found.detector, found.watch


def _baselines(asked: Asked) -> list[Baseline]:
    whole = parsed(asked.profile)
    return [
        replace(whole, reference=Profile.from_json(text, whole.layout), season=key)
        for key, text in asked.seasons
    ] or [whole]


def _losses(n: int, mean: float) -> LossSum:
    # The squares are not known; no loss below 1 has a larger one, so bounds get wider.
    return LossSum(n, mean * n, mean * n)


def _digest(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"


# --- a window ----------------------------------------------------------------------


def eyes(
    asked: Asked, profile: str | None, figures: WindowFigures, season: str = ""
) -> tuple[Eye, ...]:
    """Return what each detector sees: without a profile, of outcomes alone; nothing
    of a season that the baseline does not know.

    Raises Invalid for a profile of another layout than the baseline's.
    """
    window = None
    if profile is not None:
        window = Profile.from_json(profile, parsed(asked.profile).layout)
    if asked.seasons and season not in dict(asked.seasons):
        return ()
    found = [_eye(one, window, figures, season) for one in made(asked)]
    return tuple(eye for eye in found if eye is not None)


def _eye(
    one: Made, window: Profile | None, figures: WindowFigures, season: str
) -> Eye | None:
    if one.watch is None:
        return _of_outcomes(one, figures)
    if window is None:
        return None
    seen = one.watch.see(window)
    return Eye(
        monitor=one.monitor,
        terms=one.terms,
        detector=one.detector,
        hits=tuple(seen.hits.tolist()),
        trials=tuple(seen.trials.tolist()),
        season=season,
    )


def _of_outcomes(one: Made, figures: WindowFigures) -> Eye | None:
    """Immature outcomes are a biased sample, and say nothing yet."""
    loss = next((f for f in figures.performance if f.metric == LOSS), None)
    if loss is None or not figures.mature:
        return None
    total = max(0.0, loss.value - ROUNDED) * loss.n
    hits = min(math.floor(total * THOUSANDTHS), loss.n * THOUSANDTHS)
    return Eye(
        monitor=one.monitor,
        terms=one.terms,
        detector=one.detector,
        hits=(hits,),
        trials=(loss.n,),
    )


# --- a step ------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _read(detector: str) -> Detector:
    return Detector.from_json(detector)


def step(
    detector: str,
    evidence: str | None,
    hits: Sequence[int],
    trials: Sequence[int],
    season: str,
) -> Taken:
    """Step a detector, as `alarm_watch.Stepping`. Raises Corrupt and Invalid."""
    one = _read(detector)
    before = one.start() if evidence is None else one.evidence(evidence)
    seen, of = np.array(hits, dtype=np.int64), np.array(trials, dtype=np.int64)
    taken = one.update(before, seen, of, season)
    alarm = taken.alarm
    return Taken(
        evidence=taken.evidence.to_json().decode(),
        windows=taken.evidence.windows,
        value=taken.value,
        threshold=one.threshold,
        spoke=None
        if alarm is None
        else Spoke(
            alarm.name,
            alarm.cell,
            alarm.side.value,
            alarm.share,
            alarm.edge,
            alarm.windows,
        ),
    )


WATCH: Final = watch_decider(step)


# --- words -------------------------------------------------------------------------


def cell_of(layout: Layout, group: str, cell: int) -> str:
    """Say what a cell of a feature, or of the score, holds."""
    feature = next((f for f in layout.binned if f.name == group), None)
    if feature is None:
        return f"cell {cell}"
    if isinstance(feature, Numeric):
        return _between(feature.edges, cell)
    if cell < len(feature.categories):
        return f"in {feature.categories[cell]}"
    return "in other categories"


def _between(edges: Sequence[float], cell: int) -> str:
    if not edges:
        return "among known values"
    if cell == 0:
        return f"below {edges[0]:g}"
    if cell >= len(edges):
        return f"from {edges[-1]:g} on"
    return f"from {edges[cell - 1]:g} to {edges[cell]:g}"
