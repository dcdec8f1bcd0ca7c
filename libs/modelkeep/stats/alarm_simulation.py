"""False alarms and delays, simulated: the sequential detector beside the usual rules.

Every replica is a model of its own: normal features that swing with the hour of the
day, bins fitted to a sample, and a baseline an hour *estimated* from as many rows as a
quarter has. Its windows are hourly. Without drift the alarms are counted; with a shift
of one feature, the windows until the first alarm. All rules see the same counts.

The e-SR rows run the code that a model's monitor runs (`e_detector.advance`), on all
replicas at once. Needs scipy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from modelkeep.errors import Invalid
from modelkeep.stats.alarm_budget import (
    DETECTORS,
    AlarmDocument,
    Allotment,
    Monitor,
    Tolerance,
    split,
)
from modelkeep.stats.bins import Counts, Floats, fit_edges
from modelkeep.stats.clopper_pearson import clopper_pearson
from modelkeep.stats.e_detector import (
    ONE,
    Bets,
    Detector,
    Evidence,
    advance,
    worth,
)
from modelkeep.stats.psi import psi_each
from modelkeep.stats.seasons import Season
from modelkeep.stats.tolerance import Band, band

HOURS: Final = 24
PILOT: Final = 4_800
"""Rows that bins are fitted to."""
NEVER: Final = 1 << 30
LEVEL: Final = 0.05

Flags = NDArray[np.bool_]
Tell = Callable[[int, int], None]
"""Told how many windows are done, of how many."""

OURS: Final = "e-SR, a baseline an hour"
BH: Final = "BH .05 in each window"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated. Shifts and `swing` are in standard deviations.

    `windows` without drift in each of `replicas`; with drift, `warm_up` windows without
    and then at most `horizon` with, in each of `drift_replicas`.
    """

    seed: int = 1
    replicas: int = 50
    windows: int = 2_208
    drift_replicas: int = 200
    warm_up: int = 48
    horizon: int = 240
    features: int = 25
    bins: int = 10
    rows: int = 1_000
    baseline_days: int = 91
    swing: float = 0.3
    shifts: tuple[float, ...] = (0.1, 0.25, 0.5)
    document: AlarmDocument = field(default_factory=lambda: AlarmDocument("default"))

    def __post_init__(self) -> None:
        counts = (self.replicas, self.windows, self.drift_replicas, self.horizon)
        if min(counts) < 1 or self.warm_up < 0:
            raise Invalid.field("windows", "something must be simulated")
        if min(self.features, self.rows, self.baseline_days) < 1 or self.bins < 2:  # noqa: PLR2004
            raise Invalid.field("features", "need rows, days and two bins")

    @property
    def allotment(self) -> Allotment:
        """Return what the features may spend, of a model with all four detectors."""
        windows = 92 * HOURS
        return split(self.document, dict.fromkeys(DETECTORS, windows))[Monitor.FEATURES]

    @property
    def steps(self) -> int:
        """Return how many windows `run` simulates, replicas counted."""
        with_drift = self.drift_replicas * (self.warm_up + self.horizon)
        return self.replicas * self.windows + len(self.shifts) * with_drift


class Quiet(NamedTuple):
    """Alarms where nothing changed. Upper bounds are Clopper and Pearson's, 95 %.

    `periods` are replicas, independent of each other, each of `Scenario.windows`;
    `loud` of them had an alarm.
    """

    rule: str
    alarms: int
    windows: int
    loud: int
    periods: int

    @property
    def per_thousand(self) -> float:
        return 1_000 * self.alarms / self.windows

    @property
    def per_thousand_upper(self) -> float:
        return 1_000 * _upper(min(self.alarms, self.windows), self.windows)

    @property
    def per_period(self) -> float:
        return self.alarms / self.periods

    @property
    def loud_upper(self) -> float:
        return _upper(self.loud, self.periods)


