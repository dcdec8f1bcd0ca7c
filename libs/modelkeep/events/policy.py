"""What policy decides: bundles agreed on, verdicts given, people who approved them.

Streams: `bundle-<tenant>.<name>`, `request-<tenant>.<request>` (a question, its
verdict, its approvals), `exception-<tenant>.<exception>`, `delegation-<tenant>.<id>`
and `envelope-<tenant>.<id>`. A request holds all that its own later decisions need:
seats to fill, who may not fill them, and until when.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from modelkeep.events.base import Event
from modelkeep.events.types import (
    Count,
    Digest,
    Finite,
    Instant,
    Person,
    Sealed,
    Share,
    Slug,
    Text,
    Tier,
    Title,
    Value,
)

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""An action, an environment or a role, as bundles spell them."""

RuleId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}/[a-z][a-z0-9-]{0,63}$"),
]
"""A policy of a bundle and a rule in it."""

EventId = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    ),
]
BundleText = Annotated[str, StringConstraints(min_length=1, max_length=400_000)]
Base64 = Annotated[str, StringConstraints(max_length=350_000)]
Short = Annotated[str, StringConstraints(max_length=300)]
Said = Annotated[str, StringConstraints(max_length=4_000)]
"""A sentence made of facts, for a reader."""

Roles = Annotated[tuple[Word, ...], Field(max_length=64)]
Sentences = Annotated[tuple[Said, ...], Field(max_length=500)]
Conditions = Annotated[tuple[Title, ...], Field(max_length=20)]

Verdict = Literal["allow", "deny", "pending"]
Outcome = Literal["true", "false", "missing", "empty", "error", "skipped"]


# --- bundles -----------------------------------------------------------------------


class BundleProposed(Event, name="policy.bundle-proposed"):
    """A bundle that reads, and whose own tests all passed. `bundle` is its digest."""

    bundle: Digest
    name: Slug
    version: Short
    text: BundleText
    author: Person
    tests: Count
    packaged: bool = False
    """It came with the program, for a ledger that had none."""
    against: Digest | None = None
    """The bundle in force as it was proposed: what the next two are about."""
    loosens: Sentences = ()
    lines_changed: Count | None = None


class BundleApproved(Event, name="policy.bundle-approved"):
    bundle: Digest
    name: Slug
    by: Person
    roles: Roles


class BundleActivated(Event, name="policy.bundle-activated"):
    """From here on verdicts of this tenant are given by this bundle."""

    bundle: Digest
    name: Slug
    version: Short
    by: Person
    replaces: Digest | None = None
    stood_at: int | None = None
    """The position it was decided at: what is loosened is against the bundle then in
    force. From its own position on verdicts are given by it, and say so.
    """
    loosens: Sentences = ()
    emergency: bool = False
    """One person brought it back; a second owes a confirmation until then."""
    reason: Text | None = None
    second_due_at: Instant | None = None


class BundleActivationFailed(Event, name="policy.bundle-activation-failed"):
    """It was agreed on, and could not be put in force. `stays` still is."""

    bundle: Digest
    name: Slug
    version: Short
    by: Person
    reason: Said
    stays: Digest | None = None


class ReactivationConfirmed(Event, name="policy.reactivation-confirmed"):
    bundle: Digest
    name: Slug
    by: Person
    due_at: Instant


class ReactivationOverdue(Event, name="policy.reactivation-overdue"):
    """Nobody confirmed in time that a bundle was brought back; they still owe it."""

    bundle: Digest
    name: Slug
    by: Person
    due_at: Instant


class BundleBacktested(Event, name="policy.bundle-backtested"):
    """What a bundle would have said of past verdicts, known by its report's digest.

    `start` and `end` bound the period that was asked for: [start, end), open when None.
    """

    bundle: Digest
    name: Slug
    report: Digest
    start: Instant | None = None
    end: Instant | None = None
    verdicts: Count
    flips: Count
    loosened: Count
    tightened: Count
    not_evaluable: Count
    by: Person


# --- a bundle beside the one in force ----------------------------------------------


class ShadowSet(Event, name="policy.shadow-set"):
    """From here on this bundle is asked too, and nothing is done about its answers."""

    bundle: Digest
    name: Slug
    version: Short
    by: Person
    replaces: Digest | None = None


class ShadowCleared(Event, name="policy.shadow-cleared"):
    bundle: Digest
    name: Slug
    by: Person
    reason: Text | None = None
    """Why, when no person did it."""


# --- verdicts ----------------------------------------------------------------------


