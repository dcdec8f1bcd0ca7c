"""How a model is watched: promises, baselines, windows new or corrected, silence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

from modelkeep.decider import Context
from modelkeep.errors import Refused
from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.monitoring import (
    AlertRaised,
    AlertRepeated,
    BaselineRegistered,
    CadenceReached,
    ContractRegistered,
    MonitorConfigured,
    SilenceDetected,
    SlotCounted,
    SnapshotChecked,
    Thresholds,
    WindowClosed,
    WindowRestated,
)
from modelkeep_services.monitoring.alarm_rules import left_to_rules
from modelkeep_services.monitoring.alerting import OF_OUTCOMES, alerts, deadline
from modelkeep_services.monitoring.commands import (
    CheckSnapshot,
    CloseWindow,
    Closing,
    ConfigureMonitor,
    CountSlot,
    Due,
    ReachCadence,
    RegisterBaseline,
    RegisterContract,
)
from modelkeep_services.monitoring.drift_rules import drift_breaches
from modelkeep_services.monitoring.fairness_rules import fairness_breaches
from modelkeep_services.monitoring.naming import (
    Key,
    alert_id,
    identity,
    key_of,
    moment,
    said,
    slot_of,
    window_id,
)
from modelkeep_services.monitoring.rules import Breach, Duties, judge
from modelkeep_services.monitoring.state import MonitorEvent, MonitorState
from modelkeep_services.monitoring.value_rules import value_breaches


def register_contract(
    command: RegisterContract, state: MonitorState
) -> Sequence[ContractRegistered]:
    if command.read is None and not command.columns:
        raise Refused(
            "monitoring.contract-promises",
            "a contract binds by the columns it promises",
            subject=command.contract,
        )
    terms = {} if command.read is None else dict(command.read)
    if tuple(one.node for one in command.views) != command.feature_views:
        raise Refused(
            "monitoring.views-registered",
            "a contract names feature views as lineage registered them",
            subject=command.contract,
        )
    asked = {name: value for name, value in command if name not in {"read", "views"}}
    event = ContractRegistered(**(asked | terms | {"feature_views": command.views}))
    return [] if event == state.contract else [event]


def check_snapshot(
    command: CheckSnapshot, state: MonitorState
) -> Sequence[SnapshotChecked]:
    bound = state.contract.contract if state.contract else "none"
    if bound != command.contract:
        raise Refused(
            "monitoring.contract-binds",
            f"contract {bound} binds {command.model}, not {command.contract}",
            subject=command.contract,
        )
    return [SnapshotChecked(**dict(command), kept=not command.breaches)]


def register_baseline(
    command: RegisterBaseline, state: MonitorState
) -> Sequence[BaselineRegistered]:
    event = BaselineRegistered(**dict(command))
    known = state.baselines.get((command.version, command.baseline))
    if known is None:
        return [event]
    if known == identity(event):
        return []
    raise Refused(
        "monitoring.baseline-once",
        f"baseline {command.baseline} of {command.model}/{command.version} "
        "holds other data",
        subject=command.baseline,
    )


def configure(
    command: ConfigureMonitor, state: MonitorState, context: Context
) -> Sequence[MonitorConfigured]:
    given, before, due = dict(command), state.configured, None
    if command.allowed_lateness_hours is not None:
        # The watermark: windows close once it has passed their end.
        given["grace_hours"] = command.allowed_lateness_hours
    if command.cadence_hours is not None:
        was = before.anchor if before else None
        given["anchor"] = command.anchor or was or context.effective_at
        due = _next_end(command, given["anchor"], context.now)
        due += timedelta(hours=given["grace_hours"])
    if command.outcome_kind is None:
        given["outcome_kind"] = before.outcome_kind if before else "binary"
    event = MonitorConfigured(
        **given, next_due_at=due, replaces_due_at=state.next_due_at
    )
    moments = {
        "next_due_at": event.next_due_at,
        "replaces_due_at": event.replaces_due_at,
    }
    unchanged = before is not None and event == before.model_copy(update=moments)
    return [] if unchanged else [event]


def _next_end(command: ConfigureMonitor, anchor: datetime, now: datetime) -> datetime:
    cadence = timedelta(hours=command.cadence_hours or 0)
    done = max(0, math.floor((now - anchor) / cadence))
    return anchor + cadence * (done + 1)


def close_window(
    command: CloseWindow, state: MonitorState, context: Context
) -> Sequence[MonitorEvent]:
    if command.found is None:
        raise Refused(
            "monitoring.figures-first", "a window closes with figures", subject="found"
        )
    _over(command, context)
    due = Due(
        version=command.version, environment=command.environment, found=command.found
    )
    return list(_closed(command, due, state, context))


def _over(command: CloseWindow | CountSlot, context: Context) -> None:
    if command.end > context.now:
        raise Refused(
            "monitoring.window-over",
            f"the window ends at {command.end}, and it is {context.now}",
            subject=command.model,
        )


def count_slot(
    command: CountSlot, state: MonitorState, context: Context
) -> Sequence[MonitorEvent]:
    if command.found is None:
        raise Refused(
            "monitoring.figures-first", "a slot is counted first", subject="found"
        )
    _over(command, context)
    event = SlotCounted(
        model=command.model,
        version=command.version,
        environment=command.environment,
        start=command.start,
        end=command.end,
        counts=command.found,
    )
    return [] if state.slots.get(slot_of(event)) == event.counts else [event]


def _closed(
    command: CloseWindow | ReachCadence,
    due: Due,
    state: MonitorState,
    context: Context,
) -> Iterator[MonitorEvent]:
    found, start, end = due.found, command.start, command.end
    window = window_id(due.version, due.environment, start, end)
    event = WindowClosed(
        model=command.model,
        version=due.version,
        environment=due.environment,
        window=window,
        start=start,
        end=end,
        figures=found.figures,
        method=found.method,
        profile=found.profile,
        score_outcomes=found.score_outcomes,
        errors=found.errors,
    )
    before = state.windows.get(window)
    if before is None:
        yield event
    elif before.said == said(event):
        return
    else:
        count = before.restatements + 1
        yield WindowRestated(
            **dict(event), restatement=count, replaces_matures_at=before.matures_at
        )
    duties = Duties(
        state.configured is not None and state.configured.reason_codes_compulsory,
        found.quarantine,
    )
    limits = state.limits.model_copy(
        update={
            "explanation_coverage": found.explanation_coverage,
            "explanation_p95_ms": found.explanation_p95_ms,
        }
    )
    budget = state.configured.false_alarms if state.configured else None
    breaches = _breaches(found, limits, duties, budget)
    if before is not None:
        # What the rows themselves broke was told when the window first closed.
        breaches = [
            breach
            for breach in breaches
            if breach.kind in OF_OUTCOMES
            or key_of(due.version, due.environment, breach) not in state.open
        ]
    yield from alerts(event, breaches, found, state, context)


def _breaches(
    found: Closing, limits: Thresholds, duties: Duties, budget: FalseAlarms | None
) -> list[Breach]:
    """Return what every rule says, as far as a budget of false alarms lets it."""
    figures = found.figures
    breaches = judge(figures, limits, found.slos, duties)
    kinds = {breach.kind for breach in breaches}
    drifted = {b.feature for b in breaches if b.kind == "feature_drift" and b.feature}
    breaches += value_breaches(figures, limits, drifted)
    breaches += fairness_breaches(figures, limits)
    breaches += drift_breaches(figures, limits, kinds)
    return left_to_rules(breaches, figures, budget)


def reach_cadence(
    command: ReachCadence, state: MonitorState, context: Context
) -> Sequence[MonitorEvent]:
    configured = state.configured
    if (
        configured is None
        or configured.cadence_hours is None
        or state.next_due_at != command.due_at
    ):
        return []  # another cadence holds now
    events: list[MonitorEvent] = [
        CadenceReached(
            model=command.model,
            start=command.start,
            end=command.end,
            due_at=command.due_at,
            next_due_at=command.due_at + timedelta(hours=configured.cadence_hours),
            rows=command.rows,
        )
    ]
    for due in command.closings:
        events += _closed(command, due, state, context)
    if command.expected and not command.rows:
        events += _silence(command, state, context)
    return events


def _silence(
    command: ReachCadence, state: MonitorState, context: Context
) -> Iterator[MonitorEvent]:
    yield SilenceDetected(
        model=command.model, start=command.start, expected_by=command.due_at
    )
    key: Key = ("", "", "silence", "rows", "")
    opened = state.open.get(key)
    if opened is not None:
        yield AlertRepeated(
            model=command.model, alert=opened, value=0.0, threshold=1.0, n=0
        )
        return
    severity: Literal["high"] = "high"
    yield AlertRaised(
        model=command.model,
        alert=alert_id(key, moment(command.start)),
        kind="silence",
        vector="operational_regression",
        severity=severity,
        metric="rows",
        value=0.0,
        threshold=1.0,
        n=0,
        start=command.start,
        end=command.end,
        owner=command.owner,
        play=state.configured.play if state.configured else None,
        cause=(
            f"no decision was logged from {command.start:%Y-%m-%d %H:%M} to "
            f"{command.end:%Y-%m-%d %H:%M} UTC"
        ),
        due_at=context.now + deadline(state, severity),
        thresholds=state.limits.version,
    )
