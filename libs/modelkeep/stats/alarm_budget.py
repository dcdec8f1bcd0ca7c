"""The false-alarm budget: what "at most N a quarter" asks of each detector.

An owner states N for a model and a period. The monitors of the model share it; a
monitor that is promised n of W windows runs its detector at

    alpha = n / W,        threshold 1 / alpha,        average run length >= W / n,

and an e-SR detector (see `e_detector`) then has at most n false alarms in W windows in
expectation, whatever the dependence between monitors: expectations add. N may be below
1: by Markov's inequality .05 means that a quarter is free of false alarms with a
probability of 95 % at least.

The promise is on alarms where nothing left its tolerance band, if the bands hold the
true shares, which fails with a probability of 1 - `confidence` a detector. Standard
library only, except where a function says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final, NamedTuple, Self, cast

from modelkeep.errors import Invalid

FORMAT: Final = "modelkeep.alarm-budget/1"
DAY: Final = 86_400
STEEPEST: Final = 0.5
"""No alpha is above it: a detector that may speak at every window says nothing."""


MOST_ODDS: Final = 1_000
MOST_ALIKE: Final = 1_000_000


class Monitor(StrEnum):
    """One detector of a model each; all features together are one. Of declared groups
    each window is tested by itself.
    """

    FEATURES = "features"
    PREDICTION = "prediction"
    MISSING = "missing"
    PERFORMANCE = "performance"
    FAIRNESS = "fairness"


DETECTORS: Final = (
    Monitor.FEATURES,
    Monitor.PREDICTION,
    Monitor.MISSING,
    Monitor.PERFORMANCE,
)
"""Those that remember."""


class Period(StrEnum):
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"

    @property
    def seconds(self) -> int:
        """Return its longest length, so that no period gets more than was promised."""
        return {"month": 31, "quarter": 92, "year": 366}[self.value] * DAY


@dataclass(frozen=True, slots=True)
class Shares:
    """How the monitors divide the budget, relative to each other."""

    features: float = 0.5
    prediction: float = 0.2
    missing: float = 0.1
    performance: float = 0.2
    fairness: float = 0.1

    def of(self, monitor: Monitor) -> float:
        return cast("float", getattr(self, monitor.value))


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is too little to be called a change, and what of it the baseline excuses.

    A band reaches `relative` of the baseline's share to both sides, `absolute` (a share
    of rows) at least, and in any case as far as the baseline leaves the true share open
    at `confidence`, for all cells and seasons at once.
    """

    relative: float = 0.10
    absolute: float = 0.002
    confidence: float = 0.999

    def __post_init__(self) -> None:
        if not (0 <= self.relative < 1 and 0 <= self.absolute < 1):
            raise Invalid.field("tolerance", "relative and absolute lie in [0, 1)")
        if not 0 < self.confidence < 1:
            raise Invalid.field("tolerance.confidence", "must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class AlarmDocument:
    """What an owner promises and accepts; a policy document with a version.

    `odds` are the changes bet on: how many times the odds at a band's edge. Up to
    `alike` rows of a window may tell the same thing (see `e_detector`). Reviews of
    whole periods have a `false_discovery_rate` (see `e_lond`).
    """

    version: str
    false_alarms: float = 1.0
    period: Period = Period.QUARTER
    shares: Shares = field(default_factory=Shares)
    tolerance: Tolerance = field(default_factory=Tolerance)
    odds: tuple[float, ...] = (1.12, 1.5)
    alike: int = 1
    false_discovery_rate: float = 0.05

    def __post_init__(self) -> None:
        if not self.version:
            raise Invalid.field("version", "every document has one")
        if not 0 < self.false_alarms < math.inf:
            raise Invalid.field("false_alarms", "none at all cannot be promised")
        parts = [self.shares.of(monitor) for monitor in Monitor]
        if not all(0 < part < math.inf for part in parts):
            raise Invalid.field("shares", "every monitor needs a positive part")
        if not self.odds or not all(1 < ratio <= MOST_ODDS for ratio in self.odds):
            raise Invalid.field("odds", "are multiples between 1 and 1,000")
        if not 1 <= self.alike <= MOST_ALIKE:
            raise Invalid.field("alike", "is a number of rows, 1 to 1,000,000")
        if not 0 < self.false_discovery_rate < 1:
            raise Invalid.field("false_discovery_rate", "must lie between 0 and 1")

    @classmethod
    def from_mapping(cls, told: Mapping[str, object]) -> Self:
        """Read a parsed YAML or JSON document; what is left out has its default.

        Raises Invalid naming the field that is unknown or of another kind.
        """
        known = {"format", *(part.name for part in fields(cls))}
        unknown = sorted(map(str, set(told) - known))
        if unknown:
            raise Invalid.field(unknown[0], "is no field of an alarm budget")
        if told.get("format") != FORMAT:
            raise Invalid.field("format", f"must be {FORMAT}")
        odds = told.get("odds", list(cls("?").odds))
        if not isinstance(odds, list):
            raise Invalid.field("odds", "is a list of numbers")
        try:
            period = Period(str(told.get("period", Period.QUARTER)))
        except ValueError:
            raise Invalid.field("period", "is month, quarter or year") from None
        return cls(
            version=str(told.get("version", "")),
            false_alarms=_number("false_alarms", told.get("false_alarms", 1.0)),
            period=period,
            shares=Shares(**_numbers("shares", told, Shares)),
            tolerance=Tolerance(**_numbers("tolerance", told, Tolerance)),
            odds=tuple(_number("odds", ratio) for ratio in odds),
            alike=_whole("alike", told.get("alike", 1)),
            false_discovery_rate=_number(
                "false_discovery_rate", told.get("false_discovery_rate", 0.05)
            ),
        )

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a YAML document; needs pyyaml. Raises Invalid for anything else."""
        from modelkeep import yaml_document  # noqa: PLC0415 - pure callers parse nothing

        return cls.from_mapping(yaml_document.read("document", text))


class Allotment(NamedTuple):
    """What one monitor may spend: `false_alarms` in `windows` of a period."""

    monitor: Monitor
    false_alarms: float
    windows: int
    alpha: float

    @property
    def threshold(self) -> float:
        """Return 1 / alpha, at which the detector speaks."""
        return 1 / self.alpha


def windows_in(period: Period, cadence: int) -> int:
    """Return the windows that may close in a period, one every `cadence` seconds.

    >>> windows_in(Period.QUARTER, 3_600)
    2208
    """
    if cadence < 1:
        raise Invalid.field("cadence", "windows are at least a second apart")
    return max(1, math.ceil(period.seconds / cadence))


def split(
    document: AlarmDocument, windows: Mapping[Monitor, int]
) -> Mapping[Monitor, Allotment]:
    """Divide the budget among the monitors a model has, each with its windows a period.

    The part of a monitor that the model lacks goes to the others. One false alarm a
    quarter, hourly windows and features alone: alpha is 1 in 2,208.

    >>> found = split(AlarmDocument("a"), {Monitor.FEATURES: 2_208})
    >>> found[Monitor.FEATURES].false_alarms, round(1 / found[Monitor.FEATURES].alpha)
    (1.0, 2208)
    """
    if any(count < 1 for count in windows.values()):
        raise Invalid.field("windows", "a monitor without windows is none")
    whole = math.fsum(document.shares.of(monitor) for monitor in windows)
    return {
        monitor: _allot(
            monitor,
            document.false_alarms * document.shares.of(monitor) / whole,
            windows[monitor],
        )
        for monitor in Monitor
        if monitor in windows
    }


def _allot(monitor: Monitor, false_alarms: float, windows: int) -> Allotment:
    alpha = min(STEEPEST, false_alarms / windows)
    return Allotment(monitor, false_alarms, windows, alpha)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid.field(name, f"{value!r} is not a number")
    return float(value)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid.field(name, f"{value!r} is not a whole number")
    return value


def _numbers(
    name: str, told: Mapping[str, object], kind: type[Shares | Tolerance]
) -> dict[str, float]:
    part = told.get(name, {})
    if not isinstance(part, Mapping):
        raise Invalid.field(name, "is a mapping of numbers")
    known = {one.name for one in fields(kind)}
    for key in part:
        if key not in known:
            raise Invalid.field(f"{name}.{key}", "is no field of an alarm budget")
    return {str(key): _number(f"{name}.{key}", value) for key, value in part.items()}
