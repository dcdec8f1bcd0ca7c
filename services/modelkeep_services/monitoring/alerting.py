"""Who must be told of what by when, and what people did about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from modelkeep.decider import Context
from modelkeep.errors import NotFound, Refused
from modelkeep.events.monitoring import (
    AlertAcknowledged,
    AlertOverdue,
    AlertRaised,
    AlertRepeated,
    AlertResolved,
    WindowClosed,
)
from modelkeep_services.monitoring.commands import (
    AcknowledgeAlert,
    Closing,
    FollowIncident,
    MarkOverdue,
    RaiseAlert,
    ResolveAlert,
)
from modelkeep_services.monitoring.naming import Key, alert_id, key_of
from modelkeep_services.monitoring.rules import Breach, Slo
from modelkeep_services.monitoring.state import AlertState, MonitorState

OF_OUTCOMES: Final = frozenset(
    {"performance", "calibration", "slo", "fairness", "label_drift", "concept_drift"}
)
"""Rules that late outcomes may break where nothing was broken before."""


def alerts(
    event: WindowClosed,
    breaches: Sequence[Breach],
    found: Closing,
    state: MonitorState,
    context: Context,
) -> Iterator[AlertRaised | AlertRepeated]:
    slos = {slo.metric: slo for slo in found.slos}
    for breach in breaches:
        key = key_of(event.version, event.environment, breach)
        alert = alert_id(key, event.window)
        opened = state.open.get(key)
        if opened is not None:
            if state.alerts[opened].last_window != event.window:
                yield AlertRepeated(
                    model=event.model,
                    alert=opened,
                    window=event.window,
                    value=breach.value,
                    threshold=breach.threshold,
                    n=breach.n,
                )
        elif alert not in state.alerts:
            yield _raised(
                event, alert, breach, found, slos.get(breach.metric), state, context
            )


def _raised(
    event: WindowClosed,
    alert: str,
    breach: Breach,
    found: Closing,
    slo: Slo | None,
    state: MonitorState,
    context: Context,
) -> AlertRaised:
    money = slo.money_per_hour if slo else None
    play = state.configured.play if state.configured else None
    return AlertRaised(
        model=event.model,
        alert=alert,
        version=event.version,
        environment=event.environment,
        kind=breach.kind,
        vector=breach.vector,
        severity=breach.severity,
        metric=breach.metric,
        feature=breach.feature,
        value=breach.value,
        threshold=breach.threshold,
        baseline=breach.baseline,
        n=breach.n,
        window=event.window,
        start=event.start,
        end=event.end,
        owner=found.owner,
        play=(slo.play if slo else None) or play,
        slo=slo.slo if slo else None,
        money_per_hour=money,
        money_basis=slo.money_basis if slo and money else None,
        cause=breach.cause,
        sources=found.figures.sources,
        due_at=context.now + deadline(state, breach.severity),
        thresholds=state.limits.version,
        money_check=slo.money_check if slo and money else None,
    )


def deadline(state: MonitorState, severity: str) -> timedelta:
    hours: float = getattr(state.deadlines, severity)
    return timedelta(hours=hours)


def raise_alert(
    command: RaiseAlert, state: MonitorState, context: Context
) -> Sequence[AlertRaised | AlertRepeated]:
    key: Key = (
        command.version or "",
        command.environment or "",
        command.kind,
        command.metric,
        command.feature or "",
    )
    alert = alert_id(key, command.occasion)
    opened = state.open.get(key)
    if opened is not None:
        return _again(command, state.alerts[opened])
    if alert in state.alerts:
        return []
    said = dict(command)
    del said["occasion"]
    said["thresholds"] = command.thresholds or state.limits.version
    return [
        AlertRaised(
            **said,
            alert=alert,
            play=state.configured.play if state.configured else None,
            due_at=context.now + deadline(state, command.severity),
        )
    ]


def _again(command: RaiseAlert, alert: AlertState) -> Sequence[AlertRepeated]:
    if command.window is None or command.window == alert.last_window:
        return []
    return [
        AlertRepeated(
            model=command.model,
            alert=alert.event.alert,
            window=command.window,
            value=command.value,
            threshold=command.threshold,
            n=command.n,
        )
    ]


def follow(
    command: FollowIncident, state: MonitorState
) -> Sequence[AlertAcknowledged | AlertResolved]:
    alert = _alert(command, state)
    if alert.status == "resolved":
        return []
    if command.true_alarm is not None and command.reason is not None:
        return [
            AlertResolved(
                model=command.model,
                alert=command.alert,
                by=command.by,
                true_alarm=command.true_alarm,
                reason=command.reason,
                due_at=alert.event.due_at,
            )
        ]
    if alert.status == "acknowledged":
        return []
    return [AlertAcknowledged(model=command.model, alert=command.alert, by=command.by)]


def mark_overdue(command: MarkOverdue, state: MonitorState) -> Sequence[AlertOverdue]:
    alert = _alert(command, state)
    if alert.status == "resolved" or alert.overdue:
        return []
    raised = alert.event
    return [
        AlertOverdue(
            model=raised.model,
            alert=raised.alert,
            severity=raised.severity,
            vector=raised.vector,
            owner=raised.owner,
            due_at=raised.due_at,
        )
    ]


def acknowledge(
    command: AcknowledgeAlert, state: MonitorState, context: Context
) -> Sequence[AlertAcknowledged]:
    alert = _alert(command, state)
    people_only(context, command.alert)
    if alert.status == "resolved":
        raise Refused(
            "monitoring.alert-open",
            f"alert {command.alert} is resolved",
            subject=command.alert,
        )
    if alert.status == "acknowledged":
        return []
    by = context.actor.person
    return [AlertAcknowledged(model=command.model, alert=command.alert, by=by)]


def resolve(
    command: ResolveAlert, state: MonitorState, context: Context
) -> Sequence[AlertResolved]:
    alert = _alert(command, state)
    people_only(context, command.alert)
    if alert.status == "resolved":
        raise Refused(
            "monitoring.alert-open",
            f"alert {command.alert} is resolved",
            subject=command.alert,
        )
    by, due_at = context.actor.person, alert.event.due_at
    return [AlertResolved(**dict(command), by=by, due_at=due_at)]


def _alert(
    command: MarkOverdue | AcknowledgeAlert | ResolveAlert | FollowIncident,
    state: MonitorState,
) -> AlertState:
    found = state.alerts.get(command.alert)
    if found is None:
        raise NotFound("alert", f"{command.model}/{command.alert}")
    return found


def people_only(context: Context, subject: str) -> None:
    if not context.actor.human:
        raise Refused(
            "monitoring.people-judge",
            f"{context.actor.subject} is not a person",
            subject=subject,
        )
