"""Models at work: where their decisions lie, their last windows, their alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from modelkeep.decisions.rows import Proof
from modelkeep.events.attention import AutonomyLowered, AutonomyRaised
from modelkeep.events.monitoring import (
    AlertAcknowledged,
    AlertRaised,
    AlertResolved,
    BaselineRegistered,
    BatchRecorded,
    DispositionRecorded,
    FeatureFigure,
    OutcomesRecorded,
    SlotCounted,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import Money, Person
from modelkeep.ledger import stamp
from modelkeep.views import Fact, Reader, Rows, View

# --- decisions ---------------------------------------------------------------------

DIGITS: Final = 5
"""Of an id that name its drawer: three days of UUIDv7."""
MAX_DRAWERS: Final = 64
ANYWHERE: Final = "*"


@dataclass(frozen=True)
class BatchRow:
    """A durable object of decisions, and the range that its ids lie in."""

    model: str
    version: str
    environment: str
    batch: str
    rows: int
    root: str
    address: str
    first_id: str
    last_id: str
    event_id: str
    proof: Proof
    parts: tuple[int, ...]
    """The rows of each batch sent, where its columns are proven."""


batches = View("batches", BatchRow, version=2)


@batches.on(BatchRecorded)
def _batch(event: BatchRecorded, fact: Fact, rows: Rows[BatchRow]) -> None:
    row = BatchRow(
        event.model,
        event.version,
        event.environment,
        event.batch,
        event.rows,
        event.root,
        event.address,
        event.first_id,
        event.last_id,
        str(fact.id),
        event.proof,
        event.parts,
    )
    for drawer in _drawers(event.first_id, event.last_id):
        rows.put(f"{drawer}/{event.model}/{event.batch}", row)


def _drawers(first: str, last: str) -> list[str]:
    low, high = int(first[:DIGITS], 16), int(last[:DIGITS], 16)
    if not low <= high < low + MAX_DRAWERS:  # ids that do not follow time
        return [ANYWHERE]
    return [f"{n:0{DIGITS}x}" for n in range(low, high + 1)]


def batches_around(read: Reader, decision: str) -> Iterator[BatchRow]:
    """Yield the batches that may hold a decision: those whose range it lies in."""
    for drawer in (decision[:DIGITS], ANYWHERE):
        for _, row in read.scan(batches, f"{drawer}/"):
            if row.first_id <= decision <= row.last_id:
                yield row


@dataclass(frozen=True)
class OutcomesRow:
    model: str
    rows: int
    address: str
    first_id: str
    last_id: str
    last_known_at: datetime
    contradictions: int
    event_id: str


outcomes = View("outcomes", OutcomesRow, version=2)


@outcomes.on(OutcomesRecorded)
def _outcomes(event: OutcomesRecorded, fact: Fact, rows: Rows[OutcomesRow]) -> None:
    row = OutcomesRow(
        event.model,
        event.rows,
        event.address,
        event.first_id,
        event.last_id,
        event.last_known_at,
        event.contradictions,
        str(fact.id),
    )
    rows.put(f"{event.model}/{stamp(event.last_known_at)}/{event.batch}", row)


def outcomes_since(read: Reader, model: str, at: datetime) -> Iterator[OutcomesRow]:
    """Yield a model's batches of outcomes that reach beyond `at`, soonest first."""
    after = f"{model}/{stamp(at)}"
    for _, row in read.scan(outcomes, f"{model}/", after=after):
        yield row


@dataclass(frozen=True)
class DispositionRow:
    model: str
    decision: str
    disposition: str
    reason: str
    by: Person
    event_id: str


dispositions = View("dispositions", DispositionRow)


@dispositions.on(DispositionRecorded)
def _disposed(
    event: DispositionRecorded, fact: Fact, rows: Rows[DispositionRow]
) -> None:
    row = DispositionRow(
        event.model,
        event.decision,
        event.disposition,
        event.reason,
        event.by,
        str(fact.id),
    )
    rows.put(f"{event.model}/{event.decision}", row)


# --- what a version is held against, and how it did ---------------------------------


@dataclass(frozen=True)
class BaselineRow:
    model: str
    version: str
    baseline: str
    rows: int
    event_id: str


baselines = View("baselines", BaselineRow)


@baselines.on(BaselineRegistered)
def _baseline(event: BaselineRegistered, fact: Fact, rows: Rows[BaselineRow]) -> None:
    row = BaselineRow(
        event.model, event.version, event.baseline, event.rows, str(fact.id)
    )
    rows.put(f"{event.model}/{event.version}", row)


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    lower: float | None
    upper: float | None
    n: int


@dataclass(frozen=True)
class WindowRow:
    """The figures of a window that a decision's reader asks for."""

    model: str
    version: str
    environment: str
    window: str
    start: datetime
    end: datetime
    rows: int
    mature: bool
    performance: tuple[Figure, ...]
    worst_feature: str
    worst_psi: float | None
    worst_limit: float | None
    explanation_coverage: float | None
    bad: Mapping[str, int]
    outcomes: int
    positives: int
    latency_n: int
    method: str
    event_id: str


windows = View("windows", WindowRow)


@windows.on(WindowClosed)
def _closed(event: WindowClosed, fact: Fact, rows: Rows[WindowRow]) -> None:
    rows.put(_window_key(event), _window(event, fact))


@windows.on(WindowRestated)
def _restated(event: WindowRestated, fact: Fact, rows: Rows[WindowRow]) -> None:
    rows.put(_window_key(event), _window(event, fact))


