"""What an alert brings about beside itself: incidents, escalations, earlier onsets, and
a model's loss of autonomy.

Each reaction reads monitoring's views as of the very event it answers, so its command
does not depend on when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from modelkeep.decider import Command, Decider
from modelkeep.events.attention import (
    GroupedAlert,
    IncidentAcknowledged,
    IncidentGrew,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
)
from modelkeep.events.clock import Ticked
from modelkeep.events.insight import BudgetExhausted, BudgetSlowed
from modelkeep.events.lineage import (
    Linked,
    ManifestRecorded,
    NodeRecorded,
    version_node,
)
from modelkeep.events.monitoring import (
    AlertAcknowledged,
    AlertRaised,
    AlertResolved,
    DispositionRecorded,
    WindowRestated,
)
from modelkeep.events.types import Person
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.timekeeper import fallen
from modelkeep.views import Fact, Reader
from modelkeep_services.monitoring import attention_views as attention
from modelkeep_services.monitoring import disposing, known, views
from modelkeep_services.monitoring.alerting import OF_OUTCOMES
from modelkeep_services.monitoring.autonomy import AUTONOMY, Because, LimitAutonomy
from modelkeep_services.monitoring.causes import PEOPLE, cause_of, downstream, kind_of
from modelkeep_services.monitoring.commands import FollowIncident, RaiseAlert
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.escalation import (
    ESCALATION,
    EndEscalation,
    Escalate,
    HoldEscalation,
    PlanEscalation,
)
from modelkeep_services.monitoring.incidents import (
    INCIDENT,
    GroupAlert,
    MergeIncident,
    ReleaseAlert,
    SettleIncident,
    cause_stream,
    stream_of,
)
from modelkeep_services.monitoring.onsets import ONSET, EstablishOnset
from modelkeep_services.monitoring.rules import Duties, judge

Grown = IncidentOpened | IncidentGrew | IncidentReopened

# From the start: incidents do not depend on when grouping was first run.
grouping = Reactor("monitoring.incidents", from_start=True)
escalating = Reactor("monitoring.escalations")
dating = Reactor("monitoring.onsets")
limiting = Reactor("monitoring.autonomy")
judging = Reactor("monitoring.overrides")


# --- incidents ---------------------------------------------------------------------


@grouping.on(AlertRaised)
def group(event: AlertRaised, fact: Fact, read: Reader) -> Iterator[Reaction]:
    alert = GroupedAlert(
        model=event.model,
        alert=event.alert,
        version=event.version,
        environment=event.environment,
        kind=event.kind,
        vector=event.vector,
        severity=event.severity,
        start=event.start,
        end=event.end,
    )
    node = _version_node(event.model, event.version, read)
    cause = cause_of(alert, event.feature, node, attention.Lineage(read))
    yield _on(
        fact,
        "incident",
        stream_of(cause),
        INCIDENT,
        GroupAlert(cause=cause, alert=alert),
    )


def _version_node(model: str, version: str | None, read: Reader) -> str | None:
    if version is None:
        return None
    row = read.get(views.versions, f"{model}/{version}")
    return None if row is None else version_node(model, version, row.digest)


@grouping.on(IncidentOpened)
def opened(event: IncidentOpened, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _joined(event, fact, read)


@grouping.on(IncidentGrew)
def grew(event: IncidentGrew, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _joined(event, fact, read)


@grouping.on(IncidentReopened)
def reopened(event: IncidentReopened, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _joined(event, fact, read)


def _joined(event: Grown, fact: Fact, read: Reader) -> Iterator[Reaction]:
    # Lineage may have learnt something between the alert and its grouping.
    yield from _regroup(event.alert, fact, read)
    yield from _merge(event, fact, read)


# What lineage learns later moves the alerts that are open, so that it does not matter
# which of the two was told first.


@grouping.on(Linked, streams="node-")
def linked(event: Linked, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _relearn([event.target_node], fact, read)


@grouping.on(NodeRecorded, streams="node-")
def recorded(event: NodeRecorded, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _relearn([event.node], fact, read)


# What a manifest lists is looked at once, at its end.
@grouping.on(ManifestRecorded)
def listed(event: ManifestRecorded, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _relearn([*event.roots, *event.versions], fact, read)


def _relearn(changed: Sequence[str], fact: Fact, read: Reader) -> Iterator[Reaction]:
    if not read.scan(attention.memberships, limit=1):
        return
    lineage = attention.Lineage(read)
    touched = {*changed, *downstream(changed, lineage.below)[0]}
    for one in sorted(n for n in touched if kind_of(n) == "model_version"):
        origin = lineage.origin(one)
        if origin is None:
            continue  # when it is recorded it is looked at again
        model, _, version = origin.name.partition("/")
        for _key, row in read.scan(attention.memberships, f"{model}/"):
            if row.alert.version == version:
                yield from _regroup(row.alert, fact, read)


def _regroup(alert: GroupedAlert, fact: Fact, read: Reader) -> Iterator[Reaction]:
    row = read.get(views.alerts, f"{alert.model}/{alert.alert}")
    here = attention.incident_of(alert.model, alert.alert, read)
    if row is None or here is None or row.status == "resolved":
        return
    node = _version_node(alert.model, alert.version, read)
    cause = cause_of(alert, row.feature, node, attention.Lineage(read))
    if stream_of(cause) == cause_stream(here.incident):
        return
    release = ReleaseAlert(
        incident=here.incident,
        alert=alert,
        cause=cause,
        settled=_settled(here.incident, read),
    )
    part = f"/{alert.model}/{alert.alert}"
    old, new = cause_stream(here.incident), stream_of(cause)
    yield _on(fact, "incident", old, INCIDENT, release, part=part)
    group = GroupAlert(cause=cause, alert=alert)
    yield _on(fact, "incident", new, INCIDENT, group, part=part)


def _merge(event: Grown, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """Look at every pair of a wrong input and its consequence when the later comes."""
    mine = read.get(attention.incidents, event.incident)
    if mine is None:
        return
    for other in _meeting(event.alert, read):
        theirs = read.get(attention.incidents, other)
        if theirs is None or theirs.status == "resolved":
            continue
        for one, into in ((mine, theirs), (theirs, mine)):
            if one.cause.family == "consequence" and into.cause.rule != "own":
                yield _on(
                    fact,
                    "incident",
                    cause_stream(one.incident),
                    INCIDENT,
                    MergeIncident(
                        incident=one.incident,
                        into=into.incident,
                        over=_over(one.merged_into, read),
                    ),
                    part=f"/{one.incident}/{into.incident}",
                )


def _over(incident: str | None, read: Reader) -> str | None:
    row = None if incident is None else read.get(attention.incidents, incident)
    return incident if row is not None and row.status == "resolved" else None


def _meeting(alert: GroupedAlert, read: Reader) -> list[str]:
    """Incidents with an alert of the same version about an overlapping window."""
    found: dict[str, None] = {}
    for _, row in read.scan(attention.memberships, f"{alert.model}/"):
        if row.alert.alert != alert.alert and _meet(row.alert, alert):
            found[row.incident] = None
    return sorted(found)


def _meet(one: GroupedAlert, other: GroupedAlert) -> bool:
    if (one.version, one.environment) != (other.version, other.environment):
        return False
    if one.start is None or one.end is None or other.start is None or other.end is None:
        return False
    return one.start < other.end and other.start < one.end


@grouping.on(AlertResolved)
def settle(event: AlertResolved, fact: Fact, read: Reader) -> Iterator[Reaction]:
    membership = attention.incident_of(event.model, event.alert, read)
    if membership is None:
        return
    incident = membership.incident
    command = SettleIncident(incident=incident, settled=_settled(incident, read))
    yield _on(fact, "incident", cause_stream(incident), INCIDENT, command)


def _settled(incident: str, read: Reader) -> frozenset[str]:
    """Return its alerts that are resolved, as `model/alert`."""
    return frozenset(
        f"{row.alert.model}/{row.alert.alert}"
        for _, row in read.scan(attention.members, f"{incident}/")
        if _is_resolved(row.alert, read)
    )


def _is_resolved(alert: GroupedAlert, read: Reader) -> bool:
    row = read.get(views.alerts, f"{alert.model}/{alert.alert}")
    return row is not None and row.status == "resolved"


# What a person says of an incident they say of its alerts.


@grouping.on(IncidentAcknowledged)
def acknowledged(
    event: IncidentAcknowledged, fact: Fact, read: Reader
) -> Iterator[Reaction]:
    return _follow(event.incident, event.by, None, None, fact, read)


@grouping.on(IncidentResolved)
def resolved(event: IncidentResolved, fact: Fact, read: Reader) -> Iterator[Reaction]:
    if event.by is None:
        return iter(())
    return _follow(event.incident, event.by, event.true_alarm, event.reason, fact, read)


def _follow(
    incident: str,
    by: Person,
    true_alarm: bool | None,  # noqa: FBT001  # said by name in the command
    reason: str | None,
    fact: Fact,
    read: Reader,
) -> Iterator[Reaction]:
    for one in (incident, *merged_into(incident, read)):
        for _, row in read.scan(attention.members, f"{one}/"):
            alert = row.alert
            if not _is_resolved(alert, read):
                yield _on(
                    fact,
                    "monitor",
                    alert.model,
                    MONITOR,
                    FollowIncident(
                        model=alert.model,
                        alert=alert.alert,
                        by=by,
                        true_alarm=true_alarm,
                        reason=reason,
                    ),
                    part=f"/{alert.alert}",
                )


def merged_into(incident: str, read: Reader) -> list[str]:
    """Return the incidents that are this one's consequences."""
    found = read.scan(attention.consequences, f"{incident}/")
    return [key.split("/")[1] for key, _ in found]


