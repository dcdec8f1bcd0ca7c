"""How the rules themselves change: proposed, agreed on, put in force, brought back.

What loosens a rule for tiers 1 or 2 takes two approvers, anything else one; one of them
is always a risk officer, and none the author. A bundle that was in force before can be
brought back by one person at once: a second must confirm it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.policy import (
    BundleActivated,
    BundleActivationFailed,
    BundleApproved,
    BundleBacktested,
    BundleProposed,
    BundleText,
    ReactivationConfirmed,
    ReactivationOverdue,
    Said,
    Sentences,
    Short,
    Word,
)
from modelkeep.events.types import (
    Count,
    Digest,
    Instant,
    Person,
    Slug,
    Text,
    Value,
)

APPROVERS: Final = 2
ALONE: Final = 1
"""Who must agree to what loosens nothing for tiers 1 and 2."""

COMPULSORY: Final = "risk_officer"
SECOND_WITHIN: Final = timedelta(hours=24)
UNKNOWN: Final = "what it loosens is not known"

BundleEvent = (
    BundleProposed
    | BundleApproved
    | BundleActivated
    | BundleActivationFailed
    | BundleBacktested
    | ReactivationConfirmed
    | ReactivationOverdue
)


class Checked(Value):
    """What reading, compiling and testing a document said of it."""

    bundle: Digest
    version: Short
    tests: Annotated[int, Field(ge=1)]


class Backtested(Value):
    """What asking history said of a bundle, and the digest of all that it said."""

    report: Digest
    verdicts: Count
    flips: Count
    loosened: Count
    tightened: Count
    not_evaluable: Count


class Standing(Value):
    """The bundle in force, of whatever name, and how another one differs from it.
    `loosens` says what it may let through that this one does not, in tiers 1 and 2.
    """

    current: Digest | None = None
    stood_at: int | None = None
    loosens: Sentences = (UNKNOWN,)
    lines_changed: Count | None = None
    failure: Said = ""
    """Why it cannot be put in force: it no longer reads, or is read otherwise."""


class ProposeBundle(Command):
    name: Slug
    text: BundleText
    checked: Checked | None = None
    beside: Standing = Standing()


class ApproveBundle(Command):
    name: Slug
    bundle: Digest


class ActivateBundle(Command):
    name: Slug
    bundle: Digest
    beside: Standing = Standing()


class ReactivateBundle(Command):
    """In an emergency: one that was in force before."""

    name: Slug
    bundle: Digest
    reason: Annotated[Text, StringConstraints(min_length=20)]
    beside: Standing = Standing()


class ConfirmReactivation(Command):
    name: Slug
    bundle: Digest


class ChaseReactivation(Command):
    """The time to confirm is over. From a reaction to the clock."""

    name: Slug


class RecordBacktest(Command):
    """Of a period, [start, end); `found` is what the ledger found, and no caller's."""

    name: Slug
    bundle: Digest
    start: Instant | None = None
    end: Instant | None = None
    models: Annotated[tuple[Slug, ...], Field(max_length=100)] = ()
    actions: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    minutes_per_approval: Annotated[float, Field(ge=0, le=10_000)] | None = None
    found: Backtested | None = None


class InstallBundle(Command):
    """The packaged bundle, for a ledger that has none. No request can carry this."""

    name: Slug
    text: BundleText
    checked: Checked


BundleCommand = (
    ProposeBundle
    | ApproveBundle
    | ActivateBundle
    | ReactivateBundle
    | ConfirmReactivation
    | ChaseReactivation
    | RecordBacktest
    | InstallBundle
)


@dataclass(frozen=True)
class Proposed:
    version: str
    author: Person
    approvals: Mapping[Person, frozenset[str]] = field(default_factory=dict)
    backtest: str | None = None
    """The digest of the last report on it."""


@dataclass(frozen=True)
class BundleState:
    proposed: Mapping[str, Proposed] = field(default_factory=dict)
    active: str | None = None
    before: frozenset[str] = frozenset()
    """Every bundle of this name that was ever in force."""
    unconfirmed: tuple[BundleActivated, ...] = ()
    """Brought back, and a second word is owed."""
    overdue: frozenset[datetime] = frozenset()


