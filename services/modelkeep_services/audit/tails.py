"""Tails: the newest events, for which nothing outside vouches yet. Their age is a risk.

Whoever runs the database can still change an event that no signed checkpoint covers,
and whoever holds the signing key one that no witness cosigned.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

UNSIGNED: Final = "unsigned"
UNCOSIGNED: Final = "uncosigned"

LIMITS_S: Final = {UNSIGNED: 10.0, UNCOSIGNED: 120.0}
"""A checkpoint is due in one second, a cosignature in ten: this is late."""

_MARKS: Final = 1_000


class Tail(NamedTuple):
    """`seconds` is how long ago the oldest of its events was noticed."""

    kind: str
    events: int
    seconds: float

    @property
    def exposed(self) -> bool:
        return self.events > 0 and self.seconds > LIMITS_S[self.kind]

    def __str__(self) -> str:
        return f"{self.events:,} events are {self.kind} for {self.seconds:,.0f} s"


class Ages:
    """Remembers when the log was seen to have how many events. Not thread-safe."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()
        self._size = 0

    def saw(self, size: int, at: float) -> None:
        """The log has `size` events now, `at` seconds of a clock that only grows."""
        if size > self._size:
            self._marks.append((self._size, at))
            self._size = size
        if len(self._marks) > _MARKS:
            # every other one: what lies between counts as older than it is
            self._marks = deque(list(self._marks)[::2])

    def tail(self, kind: str, vouched: int, at: float) -> Tail:
        """Return the tail behind the first `vouched` events."""
        events = max(self._size - vouched, 0)
        began = [since for size, since in self._marks if size <= vouched]
        if not events or not began:
            return Tail(kind, events, 0.0)
        return Tail(kind, events, max(at - began[-1], 0.0))

    def forget(self, vouched: int) -> None:
        """No tail is asked for any more that begins before `vouched` events."""
        while len(self._marks) > 1 and self._marks[1][0] <= vouched:
            self._marks.popleft()
