"""What happens to models: registered, tiered, versioned, deployed, challenged, retired.

Streams: `model-<tenant>.<model>` holds everything a later decision about the model
rests on, verdicts included; `appetite-<tenant>.<business line>` a written appetite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from modelkeep.events.base import Event
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

ModelKind = Literal["trained", "rulebook", "spreadsheet", "vendor", "generative"]

Role = Literal[
    "owner",
    "engineer",
    "business_owner",
    "risk_officer",
    "validator",
    "auditor",
]
"""Three lines of defence: three roles, two, and one."""

Score = Annotated[int, Field(ge=1, le=4)]
"""A tier driver: 4 is the riskiest."""

AlwaysTierOne = Literal[
    "credit_decisions",
    "regulatory_capital",
    "allowance",
    "stress_testing",
    "anti_money_laundering",
    "clinical_treatment",
]
"""What puts a model in tier 1 whatever its drivers; credit decisions about people."""

ChangeKind = Literal[
    "recalibration",
    "data",
    "features",
    "method",
    "threshold",
    "use",
    "environment",
    "vendor",
]

Slugs = Annotated[tuple[Slug, ...], Field(max_length=100)]
Sentences = Annotated[tuple[Text, ...], Field(max_length=50)]


# --- parts -------------------------------------------------------------------------


class Vendor(Value):
    name: Title
    product: Title


class Boundary(Value):
    """Where a model may be used. With a `column`, a decision outside of `minimum` to
    `maximum`, or beyond `allowed`, can be counted; without, it is for people.
    """

    name: Slug
    statement: Text
    column: Title | None = None
    minimum: Finite | None = None
    maximum: Finite | None = None
    allowed: Annotated[tuple[Title, ...], Field(max_length=200)] = ()


class Drivers(Value):
    """What a tier follows from. `exposure_share` is that of the whole use, however many
    models serve it; the six below it score 1 to 4; `forced` says why it is tier 1
    whatever they score.
    """

    use: Slug
    exposure_share: Share
    exposure: Score
    purpose: Score
    harm: Score
    materiality: Score
    method: Score
    input_uncertainty: Score
    opacity: Score
    autonomy: Score
    complexity: Score
    black_box: bool = False
    forced: Annotated[tuple[AlwaysTierOne, ...], Field(max_length=6)] = ()


class Artifact(Value):
    """A file of a version. `size` is in bytes."""

    name: Title
    digest: Digest
    media_type: Title
    size: Count


class Reliance(Value):
    """What a validation relied on, and which monitor would notice if it failed."""

    text: Text
    monitor: Slug | None = None


Boundaries = Annotated[tuple[Boundary, ...], Field(max_length=50)]
Artifacts = Annotated[tuple[Artifact, ...], Field(min_length=1, max_length=100)]
Reliances = Annotated[tuple[Reliance, ...], Field(max_length=50)]
Metrics = Annotated[dict[Slug, Finite], Field(max_length=256)]


def version_digest(artifacts: Iterable[Artifact]) -> Digest:
    """What approvals bind to: SHA-256 over the sorted artifact digests as JSON.

    >>> one = Artifact(name="m", digest="sha256:" + "0" * 64, media_type="x", size=1)
    >>> version_digest([one])[:17]
    'sha256:88c7936785'
    """
    found = json.dumps(sorted(one.digest for one in artifacts), separators=(",", ":"))
    return "sha256:" + hashlib.sha256(found.encode()).hexdigest()


# --- what it is --------------------------------------------------------------------


class ModelRegistered(Event, name="inventory.model-registered"):
    """`evidence_owed` is what its kind must show before it may be promoted."""

    model: Slug
    title: Title
    kind: ModelKind
    purpose: Text
    owner: Subject
    owner_issuer: Subject
    business_line: Slug | None = None
    vendor: Vendor | None = None
    approved_uses: Slugs = ()
    boundaries: Boundaries = ()
    evidence_owed: Slugs = ()


class ScopeDecided(Event, name="inventory.scope-decided"):
    """Whether it is a model, or a tool that decides nothing by itself."""

    model: Slug
    is_model: bool
    rationale: Text
    by: Person


class UsesApproved(Event, name="inventory.uses-approved"):
    """All its approved uses from here on."""

    model: Slug
    uses: Slugs
    by: Person


class BoundariesSet(Event, name="inventory.boundaries-set"):
    """All its operating boundaries from here on."""

    model: Slug
    boundaries: Boundaries
    by: Person


class ModelClassified(Event, name="inventory.model-classified"):
    """`tier` is the one in force, `derived_tier` what the rubric says. They differ
    under an override, which has a `reason` and an end.
    """

    model: Slug
    tier: Tier
    derived_tier: Tier
    source: Literal["derived", "override"]
    drivers: Drivers
    rubric: Title
    rubric_digest: Digest
    reason: Text | None = None
    expires_at: Instant | None = None
    previous_expires_at: Instant | None = None
    """When the override before it would have ended."""
    exposure_from: Slug | None = None
    """The model whose classification stated the exposure of the use they share."""
    regime_flags: Slugs = ()
    by: Person


class OverrideExpired(Event, name="inventory.override-expired"):
    """The rubric's `tier` is in force again."""

    model: Slug
    tier: Tier
    overridden_tier: Tier
    expired_at: Instant


