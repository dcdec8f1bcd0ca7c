"""False alarms and delays, simulated: the sequential detector beside the usual rules.

Every replica is a model of its own: normal features that swing with the hour of the
day, bins fitted to a sample, and a baseline an hour *estimated* from as many rows as a
quarter has. Its windows are hourly. Without drift the alarms are counted; with a shift
of one feature, the windows until the first alarm. All rules see the same counts.

The e-SR rows run the code that a model's monitor runs (`e_detector.advance`), on all
replicas at once. The e-LOND rows test every feature of a window, or of a day, with the
e-values of `period_evidence`, one hypothesis after another through a replica's life:
what reviews do, were they so frequent. Of rules that say which feature, the share of
what they said that was false is counted too: the rate of false discoveries. Needs
scipy.
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
    NAT,
    ONE,
    SHIFT,
    Bets,
    Detector,
    Evidence,
    advance,
    worth,
)
from modelkeep.stats.e_lond import ELond, ELondState
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
LOND: Final = "e-LOND in each window"
LOND_DAILY: Final = "e-LOND, a review a day"


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
    the median distance of the estimated onset from the true one, in windows. `false` is
    the share of a replica's discoveries that were none, on average over all replicas
    and all windows, those before the drift included; 0 where nothing was said.
    """

    rule: str
    shift: float
    found: int
    replicas: int
    median: float | None
    named: float | None = None
    onset: float | None = None
    false: float | None = None


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
            rule.judge(drifting=since >= 1)
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
            rule.false_discoveries(),
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

    def judge(self, *, drifting: bool) -> None:
        """Count what the last window's discoveries were; the first feature drifts."""

    def false_discoveries(self) -> float | None:
        """Return the share of discoveries that were none, a replica's on average."""
        return None


class _Naming(_Rule):
    """A rule that says which features have changed."""

    def __init__(self, replicas: int) -> None:
        self.said = np.zeros((replicas, 1), dtype=np.bool_)
        self.false = np.zeros(replicas, dtype=np.int64)
        self.all = np.zeros(replicas, dtype=np.int64)

    def judge(self, *, drifting: bool) -> None:
        null = self.said[:, 1:] if drifting else self.said
        self.false += np.count_nonzero(null, axis=1)
        self.all += np.count_nonzero(self.said, axis=1)

    def false_discoveries(self) -> float | None:
        return float(np.mean(self.false / np.maximum(self.all, 1)))


class _Window(_Naming):
    """Benjamini and Hochberg's procedure, window by window."""

    def __init__(self, reference: Counts) -> None:
        super().__init__(len(reference))
        self.reference = reference

    def step(self, hour: int, seen: Counts) -> Flags:
        self.said = _benjamini_hochberg(self.reference[:, hour], seen)
        return _any(self.said)


class _Online(_Naming):
    """e-LOND over the features of every `every` windows, for each replica's life."""

    def __init__(
        self,
        detectors: Sequence[Detector],
        hours: Sequence[int],
        rate: float,
        *,
        every: int,
    ) -> None:
        super().__init__(len(detectors))
        self.rule, self.every, self.hours = ELond(rate), every, hours
        self.bets = [
            _stacked([detector.bets[season] for detector in detectors])
            for season in range(len(detectors[0].seasons))
        ]
        self.weights = np.stack([detector.weights for detector in detectors])
        self.features = len(detectors[0].names)
        self.logs: Floats = np.zeros(self.weights.shape)
        self.tested, self.windows = 0, 0
        self.rejected = np.zeros(len(detectors), dtype=np.int64)
        self.nothing = np.zeros((len(detectors), self.features), dtype=np.bool_)

    def step(self, hour: int, seen: Counts) -> Flags:
        bets = self.bets[self.hours[hour]]
        hits = seen.reshape(len(seen), 1, -1).astype(np.float64)
        trials = seen.sum(axis=2).repeat(seen.shape[2], axis=1)[:, None]
        worth = bets.swap * hits + bets.miss * trials.astype(np.float64)
        self.logs += np.where(bets.live, worth, 0.0) / (NAT * 2**SHIFT)
        self.windows += 1
        self.said = self.nothing
        if self.windows % self.every == 0:
            self.said = self._review()
            self.logs = np.zeros(self.weights.shape)
        return _any(self.said)

    def _review(self) -> Flags:
        said = self.nothing.copy()
        for feature, log_e in enumerate(self._evidence().T):
            # one level for replicas of as many discoveries: that of `ELond.level`
            level = self.rule.level(ELondState(self.tested)) * (self.rejected + 1)
            said[:, feature] = log_e >= -np.log(level)
            self.rejected += said[:, feature]
            self.tested += 1
        return said

    def _evidence(self) -> Floats:
        """Return log e as `period_evidence` does, [replica, feature]."""
        replicas, bets, _ = self.logs.shape
        logs = self.logs.reshape(replicas, bets, self.features, -1)
        weights = self.weights.reshape(replicas, bets, self.features, -1)
        top = logs.max(axis=(1, 3), keepdims=True)
        mean = (weights * np.exp(logs - top)).sum(axis=(1, 3))
        found: Floats = top[:, 0, :, 0] + np.log(mean / weights.sum(axis=(1, 3)))
        return found


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
    hourly, rate = range(HOURS), scenario.document.false_discovery_rate
    ours = _detectors(scenario, reference, tolerance)
    return {
        "chi2 p < .05, any feature": _Fixed(reference, _any_chi_square),
        BH: _Window(reference),
        "PSI > .10, any feature": _Fixed(reference, _psi_beyond(0.10)),
        "PSI > .25, any feature": _Fixed(reference, _psi_beyond(0.25)),
        OURS: _Sequential(ours, hourly),
        "e-SR, the baseline's error alone tolerated": _Sequential(
            _detectors(scenario, reference, errors), hourly
        ),
        "e-SR, baselines taken for the truth": _Sequential(
            _detectors(scenario, reference, None), hourly
        ),
        "e-SR, one baseline for all hours": _Sequential(
            _detectors(scenario, pooled, tolerance), [0] * HOURS
        ),
        LOND: _Online(ours, hourly, rate, every=1),
        LOND_DAILY: _Online(ours, hourly, rate, every=HOURS),
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
    """Say which features are discoveries."""
    values = _p_values(reference, seen)
    ordered = np.sort(values, axis=1)
    ranks = np.arange(1, ordered.shape[1] + 1)
    passed = ordered <= LEVEL * ranks / ordered.shape[1]
    limit = np.where(passed, ordered, -1.0).max(axis=1, keepdims=True)
    found: Flags = values <= limit
    return found


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
