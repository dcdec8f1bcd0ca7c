"""What monitoring answers from where people attend to alerts: lineage as it bears on
them, incidents, escalations, onsets, autonomy, and what others say that limits it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from modelkeep.events.attention import (
    AlertEscalated,
    AutonomyEvidence,
    AutonomyLowered,
    AutonomyProposalRejected,
    AutonomyProposed,
    AutonomyRaised,
    Cause,
    EscalationEnded,
    EscalationHeld,
    EscalationPlanned,
    GroupedAlert,
    IncidentAcknowledged,
    IncidentGrew,
    IncidentLeft,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    OnsetEstablished,
    RulesDocument,
)
from modelkeep.events.insight import (
    BudgetDefined,
    BudgetEased,
    BudgetExhausted,
    BudgetPeriodClosed,
    BudgetSlowed,
)
from modelkeep.events.inventory import (
    ModelClassified,
    OverrideExpired,
    RoleAssigned,
    RoleVacated,
)
from modelkeep.events.lineage import Linked, NodeRecorded
from modelkeep.events.types import Person
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep_services.monitoring.causes import Origin

# --- lineage, as far as it bears on alerts -----------------------------------------


@dataclass(frozen=True)
class OriginRow:
    kind: str
    name: str
    owner: str | None


@dataclass(frozen=True)
class Mark:
    """All that is to be known is in the key."""


MARK: Final = Mark()

origins = View("origins", OriginRow)
"""By node. Its id is that of its content, so every telling of it says the same."""

above = View("above", Mark)
"""Links, by `target/source`."""

below = View("below", Mark)
"""Links, by `source/target`."""


@origins.on(NodeRecorded)
def recorded(event: NodeRecorded, _: Fact, rows: Rows[OriginRow]) -> None:
    rows.put(event.node, OriginRow(event.kind, event.name, event.owner))


@above.on(Linked)
def linked_up(event: Linked, _: Fact, rows: Rows[Mark]) -> None:
    rows.put(f"{event.target_node}/{event.source_node}", MARK)


@below.on(Linked)
def linked_down(event: Linked, _: Fact, rows: Rows[Mark]) -> None:
    rows.put(f"{event.source_node}/{event.target_node}", MARK)


class Lineage:
    """Lineage as a reader's moment knows it: see `causes.Upstream`."""

    def __init__(self, read: Reader) -> None:
        self._read = read

    def origin(self, node: str) -> Origin | None:
        row = self._read.get(origins, node)
        return None if row is None else Origin(row.kind, row.name, row.owner)

    def above(self, node: str) -> list[str]:
        return [key.split("/")[1] for key, _ in self._read.scan(above, f"{node}/")]

    def below(self, node: str) -> list[str]:
        return [key.split("/")[1] for key, _ in self._read.scan(below, f"{node}/")]


# --- incidents ---------------------------------------------------------------------


@dataclass(frozen=True)
class IncidentRow:
    """What its own stream says. Money, severity and owner follow from its alerts."""

    incident: str
    cause: Cause
    document: RulesDocument
    opened_at: datetime
    source: str
    status: Literal["open", "acknowledged", "resolved"] = "open"
    acknowledged_at: datetime | None = None
    acknowledged_by: Person | None = None
    resolved_at: datetime | None = None
    resolved_by: Person | None = None
    true_alarm: bool | None = None
    reason: str | None = None
    reopened: int = 0
    merged_into: str | None = None
    merge_rule: str | None = None


incidents = View("incidents", IncidentRow)


@incidents.on(IncidentOpened)
def opened(event: IncidentOpened, fact: Fact, rows: Rows[IncidentRow]) -> None:
    row = IncidentRow(
        event.incident, event.cause, event.document, fact.known_at, str(fact.id)
    )
    rows.put(event.incident, row)


def _change(rows: Rows[IncidentRow], incident: str, **changes: object) -> None:
    row = rows.get(incident)
    if row is not None:
        rows.put(incident, replace(row, **changes))  # type: ignore[arg-type]  # its own fields


