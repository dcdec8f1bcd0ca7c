"""What monitoring answers from: monitors, windows, alerts, batches; what is due; and
what the inventory says of models, as far as monitoring needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

from modelkeep.decisions.rows import Proof
from modelkeep.events.attention import (
    AlertEscalated,
    EscalationEnded,
    EscalationHeld,
    EscalationPlanned,
)
from modelkeep.events.inventory import (
    BoundariesSet,
    Boundary,
    Deployed,
    KpiRecorded,
    ModelRegistered,
    Resumed,
    Retired,
    RoleAssigned,
    RolledBack,
    SlaAccepted,
    SloDefined,
    Suspended,
    TrafficSet,
    UsesApproved,
    VersionRegistered,
)
from modelkeep.events.lineage import NodeRecorded
from modelkeep.events.monitoring import (
    AlertAcknowledged,
    AlertOverdue,
    AlertRaised,
    AlertRepeated,
    AlertResolved,
    BaselineRegistered,
    BatchRecorded,
    CadenceReached,
    ContractRegistered,
    DispositionRecorded,
    ErrorSums,
    MoneyChecked,
    MonitorConfigured,
    OutcomesRecorded,
    SnapshotBreach,
    SnapshotChecked,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import Money, Person
from modelkeep.ledger import stamp
from modelkeep.timekeeper import Due, due_key, due_view
from modelkeep.views import Fact, Rows, View

# --- configuration -----------------------------------------------------------------


@dataclass(frozen=True)
class BaselineRow:
    event: BaselineRegistered
    registered_at: datetime
    source: str


baselines = View("baselines", BaselineRow, version=2)
"""By `model/version/baseline`; the latest of a version by `model/version` alone."""


@baselines.on(BaselineRegistered)
def baseline_registered(
    event: BaselineRegistered, fact: Fact, rows: Rows[BaselineRow]
) -> None:
    row = BaselineRow(event, fact.effective_at, str(fact.id))
    rows.put(f"{event.model}/{event.version}", row)
    rows.put(f"{event.model}/{event.version}/{event.baseline}", row)


@dataclass(frozen=True)
class ContractRow:
    event: ContractRegistered


contracts = View("contracts", ContractRow, version=2)


@contracts.on(ContractRegistered)
def contract_registered(
    event: ContractRegistered, _: Fact, rows: Rows[ContractRow]
) -> None:
    rows.put(event.model, ContractRow(event))


@dataclass(frozen=True)
class SnapshotRow:
    model: str
    contract: str
    digest: str
    node: str | None
    purpose: str
    rows: int
    columns: int
    kept: bool
    breaches: tuple[SnapshotBreach, ...]
    checked_at: datetime
    source: str


snapshots = View("snapshots", SnapshotRow)
"""The latest verdict by `model/digest/purpose`."""


@snapshots.on(SnapshotChecked)
def snapshot_checked(
    event: SnapshotChecked, fact: Fact, rows: Rows[SnapshotRow]
) -> None:
    row = SnapshotRow(
        model=event.model,
        contract=event.contract,
        digest=event.digest,
        node=event.node,
        purpose=event.purpose,
        rows=event.rows,
        columns=event.columns,
        kept=event.kept,
        breaches=event.breaches,
        checked_at=fact.effective_at,
        source=str(fact.id),
    )
    rows.put(f"{event.model}/{event.digest}/{event.purpose}", row)


@dataclass(frozen=True)
class DataRow:
    """A dataset or a feature view as lineage knows it."""

    event: NodeRecorded


data_nodes = View("data_nodes", DataRow)


@data_nodes.on(NodeRecorded)
def data_recorded(event: NodeRecorded, _: Fact, rows: Rows[DataRow]) -> None:
    if event.kind in {"dataset", "feature_view"}:
        rows.put(event.node, DataRow(event))


@dataclass(frozen=True)
class MonitorRow:
    event: MonitorConfigured
    next_due_at: datetime | None


monitors = View("monitors", MonitorRow, version=3)


@monitors.on(MonitorConfigured)
def configured(event: MonitorConfigured, _: Fact, rows: Rows[MonitorRow]) -> None:
    rows.put(event.model, MonitorRow(event, event.next_due_at))


@monitors.on(CadenceReached)
def cadence_moved(event: CadenceReached, _: Fact, rows: Rows[MonitorRow]) -> None:
    row = rows.get(event.model)
    if row is not None:
        rows.put(event.model, replace(row, next_due_at=event.next_due_at))


# --- the decision log --------------------------------------------------------------


@dataclass(frozen=True)
class BatchRow:
    """A batch's event without its counts."""

    model: str
    version: str
    environment: str
    batch: str
    rows: int
    root: str
    row_schema: str
    address: str
    file_digest: str
    file_bytes: int
    first_id: str
    last_id: str
    first_at: datetime
    last_at: datetime
    use: str | None
    quarantined: bool
    breaches: int
    source: str
    recorded_at: datetime
    proof: Proof
    parts: tuple[int, ...]
    """The rows of each batch sent, where its columns are proven."""