def decide(  # noqa: PLR0911  # one answer a command
    command: BundleCommand, state: BundleState, context: Context
) -> Sequence[BundleEvent]:
    match command:
        case ProposeBundle():
            return propose(command, state, context)
        case ApproveBundle():
            return approve(command, state, context)
        case ActivateBundle():
            return activate(command, state, context)
        case RecordBacktest():
            return backtested(command, state, context)
        case ReactivateBundle():
            return reactivate(command, state, context)
        case ConfirmReactivation():
            return confirm(command, state, context)
        case ChaseReactivation():
            return chase(state, context)
        case InstallBundle():
            return install(command, state, context)


def propose(
    command: ProposeBundle, state: BundleState, context: Context
) -> Sequence[BundleEvent]:
    checked = command.checked
    if checked is None:
        raise Refused("policy.bundle-checked", f"bundle {command.name} is unchecked")
    if checked.bundle in state.proposed:
        return ()
    used = (p.version == checked.version for p in state.proposed.values())
    if any(used):
        raise Refused(
            "policy.bundle-version-once",
            f"{command.name} {checked.version} is another bundle: raise the version",
            subject=command.name,
        )
    return [
        BundleProposed(
            bundle=checked.bundle,
            name=command.name,
            version=checked.version,
            text=command.text,
            author=context.actor.person,
            tests=checked.tests,
            against=command.beside.current,
            loosens=command.beside.loosens,
            lines_changed=command.beside.lines_changed,
        )
    ]


def approve(
    command: ApproveBundle, state: BundleState, context: Context
) -> Sequence[BundleEvent]:
    proposed, person = known(command.bundle, state), context.actor.person
    if not context.actor.human:
        raise Refused("policy.person", "a bundle is approved by people")
    if person == proposed.author:
        raise Refused(
            "policy.separation-of-duties",
            f"{person.subject} wrote {command.name} {proposed.version}",
            subject=command.bundle,
        )
    if person in proposed.approvals:
        return ()
    return [
        BundleApproved(
            bundle=command.bundle,
            name=command.name,
            by=person,
            roles=tuple(sorted(context.actor.roles)),
        )
    ]


def activate(
    command: ActivateBundle, state: BundleState, context: Context
) -> Sequence[BundleEvent]:
    proposed, beside = known(command.bundle, state), command.beside
    for condition, why in unmet(proposed, beside):
        raise Refused(
            condition,
            f"{command.name} {proposed.version} {why}"[:4_000],
            subject=command.bundle,
        )
    if state.active == command.bundle == beside.current:
        return ()
    return [put_in_force(command, proposed, context)]


def unmet(proposed: Proposed, beside: Standing) -> Iterator[tuple[str, str]]:
    """Name each condition of activation that is not met, and say why. All are on this
    very digest: an edit makes another bundle, which meets none.
    """
    if not agreed([*proposed.approvals.values()], beside.loosens):
        needed = APPROVERS if beside.loosens else ALONE
        why = f", for it loosens: {beside.loosens[0]}" if beside.loosens else ""
        said = f"has {len(proposed.approvals)} of {needed} approvals; one must be a "
        yield "policy.dual-control", f"{said}{COMPULSORY}'s{why}"
    if beside.loosens and proposed.backtest is None:
        why = f"was not tried on history, and it loosens: {beside.loosens[0]}"
        yield "policy.bundle-backtested", why


def put_in_force(
    command: ActivateBundle | ReactivateBundle, proposed: Proposed, context: Context
) -> BundleActivated | BundleActivationFailed:
    """What cannot be put in force is said, and what was in force stays."""
    beside, person = command.beside, context.actor.person
    if beside.failure:
        return BundleActivationFailed(
            bundle=command.bundle,
            name=command.name,
            version=proposed.version,
            by=person,
            reason=beside.failure,
            stays=beside.current,
        )
    event = BundleActivated(
        bundle=command.bundle,
        name=command.name,
        version=proposed.version,
        by=person,
        replaces=beside.current,
        stood_at=beside.stood_at,
        loosens=beside.loosens,
    )
    if isinstance(command, ActivateBundle):
        return event
    emergency = {
        "emergency": True,
        "reason": command.reason,
        "second_due_at": context.now + SECOND_WITHIN,
    }
    return event.model_copy(update=emergency)


def reactivate(
    command: ReactivateBundle, state: BundleState, context: Context
) -> Sequence[BundleEvent]:
    proposed = known(command.bundle, state)
    if not context.actor.human:
        raise Refused("policy.person", "a bundle is brought back by people")
    if command.bundle not in state.before:
        raise Refused(
            "policy.bundle-was-active",
            f"{command.name} {proposed.version} was never in force",
            subject=command.bundle,
        )
    if state.active == command.bundle == command.beside.current:
        return ()
    return [put_in_force(command, proposed, context)]


