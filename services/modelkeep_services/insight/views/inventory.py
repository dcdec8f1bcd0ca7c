"""What the inventory says of models, as insight needs it: one stream a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from modelkeep.events.inventory import (
    AppetiteSet,
    CardAttached,
    Deployed,
    FindingClosed,
    FindingOverdue,
    FindingRaised,
    KpiRecorded,
    ModelClassified,
    ModelRegistered,
    OverrideExpired,
    Resumed,
    Retired,
    ReviewCancelled,
    ReviewCompleted,
    ReviewOverdue,
    ReviewScheduled,
    RiskAccepted,
    RoleAssigned,
    RoleVacated,
    RolledBack,
    SlaAccepted,
    SloDefined,
    Suspended,
    TrafficSet,
    ValidationRecorded,
    VerdictReceived,
    VerdictRevoked,
    VersionRegistered,
)
from modelkeep.events.monitoring import MoneyChecked
from modelkeep.events.types import Money
from modelkeep.views import Fact, Rows, View

SET_TRAFFIC: Final = "set_traffic"


@dataclass(frozen=True)
class ModelRow:
    """`lifecycle` is registered, deployed, suspended or retired."""

    model: str
    title: str
    kind: str
    owner: str
    business_line: str
    registered_at: datetime
    event: str
    vendor: str = ""
    tier: int | None = None
    classified_event: str | None = None
    lifecycle: str = "registered"
    lifecycle_event: str | None = None
    lifecycle_at: datetime | None = None


models = View("models", ModelRow)


class Live(NamedTuple):
    at: datetime
    event: str


@dataclass(frozen=True)
class VersionRow:
    model: str
    version: str
    digest: str
    registered_at: datetime
    event: str
    card_event: str | None = None
    validation_event: str | None = None
    live: dict[str, Live] = field(default_factory=dict)
    """When it first got traffic, by environment."""


versions = View("versions", VersionRow)
"""By `model/version`."""


@dataclass(frozen=True)
class DeploymentRow:
    """A version in an environment; a share of 0 is off."""

    model: str
    version: str
    digest: str
    environment: str
    share: float
    verdict: str | None
    """The event whose ALLOW it was deployed by."""
    event: str
    since: datetime


deployments = View("deployments", DeploymentRow)
"""By `model/environment/version`."""


@dataclass(frozen=True)
class VerdictRow:
    """A policy's answer as the model's own stream received it."""

    model: str
    source: str
    version: str | None
    digest: str | None
    verdict: str
    expires_at: datetime | None
    event: str
    conditional: bool = False
    """It allows within limits and until its end; any other may only be acted on until
    its end, and what was deployed by then stays approved."""
    revoked_event: str | None = None

    def lapsed(self, deployed: datetime, now: datetime) -> bool:
        end = self.expires_at
        return end is not None and end <= (now if self.conditional else deployed)


verdicts = View("verdicts", VerdictRow)
"""By `model/source`."""


@dataclass(frozen=True)
class RoleRow:
    model: str
    role: str
    subject: str
    event: str


roles = View("roles", RoleRow)
"""By `model/role/subject`."""


@dataclass(frozen=True)
class ReviewRow:
    model: str
    review: str
    kind: str
    due_at: datetime
    event: str
    overdue_event: str | None = None
    completed_at: datetime | None = None


reviews = View("reviews", ReviewRow)
"""By `model/review`."""


@dataclass(frozen=True)
class FindingRow:
    model: str
    finding: str
    title: str
    severity: str
    vector: str
    owner: str
    due_at: datetime
    raised_at: datetime
    event: str
    overdue_event: str | None = None
    accepted_until: datetime | None = None
    closed_at: datetime | None = None
    closed_event: str | None = None


findings = View("findings", FindingRow)
"""By `model/finding`."""


@dataclass(frozen=True)
class SloRow:
    """A metric's limits as its owner set them, and what an hour beyond them costs."""

    model: str
    slo: str
    metric: str
    nominal: float
    warning: float
    hard: float
    money_per_hour: Money | None
    kpi: str | None
    event: str
    checked: MoneyChecked | None = None
    checked_event: str | None = None

    @property
    def basis(self) -> str:
        """Say what the money rests on."""
        if self.checked is None or self.checked.verdict == "not_yet":
            return "assumption"
        return self.checked.verdict


