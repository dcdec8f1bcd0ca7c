"""The false-alarm detectors of a model, window by window: pure decisions.

A window is counted once by each detector of its version and environment: when it first
closes by those of its rows, and when its outcomes are mature by that of performance; so
are declared groups tested, by their rates and by those who merited favour. A window
that restates what was counted, that overlaps it, or that is shorter than the declared
cadence is not counted: rows would count twice, or windows come more often than the
budget was divided by.

How a detector steps is given to `watch_decider`, so that this knows of no arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, StringConstraints

from modelkeep.decider import Command, Context, Decider, decider
from modelkeep.events.alarm_watch import (
    GroupTest,
    WatchAlarm,
    WatchBegun,
    WatchStep,
    WatchStepped,
    WatchTerms,
)
from modelkeep.events.false_alarms import Part, Period, WatchKind
from modelkeep.events.monitoring import Hours, Json
from modelkeep.events.types import Count, Instant, Slug, Value

METHOD: Final = "alarm-watch/1"
MOST_STARTS: Final = 500
"""Windows whose start is remembered: a change that began earlier is told as of then."""
MOST_AWAITING: Final = 10_000
"""Windows that may wait for outcomes; beyond, the oldest are let go."""


Season = Annotated[str, StringConstraints(max_length=10)]
"""Which of a detector's bands a window is held against; empty for its only ones."""


class Eye(Value):
    """A detector as it would begin now, and what it saw of a window, by cell."""

    monitor: WatchKind
    terms: WatchTerms
    detector: Json
    hits: tuple[Count, ...]
    trials: tuple[Count, ...]
    season: Season = ""


class StepWatch(Command):
    """A reaction's: [start, end) closed, or its outcomes are mature."""

    model: Slug
    version: Slug
    environment: Slug
    window: Slug
    start: Instant
    end: Instant
    cadence_hours: Hours
    false_alarms: Part
    period: Period
    eyes: Annotated[tuple[Eye, ...], Field(max_length=4)]
    tests: Annotated[tuple[GroupTest, ...], Field(max_length=300)] = ()


class Spoke(NamedTuple):
    """An alarm; the change is believed to have `lasted` so many windows."""

    group: str
    cell: int
    side: Literal["above", "below"]
    share: float
    edge: float
    lasted: int


class Taken(NamedTuple):
    """A detector after a window."""

    evidence: str
    windows: int
    value: float
    threshold: float
    spoke: Spoke | None


Stepping = Callable[[str, str | None, Sequence[int], Sequence[int], str], Taken]
"""From a detector's text, its evidence (None: it begins), hits, trials, and season;
pure."""


@dataclass(frozen=True)
class WatchState:
    """A detector, where it stands, and when its last windows began."""

    terms: WatchTerms
    detector: str
    evidence: str
    starts: tuple[datetime, ...]


@dataclass(frozen=True)
class Lane:
    """A version in an environment. Rows before `through` were counted; `awaiting` are
    the windows whose outcomes were not.
    """

    through: datetime | None = None
    awaiting: tuple[str, ...] = ()
    watches: Mapping[WatchKind, WatchState] = field(default_factory=dict)


@dataclass(frozen=True)
class WatchesState:
    lanes: Mapping[tuple[str, str], Lane] = field(default_factory=dict)


# --- decide ------------------------------------------------------------------------


def decide(
    stepping: Stepping, command: StepWatch, state: WatchesState, _: Context
) -> Sequence[WatchStepped]:
    lane = state.lanes.get((command.version, command.environment), Lane())
    steps = tuple(_steps(stepping, command, lane))
    tests = tuple(_tests(command, lane))
    if not (steps or tests):
        return []
    said = dict(command)
    del said["eyes"], said["cadence_hours"], said["tests"]
    return [WatchStepped(**said, steps=steps, tests=tests, method=METHOD)]


