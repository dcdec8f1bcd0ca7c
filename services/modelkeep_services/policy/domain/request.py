"""One question and all that people answered: quorum and duties are enforced here.

A request is given a verdict once. What is owed is asked of people; the approval that
fills the last seat settles the verdict in the same append. Whatever changes what was
approved revokes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.policy import (
    Approval,
    ApprovalOverdue,
    ApprovalRequested,
    Approved,
    BrokeGlass,
    Conditions,
    EventId,
    GlassBreakAsked,
    GlassReviewed,
    GlassReviewOverdue,
    Judgement,
    Lendings,
    Rejected,
    Short,
    VerdictGiven,
    VerdictRevoked,
    VerdictSettled,
    Word,
)
from modelkeep.events.types import (
    Count,
    Digest,
    Finite,
    Instant,
    Sealed,
    Share,
    Slug,
    Text,
    Value,
)
from modelkeep_services.policy.domain import seats

SET_TRAFFIC: Final = "set_traffic"
ADMIT: Final = "admit"
APPROVALS_WITHIN: Final = timedelta(days=14)
SECOND_WITHIN: Final = timedelta(hours=1)
GLASS_LASTS: Final = timedelta(hours=4)
REVIEW_WITHIN: Final = timedelta(hours=72)
REASON_LENGTH: Final = 2_000

RequestEvent = (
    VerdictGiven
    | ApprovalRequested
    | Approved
    | Rejected
    | ApprovalOverdue
    | VerdictSettled
    | VerdictRevoked
    | GlassBreakAsked
    | BrokeGlass
    | GlassReviewed
    | GlassReviewOverdue
)


class FeatureFigure(Value):
    name: Short
    psi: Finite | None = None
    missing_rate: Share | None = None


class StatedEvidence(Value):
    performance_metric: Short = "auc"
    performance: Finite | None = None
    champion_performance: Finite | None = None
    sample_size: Count | None = None
    feature_count: Count | None = None
    features: Annotated[tuple[FeatureFigure, ...], Field(max_length=1_000)] = ()
    metrics: dict[Short, Finite] = Field(default_factory=dict, max_length=256)
    explained_share: Share | None = None
    sources: Annotated[tuple[EventId, ...], Field(max_length=20)] = ()


class StatedRetraining(Value):
    unattended: bool | None = None
    challenger_performance: Finite | None = None
    champion_performance: Finite | None = None


class Evaluate(Command):
    """`judgement` is what the active bundle says of it, added before it is decided."""

    action: Word
    model: Slug
    version: Slug | None = None
    digest: Digest | None = None
    environment: Word | None = None
    use: Slug | None = None
    traffic_share: Share | None = None
    evidence: StatedEvidence = StatedEvidence()
    retraining: StatedRetraining = StatedRetraining()
    remedies_cause: bool | None = None
    target_version: Slug | None = None
    approvals_due_at: Instant | None = None
    hold_approvals: bool = False
    not_before: Count = 0
    judgement: Judgement | None = None


class Admit(Evaluate):
    """A serving stack asks whether it may serve. `nonce` comes back in its permit."""

    action: Word = ADMIT
    version: Slug
    digest: Digest
    environment: Word
    nonce: Short = ""


class RenewPermit(Command):
    """`judgement` is what the active bundle says now, added before it is decided."""

    request: Slug
    nonce: Short = ""
    judgement: Judgement | None = None


class RequestApproval(Command):
    request: Slug
    approvals_due_at: Instant | None = None


class Approve(Command):
    """`lent` are the roles that others lent to who approves: known, and never asked."""

    request: Slug
    digest: Digest
    comment: Sealed | None = None
    lent: Lendings = ()


class ApproveWithConditions(Command):
    request: Slug
    digest: Digest
    comment: Sealed | None = None
    conditions: Conditions = ()
    max_traffic_share: Share | None = None
    expires_at: Instant
    lent: Lendings = ()

    @model_validator(mode="after")
    def _says_something(self) -> ApproveWithConditions:
        if not self.conditions and self.max_traffic_share is None:
            raise ValueError("conditions or max_traffic_share: state at least one")
        return self


class Reject(Command):
    request: Slug
    digest: Digest
    reason: Text
    lent: Lendings = ()


class RevokeVerdict(Command):
    request: Slug
    reason: Text
    cause: EventId | None = None


class LapseApproval(Command):
    """The time for approvals is over. From a reaction to the clock."""

    request: Slug


class EndCondition(Command):
    """The conditional approvals end. From a reaction to the clock."""

    request: Slug


class BreakGlass(Command):
    request: Slug
    digest: Digest
    reason: Annotated[Text, StringConstraints(min_length=20)]
    lasts: Annotated[timedelta, Field(gt=timedelta(0), le=GLASS_LASTS)] = GLASS_LASTS


class ConfirmBreakGlass(Command):
    request: Slug
    digest: Digest


class ReviewBreakGlass(Command):
    request: Slug
    justified: bool
    notes: Text


class ChaseReview(Command):
    """The time for a review is over. From a reaction to the clock."""

    request: Slug


RequestCommand = (
    Evaluate
    | RenewPermit
    | RequestApproval
    | Approve
    | ApproveWithConditions
    | Reject
    | RevokeVerdict
    | LapseApproval
    | EndCondition
    | BreakGlass
    | ConfirmBreakGlass
    | ReviewBreakGlass
    | ChaseReview
)
Status = Literal["none", "pending", "allowed", "denied", "revoked"]


@dataclass(frozen=True)
class RequestState:
    status: Status = "none"
    given: VerdictGiven | None = None
    due_at: datetime | None = None
    approvals: tuple[Approval, ...] = ()
    condition_until: datetime | None = None
    asked_glass: GlassBreakAsked | None = None
    asked_glass_at: datetime | None = None
    broke: BrokeGlass | None = None
    review: Literal["none", "owed", "overdue", "done"] = "none"


def decide(  # noqa: C901, PLR0911, PLR0912  # one answer a command
    command: RequestCommand, state: RequestState, context: Context
) -> Sequence[RequestEvent]:
    if isinstance(command, Evaluate):
        return give(command, state, context)
    given = state.given
    if given is None:
        raise NotFound("request", command.request)
    match command:
        case RenewPermit():
            return renew(command, given, state, context)
        case RequestApproval():
            return ask(command, given, state, context)
        case Approve() | ApproveWithConditions():
            return approve(command, given, state, context)
        case Reject():
            return reject(command, given, state, context)
        case RevokeVerdict():
            return revoke(command, given, state, context)
        case LapseApproval():
            return lapse(given, state, context)
        case EndCondition():
            return end_condition(given, state, context)
        case BreakGlass():
            return ask_glass(command, given, state, context)
        case ConfirmBreakGlass():
            return break_glass(command, given, state, context)
        case ReviewBreakGlass():
            return review(command, given, state, context)
        case ChaseReview():
            return chase(state, context)


# --- the verdict -------------------------------------------------------------------


def give(
    command: Evaluate, state: RequestState, context: Context
) -> Sequence[RequestEvent]:
    judged, request = command.judgement, context.command_id
    if judged is None or state.given is not None:
        raise Refused("policy.judged-once", f"request {request} cannot be judged")
    given = VerdictGiven(**dict(judged), request=request)
    match judged.verdict:
        case "pending" if command.hold_approvals:
            return [given]
        case "pending":
            return [given, requested(given, command.approvals_due_at, context.now)]
        case "allow":
            quorate(given, context.now)
            return [given, allowed(given, judged.approvals, context.now, None)]
        case "deny":
            return [given, denied(given, judged.reasons, None)]


def quorate(given: VerdictGiven, now: datetime) -> None:
    """Whatever it was judged by: what people owe is decided here."""
    owed = seats.owed(given.duties, given.parties, given.approvals, now)
    if owed and given.envelope is None:
        raise Refused(
            "policy.quorum",
            f"{owed[0].count} of {owed[0].of} {owed[0].role} must still approve",
            subject=given.request,
        )


def requested(
    given: VerdictGiven, due_at: datetime | None, now: datetime
) -> ApprovalRequested:
    due = due_at or min(now + APPROVALS_WITHIN, given.expires_at)
    if not now < due <= given.expires_at:
        raise Refused(
            "policy.approval-dated",
            f"approvals must be due before {given.expires_at:%Y-%m-%d %H:%M} "
            "and not in the past",
            subject=given.request,
        )
    return ApprovalRequested(**about(given), quorum=given.owed, due_at=due)


def ask(
    command: RequestApproval,
    given: VerdictGiven,
    state: RequestState,
    context: Context,
) -> Sequence[RequestEvent]:
    undecided(given, state)
    if state.due_at is not None:
        return ()
    return [requested(given, command.approvals_due_at, context.now)]


def about(given: VerdictGiven) -> dict[str, object]:
    """What every event on a request says of it."""
    return {
        "request": given.request,
        "action": given.action,
        "model": given.model,
        "version": given.version,
        "digest": given.digest,
        "environment": given.environment,
        "tier": given.tier,
        "requested_by": given.requested_by,
    }


def allowed(
    given: VerdictGiven,
    approvals: Sequence[Approval],
    now: datetime,
    due_at: datetime | None,
) -> VerdictSettled:
    """Settle as ALLOW until the first of what it rests on is no longer good."""
    counted = seats.counting(given.duties, given.parties, approvals, now)
    ends = [
        end
        for duty in given.duties
        for one in counted
        if (end := seats.good_until(one, duty)) > now
    ]
    shares = [
        one.max_traffic_share for one in counted if one.max_traffic_share is not None
    ]
    if given.action == SET_TRAFFIC and given.traffic_share is not None:
        shares.append(given.traffic_share)  # the rules were asked about no more
    if given.ceiling is not None:
        shares.append(given.ceiling)
    if given.envelope is not None:
        ends.append(given.envelope.until)
        if given.envelope.max_traffic_share is not None:
            shares.append(given.envelope.max_traffic_share)
    return VerdictSettled(
        **about(given),
        verdict="allow",
        bundle=given.bundle,
        facts_digest=given.facts_digest,
        reasons=given.reasons if not given.owed else (),
        approvals=counted,
        conditions=tuple(
            dict.fromkeys(said for one in counted for said in one.conditions)
        ),
        max_traffic_share=min(shares, default=None),
        waivers=given.waivers,
        envelope=given.envelope,
        expires_at=min([given.expires_at, *ends, *(w.until for w in given.waivers)]),
        approvals_due_at=due_at,
    )


def denied(
    given: VerdictGiven, reasons: Sequence[str], due_at: datetime | None
) -> VerdictSettled:
    return VerdictSettled(
        **about(given),
        verdict="deny",
        bundle=given.bundle,
        facts_digest=given.facts_digest,
        reasons=tuple(reasons),
        approvals_due_at=due_at,
    )


def renew(
    command: RenewPermit, given: VerdictGiven, state: RequestState, context: Context
) -> Sequence[RequestEvent]:
    """Record nothing while the answer is the same; what it rested on is void if not."""
    judged = command.judgement
    if given.action != ADMIT or judged is None:
        raise Refused(
            "policy.admission",
            f"request {given.request} was to {given.action}: it has no permit",
            subject=given.request,
        )
    if given.requested_by != context.actor.person:
        raise Refused(
            "policy.own-permit",
            f"the permit of {given.request} is {given.requested_by.subject}'s",
            subject=given.request,
        )
    if judged.verdict == "allow":
        return ()
    why = "; ".join(judged.reasons) or f"the answer is {judged.verdict} now"
    command_ = RevokeVerdict(request=given.request, reason=why[:REASON_LENGTH])
    return revoke(command_, given, state, context)


# --- people ------------------------------------------------------------------------


def approve(
    command: Approve | ApproveWithConditions,
    given: VerdictGiven,
    state: RequestState,
    context: Context,
) -> Sequence[RequestEvent]:
    person = context.actor.person
    heard = said(command, given, context)
    if state.status == "allowed" and any(same(heard, one) for one in state.approvals):
        return ()
    seated(command, given, state, context)
    within(command, given, context.now)
    if any(same(heard, one) for one in state.approvals):
        return ()
    approvals = seats.last_words(state.approvals, heard)
    owed = seats.owed(given.duties, given.parties, approvals, context.now)
    event = Approved(
        request=given.request,
        model=given.model,
        action=given.action,
        environment=given.environment,
        digest=command.digest,
        by=person,
        roles=heard.roles,
        at=heard.at,
        comment=command.comment,
        conditions=heard.conditions,
        max_traffic_share=heard.max_traffic_share,
        expires_at=heard.expires_at,
        owed=owed,
        lent=heard.lent,
    )
    if owed:
        return [event]
    return [event, allowed(given, approvals, context.now, state.due_at)]


def said(
    command: Approve | ApproveWithConditions, given: VerdictGiven, context: Context
) -> Approval:
    heard = Approval(
        by=context.actor.person,
        roles=tuple(sorted(context.actor.roles)),
        at=context.now,
        request=given.request,
        lent=command.lent,
    )
    if isinstance(command, Approve):
        return heard
    limits = {
        "expires_at": command.expires_at,
        "conditions": command.conditions,
        "max_traffic_share": command.max_traffic_share,
    }
    return heard.model_copy(update=limits)


def same(one: Approval, other: Approval) -> bool:
    """Whether a person says again what they said in this very request."""
    return one == other.model_copy(update={"at": one.at})


def seated(
    command: Approve | ApproveWithConditions,
    given: VerdictGiven,
    state: RequestState,
    context: Context,
) -> None:
    """Refuse whoever may not speak on this, now, on that digest."""
    open_for(command.digest, given, state, context.now)
    if not context.actor.human:
        raise Refused("policy.person", "an approval is a person's")
    why = seats.why_not(
        context.actor.person,
        context.actor.roles,
        given.duties,
        given.parties,
        command.lent,
    )
    if why is not None:
        rule = "policy.separation-of-duties" if why[:3] == "is " else "policy.no-seat"
        raise Refused(
            rule,
            f"{context.actor.subject} {why} and cannot approve {given.model}",
            subject=given.request,
        )


def open_for(
    digest: str, given: VerdictGiven, state: RequestState, now: datetime
) -> None:
    undecided(given, state)
    if state.due_at is None:
        raise Refused(
            "policy.approval-requested",
            f"nobody has asked for approvals of {given.request}",
            subject=given.request,
        )
    if digest != given.digest:
        raise Refused(
            "policy.stale-digest",
            f"{given.request} is about {given.digest}, not {digest}",
            subject=given.request,
        )
    if now >= state.due_at:
        raise Refused(
            "policy.approval-overdue",
            f"approvals of {given.request} were due {state.due_at:%Y-%m-%d %H:%M}",
            subject=given.request,
        )


def undecided(given: VerdictGiven, state: RequestState) -> None:
    if state.status != "pending":
        raise Refused(
            "policy.settled",
            f"request {given.request} is {state.status}",
            subject=given.request,
        )


def within(
    command: Approve | ApproveWithConditions, given: VerdictGiven, now: datetime
) -> None:
    if not isinstance(command, ApproveWithConditions):
        return
    if command.expires_at <= now:
        raise Refused(
            "policy.expired-approval",
            "an approval cannot end before it begins",
            subject=given.request,
        )
    most, asked = command.max_traffic_share, given.traffic_share
    if most is not None and asked is not None and asked > most:
        raise Refused(
            "policy.beyond-condition",
            f"{given.request} asks for a traffic share of {asked:g}, beyond {most:g}",
            subject=given.request,
        )


def reject(
    command: Reject, given: VerdictGiven, state: RequestState, context: Context
) -> Sequence[RequestEvent]:
    person = context.actor.person
    open_for(command.digest, given, state, context.now)
    if not context.actor.human:
        raise Refused("policy.person", "a rejection is a person's")
    # Who wrote or owns it may reject it: that is no conflict of duties.
    roles = context.actor.roles | {one.role for one in command.lent}
    if not seats.wanted(given.duties) & roles:
        raise Refused(
            "policy.no-seat",
            f"{person.subject} holds no role that is asked for",
            subject=given.request,
        )
    return [
        Rejected(
            request=given.request,
            model=given.model,
            action=given.action,
            environment=given.environment,
            digest=command.digest,
            by=person,
            roles=tuple(sorted(context.actor.roles)),
            at=context.now,
            reason=command.reason,
            lent=command.lent,
        ),
        denied(given, [f"{person.subject} rejected it: {command.reason}"[:4_000]],
               state.due_at),
    ]  # fmt: skip


def revoke(
    command: RevokeVerdict, given: VerdictGiven, state: RequestState, context: Context
) -> Sequence[RequestEvent]:
    if state.status not in {"pending", "allowed"}:
        return ()
    return [revoked(given, state, context, command.reason, command.cause)]


def revoked(
    given: VerdictGiven,
    state: RequestState,
    context: Context,
    reason: str,
    cause: str | None,
) -> VerdictRevoked:
    return VerdictRevoked(
        request=given.request,
        action=given.action,
        model=given.model,
        version=given.version,
        digest=given.digest,
        environment=given.environment,
        reason=reason,
        cause=cause,
        by=context.actor.person,
        approvals_due_at=state.due_at,
        condition_until=state.condition_until,
    )


def end_condition(
    given: VerdictGiven, state: RequestState, context: Context
) -> Sequence[RequestEvent]:
    until = state.condition_until
    if state.status != "allowed" or until is None or context.now < until:
        return ()
    reason = f"its conditional approval ended on {until:%Y-%m-%d %H:%M}"
    return [revoked(given, state, context, reason, context.cause)]


def lapse(
    given: VerdictGiven, state: RequestState, context: Context
) -> Sequence[RequestEvent]:
    if state.status != "pending" or state.due_at is None or context.now < state.due_at:
        return ()
    owed = seats.owed(given.duties, given.parties, state.approvals, context.now)
    said = [f"{one.count} of {one.of} {one.role} had not approved" for one in owed]
    when = f"when approvals were due on {state.due_at:%Y-%m-%d %H:%M}"
    late = ApprovalOverdue(**about(given), owed=owed, due_at=state.due_at)
    return [late, denied(given, [f"{one} {when}" for one in said], state.due_at)]


# --- breaking the glass ------------------------------------------------------------


def ask_glass(
    command: BreakGlass, given: VerdictGiven, state: RequestState, context: Context
) -> Sequence[RequestEvent]:
    breakable(command.digest, given, state)
    if not context.actor.human:
        raise Refused("policy.person", "glass is broken by people")
    before = state.asked_glass
    if before is not None and context.now < before.second_due_at:
        raise Refused(
            "policy.glass-asked",
            f"{before.by.subject} asked for it: a second person must confirm",
            subject=given.request,
        )
    return [
        GlassBreakAsked(
            request=given.request,
            model=given.model,
            digest=command.digest,
            by=context.actor.person,
            roles=tuple(sorted(context.actor.roles)),
            reason=command.reason,
            lasts_s=int(command.lasts.total_seconds()),
            second_due_at=context.now + SECOND_WITHIN,
        )
    ]


def breakable(digest: str, given: VerdictGiven, state: RequestState) -> None:
    if state.status not in {"pending", "denied"} or not given.rules:
        raise Refused(
            "policy.glass-breakable",
            f"request {given.request} is {state.status}"
            if given.rules
            else f"{given.action} is no action that {given.bundle_name} knows",
            subject=given.request,
        )
    if digest != given.digest:
        raise Refused(
            "policy.stale-digest",
            f"{given.request} is about {given.digest}, not {digest}",
            subject=given.request,
        )


def break_glass(
    command: ConfirmBreakGlass,
    given: VerdictGiven,
    state: RequestState,
    context: Context,
) -> Sequence[RequestEvent]:
    asked, person = state.asked_glass, context.actor.person
    if state.broke is not None and state.broke.second_approver == person:
        return ()
    breakable(command.digest, given, state)
    if asked is None or context.now >= asked.second_due_at:
        raise Refused(
            "policy.glass-asked",
            f"nobody asks to break the glass of {given.request} now",
            subject=given.request,
        )
    why = {one.person: one.why for one in given.parties} | {asked.by: "who asked"}
    if not context.actor.human or person in why:
        raise Refused(
            "policy.separation-of-duties",
            f"{person.subject} is {why.get(person, 'no person')}",
            subject=given.request,
        )
    until = context.now + timedelta(seconds=asked.lasts_s)
    broke = BrokeGlass(
        request=given.request,
        action=given.action,
        model=given.model,
        version=given.version,
        digest=command.digest,
        environment=given.environment,
        by=asked.by,
        second_approver=person,
        reason=asked.reason,
        until=until,
        review_due_at=context.now + REVIEW_WITHIN,
    )
    settled = allowed(given, (), context.now, state.due_at)
    glass = {"break_glass": True, "expires_at": until, "reasons": ()}
    return [broke, settled.model_copy(update=glass)]


def review(
    command: ReviewBreakGlass,
    given: VerdictGiven,
    state: RequestState,
    context: Context,
) -> Sequence[RequestEvent]:
    broke, person = state.broke, context.actor.person
    if broke is None:
        raise Refused(
            "policy.glass-broken",
            f"no glass was broken on {command.request}",
            subject=command.request,
        )
    if state.review == "done":
        return ()
    parties = {one.person for one in given.parties}
    if not context.actor.human or person in parties | {broke.by, broke.second_approver}:
        raise Refused(
            "policy.separation-of-duties",
            f"{person.subject} took part: a third person reviews it",
            subject=command.request,
        )
    return [
        GlassReviewed(
            request=command.request,
            model=broke.model,
            by=person,
            justified=command.justified,
            notes=command.notes,
            due_at=broke.review_due_at,
        )
    ]


def chase(state: RequestState, context: Context) -> Sequence[RequestEvent]:
    broke = state.broke
    if broke is None or state.review != "owed" or context.now < broke.review_due_at:
        return ()
    return [
        GlassReviewOverdue(
            request=broke.request, model=broke.model, due_at=broke.review_due_at
        )
    ]


# --- what a request is after its events --------------------------------------------


def word(event: Approved) -> Approval:
    return Approval(
        by=event.by,
        roles=event.roles,
        at=event.at,
        expires_at=event.expires_at,
        conditions=event.conditions,
        max_traffic_share=event.max_traffic_share,
        request=event.request,
        lent=event.lent,
    )


def conditional_until(event: VerdictSettled) -> datetime | None:
    """When the first of the conditional approvals that it rests on ends."""
    if event.verdict != "allow" or event.break_glass:
        return None
    ends = (one.expires_at for one in event.approvals)
    return min((end for end in ends if end is not None), default=None)


def evolve(state: RequestState, event: RequestEvent) -> RequestState:  # noqa: C901, PLR0911  # one answer an event
    match event:
        case VerdictGiven():
            return RequestState("pending", event, approvals=event.approvals)
        case ApprovalRequested():
            return replace(state, due_at=event.due_at)
        case Approved():
            words = seats.last_words(state.approvals, word(event))
            return replace(state, approvals=words)
        case Rejected() | ApprovalOverdue():
            return state
        case VerdictSettled():
            status: Status = "allowed" if event.verdict == "allow" else "denied"
            until = conditional_until(event)
            return replace(state, status=status, condition_until=until)
        case VerdictRevoked():
            return replace(state, status="revoked")
        case GlassBreakAsked():
            return replace(state, asked_glass=event)
        case BrokeGlass():
            return replace(state, broke=event, review="owed")
        case GlassReviewed():
            return replace(state, review="done")
        case GlassReviewOverdue():
            return replace(state, review="overdue")


REQUEST: Final = decider(RequestState(), decide, evolve)
