"""Erasures, holds and turns of the keys: three kinds of stream, pure decisions.

What only the keystore and views know (whose keys there are, what holds stand) comes in
the command, found for it in `finding.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from pydantic import Field

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.privacy import (
    About,
    Basis,
    EpochName,
    ErasureApproved,
    ErasureExpired,
    ErasureRejected,
    ErasureRequested,
    ErasureStopped,
    HoldPlaced,
    HoldReleased,
    Keys,
    KeysTurned,
    KeysTurnOrdered,
    NamedKey,
    Purpose,
    RetentionSwept,
    SubjectKeyDestroyed,
)
from modelkeep.events.types import Count, Instant, Slug, Subject, Text, Title

Purposes = Annotated[tuple[Purpose, ...], Field(max_length=20)]
Asked = Literal[
    "no_longer_needed", "consent_withdrawn", "objection", "unlawful", "legal_obligation"
]
"""The grounds of a person's request; retention is the clock's."""

# --- erasures ----------------------------------------------------------------------

ErasureEvent = (
    ErasureRequested
    | ErasureApproved
    | ErasureRejected
    | ErasureExpired
    | ErasureStopped
    | SubjectKeyDestroyed
)


class RequestErasure(Command):
    """As it comes over the wire. What is decided is a RequestFoundErasure."""

    subject: Subject
    purposes: Purposes = ()
    basis: Asked
    reason: Text


class RequestFoundErasure(Command):
    """`subject_keys` are those to destroy. Where there are none, `gone` says that there
    were, and `bundled` that there is one for all purposes. `waiting` is an erasure of
    one of the keys that is not decided or not done.
    """

    subject: Subject
    about: About
    subject_keys: tuple[NamedKey, ...]
    basis: Basis
    reason: Text
    until: Instant
    gone: str = ""
    bundled: bool = False
    waiting: Slug | None = None


class ProposeErasure(Command):
    """From the clock, by the retention document."""

    erasure: Slug
    subject_keys: Keys
    reason: Text
    until: Instant
    document: Slug


class Holding(Command):
    """A hold that stands against an erasure."""

    hold: Slug
    matter: Title


class ApproveErasure(Command):
    """`holds` are what views know."""

    erasure: Slug
    holds: tuple[Holding, ...] = ()


class RejectErasure(Command):
    erasure: Slug
    reason: Text


class ExpireErasure(Command):
    erasure: Slug


class StopErasure(Command):
    erasure: Slug
    hold: Slug


class RecordDestruction(Command):
    """The erasure's keys are gone from the keystore."""

    erasure: Slug


ErasureCommand = (
    RequestFoundErasure
    | ProposeErasure
    | ApproveErasure
    | RejectErasure
    | ExpireErasure
    | StopErasure
    | RecordDestruction
)
Status = Literal[
    "none", "requested", "approved", "destroyed", "rejected", "expired", "stopped"
]


@dataclass(frozen=True)
class ErasureState:
    status: Status = "none"
    requested: ErasureRequested | None = None
    destroyed: frozenset[str] = frozenset()


def decide_erasure(  # noqa: PLR0911  # one answer a command
    command: ErasureCommand, state: ErasureState, context: Context
) -> Sequence[ErasureEvent]:
    match command:
        case RequestFoundErasure():
            return request(command, context)
        case ProposeErasure():
            return propose(command, state, context)
    requested = state.requested
    if requested is None:
        raise NotFound("erasure", command.erasure)
    match command:
        case ApproveErasure():
            return approve(command, state, requested, context)
        case RejectErasure():
            return reject(command, state, requested, context)
        case ExpireErasure():
            return expire(state, requested, context)
        case StopErasure():
            return stop(command, state, requested)
        case RecordDestruction():
            return destroyed(state, requested)


def request(
    command: RequestFoundErasure, context: Context
) -> Sequence[ErasureRequested]:
    if command.waiting is not None:
        raise Refused(
            "privacy.one-erasure",
            f"erasure {command.waiting} of the same keys is under way",
            subject=command.waiting,
        )
    if not command.subject_keys:
        raise _nothing(command)
    return [
        ErasureRequested(
            erasure=context.command_id,
            about=command.about,
            subject_keys=command.subject_keys,
            basis=command.basis,
            reason=command.reason,
            by=context.actor.person,
            until=command.until,
        )
    ]


