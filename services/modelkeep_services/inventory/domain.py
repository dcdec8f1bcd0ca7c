"""What may happen to a model, decided without looking at anything but its past.

`commands.py` is what may be asked, `state.py` what a model's past makes of it; the
answers are in `describing.py`, `building.py`, `serving.py`, `challenging.py` and
`promising.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from modelkeep.decider import Context, decider
from modelkeep.errors import NotFound
from modelkeep.events.inventory import AppetiteSet
from modelkeep_services.inventory import building as b
from modelkeep_services.inventory import challenging as h
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory import describing as d
from modelkeep_services.inventory import promising as p
from modelkeep_services.inventory import serving as s
from modelkeep_services.inventory.refusing import refuse
from modelkeep_services.inventory.state import ModelEvent, ModelState, evolve

C = TypeVar("C", bound=c.ModelCommand)
Answer = Callable[[c.ModelCommand, ModelState, Context], Sequence[ModelEvent]]

_answers: dict[type[c.ModelCommand], Answer] = {}


def _answer(
    command: type[C], answer: Callable[[C, ModelState, Context], Sequence[ModelEvent]]
) -> None:
    _answers[command] = cast("Answer", answer)


_answer(c.RegisterModel, d.register)
_answer(c.DecideScope, d.decide_scope)
_answer(c.ApproveUses, d.approve_uses)
_answer(c.SetBoundaries, d.set_boundaries)
_answer(c.ClassifyRisk, d.classify)
_answer(c.FollowExposure, d.follow_exposure)
_answer(c.OverrideTier, d.override)
_answer(c.ExpireOverride, d.expire_override)
_answer(c.AssignRole, d.assign)
_answer(c.VacateRole, d.vacate)
_answer(c.RegisterVersion, b.register_version)
_answer(c.AttachCheckedCard, b.attach_card)
_answer(c.AttachCheckedSignature, b.attach_signature)
_answer(c.RecordValidation, b.record_validation)
_answer(c.RecordVerdict, b.record_verdict)
_answer(c.RecordRevocation, b.record_revocation)
_answer(c.ClassifyChange, b.classify_change)
_answer(c.ApproveEnvelope, b.approve_envelope)
_answer(c.Deploy, s.deploy)
_answer(c.SetTraffic, s.set_traffic)
_answer(c.Rollback, s.roll_back)
_answer(c.Suspend, s.suspend)
_answer(c.Resume, s.resume)
_answer(c.Retire, s.retire)
_answer(c.RecordServedAfterRetirement, s.served_after_retirement)
_answer(c.ScheduleReview, h.schedule_review)
_answer(c.CompleteReview, h.complete_review)
_answer(c.NoteReviewOverdue, h.note_review_overdue)
_answer(c.RaiseFinding, h.raise_finding)
_answer(c.RespondToFinding, h.respond)
_answer(c.CloseFinding, h.close)
_answer(c.NoteFindingOverdue, h.note_finding_overdue)
_answer(c.AcceptRisk, h.accept_risk)
_answer(c.ProposeSla, p.propose_sla)
_answer(c.AcceptSla, p.accept_sla)
_answer(c.DefineSlo, p.define_slo)
_answer(c.RecordKpi, p.record_kpi)

ANSWERS: Final[Mapping[type[c.ModelCommand], Answer]] = _answers

AFTER_RETIREMENT: Final = (
    c.AssignRole,
    c.VacateRole,
    c.ExpireOverride,
    c.RecordVerdict,
    c.RecordRevocation,
    c.Retire,
    c.RecordServedAfterRetirement,
    c.NoteReviewOverdue,
    c.RaiseFinding,
    c.RespondToFinding,
    c.CloseFinding,
    c.NoteFindingOverdue,
    c.AcceptRisk,
    c.RecordKpi,
)
"""What still happens to a model that is retired; the rest is refused."""


A_PERSONS: Final = (
    c.OverrideTier,
    c.RecordValidation,
    c.ApproveEnvelope,
    c.CompleteReview,
    c.CloseFinding,
    c.AcceptRisk,
    c.AcceptSla,
)
"""What no program decides, whatever its roles."""


def decide(
    command: c.ModelCommand, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    if not isinstance(command, c.RegisterModel):
        if state.registered is None:
            raise NotFound("model", command.model)
        if state.retired and not isinstance(command, AFTER_RETIREMENT):
            refuse("retired", f"model {command.model} is retired", command.model)
    if isinstance(command, A_PERSONS) and not context.actor.human:
        refuse(
            "a-persons",
            f"{context.actor.subject} is a program: a person must decide this",
            command.model,
        )
    return ANSWERS[type(command)](command, state, context)


MODEL = decider(ModelState(), decide, evolve)


# --- a business line's appetite ----------------------------------------------------


@dataclass(frozen=True)
class AppetiteState:
    said: AppetiteSet | None = None


def decide_appetite(
    command: c.SetAppetite, state: AppetiteState, context: Context
) -> Sequence[AppetiteSet]:
    said = AppetiteSet(**dict(command), set_by=context.actor.person)
    return () if said == state.said else (said,)


def evolve_appetite(state: AppetiteState, event: AppetiteSet) -> AppetiteState:
    return AppetiteState(event)


APPETITE = decider(AppetiteState(), decide_appetite, evolve_appetite)