# --- escalation --------------------------------------------------------------------


@escalating.on(AlertRaised)
def plan(event: AlertRaised, fact: Fact, _: Reader) -> Iterator[Reaction]:
    command = PlanEscalation(
        model=event.model,
        alert=event.alert,
        raised_at=fact.known_at,
        due_at=event.due_at,
    )
    yield _on(fact, "escalation", event.model, ESCALATION, command)


@escalating.on(AlertAcknowledged)
def hold(event: AlertAcknowledged, fact: Fact, _: Reader) -> Iterator[Reaction]:
    command = HoldEscalation(model=event.model, alert=event.alert)
    yield _on(fact, "escalation", event.model, ESCALATION, command)


@escalating.on(AlertResolved)
def stand_down(event: AlertResolved, fact: Fact, _: Reader) -> Iterator[Reaction]:
    command = EndEscalation(model=event.model, alert=event.alert)
    yield _on(fact, "escalation", event.model, ESCALATION, command)


@escalating.on(Ticked)
def call(event: Ticked, _: Fact, read: Reader) -> Iterator[Reaction]:
    for tenant in read.tenants(views.due):
        mine = read.other(tenant)
        for one in fallen(mine, views.due, event.instant):
            if one.kind == views.ESCALATION:
                model, _slash, alert = one.subject.partition("/")
                yield Reaction(
                    stream_name("escalation", tenant, model),
                    ESCALATION,
                    Escalate(
                        model=model,
                        alert=alert,
                        instant=event.instant,
                        holders=_holders(model, mine),
                    ),
                    tenant=tenant,
                    effective_at=event.instant,
                    part=one.subject,
                )