batches = View("batches", BatchRow, version=2)
"""By `model/number`, in the order they were recorded."""


@batches.on(BatchRecorded)
def batch_recorded(event: BatchRecorded, fact: Fact, rows: Rows[BatchRow]) -> None:
    row = BatchRow(
        model=event.model,
        version=event.version,
        environment=event.environment,
        batch=event.batch,
        rows=event.rows,
        root=event.root,
        row_schema=event.row_schema,
        address=event.address,
        file_digest=event.file_digest,
        file_bytes=event.file_bytes,
        first_id=event.first_id,
        last_id=event.last_id,
        first_at=event.first_at,
        last_at=event.last_at,
        use=event.use,
        quarantined=event.quarantined,
        breaches=event.breaches,
        source=str(fact.id),
        recorded_at=fact.known_at,
        proof=event.proof,
        parts=event.parts,
    )
    rows.put(f"{event.model}/{fact.version:010}", row)


@dataclass(frozen=True)
class OutcomeBatchRow:
    batch: str
    address: str
    rows: int
    first_id: str
    last_id: str


outcome_batches = View("outcome_batches", OutcomeBatchRow)
"""By `model/number`, in the order they were recorded."""


@outcome_batches.on(OutcomesRecorded)
def outcome_batch(
    event: OutcomesRecorded, fact: Fact, rows: Rows[OutcomeBatchRow]
) -> None:
    row = OutcomeBatchRow(
        event.batch, event.address, event.rows, event.first_id, event.last_id
    )
    rows.put(f"{event.model}/{fact.version:010}", row)


@dataclass(frozen=True)
class Tally:
    """What a model's decision log holds."""

    batches: int = 0
    rows: int = 0
    quarantined: int = 0
    outcomes: int = 0
    outcomes_never: int = 0
    outcomes_unmatched: int = 0
    outcomes_duplicate: int = 0
    outcomes_contradicting: int = 0


tallies = View("tallies", Tally)


@tallies.on(BatchRecorded)
def tally_batch(event: BatchRecorded, _: Fact, rows: Rows[Tally]) -> None:
    row = rows.get(event.model) or Tally()
    aside = event.rows if event.quarantined else 0
    rows.put(
        event.model,
        replace(
            row,
            batches=row.batches + 1,
            rows=row.rows + event.rows,
            quarantined=row.quarantined + aside,
        ),
    )


@tallies.on(OutcomesRecorded)
def tally_outcomes(event: OutcomesRecorded, _: Fact, rows: Rows[Tally]) -> None:
    row = rows.get(event.model) or Tally()
    rows.put(
        event.model,
        replace(
            row,
            outcomes=row.outcomes + event.rows,
            outcomes_never=row.outcomes_never + event.never,
            outcomes_unmatched=row.outcomes_unmatched + event.unmatched,
            outcomes_duplicate=row.outcomes_duplicate + event.duplicates,
            outcomes_contradicting=row.outcomes_contradicting + event.contradictions,
        ),
    )