@incidents.on(IncidentReopened)
def reopened(event: IncidentReopened, _: Fact, rows: Rows[IncidentRow]) -> None:
    row = rows.get(event.incident)
    if row is not None:
        again = replace(
            row,
            status="open",
            reopened=row.reopened + 1,
            resolved_at=None,
            resolved_by=None,
            true_alarm=None,
            reason=None,
        )
        rows.put(event.incident, again)


@incidents.on(IncidentMerged)
def merged(event: IncidentMerged, _: Fact, rows: Rows[IncidentRow]) -> None:
    _change(rows, event.incident, merged_into=event.into, merge_rule=event.rule)


@incidents.on(IncidentAcknowledged)
def acknowledged(
    event: IncidentAcknowledged, fact: Fact, rows: Rows[IncidentRow]
) -> None:
    _change(
        rows,
        event.incident,
        status="acknowledged",
        acknowledged_at=fact.known_at,
        acknowledged_by=event.by,
    )


@incidents.on(IncidentResolved)
def resolved(event: IncidentResolved, fact: Fact, rows: Rows[IncidentRow]) -> None:
    _change(
        rows,
        event.incident,
        status="resolved",
        resolved_at=fact.known_at,
        resolved_by=event.by,
        true_alarm=event.true_alarm,
        reason=event.reason,
    )


@dataclass(frozen=True)
class MemberRow:
    incident: str
    alert: GroupedAlert


members = View("members", MemberRow)
"""Alerts of an incident, by `incident/model/alert`."""

memberships = View("memberships", MemberRow)
"""The incident of an alert, by `model/alert/incident`: each key of one stream."""

consequences = View("consequences", Mark)
"""What was merged, by `into/incident`."""


def _member(
    event: IncidentOpened | IncidentGrew | IncidentReopened, rows: Rows[MemberRow]
) -> None:
    alert = event.alert
    key = f"{event.incident}/{alert.model}/{alert.alert}"
    rows.put(key, MemberRow(event.incident, alert))


def _membership(
    event: IncidentOpened | IncidentGrew | IncidentReopened, rows: Rows[MemberRow]
) -> None:
    alert = event.alert
    key = f"{alert.model}/{alert.alert}/{event.incident}"
    rows.put(key, MemberRow(event.incident, alert))


@members.on(IncidentLeft)
def member_left(event: IncidentLeft, _: Fact, rows: Rows[MemberRow]) -> None:
    rows.delete(f"{event.incident}/{event.alert.model}/{event.alert.alert}")


@memberships.on(IncidentLeft)
def left(event: IncidentLeft, _: Fact, rows: Rows[MemberRow]) -> None:
    rows.delete(f"{event.alert.model}/{event.alert.alert}/{event.incident}")


def incident_of(model: str, alert: str, read: Reader) -> MemberRow | None:
    """Return where an alert is grouped; None before it is."""
    rows = read.scan(memberships, f"{model}/{alert}/", limit=1)
    return rows[0][1] if rows else None


@members.on(IncidentOpened)
def first_member(event: IncidentOpened, _: Fact, rows: Rows[MemberRow]) -> None:
    _member(event, rows)


@members.on(IncidentGrew)
def another_member(event: IncidentGrew, _: Fact, rows: Rows[MemberRow]) -> None:
    _member(event, rows)


@members.on(IncidentReopened)
def late_member(event: IncidentReopened, _: Fact, rows: Rows[MemberRow]) -> None:
    _member(event, rows)


@memberships.on(IncidentOpened)
def joined_first(event: IncidentOpened, _: Fact, rows: Rows[MemberRow]) -> None:
    _membership(event, rows)


@memberships.on(IncidentGrew)
def joined(event: IncidentGrew, _: Fact, rows: Rows[MemberRow]) -> None:
    _membership(event, rows)


@memberships.on(IncidentReopened)
def joined_late(event: IncidentReopened, _: Fact, rows: Rows[MemberRow]) -> None:
    _membership(event, rows)


@consequences.on(IncidentMerged)
def followed(event: IncidentMerged, _: Fact, rows: Rows[Mark]) -> None:
    if event.replaces is not None:
        rows.delete(f"{event.replaces}/{event.incident}")
    rows.put(f"{event.into}/{event.incident}", MARK)


