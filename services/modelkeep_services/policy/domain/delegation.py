"""A role that is lent: by who holds it, to one other person, for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.policy import (
    Delegated,
    DelegationExpired,
    DelegationRevoked,
    Models,
    Word,
    Words,
)
from modelkeep.events.types import Instant, Person, Slug, Text

LONGEST: Final = timedelta(days=90)
COMPULSORY: Final = "risk_officer"
"""Who may end what others lent."""

DelegationEvent = Delegated | DelegationRevoked | DelegationExpired


class Delegate(Command):
    delegation: Slug
    to: Person
    role: Word
    models: Models = ()
    business_lines: Models = ()
    actions: Words = ()
    until: Instant
    reason: Text


class RevokeDelegation(Command):
    delegation: Slug
    reason: Text


class ExpireDelegation(Command):
    """Its date has come. From a reaction to the clock."""

    delegation: Slug


DelegationCommand = Delegate | RevokeDelegation | ExpireDelegation


@dataclass(frozen=True)
class DelegationState:
    status: Literal["none", "in_force", "revoked", "expired"] = "none"
    lent: Delegated | None = None


def decide(
    command: DelegationCommand, state: DelegationState, context: Context
) -> Sequence[DelegationEvent]:
    if isinstance(command, Delegate):
        return lend(command, state, context)
    lent = state.lent
    if lent is None:
        raise NotFound("delegation", command.delegation)
    match command:
        case RevokeDelegation():
            return revoke(command, lent, state, context)
        case ExpireDelegation():
            return expire(lent, state, context)


def lend(
    command: Delegate, state: DelegationState, context: Context
) -> Sequence[DelegationEvent]:
    actor, subject = context.actor, command.delegation
    if state.status != "none":
        raise Refused(
            "policy.delegation-once",
            f"delegation {subject} is {state.status}",
            subject=subject,
        )
    if not actor.human:
        raise Refused("policy.person", "a role is lent by people")
    # Credentials hold no role that was lent, so nothing is ever lent on.
    if command.role not in actor.roles:
        raise Refused(
            "policy.delegation-held",
            f"{actor.subject} does not hold {command.role}: what was lent to one "
            "cannot be lent on",
            subject=subject,
        )
    if command.to == actor.person:
        raise Refused(
            "policy.delegation-apart",
            f"{actor.subject} cannot lend a role to themselves",
            subject=subject,
        )
    if not context.now < command.until <= context.now + LONGEST:
        raise Refused(
            "policy.delegation-dated",
            f"a delegation ends within {LONGEST.days} days, and not in the past",
            subject=subject,
        )
    return [Delegated(**dict(command), lender=actor.person)]


def revoke(
    command: RevokeDelegation,
    lent: Delegated,
    state: DelegationState,
    context: Context,
) -> Sequence[DelegationEvent]:
    actor = context.actor
    if actor.person != lent.lender and COMPULSORY not in actor.roles:
        raise Refused(
            "policy.delegation-lender",
            f"{command.delegation} is {lent.lender.subject}'s to revoke, "
            f"or a {COMPULSORY}'s",
            subject=command.delegation,
        )
    if state.status != "in_force":
        return ()
    return [DelegationRevoked(**about(lent), by=actor.person, reason=command.reason)]


def expire(
    lent: Delegated, state: DelegationState, context: Context
) -> Sequence[DelegationEvent]:
    if state.status != "in_force" or context.now < lent.until:
        return ()
    return [DelegationExpired(**about(lent))]


def about(lent: Delegated) -> dict[str, object]:
    return {
        "delegation": lent.delegation,
        "lender": lent.lender,
        "to": lent.to,
        "until": lent.until,
    }


def evolve(state: DelegationState, event: DelegationEvent) -> DelegationState:
    match event:
        case Delegated():
            return DelegationState("in_force", event)
        case DelegationRevoked():
            return replace(state, status="revoked")
        case DelegationExpired():
            return replace(state, status="expired")


DELEGATION: Final = decider(DelegationState(), decide, evolve)
