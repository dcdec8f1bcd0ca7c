"""How a model is challenged: reviews, findings, and risks that are lived with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from modelkeep.decider import Context
from modelkeep.errors import Invalid, NotFound
from modelkeep.events import inventory as e
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory.describing import PERIODIC, next_periodic
from modelkeep_services.inventory.refusing import builds, refuse, the_finding
from modelkeep_services.inventory.state import ModelEvent, ModelState, Review

LONGEST_ACCEPTANCE: Final = timedelta(days=366)
FINDING_ID: Final = 13
"""Characters of the request's id that name what the caller did not."""


def schedule_review(
    command: c.ScheduleReview, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    name = command.review or f"review-{context.command_id[:FINDING_ID]}"
    if command.due_at <= context.now:
        raise Invalid.field("due_at", "is past")
    known = state.reviews.get(name)
    if known is None:
        said = command.model_dump(exclude={"review"})
        return [e.ReviewScheduled(**said, review=name)]
    if not known.open:
        refuse("review-open", f"review {name} is over", name)
    if known.kind != command.kind:
        refuse("review-kind", f"review {name} is of kind {known.kind}", name)
    if known.kind == PERIODIC and command.due_at > known.due_at:
        refuse("review-cadence", f"review {name} is due on {known.due_at}", name)
    if known.due_at == command.due_at:
        return ()
    return [
        e.ReviewScheduled(
            **command.model_dump(exclude={"review"}),
            review=name,
            previous_due_at=known.due_at,
            counts_from=known.counts_from,
        )
    ]


def complete_review(
    command: c.CompleteReview, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    review = _the_review(command.model, command.review, state)
    if not review.open:
        refuse("review-open", f"review {command.review} is over", command.review)
    if role := builds(state, context.actor.person):
        refuse(
            "review-independent",
            f"{context.actor.subject} is {role} and does not review it",
            command.review,
        )
    events: list[ModelEvent] = [
        e.ReviewCompleted(
            **dict(command),
            kind=review.kind,
            due_at=review.due_at,
            by=context.actor.person,
        )
    ]
    if review.kind == PERIODIC and state.tier is not None:
        events.append(next_periodic(command.model, state.tier, state, context.now))
    return events


def note_review_overdue(
    command: c.NoteReviewOverdue, state: ModelState, _: Context
) -> Sequence[ModelEvent]:
    review = _the_review(command.model, command.review, state)
    if not review.open or review.overdue or command.instant < review.due_at:
        return ()
    return [
        e.ReviewOverdue(
            model=command.model,
            review=command.review,
            kind=review.kind,
            due_at=review.due_at,
        )
    ]


def _the_review(model: str, name: str, state: ModelState) -> Review:
    review = state.reviews.get(name)
    if review is None:
        raise NotFound("review", f"{model}/{name}")
    return review


def raise_finding(
    command: c.RaiseFinding, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    name = command.finding or f"finding-{context.command_id[:FINDING_ID]}"
    if name in state.findings:
        refuse("finding-once", f"finding {name} was raised before", name)
    if command.due_at <= context.now:
        raise Invalid.field("due_at", "is past")
    if command.version is not None and command.version not in state.versions:
        raise NotFound("version", f"{command.model}/{command.version}")
    said = dict(command) | {"finding": name}
    return [e.FindingRaised(**said, raised_by=context.actor.person)]


def respond(
    command: c.RespondToFinding, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    finding = the_finding(state, command.model, command.finding)
    if not finding.open:
        refuse("finding-open", f"finding {command.finding} is closed", command.finding)
    if context.actor.person == finding.said.raised_by:
        refuse(
            "response-not-own",
            f"{context.actor.subject} raised finding {command.finding}",
            command.finding,
        )
    return [e.FindingResponded(**dict(command), by=context.actor.person)]


def close(
    command: c.CloseFinding, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    finding, who = (
        the_finding(state, command.model, command.finding),
        context.actor.person,
    )
    if not finding.open:
        refuse("finding-open", f"finding {command.finding} is closed", command.finding)
    if not finding.responders:
        refuse(
            "finding-answered",
            f"finding {command.finding} has no response yet",
            command.finding,
        )
    role = builds(state, who)
    if who in finding.responders or role:
        refuse(
            "closure-independent",
            f"{who.subject} is {role or 'who answered it'}: "
            f"somebody else closes {command.finding}",
            command.finding,
        )
    return [
        e.FindingClosed(
            **dict(command),
            closed_by=who,
            awaited=finding.awaited,
        )
    ]


def note_finding_overdue(
    command: c.NoteFindingOverdue, state: ModelState, _: Context
) -> Sequence[ModelEvent]:
    finding = the_finding(state, command.model, command.finding)
    if finding.awaited is None or command.instant < finding.awaited:
        return ()
    return [
        e.FindingOverdue(
            model=command.model,
            finding=command.finding,
            severity=finding.said.severity,
            vector=finding.said.vector,
            due_at=finding.awaited,
        )
    ]


def accept_risk(
    command: c.AcceptRisk, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    finding, who = (
        the_finding(state, command.model, command.subject),
        context.actor.person,
    )
    if not finding.open:
        refuse("finding-open", f"finding {command.subject} is closed", command.subject)
    latest = context.now + LONGEST_ACCEPTANCE
    if not context.now < command.until <= latest:
        raise Invalid.field(
            "until", f"must be later than now and not after {latest:%Y-%m-%d}"
        )
    role = builds(state, who)
    if role or who.subject == finding.said.owner:
        refuse(
            "acceptance-independent",
            f"{who.subject} is {role or 'who must answer it'} "
            f"and cannot accept {command.subject}",
            command.subject,
        )
    awaits = max(command.until, finding.said.due_at)
    return [
        e.RiskAccepted(
            **dict(command),
            accepted_by=who,
            awaited=finding.awaited,
            awaits=awaits,
        )
    ]
