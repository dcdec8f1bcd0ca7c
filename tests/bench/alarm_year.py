"""What a false-alarm budget says of a year that was played, beside the fixed limits.

Reads the log of a finished demo and nothing else: the same windows, baselines and
outcomes, once by the rules that spoke then and once by the detectors.

    modelkeep demo --home HOME && python -m tests.bench.alarm_year HOME [alike] [model]
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep.events import load_all
from modelkeep.events.alarm_watch import WatchAlarm, WatchStepped
from modelkeep.events.base import Event, decode
from modelkeep.events.false_alarms import FalseAlarms, quarter_of
from modelkeep.events.monitoring import (
    AlertRaised,
    AlertRepeated,
    BaselineRegistered,
    WindowClosed,
    WindowRestated,
)
from modelkeep.home import Home
from modelkeep.ledger import stream_name
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing.deciding import Past, given
from modelkeep_services.monitoring.alarm_eyes import WATCH, asked_of, eyes
from modelkeep_services.monitoring.alarm_rules import DRIFT, OUTCOMES
from modelkeep_services.monitoring.alarm_watch import StepWatch
from modelkeep_services.monitoring.windows import Reference

CADENCE = 24.0 * 7
BUDGETED = DRIFT | OUTCOMES


def events(home: Path, model: str) -> Iterator[Event]:
    load_all()
    with SqliteStore(Home(home).ledger) as store:
        for one in store.read_stream(stream_name("monitor", "main", model)):
            yield decode(one.name, one.schema_version, one.data)


@dataclass
class Told:
    """Counts by quarter of a window's start; `first` alarms of each detector."""

    fixed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    watch: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    windows: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    evidence_bytes: list[int] = field(default_factory=list)


def told(home: Path, model: str, budget: FalseAlarms) -> Told:
    found, past = Told(), given(WATCH)
    references: dict[str, Reference] = {}
    kinds: dict[str, str] = {}
    for event in events(home, model):
        match event:
            case BaselineRegistered():
                references[event.version] = Reference(
                    event.baseline, event.profile, event.threshold, event.performance
                )
            case AlertRaised():
                if event.kind in BUDGETED and event.start is not None:
                    kinds[event.alert] = event.kind
                    _fixed(found, event)
            case AlertRepeated() if event.alert in kinds:
                found.lines.append(
                    f"fixed   again  {event.window} {kinds[event.alert]}"
                )
            case WindowClosed() | WindowRestated():
                past = _windowed(found, past, event, references, budget)
    return found


def _fixed(found: Told, event: AlertRaised) -> None:
    assert event.start is not None
    found.fixed[quarter_of(event.start)][event.kind] += 1
    found.lines.append(
        f"fixed   raised {event.window} {event.kind} {event.feature or event.metric} "
        f"{event.value:.4g} > {event.threshold:.4g}"
    )


def _windowed(
    found: Told,
    past: Past,
    event: WindowClosed | WindowRestated,
    references: dict[str, Reference],
    budget: FalseAlarms,
) -> Past:
    reference = references.get(event.version)
    if reference is None or event.figures.baseline != reference.name:
        return past
    closed = isinstance(event, WindowClosed)
    if closed:
        found.windows[quarter_of(event.start)] += 1
    seen = eyes(
        asked_of(budget, CADENCE, 1, reference),
        event.profile if closed else None,
        event.figures,
    )
    command = StepWatch(
        model=event.model,
        version=event.version,
        environment=event.environment,
        window=event.window,
        start=event.start,
        end=event.end,
        cadence_hours=CADENCE,
        false_alarms=budget.false_alarms,
        period=budget.period,
        eyes=seen,
    )
    outcome = past.when(command)
    for stepped in outcome.events:
        assert isinstance(stepped, WatchStepped)
        _spoken(found, stepped)
    return outcome.and_then()


def _spoken(found: Told, event: WatchStepped) -> None:
    for step in event.steps:
        found.evidence_bytes.append(len(step.evidence))
        if step.alarm is not None:
            found.watch[quarter_of(event.start)][step.monitor] += 1
            found.lines.append(
                f"budget  spoke  {event.window} {step.monitor} "
                f"{_alarm(step.alarm)} {step.value:.4g} > {step.threshold:.4g}"
            )


def _alarm(alarm: WatchAlarm) -> str:
    return (
        f"{alarm.group}[{alarm.cell}] {alarm.share:.4f} {alarm.side} {alarm.edge:.4f} "
        f"since {alarm.since:%Y-%m-%d}"
    )


def main(arguments: list[str]) -> None:
    home = Path(arguments[0])
    alike = int(arguments[1]) if len(arguments) > 1 else 1
    model = arguments[2] if len(arguments) > 2 else "late-arrival"
    found = told(home, model, FalseAlarms(alike=alike))
    for line in found.lines:
        sys.stdout.write(f"{line}\n")
    for quarter in sorted(found.windows):
        sys.stdout.write(
            f"{quarter}: {found.windows[quarter]} windows; fixed "
            f"{dict(found.fixed[quarter])}; budget {dict(found.watch[quarter])}\n"
        )
    if found.evidence_bytes:
        sys.stdout.write(f"evidence at most {max(found.evidence_bytes)} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
