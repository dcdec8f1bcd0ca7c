"""Which models there were, and what the inventory recorded of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modelkeep.events.inventory import ModelRegistered
from modelkeep.events.types import Person
from modelkeep.views import Fact, Reader, Rows, View


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
    registered_at: datetime
    event_id: str
    business_line: str = ""
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
        registered_at=fact.effective_at,
        event_id=str(fact.id),
    )
    rows.put(event.model, row)


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


versions = View("versions", VersionRow)


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


@dataclass(frozen=True)
class FindingRow:
    model: str
    finding: str
    title: str
    severity: str
    vector: str
    owner: str
    due_at: datetime | None
    raised_by: Person
    status: str
    event_id: str


findings = View("findings", FindingRow)


def version_of(read: Reader, model: str, version: str) -> VersionRow | None:
    return read.get(versions, f"{model}/{version}")


VIEWS: Final = (models, versions, deployments, validations, findings)
