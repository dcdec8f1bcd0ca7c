"""The theory: a decision is three pure things, and time and people arrive as arguments.

`decide` says what happens (nothing, when there is nothing to do) or refuses; `evolve`
says what the stream is afterwards; `initial` is what it was before its first event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar, cast

from pydantic import ConfigDict

from modelkeep.events.base import Event, Spoken
from modelkeep.events.types import Person


class Command(Spoken):
    """An order, in the imperative. Its fields are those of the request, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Actor(NamedTuple):
    """Who orders, from credentials and never from a message body.

    `human` is false for machines: an approval is a person's. `models` bounds a serving
    credential to some models; empty means no such bound.
    """

    issuer: str
    subject: str
    roles: frozenset[str]
    tenant: str
    human: bool = True
    models: frozenset[str] = frozenset()

    @property
    def person(self) -> Person:
        return Person(issuer=self.issuer, subject=self.subject)


class Context(NamedTuple):
    """What surrounds a command: all that `decide` may know and state does not hold.

    `now` is the ledger's clock (it becomes known_at); `effective_at` is when it was so
    in the world; `command_id` is the caller's request id, from which new ids derive.
    `cause` is the id of the event that a reaction answers.
    """

    actor: Actor
    now: datetime
    effective_at: datetime
    command_id: str
    cause: str | None = None


C = TypeVar("C", bound=Command)
S = TypeVar("S")
E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Decider:
    """Made by `decider`, which checks the types that are forgotten here."""

    initial: object
    decide: Callable[[Command, object, Context], Sequence[Event]]
    evolve: Callable[[object, Event], object]


def decider(
    initial: S,
    decide: Callable[[C, S, Context], Sequence[E]],
    evolve: Callable[[S, E], S],
) -> Decider:
    """Join three functions over one service's commands C, state S and events E.

    `evolve` must be total over the stream's events, whatever `decide` ever wrote.
    """
    # The one honest cast: streams of all services meet in one ledger, which knows
    # neither their commands nor their events.
    return Decider(
        initial,
        cast("Callable[[Command, object, Context], Sequence[Event]]", decide),
        cast("Callable[[object, Event], object]", evolve),
    )
