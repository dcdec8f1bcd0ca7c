"""How the rules themselves change: proposed, agreed by two, put in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Final

from pydantic import Field

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.policy import (
    BundleActivated,
    BundleApproved,
    BundleBacktested,
    BundleProposed,
    BundleText,
    Short,
    Word,
)
from modelkeep.events.types import Count, Digest, Instant, Person, Slug, Value

APPROVERS: Final = 2
COMPULSORY: Final = "risk_officer"

BundleEvent = BundleProposed | BundleApproved | BundleActivated | BundleBacktested


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


class ProposeBundle(Command):
    name: Slug
    text: BundleText
    checked: Checked | None = None


class ApproveBundle(Command):
    name: Slug
    bundle: Digest


class ActivateBundle(Command):
    """`current` is the bundle in force, of whatever name."""

    name: Slug
    bundle: Digest
    current: Digest | None = None


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
    ProposeBundle | ApproveBundle | ActivateBundle | RecordBacktest | InstallBundle
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


def decide(
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
    proposed = known(command.bundle, state)
    if not agreed([*proposed.approvals.values()]):
        raise Refused(
            "policy.dual-control",
            f"{command.name} {proposed.version} has {len(proposed.approvals)} of "
            f"{APPROVERS} approvals; one must be a {COMPULSORY}'s",
            subject=command.bundle,
        )
    if state.active == command.bundle == command.current:
        return ()
    return [
        BundleActivated(
            bundle=command.bundle,
            name=command.name,
            version=proposed.version,
            by=context.actor.person,
            replaces=command.current,
        )
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


def agreed(approvals: Sequence[frozenset[str] | Sequence[str]]) -> bool:
    """Whether these people's roles suffice; each entry is one person's."""
    second_line = any(COMPULSORY in roles for roles in approvals)
    return len(approvals) >= APPROVERS and second_line


def evolve(state: BundleState, event: BundleEvent) -> BundleState:
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
            return replace(state, active=event.bundle)


BUNDLE: Final = decider(BundleState(), decide, evolve)
