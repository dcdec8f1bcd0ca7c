"""What may happen to the incidents of one cause: pure decisions, a stream a cause.

An incident is open from its first alert until a person resolves it or the last of its
alerts is resolved. A new alert soon after that reopens it; later it opens the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Final, Literal

from pydantic import Field

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.attention import (
    Cause,
    GroupedAlert,
    IncidentAcknowledged,
    IncidentGrew,
    IncidentLeft,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    RulesDocument,
)
from modelkeep.events.types import Slug, Text
from modelkeep_services.monitoring.causes import cause_key
from modelkeep_services.monitoring.documents import Rules, load

IncidentEvent = (
    IncidentOpened
    | IncidentGrew
    | IncidentReopened
    | IncidentLeft
    | IncidentMerged
    | IncidentAcknowledged
    | IncidentResolved
)


class GroupingRules(Rules):
    """`reopen_hours`: a new alert so soon after the end is the same incident still."""

    reopen_hours: Annotated[float, Field(ge=0, le=10_000)]


RULES, DOCUMENT = load("incidents.v1.json", GroupingRules)


def stream_of(cause: Cause) -> str:
    """Name the stream of a cause's incidents: `inc-` and its key's hash."""
    return f"inc-{sha256(cause_key(cause).encode()).hexdigest()[:16]}"


def cause_stream(incident: str) -> str:
    """`inc-0123456789abcdef-2` is the second incident of `inc-0123456789abcdef`."""
    return incident.rpartition("-")[0] or incident


# --- commands ----------------------------------------------------------------------


class GroupAlert(Command):
    """A reaction's: this alert has this cause."""

    cause: Cause
    alert: GroupedAlert
    document: RulesDocument = DOCUMENT


class MergeIncident(Command):
    """A reaction's: an alert of `incident` follows from one of `into`'s. `over`: an
    incident that is resolved, and holds nothing any more.
    """

    incident: Slug
    into: Slug
    over: Slug | None = None
    rule: Literal["consequence-of-input"] = "consequence-of-input"


class SettleIncident(Command):
    """A reaction's: these alerts of the incident are resolved, as `model/alert`."""

    incident: Slug
    settled: frozenset[str]


class ReleaseAlert(Command):
    """A reaction's: lineage now says that the alert has another cause. `settled` as in
    SettleIncident.
    """

    incident: Slug
    alert: GroupedAlert
    cause: Cause
    settled: frozenset[str] = frozenset()


class AcknowledgeIncident(Command):
    incident: Slug


class ResolveIncident(Command):
    """Resolves its open alerts too, with the same word on whether they were true."""

    incident: Slug
    true_alarm: bool
    reason: Text


IncidentCommand = (
    GroupAlert
    | MergeIncident
    | SettleIncident
    | ReleaseAlert
    | AcknowledgeIncident
    | ResolveIncident
)

# --- state -------------------------------------------------------------------------


@dataclass(frozen=True)
class IncidentState:
    """`alerts` as `model/alert`."""

    incident: str
    alerts: frozenset[str]
    status: Literal["open", "acknowledged", "resolved"] = "open"
    reopens_until: datetime | None = None
    merged_into: str | None = None


@dataclass(frozen=True)
class CauseState:
    """`grouped` are alerts of any incident of the cause: an alert is grouped once."""

    incidents: Mapping[str, IncidentState] = field(default_factory=dict)
    latest: str | None = None
    grouped: frozenset[str] = frozenset()


def member(alert: GroupedAlert) -> str:
    return f"{alert.model}/{alert.alert}"


# --- decide ------------------------------------------------------------------------


def decide(  # one case a command
    command: IncidentCommand, state: CauseState, context: Context
) -> Sequence[IncidentEvent]:
    match command:
        case GroupAlert():
            return _group(command, state, context)
        case MergeIncident():
            return _merge(command, state)
        case SettleIncident():
            return _settle(command, state, context)
        case ReleaseAlert():
            return _release(command, state, context)
        case AcknowledgeIncident():
            return _acknowledge(command, state, context)
        case ResolveIncident():
            return _resolve(command, state, context)


def _group(
    command: GroupAlert, state: CauseState, context: Context
) -> Sequence[IncidentEvent]:
    alert = command.alert
    if member(alert) in state.grouped:
        return []
    latest = None if state.latest is None else state.incidents[state.latest]
    if latest is None or _long_over(latest, context):
        number = len(state.incidents) + 1
        return [
            IncidentOpened(
                incident=f"{stream_of(command.cause)}-{number}",
                cause=command.cause,
                alert=alert,
                document=command.document,
            )
        ]
    if latest.status == "resolved":
        return [IncidentReopened(incident=latest.incident, alert=alert)]
    return [IncidentGrew(incident=latest.incident, alert=alert)]


def _long_over(latest: IncidentState, context: Context) -> bool:
    return latest.reopens_until is not None and context.now > latest.reopens_until


