"""What is promised of a model, and what it earned: SLAs, SLOs, KPIs."""

from __future__ import annotations

from collections.abc import Sequence

from modelkeep.decider import Context
from modelkeep.errors import NotFound
from modelkeep.events import inventory as e
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory.refusing import refuse
from modelkeep_services.inventory.state import ModelEvent, ModelState


def propose_sla(
    command: c.ProposeSla, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    known = state.slas.get(command.sla)
    if known is not None and known.kind != command.kind:
        refuse("sla-kind", f"sla {command.sla} is of kind {known.kind}", command.sla)
    said = e.SlaProposed(**dict(command), proposed_by=context.actor.person)
    return () if known == said else (said,)


def accept_sla(
    command: c.AcceptSla, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    match state.slas.get(command.sla):
        case None:
            raise NotFound("sla", f"{command.model}/{command.sla}")
        case e.SlaAccepted():
            return ()
        case e.SlaProposed() as said:
            if said.proposed_by == context.actor.person:
                refuse(
                    "sla-second-person",
                    f"{context.actor.subject} proposed sla {command.sla}",
                    command.sla,
                )
            return [e.SlaAccepted(**dict(said), accepted_by=context.actor.person)]


def define_slo(
    command: c.DefineSlo, state: ModelState, _: Context
) -> Sequence[ModelEvent]:
    said = e.SloDefined(**dict(command))
    return () if state.slos.get(command.slo) == said else (said,)


def record_kpi(
    command: c.RecordKpi, state: ModelState, _: Context
) -> Sequence[ModelEvent]:
    """The same period again corrects it."""
    said = e.KpiRecorded(**dict(command))
    key = (command.kpi, command.period_start, command.period_end)
    return () if state.kpis.get(key) == said else (said,)
