"""Clocks, and the stream on which the moments that matter are ticked.

`SystemClock` is live; `ScenarioClock` stands still until the ledger's own ticks move it
(the demo, rehearsals), so that every process of a scenario agrees on the time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import Refused
from modelkeep.events.base import decode
from modelkeep.events.clock import Ticked
from modelkeep.events.types import Instant
from modelkeep.home import Home
from modelkeep.store.port import START, Store

CLOCK_STREAM: Final = "clock"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the ledger's time, in UTC; it never goes back."""

    def saw(self, instant: datetime) -> None:
        """Note a moment the ledger has reached."""


class SystemClock:
    """The machine's clock, held back from going backwards."""

    def __init__(self) -> None:
        self._last = EPOCH
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            self._last = max(self._last, datetime.now(UTC))
            return self._last

    def saw(self, instant: datetime) -> None:
        """A live clock is not moved by what the ledger says."""


class ScenarioClock:
    """Moved by ticks alone."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def saw(self, instant: datetime) -> None:
        with self._lock:
            self._now = max(self._now, instant)


def clock_of(home: Home, store: Store, *, scenario: bool = False) -> Clock:
    """Return the clock that belongs to a home: a scenario's stays a scenario's.

    Raises Refused for a scenario on a ledger that has lived by the machine's clock.
    """
    if scenario and not home.scenario.exists():
        if store.head() != START:
            raise Refused("clock.scenario", f"{home.root} lives by the machine's clock")
        home.make().scenario.touch(mode=0o600)
    if not home.scenario.exists():
        return SystemClock()
    clock = ScenarioClock()
    for recorded in store.read_stream(CLOCK_STREAM, backwards=True, limit=1):
        ticked = decode(recorded.name, recorded.schema_version, recorded.data)
        if isinstance(ticked, Ticked):
            clock.saw(ticked.instant)
    return clock


class Tick(Command):
    instant: Instant


@dataclass(frozen=True)
class Ticks:
    last: datetime | None = None


def decide(command: Tick, state: Ticks, _: Context) -> Sequence[Ticked]:
    if command.instant == state.last:
        return ()
    if state.last is not None and command.instant < state.last:
        raise Refused("clock.forwards", f"the ledger's clock is at {state.last}")
    return (Ticked(instant=command.instant),)


def evolve(_: Ticks, event: Ticked) -> Ticks:
    return Ticks(event.instant)


CLOCK: Final = decider(Ticks(), decide, evolve)