class RoleAssigned(Event, name="inventory.role-assigned"):
    model: Slug
    role: Role
    subject: Subject
    issuer: Subject
    contact: Sealed | None = None


class RoleVacated(Event, name="inventory.role-vacated"):
    model: Slug
    role: Role
    subject: Subject
    issuer: Subject


class RolesOrphaned(Event, name="inventory.roles-orphaned"):
    """Compulsory roles that nobody fills any more; `tier` makes them compulsory."""

    model: Slug
    missing: Annotated[tuple[Role, ...], Field(min_length=1, max_length=6)]
    tier: Tier | None = None


# --- versions ----------------------------------------------------------------------


class VersionRegistered(Event, name="inventory.version-registered"):
    """One immutable build. `manifest` is the digest of its lineage manifest."""

    model: Slug
    version: Slug
    digest: Digest
    artifacts: Artifacts
    manifest: Digest | None = None
    feature_count: Count | None = None
    parent: Slug | None = None
    registered_by: Person


class CardAttached(Event, name="inventory.card-attached"):
    """A CycloneDX model card, kept under its digest."""

    model: Slug
    version: Slug
    digest: Digest
    card_digest: Digest
    size: Count


class VersionSigned(Event, name="inventory.version-signed"):
    """A publisher signed every artifact of a version, and `others` files beside them.
    `key` is the SHA-256 of the publisher's public key as it is kept.
    """

    model: Slug
    version: Slug
    digest: Digest
    publisher: Slug
    key: Digest
    signature_digest: Digest
    others: Count
    by: Person


class ValidationRecorded(Event, name="inventory.validation-recorded"):
    """`conditional` holds within `conditions` until `valid_until`."""

    model: Slug
    version: Slug
    digest: Digest
    outcome: Literal["approved", "conditional", "rejected"]
    validator: Person
    metrics: Metrics = Field(default_factory=dict)
    limitations: Reliances = ()
    assumptions: Reliances = ()
    conditions: Sentences = ()
    valid_until: Instant | None = None
    summary: Text | None = None


class VerdictReceived(Event, name="inventory.verdict-received"):
    """Policy's answer, copied to where a deployment is decided. `source` is the id of
    policy's own event: what Deploy and SetTraffic name.
    """

    model: Slug
    version: Slug | None = None
    digest: Digest | None = None
    action: Slug
    environment: Slug | None = None
    verdict: Literal["allow", "deny"]
    request: Slug
    conditions: Annotated[tuple[Title, ...], Field(max_length=20)] = ()
    max_traffic_share: Share | None = None
    expires_at: Instant | None = None
    source: Slug


class VerdictRevoked(Event, name="inventory.verdict-revoked"):
    """`verdicts` are the sources that allow nothing any more."""

    model: Slug
    request: Slug
    reason: Text
    verdicts: Annotated[tuple[Slug, ...], Field(min_length=1, max_length=1_000)]
    source: Slug


class ChangeClassified(Event, name="inventory.change-classified"):
    """A material change voids what was validated and approved of `digest` before;
    `voids` are the verdicts received that allow nothing any more. One inside an
    approved `envelope` is not material.
    """

    model: Slug
    change: Slug
    version: Slug
    digest: Digest
    kinds: Annotated[tuple[ChangeKind, ...], Field(min_length=1, max_length=8)]
    material: bool
    envelope: Slug | None = None
    rationale: Text
    voids: Annotated[tuple[Slug, ...], Field(max_length=1_000)] = ()
    by: Person


class EnvelopeApproved(Event, name="inventory.envelope-approved"):
    """Changes of these kinds, within `limits`, are approved in advance until then."""

    model: Slug
    envelope: Slug
    kinds: Annotated[tuple[ChangeKind, ...], Field(min_length=1, max_length=8)]
    limits: Text
    until: Instant
    approved_by: Person


# --- serving -----------------------------------------------------------------------


class Deployed(Event, name="inventory.deployed"):
    """`share` is of the environment's traffic; `verdict_source` is what allowed it."""

    model: Slug
    version: Slug
    digest: Digest
    environment: Slug
    share: Share
    verdict_source: Slug
    by: Person


class TrafficSet(Event, name="inventory.traffic-set"):
    """Without a `verdict_source` the share was lowered, which needs none."""

    model: Slug
    version: Slug
    digest: Digest
    environment: Slug
    share: Share
    previous_share: Share
    verdict_source: Slug | None = None
    by: Person


class RolledBack(Event, name="inventory.rolled-back"):
    """`to_version` has `share` now, `from_version` none."""

    model: Slug
    environment: Slug
    from_version: Slug
    from_digest: Digest
    to_version: Slug
    to_digest: Digest
    share: Share
    verdict_source: Slug
    reason: Text
    by: Person


class Suspended(Event, name="inventory.suspended"):
    model: Slug
    reason: Text
    by: Person