# --- windows -----------------------------------------------------------------------


@dataclass(frozen=True)
class WindowRow:
    model: str
    version: str
    environment: str
    window: str
    start: datetime
    end: datetime
    figures: WindowFigures
    method: str
    closed_at: datetime
    source: str
    restatements: int = 0
    restated_at: datetime | None = None


windows = View("windows", WindowRow, version=3)
"""By `model/window`."""


@windows.on(WindowClosed)
def window_closed(event: WindowClosed, fact: Fact, rows: Rows[WindowRow]) -> None:
    row = WindowRow(
        model=event.model,
        version=event.version,
        environment=event.environment,
        window=event.window,
        start=event.start,
        end=event.end,
        figures=event.figures,
        method=event.method,
        closed_at=fact.known_at,
        source=str(fact.id),
    )
    rows.put(f"{event.model}/{event.window}", row)


@windows.on(WindowRestated)
def window_restated(event: WindowRestated, fact: Fact, rows: Rows[WindowRow]) -> None:
    row = rows.get(f"{event.model}/{event.window}")
    if row is not None:
        corrected = replace(
            row,
            figures=event.figures,
            method=event.method,
            source=str(fact.id),
            restatements=event.restatement,
            restated_at=fact.known_at,
        )
        rows.put(f"{event.model}/{event.window}", corrected)


@dataclass(frozen=True)
class ProfileRow:
    profile: str
    score_outcomes: tuple[int, ...]
    errors: ErrorSums | None = None


profiles = View("profiles", ProfileRow, version=2)
"""The counts behind a window, by `model/window`."""


@profiles.on(WindowClosed)
def profile_closed(event: WindowClosed, _: Fact, rows: Rows[ProfileRow]) -> None:
    rows.put(
        f"{event.model}/{event.window}",
        ProfileRow(event.profile or "", event.score_outcomes, event.errors),
    )


@profiles.on(WindowRestated)
def profile_restated(event: WindowRestated, _: Fact, rows: Rows[ProfileRow]) -> None:
    rows.put(
        f"{event.model}/{event.window}",
        ProfileRow(event.profile or "", event.score_outcomes, event.errors),
    )


# --- alerts ------------------------------------------------------------------------


@dataclass(frozen=True)
class AlertRow:
    model: str
    alert: str
    version: str | None
    environment: str | None
    kind: str
    vector: str
    severity: str
    metric: str
    feature: str | None
    value: float
    threshold: float
    baseline: float | None
    n: int
    window: str | None
    start: datetime | None
    end: datetime | None
    owner: str | None
    play: str | None
    slo: str | None
    money_per_hour: Money | None
    money_basis: str | None
    money_check: str | None
    cause: str
    sources: tuple[str, ...]
    raised_at: datetime
    due_at: datetime
    source: str
    status: Literal["open", "acknowledged", "resolved"] = "open"
    overdue: bool = False
    repeats: int = 0
    acknowledged_at: datetime | None = None
    acknowledged_by: Person | None = None
    resolved_at: datetime | None = None
    resolved_by: Person | None = None
    true_alarm: bool | None = None
    reason: str | None = None


alerts = View("alerts", AlertRow, version=2)
"""By `model/alert`."""


@alerts.on(AlertRaised)
def alert_raised(event: AlertRaised, fact: Fact, rows: Rows[AlertRow]) -> None:
    said = dict(event)
    del said["thresholds"]
    row = AlertRow(**said, raised_at=fact.known_at, source=str(fact.id))
    rows.put(f"{event.model}/{event.alert}", row)


def _change(rows: Rows[AlertRow], key: str, **changes: object) -> None:
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, **changes))  # type: ignore[arg-type]  # its own fields


@alerts.on(AlertRepeated)
def alert_repeated(event: AlertRepeated, _: Fact, rows: Rows[AlertRow]) -> None:
    key = f"{event.model}/{event.alert}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, repeats=row.repeats + 1))


