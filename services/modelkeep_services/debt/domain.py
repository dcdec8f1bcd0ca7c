"""What may happen to a liability. Its books only go forward.

Every change first charges what has accrued, month by month, so each posting lies in the
month it belongs to, and nothing is changed before what was posted last.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import model_validator

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import Invalid, NotFound, Refused
from modelkeep.events.debt import (
    DebtKind,
    DragRecorded,
    Incurred,
    Minutes,
    Origin,
)
from modelkeep.events.types import (
    Instant,
    Money,
    Person,
    RiskVector,
    Severity,
    Slug,
    Subject,
    Text,
    Tier,
    Title,
)
from modelkeep_services.debt.accrual import month_end
from modelkeep_services.debt.books import Books, cost_of, moved
from modelkeep_services.debt.liability import Liability, LiabilityEvent, evolve
from modelkeep_services.debt.rates import CARD

BY_HAND: Final = frozenset({"hand", "exception"})
"""Origins that a person may cure; the others are cured by what caused them."""


# --- commands ----------------------------------------------------------------------


class Incur(Command):
    """`tier` is the model's, as our views know it; no caller says it."""

    liability: Slug
    model: Slug
    kind: DebtKind
    vector: RiskVector
    title: Title
    severity: Severity
    minutes: Minutes
    money: Money | None = None
    owner: Subject
    due_at: Instant | None = None
    tier: Tier = CARD.tier_when_unclassified


class IncurByCause(Incur):
    """From another service's event."""

    origin: Origin
    source: Slug


class Reassess(Command):
    liability: Slug
    reason: Text
    severity: Severity | None = None
    minutes: Minutes | None = None
    money: Money | None = None
    owner: Subject | None = None
    due_at: Instant | None = None


class Retier(Command):
    """Its model is of another tier now."""

    tier: Tier
    reason: Text


class LinkIncident(Command):
    liability: Slug
    group: Slug


class LinkIncidentByCause(Command):
    group: Slug


class Cure(Command):
    liability: Slug
    evidence: Text


class CureByCause(Command):
    evidence: Text
    source: Slug


class Accept(Command):
    liability: Slug
    until: Instant
    reason: Text


class AcceptByCause(Command):
    """Accepted where it came from, by someone entitled there."""

    until: Instant
    reason: Text
    by: Person


class FallDue(Command):
    """The clock has come to `instant`."""

    instant: Instant


class RecordDrag(Command):
    liability: Slug
    start: Instant
    end: Instant
    minutes: Minutes = 0
    money: Money | None = None
    method: Text
    evidence: Text

    @model_validator(mode="after")
    def _of_something(self) -> RecordDrag:
        if self.end <= self.start:
            raise Invalid.field("end", "is not after start")
        if not self.minutes and self.money is None:
            raise Invalid.field("minutes", "or money: something was lost")
        return self


LiabilityCommand = (
    Incur
    | IncurByCause
    | Reassess
    | Retier
    | LinkIncident
    | LinkIncidentByCause
    | Cure
    | CureByCause
    | Accept
    | AcceptByCause
    | FallDue
    | RecordDrag
)


# --- decisions ---------------------------------------------------------------------


def decide(
    command: LiabilityCommand, state: Liability | None, context: Context
) -> Sequence[LiabilityEvent]:
    match command:
        case Incur():
            return _enter(command, state, context)
        case Retier() | LinkIncidentByCause() | CureByCause() | AcceptByCause():
            return _caused(command, state, context)
        case FallDue():
            if state is None:
                return ()
            return Books(state, state.upto).fall_due(command.instant)
        case _:
            if state is None:
                raise NotFound("liability", command.liability)
            _not_ahead(context)
            return _by_hand(command, state, context)


def _enter(
    command: Incur, state: Liability | None, context: Context
) -> Sequence[LiabilityEvent]:
    if isinstance(command, IncurByCause):
        if state is not None and state.cured_at is None:
            return ()
        return [_incurred(command, context, command.origin, command.source)]
    if state is not None:
        raise Refused(
            "debt.incurred-once",
            f"liability {state.liability} is {state.status}",
            subject=state.liability,
        )
    _not_ahead(context)
    return [_incurred(command, context, "hand", None)]


def _by_hand(
    command: Reassess | LinkIncident | Cure | Accept | RecordDrag,
    state: Liability,
    context: Context,
) -> Sequence[LiabilityEvent]:
    by, at = context.actor.person, context.effective_at
    if isinstance(command, RecordDrag):
        return [_drag(command, state, context)]
    _check_books(state, at)
    match command:
        case Reassess():
            new = _reassessment(command, state)
            unchanged = {**new, **_as_it_is(state)} == new
            return () if unchanged else Books(state, at).reassess(new)
        case LinkIncident():
            known = command.group in state.incidents
            return () if known else Books(state, at).link(command.group)
        case Cure():
            _check_curable(state)
            return Books(state, at).cure(by, command.evidence)
        case Accept():
            _check_acceptance(command, state, context)
            return Books(state, at).accept(by, command.until, command.reason)


