"""What may happen to a model's monitor and to its decision log: pure decisions.

Figures arrive in the commands, computed by `windows.py`; what is decided here is
whether a window is new or corrected, and who must be told what by when.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Final, Literal, Self

from pydantic import (
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.lineage import NodeId
from modelkeep.events.monitoring import (
    MAX_COLUMNS,
    AlertAcknowledged,
    AlertKind,
    AlertOverdue,
    AlertRaised,
    AlertRepeated,
    AlertResolved,
    BaselineRegistered,
    BatchRecorded,
    Cadence,
    CadenceReached,
    ColumnContract,
    ContractBreached,
    ContractRegistered,
    Deadlines,
    DispositionRecorded,
    ErrorSums,
    Estimate,
    Fairness,
    Hours,
    Json,
    LossCells,
    MoneyChecked,
    MonitorConfigured,
    Name,
    Names,
    OutcomeKind,
    OutcomesRecorded,
    Positive,
    SeasonKind,
    Seasons,
    SilenceDetected,
    SlotCounted,
    SlotCounts,
    SnapshotBreach,
    SnapshotChecked,
    Thresholds,
    Unenforced,
    Uuid,
    ViewContract,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import (
    Count,
    Digest,
    Finite,
    Instant,
    Money,
    Person,
    RiskVector,
    Sealed,
    Severity,
    Share,
    Slug,
    Subject,
    Text,
    Title,
    Value,
)
from modelkeep_services.monitoring.alarm_rules import left_to_rules
from modelkeep_services.monitoring.drift_rules import drift_breaches
from modelkeep_services.monitoring.fairness_rules import fairness_breaches
from modelkeep_services.monitoring.rules import Breach, Duties, Slo, judge
from modelkeep_services.monitoring.value_rules import value_breaches

MonitorEvent = (
    BaselineRegistered
    | ContractRegistered
    | SnapshotChecked
    | MonitorConfigured
    | WindowClosed
    | WindowRestated
    | SlotCounted
    | CadenceReached
    | SilenceDetected
    | MoneyChecked
    | AlertRaised
    | AlertRepeated
    | AlertAcknowledged
    | AlertResolved
    | AlertOverdue
    | DispositionRecorded
)

# --- commands ----------------------------------------------------------------------


class RegisterBaseline(Command):
    """The data were counted before: `profile` is what was made of them."""

    model: Slug
    version: Slug
    baseline: Slug
    profile: Json
    layout: Annotated[str, StringConstraints(max_length=64)]
    rows: Count
    features: Names
    threshold: Share = 0.5
    performance: Annotated[tuple[Estimate, ...], Field(max_length=20)] = ()
    outcomes: Count = 0
    origin: Literal["sent", "logged"] = "sent"
    period_start: Instant | None = None
    period_end: Instant | None = None
    note: Text | None = None
    fine: Json | None = None
    components: Json | None = None
    score_outcomes: Annotated[tuple[Count, ...], Field(max_length=128)] = ()
    brier_cells: LossCells | None = None
    season: SeasonKind = "none"
    seasons: Seasons = Field(default_factory=dict)


LONGEST: Final = {
    "streaming": timedelta(minutes=1),
    "micro_batch": timedelta(hours=1),
}
"""Windows of a cadence; those of runs are as long as runs are."""


class Terms(Value):
    """What a document promised, as far as it is checked; and the rest of it."""

    columns: Annotated[
        tuple[ColumnContract, ...], Field(min_length=1, max_length=MAX_COLUMNS)
    ]
    schema_object: Title
    document_digest: Digest
    document_version: Title | None = None
    least_rows: Count | None = None
    most_rows: Count | None = None
    unenforced: Annotated[tuple[Unenforced, ...], Field(max_length=1_000)] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _promises_agree(self.columns)
        return self


class RegisterContract(Command):
    """`columns`, or an Open Data Contract Standard `document` and, where it describes
    several tables, which `schema_object`. `feature_views` are nodes of lineage. `read`
    and `views` are added by the service, never by the caller.
    """

    model: Slug
    contract: Slug
    columns: Annotated[tuple[ColumnContract, ...], Field(max_length=MAX_COLUMNS)] = ()
    on_breach: Literal["quarantine", "mark"]
    closed: bool = False
    document: Annotated[str, StringConstraints(max_length=262_144)] | None = None
    schema_object: Title | None = None
    feature_views: Annotated[tuple[NodeId, ...], Field(max_length=100)] = ()
    read: Terms | None = None
    views: Annotated[tuple[ViewContract, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _promises_agree(self.columns)
        return self


def _promises_agree(columns: Sequence[ColumnContract]) -> None:
    names = [column.column for column in columns]
    if len(set(names)) < len(names):
        raise ValueError("a column is there twice")
    for column in columns:
        low, high = column.minimum, column.maximum
        if low is not None and high is not None and low > high:
            raise ValueError(f"{column.column}: the minimum exceeds the maximum")


class CheckSnapshot(Command):
    """The data were checked before: `breaches` is what was found."""

    model: Slug
    contract: Slug
    digest: Digest
    node: Annotated[str, StringConstraints(max_length=100)] | None = None
    purpose: Literal["training", "scoring"]
    rows: Count
    columns: Count
    breaches: Annotated[tuple[SnapshotBreach, ...], Field(max_length=MAX_COLUMNS)] = ()
    method: Title


class ConfigureMonitor(Command):
    model: Slug
    cadence_hours: Hours | None = None
    anchor: Instant | None = None
    grace_hours: Positive = 0
    closed_by: Literal["caller", "clock"] = "caller"
    outcome_maturity_hours: Positive = 0
    feature_sla_hours: dict[Name, Hours] = Field(
        default_factory=dict, max_length=MAX_COLUMNS
    )
    reason_codes_compulsory: bool = False
    play: Title | None = None
    deadlines: Deadlines = Deadlines()
    thresholds: Thresholds = Thresholds()
    fairness: Annotated[tuple[Fairness, ...], Field(max_length=5)] = ()
    cadence: Cadence | None = None
    allowed_lateness_hours: Positive | None = None
    outcome_kind: OutcomeKind | None = None
    """None: as it was declared before, or binary."""
    false_alarms: FalseAlarms | None = None

    @field_validator("false_alarms")
    @classmethod
    def _counted(
        cls, given: FalseAlarms | None, info: ValidationInfo
    ) -> FalseAlarms | None:
        if given is not None and info.data.get("cadence_hours") is None:
            raise ValueError("so many a period are divided by windows: state a cadence")
        return given

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.closed_by == "clock" and self.cadence_hours is None:
            raise ValueError("the clock closes windows of a cadence: state one")
        late = self.allowed_lateness_hours
        if late is not None and self.grace_hours not in {0, late}:
            raise ValueError("allowed lateness is the grace: state one of them")
        if late is not None and self.cadence_hours is None:
            raise ValueError("rows are late for windows of a cadence: state one")
        if self.cadence is not None:
            _suits(self.cadence, self.cadence_hours, self.closed_by)
        return self


def _suits(cadence: Cadence, hours: float | None, closed_by: str) -> None:
    if cadence == "batch":
        if closed_by == "clock":
            raise ValueError("a run is closed by its caller, not by the clock")
        return
    longest = LONGEST[cadence]
    if hours is None or timedelta(hours=hours) > longest:
        raise ValueError(f"a {cadence} cadence has windows of at most {longest}")


class Closing(Value):
    """What was found in [start, end), and who is concerned."""

    figures: WindowFigures
    method: Title
    profile: Json | None = None
    score_outcomes: Annotated[tuple[Count, ...], Field(max_length=128)] = ()
    errors: ErrorSums | None = None
    owner: Subject | None = None
    slos: Annotated[tuple[Slo, ...], Field(max_length=1_000)] = ()
    explanation_coverage: Share | None = None
    explanation_p95_ms: Positive | None = None
    """What thresholds or an accepted SLA ask."""
    quarantine: bool = False


class CloseWindow(Command):
    """`found` is added by the service, never by the caller."""

    model: Slug
    version: Slug
    environment: Slug = "prod"
    start: Instant
    end: Instant
    found: Closing | None = None

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must lie before end")
        return self


class CountSlot(Command):
    """`found` is added by the service, never by the caller."""

    model: Slug
    version: Slug
    environment: Slug = "prod"
    start: Instant
    end: Instant
    found: SlotCounts | None = None

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must lie before end")
        return self


class Due(Value):
    """One version's part of a cadence."""

    version: Slug
    environment: Slug
    found: Closing


