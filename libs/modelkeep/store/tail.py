"""The newest events as this process wrote them: who follows need not read them back.

To read a row SQLite lets go of the interpreter, and in a busy process getting it back
is what costs. Only events that follow each other in the log are kept: where another
process wrote in between, the tail begins anew.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from modelkeep.store.port import START, Filter, Recorded
from modelkeep.store.ranks import STRIDE

MOST_EVENTS: Final = 1024
MOST_BYTES: Final = 4 << 20


class _Group(NamedTuple):
    """What one transaction added, in order, none missing."""

    events: Sequence[Recorded]
    size: int


class Tail:
    """Thread-safe. Knows committed events only, and none until it is `wanted`."""

    def __init__(self) -> None:
        self.wanted = False
        self._groups: deque[_Group] = deque()
        self._events = self._bytes = 0
        self._lock = threading.Lock()

    def add(self, events: Sequence[Recorded]) -> None:
        """Take what one commit added; nothing of a commit that failed may come here."""
        group = _Group(events, sum(len(one.data) + len(one.metadata) for one in events))
        with self._lock:
            groups = self._groups
            if groups and _end(groups[-1]) + STRIDE != events[0].position:
                groups.clear()
                self._events = self._bytes = 0
            groups.append(group)
            self._events += len(events)
            self._bytes += group.size
            while groups and (self._events > MOST_EVENTS or self._bytes > MOST_BYTES):
                oldest = groups.popleft()
                self._events -= len(oldest.events)
                self._bytes -= oldest.size

    @property
    def end(self) -> int:
        """The position of the newest; before any of them `START`."""
        with self._lock:
            return _end(self._groups[-1]) if self._groups else START

    def beyond(
        self, after: int, upto: int, only: Filter | None
    ) -> list[Recorded] | None:
        """Return the events in (after, upto]; None when not all of them are known."""
        with self._lock:
            groups = self._groups
            if not groups or upto > _end(groups[-1]):
                return None
            if after < groups[0].events[0].position - STRIDE:
                return None
            newer = list(takewhile(lambda group: _end(group) > after, reversed(groups)))
        return [
            one
            for group in reversed(newer)
            for one in group.events
            if after < one.position <= upto
            and (only is None or only.admits(one.stream, one.name))
        ]


def _end(group: _Group) -> int:
    return group.events[-1].position