@alerts.on(AlertAcknowledged)
def alert_acknowledged(
    event: AlertAcknowledged, fact: Fact, rows: Rows[AlertRow]
) -> None:
    _change(
        rows,
        f"{event.model}/{event.alert}",
        status="acknowledged",
        acknowledged_at=fact.known_at,
        acknowledged_by=event.by,
    )


@alerts.on(AlertResolved)
def alert_resolved(event: AlertResolved, fact: Fact, rows: Rows[AlertRow]) -> None:
    _change(
        rows,
        f"{event.model}/{event.alert}",
        status="resolved",
        resolved_at=fact.known_at,
        resolved_by=event.by,
        true_alarm=event.true_alarm,
        reason=event.reason,
    )


@alerts.on(AlertOverdue)
def alert_overdue(event: AlertOverdue, _: Fact, rows: Rows[AlertRow]) -> None:
    _change(rows, f"{event.model}/{event.alert}", overdue=True)


# --- people ------------------------------------------------------------------------


@dataclass(frozen=True)
class DispositionRow:
    disposition: str
    reason: str
    by: Person
    at: datetime


dispositions = View("dispositions", DispositionRow)
"""The last word on each decision, by `model/decision`."""


@dispositions.on(DispositionRecorded)
def disposed(
    event: DispositionRecorded, fact: Fact, rows: Rows[DispositionRow]
) -> None:
    row = DispositionRow(event.disposition, event.reason, event.by, fact.effective_at)
    rows.put(f"{event.model}/{event.decision}", row)


@dataclass(frozen=True)
class OverrideRow:
    """Dispositions of one day (UTC), by what was done; overrides by stated reason,
    those beyond the first `REASONS_A_DAY` as one.
    """

    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)


REASONS_A_DAY: Final = 50
LONGEST_REASON: Final = 200
OTHER_REASONS: Final = "(others)"

overrides = View("overrides", OverrideRow, version=2)
"""By `model/day`; every word counts, a second on one decision too."""


@overrides.on(DispositionRecorded)
def counted(event: DispositionRecorded, fact: Fact, rows: Rows[OverrideRow]) -> None:
    key = f"{event.model}/{fact.effective_at:%Y-%m-%d}"
    row = rows.get(key) or OverrideRow()
    reasons = row.reasons
    if event.disposition == "overridden":
        reason = event.reason[:LONGEST_REASON]
        full = len(reasons) >= REASONS_A_DAY and reason not in reasons
        reasons = _one_more(reasons, OTHER_REASONS if full else reason)
    rows.put(key, OverrideRow(_one_more(row.counts, event.disposition), reasons))


def _one_more(counts: dict[str, int], key: str) -> dict[str, int]:
    return dict(sorted({**counts, key: counts.get(key, 0) + 1}.items()))


# --- what falls due ----------------------------------------------------------------

CADENCE: Final = "cadence"
MATURITY: Final = "maturity"
ALERT: Final = "alert"
ESCALATION: Final = "escalation"

due = due_view(version=2)
"""The cadence of a model, the maturity of `model/window`, an alert as `model/alert`,
and the next step of its escalation.
"""


@due.on(MonitorConfigured)
def cadence_due(event: MonitorConfigured, _: Fact, rows: Rows[Due]) -> None:
    if event.replaces_due_at is not None:
        rows.delete(due_key(event.replaces_due_at, CADENCE, event.model))
    if event.next_due_at is not None:
        key = due_key(event.next_due_at, CADENCE, event.model)
        rows.put(key, Due(CADENCE, event.model))


@due.on(CadenceReached)
def cadence_reached(event: CadenceReached, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, CADENCE, event.model))
    key = due_key(event.next_due_at, CADENCE, event.model)
    rows.put(key, Due(CADENCE, event.model))


@due.on(WindowClosed)
def maturity_due(event: WindowClosed, _: Fact, rows: Rows[Due]) -> None:
    _mature_later(event, rows)