class ReachCadence(Command):
    """The clock's: [start, end) is over. `closings` are empty where callers close.

    `expected`: the model is live, so that no rows at all is silence.
    """

    model: Slug
    start: Instant
    end: Instant
    due_at: Instant
    rows: Count
    expected: bool
    closings: Annotated[tuple[Due, ...], Field(max_length=1_000)] = ()
    owner: Subject | None = None


class CheckMoney(Command):
    """What KPIs say of an SLO's money, computed before."""

    model: Slug
    slo: Slug
    kpi: Slug
    verdict: Literal["confirmed", "contradicted", "not_yet"]
    because: Text
    declared: Money
    observed: Finite | None = None
    lower: Finite | None = None
    upper: Finite | None = None
    tolerance: Share
    periods_in_band: Count
    periods_out_of_band: Count
    left_out: Count
    hours_beyond: Finite
    slo_defined: Uuid
    sources: Annotated[tuple[Uuid, ...], Field(max_length=100)] = ()
    method: Title


class MarkOverdue(Command):
    model: Slug
    alert: Slug


class AcknowledgeAlert(Command):
    model: Slug
    alert: Slug


class ResolveAlert(Command):
    model: Slug
    alert: Slug
    true_alarm: bool
    reason: Text


class RaiseAlert(Command):
    """A reaction's: something is wrong that no window's figures say. At most one alert
    an `occasion`, and none while one of its rule is open: that one is repeated where
    another `window` says so again.
    """

    model: Slug
    version: Slug | None = None
    environment: Slug | None = None
    kind: AlertKind
    vector: RiskVector
    severity: Severity
    metric: Name
    feature: Name | None = None
    value: Finite
    threshold: Finite
    baseline: Finite | None = None
    n: Count
    window: Slug | None = None
    start: Instant | None = None
    end: Instant | None = None
    owner: Subject | None = None
    cause: Text
    sources: Annotated[tuple[Uuid, ...], Field(max_length=50)] = ()
    thresholds: Slug | None = None
    """The document by which it was judged, where that is not the monitor's."""
    occasion: Slug


