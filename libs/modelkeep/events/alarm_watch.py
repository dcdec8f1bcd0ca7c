"""What a model's false-alarm detectors saw, window by window. Part of monitoring's
language.

Streams: `watch-<tenant>.<model>`. Evidence and detectors are documents of
`modelkeep.stats.e_detector`, as text: where a detector stands is a fact once computed,
so that neither a replay nor a restart computes it again.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelkeep.events.base import Event
from modelkeep.events.false_alarms import GroupMetric, Part, Period, WatchKind
from modelkeep.events.monitoring import Json, Name, Positive, Word
from modelkeep.events.types import (
    Count,
    Digest,
    Finite,
    Instant,
    Share,
    Slug,
    Title,
    Value,
)


class WatchTerms(Value):
    """What a detector rests on: others make another detector.

    `profile` and `document` identify the baseline's counts and the budget's text.
    `false_alarms` is the detector's part in `windows` of a period, which `sharing`
    versions and environments divide.
    """

    baseline: Slug
    profile: Digest
    budget: Slug
    document: Digest
    false_alarms: Part
    windows: Annotated[int, Field(ge=1, lt=2**53)]
    sharing: Annotated[int, Field(ge=1, le=1_000_000)]


class WatchBegun(Value):
    """A detector began at nothing: the first, or because what it rests on changed."""

    because: Literal["first", "baseline", "budget"]
    detector: Json


class WatchAlarm(Value):
    """Why a detector spoke. `share` was seen in cell `cell` of `group` (a feature, the
    score, a metric) and left the band at `edge`. `since` is the start of the first of
    the `windows` for which the change is believed to have lasted.
    """

    group: Name
    cell: Count
    side: Literal["above", "below"]
    share: Share
    edge: Share
    since: Instant
    windows: Count


class WatchStep(Value):
    """One detector after a window: `value` was held against `threshold`; `evidence` is
    where it stands, at nothing again after an alarm. `n` rows or outcomes were seen.
    """

    monitor: WatchKind
    terms: WatchTerms
    value: Positive
    threshold: Positive
    windows: Count
    n: Count
    evidence: Json
    begun: WatchBegun | None = None
    alarm: WatchAlarm | None = None


class GroupTest(Value):
    """A group beside the reference, tested once a window. `loud`: `value` breaks its
    `limit`, which would be said with a chance of `error` at most were it kept.
    """

    metric: GroupMetric
    column: Name
    group: Word
    reference: Word
    value: Finite
    limit: Finite
    n: Count
    error: Share
    loud: bool


class WatchStepped(Event, name="monitoring.watch-stepped"):
    """A window was counted by some of a version's detectors: once by each. Of `tests`
    of declared groups, the rates of favour are tested as the window closes, and those
    who merited it when outcomes are mature.

    At most `false_alarms` a `period` were allowed then. `method` names the code.
    """

    model: Slug
    version: Slug
    environment: Slug
    window: Slug
    start: Instant
    end: Instant
    false_alarms: Part
    period: Period
    steps: Annotated[tuple[WatchStep, ...], Field(max_length=4)]
    method: Title
    tests: Annotated[tuple[GroupTest, ...], Field(max_length=300)] = ()