@due.on(WindowRestated)
def maturity_moved(event: WindowRestated, _: Fact, rows: Rows[Due]) -> None:
    if event.replaces_matures_at is not None:
        subject = f"{event.model}/{event.window}"
        rows.delete(due_key(event.replaces_matures_at, MATURITY, subject))
    _mature_later(event, rows)


def _mature_later(event: WindowClosed | WindowRestated, rows: Rows[Due]) -> None:
    if not event.figures.mature and event.figures.matures_at is not None:
        subject = f"{event.model}/{event.window}"
        key = due_key(event.figures.matures_at, MATURITY, subject)
        rows.put(key, Due(MATURITY, subject))


@due.on(AlertRaised)
def alert_due(event: AlertRaised, _: Fact, rows: Rows[Due]) -> None:
    subject = f"{event.model}/{event.alert}"
    rows.put(due_key(event.due_at, ALERT, subject), Due(ALERT, subject))


@due.on(AlertResolved)
def alert_done(event: AlertResolved, _: Fact, rows: Rows[Due]) -> None:
    if event.due_at is not None:
        rows.delete(due_key(event.due_at, ALERT, f"{event.model}/{event.alert}"))


@due.on(AlertOverdue)
def alert_late(event: AlertOverdue, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, ALERT, f"{event.model}/{event.alert}"))


@due.on(EscalationPlanned)
def escalation_due(event: EscalationPlanned, _: Fact, rows: Rows[Due]) -> None:
    _escalation(event.model, event.alert, None, event.next_due_at, rows)


@due.on(AlertEscalated)
def escalation_moved(event: AlertEscalated, _: Fact, rows: Rows[Due]) -> None:
    _escalation(event.model, event.alert, event.due_at, event.next_due_at, rows)


@due.on(EscalationHeld)
def escalation_held(event: EscalationHeld, _: Fact, rows: Rows[Due]) -> None:
    _escalation(
        event.model, event.alert, event.replaces_due_at, event.next_due_at, rows
    )


@due.on(EscalationEnded)
def escalation_ended(event: EscalationEnded, _: Fact, rows: Rows[Due]) -> None:
    _escalation(event.model, event.alert, event.replaces_due_at, None, rows)


def _escalation(
    model: str,
    alert: str,
    was: datetime | None,
    now: datetime | None,
    rows: Rows[Due],
) -> None:
    subject = f"{model}/{alert}"
    if was is not None:
        rows.delete(due_key(was, ESCALATION, subject))
    if now is not None:
        rows.put(due_key(now, ESCALATION, subject), Due(ESCALATION, subject))


# --- what the inventory says -------------------------------------------------------


@dataclass(frozen=True)
class ModelRow:
    """As far as monitoring needs it. `uses` and `boundaries` are those in force."""

    owner: str
    uses: tuple[str, ...]
    boundaries: tuple[Boundary, ...]
    status: Literal["active", "suspended", "retired"] = "active"


models = View("models", ModelRow)


@models.on(ModelRegistered)
def model_registered(event: ModelRegistered, _: Fact, rows: Rows[ModelRow]) -> None:
    rows.put(event.model, ModelRow(event.owner, event.approved_uses, event.boundaries))


def _model(rows: Rows[ModelRow], model: str, **changes: object) -> None:
    row = rows.get(model)
    if row is not None:
        rows.put(model, replace(row, **changes))  # type: ignore[arg-type]  # its own fields


@models.on(UsesApproved)
def uses_approved(event: UsesApproved, _: Fact, rows: Rows[ModelRow]) -> None:
    _model(rows, event.model, uses=event.uses)


@models.on(BoundariesSet)
def boundaries_set(event: BoundariesSet, _: Fact, rows: Rows[ModelRow]) -> None:
    _model(rows, event.model, boundaries=event.boundaries)


@models.on(RoleAssigned)
def role_assigned(event: RoleAssigned, _: Fact, rows: Rows[ModelRow]) -> None:
    if event.role == "owner":
        _model(rows, event.model, owner=event.subject)


