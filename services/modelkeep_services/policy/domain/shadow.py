"""A bundle that is asked beside the one in force, and what it says. It never acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound
from modelkeep.events.policy import (
    ShadowCleared,
    ShadowSet,
    ShadowVerdictGiven,
    Short,
)
from modelkeep.events.types import Digest, Slug, Text

NOW: Final = "now"
"""The key of the one stream of a tenant that says which bundle is beside."""

ShadowingEvent = ShadowSet | ShadowCleared


class SetShadow(Command):
    """`version` is the proposed bundle's, as our views know it."""

    name: Slug
    bundle: Digest
    version: Short = ""


class ClearShadow(Command):
    bundle: Digest


class StopShadow(Command):
    """It failed too often."""

    bundle: Digest
    reason: Text


class RecordShadowVerdict(Command):
    said: ShadowVerdictGiven


ShadowingCommand = SetShadow | ClearShadow | StopShadow


@dataclass(frozen=True)
class Shadowing:
    bundle: str | None = None
    name: str = ""


def decide(
    command: ShadowingCommand, state: Shadowing, context: Context
) -> Sequence[ShadowingEvent]:
    if isinstance(command, SetShadow):
        return _set(command, state, context)
    if state.bundle != command.bundle:
        if isinstance(command, StopShadow):
            return ()
        raise NotFound("shadow", command.bundle)
    return [
        ShadowCleared(
            bundle=command.bundle,
            name=state.name,
            by=context.actor.person,
            reason=command.reason if isinstance(command, StopShadow) else None,
        )
    ]


def _set(
    command: SetShadow, state: Shadowing, context: Context
) -> Sequence[ShadowingEvent]:
    if state.bundle == command.bundle:
        return ()
    return [
        ShadowSet(
            bundle=command.bundle,
            name=command.name,
            version=command.version,
            by=context.actor.person,
            replaces=state.bundle,
        )
    ]


def evolve(_: Shadowing, event: ShadowingEvent) -> Shadowing:
    match event:
        case ShadowSet():
            return Shadowing(event.bundle, event.name)
        case ShadowCleared():
            return Shadowing()


def record(
    command: RecordShadowVerdict, said: ShadowVerdictGiven | None, _: Context
) -> Sequence[ShadowVerdictGiven]:
    return [command.said] if said is None else ()


SHADOWING: Final = decider(Shadowing(), decide, evolve)
SHADOW: Final = decider(None, record, lambda _, said: said)