class Resumed(Event, name="inventory.resumed"):
    model: Slug
    reason: Text
    by: Person


class Retired(Event, name="inventory.retired"):
    model: Slug
    reason: Text
    by: Person


class RetiredModelServed(Event, name="inventory.retired-model-served"):
    """Decisions made by a model after it was retired. `source` is the batch's event."""

    model: Slug
    version: Slug
    environment: Slug
    decisions: Count
    last_at: Instant
    source: Slug


# --- reviews and findings ----------------------------------------------------------


class ReviewScheduled(Event, name="inventory.review-scheduled"):
    """Said again of the same review, it has moved. `previous_due_at` is from where;
    `counts_from` is where a periodic review's months begin.
    """

    model: Slug
    review: Slug
    kind: Slug
    due_at: Instant
    previous_due_at: Instant | None = None
    counts_from: Instant | None = None
    reason: Text | None = None


class ReviewOverdue(Event, name="inventory.review-overdue"):
    model: Slug
    review: Slug
    kind: Slug
    due_at: Instant


class ReviewCompleted(Event, name="inventory.review-completed"):
    model: Slug
    review: Slug
    kind: Slug
    due_at: Instant
    outcome: Literal["satisfactory", "action_required", "unsatisfactory"]
    notes: Text
    by: Person


class ReviewCancelled(Event, name="inventory.review-cancelled"):
    model: Slug
    review: Slug
    kind: Slug
    due_at: Instant
    reason: Text


class FindingRaised(Event, name="inventory.finding-raised"):
    model: Slug
    finding: Slug
    title: Title
    detail: Text | None = None
    severity: Severity
    vector: RiskVector
    owner: Subject
    due_at: Instant
    version: Slug | None = None
    raised_by: Person


class FindingResponded(Event, name="inventory.finding-responded"):
    model: Slug
    finding: Slug
    response: Text
    by: Person


class FindingOverdue(Event, name="inventory.finding-overdue"):
    """`due_at` is the date that passed: its own, or an acceptance's end."""

    model: Slug
    finding: Slug
    severity: Severity
    vector: RiskVector
    due_at: Instant


class FindingClosed(Event, name="inventory.finding-closed"):
    """By a validator or an auditor who did not answer it. `awaited` is when the clock
    was to come back to it.
    """

    model: Slug
    finding: Slug
    evidence: Text
    closed_by: Person
    awaited: Instant | None = None


class RiskAccepted(Event, name="inventory.risk-accepted"):
    """`subject` is a finding that may stay open until `until`. `awaited` and `awaits`:
    when the clock was to come back to it, and when it does now.
    """

    model: Slug
    subject: Slug
    until: Instant
    awaited: Instant | None = None
    awaits: Instant
    reason: Text
    accepted_by: Person


# --- promises and figures ----------------------------------------------------------


class SlaTerms(Value):
    """What is promised: explanations for `coverage` of decisions, or audits answered
    within `response_hours`. With `reason_codes`, adverse decisions must state grounds;
    19 of 20 explanations take `explanation_p95_ms` or less.
    """

    coverage: Share
    method: Title | None = None
    reason_codes: bool = False
    response_hours: Annotated[int, Field(ge=1, le=8_760)] | None = None
    explanation_p95_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class SlaProposed(Event, name="inventory.sla-proposed"):
    model: Slug
    sla: Slug
    kind: Literal["explainability", "audit"]
    terms: SlaTerms
    proposed_by: Person


class SlaAccepted(Event, name="inventory.sla-accepted"):
    """In force from here on, with the terms that were proposed."""

    model: Slug
    sla: Slug
    kind: Literal["explainability", "audit"]
    terms: SlaTerms
    proposed_by: Person
    accepted_by: Person


class SloDefined(Event, name="inventory.slo-defined"):
    """A metric's limits; `direction` says which way is worse. What an hour beyond
    `hard` costs is an assumption until recorded KPIs confirm it.

    `kpi` is what that money is checked against: it goes `kpi_direction` when the metric
    is out of band, one unit of it is worth `kpi_money`, and the money holds where it is
    declared to within the share `kpi_tolerance`.
    """

    model: Slug
    slo: Slug
    metric: Slug
    nominal: Finite
    warning: Finite
    hard: Finite
    direction: Literal["rises", "falls"]
    money_per_hour: Money | None = None
    customers_per_hour: Count | None = None
    kpi: Slug | None = None
    play: Slug | None = None
    critical_flow: Slug | None = None
    kpi_direction: Literal["rises", "falls"] | None = None
    kpi_money: Money | None = None
    kpi_tolerance: Share | None = None


class KpiRecorded(Event, name="inventory.kpi-recorded"):
    model: Slug
    kpi: Slug
    value: Finite
    unit: Title | None = None
    period_start: Instant
    period_end: Instant


class AppetiteSet(Event, name="inventory.appetite-set"):
    """How much risk a business line may spend, in words; and as a share of its models'
    budgets, or money a year, where it says so.
    """

    business_line: Slug
    text: Text
    share: Share | None = None
    money: Money | None = None
    set_by: Person
