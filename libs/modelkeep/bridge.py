"""From the store's threads to the event loop: many results, one wake-up.

`asyncio.wrap_future` wakes the loop once a future, a system call each; a group commit
settles dozens at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TypeVar, cast

T = TypeVar("T")


class Bridge:
    """Belongs to the loop it was made in; results may come from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[tuple[Future[object], asyncio.Future[object]]] = deque()
        self._called = False

    def cross(self, future: Future[T]) -> asyncio.Future[T]:
        """Return what settles as `future` does, on this loop."""
        waiting: asyncio.Future[T] = self._loop.create_future()
        future.add_done_callback(
            partial(self._arrive, cast("asyncio.Future[object]", waiting))
        )
        return waiting

    def _arrive(self, waiting: asyncio.Future[object], settled: Future[object]) -> None:
        self._arrived.append((settled, waiting))
        if not self._called:  # seen late by another thread, it costs one call more
            self._called = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._called = False  # first: what arrives from now on calls again
        while self._arrived:
            settled, waiting = self._arrived.popleft()
            if waiting.done():  # its caller has gone: the deadline passed
                continue
            error = settled.exception()
            if error is None:
                waiting.set_result(settled.result())
            else:
                waiting.set_exception(error)
