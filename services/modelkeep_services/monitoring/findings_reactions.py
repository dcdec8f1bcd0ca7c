"""A period is over when a window of a later one closes: then it is reviewed.

Everything is read as of that window: the period's windows as last restated, beside the
baseline that their version has. Of outcomes those count that came of age within the
period. A version whose windows were counted beside another baseline, or in several
seasons, has fewer of them or none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from modelkeep.events.false_alarms import FalseAlarms, period_of
from modelkeep.events.monitoring import MonitorConfigured, WindowClosed
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.stats.e_detector import Detector
from modelkeep.stats.period_evidence import Counted, period_evidence
from modelkeep.stats.seasons import Season
from modelkeep.views import Fact, Reader
from modelkeep_services.monitoring import findings_views, known, views
from modelkeep_services.monitoring.alarm_eyes import (
    NO_SEASONS,
    Asked,
    asked_of,
    eyes,
)
from modelkeep_services.monitoring.alarm_rules import fits
from modelkeep_services.monitoring.alarm_watch import Eye
from modelkeep_services.monitoring.findings import FINDINGS, Hypothesis, ReviewFindings
from modelkeep_services.monitoring.seasonal import key_of
from modelkeep_services.monitoring.sides import apart, within
from modelkeep_services.monitoring.windows import parsed

MOST_WINDOWS: Final = 10_000
"""Of a period, the last; more than an hour of each day of a year."""

reviewing = Reactor("monitoring.findings")


@reviewing.on(WindowClosed)
def window_closed(event: WindowClosed, fact: Fact, read: Reader) -> Iterator[Reaction]:
    monitor = known.monitor(read, event.model)
    budget = monitor.false_alarms
    if budget is None or monitor.cadence_hours is None:
        return
    start, end = _period_before(event.start, budget)
    done = read.get(findings_views.through, event.model)
    if done is not None and done.end >= end:
        return
    for version, environment in _lanes(event, read):
        command = _review(version, environment, start, end, monitor, budget, read)
        if command is not None:
            yield Reaction(
                stream_name("findings", fact.tenant, event.model),
                FINDINGS,
                command,
                part=f"/{version}/{environment}",
            )


def _period_before(at: datetime, budget: FalseAlarms) -> tuple[datetime, datetime]:
    end, _ = period_of(at, budget.period)
    start, _ = period_of(end - timedelta(microseconds=1), budget.period)
    return start, end


def _lanes(event: WindowClosed, read: Reader) -> Sequence[tuple[str, str]]:
    """Return versions and environments that have, or had, traffic; in order."""
    prefix = f"{event.model}/"
    found = {
        (key.removeprefix(prefix), environment)
        for key, row in read.scan(views.versions, prefix)
        for environment in row.shares
    }
    return sorted(found | {(event.version, event.environment)})


def _review(
    version: str,
    environment: str,
    start: datetime,
    end: datetime,
    monitor: MonitorConfigured,
    budget: FalseAlarms,
    read: Reader,
) -> ReviewFindings | None:
    """Return what is to be tested; None where no window was closed."""
    cadence = timedelta(hours=monitor.cadence_hours or 0)
    maturity = timedelta(hours=monitor.outcome_maturity_hours)
    first = max(start - maturity, end - MOST_WINDOWS * cadence)
    found = within(
        read, monitor.model, version, environment, first, end, 2 * MOST_WINDOWS
    )
    rows, _ = apart(list(found))
    own = [row for row in rows if row.start >= start]
    if not own:
        return None
    asked = _asked(monitor, budget, version, read)
    aged = [row for row in rows if _came_of_age(row, start, end)]
    hypotheses = () if asked is None else _hypotheses(asked, own, aged, read)
    return ReviewFindings(
        model=monitor.model,
        version=version,
        environment=environment,
        start=start,
        end=end,
        rate=budget.false_discovery_rate,
        windows=len(own),
        baseline=None if asked is None else asked.baseline,
        hypotheses=tuple(hypotheses),
    )


def _came_of_age(row: views.WindowRow, start: datetime, end: datetime) -> bool:
    at = row.figures.matures_at
    return at is not None and start <= at < end and row.figures.mature


def _asked(
    monitor: MonitorConfigured, budget: FalseAlarms, version: str, read: Reader
) -> Asked | None:
    reference = known.reference(read, monitor.model, version)
    if reference is None or monitor.cadence_hours is None:
        return None
    if not fits(len(reference.baseline.layout.features), budget):
        return None
    row = read.get(views.baselines, f"{monitor.model}/{version}")
    seasons: Mapping[str, str] = NO_SEASONS
    if row is not None and row.event.seasons and monitor.cadence_hours <= 1:
        seasons = row.event.seasons
    # thresholds do not matter here: bands and bets are those of any budget
    return asked_of(budget, monitor.cadence_hours, 1, reference, seasons)


def _hypotheses(
    asked: Asked,
    own: Sequence[views.WindowRow],
    aged: Sequence[views.WindowRow],
    read: Reader,
) -> Iterator[Hypothesis]:
    seen: dict[str, dict[str, Counted]] = {}
    detectors: dict[str, str] = {}
    for eye in _eyes(asked, own, aged, read):
        counted = Counted(np.array(eye.hits), np.array(eye.trials))
        known_of = seen.setdefault(eye.monitor, {})
        before = known_of.get(eye.season)
        known_of[eye.season] = counted if before is None else _plus(before, counted)
        detectors[eye.monitor] = eye.detector
    for monitor in sorted(seen):
        detector = Detector.from_json(detectors[monitor])
        for found in period_evidence(detector, seen[monitor]):
            yield Hypothesis(
                monitor=monitor, group=found.name, n=found.n, log_e=found.log_e
            )


def _plus(one: Counted, other: Counted) -> Counted:
    return Counted(one.hits + other.hits, one.trials + other.trials)


def _eyes(
    asked: Asked,
    own: Sequence[views.WindowRow],
    aged: Sequence[views.WindowRow],
    read: Reader,
) -> Iterator[Eye]:
    """Yield what each detector saw: of rows in the period, of outcomes when mature."""
    kind = _kind(asked, own[0], read)
    for window in own:
        season, profile = _season(kind, asked, window), _profile(asked, window, read)
        if season is not None and profile is not None:
            for eye in eyes(asked, profile, window.figures, season):
                if eye.monitor != "performance":
                    yield eye
    for window in aged:
        season = _season(kind, asked, window)
        if season is not None:
            yield from eyes(asked, None, window.figures, season)


def _kind(asked: Asked, window: views.WindowRow, read: Reader) -> Season:
    row = read.get(views.baselines, f"{window.model}/{window.version}")
    if row is None or not asked.seasons:
        return Season.NONE
    return Season(row.event.season.replace("_", "-"))


def _season(kind: Season, asked: Asked, window: views.WindowRow) -> str | None:
    """None where it lies in several, or was counted beside another baseline."""
    if window.figures.baseline != asked.baseline:
        return None
    return key_of(kind, window.start, window.end)


def _profile(asked: Asked, window: views.WindowRow, read: Reader) -> str | None:
    """None where another baseline has taken the name of the one it was counted in."""
    stored = read.get(views.profiles, f"{window.model}/{window.window}")
    if stored is None or not stored.profile:
        return None
    layout = json.loads(stored.profile)["layout"]
    same = layout == parsed(asked.profile).layout.digest
    return stored.profile if same else None


REACTORS: Final = (reviewing,)