def _steps(stepping: Stepping, command: StepWatch, lane: Lane) -> Iterator[WatchStep]:
    fresh = _is_fresh(command, lane)
    for eye in command.eyes:
        late = eye.monitor == "performance" and command.window in lane.awaiting
        if (fresh or late) and any(eye.trials):
            yield _step(stepping, eye, lane.watches.get(eye.monitor), command.start)


def _tests(command: StepWatch, lane: Lane) -> Iterator[GroupTest]:
    fresh, late = _is_fresh(command, lane), command.window in lane.awaiting
    for test in command.tests:
        if fresh or (late and test.metric == "equal_opportunity"):
            yield test


def _is_fresh(command: StepWatch, lane: Lane) -> bool:
    whole = command.end - command.start >= timedelta(hours=command.cadence_hours)
    return whole and (lane.through is None or command.start >= lane.through)


def _step(
    stepping: Stepping, eye: Eye, before: WatchState | None, start: datetime
) -> WatchStep:
    because = _because(before, eye.terms)
    known = None if because else before
    detector = eye.detector if known is None else known.detector
    evidence = None if known is None else known.evidence
    taken = stepping(detector, evidence, eye.hits, eye.trials, eye.season)
    starts = () if known is None else known.starts
    spoke = taken.spoke
    return WatchStep(
        monitor=eye.monitor,
        terms=eye.terms,
        value=taken.value,
        threshold=taken.threshold,
        windows=taken.windows,
        n=max(eye.trials),
        evidence=taken.evidence,
        begun=WatchBegun(because=because, detector=detector) if because else None,
        alarm=None if spoke is None else _alarm(spoke, (*starts, start)),
    )


def _because(
    before: WatchState | None, terms: WatchTerms
) -> Literal["first", "baseline", "budget"] | None:
    """Say why a detector begins, None where it goes on."""
    if before is None:
        return "first"
    was = before.terms
    if (was.baseline, was.profile) != (terms.baseline, terms.profile):
        return "baseline"
    return None if was == terms else "budget"


def _alarm(spoke: Spoke, starts: Sequence[datetime]) -> WatchAlarm:
    return WatchAlarm(
        group=spoke.group,
        cell=spoke.cell,
        side=spoke.side,
        share=spoke.share,
        edge=spoke.edge,
        since=starts[-min(spoke.lasted, len(starts))],
        windows=spoke.lasted,
    )


# --- evolve ------------------------------------------------------------------------


def evolve(state: WatchesState, event: WatchStepped) -> WatchesState:
    key = event.version, event.environment
    lane = _evolved(state.lanes.get(key, Lane()), event)
    return WatchesState({**state.lanes, key: lane})


def _evolved(lane: Lane, event: WatchStepped) -> Lane:
    watches = dict(lane.watches)
    for step in event.steps:
        watches[step.monitor] = _watch(watches.get(step.monitor), step, event.start)
    of_outcomes = any(step.monitor == "performance" for step in event.steps) or any(
        test.metric == "equal_opportunity" for test in event.tests
    )
    late, through = event.window in lane.awaiting, lane.through
    awaiting = tuple(one for one in lane.awaiting if one != event.window)
    if not late:
        through = event.end
        if not of_outcomes:
            awaiting = (*awaiting, event.window)[-MOST_AWAITING:]
    return replace(lane, through=through, awaiting=awaiting, watches=watches)


def _watch(before: WatchState | None, step: WatchStep, start: datetime) -> WatchState:
    if step.begun is not None:
        return WatchState(step.terms, step.begun.detector, step.evidence, (start,))
    if before is None:
        raise AssertionError("a detector goes on that never began")
    starts = (*before.starts, start)[-MOST_STARTS:]
    return replace(before, evidence=step.evidence, starts=starts)


def watch_decider(stepping: Stepping) -> Decider:
    def deciding(
        command: StepWatch, state: WatchesState, context: Context
    ) -> Sequence[WatchStepped]:
        return decide(stepping, command, state, context)

    return decider(WatchesState(), deciding, evolve)