class RuleSaid(Value):
    """One rule and what came of it. `denies`: this alone forbids an ALLOW. Operands are
    what was compared with what: `{text, value, op, limit_text, limit, culprits}`.
    """

    rule: RuleId
    policy: Short
    kind: Word
    severity: Word
    outcome: Outcome
    denies: bool
    operands: Annotated[tuple[dict[str, JsonValue], ...], Field(max_length=100)] = ()
    missing: Annotated[tuple[Short, ...], Field(max_length=100)] = ()
    text: Said = ""
    waived_by: Slug | None = None


class Seats(Value):
    """`count` distinct people in `role`."""

    role: Word
    count: Count


class Owed(Value):
    """`count` of the `of` people in `role` are still to approve."""

    policy: Short
    role: Word
    count: Count
    of: Count


class Barred(Value):
    """Who may not fill a seat, and as what (`model.owner`, `actor`)."""

    person: Person
    why: Short


Seating = Annotated[tuple[Owed, ...], Field(max_length=64)]
Parties = Annotated[tuple[Barred, ...], Field(max_length=200)]


class Duty(Value):
    """One policy's seats: an approval counts while younger than `max_age_s`."""

    policy: Short
    seats: Annotated[tuple[Seats, ...], Field(max_length=64)]
    max_age_s: Count
    barred: Parties = ()


class Lent(Value):
    """A role of `lender` that somebody else holds until then."""

    delegation: Slug
    lender: Person
    role: Word
    until: Instant


Lendings = Annotated[tuple[Lent, ...], Field(max_length=64)]


class Approval(Value):
    """One person's last word, as it counts. `approved` false is a rejection."""

    by: Person
    roles: Roles
    at: Instant
    approved: bool = True
    expires_at: Instant | None = None
    conditions: Conditions = ()
    max_traffic_share: Share | None = None
    request: Slug
    """The request it was given in."""
    lent: Lendings = ()
    """Roles beside their own, in which they spoke for others."""


class Waiver(Value):
    """A rule that an exception set aside for a model until then."""

    exception: Slug
    rule: RuleId
    until: Instant


Approvals = Annotated[tuple[Approval, ...], Field(max_length=64)]
Waivers = Annotated[tuple[Waiver, ...], Field(max_length=64)]


class Proposal(Value):
    """A command that a trigger proposes; it must be asked for as an action."""

    rule: RuleId
    command: Short
    to: Short = ""
    budget_max: Count = 0
    budget_s: Count = 0


class Stated(Value):
    """A fact that the ledger did not know and the requester stated, and on what it
    rests. What the ledger knows is never overruled.
    """

    fact: Short
    sources: Annotated[tuple[EventId, ...], Field(max_length=20)] = ()


class Covered(Value):
    """The envelope that covers a change, and which of its uses this is, from 1."""

    envelope: Slug
    digest: Digest
    use: Count
    uses: Count
    until: Instant
    max_traffic_share: Share | None = None


class ChangeSize(Value):
    """How much a change changes, against the version serving now."""

    features: Count | None = None
    features_changed: Count | None = None
    performance_change: Finite | None = None


class Judgement(Value):
    """A bundle's answer to one question, with everything it rests on.

    `facts` are the bytes evaluated (base64 of a serialised `Facts`), as of the position
    `stood_at`: with `bundle` and `engine` they give this verdict for ever. `changed_by`
    is the last event known then that voids what came before it. `parties` wrote, own or
    ask for the thing: whatever the bundle says, they fill no seat. `ceiling` is the
    share of traffic that the approval of this digest is limited to; `bundle_since` the
    position from which on the bundle was in force.
    """

    action: Word
    model: Slug
    version: Slug | None = None
    digest: Digest | None = None
    environment: Word | None = None
    traffic_share: Share | None = None
    tier: Tier | None = None
    verdict: Verdict
    bundle: Digest
    bundle_name: Slug
    bundle_version: Short
    engine: Short
    descriptor: Digest
    facts: Base64
    facts_digest: Digest
    stood_at: int
    rules: Annotated[tuple[RuleSaid, ...], Field(max_length=1_000)] = ()
    params: dict[Short, JsonValue] = Field(default_factory=dict, max_length=128)
    missing: Annotated[tuple[Short, ...], Field(max_length=500)] = ()
    reasons: Sentences = ()
    owed: Seating = ()
    duties: Annotated[tuple[Duty, ...], Field(max_length=64)] = ()
    parties: Parties = ()
    approvals: Approvals = ()
    """Given before, for the same digest, action and environment, and not void."""
    waivers: Waivers = ()
    proposals: Annotated[tuple[Proposal, ...], Field(max_length=64)] = ()
    escalations: Sentences = ()
    stated: Annotated[tuple[Stated, ...], Field(max_length=400)] = ()
    evidence: Annotated[tuple[EventId, ...], Field(max_length=400)] = ()
    changed_by: EventId | None = None
    envelope: Covered | None = None
    size: ChangeSize | None = None
    ceiling: Share | None = None
    bundle_since: int | None = None
    requested_by: Person
    human: bool
    expires_at: Instant