class FollowIncident(Command):
    """A reaction's: a person spoke of the whole incident, so of this alert too.
    `true_alarm` None: they acknowledged it.
    """

    model: Slug
    alert: Slug
    by: Person
    true_alarm: bool | None = None
    reason: Text | None = None


class RecordDisposition(Command):
    model: Slug
    decision: Uuid
    disposition: Literal["accepted", "overridden", "escalated"]
    reason: Text
    comment: Sealed | None = None


MonitorCommand = (
    RegisterBaseline
    | RegisterContract
    | CheckSnapshot
    | ConfigureMonitor
    | CloseWindow
    | CountSlot
    | ReachCadence
    | CheckMoney
    | MarkOverdue
    | AcknowledgeAlert
    | ResolveAlert
    | RaiseAlert
    | FollowIncident
    | RecordDisposition
)

# --- state -------------------------------------------------------------------------

Key = tuple[str, str, str, str, str]
"""Version, environment, kind, metric, feature: one open alert each."""

Slot = tuple[str, str, datetime, datetime]
"""Version, environment, start, end."""


@dataclass(frozen=True)
class AlertState:
    key: Key
    event: AlertRaised
    last_window: str | None
    status: Literal["open", "acknowledged", "resolved"] = "open"
    overdue: bool = False


@dataclass(frozen=True)
class WindowState:
    """`said` identifies the figures that stand. `matures_at` is None once they are."""

    said: str
    restatements: int = 0
    matures_at: datetime | None = None


