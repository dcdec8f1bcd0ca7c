"""What the inventory says of models, as insight needs it: one stream a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.events.types import Money
from modelkeep.views import View


@dataclass(frozen=True)
class ModelRow:
    """`lifecycle` is registered, live, suspended or retired."""

    model: str
    title: str
    kind: str
    owner: str
    business_line: str
    registered_at: datetime
    event: str
    tier: int | None = None
    classified_event: str | None = None
    lifecycle: str = "registered"
    lifecycle_event: str | None = None
    lifecycle_at: datetime | None = None


models = View("models", ModelRow)


@dataclass(frozen=True)
class VersionRow:
    model: str
    version: str
    digest: str
    registered_at: datetime
    event: str
    card_event: str | None = None
    validation_event: str | None = None
    live_at: datetime | None = None
    live_event: str | None = None


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
    revoked_event: str | None = None


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


slos = View("slos", SloRow)
"""By `model/slo`."""


@dataclass(frozen=True)
class SlaRow:
    model: str
    sla: str
    kind: str
    accepted: bool
    event: str


slas = View("slas", SlaRow)
"""By `model/sla`."""


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
    event: str


appetites = View("appetites", AppetiteRow)

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
