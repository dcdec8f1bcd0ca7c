"""What may be asked of the inventory: requests, checked, and what reactions ask."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from modelkeep.decider import Command
from modelkeep.errors import Invalid
from modelkeep.events.inventory import (
    AlwaysTierOne,
    Artifacts,
    Boundaries,
    ChangeKind,
    Metrics,
    ModelKind,
    Reliances,
    Role,
    Score,
    Sentences,
    SlaTerms,
    Slugs,
    Vendor,
)
from modelkeep.events.types import (
    Count,
    Digest,
    Finite,
    Instant,
    Money,
    RiskVector,
    Sealed,
    Severity,
    Share,
    Slug,
    Subject,
    Text,
    Tier,
    Title,
)

MAX_CARD_BYTES = 512 * 1024
MAX_SIGNATURE_BYTES = 512 * 1024

ChangeKinds = Annotated[tuple[ChangeKind, ...], Field(min_length=1, max_length=8)]


class ModelCommand(Command):
    """About one model, in its stream."""

    model: Slug


# --- what it is --------------------------------------------------------------------


class RegisterModel(ModelCommand):
    title: Title
    kind: ModelKind
    purpose: Text
    owner: Subject
    owner_issuer: Subject | None = None
    business_line: Slug | None = None
    vendor: Vendor | None = None
    approved_uses: Slugs = ()
    boundaries: Boundaries = ()

    @model_validator(mode="after")
    def _sold(self) -> Self:
        if self.kind == "vendor" and self.vendor is None:
            raise Invalid.field("vendor", "is compulsory for a vendor's model")
        _within_columns(self.boundaries)
        return self


class DecideScope(ModelCommand):
    is_model: bool
    rationale: Text


class ApproveUses(ModelCommand):
    uses: Annotated[Slugs, Field(min_length=1)]


class SetBoundaries(ModelCommand):
    boundaries: Boundaries = ()

    @model_validator(mode="after")
    def _columns(self) -> Self:
        _within_columns(self.boundaries)
        return self


class ClassifyRisk(ModelCommand):
    use: Slug | None = None
    exposure_share: Share
    purpose: Score
    harm: Score
    method: Score
    input_uncertainty: Score
    opacity: Score
    autonomy: Score
    black_box: bool = False
    always_tier_one: Annotated[tuple[AlwaysTierOne, ...], Field(max_length=6)] = ()
    regime_flags: Slugs = ()


class FollowExposure(ModelCommand):
    """The exposure of its use was stated anew, by a classification of `stated_for`."""

    use: Slug
    exposure_share: Share
    stated_for: Slug


class OverrideTier(ModelCommand):
    tier: Tier
    reason: Text
    expires_at: Instant


class ExpireOverride(ModelCommand):
    expired_at: Instant


class AssignRole(ModelCommand):
    role: Role
    subject: Subject
    issuer: Subject | None = None
    contact: Sealed | None = None


class VacateRole(ModelCommand):
    role: Role
    subject: Subject
    issuer: Subject | None = None


# --- versions ----------------------------------------------------------------------


class RegisterVersion(ModelCommand):
    version: Slug
    artifacts: Artifacts
    digest: Digest | None = None
    manifest: Digest | None = None
    feature_count: Count | None = None
    parent: Slug | None = None


class AttachCard(ModelCommand):
    """As asked: the card itself. See `AttachCheckedCard`."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64")

    version: Slug
    digest: Digest
    card: Annotated[bytes, Field(min_length=2, max_length=MAX_CARD_BYTES)]


class AttachCheckedCard(ModelCommand):
    """As decided: what was found in the card, which is kept elsewhere. `hashes` are the
    artifacts it says it speaks of.
    """

    version: Slug
    digest: Digest
    card_digest: Digest
    size: Count
    hashes: tuple[Digest, ...]


class AttachSignature(ModelCommand):
    """As asked: a model signature itself. See `AttachCheckedSignature`."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64")

    version: Slug
    digest: Digest
    signature: Annotated[bytes, Field(min_length=2, max_length=MAX_SIGNATURE_BYTES)]


class AttachCheckedSignature(ModelCommand):
    """As decided: who signed files of these digests."""

    version: Slug
    digest: Digest
    publisher: Slug
    key: Digest
    signature_digest: Digest
    files: tuple[Digest, ...]


class RecordValidation(ModelCommand):
    version: Slug
    digest: Digest
    outcome: Literal["approved", "conditional", "rejected"]
    metrics: Metrics = Field(default_factory=dict)
    limitations: Reliances = ()
    assumptions: Reliances = ()
    conditions: Sentences = ()
    valid_until: Instant | None = None
    summary: Text | None = None

    @model_validator(mode="after")
    def _conditional(self) -> Self:
        if self.outcome == "conditional":
            if not self.conditions:
                raise Invalid.field("conditions", "a conditional outcome states them")
            if self.valid_until is None:
                raise Invalid.field("valid_until", "a conditional outcome expires")
        return self


class RecordVerdict(ModelCommand):
    """A reaction's: policy's answer. See `VerdictReceived`."""

    version: Slug | None
    digest: Digest | None
    action: Slug
    environment: Slug | None
    verdict: Literal["allow", "deny"]
    request: Slug
    conditions: tuple[Title, ...]
    max_traffic_share: Share | None
    expires_at: Instant | None
    source: Slug


class RecordRevocation(ModelCommand):
    """A reaction's: what policy takes back."""

    request: Slug
    reason: Text
    source: Slug