def _nothing(command: RequestFoundErasure) -> Refused | NotFound:
    if command.bundled:
        return Refused(
            "privacy.one-key",
            f"{command.subject} has one key for all purposes, from before keys had "
            "any: ask to erase all of them",
            subject=command.subject,
        )
    if command.gone:
        return Refused(
            "privacy.already-erased",
            f"{command.subject} is erased already, by {command.gone}",
            subject=command.subject,
        )
    return NotFound("subject with personal fields called", command.subject)


def propose(
    command: ProposeErasure, state: ErasureState, context: Context
) -> Sequence[ErasureRequested]:
    if state.status != "none":
        return ()
    return [
        ErasureRequested(
            erasure=command.erasure,
            subject_keys=command.subject_keys,
            basis="retention",
            reason=command.reason,
            by=context.actor.person,
            until=command.until,
            document=command.document,
        )
    ]


def approve(
    command: ApproveErasure,
    state: ErasureState,
    requested: ErasureRequested,
    context: Context,
) -> Sequence[ErasureApproved]:
    if state.status in {"approved", "destroyed"}:
        return ()
    _open(state, requested, context)
    person = context.actor.person
    if not context.actor.human:
        raise Refused("privacy.person", "an erasure is approved by a person")
    if person == requested.by:
        raise Refused(
            "privacy.separation-of-duties",
            f"{person.subject} asked for erasure {command.erasure}: "
            "another person must agree",
            subject=command.erasure,
        )
    for one in command.holds:
        raise Refused(
            "privacy.legal-hold",
            f"hold {one.hold} ({one.matter}) forbids erasure {command.erasure}",
            subject=one.hold,
        )
    return [
        ErasureApproved(
            erasure=command.erasure,
            subject_keys=requested.subject_keys,
            by=person,
            until=requested.until,
        )
    ]


def reject(
    command: RejectErasure,
    state: ErasureState,
    requested: ErasureRequested,
    context: Context,
) -> Sequence[ErasureRejected]:
    if state.status == "rejected":
        return ()
    _open(state, requested, context)
    if not context.actor.human:
        raise Refused("privacy.person", "an erasure is rejected by a person")
    return [
        ErasureRejected(
            erasure=command.erasure,
            subject_keys=requested.subject_keys,
            by=context.actor.person,
            reason=command.reason,
            until=requested.until,
        )
    ]


def _open(state: ErasureState, requested: ErasureRequested, context: Context) -> None:
    lapsed = state.status == "requested" and context.now >= requested.until
    if state.status != "requested" or lapsed:
        raise Refused(
            "privacy.erasure-open",
            f"erasure {requested.erasure} is {'expired' if lapsed else state.status}",
            subject=requested.erasure,
        )


def expire(
    state: ErasureState, requested: ErasureRequested, context: Context
) -> Sequence[ErasureExpired]:
    if state.status != "requested" or context.now < requested.until:
        return ()
    return [
        ErasureExpired(
            erasure=requested.erasure,
            subject_keys=requested.subject_keys,
            until=requested.until,
        )
    ]


def stop(
    command: StopErasure, state: ErasureState, requested: ErasureRequested
) -> Sequence[ErasureStopped]:
    if state.status != "approved":
        return ()
    return [
        ErasureStopped(
            erasure=requested.erasure,
            subject_keys=requested.subject_keys,
            hold=command.hold,
        )
    ]


def destroyed(
    state: ErasureState, requested: ErasureRequested
) -> Sequence[SubjectKeyDestroyed]:
    if state.status != "approved":
        return ()
    return [
        SubjectKeyDestroyed(
            erasure=requested.erasure, key_id=one.key_id, purpose=one.purpose
        )
        for one in requested.subject_keys
        if one.key_id not in state.destroyed
    ]


def evolve_erasure(state: ErasureState, event: ErasureEvent) -> ErasureState:
    match event:
        case ErasureRequested():
            return ErasureState("requested", event)
        case ErasureApproved():
            return replace(state, status="approved")
        case ErasureRejected():
            return replace(state, status="rejected")
        case ErasureExpired():
            return replace(state, status="expired")
        case ErasureStopped():
            return replace(state, status="stopped")
        case SubjectKeyDestroyed():
            gone = state.destroyed | {event.key_id}
            return replace(state, status="destroyed", destroyed=gone)