def confirm(
    command: ConfirmReactivation, state: BundleState, context: Context
) -> Sequence[BundleEvent]:
    known(command.bundle, state)
    owed = [one for one in state.unconfirmed if one.bundle == command.bundle]
    person = context.actor.person
    if not owed:
        raise Refused(
            "policy.reactivation-unconfirmed",
            f"nobody waits for a second word on {command.name}",
            subject=command.bundle,
        )
    if not context.actor.human or any(person == one.by for one in owed):
        raise Refused(
            "policy.separation-of-duties",
            f"{person.subject} brought it back: a second person confirms it",
            subject=command.bundle,
        )
    return [
        ReactivationConfirmed(bundle=one.bundle, name=one.name, by=person, due_at=due)
        for one in owed
        if (due := one.second_due_at) is not None
    ]


def chase(state: BundleState, context: Context) -> Sequence[BundleEvent]:
    return [
        ReactivationOverdue(bundle=one.bundle, name=one.name, by=one.by, due_at=due)
        for one in state.unconfirmed
        if (due := one.second_due_at) is not None
        and due not in state.overdue
        and context.now >= due
    ]


def backtested(
    command: RecordBacktest, state: BundleState, context: Context
) -> Sequence[BundleEvent]:
    proposed, found = known(command.bundle, state), command.found
    if found is None:
        raise Refused("policy.bundle-backtested", f"{command.name} was asked nothing")
    if proposed.backtest == found.report:
        return ()
    return [
        BundleBacktested(
            **found.model_dump(),
            bundle=command.bundle,
            name=command.name,
            start=command.start,
            end=command.end,
            by=context.actor.person,
        )
    ]


def install(
    command: InstallBundle, state: BundleState, context: Context
) -> Sequence[BundleEvent]:
    if state.proposed:
        return ()
    checked, person = command.checked, context.actor.person
    return [
        BundleProposed(
            bundle=checked.bundle,
            name=command.name,
            version=checked.version,
            text=command.text,
            author=person,
            tests=checked.tests,
            packaged=True,
        ),
        BundleActivated(
            bundle=checked.bundle,
            name=command.name,
            version=checked.version,
            by=person,
        ),
    ]


def known(bundle: str, state: BundleState) -> Proposed:
    proposed = state.proposed.get(bundle)
    if proposed is None:
        raise NotFound("bundle", bundle)
    return proposed


def agreed(
    approvals: Sequence[frozenset[str] | Sequence[str]], loosens: Sequence[str]
) -> bool:
    """Whether these people's roles suffice; each entry is one person's."""
    second_line = any(COMPULSORY in roles for roles in approvals)
    return second_line and len(approvals) >= (APPROVERS if loosens else ALONE)


def evolve(state: BundleState, event: BundleEvent) -> BundleState:  # noqa: PLR0911  # one case an event
    match event:
        case BundleProposed():
            fresh = Proposed(event.version, event.author)
            return replace(state, proposed={**state.proposed, event.bundle: fresh})
        case BundleApproved():
            before = state.proposed[event.bundle]
            given = {**before.approvals, event.by: frozenset(event.roles)}
            after = replace(before, approvals=given)
            return replace(state, proposed={**state.proposed, event.bundle: after})
        case BundleBacktested():
            told = replace(state.proposed[event.bundle], backtest=event.report)
            return replace(state, proposed={**state.proposed, event.bundle: told})
        case BundleActivated():
            return activated(state, event)
        case BundleActivationFailed():
            return state
        case ReactivationConfirmed():
            left = [o for o in state.unconfirmed if o.second_due_at != event.due_at]
            return replace(state, unconfirmed=tuple(left))
        case ReactivationOverdue():
            return replace(state, overdue=state.overdue | {event.due_at})


def activated(state: BundleState, event: BundleActivated) -> BundleState:
    """A second word is owed for what was brought back, whatever follows it."""
    after = replace(state, active=event.bundle, before=state.before | {event.bundle})
    if not event.emergency:
        return after
    return replace(after, unconfirmed=(*state.unconfirmed, event))


BUNDLE: Final = decider(BundleState(), decide, evolve)
