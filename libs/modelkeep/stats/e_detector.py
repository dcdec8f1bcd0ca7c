"""The e-SR detector: evidence that shares left their bands, and a budget of alarms.

Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change
detection", The New England Journal of Statistics in Data Science (2024), doi
10.51387/23-NEJSDS51; the update is that of the first author's package stcpR6 (its class
`SR`), a mixture that of its `MixE`.

A *cell* is a share that should stay inside a band [low, high]: of the rows that fall
into a bin, lack a value, or turn out wrong. A *component* bets that a cell has left its
band on one side, so far that the odds at the edge are multiplied (or divided) by r.
With c hits in n trials, b the edge and q the share with those odds, its likelihood
ratio

    L = (q / b) ** c  ((1 - q) / (1 - b)) ** (n - c)

has a mean of at most 1 whatever the true share inside the band, given rows that are
independent inside a window. Evidence starts at M = 0, and each window makes it

    M <- (1 + M) L.

A weighted mean of components is again such evidence under any dependence between them,
so that all features together are *one* detector: alarm when the mean reaches 1 / alpha,
then begin anew at 0. Between alarms, M less the number of windows is a supermartingale,
and at an alarm M has reached 1 / alpha. So while nothing leaves its band,

    expected alarms in the first W windows <= alpha W,

for every W, without asymptotics, and the mean run between alarms is at least 1 / alpha.

Rows that are not independent: let them come in groups of at most k (the flights of an
hour share its weather), any dependence within a group and none between. Then a row's
ratio r counts to the power of 1 / k. For a group of m <= k rows, Hoelder's inequality
bounds the mean of their product by that of each r ** (m / k), to the power of 1 / m,
and Jensen's those by 1; so L still has a mean of at most 1. That is `alike`.

Rounding keeps the promise and makes a replay exact. A component is held as log(1 + M)
in whole thousandths of a nat, always rounded down: all arithmetic of an update is on
integers, and rounding never adds evidence. What is less than M = .05 is rounded to 0.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.bins import Counts, Floats

DETECTOR_FORMAT: Final = "modelkeep.e-detector/1"
EVIDENCE_FORMAT: Final = "modelkeep.evidence/1"

Levels = NDArray[np.uint16]
"""log(1 + M) in thousandths of a nat."""
Flags = NDArray[np.bool_]

NAT: Final = 1_000
SHIFT: Final = 20
"""Bets are held in 2 ** -20 of a level, so that many rows do not add up roundings."""
BILLION: Final = 1_000_000_000
MOST_ODDS: Final = 1_000
MOST_TRIALS: Final = 100_000_000
"""More in one window could overflow 64 bits."""

HIGHEST: Final = 65_535
"""M = e ** 65, far beyond any alarm."""
LEAST: Final = 49
"""Levels below, M < .05, are rounded to 0: most of the state is then nothing at all."""
ONE: Final = 693
"""M = 1: what one window without evidence leaves."""

_REACH: Final = 7_000


def _soften() -> Levels:
    whole = np.arange(-_REACH, HIGHEST + 1)
    more = np.floor(NAT * np.log1p(np.exp(-np.abs(whole) / NAT))).astype(np.int64)
    soft = np.minimum(np.maximum(whole, 0) + more, HIGHEST)
    return np.where(soft < LEAST, 0, soft).astype(np.uint16)


_SOFT: Final = _soften()
"""log(1 + e ** x) from x = -7 nats to the highest level; beyond, its ends."""
_M: Final = np.expm1(np.arange(HIGHEST + 1) / NAT)


class Side(StrEnum):
    ABOVE = "above"
    BELOW = "below"


BOTH: Final = (Side.ABOVE, Side.BELOW)


class Bets(NamedTuple):
    """What a miss is worth to each component, and a hit instead of one, for one season.

    In 2 ** -SHIFT of a level. `live`: the components that have an edge to bet against,
    which may be `everywhere`.
    """

    swap: Counts
    miss: Counts
    live: Flags
    everywhere: bool


class Alarm(NamedTuple):
    """Why a detector spoke: the group that leads, and its leading component.

    `cell` counts inside the group. `share` was observed in this window, `edge` is the
    side of the band that was left. `since` is the estimated onset: the window, counted
    from 1, after the leading component was last near 0 (M <= 1).
    """

    name: str
    cell: int
    side: Side
    share: float
    edge: float
    since: int
    window: int
    evidence: float
    threshold: float

    @property
    def windows(self) -> int:
        """Return how many windows the change is believed to have lasted."""
        return self.window - self.since + 1


@dataclass(frozen=True, eq=False)
class Evidence:
    """Where a detector stands; immutable, and all that a restart needs.

    `windows` were looked at since it was first started. `ages`: for how many windows on
    end a component has been above M = 1.
    """

    detector: str
    windows: int
    levels: Levels
    ages: Levels

    @cached_property
    def digest(self) -> str:
        """Identify the state, not its spelling."""
        told = f"{EVIDENCE_FORMAT}|{self.detector}|{self.windows}|".encode()
        return hashlib.sha256(told + self._raw()).hexdigest()[:32]

    def to_json(self) -> bytes:
        """Return the state; `levels` is base64 of zlib of little-endian uint16.

        First the levels, then the ages, both [bet, cell] in rows.
        """
        packed = base64.b64encode(zlib.compress(self._raw(), 9)).decode()
        told = {
            "format": EVIDENCE_FORMAT,
            "detector": self.detector,
            "windows": self.windows,
            "digest": self.digest,
            "levels": packed,
        }
        return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()

    def _raw(self) -> bytes:
        both = np.stack([self.levels, self.ages])
        return both.astype("<u2").tobytes()


class Step(NamedTuple):
    """What a window did: the evidence after it (anew after an alarm), and the alarm.

    `value` is the mean of M that was held against the threshold, to 4 decimals.
    """

    evidence: Evidence
    value: float
    alarm: Alarm | None


@dataclass(frozen=True, eq=False)
class Detector:
    """Bands and bets, fixed before the first window.

    Groups of cells lie end to end, from each of `starts`; every group weighs alike
    however many cells it has. `low` and `high` are bands in billionths, a row for each
    of `seasons`: 16 bytes a cell and season, and their bets 34 more for each ratio.
    `unit` says what a hit counts: 1 for rows, 1,000 where `hits` are sums
    of losses between 0 and 1 in thousandths, for which the same ratio is evidence
    because it is convex in the loss. `alike` is the k of the module's text.
    """

    names: tuple[str, ...]
    starts: Counts
    seasons: tuple[str, ...]
    low: Counts
    high: Counts
    threshold: float
    odds: tuple[float, ...]
    sides: tuple[Side, ...] = BOTH
    unit: int = 1
    alike: int = 1

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.shape[0] != len(self.seasons):
            raise Invalid.field("low", "bands need a row for each season")
        if not self.names or len(self.names) != self.starts.size:
            raise Invalid.field("names", "every group of cells has one")
        if np.any(np.diff(np.append(self.starts, self.low.shape[1])) < 1):
            raise Invalid.field("groups", "every group has a cell")
        if np.any(self.low < 0) or np.any(self.low > self.high):
            raise Invalid.field("low", "lies between 0 and high")
        if np.any(self.high > BILLION):
            raise Invalid.field("high", "is a share in billionths")
        if not 1 < self.threshold < math.inf:
            raise Invalid.field("threshold", "is 1 / alpha, and alpha is below 1")
        if not self.odds or not all(1 < ratio <= MOST_ODDS for ratio in self.odds):
            raise Invalid.field("odds", "are multiples between 1 and 1,000")
        if not self.sides or len(set(self.sides)) != len(self.sides):
            raise Invalid.field("sides", "are above, below or both")
        if min(self.unit, self.alike) < 1:
            name = "unit" if self.unit < 1 else "alike"
            raise Invalid.field(name, "is 1 or more")

    @classmethod
    def between(
        cls,
        groups: Sequence[tuple[str, int]],
        low: Floats,
        high: Floats,
        *,
        threshold: float,
        odds: Sequence[float],
        seasons: Sequence[str] = ("",),
        sides: Sequence[Side] = BOTH,
        unit: int = 1,
        alike: int = 1,
    ) -> Self:
        """Return the detector of bands given as shares, [season, cell].

        `groups` are names and numbers of cells. Edges are rounded outwards.
        """
        sizes = np.array([size for _, size in groups], dtype=np.int64)
        return cls(
            tuple(name for name, _ in groups),
            np.cumsum(np.append(0, sizes))[:-1].astype(np.int64),
            tuple(seasons),
            np.floor(np.asarray(low) * BILLION).astype(np.int64),
            np.ceil(np.asarray(high) * BILLION).astype(np.int64),
            threshold,
            tuple(odds),
            tuple(sides),
            unit,
            alike,
        )

    @cached_property
    def digest(self) -> str:
        """Identify the detector: evidence is only worth something to the same."""
        return hashlib.sha256(self.to_json()).hexdigest()[:32]

    @cached_property
    def bets(self) -> tuple[Bets, ...]:
        """Return a season's bets each: [bet, cell], all ratios above, then below."""
        return tuple(self._bets(season) for season in range(len(self.seasons)))

    @cached_property
    def weights(self) -> Floats:
        """Return how much each component counts, [bet, cell], adding up to 1."""
        live = np.logical_or.reduce([bets.live for bets in self.bets])
        in_group = np.add.reduceat(live.sum(axis=0), self.starts)
        used = int(np.count_nonzero(in_group))
        each = 1 / (np.maximum(in_group, 1) * max(used, 1))
        sizes = np.diff(np.append(self.starts, self.low.shape[1]))
        weights: Floats = live * np.repeat(each, sizes)
        return weights

    def start(self) -> Evidence:
        shape = self.weights.shape
        nothing = np.zeros(shape, dtype=np.uint16)
        return Evidence(self.digest, 0, nothing, nothing)

    def season(self, key: str) -> int:
        """Raise Invalid for a season that has no bands."""
        try:
            return self.seasons.index(key)
        except ValueError:
            raise Invalid.field("season", f"there is no baseline of {key!r}") from None

    def update(
        self, evidence: Evidence, hits: Counts, trials: Counts, season: str = ""
    ) -> Step:
        """Return what a window of `hits` in `trials` does, each a number a cell.

        Cells without trials stand still. A window without any is none: the evidence
        comes back as it was. Raises Invalid for evidence of another detector.
        """
        if evidence.detector != self.digest:
            raise Invalid.field("evidence", "belongs to another detector")
        if self._most(hits, trials) == 0:
            return Step(evidence, self.value(evidence), None)
        bets = self.bets[self.season(season)]
        of = trials if self.unit == 1 else trials * self.unit
        levels = advance(evidence.levels, hits, of, bets)
        above = levels > ONE
        # an age that has no room left stands still
        older = (
            above if evidence.windows < HIGHEST else above & (evidence.ages < HIGHEST)
        )
        ages = (evidence.ages + older) * above
        windows = evidence.windows + 1
        after = Evidence(self.digest, windows, levels, ages)
        value = self.value(after)
        if value < self.threshold:
            return Step(after, value, None)
        alarm = self.explain(after, hits, trials, season)
        anew = self.start()
        return Step(
            Evidence(self.digest, windows, anew.levels, anew.ages), value, alarm
        )

    def value(self, evidence: Evidence) -> float:
        """Return the weighted mean of M, to 4 decimals."""
        return round(float(worth(evidence.levels, self.weights)), 4)

    def by_name(self, evidence: Evidence) -> dict[str, float]:
        """Return each group's part in the mean, to 4 decimals."""
        parts = self._parts(evidence)
        return {
            name: round(float(part), 4)
            for name, part in zip(self.names, parts, strict=True)
        }

    def explain(
        self, evidence: Evidence, hits: Counts, trials: Counts, season: str = ""
    ) -> Alarm:
        """Return what leads the evidence after a window, whether it suffices or not."""
        ends = np.append(self.starts, self.low.shape[1])
        group = int(np.argmax(self._parts(evidence)))
        first, last = int(ends[group]), int(ends[group + 1])
        own = (self.weights * _M[evidence.levels])[:, first:last]
        bet, cell = divmod(int(np.argmax(own)), last - first)
        side, place = self.sides[bet // len(self.odds)], first + cell
        edges = self.high if side is Side.ABOVE else self.low
        tried = max(1, int(trials[place]) * self.unit)
        return Alarm(
            name=self.names[group],
            cell=cell,
            side=side,
            share=round(int(hits[place]) / tried, 6),
            edge=round(int(edges[self.season(season), place]) / BILLION, 6),
            since=evidence.windows - int(evidence.ages[bet, place]) + 1,
            window=evidence.windows,
            evidence=self.value(evidence),
            threshold=self.threshold,
        )

    def to_json(self) -> bytes:
        """Return the same bytes for the same detector."""
        sizes = np.diff(np.append(self.starts, self.low.shape[1])).tolist()
        told: dict[str, object] = {
            "format": DETECTOR_FORMAT,
            "groups": list(zip(self.names, sizes, strict=True)),
            "seasons": list(self.seasons),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "threshold": float(self.threshold),
            "odds": [float(ratio) for ratio in self.odds],
            "sides": list(self.sides),
            "unit": self.unit,
        }
        if self.alike > 1:
            told["alike"] = self.alike
        return json.dumps(
            told, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Raise Corrupt when this is not what `to_json` wrote."""
        try:
            told = json.loads(data)
            if told["format"] != DETECTOR_FORMAT:
                raise Corrupt(f"{told['format']} is not {DETECTOR_FORMAT}")
            sizes = [int(size) for _, size in told["groups"]]
            return cls(
                tuple(str(name) for name, _ in told["groups"]),
                np.cumsum([0, *sizes], dtype=np.int64)[:-1],
                tuple(told["seasons"]),
                np.array(told["low"], dtype=np.int64),
                np.array(told["high"], dtype=np.int64),
                float(told["threshold"]),
                tuple(float(ratio) for ratio in told["odds"]),
                tuple(Side(side) for side in told["sides"]),
                int(told["unit"]),
                int(told.get("alike", 1)),
            )
        except (ValueError, KeyError, TypeError, Invalid) as problem:
            raise Corrupt(f"this is not a detector: {problem!r}") from problem

    def evidence(self, data: bytes | str) -> Evidence:
        """Read what `Evidence.to_json` wrote.

        Raises Invalid for another detector's, Corrupt for what does not match its
        digest.
        """
        shape = self.weights.shape
        try:
            told = json.loads(data)
            if told["detector"] != self.digest:
                raise Invalid.field("evidence", "belongs to another detector")
            size = 4 * shape[0] * shape[1]
            # never more than the state's own size, whatever the sender compressed
            raw = zlib.decompressobj().decompress(
                base64.b64decode(told["levels"]), max_length=size + 1
            )
            levels, ages = np.frombuffer(raw, dtype="<u2").reshape(2, *shape)
            found = Evidence(
                self.digest,
                int(told["windows"]),
                levels.astype(np.uint16),
                ages.astype(np.uint16),
            )
            if told["digest"] != found.digest:
                raise Corrupt("evidence does not match its digest")
        except (ValueError, KeyError, TypeError, zlib.error) as problem:
            raise Corrupt(f"this is not evidence: {problem!r}") from problem
        return found

    def _bets(self, season: int) -> Bets:
        parts = []
        for side in self.sides:
            edges = self.high if side is Side.ABOVE else self.low
            edge = edges[season] / BILLION
            live = (edge > 0) & (edge < 1)
            inside = np.where(live, edge, 0.5)
            odds = inside / (1 - inside)
            for ratio in self.odds:
                multiple = ratio if side is Side.ABOVE else 1 / ratio
                miss = np.log1p(odds) - np.log1p(multiple * odds)
                parts.append((np.log(multiple) + miss, miss, live))
        hit, miss, live = (np.stack(column) for column in zip(*parts, strict=True))
        scale = NAT * 2**SHIFT / (self.unit * self.alike)
        missed = np.floor(miss * scale).astype(np.int64)
        return Bets(
            np.floor(hit * scale).astype(np.int64) - missed,
            missed,
            live,
            bool(live.all()),
        )

    def _most(self, hits: Counts, trials: Counts) -> int:
        """Return the most trials of any cell; raise Invalid for impossible counts."""
        cells = self.low.shape[1]
        if hits.shape != (cells,) or trials.shape != (cells,):
            raise Invalid.field("hits", f"{hits.shape} where {cells} cells are watched")
        # a sign is all that matters, so one look is enough
        if (hits | (trials * self.unit - hits)).min() < 0:
            raise Invalid.field("hits", "are more than trials, or less than nothing")
        most = int(trials.max())
        if most > MOST_TRIALS:
            raise Invalid.field("trials", f"are more than {MOST_TRIALS:,} in a window")
        return most

    def _parts(self, evidence: Evidence) -> Floats:
        each = (self.weights * _M[evidence.levels]).sum(axis=0)
        parts: Floats = np.add.reduceat(each, self.starts)
        return parts


def advance(levels: Levels, hits: Counts, trials: Counts, bets: Bets) -> Levels:
    """Return the levels after a window: M <- (1 + M) L, on integers, rounded down.

    The last two axes are [bet, cell]; `hits` and `trials` lack the first of them, and
    any axes before are replicas.
    """
    at, of = hits[..., None, :], trials[..., None, :]
    raised = at * bets.swap
    raised += of * bets.miss
    raised >>= SHIFT
    raised += levels
    raised += _REACH
    after = _SOFT.take(raised, mode="clip")
    if bets.everywhere and of.all():
        return after
    moved: Levels = np.where(bets.live & (of > 0), after, levels)
    return moved


def worth(levels: Levels, weights: Floats) -> Floats:
    """Return the weighted mean of M; axes before [bet, cell] are kept."""
    flat = (*levels.shape[:-2], levels.shape[-2] * levels.shape[-1])
    mean: Floats = np.vecdot(
        _M.take(levels).reshape(flat), weights.reshape(*weights.shape[:-2], flat[-1])
    )
    return mean