class VerdictGiven(Judgement, Event, name="policy.verdict-given"):
    request: Slug


class ShadowVerdictGiven(Event, name="policy.shadow-verdict-given"):
    """What the shadow says of the facts that a verdict was given on: for comparison,
    never an obligation and never a command. Without a `verdict` it `failed`.
    """

    request: Slug
    action: Word
    model: Slug
    environment: Word | None = None
    tier: Tier | None = None
    in_force: Digest
    given: Verdict
    bundle: Digest
    verdict: Verdict | None = None
    stopped_by: Annotated[tuple[RuleId, ...], Field(max_length=1_000)] = ()
    owed: Seating = ()
    reasons: Sentences = ()
    failed: Said = ""


class ApprovalRequested(Event, name="policy.approval-requested"):
    request: Slug
    action: Word
    model: Slug
    version: Slug | None = None
    digest: Digest | None = None
    environment: Word | None = None
    tier: Tier | None = None
    quorum: Seating
    requested_by: Person
    due_at: Instant


class Approved(Event, name="policy.approved"):
    """With `conditions` or a `max_traffic_share` it is conditional, and expires."""

    request: Slug
    model: Slug
    action: Word
    environment: Word | None = None
    digest: Digest
    by: Person
    roles: Roles
    at: Instant
    comment: Sealed | None = None
    conditions: Conditions = ()
    max_traffic_share: Share | None = None
    expires_at: Instant | None = None
    owed: Seating = ()
    """What is still owed after it."""
    lent: Lendings = ()


class Rejected(Event, name="policy.rejected"):
    request: Slug
    model: Slug
    action: Word
    environment: Word | None = None
    digest: Digest
    by: Person
    roles: Roles
    at: Instant
    reason: Text
    lent: Lendings = ()


class ApprovalOverdue(Event, name="policy.approval-overdue"):
    """The time for approvals is over, and these were still owed: it is denied."""

    request: Slug
    action: Word
    model: Slug
    version: Slug | None = None
    digest: Digest | None = None
    environment: Word | None = None
    tier: Tier | None = None
    owed: Seating
    requested_by: Person
    due_at: Instant


class VerdictSettled(Event, name="policy.verdict-settled"):
    """The last word on a request, until it is revoked. What others act on.

    `source` is the verdict it settles by its bundle and facts; an ALLOW holds for that
    digest, action and environment, within the conditions, until `expires_at`.
    """

    request: Slug
    action: Word
    model: Slug
    version: Slug | None = None
    digest: Digest | None = None
    environment: Word | None = None
    tier: Tier | None = None
    verdict: Literal["allow", "deny"]
    bundle: Digest
    facts_digest: Digest
    reasons: Sentences = ()
    approvals: Approvals = ()
    conditions: Conditions = ()
    max_traffic_share: Share | None = None
    waivers: Waivers = ()
    envelope: Covered | None = None
    break_glass: bool = False
    requested_by: Person
    expires_at: Instant | None = None
    approvals_due_at: Instant | None = None


class VerdictRevoked(Event, name="policy.verdict-revoked"):
    """It no longer allows anything, and its approvals are void. `cause` is the event
    that changed what was approved.
    """

    request: Slug
    action: Word
    model: Slug
    version: Slug | None = None
    digest: Digest | None = None
    environment: Word | None = None
    reason: Text
    cause: EventId | None = None
    by: Person
    approvals_due_at: Instant | None = None
    condition_until: Instant | None = None
    """When its conditional approvals end, where it was settled by some."""


# --- breaking the glass ------------------------------------------------------------


class GlassBreakAsked(Event, name="policy.glass-break-asked"):
    """One person wants what the verdict does not allow; nothing is allowed yet."""

    request: Slug
    model: Slug
    digest: Digest
    by: Person
    roles: Roles
    reason: Text
    lasts_s: Count
    second_due_at: Instant


class BrokeGlass(Event, name="policy.broke-glass"):
    """Two people let it pass for some hours, and owe a review."""

    request: Slug
    action: Word
    model: Slug
    version: Slug | None = None
    digest: Digest
    environment: Word | None = None
    by: Person
    second_approver: Person
    reason: Text
    until: Instant
    review_due_at: Instant