class Delay(NamedTuple):
    """Windows to the first alarm after one feature shifted: 1 is the first with drift.

    `median` is None when half of the replicas saw none within the horizon. For the
    sequential rules: `named`, how many of the alarms named the feature, and `onset`,
    the median distance of the estimated onset from the true one, in windows.
    """

    rule: str
    shift: float
    found: int
    replicas: int
    median: float | None
    named: float | None = None
    onset: float | None = None


class Simulated(NamedTuple):
    """Everything that was found; `budget` is what the features may spend."""

    budget: Allotment
    quiet: tuple[Quiet, ...]
    delays: tuple[Delay, ...]

    def quiet_of(self, rule: str) -> Quiet:
        return next(one for one in self.quiet if one.rule == rule)

    def delay_of(self, rule: str, shift: float) -> Delay:
        return next(d for d in self.delays if d.rule == rule and d.shift == shift)


class Models(NamedTuple):
    """Replicas: true shares and baseline counts, [replica, hour, feature, bin]."""

    edges: Floats
    phases: Floats
    reference: Counts


def run(scenario: Scenario, tell: Tell = lambda _done, _total: None) -> Simulated:
    """Simulate without and with drift; the same seed finds the same."""
    chance = np.random.default_rng(scenario.seed)
    done = 0

    def count(replicas: int) -> None:
        nonlocal done
        done += replicas
        tell(done, scenario.steps)

    quiet = _quiet(scenario, chance, count)
    delays = [
        delay
        for shift in scenario.shifts
        for delay in _delays(scenario, chance, shift, count)
    ]
    return Simulated(scenario.allotment, tuple(quiet), tuple(delays))


def _upper(hits: int, trials: int) -> float:
    bounds = clopper_pearson(np.array([hits]), np.array([trials]), 0.05)
    return float(bounds.high[0])


def _quiet(
    scenario: Scenario, chance: Generator, count: Callable[[int], None]
) -> Iterator[Quiet]:
    models = _models(scenario, chance, scenario.replicas)
    rules = _rules(scenario, models)
    truth = _truth(scenario, models)
    alarms = {name: np.zeros(scenario.replicas, dtype=np.int64) for name in rules}
    for window in range(scenario.windows):
        hour = window % HOURS
        seen = chance.multinomial(scenario.rows, truth[:, hour])
        for name, rule in rules.items():
            alarms[name] += rule.step(hour, seen)
        count(scenario.replicas)
    for name, found in alarms.items():
        yield Quiet(
            name,
            int(found.sum()),
            scenario.replicas * scenario.windows,
            int(np.count_nonzero(found)),
            scenario.replicas,
        )


def _delays(
    scenario: Scenario,
    chance: Generator,
    shift: float,
    count: Callable[[int], None],
) -> Iterator[Delay]:
    replicas = scenario.drift_replicas
    models = _models(scenario, chance, replicas)
    rules = _rules(scenario, models)
    before, after = _truth(scenario, models), _truth(scenario, models, shift)
    first = {name: np.full(replicas, NEVER) for name in rules}
    for window in range(scenario.warm_up + scenario.horizon):
        hour, since = window % HOURS, window - scenario.warm_up + 1
        truth = before if since < 1 else after
        seen = chance.multinomial(scenario.rows, truth[:, hour])
        for name, rule in rules.items():
            loud = rule.step(hour, seen)
            if since >= 1:
                fresh = loud & (first[name] == NEVER)
                first[name][fresh] = since
                rule.explain(fresh, hour, seen)
        count(replicas)
    for name, rule in rules.items():
        median = float(np.median(first[name]))
        yield Delay(
            name,
            shift,
            int(np.count_nonzero(first[name] < NEVER)),
            replicas,
            median if median < NEVER / 2 else None,
            *rule.explained(scenario.warm_up + 1),
        )


def _models(scenario: Scenario, chance: Generator, replicas: int) -> Models:
    features = scenario.features
    phases = chance.random((replicas, features))
    hours = np.arange(PILOT) % HOURS
    means = _means(scenario, phases)[:, :, hours]
    sample = chance.normal(size=means.shape) + means
    edges = np.array(
        [[fit_edges(one, scenario.bins) for one in many] for many in sample]
    )
    models = Models(edges, phases, np.empty(0, np.int64))
    rows = scenario.rows * scenario.baseline_days
    return models._replace(reference=chance.multinomial(rows, _truth(scenario, models)))