slos = View("slos", SloRow, version=2)
"""By `model/slo`."""


@dataclass(frozen=True)
class SlaRow:
    model: str
    sla: str
    kind: str
    coverage: float
    event: str


slas = View("slas", SlaRow)
"""By `model/sla`: those that were accepted."""


@dataclass(frozen=True)
class KpiRow:
    model: str
    kpi: str
    value: float
    period_start: datetime
    period_end: datetime
    event: str


kpi_records = View("kpi_records", KpiRow)
"""By `model/kpi`: the latest period."""


@dataclass(frozen=True)
class AppetiteRow:
    """The risk a business line may spend: a share of its budgets, in words and so."""

    business_line: str
    text: str
    share: float | None
    money: Money | None
    event: str


appetites = View("appetites", AppetiteRow)


# --- models ------------------------------------------------------------------------


@models.on(ModelRegistered)
def registered(event: ModelRegistered, fact: Fact, rows: Rows[ModelRow]) -> None:
    rows.put(
        event.model,
        ModelRow(
            event.model,
            event.title,
            event.kind,
            event.owner,
            event.business_line or "",
            fact.effective_at,
            str(fact.id),
            "" if event.vendor is None else event.vendor.name,
        ),
    )


@models.on(ModelClassified)
def classified(event: ModelClassified, fact: Fact, rows: Rows[ModelRow]) -> None:
    if (row := rows.get(event.model)) is not None:
        by = str(fact.id)
        rows.put(event.model, replace(row, tier=event.tier, classified_event=by))


@models.on(OverrideExpired)
def override_expired(event: OverrideExpired, fact: Fact, rows: Rows[ModelRow]) -> None:
    if (row := rows.get(event.model)) is not None:
        by = str(fact.id)
        rows.put(event.model, replace(row, tier=event.tier, classified_event=by))


@models.on(RoleAssigned)
def owner_assigned(event: RoleAssigned, _: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None and event.role == "owner":
        rows.put(event.model, replace(row, owner=event.subject))


def _becomes(model: str, lifecycle: str, fact: Fact, rows: Rows[ModelRow]) -> None:
    if (row := rows.get(model)) is not None:
        rows.put(
            model,
            replace(
                row,
                lifecycle=lifecycle,
                lifecycle_event=str(fact.id),
                lifecycle_at=fact.effective_at,
            ),
        )


@models.on(Deployed)
def model_deployed(event: Deployed, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None and row.lifecycle == "registered":
        _becomes(event.model, "deployed", fact, rows)


@models.on(Suspended)
def suspended(event: Suspended, fact: Fact, rows: Rows[ModelRow]) -> None:
    _becomes(event.model, "suspended", fact, rows)


@models.on(Resumed)
def resumed(event: Resumed, fact: Fact, rows: Rows[ModelRow]) -> None:
    _becomes(event.model, "deployed", fact, rows)


@models.on(Retired)
def retired(event: Retired, fact: Fact, rows: Rows[ModelRow]) -> None:
    _becomes(event.model, "retired", fact, rows)


@roles.on(ModelRegistered)
def first_owner(event: ModelRegistered, fact: Fact, rows: Rows[RoleRow]) -> None:
    _hold(rows, RoleRow(event.model, "owner", event.owner, str(fact.id)))


@roles.on(RoleAssigned)
def assigned(event: RoleAssigned, fact: Fact, rows: Rows[RoleRow]) -> None:
    _hold(rows, RoleRow(event.model, event.role, event.subject, str(fact.id)))


def _hold(rows: Rows[RoleRow], row: RoleRow) -> None:
    rows.put(f"{row.model}/{row.role}/{row.subject}", row)


@roles.on(RoleVacated)
def vacated(event: RoleVacated, _: Fact, rows: Rows[RoleRow]) -> None:
    rows.delete(f"{event.model}/{event.role}/{event.subject}")


# --- versions and what allows them -------------------------------------------------


@versions.on(VersionRegistered)
def built(event: VersionRegistered, fact: Fact, rows: Rows[VersionRow]) -> None:
    rows.put(
        f"{event.model}/{event.version}",
        VersionRow(
            event.model, event.version, event.digest, fact.effective_at, str(fact.id)
        ),
    )


@versions.on(CardAttached)
def described(event: CardAttached, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, card_event=str(fact.id)))


@versions.on(ValidationRecorded)
def validated(event: ValidationRecorded, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, validation_event=str(fact.id)))


