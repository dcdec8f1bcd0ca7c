"""Group commit: many appends share one transaction, and one fsync.

Whoever finds nobody writing leads: it takes all that wait in line, commits them at
once, promotes the first who came meanwhile, and only then tells its own group. So the
disk is busy while callers wake up, and an append that meets no other costs no change of
thread. Appends handed in by `submit` have no thread to lead them; one of ours does.

Ours waits for company. An event loop brings its appends one callback after the other,
and to commit them in twos and threes costs both threads the interpreter each time. How
many were under way at once, lately, says how many are worth waiting for.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from math import ceil
from typing import Final, TypeAlias

from modelkeep.errors import ModelkeepError, Unavailable
from modelkeep.store.port import Appended, NewEvent

MOST_APPENDS: Final = 512
MOST_BYTES: Final = 4 << 20
COMPANY: Final = 2
"""Who writes alone is not waited for."""
FADES: Final = 0.8
"""What is left of "lately" from one group to the next."""
GAP_S: Final = 0.004
"""When nobody came for so long, ours goes without the others."""
PATIENCE_S: Final = 0.001
"""And it never waits longer than this for each that was under way."""


Take: TypeAlias = Callable[[], Sequence["Pending"]]


class Pending:
    """An append in line. Whoever commits it sets `appended` or `error`."""

    __slots__ = (
        "appended",
        "error",
        "events",
        "expected",
        "future",
        "ids",
        "leads",
        "size",
        "stream",
        "wake",
    )

    def __init__(self, stream: str, events: Sequence[NewEvent], expected: int) -> None:
        self.stream = stream
        self.events = events
        self.expected = expected
        self.ids = [event.id.bytes for event in events]
        self.size = sum(len(event.data) + len(event.metadata) for event in events)
        self.appended: Appended | None = None
        self.error: ModelkeepError | None = None
        self.future: Future[Appended] | None = None
        self.wake: threading.Lock | None = None
        self.leads = False

    def outcome(self) -> Appended:
        if self.appended is not None:
            return self.appended
        raise self.error or Unavailable(
            f"the append to {self.stream} was interrupted; its outcome is unknown"
        )

    def tell(self) -> None:
        wake, future = self.wake, self.future
        if wake is not None:
            wake.release()
        elif future is not None:
            try:
                future.set_result(self.outcome())
            except ModelkeepError as error:
                future.set_exception(error)


class GroupCommit:
    """`commit` is never called twice at a time. It settles each of the group it takes.

    It takes it as late as it can: while it waited for its turn, others joined the line.
    Taking again gives the same group.
    """

    def __init__(self, commit: Callable[[Take], None]) -> None:
        self._commit = commit
        self._mutex = threading.Lock()
        self._idle = threading.Condition(self._mutex)
        self._line: deque[Pending] = deque()
        self._led = False
        self._closed = False
        self._called = threading.Semaphore(0)
        self._company = threading.Condition(self._mutex)
        self._under_way = 1.0
        self._awaited = 0
        self._ours: threading.Thread | None = None

    def run(self, pending: Pending) -> Appended:
        """Commit in the caller's thread, or wait until another has done it."""
        with self._mutex:
            self._refuse_when_closed()
            self._line.append(pending)
            if self._led:
                pending.wake = threading.Lock()
                pending.wake.acquire()
                self._go()
            else:
                self._led = True
        if pending.wake is None:
            self._lead()
        else:
            try:
                pending.wake.acquire()
            except BaseException:
                self._leave(pending)
                raise
            if pending.leads:
                pending.wake = None
                self._lead()
        return pending.outcome()

    def submit(self, pending: Pending) -> Future[Appended]:
        future = pending.future = Future()
        future.set_running_or_notify_cancel()  # what is in line cannot be cancelled
        with self._mutex:
            self._refuse_when_closed()
            self._line.append(pending)
            self._start_ours()
            if not self._led:
                self._led = True
                self._called.release()
            elif 0 < self._awaited <= len(self._line):
                self._go()
        return future

    def _go(self) -> None:
        """Wait no longer for company, if anybody does."""
        self._awaited = 0
        self._company.notify()

    def close(self) -> None:
        """Take no more, and return when all that is in line is settled."""
        with self._mutex:
            self._closed = True
            self._go()
            while self._led:
                self._idle.wait()
            ours, self._ours = self._ours, None
        if ours is not None:
            self._called.release()
            ours.join()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    def _lead_when_called(self) -> None:
        while self._called.acquire() and not (self._closed and not self._led):
            self._gather()
            self._lead()

    def _gather(self) -> None:
        with self._mutex:
            if self._under_way < COMPANY:
                return
            self._awaited = ceil(self._under_way)
            until = time.monotonic() + self._under_way * PATIENCE_S
            seen = 0
            while seen < len(self._line) < self._awaited and self._may_wait():
                seen = len(self._line)
                self._company.wait(min(GAP_S, max(0.0, until - time.monotonic())))
            self._awaited = 0

    def _may_wait(self) -> bool:
        """Nobody in line has a thread that stands still."""
        return not self._closed and all(one.wake is None for one in self._line)

    def _lead(self) -> None:
        group: list[Pending] = []

        def take() -> Sequence[Pending]:
            if not group:
                group.extend(self._first_in_line())
            return group

        try:
            self._commit(take)
        finally:
            take()  # whatever happened, who led is told
            self._hand_over(group)
            for pending in group:
                pending.tell()

    def _first_in_line(self) -> list[Pending]:
        with self._mutex:
            line = self._line
            group = [line.popleft()]
            size = group[0].size
            while line and len(group) < MOST_APPENDS:
                size += line[0].size
                if size > MOST_BYTES:
                    break
                group.append(line.popleft())
        return group

    def _hand_over(self, group: Sequence[Pending]) -> None:
        with self._mutex:
            at_once = len(group) + len(self._line)
            self._under_way = max(at_once, self._under_way * FADES)
            if not self._line:
                self._led = False
                self._idle.notify_all()
            elif (following := self._line[0]).wake is not None:
                following.leads = True
                following.wake.release()
            else:
                self._called.release()

    def _leave(self, pending: Pending) -> None:
        """Let our thread lead it, if it comes to that: its caller was interrupted."""
        with self._mutex:
            pending.future = Future()
            pending.wake = None
            self._start_ours()
            if pending.leads:
                self._called.release()

    def _start_ours(self) -> None:
        if self._ours is None:
            self._ours = threading.Thread(
                target=self._lead_when_called, name="modelkeep-writer", daemon=True
            )
            self._ours.start()