def _means(scenario: Scenario, phases: Floats) -> Floats:
    """Return each feature's mean, [replica, feature, hour]."""
    turn = np.arange(HOURS) / HOURS + phases[..., None]
    means: Floats = scenario.swing * np.sin(2 * np.pi * turn)
    return means


def _truth(scenario: Scenario, models: Models, shift: float = 0.0) -> Floats:
    """Return the true shares; the first feature is shifted."""
    from scipy.special import ndtr  # noqa: PLC0415 - slow to import, seldom needed

    means = _means(scenario, models.phases)
    means[:, 0] += shift
    below = ndtr(models.edges[:, None] - np.swapaxes(means, 1, 2)[..., None])
    shares: Floats = np.diff(below, axis=-1, prepend=0.0, append=1.0)
    return shares


class _Rule:
    """Something that looks at [replica, feature, bin] counts and speaks or does not."""

    def step(self, hour: int, seen: Counts) -> Flags:
        raise NotImplementedError

    def explain(self, fresh: Flags, hour: int, seen: Counts) -> None:
        """Note what the alarms of these replicas said."""

    def explained(self, onset: int) -> tuple[float | None, float | None]:
        """Return the share of alarms that named the feature, and the onset's error."""
        del onset
        return None, None


class _Fixed(_Rule):
    """A rule that compares each window with the baseline of its hour alone."""

    def __init__(
        self, reference: Counts, says: Callable[[Counts, Counts], Flags]
    ) -> None:
        self.reference, self.says = reference, says

    def step(self, hour: int, seen: Counts) -> Flags:
        return self.says(self.reference[:, hour], seen)


class _Sequential(_Rule):
    """The e-SR detector of every replica, begun anew after each alarm."""

    def __init__(self, detectors: Sequence[Detector], hours: Sequence[int]) -> None:
        self.detectors, self.hours = detectors, hours
        self.bets = [
            _stacked([detector.bets[season] for detector in detectors])
            for season in range(len(detectors[0].seasons))
        ]
        self.weights = np.stack([detector.weights for detector in detectors])
        self.levels = np.zeros(self.weights.shape, dtype=np.uint16)
        self.ages = np.zeros(self.weights.shape, dtype=np.uint16)
        self.said: list[tuple[str, int]] = []
        self.windows = 0
        self.last = (self.levels, self.ages)

    def step(self, hour: int, seen: Counts) -> Flags:
        hits = seen.reshape(len(seen), -1)
        trials = np.repeat(seen.sum(axis=2), seen.shape[2], axis=1)
        self.windows += 1
        levels = advance(self.levels, hits, trials, self.bets[self.hours[hour]])
        above = levels > ONE
        ages = (self.ages + above) * above
        loud: Flags = (
            np.round(worth(levels, self.weights), 4) >= self.detectors[0].threshold
        )
        self.last = (levels, ages)
        quiet = ~loud[:, None, None]
        self.levels, self.ages = levels * quiet, ages * quiet
        return loud

    def explain(self, fresh: Flags, hour: int, seen: Counts) -> None:
        for replica in np.flatnonzero(fresh).tolist():
            detector = self.detectors[replica]
            levels, ages = (part[replica] for part in self.last)
            alarm = detector.explain(
                Evidence(detector.digest, self.windows, levels, ages),
                seen[replica].ravel(),
                np.repeat(seen[replica].sum(axis=1), seen.shape[2]),
                detector.seasons[self.hours[hour]],
            )
            self.said.append((alarm.name, alarm.since))

    def explained(self, onset: int) -> tuple[float | None, float | None]:
        if not self.said:
            return None, None
        named = sum(name == "0" for name, _ in self.said) / len(self.said)
        return named, float(np.median([abs(since - onset) for _, since in self.said]))