# --- escalation --------------------------------------------------------------------


@dataclass(frozen=True)
class EscalationRow:
    """`steps` counts those taken; `step` (from 1), `role`, `to` and `because` are the
    latest's.
    """

    steps: int = 0
    step: int = 0
    role: str | None = None
    to: str | None = None
    because: str | None = None
    escalated_at: datetime | None = None
    next_at: datetime | None = None
    document: RulesDocument | None = None
    sources: tuple[str, ...] = ()


escalations = View("escalations", EscalationRow)
"""By `model/alert`."""


@escalations.on(EscalationPlanned)
def planned(event: EscalationPlanned, _: Fact, rows: Rows[EscalationRow]) -> None:
    row = EscalationRow(next_at=event.next_due_at, document=event.document)
    rows.put(f"{event.model}/{event.alert}", row)


@escalations.on(AlertEscalated)
def escalated(event: AlertEscalated, fact: Fact, rows: Rows[EscalationRow]) -> None:
    key = f"{event.model}/{event.alert}"
    row = rows.get(key)
    if row is not None:
        taken = replace(
            row,
            steps=row.steps + 1,
            step=event.step,
            role=event.role,
            to=event.to,
            because=event.because,
            escalated_at=fact.effective_at,
            next_at=event.next_due_at,
            sources=(*row.sources, str(fact.id)),
        )
        rows.put(key, taken)


@escalations.on(EscalationHeld)
def held(event: EscalationHeld, _: Fact, rows: Rows[EscalationRow]) -> None:
    key = f"{event.model}/{event.alert}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, next_at=event.next_due_at))


@escalations.on(EscalationEnded)
def ended(event: EscalationEnded, _: Fact, rows: Rows[EscalationRow]) -> None:
    key = f"{event.model}/{event.alert}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, next_at=None))


# --- who is called -----------------------------------------------------------------


@dataclass(frozen=True)
class HolderRow:
    subject: str


holders = View("holders", HolderRow)
"""By `model/role/issuer subject`: several people may hold a role."""


def _holder(event: RoleAssigned | RoleVacated) -> str:
    return f"{event.model}/{event.role}/{event.issuer} {event.subject}"


@holders.on(RoleAssigned)
def assigned(event: RoleAssigned, _: Fact, rows: Rows[HolderRow]) -> None:
    rows.put(_holder(event), HolderRow(event.subject))


@holders.on(RoleVacated)
def vacated(event: RoleVacated, _: Fact, rows: Rows[HolderRow]) -> None:
    rows.delete(_holder(event))


# --- since when --------------------------------------------------------------------


@dataclass(frozen=True)
class OnsetRow:
    onset: datetime
    basis: str
    reason: str
    evidence: tuple[str, ...]
    by: Person
    established_at: datetime
    source: str


onsets = View("onsets", OnsetRow)
"""By incident, or by `model/alert`."""


@onsets.on(OnsetEstablished)
def established(event: OnsetEstablished, fact: Fact, rows: Rows[OnsetRow]) -> None:
    row = OnsetRow(
        event.onset,
        event.basis,
        event.reason,
        event.evidence,
        event.by,
        fact.known_at,
        str(fact.id),
    )
    rows.put(event.incident or f"{event.model}/{event.alert}", row)


# --- autonomy ----------------------------------------------------------------------


@dataclass(frozen=True)
class AutonomyRow:
    """`proposal` waits for approval; `source` is the event that set the level."""

    model: str
    use: str
    level: str = "shadow"
    since: datetime | None = None
    source: str | None = None
    because: str | None = None
    proposal: str | None = None
    proposed_level: str | None = None
    proposed_by: Person | None = None
    evidence: AutonomyEvidence | None = None
    """What the latest proposal rested on."""
    document: RulesDocument | None = None


autonomies = View("autonomies", AutonomyRow)
"""By `model/use`."""


def _autonomy(rows: Rows[AutonomyRow], model: str, use: str) -> AutonomyRow:
    return rows.get(f"{model}/{use}") or AutonomyRow(model, use)