def _reopens_until(context: Context) -> datetime:
    return context.now + timedelta(hours=RULES.reopen_hours)


def _merge(command: MergeIncident, state: CauseState) -> Sequence[IncidentMerged]:
    """Where several inputs were wrong at once the first by id has it, whoever came
    first.
    """
    incident = _known(command.incident, state)
    before = incident.merged_into
    if incident.status == "resolved" or incident.incident == command.into:
        return []
    if before == command.into:
        return []
    if before is not None and before < command.into and before != command.over:
        return []
    return [
        IncidentMerged(
            incident=command.incident,
            into=command.into,
            rule=command.rule,
            replaces=before,
        )
    ]


def _settle(
    command: SettleIncident, state: CauseState, context: Context
) -> Sequence[IncidentResolved]:
    incident = _known(command.incident, state)
    # An alert may have come since the reaction looked.
    if incident.status == "resolved" or not incident.alerts <= command.settled:
        return []
    return [
        IncidentResolved(
            incident=command.incident,
            reason="all its alerts are resolved",
            reopens_until=_reopens_until(context),
        )
    ]


def _release(
    command: ReleaseAlert, state: CauseState, context: Context
) -> Sequence[IncidentLeft | IncidentResolved]:
    incident = _known(command.incident, state)
    one = member(command.alert)
    if one not in incident.alerts or incident.status == "resolved":
        return []
    left = IncidentLeft(
        incident=command.incident, alert=command.alert, cause=command.cause
    )
    if not incident.alerts - {one} <= command.settled:
        return [left]
    over = IncidentResolved(
        incident=command.incident,
        reason="what was open of it has another cause",
        reopens_until=_reopens_until(context),
    )
    return [left, over]


def _acknowledge(
    command: AcknowledgeIncident, state: CauseState, context: Context
) -> Sequence[IncidentAcknowledged]:
    incident = _open(command.incident, state, context)
    if incident.status == "acknowledged":
        return []
    by = context.actor.person
    return [IncidentAcknowledged(incident=command.incident, by=by)]


def _resolve(
    command: ResolveIncident, state: CauseState, context: Context
) -> Sequence[IncidentResolved]:
    _open(command.incident, state, context)
    return [
        IncidentResolved(
            **dict(command),
            by=context.actor.person,
            reopens_until=_reopens_until(context),
        )
    ]


def _known(incident: str, state: CauseState) -> IncidentState:
    found = state.incidents.get(incident)
    if found is None:
        raise NotFound("incident", incident)
    return found


def _open(incident: str, state: CauseState, context: Context) -> IncidentState:
    found = _known(incident, state)
    if not context.actor.human:
        raise Refused(
            "monitoring.people-judge",
            f"{context.actor.subject} is not a person",
            subject=incident,
        )
    if found.status == "resolved":
        raise Refused(
            "monitoring.incident-open",
            f"incident {incident} is resolved",
            subject=incident,
        )
    return found


# --- evolve ------------------------------------------------------------------------


def evolve(state: CauseState, event: IncidentEvent) -> CauseState:  # noqa: PLR0911  # one case an event
    match event:
        case IncidentOpened():
            first = frozenset({member(event.alert)})
            opened = IncidentState(event.incident, first)
            grouped = state.grouped | first
            known = {**state.incidents, event.incident: opened}
            return CauseState(known, event.incident, grouped)
        case IncidentGrew():
            return _with_alert(state, event)
        case IncidentReopened():
            grown = _with_alert(state, event)
            return _changed(grown, event.incident, status="open", reopens_until=None)
        case IncidentLeft():
            return _without_alert(state, event)
        case IncidentMerged():
            return _changed(state, event.incident, merged_into=event.into)
        case IncidentAcknowledged():
            return _changed(state, event.incident, status="acknowledged")
        case IncidentResolved():
            until = event.reopens_until
            return _changed(
                state, event.incident, status="resolved", reopens_until=until
            )


def _with_alert(
    state: CauseState, event: IncidentGrew | IncidentReopened
) -> CauseState:
    new = frozenset({member(event.alert)})
    before = state.incidents[event.incident]
    grown = _changed(state, event.incident, alerts=before.alerts | new)
    return replace(grown, grouped=grown.grouped | new)


def _without_alert(state: CauseState, event: IncidentLeft) -> CauseState:
    gone = frozenset({member(event.alert)})
    before = state.incidents[event.incident]
    shrunk = _changed(state, event.incident, alerts=before.alerts - gone)
    return replace(shrunk, grouped=shrunk.grouped - gone)


def _changed(state: CauseState, incident: str, **changes: object) -> CauseState:
    known = replace(state.incidents[incident], **changes)  # type: ignore[arg-type]  # its own fields
    return replace(state, incidents={**state.incidents, incident: known})


INCIDENT: Final = decider(CauseState(), decide, evolve)