def _stacked(bets: Sequence[Bets]) -> Bets:
    return Bets(
        np.stack([one.swap for one in bets]),
        np.stack([one.miss for one in bets]),
        np.stack([one.live for one in bets]),
        all(one.everywhere for one in bets),
    )


def _rules(scenario: Scenario, models: Models) -> Mapping[str, _Rule]:
    reference = models.reference
    pooled = reference.sum(axis=1, keepdims=True)
    tolerance = scenario.document.tolerance
    errors = replace(tolerance, relative=0.0, absolute=0.0)
    hourly = range(HOURS)
    return {
        "chi2 p < .05, any feature": _Fixed(reference, _any_chi_square),
        BH: _Fixed(reference, _benjamini_hochberg),
        "PSI > .10, any feature": _Fixed(reference, _psi_beyond(0.10)),
        "PSI > .25, any feature": _Fixed(reference, _psi_beyond(0.25)),
        OURS: _Sequential(_detectors(scenario, reference, tolerance), hourly),
        "e-SR, the baseline's error alone tolerated": _Sequential(
            _detectors(scenario, reference, errors), hourly
        ),
        "e-SR, baselines taken for the truth": _Sequential(
            _detectors(scenario, reference, None), hourly
        ),
        "e-SR, one baseline for all hours": _Sequential(
            _detectors(scenario, pooled, tolerance), [0] * HOURS
        ),
    }


def _detectors(
    scenario: Scenario, reference: Counts, tolerance: Tolerance | None
) -> list[Detector]:
    """Return a detector a replica; without tolerance, baselines are taken as exact."""
    groups = [(str(feature), scenario.bins) for feature in range(scenario.features)]
    seasons = Season.HOUR_OF_DAY.keys if reference.shape[1] > 1 else ("",)
    hits = reference.reshape(len(reference), len(seasons), -1)
    trials = np.repeat(reference.sum(axis=3), scenario.bins, axis=2)
    bands = Band(hits / trials, hits / trials)
    if tolerance is not None:
        # the promise is made to each replica
        bands = band(hits, trials, tolerance, cells=hits[0].size)
    return [
        Detector.between(
            groups,
            low,
            high,
            threshold=scenario.allotment.threshold,
            odds=scenario.document.odds,
            seasons=seasons,
        )
        for low, high in zip(bands.low, bands.high, strict=True)
    ]


def _p_values(reference: Counts, seen: Counts) -> Floats:
    """Return chi-square's p-value of two samples, [replica, feature]."""
    from scipy.special import chdtrc  # noqa: PLC0415 - slow to import, seldom needed

    both = reference + seen
    rows = seen.sum(axis=2, keepdims=True)
    expected = both * (rows / both.sum(axis=2, keepdims=True))
    used = both > 0
    excess = np.where(used, seen - expected, 0.0) ** 2
    # a miss at one side is a surplus at the other: both sides' terms in one
    rest = both - expected
    parts = excess / np.where(used, expected, 1.0) + excess / np.where(used, rest, 1.0)
    freedom = np.maximum(used.sum(axis=2) - 1, 1)
    values: Floats = chdtrc(freedom, parts.sum(axis=2))
    return values


def _any_chi_square(reference: Counts, seen: Counts) -> Flags:
    return _any(_p_values(reference, seen) < LEVEL)


def _benjamini_hochberg(reference: Counts, seen: Counts) -> Flags:
    ordered = np.sort(_p_values(reference, seen), axis=1)
    ranks = np.arange(1, ordered.shape[1] + 1)
    return _any(ordered <= LEVEL * ranks / ordered.shape[1])


def _psi_beyond(limit: float) -> Callable[[Counts, Counts], Flags]:
    def says(reference: Counts, seen: Counts) -> Flags:
        starts = np.arange(0, seen.size, seen.shape[2])
        values = psi_each(reference.ravel(), seen.ravel(), starts)
        return _any(values.reshape(seen.shape[:2]) > limit)

    return says


def _any(loud: Flags) -> Flags:
    """Say in which replicas any feature is."""
    found: Flags = np.logical_or.reduce(loud, axis=1)
    return found