def _holders(model: str, read: Reader) -> dict[str, str]:
    """One a role: the first by issuer and subject, where several share it."""
    found: dict[str, str] = {}
    for key, row in read.scan(attention.holders, f"{model}/"):
        found.setdefault(key.split("/")[1], row.subject)
    owner = known.owner(read, model)
    return found if owner is None else {**found, "owner": owner}


# --- since when --------------------------------------------------------------------


@dating.on(WindowRestated)
def backdate(event: WindowRestated, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """Late outcomes may show that what an open alert says was so before."""
    limits = known.limits(read, event.model)
    breaches = judge(event.figures, limits, known.slos(read, event.model), Duties())
    told = {(b.kind, b.metric) for b in breaches if b.kind in OF_OUTCOMES}
    for _, row in read.scan(views.alerts, f"{event.model}/"):
        same = (row.version, row.environment) == (event.version, event.environment)
        if not same or (row.kind, row.metric) not in told or row.true_alarm is False:
            continue
        if row.start is None or event.start >= row.start:
            continue
        command = EstablishOnset(
            model=row.model,
            alert=row.alert,
            onset=event.start,
            reason=(
                f"late outcomes show it in the window from {event.start:%Y-%m-%d %H:%M}"
            ),
            evidence=(str(fact.id),),
            basis="restatement",
            detected_at=row.raised_at,
        )
        yield _on(fact, "onset", command.subject, ONSET, command)


# --- people and autonomy -----------------------------------------------------------


@judging.on(DispositionRecorded)
def judge_overrides(
    event: DispositionRecorded, fact: Fact, read: Reader
) -> Iterator[Reaction]:
    command: RaiseAlert | None = disposing.alert_on(event.model, fact.known_at, read)
    if command is not None:
        yield _on(fact, "monitor", event.model, MONITOR, command)


@limiting.on(BudgetSlowed)
def slowed(event: BudgetSlowed, fact: Fact, _: Reader) -> Iterator[Reaction]:
    reason = f"budget {event.budget} runs ahead of its period"
    return _limit(event.model, "budget_slowed", reason, fact)


@limiting.on(BudgetExhausted)
def exhausted(event: BudgetExhausted, fact: Fact, _: Reader) -> Iterator[Reaction]:
    reason = f"budget {event.budget} is exhausted"
    return _limit(event.model, "budget_exhausted", reason, fact)


@limiting.on(AlertRaised)
def drifted(event: AlertRaised, fact: Fact, _: Reader) -> Iterable[Reaction]:
    if event.kind not in PEOPLE:
        return ()
    return _limit(event.model, "override_drift", event.cause, fact)


def _limit(model: str, because: Because, reason: str, fact: Fact) -> Iterator[Reaction]:
    command = LimitAutonomy(
        model=model, because=because, reason=reason, source=str(fact.id)
    )
    yield _on(fact, "autonomy", model, AUTONOMY, command)


def _on(
    fact: Fact,
    category: str,
    key: str,
    decider: Decider,
    command: Command,
    *,
    part: str = "",
) -> Reaction:
    stream = stream_name(category, fact.tenant, key)
    return Reaction(stream, decider, command, part=part)


REACTORS = (grouping, escalating, dating, limiting, judging)
