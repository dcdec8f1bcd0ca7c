"""Dated departures from a rule: granted by the second line, by two where it matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.policy import (
    ExceptionExpired,
    ExceptionGranted,
    ExceptionProposed,
    ExceptionWithdrawn,
    Parties,
    RuleId,
)
from modelkeep.events.types import Instant, Person, Slug, Text, Tier

LONGEST: Final = timedelta(days=90)
TWO_PEOPLE: Final = 2
"""Up to this tier a second person must agree."""

ExceptionEvent = (
    ExceptionProposed | ExceptionGranted | ExceptionWithdrawn | ExceptionExpired
)
Reason = Annotated[Text, StringConstraints(min_length=20)]


class GrantException(Command):
    """`tier`, and `parties` who may not grant it, are what the ledger knows."""

    exception: Slug
    model: Slug
    rule: RuleId
    reason: Reason
    owner: Person
    until: Instant
    tier: Tier = 1
    parties: Parties = ()


class ApproveException(Command):
    exception: Slug


class WithdrawException(Command):
    exception: Slug
    reason: Text


class ExpireException(Command):
    """Its date has come. From a reaction to the clock."""

    exception: Slug


ExceptionCommand = (
    GrantException | ApproveException | WithdrawException | ExpireException
)
Status = Literal["none", "proposed", "granted", "expired", "withdrawn"]


@dataclass(frozen=True)
class ExceptionState:
    status: Status = "none"
    proposed: ExceptionProposed | None = None
    model: str = ""
    rule: str = ""
    owner: Person | None = None
    until: datetime | None = None


def decide(
    command: ExceptionCommand, state: ExceptionState, context: Context
) -> Sequence[ExceptionEvent]:
    match command:
        case GrantException():
            return grant(command, state, context)
        case ApproveException():
            return approve(command, state, context)
        case WithdrawException():
            return withdraw(command, state, context)
        case ExpireException():
            return expire(command, state, context)


def grant(
    command: GrantException, state: ExceptionState, context: Context
) -> Sequence[ExceptionEvent]:
    if state.status != "none":
        raise Refused(
            "policy.exception-once",
            f"exception {command.exception} is {state.status}",
            subject=command.exception,
        )
    if not context.now < command.until <= context.now + LONGEST:
        raise Refused(
            "policy.exception-dated",
            f"an exception ends within {LONGEST.days} days, and not in the past",
            subject=command.exception,
        )
    apart(command.exception, command.owner, command.parties, context)
    person, said = context.actor.person, command.model_dump(exclude={"parties"})
    if command.tier <= TWO_PEOPLE:
        return [ExceptionProposed(**said, by=person, parties=command.parties)]
    return [ExceptionGranted(**said, granted_by=(person,))]


def approve(
    command: ApproveException, state: ExceptionState, context: Context
) -> Sequence[ExceptionEvent]:
    proposed = state.proposed
    if state.status == "none" or proposed is None:
        raise NotFound("exception", command.exception)
    if state.status == "granted":
        return ()
    if state.status != "proposed" or context.now >= proposed.until:
        raise Refused(
            "policy.exception-open",
            f"exception {command.exception} is no longer open",
            subject=command.exception,
        )
    apart(command.exception, proposed.owner, proposed.parties, context)
    person = context.actor.person
    if person == proposed.by:
        raise Refused(
            "policy.separation-of-duties",
            f"{person.subject} proposed {command.exception}: another must agree",
            subject=command.exception,
        )
    said = proposed.model_dump(exclude={"by", "parties"})
    return [ExceptionGranted(**said, granted_by=(proposed.by, person))]


def apart(exception: str, owner: Person, parties: Parties, context: Context) -> None:
    person = context.actor.person
    if not context.actor.human:
        raise Refused("policy.person", "an exception is granted by people")
    why = {party.person: party.why for party in parties} | {owner: "its owner"}
    if person in why:
        raise Refused(
            "policy.separation-of-duties",
            f"{person.subject} is {why[person]}",
            subject=exception,
        )


def withdraw(
    command: WithdrawException, state: ExceptionState, context: Context
) -> Sequence[ExceptionEvent]:
    if state.status == "none":
        raise NotFound("exception", command.exception)
    if state.status in {"withdrawn", "expired"} or state.until is None:
        return ()
    return [
        ExceptionWithdrawn(
            exception=command.exception,
            model=state.model,
            rule=state.rule,
            by=context.actor.person,
            reason=command.reason,
            until=state.until,
        )
    ]


def expire(
    command: ExpireException, state: ExceptionState, context: Context
) -> Sequence[ExceptionEvent]:
    if state.owner is None or state.until is None or context.now < state.until:
        return ()
    if state.status not in {"granted", "proposed"}:
        return ()
    return [
        ExceptionExpired(
            exception=command.exception,
            model=state.model,
            rule=state.rule,
            owner=state.owner,
            until=state.until,
        )
    ]


def evolve(state: ExceptionState, event: ExceptionEvent) -> ExceptionState:
    match event:
        case ExceptionProposed():
            return replace(seen(state, event), status="proposed", proposed=event)
        case ExceptionGranted():
            return replace(seen(state, event), status="granted")
        case ExceptionWithdrawn():
            return replace(state, status="withdrawn")
        case ExceptionExpired():
            return replace(state, status="expired")


def seen(
    state: ExceptionState, event: ExceptionProposed | ExceptionGranted
) -> ExceptionState:
    return replace(
        state,
        model=event.model,
        rule=event.rule,
        owner=event.owner,
        until=event.until,
    )


EXCEPTION: Final = decider(ExceptionState(), decide, evolve)
