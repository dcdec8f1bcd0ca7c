"""What alerts ask of people: incidents, escalations, onsets, and how far a model may
decide alone. Part of monitoring's language.

Streams: `incident-<tenant>.<cause>` holds every incident of one cause;
`escalation-<tenant>.<model>` when whom to call; `onset-<tenant>.<subject>` since when
something is wrong; `autonomy-<tenant>.<model>` levels of autonomy by use.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelkeep.events.base import Event
from modelkeep.events.lineage import NodeId
from modelkeep.events.monitoring import Uuid
from modelkeep.events.types import (
    Count,
    Digest,
    Instant,
    Person,
    RiskVector,
    Severity,
    Share,
    Slug,
    Subject,
    Text,
    Title,
    Value,
)

CauseKind = Literal["column", "feature_view", "dataset", "model"]
GroupingRule = Literal["named-input", "only-view", "own"]
"""Why an alert has this cause: its input was found upstream by name; one feature view
alone feeds the version; or nothing upstream explains it, so the model does itself.
"""


class RulesDocument(Value):
    """The versioned document by which something was decided."""

    version: Slug
    digest: Digest


# --- incidents ---------------------------------------------------------------------


class GroupedAlert(Value):
    """An alert, as far as grouping needs it. [start, end) is the window it is about."""

    model: Slug
    alert: Slug
    version: Slug | None = None
    environment: Slug | None = None
    kind: Slug
    """As `AlertKind` spells it."""
    vector: RiskVector
    severity: Severity
    start: Instant | None = None
    end: Instant | None = None


class Cause(Value):
    """What is taken to be wrong. `node` is lineage's; a model that never registered
    the version has none. `family` parts a model's own troubles that share no cause.
    """

    kind: CauseKind
    node: NodeId | None = None
    name: Title
    owner: Subject | None = None
    rule: GroupingRule
    family: (
        Literal["inputs", "consequence", "operations", "governance", "people"] | None
    ) = None


class IncidentOpened(Event, name="monitoring.incident-opened"):
    """The first alert of a cause. `document` says how alerts are grouped."""

    incident: Slug
    cause: Cause
    alert: GroupedAlert
    document: RulesDocument


class IncidentGrew(Event, name="monitoring.incident-grew"):
    """Another alert of the same cause."""

    incident: Slug
    alert: GroupedAlert


class IncidentReopened(Event, name="monitoring.incident-reopened"):
    """A new alert of the cause, soon after it was taken to be put right."""

    incident: Slug
    alert: GroupedAlert


class IncidentLeft(Event, name="monitoring.incident-left"):
    """Lineage has since shown that an alert has another cause: it is grouped there."""

    incident: Slug
    alert: GroupedAlert
    cause: Cause


class IncidentMerged(Event, name="monitoring.incident-merged"):
    """It is the consequence of another, whose alerts show the same model's inputs wrong
    in the same window. The last word counts; `replaces` is the one before.
    """

    incident: Slug
    into: Slug
    rule: Literal["consequence-of-input"]
    replaces: Slug | None = None


class IncidentAcknowledged(Event, name="monitoring.incident-acknowledged"):
    incident: Slug
    by: Person


class IncidentResolved(Event, name="monitoring.incident-resolved"):
    """By a person, or (`by` None) because the last of its alerts was resolved."""

    incident: Slug
    by: Person | None = None
    true_alarm: bool | None = None
    reason: Text
    reopens_until: Instant
    """A new alert until then is the same incident still."""


# --- escalation --------------------------------------------------------------------


class Step(Value):
    """`role` is called at `at` if the alert is then still as `when` says: nobody has
    acknowledged it, or nobody has resolved it.
    """

    role: Slug
    when: Literal["unacknowledged", "unresolved"]
    at: Instant


class EscalationPlanned(Event, name="monitoring.escalation-planned"):
    """Whom to call about an alert, and when; `next_due_at` is the first step's."""

    model: Slug
    alert: Slug
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=20)]
    next_due_at: Instant
    document: RulesDocument


class AlertEscalated(Event, name="monitoring.alert-escalated"):
    """Nobody did what had to be done by `due_at`, so `to` is told: whoever held `role`
    then, None when nobody did. `step` counts from 1.
    """

    model: Slug
    alert: Slug
    step: Count
    role: Slug
    to: Subject | None = None
    because: Literal["unacknowledged", "unresolved"]
    due_at: Instant
    next_due_at: Instant | None = None


class EscalationHeld(Event, name="monitoring.escalation-held"):
    """Somebody acknowledged: steps that wait for that fall away."""

    model: Slug
    alert: Slug
    replaces_due_at: Instant
    next_due_at: Instant | None = None


class EscalationEnded(Event, name="monitoring.escalation-ended"):
    """The alert was resolved."""

    model: Slug
    alert: Slug
    replaces_due_at: Instant


# --- since when --------------------------------------------------------------------


class OnsetEstablished(Event, name="monitoring.onset-established"):
    """Since when something was wrong, as later found: by a person, or by a window that
    late outcomes restated. Of an alert (`model`, `alert`) or of a whole incident.
    """

    incident: Slug | None = None
    model: Slug | None = None
    alert: Slug | None = None
    onset: Instant
    basis: Literal["person", "restatement"]
    reason: Text
    evidence: Annotated[tuple[Uuid, ...], Field(max_length=50)] = ()
    replaces: Instant | None = None
    by: Person


# --- people and autonomy -----------------------------------------------------------


Level = Literal["shadow", "advise", "confirm", "act"]
"""Decides unseen; is shown to who decides; decides once a person confirms; decides."""


class AutonomyEvidence(Value):
    """What a proposal rested on. `budgets` open for spending, `strained` those that run
    ahead or are exhausted.
    """

    tier: Annotated[int, Field(ge=1, le=4)] | None = None
    decisions: Count = 0
    dispositions: Count = 0
    overridden: Count = 0
    override_rate: Share | None = None
    override_upper: Share | None = None
    drift: bool = False
    """Overriding has drifted, or reviewers may be rubber-stamping."""
    budgets: Count = 0
    strained: Annotated[tuple[Slug, ...], Field(max_length=100)] = ()
    events: Annotated[tuple[Uuid, ...], Field(max_length=50)] = ()


class AutonomyProposed(Event, name="monitoring.autonomy-proposed"):
    """The evidence suffices. `needs_approval`: a person of the second line must agree
    before it is so.
    """

    model: Slug
    use: Slug
    proposal: Slug
    from_level: Level
    to_level: Level
    evidence: AutonomyEvidence
    needs_approval: bool
    reason: Text
    by: Person
    document: RulesDocument


class AutonomyRaised(Event, name="monitoring.autonomy-raised"):
    """`approved_by` is None where the tier asks for no approval."""

    model: Slug
    use: Slug
    proposal: Slug
    from_level: Level
    to_level: Level
    by: Person
    approved_by: Person | None = None


class AutonomyLowered(Event, name="monitoring.autonomy-lowered"):
    """By a person, or by what happened (`source`). An open proposal falls with it."""

    model: Slug
    use: Slug
    from_level: Level
    to_level: Level
    because: Literal["person", "budget_slowed", "budget_exhausted", "override_drift"]
    reason: Text
    source: Uuid | None = None
    by: Person


class AutonomyProposalRejected(Event, name="monitoring.autonomy-proposal-rejected"):
    model: Slug
    use: Slug
    proposal: Slug
    reason: Text
    by: Person