@dataclass(frozen=True)
class MonitorState:
    configured: MonitorConfigured | None = None
    next_due_at: datetime | None = None
    baselines: Mapping[tuple[str, str], str] = field(default_factory=dict)
    contract: ContractRegistered | None = None
    windows: Mapping[str, WindowState] = field(default_factory=dict)
    money: Mapping[str, MoneyChecked] = field(default_factory=dict)
    slots: Mapping[Slot, SlotCounts] = field(default_factory=dict)
    alerts: Mapping[str, AlertState] = field(default_factory=dict)
    open: Mapping[Key, str] = field(default_factory=dict)

    @property
    def limits(self) -> Thresholds:
        return self.configured.thresholds if self.configured else Thresholds()

    @property
    def deadlines(self) -> Deadlines:
        return self.configured.deadlines if self.configured else Deadlines()


OF_OUTCOMES: Final = frozenset(
    {"performance", "calibration", "slo", "fairness", "label_drift", "concept_drift"}
)
"""Rules that late outcomes may break where nothing was broken before."""

# --- decide ------------------------------------------------------------------------


def decide(  # noqa: C901, PLR0911, PLR0912  # one case a command
    command: MonitorCommand, state: MonitorState, context: Context
) -> Sequence[MonitorEvent]:
    match command:
        case RegisterBaseline():
            return _baseline(command, state)
        case RegisterContract():
            return _contract(command, state)
        case CheckSnapshot():
            return _snapshot(command, state)
        case ConfigureMonitor():
            return _configure(command, state, context)
        case CloseWindow():
            return _close_window(command, state, context)
        case CountSlot():
            return _count_slot(command, state, context)
        case ReachCadence():
            return _reach_cadence(command, state, context)
        case CheckMoney():
            checked = MoneyChecked(**dict(command))
            return [] if state.money.get(command.slo) == checked else [checked]
        case MarkOverdue():
            return _mark_overdue(command, state)
        case AcknowledgeAlert():
            return _acknowledge(command, state, context)
        case ResolveAlert():
            return _resolve(command, state, context)
        case RaiseAlert():
            return _raise(command, state, context)
        case FollowIncident():
            return _follow(command, state)
        case RecordDisposition():
            _people_only(context, command.decision)
            by = context.actor.person
            return [DispositionRecorded(**dict(command), by=by)]


def _contract(
    command: RegisterContract, state: MonitorState
) -> Sequence[ContractRegistered]:
    if command.read is None and not command.columns:
        raise Refused(
            "monitoring.contract-promises",
            "a contract binds by the columns it promises",
            subject=command.contract,
        )
    terms = {} if command.read is None else dict(command.read)
    if tuple(one.node for one in command.views) != command.feature_views:
        raise Refused(
            "monitoring.views-registered",
            "a contract names feature views as lineage registered them",
            subject=command.contract,
        )
    asked = {name: value for name, value in command if name not in {"read", "views"}}
    event = ContractRegistered(**(asked | terms | {"feature_views": command.views}))
    return [] if event == state.contract else [event]


def _snapshot(command: CheckSnapshot, state: MonitorState) -> Sequence[SnapshotChecked]:
    bound = state.contract.contract if state.contract else "none"
    if bound != command.contract:
        raise Refused(
            "monitoring.contract-binds",
            f"contract {bound} binds {command.model}, not {command.contract}",
            subject=command.contract,
        )
    return [SnapshotChecked(**dict(command), kept=not command.breaches)]


def _baseline(
    command: RegisterBaseline, state: MonitorState
) -> Sequence[BaselineRegistered]:
    event = BaselineRegistered(**dict(command))
    known = state.baselines.get((command.version, command.baseline))
    if known is None:
        return [event]
    if known == _identity(event):
        return []
    raise Refused(
        "monitoring.baseline-once",
        f"baseline {command.baseline} of {command.model}/{command.version} "
        "holds other data",
        subject=command.baseline,
    )


def _identity(event: BaselineRegistered) -> str:
    told = (event.profile, *(f"{k}{event.seasons[k]}" for k in sorted(event.seasons)))
    return sha256("".join(told).encode()).hexdigest()