@models.on(Suspended)
def suspended(event: Suspended, _: Fact, rows: Rows[ModelRow]) -> None:
    _model(rows, event.model, status="suspended")


@models.on(Resumed)
def resumed(event: Resumed, _: Fact, rows: Rows[ModelRow]) -> None:
    _model(rows, event.model, status="active")


@models.on(Retired)
def retired(event: Retired, _: Fact, rows: Rows[ModelRow]) -> None:
    _model(rows, event.model, status="retired")


@dataclass(frozen=True)
class VersionRow:
    """`shares` of traffic by environment, where it was ever deployed."""

    digest: str
    shares: dict[str, float] = field(default_factory=dict)


versions = View("versions", VersionRow)
"""By `model/version`."""


@versions.on(VersionRegistered)
def version_registered(
    event: VersionRegistered, _: Fact, rows: Rows[VersionRow]
) -> None:
    rows.put(f"{event.model}/{event.version}", VersionRow(event.digest))


def _serves(
    rows: Rows[VersionRow], model: str, version: str, environment: str, share: float
) -> None:
    row = rows.get(f"{model}/{version}")
    if row is not None:
        shares = dict(sorted({**row.shares, environment: share}.items()))
        rows.put(f"{model}/{version}", replace(row, shares=shares))


@versions.on(Deployed)
def deployed(event: Deployed, _: Fact, rows: Rows[VersionRow]) -> None:
    _serves(rows, event.model, event.version, event.environment, event.share)


@versions.on(TrafficSet)
def traffic_set(event: TrafficSet, _: Fact, rows: Rows[VersionRow]) -> None:
    _serves(rows, event.model, event.version, event.environment, event.share)


@versions.on(RolledBack)
def rolled_back(event: RolledBack, _: Fact, rows: Rows[VersionRow]) -> None:
    _serves(rows, event.model, event.from_version, event.environment, 0.0)
    _serves(rows, event.model, event.to_version, event.environment, event.share)


@dataclass(frozen=True)
class SloRow:
    event: SloDefined
    source: str


slos = View("slos", SloRow, version=2)
"""By `model/slo`."""


@slos.on(SloDefined)
def slo_defined(event: SloDefined, fact: Fact, rows: Rows[SloRow]) -> None:
    rows.put(f"{event.model}/{event.slo}", SloRow(event, str(fact.id)))


@dataclass(frozen=True)
class KpiRow:
    event: KpiRecorded
    source: str


kpis = View("kpis", KpiRow)
"""By `model/kpi/period start/period end`: the same period again corrects it."""


@kpis.on(KpiRecorded)
def kpi_recorded(event: KpiRecorded, fact: Fact, rows: Rows[KpiRow]) -> None:
    period = f"{stamp(event.period_start)}/{stamp(event.period_end)}"
    row = KpiRow(event, str(fact.id))
    rows.put(f"{event.model}/{event.kpi}/{period}", row)


@dataclass(frozen=True)
class MoneyRow:
    event: MoneyChecked
    source: str


money_checks = View("money_checks", MoneyRow)
"""The last of each SLO, by `model/slo`."""


@money_checks.on(MoneyChecked)
def money_checked(event: MoneyChecked, fact: Fact, rows: Rows[MoneyRow]) -> None:
    rows.put(f"{event.model}/{event.slo}", MoneyRow(event, str(fact.id)))


@dataclass(frozen=True)
class SlaRow:
    event: SlaAccepted


slas = View("slas", SlaRow, version=2)
"""The accepted ones, by `model/kind`."""


@slas.on(SlaAccepted)
def sla_accepted(event: SlaAccepted, _: Fact, rows: Rows[SlaRow]) -> None:
    rows.put(f"{event.model}/{event.kind}", SlaRow(event))


VIEWS: Final = (
    baselines,
    contracts,
    snapshots,
    data_nodes,
    monitors,
    batches,
    outcome_batches,
    tallies,
    windows,
    profiles,
    alerts,
    dispositions,
    overrides,
    due,
    models,
    versions,
    slos,
    kpis,
    money_checks,
    slas,
)