class GlassReviewed(Event, name="policy.glass-reviewed"):
    """A third person of the second line looked at it afterwards."""

    request: Slug
    model: Slug
    by: Person
    justified: bool
    notes: Text
    due_at: Instant


class GlassReviewOverdue(Event, name="policy.glass-review-overdue"):
    request: Slug
    model: Slug
    due_at: Instant


# --- exceptions --------------------------------------------------------------------


class ExceptionProposed(Event, name="policy.exception-proposed"):
    """In tiers 1 and 2 a departure needs a second person before it holds."""

    exception: Slug
    model: Slug
    tier: Tier
    rule: RuleId
    reason: Text
    owner: Person
    until: Instant
    by: Person
    parties: Parties = ()
    """Who own or make the model: they cannot agree to it."""


class ExceptionGranted(Event, name="policy.exception-granted"):
    """From here until `until` that rule does not stop that model."""

    exception: Slug
    model: Slug
    tier: Tier
    rule: RuleId
    reason: Text
    owner: Person
    until: Instant
    granted_by: Annotated[tuple[Person, ...], Field(min_length=1, max_length=2)]


class ExceptionWithdrawn(Event, name="policy.exception-withdrawn"):
    exception: Slug
    model: Slug
    rule: RuleId
    by: Person
    reason: Text
    until: Instant


class ExceptionExpired(Event, name="policy.exception-expired"):
    exception: Slug
    model: Slug
    rule: RuleId
    owner: Person
    until: Instant


# --- delegations -------------------------------------------------------------------

Models = Annotated[tuple[Slug, ...], Field(max_length=100)]
Words = Annotated[tuple[Word, ...], Field(max_length=64)]


class Delegated(Event, name="policy.delegated"):
    """`to` may speak in this role of the lender, of these and until then. An empty list
    is no bound.
    """

    delegation: Slug
    lender: Person
    to: Person
    role: Word
    models: Models = ()
    business_lines: Models = ()
    actions: Words = ()
    until: Instant
    reason: Text


class DelegationRevoked(Event, name="policy.delegation-revoked"):
    delegation: Slug
    lender: Person
    to: Person
    until: Instant
    by: Person
    reason: Text


class DelegationExpired(Event, name="policy.delegation-expired"):
    delegation: Slug
    lender: Person
    to: Person
    until: Instant


# --- envelopes ---------------------------------------------------------------------


class EnvelopeTerms(Value):
    """Changes that are approved in advance. What is not stated is no bound; what is
    stated and cannot be held against a fact is outside. Traffic that a question does
    not state is bounded by its verdict.
    """

    model: Slug
    actions: Annotated[tuple[Word, ...], Field(min_length=1, max_length=16)]
    environment: Word | None = None
    features: Annotated[tuple[Short, ...], Field(max_length=1_000)] = ()
    performance_min: Finite | None = None
    performance_drop_max: Finite | None = None
    psi_max: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    traffic_share_max: Share | None = None
    until: Instant
    uses: Annotated[int, Field(ge=1, le=1_000)]


class EnvelopeProposed(Event, name="policy.envelope-proposed"):
    """`digest` is of the terms. `uses_said` is the event that last said what the model
    is for: it and the tier are what the approval rests on.
    """

    envelope: Slug
    terms: EnvelopeTerms
    digest: Digest
    tier: Tier
    uses_said: EventId
    duty: Duty
    parties: Parties
    reason: Text
    by: Person
    due_at: Instant


class EnvelopeApproved(Event, name="policy.envelope-approved"):
    envelope: Slug
    model: Slug
    digest: Digest
    by: Person
    roles: Roles
    lent: Lendings = ()
    at: Instant
    owed: Seating = ()


class EnvelopeGranted(Event, name="policy.envelope-granted"):
    """From here on what is inside owes no approvals."""

    envelope: Slug
    model: Slug
    digest: Digest
    approvals: Approvals
    due_at: Instant
    until: Instant


class EnvelopeUsed(Event, name="policy.envelope-used"):
    envelope: Slug
    model: Slug
    digest: Digest
    request: Slug
    action: Word
    version: Slug | None = None
    use: Count
    uses: Count
    until: Instant


class EnvelopeVoided(Event, name="policy.envelope-voided"):
    """What it rested on has changed, or somebody withdrew it."""

    envelope: Slug
    model: Slug
    reason: Text
    cause: EventId | None = None
    by: Person
    due_at: Instant
    until: Instant


class EnvelopeExpired(Event, name="policy.envelope-expired"):
    """Its date has come, or it was not approved in time."""

    envelope: Slug
    model: Slug
    due_at: Instant
    until: Instant