def _configure(
    command: ConfigureMonitor, state: MonitorState, context: Context
) -> Sequence[MonitorConfigured]:
    given, before, due = dict(command), state.configured, None
    if command.allowed_lateness_hours is not None:
        # The watermark: windows close once it has passed their end.
        given["grace_hours"] = command.allowed_lateness_hours
    if command.cadence_hours is not None:
        was = before.anchor if before else None
        given["anchor"] = command.anchor or was or context.effective_at
        due = _next_end(command, given["anchor"], context.now)
        due += timedelta(hours=given["grace_hours"])
    if command.outcome_kind is None:
        given["outcome_kind"] = before.outcome_kind if before else "binary"
    event = MonitorConfigured(
        **given, next_due_at=due, replaces_due_at=state.next_due_at
    )
    moments = {
        "next_due_at": event.next_due_at,
        "replaces_due_at": event.replaces_due_at,
    }
    unchanged = before is not None and event == before.model_copy(update=moments)
    return [] if unchanged else [event]


def _next_end(command: ConfigureMonitor, anchor: datetime, now: datetime) -> datetime:
    cadence = timedelta(hours=command.cadence_hours or 0)
    done = max(0, math.floor((now - anchor) / cadence))
    return anchor + cadence * (done + 1)


def _close_window(
    command: CloseWindow, state: MonitorState, context: Context
) -> Sequence[MonitorEvent]:
    if command.found is None:
        raise Refused(
            "monitoring.figures-first", "a window closes with figures", subject="found"
        )
    _over(command, context)
    due = Due(
        version=command.version, environment=command.environment, found=command.found
    )
    return list(_closed(command, due, state, context))


def _over(command: CloseWindow | CountSlot, context: Context) -> None:
    if command.end > context.now:
        raise Refused(
            "monitoring.window-over",
            f"the window ends at {command.end}, and it is {context.now}",
            subject=command.model,
        )


def _count_slot(
    command: CountSlot, state: MonitorState, context: Context
) -> Sequence[MonitorEvent]:
    if command.found is None:
        raise Refused(
            "monitoring.figures-first", "a slot is counted first", subject="found"
        )
    _over(command, context)
    event = SlotCounted(
        model=command.model,
        version=command.version,
        environment=command.environment,
        start=command.start,
        end=command.end,
        counts=command.found,
    )
    return [] if state.slots.get(_slot(event)) == event.counts else [event]


def _slot(event: SlotCounted) -> Slot:
    return event.version, event.environment, event.start, event.end


def _closed(
    command: CloseWindow | ReachCadence,
    due: Due,
    state: MonitorState,
    context: Context,
) -> Iterator[MonitorEvent]:
    found, start, end = due.found, command.start, command.end
    window = window_id(due.version, due.environment, start, end)
    event = WindowClosed(
        model=command.model,
        version=due.version,
        environment=due.environment,
        window=window,
        start=start,
        end=end,
        figures=found.figures,
        method=found.method,
        profile=found.profile,
        score_outcomes=found.score_outcomes,
        errors=found.errors,
    )
    before = state.windows.get(window)
    if before is None:
        yield event
    elif before.said == said(event):
        return
    else:
        count = before.restatements + 1
        yield WindowRestated(
            **dict(event), restatement=count, replaces_matures_at=before.matures_at
        )
    duties = Duties(
        state.configured is not None and state.configured.reason_codes_compulsory,
        found.quarantine,
    )
    limits = state.limits.model_copy(
        update={
            "explanation_coverage": found.explanation_coverage,
            "explanation_p95_ms": found.explanation_p95_ms,
        }
    )
    budget = state.configured.false_alarms if state.configured else None
    breaches = _breaches(found, limits, duties, budget)
    if before is not None:
        # What the rows themselves broke was told when the window first closed.
        breaches = [
            breach
            for breach in breaches
            if breach.kind in OF_OUTCOMES
            or _key(due.version, due.environment, breach) not in state.open
        ]
    yield from _alerts(event, breaches, found, state, context)


def _breaches(
    found: Closing, limits: Thresholds, duties: Duties, budget: FalseAlarms | None
) -> list[Breach]:
    """Return what every rule says, as far as a budget of false alarms lets it."""
    figures = found.figures
    breaches = judge(figures, limits, found.slos, duties)
    kinds = {breach.kind for breach in breaches}
    drifted = {b.feature for b in breaches if b.kind == "feature_drift" and b.feature}
    breaches += value_breaches(figures, limits, drifted)
    breaches += fairness_breaches(figures, limits)
    breaches += drift_breaches(figures, limits, kinds)
    return left_to_rules(breaches, figures, budget)


