"""A subscription: catches up with the log page by page, then waits at the bell.

What this process has just written is handed over as it was written.
"""

from __future__ import annotations

import time
from typing import Final, Protocol, Self

from modelkeep.errors import Unavailable
from modelkeep.store.port import Batch, Filter, Recorded
from modelkeep.store.tail import Tail

_LOOK_ANYWAY: Final = 1.0
"""Seconds after which to look though nothing rang: a bell may be deaf, never a log."""


class Log(Protocol):
    """What is followed: its end, and a page of it with the position read up to."""

    def head(self) -> int: ...
    def page(
        self, after: int, upto: int, *, only: Filter | None
    ) -> tuple[list[Recorded], int]: ...


class Rings(Protocol):
    """What wakes who waits: `modelkeep.store.waking` says what each means."""

    @property
    def rings(self) -> int: ...
    @property
    def others(self) -> int: ...
    def wait(self, seen: int, timeout: float) -> None: ...
    def announce(self) -> None: ...
    def listen(self) -> None: ...


class Following:
    def __init__(
        self, log: Log, bell: Rings, tail: Tail, *, after: int, only: Filter | None
    ) -> None:
        self._log = log
        self._bell = bell
        self._tail = tail
        self._position = after
        self._only = only
        self._closed = False
        self._asked = after
        self._others = -1
        self._look_at = 0.0

    def poll(self, timeout: float) -> Batch:
        deadline, before = time.monotonic() + timeout, self._position
        while True:
            seen = self._bell.rings
            if self._closed:
                raise Unavailable("the subscription is closed")
            # Who waits no longer is told of the log as it is, not as it was heard of.
            late = time.monotonic() >= deadline
            head = self._head(ask=late)
            events: list[Recorded] = []
            if head > self._position:
                events, self._position = self._read(head)
            caught_up = self._position >= head
            # To have come level is news too, where all there was was filtered out.
            if events or late or (caught_up and self._position > before):
                return Batch(events, self._position, caught_up)
            if caught_up:
                left = max(0.0, deadline - time.monotonic())
                self._bell.wait(seen, min(left, _LOOK_ANYWAY))

    def _head(self, *, ask: bool) -> int:
        """Return the log's end: what this process wrote last, while nobody else rang.

        Bells are rung in the order of commits (`Writer.write`), so whoever wrote after
        us has rung since; to ask the log costs the interpreter.
        """
        others, now = self._bell.others, time.monotonic()
        if not ask and others == self._others and now < self._look_at:
            return max(self._tail.end, self._asked)
        self._others, self._look_at = others, now + _LOOK_ANYWAY
        self._asked = self._log.head()
        return self._asked

    def _read(self, head: int) -> tuple[list[Recorded], int]:
        known = self._tail.beyond(self._position, head, self._only)
        if known is not None:
            return known, head
        return self._log.page(self._position, head, only=self._only)

    def close(self) -> None:
        self._closed = True
        self._bell.announce()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