@versions.on(Deployed)
def went_live(event: Deployed, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is not None and event.environment not in row.live:
        live = row.live | {event.environment: Live(fact.effective_at, str(fact.id))}
        rows.put(key, replace(row, live=dict(sorted(live.items()))))


@verdicts.on(VerdictReceived)
def verdict_received(
    event: VerdictReceived, fact: Fact, rows: Rows[VerdictRow]
) -> None:
    rows.put(
        f"{event.model}/{event.source}",
        VerdictRow(
            event.model,
            event.source,
            event.version,
            event.digest,
            event.verdict,
            event.expires_at,
            str(fact.id),
            conditional=bool(event.conditions)
            or (event.max_traffic_share is not None and event.action != SET_TRAFFIC),
        ),
    )


@verdicts.on(VerdictRevoked)
def verdict_revoked(event: VerdictRevoked, fact: Fact, rows: Rows[VerdictRow]) -> None:
    for source in event.verdicts:
        key = f"{event.model}/{source}"
        if (row := rows.get(key)) is not None:
            rows.put(key, replace(row, revoked_event=str(fact.id)))


# --- serving -----------------------------------------------------------------------


@deployments.on(Deployed)
def deployed(event: Deployed, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    rows.put(
        f"{event.model}/{event.environment}/{event.version}",
        DeploymentRow(
            event.model,
            event.version,
            event.digest,
            event.environment,
            event.share,
            event.verdict_source,
            str(fact.id),
            fact.effective_at,
        ),
    )


@deployments.on(TrafficSet)
def traffic_set(event: TrafficSet, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    key = f"{event.model}/{event.environment}/{event.version}"
    if (row := rows.get(key)) is not None:
        rows.put(
            key,
            replace(
                row,
                share=event.share,
                verdict=event.verdict_source or row.verdict,
                event=str(fact.id),
            ),
        )


@deployments.on(RolledBack)
def rolled_back(event: RolledBack, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    before = f"{event.model}/{event.environment}/{event.from_version}"
    if (row := rows.get(before)) is not None:
        rows.put(before, replace(row, share=0.0, event=str(fact.id)))
    rows.put(
        f"{event.model}/{event.environment}/{event.to_version}",
        DeploymentRow(
            event.model,
            event.to_version,
            event.to_digest,
            event.environment,
            event.share,
            event.verdict_source,
            str(fact.id),
            fact.effective_at,
        ),
    )


# --- reviews and findings ----------------------------------------------------------


@reviews.on(ReviewScheduled)
def scheduled(event: ReviewScheduled, fact: Fact, rows: Rows[ReviewRow]) -> None:
    rows.put(
        f"{event.model}/{event.review}",
        ReviewRow(event.model, event.review, event.kind, event.due_at, str(fact.id)),
    )


@reviews.on(ReviewOverdue)
def review_overdue(event: ReviewOverdue, fact: Fact, rows: Rows[ReviewRow]) -> None:
    key = f"{event.model}/{event.review}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, overdue_event=str(fact.id)))


@reviews.on(ReviewCompleted)
def reviewed(event: ReviewCompleted, fact: Fact, rows: Rows[ReviewRow]) -> None:
    key = f"{event.model}/{event.review}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, completed_at=fact.effective_at))


@reviews.on(ReviewCancelled)
def cancelled(event: ReviewCancelled, _: Fact, rows: Rows[ReviewRow]) -> None:
    rows.delete(f"{event.model}/{event.review}")


@findings.on(FindingRaised)
def finding_raised(event: FindingRaised, fact: Fact, rows: Rows[FindingRow]) -> None:
    rows.put(
        f"{event.model}/{event.finding}",
        FindingRow(
            event.model,
            event.finding,
            event.title,
            event.severity,
            event.vector,
            event.owner,
            event.due_at,
            fact.effective_at,
            str(fact.id),
        ),
    )


@findings.on(FindingOverdue)
def finding_overdue(event: FindingOverdue, fact: Fact, rows: Rows[FindingRow]) -> None:
    key = f"{event.model}/{event.finding}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, overdue_event=str(fact.id)))


@findings.on(RiskAccepted)
def risk_accepted(event: RiskAccepted, _: Fact, rows: Rows[FindingRow]) -> None:
    key = f"{event.model}/{event.subject}"
    if (row := rows.get(key)) is not None:
        rows.put(key, replace(row, accepted_until=event.until))


@findings.on(FindingClosed)
def finding_closed(event: FindingClosed, fact: Fact, rows: Rows[FindingRow]) -> None:
    key = f"{event.model}/{event.finding}"
    if (row := rows.get(key)) is not None:
        rows.put(
            key,
            replace(row, closed_at=fact.effective_at, closed_event=str(fact.id)),
        )


# --- promises and figures ----------------------------------------------------------


@slos.on(SloDefined)
def slo_defined(event: SloDefined, fact: Fact, rows: Rows[SloRow]) -> None:
    rows.put(
        f"{event.model}/{event.slo}",
        SloRow(
            event.model,
            event.slo,
            event.metric,
            event.nominal,
            event.warning,
            event.hard,
            event.money_per_hour,
            event.kpi,
            str(fact.id),
        ),
    )


@slos.on(MoneyChecked)
def money_checked(event: MoneyChecked, fact: Fact, rows: Rows[SloRow]) -> None:
    key = f"{event.model}/{event.slo}"
    row = rows.get(key)
    # What was declared may be another sum by now.
    if row is not None and row.event == event.slo_defined:
        rows.put(key, replace(row, checked=event, checked_event=str(fact.id)))


@slas.on(SlaAccepted)
def sla_accepted(event: SlaAccepted, fact: Fact, rows: Rows[SlaRow]) -> None:
    rows.put(
        f"{event.model}/{event.sla}",
        SlaRow(event.model, event.sla, event.kind, event.terms.coverage, str(fact.id)),
    )


@kpi_records.on(KpiRecorded)
def kpi_recorded(event: KpiRecorded, fact: Fact, rows: Rows[KpiRow]) -> None:
    key = f"{event.model}/{event.kpi}"
    row = rows.get(key)
    if row is None or event.period_end >= row.period_end:
        rows.put(
            key,
            KpiRow(
                event.model,
                event.kpi,
                event.value,
                event.period_start,
                event.period_end,
                str(fact.id),
            ),
        )


@appetites.on(AppetiteSet)
def appetite_set(event: AppetiteSet, fact: Fact, rows: Rows[AppetiteRow]) -> None:
    rows.put(
        event.business_line,
        AppetiteRow(
            event.business_line, event.text, event.share, event.money, str(fact.id)
        ),
    )


VIEWS = (
    models,
    versions,
    deployments,
    verdicts,
    roles,
    reviews,
    findings,
    slos,
    slas,
    kpi_records,
    appetites,
)