def window_id(version: str, environment: str, start: datetime, end: datetime) -> str:
    """Name a window by what it covers, to the second and where needed beyond."""
    of = f"{_short(version, 29)}.{_short(environment, 20)}"
    return f"{of}.{_moment(start)}.{_moment(end)}"


def _short(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    return f"{name[: longest - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


def _moment(at: datetime) -> str:
    text = f"{at:%Y%m%dt%H%M%S}"
    return f"{text}.{at.microsecond:06}z" if at.microsecond else f"{text}z"


def said(event: WindowClosed | WindowRestated) -> str:
    """Identify what a window says."""
    return sha256(event.figures.model_dump_json().encode()).hexdigest()


def _alerts(
    event: WindowClosed,
    breaches: Sequence[Breach],
    found: Closing,
    state: MonitorState,
    context: Context,
) -> Iterator[AlertRaised | AlertRepeated]:
    slos = {slo.metric: slo for slo in found.slos}
    for breach in breaches:
        key = _key(event.version, event.environment, breach)
        alert = _alert_id(key, event.window)
        opened = state.open.get(key)
        if opened is not None:
            if state.alerts[opened].last_window != event.window:
                yield AlertRepeated(
                    model=event.model,
                    alert=opened,
                    window=event.window,
                    value=breach.value,
                    threshold=breach.threshold,
                    n=breach.n,
                )
        elif alert not in state.alerts:
            yield _raised(
                event, alert, breach, found, slos.get(breach.metric), state, context
            )


def _raised(
    event: WindowClosed,
    alert: str,
    breach: Breach,
    found: Closing,
    slo: Slo | None,
    state: MonitorState,
    context: Context,
) -> AlertRaised:
    money = slo.money_per_hour if slo else None
    play = state.configured.play if state.configured else None
    return AlertRaised(
        model=event.model,
        alert=alert,
        version=event.version,
        environment=event.environment,
        kind=breach.kind,
        vector=breach.vector,
        severity=breach.severity,
        metric=breach.metric,
        feature=breach.feature,
        value=breach.value,
        threshold=breach.threshold,
        baseline=breach.baseline,
        n=breach.n,
        window=event.window,
        start=event.start,
        end=event.end,
        owner=found.owner,
        play=(slo.play if slo else None) or play,
        slo=slo.slo if slo else None,
        money_per_hour=money,
        money_basis=slo.money_basis if slo and money else None,
        cause=breach.cause,
        sources=found.figures.sources,
        due_at=context.now + _deadline(state, breach.severity),
        thresholds=state.limits.version,
        money_check=slo.money_check if slo and money else None,
    )


def _deadline(state: MonitorState, severity: str) -> timedelta:
    hours: float = getattr(state.deadlines, severity)
    return timedelta(hours=hours)


def _key(version: str, environment: str, breach: Breach) -> Key:
    return version, environment, breach.kind, breach.metric, breach.feature or ""


def _alert_id(key: Key, occasion: str) -> str:
    """The same breach of the same window is the same alert, whoever finds it."""
    told = "\n".join((*key, occasion))
    return f"alert-{sha256(told.encode()).hexdigest()[:16]}"


def _reach_cadence(
    command: ReachCadence, state: MonitorState, context: Context
) -> Sequence[MonitorEvent]:
    configured = state.configured
    if (
        configured is None
        or configured.cadence_hours is None
        or state.next_due_at != command.due_at
    ):
        return []  # another cadence holds now
    events: list[MonitorEvent] = [
        CadenceReached(
            model=command.model,
            start=command.start,
            end=command.end,
            due_at=command.due_at,
            next_due_at=command.due_at + timedelta(hours=configured.cadence_hours),
            rows=command.rows,
        )
    ]
    for due in command.closings:
        events += _closed(command, due, state, context)
    if command.expected and not command.rows:
        events += _silence(command, state, context)
    return events


def _silence(
    command: ReachCadence, state: MonitorState, context: Context
) -> Iterator[MonitorEvent]:
    yield SilenceDetected(
        model=command.model, start=command.start, expected_by=command.due_at
    )
    key: Key = ("", "", "silence", "rows", "")
    opened = state.open.get(key)
    if opened is not None:
        yield AlertRepeated(
            model=command.model, alert=opened, value=0.0, threshold=1.0, n=0
        )
        return
    severity: Literal["high"] = "high"
    yield AlertRaised(
        model=command.model,
        alert=_alert_id(key, _moment(command.start)),
        kind="silence",
        vector="operational_regression",
        severity=severity,
        metric="rows",
        value=0.0,
        threshold=1.0,
        n=0,
        start=command.start,
        end=command.end,
        owner=command.owner,
        play=state.configured.play if state.configured else None,
        cause=(
            f"no decision was logged from {command.start:%Y-%m-%d %H:%M} to "
            f"{command.end:%Y-%m-%d %H:%M} UTC"
        ),
        due_at=context.now + _deadline(state, severity),
        thresholds=state.limits.version,
    )


def _raise(
    command: RaiseAlert, state: MonitorState, context: Context
) -> Sequence[AlertRaised | AlertRepeated]:
    key: Key = (
        command.version or "",
        command.environment or "",
        command.kind,
        command.metric,
        command.feature or "",
    )
    alert = _alert_id(key, command.occasion)
    opened = state.open.get(key)
    if opened is not None:
        return _again(command, state.alerts[opened])
    if alert in state.alerts:
        return []
    said = dict(command)
    del said["occasion"]
    said["thresholds"] = command.thresholds or state.limits.version
    return [
        AlertRaised(
            **said,
            alert=alert,
            play=state.configured.play if state.configured else None,
            due_at=context.now + _deadline(state, command.severity),
        )
    ]


def _again(command: RaiseAlert, alert: AlertState) -> Sequence[AlertRepeated]:
    if command.window is None or command.window == alert.last_window:
        return []
    return [
        AlertRepeated(
            model=command.model,
            alert=alert.event.alert,
            window=command.window,
            value=command.value,
            threshold=command.threshold,
            n=command.n,
        )
    ]


def _follow(
    command: FollowIncident, state: MonitorState
) -> Sequence[AlertAcknowledged | AlertResolved]:
    alert = _alert(command, state)
    if alert.status == "resolved":
        return []
    if command.true_alarm is not None and command.reason is not None:
        return [
            AlertResolved(
                model=command.model,
                alert=command.alert,
                by=command.by,
                true_alarm=command.true_alarm,
                reason=command.reason,
                due_at=alert.event.due_at,
            )
        ]
    if alert.status == "acknowledged":
        return []
    return [AlertAcknowledged(model=command.model, alert=command.alert, by=command.by)]


def _mark_overdue(command: MarkOverdue, state: MonitorState) -> Sequence[AlertOverdue]:
    alert = _alert(command, state)
    if alert.status == "resolved" or alert.overdue:
        return []
    raised = alert.event
    return [
        AlertOverdue(
            model=raised.model,
            alert=raised.alert,
            severity=raised.severity,
            vector=raised.vector,
            owner=raised.owner,
            due_at=raised.due_at,
        )
    ]


def _acknowledge(
    command: AcknowledgeAlert, state: MonitorState, context: Context
) -> Sequence[AlertAcknowledged]:
    alert = _alert(command, state)
    _people_only(context, command.alert)
    if alert.status == "resolved":
        raise Refused(
            "monitoring.alert-open",
            f"alert {command.alert} is resolved",
            subject=command.alert,
        )
    if alert.status == "acknowledged":
        return []
    by = context.actor.person
    return [AlertAcknowledged(model=command.model, alert=command.alert, by=by)]


def _resolve(
    command: ResolveAlert, state: MonitorState, context: Context
) -> Sequence[AlertResolved]:
    alert = _alert(command, state)
    _people_only(context, command.alert)
    if alert.status == "resolved":
        raise Refused(
            "monitoring.alert-open",
            f"alert {command.alert} is resolved",
            subject=command.alert,
        )
    by, due_at = context.actor.person, alert.event.due_at
    return [AlertResolved(**dict(command), by=by, due_at=due_at)]


def _alert(
    command: MarkOverdue | AcknowledgeAlert | ResolveAlert | FollowIncident,
    state: MonitorState,
) -> AlertState:
    found = state.alerts.get(command.alert)
    if found is None:
        raise NotFound("alert", f"{command.model}/{command.alert}")
    return found


def _people_only(context: Context, subject: str) -> None:
    if not context.actor.human:
        raise Refused(
            "monitoring.people-judge",
            f"{context.actor.subject} is not a person",
            subject=subject,
        )


# --- evolve ------------------------------------------------------------------------


def evolve(state: MonitorState, event: MonitorEvent) -> MonitorState:  # noqa: C901, PLR0911, PLR0912  # one case an event
    match event:
        case BaselineRegistered():
            key = event.version, event.baseline
            known = {**state.baselines, key: _identity(event)}
            return replace(state, baselines=known)
        case ContractRegistered():
            return replace(state, contract=event)
        case MonitorConfigured():
            return replace(state, configured=event, next_due_at=event.next_due_at)
        case WindowClosed():
            return _with_window(state, event, 0)
        case WindowRestated():
            return _with_window(state, event, event.restatement)
        case SlotCounted():
            return replace(state, slots={**state.slots, _slot(event): event.counts})
        case CadenceReached():
            return replace(state, next_due_at=event.next_due_at)
        case MoneyChecked():
            return replace(state, money={**state.money, event.slo: event})
        case AlertRaised():
            return _with_alert(state, event)
        case AlertRepeated():
            return _changed(state, event.alert, last_window=event.window)
        case AlertAcknowledged():
            return _changed(state, event.alert, status="acknowledged")
        case AlertResolved():
            resolved = _changed(state, event.alert, status="resolved")
            key_of = state.alerts[event.alert].key
            still = {k: a for k, a in state.open.items() if k != key_of}
            return replace(resolved, open=still)
        case AlertOverdue():
            return _changed(state, event.alert, overdue=True)
        case SilenceDetected() | DispositionRecorded() | SnapshotChecked():
            return state


def _with_window(
    state: MonitorState, event: WindowClosed | WindowRestated, count: int
) -> MonitorState:
    figures = event.figures
    matures_at = None if figures.mature else figures.matures_at
    known = WindowState(said(event), count, matures_at)
    return replace(state, windows={**state.windows, event.window: known})


def _with_alert(state: MonitorState, event: AlertRaised) -> MonitorState:
    key: Key = (
        event.version or "",
        event.environment or "",
        event.kind,
        event.metric,
        event.feature or "",
    )
    alert = AlertState(key, event, event.window)
    return replace(
        state,
        alerts={**state.alerts, event.alert: alert},
        open={**state.open, key: event.alert},
    )


def _changed(state: MonitorState, alert: str, **changes: object) -> MonitorState:
    known = replace(state.alerts[alert], **changes)  # type: ignore[arg-type]  # its own fields
    return replace(state, alerts={**state.alerts, alert: known})


MONITOR = decider(MonitorState(), decide, evolve)


# --- the decision log --------------------------------------------------------------

LogEvent = BatchRecorded | ContractBreached | OutcomesRecorded


class RecordBatches(Command):
    """Objects that are durable already, with the contract's breaches of each."""

    batches: Annotated[tuple[BatchRecorded, ...], Field(min_length=1, max_length=100)]
    breaches: tuple[ContractBreached, ...] = ()


class RecordOutcomes(Command):
    outcomes: OutcomesRecorded


LogCommand = RecordBatches | RecordOutcomes


@dataclass(frozen=True)
class LogState:
    """Nothing: whoever logs expects the revision at which it last looked."""


def decide_log(
    command: LogCommand, state: LogState, context: Context
) -> Sequence[LogEvent]:
    match command:
        case RecordBatches():
            return [*command.batches, *command.breaches]
        case RecordOutcomes():
            return [command.outcomes]


def evolve_log(state: LogState, event: LogEvent) -> LogState:
    match event:
        case BatchRecorded() | ContractBreached() | OutcomesRecorded():
            return state


LOG = decider(LogState(), decide_log, evolve_log)
