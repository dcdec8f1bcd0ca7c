"""A courier: carries the newest thing to one place, and never keeps anybody waiting.

It holds one thing at most: what is newer takes the place of what was not carried yet,
because a later checkpoint says all that an earlier one said. What cannot be delivered
is tried again, ever more slowly, and given up after `TRIES`; the next thing is then a
new reason to try.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

TRIES: Final = 10
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0


class Courier(Generic[T]):
    """`give` it things, `close` it. `carry` raises where it fails. Between two journeys
    at least `every_s` seconds pass.
    """

    def __init__(
        self, name: str, carry: Callable[[T], None], *, every_s: float = 0.0
    ) -> None:
        self.name, self._carry, self._every_s = name, carry, every_s
        self._waiting: list[T] = []
        self._changed = threading.Condition()
        self._closing = False
        self._failures = 0
        self._said = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def give(self, thing: T) -> None:
        with self._changed:
            self._waiting[:] = [thing]
            self._changed.notify()

    def leave(self) -> None:
        """Try once more what waits, and no more."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def close(self, grace_s: float) -> None:
        """Leave; after `grace_s` seconds nobody waits for what is under way."""
        self.leave()
        if self._thread.is_alive():
            self._thread.join(grace_s)

    def _run(self) -> None:
        while (thing := self._next()) is not None:
            started = time.monotonic()
            pause = self._delivered(thing)
            self._rest(started + pause)

    def _next(self) -> T | None:
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return None
                self._changed.wait()
            return self._waiting.pop()

    def _delivered(self, thing: T) -> float:
        """Carry it; return how many seconds to rest before the next."""
        try:
            self._carry(thing)
        except Exception as error:  # noqa: BLE001  # dead, it would say nothing at all
            self._failures += 1
            self._complain(str(error) or repr(error))
            self._again(thing)
            growing = FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, TRIES)
            return min(growing, LONGEST_PAUSE_S)
        if self._failures:
            log.warning("%s: delivered again", self.name)
        self._failures, self._said = 0, ""
        return self._every_s

    def _again(self, thing: T) -> None:
        with self._changed:
            if self._failures >= TRIES:
                if self._failures == TRIES:
                    log.error("%s: given up after %d tries", self.name, TRIES)
            elif not self._waiting and not self._closing:
                self._waiting.append(thing)

    def _complain(self, text: str) -> None:
        if text != self._said:
            log.error("%s: %s", self.name, text)
        self._said = text

    def _rest(self, until: float) -> None:
        with self._changed:
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