class ClassifyChange(ModelCommand):
    change: Slug
    version: Slug
    kinds: ChangeKinds
    material: bool | None = None
    envelope: Slug | None = None
    rationale: Text

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.envelope is None and self.material is None:
            raise Invalid.field("material", "is compulsory without an envelope")
        if self.envelope is not None and self.material:
            raise Invalid.field("material", "what an envelope covers is not material")
        return self


class ApproveEnvelope(ModelCommand):
    envelope: Slug
    kinds: ChangeKinds
    limits: Text
    until: Instant


# --- serving -----------------------------------------------------------------------


class Deploy(ModelCommand):
    version: Slug
    digest: Digest
    environment: Slug
    share: Share
    verdict_source: Slug
    replace: bool = False


class SetTraffic(ModelCommand):
    version: Slug
    digest: Digest
    environment: Slug
    share: Share
    verdict_source: Slug | None = None


class Rollback(ModelCommand):
    environment: Slug
    reason: Text
    from_version: Slug | None = None
    to_version: Slug | None = None


class Suspend(ModelCommand):
    reason: Text


class Resume(ModelCommand):
    reason: Text


class Retire(ModelCommand):
    reason: Text


class RecordServedAfterRetirement(ModelCommand):
    """A reaction's: decisions were recorded that it should not have made."""

    version: Slug
    environment: Slug
    decisions: Count
    last_at: Instant
    source: Slug


# --- reviews and findings ----------------------------------------------------------


class ScheduleReview(ModelCommand):
    review: Slug | None = None
    kind: Slug
    due_at: Instant
    reason: Text | None = None


class CompleteReview(ModelCommand):
    review: Slug
    outcome: Literal["satisfactory", "action_required", "unsatisfactory"]
    notes: Text


class NoteReviewOverdue(ModelCommand):
    """The clock's."""

    review: Slug
    instant: Instant


class RaiseFinding(ModelCommand):
    finding: Slug | None = None
    title: Title
    detail: Text | None = None
    severity: Severity
    vector: RiskVector
    owner: Subject
    due_at: Instant
    version: Slug | None = None


class RespondToFinding(ModelCommand):
    finding: Slug
    response: Text


class CloseFinding(ModelCommand):
    finding: Slug
    evidence: Text


class NoteFindingOverdue(ModelCommand):
    """The clock's."""

    finding: Slug
    instant: Instant


class AcceptRisk(ModelCommand):
    subject: Slug
    until: Instant
    reason: Text


# --- promises and figures ----------------------------------------------------------


class ProposeSla(ModelCommand):
    sla: Slug
    kind: Literal["explainability", "audit"]
    terms: SlaTerms


class AcceptSla(ModelCommand):
    sla: Slug


class DefineSlo(ModelCommand):
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

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        sign = 1 if self.direction == "rises" else -1
        nominal, warning, hard = (
            sign * limit for limit in (self.nominal, self.warning, self.hard)
        )
        if warning <= nominal:
            raise Invalid.field("warning", "must lie on the worse side of nominal")
        if hard <= warning:
            raise Invalid.field("hard", "must lie on the worse side of warning")
        return self

    @model_validator(mode="after")
    def _checkable(self) -> Self:
        """Money is compared with a KPI when all that takes is said, or nothing is."""
        said = self.kpi_direction, self.kpi_money, self.kpi_tolerance
        if all(one is None for one in said):
            return self
        for needed in ("kpi", "money_per_hour", "kpi_direction", "kpi_money"):
            if getattr(self, needed) is None:
                raise Invalid.field(needed, "is needed to check money against a KPI")
        if self.kpi_money is not None and self.money_per_hour is not None:
            if self.kpi_money.currency != self.money_per_hour.currency:
                raise Invalid.field("kpi_money", "must be in money_per_hour's currency")
            if self.kpi_money.minor <= 0:
                raise Invalid.field("kpi_money", "must be more than nothing")
            if self.money_per_hour.minor <= 0:
                raise Invalid.field("money_per_hour", "must be more than nothing")
        if self.kpi_tolerance == 0:
            raise Invalid.field("kpi_tolerance", "must be more than nothing")
        return self


class RecordKpi(ModelCommand):
    kpi: Slug
    value: Finite
    unit: Title | None = None
    period_start: Instant
    period_end: Instant

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.period_end <= self.period_start:
            raise Invalid.field("period_end", "must be later than period_start")
        return self


class SetAppetite(Command):
    business_line: Slug
    text: Text
    share: Share | None = None
    money: Money | None = None


def _within_columns(boundaries: Boundaries) -> None:
    for at, one in enumerate(boundaries):
        counted = one.minimum is not None or one.maximum is not None or one.allowed
        if counted and one.column is None:
            raise Invalid.field(f"boundaries.{at}.column", "says what is limited")
        if (
            one.minimum is not None
            and one.maximum is not None
            and one.maximum < one.minimum
        ):
            raise Invalid.field(f"boundaries.{at}.maximum", "is below the minimum")
    names = [one.name for one in boundaries]
    if len(names) != len(set(names)):
        raise Invalid.field("boundaries", "two have the same name")
