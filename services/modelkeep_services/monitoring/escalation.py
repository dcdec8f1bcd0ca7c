"""Who is called when nobody acts on an alert, and when: pure decisions.

A plan is made when an alert is raised, from the document in force then, and holds to
its end. A step is taken at most once, when the clock says it is due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from modelkeep.decider import Command, Context, decider
from modelkeep.events.attention import (
    AlertEscalated,
    EscalationEnded,
    EscalationHeld,
    EscalationPlanned,
    Step,
)
from modelkeep.events.types import Instant, Slug, Subject, Value
from modelkeep_services.monitoring.documents import Rules, load

EscalationEvent = EscalationPlanned | AlertEscalated | EscalationHeld | EscalationEnded


class StepRule(Value):
    """`share_of_deadline`: 1 is the moment the alert should have been resolved by."""

    role: Slug
    when: Literal["unacknowledged", "unresolved"]
    share_of_deadline: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class EscalationRules(Rules):
    steps: Annotated[tuple[StepRule, ...], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        shares = [step.share_of_deadline for step in self.steps]
        if shares != sorted(set(shares)):
            raise ValueError("steps come one after another")
        return self


RULES, DOCUMENT = load("escalation.v1.json", EscalationRules)


def steps_of(raised: datetime, due: datetime) -> tuple[Step, ...]:
    """Date the document's steps for an alert."""
    return tuple(
        Step(
            role=rule.role,
            when=rule.when,
            at=raised + (due - raised) * rule.share_of_deadline,
        )
        for rule in RULES.steps
    )


# --- commands ----------------------------------------------------------------------


class PlanEscalation(Command):
    model: Slug
    alert: Slug
    raised_at: Instant
    due_at: Instant


class Escalate(Command):
    """The clock's: what is due by `instant`. `holders` of roles then."""

    model: Slug
    alert: Slug
    instant: Instant
    holders: dict[Slug, Subject] = Field(default_factory=dict)


class HoldEscalation(Command):
    """Somebody acknowledged the alert."""

    model: Slug
    alert: Slug


class EndEscalation(Command):
    """The alert is resolved."""

    model: Slug
    alert: Slug


EscalationCommand = PlanEscalation | Escalate | HoldEscalation | EndEscalation

# --- state -------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """`taken` steps are behind, taken or passed over."""

    steps: tuple[Step, ...]
    taken: int = 0
    held: bool = False

    def coming(self) -> tuple[int, Step] | None:
        """The next step that is still to be taken, and which it is (from 1)."""
        for number, step in enumerate(self.steps, 1):
            waits = step.when == "unresolved" or not self.held
            if number > self.taken and waits:
                return number, step
        return None

    @property
    def next_at(self) -> datetime | None:
        coming = self.coming()
        return None if coming is None else coming[1].at


@dataclass(frozen=True)
class EscalationState:
    """`done` alerts are resolved: their plans are over."""

    plans: Mapping[str, Plan] = field(default_factory=dict)
    done: frozenset[str] = frozenset()


# --- decide ------------------------------------------------------------------------


def decide(
    command: EscalationCommand, state: EscalationState, _: Context
) -> Sequence[EscalationEvent]:
    plan = state.plans.get(command.alert)
    match command:
        case PlanEscalation():
            if plan is not None or command.alert in state.done:
                return []
            steps = steps_of(command.raised_at, command.due_at)
            return [
                EscalationPlanned(
                    model=command.model,
                    alert=command.alert,
                    steps=steps,
                    next_due_at=steps[0].at,
                    document=DOCUMENT,
                )
            ]
        case Escalate():
            return [] if plan is None else _escalate(command, plan)
        case HoldEscalation():
            return [] if plan is None else _hold(command, plan)
        case EndEscalation():
            return [] if plan is None else _end(command, plan)


def _escalate(command: Escalate, plan: Plan) -> Sequence[AlertEscalated]:
    """Take every step that is due: a clock that jumped brings several."""
    found: list[AlertEscalated] = []
    while (coming := plan.coming()) is not None:
        number, step = coming
        if step.at > command.instant:
            break
        plan = replace(plan, taken=number)
        found.append(
            AlertEscalated(
                model=command.model,
                alert=command.alert,
                step=number,
                role=step.role,
                to=command.holders.get(step.role),
                because=step.when,
                due_at=step.at,
                next_due_at=plan.next_at,
            )
        )
    return found


def _hold(command: HoldEscalation, plan: Plan) -> Sequence[EscalationHeld]:
    before, ahead = plan.next_at, plan.steps[plan.taken :]
    if plan.held or not any(step.when == "unacknowledged" for step in ahead):
        return []
    if before is None:
        return []
    return [
        EscalationHeld(
            model=command.model,
            alert=command.alert,
            replaces_due_at=before,
            next_due_at=replace(plan, held=True).next_at,
        )
    ]


def _end(command: EndEscalation, plan: Plan) -> Sequence[EscalationEnded]:
    if plan.next_at is None:
        return []
    return [
        EscalationEnded(
            model=command.model, alert=command.alert, replaces_due_at=plan.next_at
        )
    ]


# --- evolve ------------------------------------------------------------------------


def evolve(state: EscalationState, event: EscalationEvent) -> EscalationState:
    match event:
        case EscalationPlanned():
            return _with(state, event.alert, Plan(event.steps))
        case AlertEscalated():
            before = state.plans[event.alert]
            return _with(state, event.alert, replace(before, taken=event.step))
        case EscalationHeld():
            before = state.plans[event.alert]
            return _with(state, event.alert, replace(before, held=True))
        case EscalationEnded():
            rest = {k: p for k, p in state.plans.items() if k != event.alert}
            return EscalationState(rest, state.done | {event.alert})


def _with(state: EscalationState, alert: str, plan: Plan) -> EscalationState:
    return replace(state, plans={**state.plans, alert: plan})


ESCALATION: Final = decider(EscalationState(), decide, evolve)
