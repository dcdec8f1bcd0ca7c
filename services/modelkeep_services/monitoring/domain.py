"""What may happen to a model's monitor: pure decisions.

`commands.py` is what may be asked, `state.py` what a monitor's past makes of it; the
answers are in `watching.py` and `alerting.py`. The decision log is in
`decision_log.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelkeep.decider import Context, decider
from modelkeep.events.monitoring import (
    DispositionRecorded,
    MoneyChecked,
)
from modelkeep_services.monitoring.alerting import (
    acknowledge,
    follow,
    mark_overdue,
    people_only,
    raise_alert,
    resolve,
)
from modelkeep_services.monitoring.commands import (
    AcknowledgeAlert,
    CheckMoney,
    CheckSnapshot,
    ChooseProof,
    CloseWindow,
    ConfigureMonitor,
    CountSlot,
    FollowIncident,
    MarkOverdue,
    MonitorCommand,
    RaiseAlert,
    ReachCadence,
    RecordDisposition,
    RegisterBaseline,
    RegisterContract,
    ResolveAlert,
)
from modelkeep_services.monitoring.proving import choose_proof
from modelkeep_services.monitoring.state import MonitorEvent, MonitorState, evolve
from modelkeep_services.monitoring.watching import (
    check_snapshot,
    close_window,
    configure,
    count_slot,
    reach_cadence,
    register_baseline,
    register_contract,
)


def decide(  # noqa: C901, PLR0911, PLR0912  # one case a command
    command: MonitorCommand, state: MonitorState, context: Context
) -> Sequence[MonitorEvent]:
    match command:
        case RegisterBaseline():
            return register_baseline(command, state)
        case RegisterContract():
            return register_contract(command, state)
        case CheckSnapshot():
            return check_snapshot(command, state)
        case ConfigureMonitor():
            return configure(command, state, context)
        case ChooseProof():
            return choose_proof(command, state, context)
        case CloseWindow():
            return close_window(command, state, context)
        case CountSlot():
            return count_slot(command, state, context)
        case ReachCadence():
            return reach_cadence(command, state, context)
        case CheckMoney():
            checked = MoneyChecked(**dict(command))
            return [] if state.money.get(command.slo) == checked else [checked]
        case MarkOverdue():
            return mark_overdue(command, state)
        case AcknowledgeAlert():
            return acknowledge(command, state, context)
        case ResolveAlert():
            return resolve(command, state, context)
        case RaiseAlert():
            return raise_alert(command, state, context)
        case FollowIncident():
            return follow(command, state)
        case RecordDisposition():
            people_only(context, command.decision)
            by = context.actor.person
            return [DispositionRecorded(**dict(command), by=by)]


MONITOR = decider(MonitorState(), decide, evolve)
