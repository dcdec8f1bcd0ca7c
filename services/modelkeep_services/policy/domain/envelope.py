"""Changes approved in advance: agreed on by the tier's quorum, used up one by one.

How often an envelope was used is decided here, in its own stream: two changes at once
cannot both have its last use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import StringConstraints, model_validator

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.policy import (
    Approval,
    Duty,
    EnvelopeApproved,
    EnvelopeExpired,
    EnvelopeGranted,
    EnvelopeProposed,
    EnvelopeTerms,
    EnvelopeUsed,
    EnvelopeVoided,
    EventId,
    Lendings,
    Parties,
    Word,
)
from modelkeep.events.types import Digest, Slug, Text, Tier
from modelkeep_services.policy.domain import seats

LONGEST: Final = timedelta(days=365)
APPROVED_WITHIN: Final = timedelta(days=14)

EnvelopeEvent = (
    EnvelopeProposed
    | EnvelopeApproved
    | EnvelopeGranted
    | EnvelopeUsed
    | EnvelopeVoided
    | EnvelopeExpired
)
Reason = Annotated[Text, StringConstraints(min_length=20)]


class BoundedTerms(EnvelopeTerms):
    """Terms as they are proposed: they bound what may change."""

    @model_validator(mode="after")
    def _bounds_something(self) -> BoundedTerms:
        bounds = (self.performance_min, self.performance_drop_max, self.psi_max)
        if not self.features and all(one is None for one in bounds):
            raise ValueError(
                "features, performance_min, performance_drop_max or psi_max: "
                "state at least one"
            )
        return self


class ProposeEnvelope(Command):
    """The last four are what the ledger and the bundle in force know of the model."""

    envelope: Slug
    terms: BoundedTerms
    reason: Reason
    tier: Tier = 1
    uses_said: EventId | None = None
    duty: Duty | None = None
    parties: Parties = ()


class ApproveEnvelope(Command):
    envelope: Slug
    digest: Digest
    lent: Lendings = ()


class WithdrawEnvelope(Command):
    envelope: Slug
    reason: Text


class VoidEnvelope(Command):
    """What it rested on has changed. From a reaction."""

    envelope: Slug
    reason: Text
    cause: EventId | None = None


class UseEnvelope(Command):
    """A change is inside. From policy, before it gives its verdict."""

    envelope: Slug
    digest: Digest
    request: Slug
    action: Word
    version: Slug | None = None


class ExpireEnvelope(Command):
    """Its date has come. From a reaction to the clock."""

    envelope: Slug


EnvelopeCommand = (
    ProposeEnvelope
    | ApproveEnvelope
    | WithdrawEnvelope
    | VoidEnvelope
    | UseEnvelope
    | ExpireEnvelope
)


@dataclass(frozen=True)
class EnvelopeState:
    status: Literal["none", "proposed", "in_force", "expired", "void"] = "none"
    proposed: EnvelopeProposed | None = None
    approvals: tuple[Approval, ...] = ()
    used: tuple[str, ...] = ()
    """The requests that used it."""


def decide(
    command: EnvelopeCommand, state: EnvelopeState, context: Context
) -> Sequence[EnvelopeEvent]:
    if isinstance(command, ProposeEnvelope):
        return propose(command, state, context)
    proposed = state.proposed
    if proposed is None:
        raise NotFound("envelope", command.envelope)
    match command:
        case ApproveEnvelope():
            return approve(command, proposed, state, context)
        case WithdrawEnvelope():
            return void(proposed, state, context, command.reason)
        case VoidEnvelope():
            return void(proposed, state, context, command.reason, command.cause)
        case UseEnvelope():
            return use(command, proposed, state, context)
        case ExpireEnvelope():
            return expire(proposed, state, context)


def digest_of(terms: EnvelopeTerms) -> str:
    """Name terms by their content; any edit makes another."""
    stated = EnvelopeTerms.model_validate(terms.model_dump())
    return "sha256:" + hashlib.sha256(stated.model_dump_json().encode()).hexdigest()


def propose(
    command: ProposeEnvelope, state: EnvelopeState, context: Context
) -> Sequence[EnvelopeEvent]:
    subject, terms, now = command.envelope, command.terms, context.now
    if state.status != "none" or command.duty is None or command.uses_said is None:
        raise Refused(
            "policy.envelope-once",
            f"envelope {subject} is {state.status}",
            subject=subject,
        )
    if not now < terms.until <= now + LONGEST:
        raise Refused(
            "policy.envelope-dated",
            f"an envelope ends within {LONGEST.days} days, and not in the past",
            subject=subject,
        )
    return [
        EnvelopeProposed(
            envelope=subject,
            terms=EnvelopeTerms.model_validate(terms.model_dump()),
            digest=digest_of(terms),
            tier=command.tier,
            uses_said=command.uses_said,
            duty=command.duty,
            parties=command.parties,
            reason=command.reason,
            by=context.actor.person,
            due_at=min(now + APPROVED_WITHIN, terms.until),
        )
    ]


def approve(
    command: ApproveEnvelope,
    proposed: EnvelopeProposed,
    state: EnvelopeState,
    context: Context,
) -> Sequence[EnvelopeEvent]:
    person, now = context.actor.person, context.now
    if any(one.by == person and one.lent == command.lent for one in state.approvals):
        return ()
    open_for(command, proposed, state, context)
    word = Approval(
        by=person,
        roles=tuple(sorted(context.actor.roles)),
        at=now,
        request=command.envelope,
        lent=command.lent,
    )
    approvals = seats.last_words(state.approvals, word)
    owed = seats.owed([proposed.duty], proposed.parties, approvals, now)
    heard = EnvelopeApproved(
        envelope=proposed.envelope,
        model=proposed.terms.model,
        digest=proposed.digest,
        by=word.by,
        roles=word.roles,
        lent=word.lent,
        at=now,
        owed=owed,
    )
    if owed:
        return [heard]
    return [
        heard,
        EnvelopeGranted(
            **about(proposed),
            digest=proposed.digest,
            approvals=seats.counting([proposed.duty], proposed.parties, approvals, now),
        ),
    ]


def open_for(
    command: ApproveEnvelope,
    proposed: EnvelopeProposed,
    state: EnvelopeState,
    context: Context,
) -> None:
    """Refuse whoever may not approve it, now, on those terms."""
    actor, subject = context.actor, command.envelope
    if state.status != "proposed" or context.now >= proposed.due_at:
        raise Refused(
            "policy.envelope-open",
            f"envelope {subject} is no longer open",
            subject=subject,
        )
    if command.digest != proposed.digest:
        raise Refused(
            "policy.stale-digest",
            f"the terms of {subject} are {proposed.digest}, not {command.digest}",
            subject=subject,
        )
    if not actor.human:
        raise Refused("policy.person", "an approval is a person's")
    why = seats.why_not(
        actor.person, actor.roles, [proposed.duty], proposed.parties, command.lent
    )
    if why is not None:
        rule = "policy.separation-of-duties" if why[:3] == "is " else "policy.no-seat"
        raise Refused(
            rule, f"{actor.subject} {why} and cannot approve {subject}", subject=subject
        )


def use(
    command: UseEnvelope,
    proposed: EnvelopeProposed,
    state: EnvelopeState,
    context: Context,
) -> Sequence[EnvelopeEvent]:
    if command.request in state.used:
        return ()
    terms, done = proposed.terms, len(state.used)
    good = (
        state.status == "in_force"
        and command.digest == proposed.digest
        and context.now < terms.until
        and command.action in terms.actions
        and done < terms.uses
    )
    if not good:
        raise Refused(
            "policy.envelope-in-force",
            f"envelope {command.envelope} covers nothing now",
            subject=command.envelope,
        )
    return [
        EnvelopeUsed(
            envelope=command.envelope,
            model=terms.model,
            digest=proposed.digest,
            request=command.request,
            action=command.action,
            version=command.version,
            use=done + 1,
            uses=terms.uses,
            until=terms.until,
        )
    ]


def void(
    proposed: EnvelopeProposed,
    state: EnvelopeState,
    context: Context,
    reason: str,
    cause: str | None = None,
) -> Sequence[EnvelopeEvent]:
    if state.status not in {"proposed", "in_force"}:
        return ()
    return [
        EnvelopeVoided(
            **about(proposed), reason=reason, cause=cause, by=context.actor.person
        )
    ]


def expire(
    proposed: EnvelopeProposed, state: EnvelopeState, context: Context
) -> Sequence[EnvelopeEvent]:
    if state.status not in {"proposed", "in_force"} or context.now < ends(
        proposed, state
    ):
        return ()
    return [EnvelopeExpired(**about(proposed))]


def ends(proposed: EnvelopeProposed, state: EnvelopeState) -> datetime:
    return proposed.due_at if state.status == "proposed" else proposed.terms.until


def about(proposed: EnvelopeProposed) -> dict[str, object]:
    return {
        "envelope": proposed.envelope,
        "model": proposed.terms.model,
        "due_at": proposed.due_at,
        "until": proposed.terms.until,
    }


def word(event: EnvelopeApproved) -> Approval:
    return Approval(
        by=event.by,
        roles=event.roles,
        at=event.at,
        request=event.envelope,
        lent=event.lent,
    )


def evolve(state: EnvelopeState, event: EnvelopeEvent) -> EnvelopeState:
    match event:
        case EnvelopeProposed():
            return EnvelopeState("proposed", event)
        case EnvelopeApproved():
            words = seats.last_words(state.approvals, word(event))
            return replace(state, approvals=words)
        case EnvelopeGranted():
            return replace(state, status="in_force")
        case EnvelopeUsed():
            return replace(state, used=(*state.used, event.request))
        case EnvelopeVoided():
            return replace(state, status="void")
        case EnvelopeExpired():
            return replace(state, status="expired")


ENVELOPE: Final = decider(EnvelopeState(), decide, evolve)
