"""A decider on trial: no store, no clock, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from modelkeep.decider import Actor, Command, Context, Decider
from modelkeep.errors import ModelkeepError, Refused
from modelkeep.events.base import Event, decode, encode

NOON: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
COMMAND_ID: Final = str(UUID(int=1))


def actor(
    subject: str = "somebody",
    *roles: str,
    tenant: str = "main",
    issuer: str = "tests",
    human: bool = True,
) -> Actor:
    return Actor(issuer, subject, frozenset(roles), tenant, human)


@dataclass(frozen=True)
class Past:
    """A stream as its events left it."""

    decider: Decider
    state: object

    def when(
        self,
        command: Command,
        *,
        by: Actor | None = None,
        at: datetime = NOON,
        effective_at: datetime | None = None,
        command_id: str = COMMAND_ID,
    ) -> Outcome:
        context = Context(by or actor(), at, effective_at or at, command_id)
        try:
            events = self.decider.decide(command, self.state, context)
        except ModelkeepError as error:
            return Outcome(self, (), error)
        return Outcome(self, tuple(events), None)


@dataclass(frozen=True)
class Outcome:
    """What came of a command: events, or a refusal."""

    past: Past
    events: Sequence[Event]
    error: ModelkeepError | None

    def then(self, *expected: Event) -> Past:
        """Exactly these events; returns the past they make, to go on from."""
        self._unless_refused()
        assert list(self.events) == list(expected), self.events  # noqa: S101  # a test's verdict
        return self.and_then()

    def and_then(self) -> Past:
        """Whatever happened is past now."""
        self._unless_refused()
        return _lived(self.past.decider, self.past.state, self.events)

    def then_nothing(self) -> Past:
        return self.then()

    def then_refused(self, rule: str) -> None:
        error = self.error
        assert isinstance(error, Refused), f"not refused: {self.events or error}"  # noqa: S101  # a test's verdict
        assert error.rule == rule, f"refused by {error.rule}: {error}"  # noqa: S101  # a test's verdict

    def then_raises(self, kind: type[ModelkeepError]) -> None:
        assert isinstance(self.error, kind), f"{self.error!r}, {self.events}"  # noqa: S101  # a test's verdict

    def _unless_refused(self) -> None:
        if self.error is not None:
            raise AssertionError(f"refused: {self.error}") from self.error


def given(decider: Decider, *events: Event) -> Past:
    """A stream with these events, each written and read back on the way."""
    return _lived(decider, decider.initial, events)


def _lived(decider: Decider, state: object, events: Sequence[Event]) -> Past:
    for event in events:
        read = decode(event.event_name, event.event_version, encode(event))
        state = decider.evolve(state, read)
    return Past(decider, state)
