"""Which models there were, and what the inventory recorded of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from modelkeep.events.inventory import (
    CardAttached,
    Deployed,
    FindingClosed,
    FindingOverdue,
    FindingRaised,
    FindingResponded,
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
    Suspended,
    TrafficSet,
    UsesApproved,
    ValidationRecorded,
    VersionRegistered,
)
from modelkeep.events.types import Person
from modelkeep.views import Fact, Reader, Rows, View

# --- models ------------------------------------------------------------------------


@dataclass(frozen=True)
class RoleRow:
    role: str
    subject: str


@dataclass(frozen=True)
class ModelRow:
    model: str
    title: str
    kind: str
    purpose: str
    owner: str
    business_line: str
    approved_uses: tuple[str, ...]
    registered_at: datetime
    event_id: str
    tier: int | None = None
    tier_source: str = ""
    status: str = "active"
    roles: tuple[RoleRow, ...] = ()


models = View("models", ModelRow)


@models.on(ModelRegistered)
def _registered(event: ModelRegistered, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = ModelRow(
        model=event.model,
        title=event.title,
        kind=event.kind,
        purpose=event.purpose,
        owner=event.owner,
        business_line=event.business_line or "",
        approved_uses=event.approved_uses,
        registered_at=fact.effective_at,
        event_id=str(fact.id),
        roles=(RoleRow("owner", event.owner),),
    )
    rows.put(event.model, row)


@models.on(UsesApproved)
def _uses(event: UsesApproved, fact: Fact, rows: Rows[ModelRow]) -> None:
    _said(rows, event.model, fact, approved_uses=event.uses)


@models.on(ModelClassified)
def _classified(event: ModelClassified, fact: Fact, rows: Rows[ModelRow]) -> None:
    _said(rows, event.model, fact, tier=event.tier, tier_source=event.source)


@models.on(OverrideExpired)
def _rederived(event: OverrideExpired, fact: Fact, rows: Rows[ModelRow]) -> None:
    _said(rows, event.model, fact, tier=event.tier, tier_source="derived")


@models.on(RoleAssigned)
def _assigned(event: RoleAssigned, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    role = RoleRow(event.role, event.subject)
    if row is not None and role not in row.roles:
        owner = event.subject if event.role == "owner" else row.owner
        _said(rows, event.model, fact, roles=(*row.roles, role), owner=owner)


@models.on(RoleVacated)
def _vacated(event: RoleVacated, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None:
        gone = RoleRow(event.role, event.subject)
        left = tuple(role for role in row.roles if role != gone)
        owners = [role.subject for role in left if role.role == "owner"]
        owner = owners[-1] if owners else ""
        _said(rows, event.model, fact, roles=left, owner=owner)


@models.on(Suspended)
def _suspended(event: Suspended, fact: Fact, rows: Rows[ModelRow]) -> None:
    _said(rows, event.model, fact, status="suspended")


@models.on(Resumed)
def _resumed(event: Resumed, fact: Fact, rows: Rows[ModelRow]) -> None:
    _said(rows, event.model, fact, status="active")


@models.on(Retired)
def _retired(event: Retired, fact: Fact, rows: Rows[ModelRow]) -> None:
    _said(rows, event.model, fact, status="retired")


def _said(rows: Rows[ModelRow], key: str, fact: Fact, **said: Any) -> None:  # noqa: ANN401  # as dataclasses.replace takes it
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, event_id=str(fact.id), **said))


# --- versions ----------------------------------------------------------------------


@dataclass(frozen=True)
class ArtifactRow:
    name: str
    digest: str
    media_type: str
    size: int


@dataclass(frozen=True)
class VersionRow:
    model: str
    version: str
    digest: str
    artifacts: tuple[ArtifactRow, ...]
    manifest: str
    registered_by: Person
    registered_at: datetime
    event_id: str
    card_digest: str = ""
    card_event: str = ""


versions = View("versions", VersionRow, version=2)


@versions.on(VersionRegistered)
def _built(event: VersionRegistered, fact: Fact, rows: Rows[VersionRow]) -> None:
    row = VersionRow(
        model=event.model,
        version=event.version,
        digest=event.digest,
        artifacts=tuple(
            ArtifactRow(a.name, a.digest, a.media_type, a.size) for a in event.artifacts
        ),
        manifest=event.manifest or "",
        registered_by=event.registered_by,
        registered_at=fact.known_at,
        event_id=str(fact.id),
    )
    rows.put(f"{event.model}/{event.version}", row)


@versions.on(CardAttached)
def _card(event: CardAttached, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is not None:
        carded = replace(row, card_digest=event.card_digest, card_event=str(fact.id))
        rows.put(key, carded)


@dataclass(frozen=True)
class ValidationRow:
    model: str
    version: str
    digest: str
    outcome: str
    validator: Person
    limitations: tuple[str, ...]
    assumptions: tuple[str, ...]
    conditions: tuple[str, ...]
    valid_until: datetime | None
    at: datetime
    event_id: str


validations = View("validations", ValidationRow)


@validations.on(ValidationRecorded)
def _validated(
    event: ValidationRecorded, fact: Fact, rows: Rows[ValidationRow]
) -> None:
    row = ValidationRow(
        model=event.model,
        version=event.version,
        digest=event.digest,
        outcome=event.outcome,
        validator=event.validator,
        limitations=tuple(one.text for one in event.limitations),
        assumptions=tuple(one.text for one in event.assumptions),
        conditions=event.conditions,
        valid_until=event.valid_until,
        at=fact.known_at,
        event_id=str(fact.id),
    )
    rows.put(f"{event.model}/{event.version}/{fact.version:010d}", row)


def version_of(read: Reader, model: str, version: str) -> VersionRow | None:
    return read.get(versions, f"{model}/{version}")


# --- what serves -------------------------------------------------------------------


@dataclass(frozen=True)
class DeploymentRow:
    model: str
    environment: str
    version: str
    digest: str
    share: float
    verdict_source: str
    since: datetime
    event_id: str


deployments = View("deployments", DeploymentRow)


@deployments.on(Deployed)
def _deployed(event: Deployed, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    row = DeploymentRow(
        event.model,
        event.environment,
        event.version,
        event.digest,
        event.share,
        event.verdict_source,
        fact.effective_at,
        str(fact.id),
    )
    _serves(rows, row)


@deployments.on(TrafficSet)
def _traffic(event: TrafficSet, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    before = rows.get(f"{event.model}/{event.environment}/{event.version}")
    row = DeploymentRow(
        event.model,
        event.environment,
        event.version,
        event.digest,
        event.share,
        event.verdict_source or (before.verdict_source if before else ""),
        before.since if before else fact.effective_at,
        str(fact.id),
    )
    _serves(rows, row)


@deployments.on(RolledBack)
def _rolled_back(event: RolledBack, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    rows.delete(f"{event.model}/{event.environment}/{event.from_version}")
    row = DeploymentRow(
        event.model,
        event.environment,
        event.to_version,
        event.to_digest,
        event.share,
        event.verdict_source,
        fact.effective_at,
        str(fact.id),
    )
    _serves(rows, row)


def _serves(rows: Rows[DeploymentRow], row: DeploymentRow) -> None:
    key = f"{row.model}/{row.environment}/{row.version}"
    if row.share:
        rows.put(key, row)
    else:
        rows.delete(key)


def live(read: Reader) -> Mapping[str, DeploymentRow]:
    """Return what is deployed of models that are not retired, by key."""
    gone = {key for key, row in read.scan(models) if row.status == "retired"}
    return {k: row for k, row in read.scan(deployments) if row.model not in gone}


# --- findings and reviews ----------------------------------------------------------


@dataclass(frozen=True)
class FindingRow:
    model: str
    finding: str
    title: str
    severity: str
    vector: str
    owner: str
    due_at: datetime
    raised_by: Person
    status: str
    event_id: str


findings = View("findings", FindingRow)


@findings.on(FindingRaised)
def _raised(event: FindingRaised, fact: Fact, rows: Rows[FindingRow]) -> None:
    row = FindingRow(
        model=event.model,
        finding=event.finding,
        title=event.title,
        severity=event.severity,
        vector=event.vector,
        owner=event.owner,
        due_at=event.due_at,
        raised_by=event.raised_by,
        status="open",
        event_id=str(fact.id),
    )
    rows.put(f"{event.model}/{event.finding}", row)


@findings.on(FindingResponded)
def _responded(event: FindingResponded, fact: Fact, rows: Rows[FindingRow]) -> None:
    _finding_is(rows, event.model, event.finding, "responded", fact)


@findings.on(FindingOverdue)
def _overdue(event: FindingOverdue, fact: Fact, rows: Rows[FindingRow]) -> None:
    _finding_is(rows, event.model, event.finding, "overdue", fact)


@findings.on(RiskAccepted)
def _accepted(event: RiskAccepted, fact: Fact, rows: Rows[FindingRow]) -> None:
    _finding_is(rows, event.model, event.subject, "accepted", fact)


@findings.on(FindingClosed)
def _closed(event: FindingClosed, fact: Fact, rows: Rows[FindingRow]) -> None:
    _finding_is(rows, event.model, event.finding, "closed", fact)


def _finding_is(
    rows: Rows[FindingRow], model: str, finding: str, status: str, fact: Fact
) -> None:
    key = f"{model}/{finding}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, status=status, event_id=str(fact.id)))


@dataclass(frozen=True)
class ReviewRow:
    model: str
    review: str
    kind: str
    due_at: datetime
    status: str
    event_id: str


reviews = View("reviews", ReviewRow)


@reviews.on(ReviewScheduled)
def _scheduled(event: ReviewScheduled, fact: Fact, rows: Rows[ReviewRow]) -> None:
    _review_is(event, "scheduled", fact, rows)


@reviews.on(ReviewOverdue)
def _late(event: ReviewOverdue, fact: Fact, rows: Rows[ReviewRow]) -> None:
    _review_is(event, "overdue", fact, rows)


@reviews.on(ReviewCompleted)
def _completed(event: ReviewCompleted, fact: Fact, rows: Rows[ReviewRow]) -> None:
    _review_is(event, "completed", fact, rows)


@reviews.on(ReviewCancelled)
def _cancelled(event: ReviewCancelled, fact: Fact, rows: Rows[ReviewRow]) -> None:
    _review_is(event, "cancelled", fact, rows)


def _review_is(
    event: ReviewScheduled | ReviewOverdue | ReviewCompleted | ReviewCancelled,
    status: str,
    fact: Fact,
    rows: Rows[ReviewRow],
) -> None:
    row = ReviewRow(
        event.model, event.review, event.kind, event.due_at, status, str(fact.id)
    )
    rows.put(f"{event.model}/{event.review}", row)


VIEWS: Final = (models, versions, validations, deployments, findings, reviews)