ERASURE: Final = decider(ErasureState(), decide_erasure, evolve_erasure)

# --- holds -------------------------------------------------------------------------

HoldEvent = HoldPlaced | HoldReleased


class PlaceHold(Command):
    """As it comes over the wire. What is decided is a PlaceFoundHold."""

    hold: Slug
    subject: Subject | None = None
    purposes: Purposes = ()
    matter: Title
    reason: Text


class PlaceFoundHold(Command):
    """`too_late`: an erasure that is approved, and that it would have to stop."""

    hold: Slug
    about: About | None = None
    purposes: Purposes = ()
    matter: Title
    reason: Text
    too_late: Slug | None = None


class ReleaseHold(Command):
    hold: Slug
    reason: Text


HoldCommand = PlaceFoundHold | ReleaseHold


@dataclass(frozen=True)
class HoldState:
    status: Literal["none", "placed", "released"] = "none"


def decide_hold(
    command: HoldCommand, state: HoldState, context: Context
) -> Sequence[HoldEvent]:
    match command:
        case PlaceFoundHold():
            return place(command, state, context)
        case ReleaseHold():
            return release(command, state, context)


def place(
    command: PlaceFoundHold, state: HoldState, context: Context
) -> Sequence[HoldPlaced]:
    if state.status != "none":
        raise Refused(
            "privacy.hold-once",
            f"hold {command.hold} is {state.status}: give another its own name",
            subject=command.hold,
        )
    if command.too_late is not None:
        raise Refused(
            "privacy.too-late",
            f"erasure {command.too_late} is approved: its keys are being destroyed",
            subject=command.too_late,
        )
    said = command.model_dump(exclude={"too_late"})
    return [HoldPlaced(**said, by=context.actor.person)]


def release(
    command: ReleaseHold, state: HoldState, context: Context
) -> Sequence[HoldReleased]:
    if state.status == "none":
        raise NotFound("hold", command.hold)
    if state.status == "released":
        return ()
    person = context.actor.person
    return [HoldReleased(hold=command.hold, by=person, reason=command.reason)]


def evolve_hold(_: HoldState, event: HoldEvent) -> HoldState:
    match event:
        case HoldPlaced():
            return HoldState("placed")
        case HoldReleased():
            return HoldState("released")


HOLD: Final = decider(HoldState(), decide_hold, evolve_hold)

# --- the keys' epochs, and the clock's looks -----------------------------------------

KeepingEvent = KeysTurnOrdered | KeysTurned | RetentionSwept


class TurnKeys(Command):
    reason: Text
    end_previous: bool = False


class RecordTurn(Command):
    epoch: EpochName
    ended: tuple[EpochName, ...] = ()


class RecordSweep(Command):
    due_at: Instant
    document: Slug
    proposed: Count


KeepingCommand = TurnKeys | RecordTurn | RecordSweep


@dataclass(frozen=True)
class KeepingState:
    """Of one turn, or of the looks at what falls due in one month."""

    order: Slug | None = None
    done: bool = False
    swept: frozenset[str] = frozenset()


def decide_keeping(
    command: KeepingCommand, state: KeepingState, context: Context
) -> Sequence[KeepingEvent]:
    match command:
        case TurnKeys():
            by, said = context.actor.person, command.model_dump()
            return [KeysTurnOrdered(order=context.command_id, by=by, **said)]
        case RecordTurn():
            if state.order is None or state.done:
                return ()
            return [KeysTurned(order=state.order, **command.model_dump())]
        case RecordSweep():
            if command.due_at.isoformat() in state.swept:
                return ()
            return [RetentionSwept(**command.model_dump())]


def evolve_keeping(state: KeepingState, event: KeepingEvent) -> KeepingState:
    match event:
        case KeysTurnOrdered():
            return replace(state, order=event.order)
        case KeysTurned():
            return replace(state, done=True)
        case RetentionSwept():
            return replace(state, swept=state.swept | {event.due_at.isoformat()})


KEEPING: Final = decider(KeepingState(), decide_keeping, evolve_keeping)