def _caused(
    command: Retier | LinkIncidentByCause | CureByCause | AcceptByCause,
    state: Liability | None,
    context: Context,
) -> Sequence[LiabilityEvent]:
    """What others did: to a liability that is not there, or no more, it means nothing.

    Nobody is asked again, so a moment before the books' is taken to be theirs.
    """
    if state is None or state.cured_at is not None:
        return ()
    at = max(min(context.effective_at, context.now), state.upto)
    match command:
        case Retier():
            new = _as_it_is(state) | {"tier": command.tier, "reason": command.reason}
            same = command.tier == state.tier
            return () if same else Books(state, at).reassess(new)
        case LinkIncidentByCause():
            known = command.group in state.incidents
            return () if known else Books(state, at).link(command.group)
        case CureByCause():
            by = context.actor.person
            return Books(state, at).cure(by, command.evidence, command.source)
        case AcceptByCause():
            late = command.until <= at or state.accepted_until is not None
            if late:
                return ()
            return Books(state, at).accept(command.by, command.until, command.reason)


def _not_ahead(context: Context) -> None:
    if context.effective_at > context.now:
        raise Refused("debt.not-ahead", "what has not happened yet cannot be entered")


def _check_books(state: Liability, at: datetime) -> None:
    if state.cured_at is not None:
        raise Refused(
            "debt.cured",
            f"liability {state.liability} is cured",
            subject=state.liability,
        )
    if at < state.upto:
        raise Refused(
            "debt.in-order",
            f"the books of {state.liability} are closed up to {state.upto}",
            subject=state.liability,
        )


def _check_curable(state: Liability) -> None:
    if state.origin not in BY_HAND:
        raise Refused(
            "debt.cured-by-its-cause",
            f"liability {state.liability} ends with its {state.origin}",
            subject=state.liability,
        )


def _check_acceptance(command: Accept, state: Liability, context: Context) -> None:
    actor = context.actor
    if state.accepted_until is not None:
        raise Refused(
            "debt.accepted",
            f"liability {state.liability} is accepted until {state.accepted_until}",
            subject=state.liability,
        )
    own = actor.subject == state.owner or actor.person == state.by
    if own or not actor.human:
        raise Refused(
            "debt.accepted-by-another",
            f"{actor.subject} may not accept what they owe or entered",
            subject=state.liability,
        )
    latest = context.now + timedelta(days=CARD.acceptance_days)
    if not context.now < command.until <= latest:
        raise Refused(
            "debt.acceptance-expires",
            f"an acceptance ends after now and within {CARD.acceptance_days} days",
            subject=state.liability,
        )


# --- what happens ------------------------------------------------------------------


def _incurred(
    command: Incur, context: Context, origin: Origin, source: str | None
) -> Incurred:
    since = min(context.effective_at, context.now)
    return Incurred(
        liability=command.liability,
        model=command.model,
        kind=command.kind,
        vector=command.vector,
        origin=origin,
        title=command.title,
        severity=command.severity,
        tier=command.tier,
        minutes=command.minutes,
        money=command.money,
        points_per_30d=CARD.points_per_30d(command.severity, command.tier, 0),
        overdue_times=CARD.overdue_times,
        owner=command.owner,
        since=since,
        due_at=command.due_at,
        card=CARD.card,
        source=source,
        by=context.actor.person,
        entries=moved("incurred", "owed", cost_of(command.minutes, command.money)),
        awaits=month_end(since),
    )


def _drag(command: RecordDrag, state: Liability, context: Context) -> DragRecorded:
    lost = cost_of(command.minutes, command.money)
    return DragRecorded(
        liability=state.liability,
        model=state.model,
        start=command.start,
        end=command.end,
        minutes=command.minutes,
        money=command.money,
        method=command.method,
        evidence=command.evidence,
        by=context.actor.person,
        entries=moved("drag_measured", "drag", lost),
        awaited=state.awaits,
        awaits=state.awaits,
    )


def _as_it_is(state: Liability) -> dict[str, object]:
    names = ("severity", "tier", "minutes", "money", "owner", "due_at")
    return {name: getattr(state, name) for name in names}


def _reassessment(command: Reassess, state: Liability) -> dict[str, object]:
    said = {
        name: value
        for name, value in dict(command).items()
        if value is not None and name != "liability"
    }
    return _as_it_is(state) | said


LIABILITY = decider(None, decide, evolve)
