"""What monitoring says of models at work, as insight needs it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from modelkeep.events.monitoring import (
    AlertAcknowledged,
    AlertOverdue,
    AlertRaised,
    AlertRepeated,
    AlertResolved,
    BatchRecorded,
    MonitorConfigured,
    OutcomeKind,
    PerformanceFigure,
    SlotCounted,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import Money
from modelkeep.views import Fact, Rows, View


class Drift(NamedTuple):
    feature: str
    psi: float
    lo: float
    hi: float
    importance: float


class Metric(NamedTuple):
    """A performance metric with its 95 % bounds, beside the baseline's own."""

    metric: str
    value: float
    lower: float | None
    upper: float | None
    n: int
    baseline: float | None


@dataclass(frozen=True)
class WindowRow:
    """A window as last stated; `event` stated it so, `first_event` closed it."""

    model: str
    version: str
    environment: str
    window: str
    start: datetime
    end: datetime
    event: str
    first_event: str
    restated: bool
    rows: int
    quarantined: int
    explained: int
    explanation_coverage: float | None
    reason_codes_owed: int
    reason_codes_missing: int
    latency_n: int
    bad: dict[str, int]
    breaches: dict[str, int]
    out_of_bounds: int
    outcomes: int
    never: int
    pending: int
    positives: int
    mature: bool
    matures_at: datetime | None
    performance: tuple[Metric, ...]
    estimated: tuple[Metric, ...] = ()
    """What to expect while the outcomes are immature; none once they are mature."""


windows = View("windows", WindowRow, version=2)
"""By model, then end: `model/end/environment/version/window`."""


@dataclass(frozen=True)
class SlotRow:
    """A stretch of time counted for budgets alone, as last counted by `event`."""

    model: str
    version: str
    environment: str
    start: datetime
    end: datetime
    event: str
    rows: int
    quarantined: int
    latency_n: int
    bad: dict[str, int]
    breaches: dict[str, int]
    outcomes: int
    pending: int
    positives: int


slots = View("slots", SlotRow)
"""By model, then end: `model/end/start/environment/version`."""


@dataclass(frozen=True)
class NewestRow:
    """Keys in `windows`: the newest, and the newest whose performance has matured.

    `drifts` are the newest's, as `event` stated them.
    """

    model: str
    version: str
    environment: str
    window: str
    end: datetime
    event: str
    drifts: tuple[Drift, ...]
    measured: str | None = None
    measured_end: datetime | None = None


newest = View("newest", NewestRow)
"""By `model/environment/version`."""


@dataclass(frozen=True)
class ServingRow:
    """The decisions of one version in one environment; `event` recorded the latest."""

    model: str
    version: str
    environment: str
    rows: int
    last_at: datetime
    deployed: bool
    event: str


serving = View("serving", ServingRow)
"""By `model/environment/version`, from the batches that were logged."""


@dataclass(frozen=True)
class FeedRow:
    model: str
    environment: str
    feed: str
    last_at: datetime
    event: str


feeds = View("feeds", FeedRow)
"""By `model/environment/feed`: when its newest reading was taken."""


@dataclass(frozen=True)
class MonitorRow:
    model: str
    event: str
    cadence_hours: float | None
    grace_hours: float
    feature_sla_hours: dict[str, float]
    reason_codes_compulsory: bool
    outcome_maturity_hours: float
    outcome_kind: OutcomeKind = "binary"


monitors = View("monitors", MonitorRow, version=2)


@dataclass(frozen=True)
class AlertRow:
    """`start` is when the window began in which the breach showed."""

    model: str
    alert: str
    kind: str
    vector: str
    severity: str
    metric: str
    feature: str | None
    cause: str
    version: str | None
    owner: str | None
    play: str | None
    money_per_hour: Money | None
    money_basis: str | None
    raised_at: datetime
    start: datetime | None
    due_at: datetime
    event: str
    sources: tuple[str, ...]
    repeats: int = 0
    acknowledged_at: datetime | None = None
    overdue_event: str | None = None
    resolved_at: datetime | None = None
    resolved_event: str | None = None
    true_alarm: bool | None = None


