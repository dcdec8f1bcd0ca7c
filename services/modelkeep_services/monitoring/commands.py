"""What may be asked of a model's monitor. Figures arrive computed: see `windows.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import (
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from modelkeep.decider import Command
from modelkeep.decisions.rows import Proof
from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.lineage import NodeId
from modelkeep.events.monitoring import (
    MAX_COLUMNS,
    AlertKind,
    Cadence,
    ColumnContract,
    Deadlines,
    ErrorSums,
    Estimate,
    Fairness,
    Hours,
    Json,
    LossCells,
    Name,
    Names,
    OutcomeKind,
    Positive,
    SeasonKind,
    Seasons,
    SlotCounts,
    SnapshotBreach,
    Thresholds,
    Unenforced,
    Uuid,
    ViewContract,
    WindowFigures,
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
    Tier,
    Title,
    Value,
)
from modelkeep_services.monitoring.rules import Slo


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


class ChooseProof(Command):
    """`tier` and `regime_flags` are added by the service, never by the caller."""

    model: Slug
    proof: Proof
    reason: Text
    tier: Tier | None = None
    regime_flags: Annotated[tuple[Slug, ...], Field(max_length=100)] = ()


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
    | ChooseProof
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