@autonomies.on(AutonomyProposed)
def proposed(event: AutonomyProposed, _: Fact, rows: Rows[AutonomyRow]) -> None:
    row = replace(
        _autonomy(rows, event.model, event.use),
        proposal=event.proposal,
        proposed_level=event.to_level,
        proposed_by=event.by,
        evidence=event.evidence,
        document=event.document,
    )
    rows.put(f"{event.model}/{event.use}", row)


def _stands(
    event: AutonomyRaised | AutonomyLowered,
    because: str,
    fact: Fact,
    rows: Rows[AutonomyRow],
) -> None:
    row = replace(
        _autonomy(rows, event.model, event.use),
        level=event.to_level,
        since=fact.effective_at,
        source=str(fact.id),
        because=because,
        proposal=None,
        proposed_level=None,
        proposed_by=None,
    )
    rows.put(f"{event.model}/{event.use}", row)


@autonomies.on(AutonomyRaised)
def raised(event: AutonomyRaised, fact: Fact, rows: Rows[AutonomyRow]) -> None:
    _stands(event, "evidence", fact, rows)


@autonomies.on(AutonomyLowered)
def lowered(event: AutonomyLowered, fact: Fact, rows: Rows[AutonomyRow]) -> None:
    _stands(event, event.because, fact, rows)


@autonomies.on(AutonomyProposalRejected)
def rejected(event: AutonomyProposalRejected, _: Fact, rows: Rows[AutonomyRow]) -> None:
    row = _autonomy(rows, event.model, event.use)
    dropped = replace(row, proposal=None, proposed_level=None, proposed_by=None)
    rows.put(f"{event.model}/{event.use}", dropped)


@dataclass(frozen=True)
class TierRow:
    tier: int
    source: str


tiers = View("tiers", TierRow)


@tiers.on(ModelClassified)
def classified(event: ModelClassified, fact: Fact, rows: Rows[TierRow]) -> None:
    rows.put(event.model, TierRow(event.tier, str(fact.id)))


@tiers.on(OverrideExpired)
def tier_restored(event: OverrideExpired, fact: Fact, rows: Rows[TierRow]) -> None:
    rows.put(event.model, TierRow(event.tier, str(fact.id)))


@dataclass(frozen=True)
class BudgetRow:
    """`slowed` until it is eased, `exhausted` until its period is over."""

    budget: str
    source: str
    slowed: bool = False
    exhausted: bool = False

    @property
    def strained(self) -> bool:
        return self.slowed or self.exhausted


budgets = View("budgets", BudgetRow)
"""By `model/budget`."""


def _budget(
    event: BudgetDefined | BudgetSlowed | BudgetEased | BudgetExhausted,
    fact: Fact,
    rows: Rows[BudgetRow],
    *,
    slowed: bool | None = None,
    exhausted: bool | None = None,
) -> None:
    key = f"{event.model}/{event.budget}"
    row = rows.get(key) or BudgetRow(event.budget, "")
    rows.put(
        key,
        BudgetRow(
            event.budget,
            str(fact.id),
            row.slowed if slowed is None else slowed,
            row.exhausted if exhausted is None else exhausted,
        ),
    )


@budgets.on(BudgetDefined)
def budget_defined(event: BudgetDefined, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _budget(event, fact, rows)


@budgets.on(BudgetSlowed)
def budget_slowed(event: BudgetSlowed, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _budget(event, fact, rows, slowed=True)


@budgets.on(BudgetEased)
def budget_eased(event: BudgetEased, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _budget(event, fact, rows, slowed=False)


@budgets.on(BudgetExhausted)
def budget_gone(event: BudgetExhausted, fact: Fact, rows: Rows[BudgetRow]) -> None:
    _budget(event, fact, rows, exhausted=True)


@budgets.on(BudgetPeriodClosed)
def budget_anew(event: BudgetPeriodClosed, fact: Fact, rows: Rows[BudgetRow]) -> None:
    key = f"{event.model}/{event.budget}"
    rows.put(key, BudgetRow(event.budget, str(fact.id)))


VIEWS: Final = (
    origins,
    above,
    below,
    incidents,
    members,
    memberships,
    consequences,
    escalations,
    holders,
    onsets,
    autonomies,
    tiers,
    budgets,
)