alerts = View("alerts", AlertRow)
"""By `model/alert`."""


def sortable(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def window_key(event: WindowClosed | WindowRestated) -> str:
    place = f"{event.environment}/{event.version}/{event.window}"
    return f"{event.model}/{sortable(event.end)}/{place}"


@windows.on(WindowClosed)
def closed(event: WindowClosed, fact: Fact, rows: Rows[WindowRow]) -> None:
    first = str(fact.id)
    rows.put(window_key(event), _window(event, first, first, restated=False))


@windows.on(WindowRestated)
def restated(event: WindowRestated, fact: Fact, rows: Rows[WindowRow]) -> None:
    key = window_key(event)
    before = rows.get(key)
    first = str(fact.id) if before is None else before.first_event
    rows.put(key, _window(event, str(fact.id), first, restated=True))


@slots.on(SlotCounted)
def slot_counted(event: SlotCounted, fact: Fact, rows: Rows[SlotRow]) -> None:
    place = f"{sortable(event.start)}/{event.environment}/{event.version}"
    said = event.counts
    rows.put(
        f"{event.model}/{sortable(event.end)}/{place}",
        SlotRow(
            model=event.model,
            version=event.version,
            environment=event.environment,
            start=event.start,
            end=event.end,
            event=str(fact.id),
            rows=said.rows,
            quarantined=said.quarantined,
            latency_n=said.timed,
            bad=dict(sorted(said.bad.items())),
            breaches=dict(sorted(said.breaches.items())),
            outcomes=said.outcomes,
            pending=said.pending,
            positives=said.positives,
        ),
    )


def _window(
    event: WindowClosed | WindowRestated, by: str, first: str, *, restated: bool
) -> WindowRow:
    said = event.figures
    return WindowRow(
        model=event.model,
        version=event.version,
        environment=event.environment,
        window=event.window,
        start=event.start,
        end=event.end,
        event=by,
        first_event=first,
        restated=restated,
        rows=said.rows,
        quarantined=said.quarantined,
        explained=said.explained,
        explanation_coverage=said.explanation_coverage,
        reason_codes_owed=said.reason_codes_owed,
        reason_codes_missing=said.reason_codes_missing,
        latency_n=0 if said.latency_ms is None else said.latency_ms.n,
        bad=dict(sorted(said.bad.items())),
        breaches=dict(sorted(said.breaches.items())),
        out_of_bounds=said.out_of_bounds,
        outcomes=said.outcomes,
        never=said.never,
        pending=said.pending,
        positives=said.positives,
        mature=said.mature,
        matures_at=said.matures_at,
        performance=tuple(map(_metric, said.performance)),
        estimated=tuple(map(_metric, said.estimated.figures if said.estimated else ())),
    )


def _metric(said: PerformanceFigure) -> Metric:
    return Metric(
        said.metric, said.value, said.lower, said.upper, said.n, said.baseline
    )


def _drifts(said: WindowFigures) -> tuple[Drift, ...]:
    return tuple(
        Drift(f.feature, f.psi, f.lo, f.hi, f.importance)
        for f in said.features
        if f.psi is not None and f.lo is not None and f.hi is not None
    )


@newest.on(WindowClosed)
def newest_closed(event: WindowClosed, fact: Fact, rows: Rows[NewestRow]) -> None:
    _newest(event, fact, rows)


@newest.on(WindowRestated)
def newest_restated(event: WindowRestated, fact: Fact, rows: Rows[NewestRow]) -> None:
    _newest(event, fact, rows)


def _newest(
    event: WindowClosed | WindowRestated, fact: Fact, rows: Rows[NewestRow]
) -> None:
    if event.figures.rows == 0:
        return  # nothing was decided: nothing can be said of it
    place = f"{event.model}/{event.environment}/{event.version}"
    key, row = window_key(event), rows.get(place)
    if row is None or event.end >= row.end:
        row = NewestRow(
            event.model,
            event.version,
            event.environment,
            key,
            event.end,
            str(fact.id),
            _drifts(event.figures),
            None if row is None else row.measured,
            None if row is None else row.measured_end,
        )
    measured = event.figures.mature and bool(event.figures.performance)
    if measured and (row.measured_end is None or event.end >= row.measured_end):
        row = replace(row, measured=key, measured_end=event.end)
    rows.put(place, row)


@serving.on(BatchRecorded)
def served(event: BatchRecorded, fact: Fact, rows: Rows[ServingRow]) -> None:
    key = f"{event.model}/{event.environment}/{event.version}"
    row = rows.get(key)
    total = event.rows + (0 if row is None else row.rows)
    if row is not None and row.last_at > event.last_at:
        rows.put(key, replace(row, rows=total))
        return
    rows.put(
        key,
        ServingRow(
            event.model,
            event.version,
            event.environment,
            total,
            event.last_at,
            event.deployed,
            str(fact.id),
        ),
    )


@feeds.on(BatchRecorded)
def fed(event: BatchRecorded, fact: Fact, rows: Rows[FeedRow]) -> None:
    for reading in event.readings:
        key = f"{event.model}/{event.environment}/{reading.feed}"
        row = rows.get(key)
        if row is None or reading.last_at >= row.last_at:
            rows.put(
                key,
                FeedRow(
                    event.model,
                    event.environment,
                    reading.feed,
                    reading.last_at,
                    str(fact.id),
                ),
            )


@monitors.on(MonitorConfigured)
def configured(event: MonitorConfigured, fact: Fact, rows: Rows[MonitorRow]) -> None:
    rows.put(
        event.model,
        MonitorRow(
            event.model,
            str(fact.id),
            event.cadence_hours,
            event.grace_hours,
            dict(sorted(event.feature_sla_hours.items())),
            event.reason_codes_compulsory,
            event.outcome_maturity_hours,
            event.outcome_kind,
        ),
    )


@alerts.on(AlertRaised)
def raised(event: AlertRaised, fact: Fact, rows: Rows[AlertRow]) -> None:
    rows.put(
        f"{event.model}/{event.alert}",
        AlertRow(
            model=event.model,
            alert=event.alert,
            kind=event.kind,
            vector=event.vector,
            severity=event.severity,
            metric=event.metric,
            feature=event.feature,
            cause=event.cause,
            version=event.version,
            owner=event.owner,
            play=event.play,
            money_per_hour=event.money_per_hour,
            money_basis=event.money_basis,
            raised_at=fact.effective_at,
            start=event.start,
            due_at=event.due_at,
            event=str(fact.id),
            sources=event.sources,
        ),
    )


@alerts.on(AlertRepeated)
def repeated(event: AlertRepeated, _: Fact, rows: Rows[AlertRow]) -> None:
    key = f"{event.model}/{event.alert}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, repeats=row.repeats + 1))


@alerts.on(AlertAcknowledged)
def acknowledged(event: AlertAcknowledged, fact: Fact, rows: Rows[AlertRow]) -> None:
    key = f"{event.model}/{event.alert}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, acknowledged_at=fact.effective_at))


@alerts.on(AlertOverdue)
def overdue(event: AlertOverdue, fact: Fact, rows: Rows[AlertRow]) -> None:
    key = f"{event.model}/{event.alert}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, overdue_event=str(fact.id)))


@alerts.on(AlertResolved)
def resolved(event: AlertResolved, fact: Fact, rows: Rows[AlertRow]) -> None:
    key = f"{event.model}/{event.alert}"
    if (row := rows.get(key)) is not None:
        rows.put(
            key,
            replace(
                row,
                resolved_at=fact.effective_at,
                resolved_event=str(fact.id),
                true_alarm=event.true_alarm,
            ),
        )


VIEWS = (windows, slots, newest, serving, feeds, monitors, alerts)
