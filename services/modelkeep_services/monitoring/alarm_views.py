"""Where the false-alarm detectors stand, and what they have spent by quarter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from modelkeep.events.alarm_watch import (
    WatchAlarm,
    WatchStep,
    WatchStepped,
    WatchTerms,
)
from modelkeep.events.false_alarms import WatchKind, a_quarter, quarter_of
from modelkeep.views import Fact, Rows, View

BILLION: Final = 1_000_000_000


@dataclass(frozen=True)
class WatchRow:
    """A detector: since when (`begun`, the start of its first window) and why."""

    model: str
    version: str
    environment: str
    monitor: WatchKind
    terms: WatchTerms
    threshold: float
    value: float
    windows: int
    window: str
    begun: datetime
    because: str
    alarms: int = 0
    alarm: WatchAlarm | None = None
    alarm_window: str | None = None
    source: str = ""


watches = View("watches", WatchRow)
"""By `model/version/environment/monitor`."""


@watches.on(WatchStepped)
def stepped(event: WatchStepped, fact: Fact, rows: Rows[WatchRow]) -> None:
    for step in event.steps:
        key = f"{event.model}/{event.version}/{event.environment}/{step.monitor}"
        rows.put(key, _row(rows.get(key), event, step, str(fact.id)))


def _row(
    before: WatchRow | None, event: WatchStepped, step: WatchStep, source: str
) -> WatchRow:
    begun, because = event.start, "first"
    if step.begun is not None:
        because = step.begun.because
    elif before is not None:
        begun, because = before.begun, before.because
    row = WatchRow(
        model=event.model,
        version=event.version,
        environment=event.environment,
        monitor=step.monitor,
        terms=step.terms,
        threshold=round(step.threshold, 4),
        value=step.value,
        windows=step.windows,
        window=event.window,
        begun=begun,
        because=because,
        alarms=0 if before is None else before.alarms,
        alarm=None if before is None else before.alarm,
        alarm_window=None if before is None else before.alarm_window,
        source=source,
    )
    if step.alarm is None:
        return row
    return replace(
        row, alarms=row.alarms + 1, alarm=step.alarm, alarm_window=event.window
    )


@dataclass(frozen=True)
class QuarterRow:
    """What was allowed in a quarter when its last window was counted, and what its
    steps can have cost: the sum of their 1 / threshold, and of the errors of its tests,
    in billionths.
    """

    model: str
    quarter: str
    declared: float
    steps: int = 0
    expected: int = 0
    alarms: int = 0


watch_quarters = View("watch_quarters", QuarterRow, version=2)
"""By `model/quarter`, that of a window's start (UTC), such as 2026Q1."""


@watch_quarters.on(WatchStepped)
def spent(event: WatchStepped, _: Fact, rows: Rows[QuarterRow]) -> None:
    quarter = quarter_of(event.start)
    key = f"{event.model}/{quarter}"
    declared = a_quarter(event.false_alarms, event.period)
    row = rows.get(key) or QuarterRow(event.model, quarter, declared)
    rows.put(
        key,
        replace(
            row,
            declared=declared,
            steps=row.steps + len(event.steps) + len(event.tests),
            expected=row.expected
            + sum(round(BILLION / step.threshold) for step in event.steps)
            + sum(round(BILLION * test.error) for test in event.tests),
            alarms=row.alarms
            + sum(step.alarm is not None for step in event.steps)
            + sum(test.loud for test in event.tests),
        ),
    )


VIEWS: Final = (watches, watch_quarters)
