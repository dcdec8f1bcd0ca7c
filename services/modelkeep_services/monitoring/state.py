"""What a monitor's past makes of it: what is open, what stands, what is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from modelkeep.events.monitoring import (
    AlertAcknowledged,
    AlertOverdue,
    AlertRaised,
    AlertRepeated,
    AlertResolved,
    BaselineRegistered,
    CadenceReached,
    ContractRegistered,
    Deadlines,
    DispositionRecorded,
    MoneyChecked,
    MonitorConfigured,
    ProofChosen,
    SilenceDetected,
    SlotCounted,
    SlotCounts,
    SnapshotChecked,
    Thresholds,
    WindowClosed,
    WindowRestated,
)
from modelkeep_services.monitoring.naming import Key, Slot, identity, said, slot_of

MonitorEvent = (
    BaselineRegistered
    | ContractRegistered
    | SnapshotChecked
    | MonitorConfigured
    | ProofChosen
    | WindowClosed
    | WindowRestated
    | SlotCounted
    | CadenceReached
    | SilenceDetected
    | MoneyChecked
    | AlertRaised
    | AlertRepeated
    | AlertAcknowledged
    | AlertResolved
    | AlertOverdue
    | DispositionRecorded
)


@dataclass(frozen=True)
class AlertState:
    key: Key
    event: AlertRaised
    last_window: str | None
    status: Literal["open", "acknowledged", "resolved"] = "open"
    overdue: bool = False


@dataclass(frozen=True)
class WindowState:
    """`said` identifies the figures that stand. `matures_at` is None once they are."""

    said: str
    restatements: int = 0
    matures_at: datetime | None = None


@dataclass(frozen=True)
class MonitorState:
    configured: MonitorConfigured | None = None
    next_due_at: datetime | None = None
    baselines: Mapping[tuple[str, str], str] = field(default_factory=dict)
    contract: ContractRegistered | None = None
    proof: ProofChosen | None = None
    windows: Mapping[str, WindowState] = field(default_factory=dict)
    money: Mapping[str, MoneyChecked] = field(default_factory=dict)
    slots: Mapping[Slot, SlotCounts] = field(default_factory=dict)
    alerts: Mapping[str, AlertState] = field(default_factory=dict)
    open: Mapping[Key, str] = field(default_factory=dict)

    @property
    def limits(self) -> Thresholds:
        return self.configured.thresholds if self.configured else Thresholds()

    @property
    def deadlines(self) -> Deadlines:
        return self.configured.deadlines if self.configured else Deadlines()


def evolve(state: MonitorState, event: MonitorEvent) -> MonitorState:  # noqa: C901, PLR0911, PLR0912  # one case an event
    match event:
        case BaselineRegistered():
            key = event.version, event.baseline
            known = {**state.baselines, key: identity(event)}
            return replace(state, baselines=known)
        case ContractRegistered():
            return replace(state, contract=event)
        case ProofChosen():
            return replace(state, proof=event)
        case MonitorConfigured():
            return replace(state, configured=event, next_due_at=event.next_due_at)
        case WindowClosed():
            return _with_window(state, event, 0)
        case WindowRestated():
            return _with_window(state, event, event.restatement)
        case SlotCounted():
            return replace(state, slots={**state.slots, slot_of(event): event.counts})
        case CadenceReached():
            return replace(state, next_due_at=event.next_due_at)
        case MoneyChecked():
            return replace(state, money={**state.money, event.slo: event})
        case AlertRaised():
            return _with_alert(state, event)
        case AlertRepeated():
            return _changed(state, event.alert, last_window=event.window)
        case AlertAcknowledged():
            return _changed(state, event.alert, status="acknowledged")
        case AlertResolved():
            resolved = _changed(state, event.alert, status="resolved")
            key_of = state.alerts[event.alert].key
            still = {k: a for k, a in state.open.items() if k != key_of}
            return replace(resolved, open=still)
        case AlertOverdue():
            return _changed(state, event.alert, overdue=True)
        case SilenceDetected() | DispositionRecorded() | SnapshotChecked():
            return state


def _with_window(
    state: MonitorState, event: WindowClosed | WindowRestated, count: int
) -> MonitorState:
    figures = event.figures
    matures_at = None if figures.mature else figures.matures_at
    known = WindowState(said(event), count, matures_at)
    return replace(state, windows={**state.windows, event.window: known})


def _with_alert(state: MonitorState, event: AlertRaised) -> MonitorState:
    key: Key = (
        event.version or "",
        event.environment or "",
        event.kind,
        event.metric,
        event.feature or "",
    )
    alert = AlertState(key, event, event.window)
    return replace(
        state,
        alerts={**state.alerts, event.alert: alert},
        open={**state.open, key: event.alert},
    )


def _changed(state: MonitorState, alert: str, **changes: object) -> MonitorState:
    known = replace(state.alerts[alert], **changes)  # type: ignore[arg-type]  # its own fields
    return replace(state, alerts={**state.alerts, alert: known})
