"""What policy has seen other services say: the evidence that rules may ask for.

A row keeps the id of the event behind each fact, so that a verdict can cite it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from modelkeep.events.attention import AutonomyLowered, AutonomyRaised, Level
from modelkeep.events.insight import (
    BudgetDefined,
    BudgetEased,
    BudgetExhausted,
    BudgetSlowed,
    HealthBandChanged,
)
from modelkeep.events.inventory import (
    CardAttached,
    ChangeClassified,
    Deployed,
    FindingClosed,
    FindingRaised,
    ModelClassified,
    ModelRegistered,
    OverrideExpired,
    Resumed,
    Retired,
    ReviewCancelled,
    ReviewCompleted,
    ReviewScheduled,
    RiskAccepted,
    RoleAssigned,
    RoleVacated,
    RolledBack,
    SlaAccepted,
    Suspended,
    TrafficSet,
    UsesApproved,
    ValidationRecorded,
    VersionRegistered,
    VersionSigned,
)
from modelkeep.events.lineage import CompletenessAssessed
from modelkeep.events.monitoring import (
    AlertRaised,
    AlertResolved,
    BaselineRegistered,
    ContractRegistered,
    FairnessFigure,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import Person
from modelkeep.views import Fact, Rows, View

KEPT = 100
MAX_FEATURES = 1_000


# --- models ------------------------------------------------------------------------


@dataclass(frozen=True)
class Holder:
    """Somebody in a role of a model. `source` is the event that said so."""

    role: str
    person: Person
    source: str


@dataclass(frozen=True)
class Void:
    """Something that voids what was approved before: of one digest, or of all."""

    source: str
    reason: str
    digest: str | None = None


@dataclass(frozen=True)
class ModelRow:
    model: str
    kind: str
    vendor: str | None
    uses: tuple[str, ...]
    registered: str
    uses_said: str
    tier: int | None = None
    classified: str | None = None
    holders: tuple[Holder, ...] = ()
    standing: Literal["active", "suspended", "retired"] = "active"
    standing_said: str | None = None
    builds: tuple[datetime, ...] = ()
    """When its latest versions were registered."""
    voids: tuple[Void, ...] = ()
    business_line: str | None = None
    product: str | None = None


def voids_after(row: ModelRow, known: str | None) -> tuple[Void, ...]:
    """What voids since an event; all of it, where that one is not remembered."""
    sources = [one.source for one in row.voids]
    return row.voids[sources.index(known) + 1 :] if known in sources else row.voids


models = View("seen_models", ModelRow, version=3)


@models.on(ModelRegistered)
def registered(event: ModelRegistered, fact: Fact, rows: Rows[ModelRow]) -> None:
    owner = Person(issuer=event.owner_issuer, subject=event.owner)
    source = str(fact.id)
    row = ModelRow(
        model=event.model,
        kind=event.kind,
        vendor=event.vendor.name if event.vendor is not None else None,
        uses=event.approved_uses,
        registered=source,
        uses_said=source,
        holders=(Holder("owner", owner, source),),
        business_line=event.business_line,
        product=event.vendor.product if event.vendor is not None else None,
    )
    rows.put(event.model, row)


@models.on(UsesApproved)
def uses_approved(event: UsesApproved, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None:
        rows.put(event.model, replace(row, uses=event.uses, uses_said=str(fact.id)))


@models.on(RoleAssigned)
def role_assigned(event: RoleAssigned, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None:
        person = Person(issuer=event.issuer, subject=event.subject)
        others = _without(row, event.role, person)
        held = (*others, Holder(event.role, person, str(fact.id)))
        rows.put(event.model, replace(row, holders=held))


@models.on(RoleVacated)
def role_vacated(event: RoleVacated, _: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None:
        person = Person(issuer=event.issuer, subject=event.subject)
        others = _without(row, event.role, person)
        rows.put(event.model, replace(row, holders=others))


def _without(row: ModelRow, role: str, person: Person) -> tuple[Holder, ...]:
    return tuple(h for h in row.holders if (h.role, h.person) != (role, person))


@models.on(ModelClassified)
def classified(event: ModelClassified, fact: Fact, rows: Rows[ModelRow]) -> None:
    _tiered(rows, event.model, event.tier, str(fact.id))


@models.on(OverrideExpired)
def override_expired(event: OverrideExpired, fact: Fact, rows: Rows[ModelRow]) -> None:
    _tiered(rows, event.model, event.tier, str(fact.id))


def _tiered(rows: Rows[ModelRow], model: str, tier: int, source: str) -> None:
    row = rows.get(model)
    if row is None:
        return
    riskier = row.tier is not None and tier < row.tier
    after = replace(row, tier=tier, classified=source)
    why = f"{model} moved from tier {row.tier} to tier {tier}"
    rows.put(model, _voided(after, Void(source, why)) if riskier else after)


def _voided(row: ModelRow, void: Void) -> ModelRow:
    return replace(row, voids=(*row.voids, void)[-KEPT:])


@models.on(ChangeClassified)
def changed(event: ChangeClassified, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None and event.material:
        why = f"change {event.change} is material"
        rows.put(event.model, _voided(row, Void(str(fact.id), why, event.digest)))


@models.on(ValidationRecorded)
def invalidated(event: ValidationRecorded, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None and event.outcome == "rejected":
        why = f"the validation of {event.version} was withdrawn"
        rows.put(event.model, _voided(row, Void(str(fact.id), why, event.digest)))


@models.on(FindingRaised)
def critical(event: FindingRaised, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None and event.severity == "critical":
        why = f"critical finding {event.finding} was raised"
        rows.put(event.model, _voided(row, Void(str(fact.id), why)))


@models.on(Suspended)
def suspended(event: Suspended, fact: Fact, rows: Rows[ModelRow]) -> None:
    _stands(rows, event.model, "suspended", str(fact.id))


@models.on(Resumed)
def resumed(event: Resumed, fact: Fact, rows: Rows[ModelRow]) -> None:
    _stands(rows, event.model, "active", str(fact.id))


@models.on(Retired)
def retired(event: Retired, fact: Fact, rows: Rows[ModelRow]) -> None:
    _stands(rows, event.model, "retired", str(fact.id))


def _stands(
    rows: Rows[ModelRow],
    model: str,
    standing: Literal["active", "suspended", "retired"],
    source: str,
) -> None:
    row = rows.get(model)
    if row is not None:
        rows.put(model, replace(row, standing=standing, standing_said=source))


@models.on(VersionRegistered)
def built(event: VersionRegistered, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None:
        builds = (*row.builds, fact.known_at)[-KEPT:]
        rows.put(event.model, replace(row, builds=builds))


# --- versions ----------------------------------------------------------------------


@dataclass(frozen=True)
class Validation:
    outcome: str
    validator: Person
    at: datetime
    digest: str
    metrics: dict[str, float]
    valid_until: datetime | None
    source: str


@dataclass(frozen=True)
class Signed:
    """A publisher signed it; `source` is the event that said so."""

    publisher: str
    source: str


@dataclass(frozen=True)
class VersionRow:
    version: str
    digest: str
    registered_by: Person
    registered_at: datetime
    registered: str
    feature_count: int | None = None
    card_digest: str | None = None
    card: str | None = None
    validation: Validation | None = None
    material_change: str | None = None
    artifacts: tuple[str, ...] = ()
    """The digest of each."""
    signatures: tuple[Signed, ...] = ()


versions = View("seen_versions", VersionRow, version=2)


@versions.on(VersionRegistered)
def version_registered(
    event: VersionRegistered, fact: Fact, rows: Rows[VersionRow]
) -> None:
    row = VersionRow(
        version=event.version,
        digest=event.digest,
        registered_by=event.registered_by,
        registered_at=fact.known_at,
        registered=str(fact.id),
        feature_count=event.feature_count,
        artifacts=tuple(one.digest for one in event.artifacts),
    )
    rows.put(f"{event.model}/{event.version}", row)


@versions.on(VersionSigned)
def signed(event: VersionSigned, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is not None:
        found = Signed(event.publisher, str(fact.id))
        rows.put(key, replace(row, signatures=(*row.signatures, found)[-KEPT:]))


@versions.on(CardAttached)
def card_attached(event: CardAttached, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is not None:
        after = replace(row, card_digest=event.card_digest, card=str(fact.id))
        rows.put(key, after)


@versions.on(ValidationRecorded)
def validated(event: ValidationRecorded, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is None:
        return
    said = Validation(
        outcome=event.outcome,
        validator=event.validator,
        at=fact.effective_at,
        digest=event.digest,
        metrics=dict(event.metrics),
        valid_until=event.valid_until,
        source=str(fact.id),
    )
    rows.put(key, replace(row, validation=said, material_change=None))


@versions.on(ChangeClassified)
def version_changed(
    event: ChangeClassified, fact: Fact, rows: Rows[VersionRow]
) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is not None and event.material:
        # What was validated is not what it is now: it must be validated again.
        after = replace(row, validation=None, material_change=str(fact.id))
        rows.put(key, after)


@dataclass(frozen=True)
class ArtifactsRow:
    """The files of a version, by name and digest: what a signed verdict is about."""

    digest: str
    files: tuple[tuple[str, str], ...]


artifacts = View("seen_artifacts", ArtifactsRow)


@artifacts.on(VersionRegistered)
def files(event: VersionRegistered, _: Fact, rows: Rows[ArtifactsRow]) -> None:
    found = tuple((one.name, one.digest) for one in event.artifacts)
    rows.put(f"{event.model}/{event.version}", ArtifactsRow(event.digest, found))


@dataclass(frozen=True)
class LineageRow:
    digest: str
    share: float
    source: str


lineage = View("seen_lineage", LineageRow)


@lineage.on(CompletenessAssessed)
def assessed(event: CompletenessAssessed, fact: Fact, rows: Rows[LineageRow]) -> None:
    row = LineageRow(event.digest, event.share, str(fact.id))
    rows.put(f"{event.model}/{event.version}", row)


# --- findings and serving ----------------------------------------------------------


@dataclass(frozen=True)
class FindingRow:
    severity: Literal["low", "medium", "high", "critical"]
    source: str
    accepted_until: datetime | None = None
    due_at: datetime | None = None


findings = View("seen_findings", FindingRow, version=2)


@findings.on(FindingRaised)
def finding_raised(event: FindingRaised, fact: Fact, rows: Rows[FindingRow]) -> None:
    row = FindingRow(event.severity, str(fact.id), due_at=event.due_at)
    rows.put(f"{event.model}/{event.finding}", row)


@findings.on(RiskAccepted)
def risk_accepted(event: RiskAccepted, _: Fact, rows: Rows[FindingRow]) -> None:
    key = f"{event.model}/{event.subject}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, accepted_until=event.until))


@findings.on(FindingClosed)
def finding_closed(event: FindingClosed, _: Fact, rows: Rows[FindingRow]) -> None:
    rows.delete(f"{event.model}/{event.finding}")


@dataclass(frozen=True)
class ReviewRow:
    """A review that is still to be done."""

    due_at: datetime
    source: str


reviews = View("seen_reviews", ReviewRow)


@reviews.on(ReviewScheduled)
def review_scheduled(event: ReviewScheduled, fact: Fact, rows: Rows[ReviewRow]) -> None:
    row = ReviewRow(event.due_at, str(fact.id))
    rows.put(f"{event.model}/{event.review}", row)


@reviews.on(ReviewCompleted)
def review_completed(event: ReviewCompleted, _: Fact, rows: Rows[ReviewRow]) -> None:
    rows.delete(f"{event.model}/{event.review}")


@reviews.on(ReviewCancelled)
def review_cancelled(event: ReviewCancelled, _: Fact, rows: Rows[ReviewRow]) -> None:
    rows.delete(f"{event.model}/{event.review}")


@dataclass(frozen=True)
class PromiseRow:
    """An accepted SLA: of explanations (`coverage` of decisions), or of audits."""

    kind: Literal["explainability", "audit"]
    coverage: float
    reason_codes: bool
    explanation_p95_ms: float | None
    response_hours: int | None
    source: str


promises = View("seen_promises", PromiseRow)


@promises.on(SlaAccepted)
def promised(event: SlaAccepted, fact: Fact, rows: Rows[PromiseRow]) -> None:
    terms = event.terms
    row = PromiseRow(
        event.kind,
        terms.coverage,
        terms.reason_codes,
        terms.explanation_p95_ms,
        terms.response_hours,
        str(fact.id),
    )
    rows.put(f"{event.model}/{event.sla}", row)


@dataclass(frozen=True)
class AutonomyRow:
    """How far a model may decide alone in one use."""

    level: Level
    source: str


autonomy = View("seen_autonomy", AutonomyRow)


@autonomy.on(AutonomyRaised)
def autonomy_raised(event: AutonomyRaised, fact: Fact, rows: Rows[AutonomyRow]) -> None:
    row = AutonomyRow(event.to_level, str(fact.id))
    rows.put(f"{event.model}/{event.use}", row)


@autonomy.on(AutonomyLowered)
def autonomy_lowered(
    event: AutonomyLowered, fact: Fact, rows: Rows[AutonomyRow]
) -> None:
    row = AutonomyRow(event.to_level, str(fact.id))
    rows.put(f"{event.model}/{event.use}", row)


@dataclass(frozen=True)
class Serving:
    version: str
    digest: str
    share: float
    source: str


@dataclass(frozen=True)
class PlaceRow:
    """An environment of a model: what serves there, and what has before."""

    serving: tuple[Serving, ...] = ()
    before: tuple[str, ...] = ()


places = View("seen_places", PlaceRow)


@places.on(Deployed)
def deployed(event: Deployed, fact: Fact, rows: Rows[PlaceRow]) -> None:
    now = Serving(event.version, event.digest, event.share, str(fact.id))
    _serve(rows, f"{event.model}/{event.environment}", now)


@places.on(TrafficSet)
def traffic_set(event: TrafficSet, fact: Fact, rows: Rows[PlaceRow]) -> None:
    now = Serving(event.version, event.digest, event.share, str(fact.id))
    _serve(rows, f"{event.model}/{event.environment}", now)


@places.on(RolledBack)
def rolled_back(event: RolledBack, fact: Fact, rows: Rows[PlaceRow]) -> None:
    key, source = f"{event.model}/{event.environment}", str(fact.id)
    _serve(rows, key, Serving(event.from_version, event.from_digest, 0.0, source))
    _serve(rows, key, Serving(event.to_version, event.to_digest, event.share, source))


def _serve(rows: Rows[PlaceRow], key: str, now: Serving) -> None:
    row = rows.get(key) or PlaceRow()
    others = tuple(one for one in row.serving if one.version != now.version)
    serving = (*others, now) if now.share > 0 else others
    before = tuple(one for one in row.before if one != now.digest)
    rows.put(key, PlaceRow(serving, (*before, now.digest)[-KEPT:]))


# --- telemetry ---------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """A metric over `n` cases."""

    metric: str
    value: float
    n: int


@dataclass(frozen=True)
class Moved:
    """A feature and how far it has moved."""

    name: str
    psi: float | None
    missing_rate: float | None


@dataclass(frozen=True)
class Groups:
    """How groups fared beside their reference; `worst` is the lowest ratio of favour,
    None where too few people are known.
    """

    compared: int
    breached: int
    unsure: int
    worst: float | None


@dataclass(frozen=True)
class WindowRow:
    """The latest window of a version in an environment, and its latest performance."""

    end: datetime
    window: str
    source: str
    features: tuple[Moved, ...]
    explained: float | None
    breaches: int
    performance: tuple[Figure, ...] = ()
    measured: str | None = None
    measured_to: datetime | None = None
    rows: int = 0
    reason_codes_owed: int = 0
    reason_codes_missing: int = 0
    out_of_bounds: int = 0
    unapproved_use: int = 0
    undeployed: int = 0
    explanation_p95_ms: float | None = None
    groups: Groups | None = None


windows = View("seen_windows", WindowRow, version=2)


@windows.on(WindowClosed)
def window_closed(event: WindowClosed, fact: Fact, rows: Rows[WindowRow]) -> None:
    _window(event, str(fact.id), rows)


@windows.on(WindowRestated)
def window_restated(event: WindowRestated, fact: Fact, rows: Rows[WindowRow]) -> None:
    _window(event, str(fact.id), rows)


def _window(
    event: WindowClosed | WindowRestated, source: str, rows: Rows[WindowRow]
) -> None:
    key = f"{event.model}/{event.version}/{event.environment}"
    before = rows.get(key)
    row = before if before is not None and before.end > event.end else None
    if row is None:
        row = _latest(event, source)
        if before is not None:
            row = replace(
                row,
                performance=before.performance,
                measured=before.measured,
                measured_to=before.measured_to,
            )
    figures = event.figures
    newer = row.measured_to is None or row.measured_to <= event.end
    if figures.mature and figures.performance and newer:
        row = replace(
            row,
            performance=tuple(
                Figure(one.metric, one.value, one.n) for one in figures.performance
            ),
            measured=source,
            measured_to=event.end,
        )
    rows.put(key, row)


def _latest(event: WindowClosed | WindowRestated, source: str) -> WindowRow:
    figures = event.figures
    moved = [Moved(one.feature, one.psi, one.missing_rate) for one in figures.features]
    took = figures.explanation_ms
    return WindowRow(
        end=event.end,
        window=event.window,
        source=source,
        features=tuple(moved[:MAX_FEATURES]),
        explained=figures.explanation_coverage,
        breaches=sum(figures.breaches.values()),
        rows=figures.rows,
        reason_codes_owed=figures.reason_codes_owed,
        reason_codes_missing=figures.reason_codes_missing,
        out_of_bounds=figures.out_of_bounds,
        unapproved_use=sum(figures.unapproved_use.values()),
        undeployed=figures.undeployed,
        explanation_p95_ms=took.p95 if took is not None else None,
        groups=_groups(figures),
    )


def _groups(figures: WindowFigures) -> Groups | None:
    """Count groups, each by its worst judgement; None where none are compared."""
    judged = [one for of in figures.fairness for one in _judgements(of)]
    if not judged:
        return None
    worst = [ratio for _, ratio in judged]
    known = [ratio for ratio in worst if ratio is not None]
    return Groups(
        compared=len(judged),
        breached=sum("breached" in said for said, _ in judged),
        unsure=sum("breached" not in said and "unsure" in said for said, _ in judged),
        worst=min(known) if len(known) == len(worst) else None,
    )


def _judgements(
    figure: FairnessFigure,
) -> Iterator[tuple[set[str | None], float | None]]:
    """Give each group's judgements and its ratio of favour to the reference's."""
    for one in figure.groups:
        if one.group == figure.reference:
            continue
        gaps = [gap for gap in (one.parity, one.opportunity, one.impact) if gap]
        ratio = one.impact.value if one.impact is not None else None
        yield {gap.judgement for gap in gaps}, ratio


@dataclass(frozen=True)
class BaselineRow:
    features: int
    rows: int
    performance: tuple[Figure, ...]
    source: str
    names: tuple[str, ...] = ()


baselines = View("seen_baselines", BaselineRow, version=2)


@baselines.on(BaselineRegistered)
def baseline(event: BaselineRegistered, fact: Fact, rows: Rows[BaselineRow]) -> None:
    measured = tuple(Figure(one.metric, one.value, one.n) for one in event.performance)
    names = tuple(sorted(event.features)[:MAX_FEATURES])
    row = BaselineRow(len(event.features), event.rows, measured, str(fact.id), names)
    rows.put(f"{event.model}/{event.version}", row)


@dataclass(frozen=True)
class ContractRow:
    quarantines: bool
    source: str


contracts = View("seen_contracts", ContractRow)


@contracts.on(ContractRegistered)
def contracted(event: ContractRegistered, fact: Fact, rows: Rows[ContractRow]) -> None:
    row = ContractRow(event.on_breach == "quarantine", str(fact.id))
    rows.put(f"{event.model}/{event.contract}", row)


@dataclass(frozen=True)
class AlertRow:
    severity: Literal["low", "medium", "high", "critical"]
    source: str
    kind: str = ""


alerts = View("seen_alerts", AlertRow, version=2)


@alerts.on(AlertRaised)
def alert_raised(event: AlertRaised, fact: Fact, rows: Rows[AlertRow]) -> None:
    row = AlertRow(event.severity, str(fact.id), event.kind)
    rows.put(f"{event.model}/{event.alert}", row)


@alerts.on(AlertResolved)
def alert_resolved(event: AlertResolved, _: Fact, rows: Rows[AlertRow]) -> None:
    rows.delete(f"{event.model}/{event.alert}")


# --- risk budgets ------------------------------------------------------------------


@dataclass(frozen=True)
class BudgetRow:
    """`spent_low` is what insight last said of a period; nothing said is nothing spent
    beyond its due.
    """

    source: str
    months: int
    first_end: datetime
    spent_low: float = 0.0
    exhausted: bool = False
    period_start: datetime | None = None
    period_end: datetime | None = None


budgets = View("seen_budgets", BudgetRow)


@budgets.on(BudgetDefined)
def budget_defined(event: BudgetDefined, fact: Fact, rows: Rows[BudgetRow]) -> None:
    months = event.periods * (3 if event.period == "quarter" else 1)
    row = BudgetRow(str(fact.id), months, event.period_end)
    rows.put(f"{event.model}/{event.budget}", row)


@budgets.on(BudgetSlowed)
def budget_slowed(event: BudgetSlowed, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _spent(event, str(fact.id), rows, exhausted=False)


@budgets.on(BudgetEased)
def budget_eased(event: BudgetEased, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _spent(event, str(fact.id), rows, exhausted=False)


@budgets.on(BudgetExhausted)
def budget_exhausted(event: BudgetExhausted, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _spent(event, str(fact.id), rows, exhausted=True)


def _spent(
    event: BudgetSlowed | BudgetEased | BudgetExhausted,
    source: str,
    rows: Rows[BudgetRow],
    *,
    exhausted: bool,
) -> None:
    key = f"{event.model}/{event.budget}"
    row = rows.get(key)
    if row is None:
        return
    # Exhausted is said once a period: what eases later in it does not undo it.
    still = row.exhausted and row.period_start == event.period_start
    after = replace(
        row,
        source=source,
        spent_low=event.spent_low,
        exhausted=exhausted or still,
        period_start=event.period_start,
        period_end=event.period_end,
    )
    rows.put(key, after)


@dataclass(frozen=True)
class HealthRow:
    source: str
    index: float | None = field(default=None)


health = View("seen_health", HealthRow)


@health.on(HealthBandChanged)
def health_changed(event: HealthBandChanged, fact: Fact, rows: Rows[HealthRow]) -> None:
    rows.put(event.model, HealthRow(str(fact.id), event.index))


VIEWS = (
    models,
    versions,
    artifacts,
    lineage,
    findings,
    reviews,
    promises,
    autonomy,
    places,
    windows,
    baselines,
    contracts,
    alerts,
    budgets,
    health,
)