def _window_key(event: WindowClosed | WindowRestated) -> str:
    place = f"{event.model}/{event.version}/{event.environment}"
    return f"{place}/{stamp(event.end)}/{event.window}"


def _window(event: WindowClosed | WindowRestated, fact: Fact) -> WindowRow:
    figures = event.figures
    worst = _worst(figures)
    return WindowRow(
        model=event.model,
        version=event.version,
        environment=event.environment,
        window=event.window,
        start=event.start,
        end=event.end,
        rows=figures.rows,
        mature=figures.mature,
        performance=tuple(
            Figure(p.metric, p.value, p.lower, p.upper, p.n)
            for p in figures.performance
        ),
        worst_feature=worst.feature if worst else "",
        worst_psi=worst.psi if worst else None,
        worst_limit=worst.hi if worst else None,
        explanation_coverage=figures.explanation_coverage,
        bad=dict(figures.bad),
        outcomes=figures.outcomes,
        positives=figures.positives,
        latency_n=figures.latency_ms.n if figures.latency_ms else 0,
        method=event.method,
        event_id=str(fact.id),
    )


@dataclass(frozen=True)
class SlotRow:
    """What was counted for budgets alone; windows may lie around it."""

    model: str
    version: str
    environment: str
    start: datetime
    end: datetime
    bad: Mapping[str, int]
    outcomes: int
    positives: int
    latency_n: int
    event_id: str


slots = View("slots", SlotRow)


@slots.on(SlotCounted)
def _counted(event: SlotCounted, fact: Fact, rows: Rows[SlotRow]) -> None:
    place = f"{event.model}/{event.version}/{event.environment}"
    rows.put(
        f"{place}/{stamp(event.end)}/{stamp(event.start)}",
        SlotRow(
            model=event.model,
            version=event.version,
            environment=event.environment,
            start=event.start,
            end=event.end,
            bad=dict(event.counts.bad),
            outcomes=event.counts.outcomes,
            positives=event.counts.positives,
            latency_n=event.counts.timed,
            event_id=str(fact.id),
        ),
    )


def _worst(figures: WindowFigures) -> FeatureFigure | None:
    """Return the feature that is furthest along its own scale."""
    rated = [f for f in figures.features if f.psi is not None and f.hi]
    return max(rated, key=_along, default=None)


def _along(feature: FeatureFigure) -> tuple[float, str]:
    if feature.psi is None or not feature.hi:
        return 0.0, feature.feature
    return feature.psi / feature.hi, feature.feature


def last_window(
    read: Reader, model: str, version: str, environment: str
) -> WindowRow | None:
    rows = read.scan(windows, f"{model}/{version}/{environment}/")
    return rows[-1][1] if rows else None


# --- alerts ------------------------------------------------------------------------


@dataclass(frozen=True)
class AlertRow:
    model: str
    alert: str
    version: str
    kind: str
    vector: str
    severity: str
    metric: str
    feature: str
    value: float
    threshold: float
    owner: str
    cause: str
    money_per_hour: Money | None
    money_basis: str
    status: str
    raised_at: datetime
    due_at: datetime
    event_id: str
    last_event: str = ""


alerts = View("alerts", AlertRow, version=2)


@alerts.on(AlertRaised)
def _raised(event: AlertRaised, fact: Fact, rows: Rows[AlertRow]) -> None:
    row = AlertRow(
        model=event.model,
        alert=event.alert,
        version=event.version or "",
        kind=event.kind,
        vector=event.vector,
        severity=event.severity,
        metric=event.metric,
        feature=event.feature or "",
        value=event.value,
        threshold=event.threshold,
        owner=event.owner or "",
        cause=event.cause,
        money_per_hour=event.money_per_hour,
        money_basis=event.money_basis or "",
        status="open",
        raised_at=fact.effective_at,
        due_at=event.due_at,
        event_id=str(fact.id),
    )
    rows.put(f"{event.model}/{event.alert}", row)


@alerts.on(AlertAcknowledged)
def _acknowledged(event: AlertAcknowledged, fact: Fact, rows: Rows[AlertRow]) -> None:
    _alert_is(rows, f"{event.model}/{event.alert}", "acknowledged", fact)


@alerts.on(AlertResolved)
def _resolved(event: AlertResolved, fact: Fact, rows: Rows[AlertRow]) -> None:
    _alert_is(rows, f"{event.model}/{event.alert}", "resolved", fact)


def _alert_is(rows: Rows[AlertRow], key: str, status: str, fact: Fact) -> None:
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, status=status, last_event=str(fact.id)))


# --- how far a model may decide alone -----------------------------------------------


@dataclass(frozen=True)
class AutonomyRow:
    model: str
    use: str
    level: str
    event_id: str


autonomy = View("autonomy", AutonomyRow)


@autonomy.on(AutonomyRaised)
def _raised_to(event: AutonomyRaised, fact: Fact, rows: Rows[AutonomyRow]) -> None:
    _may(event, fact, rows)


@autonomy.on(AutonomyLowered)
def _lowered_to(event: AutonomyLowered, fact: Fact, rows: Rows[AutonomyRow]) -> None:
    _may(event, fact, rows)


def _may(
    event: AutonomyRaised | AutonomyLowered, fact: Fact, rows: Rows[AutonomyRow]
) -> None:
    row = AutonomyRow(event.model, event.use, event.to_level, str(fact.id))
    rows.put(f"{event.model}/{event.use}", row)


VIEWS: Final = (
    batches,
    outcomes,
    dispositions,
    baselines,
    windows,
    slots,
    alerts,
    autonomy,
)
