"""A bounded queue, and the thread that sends it: batches out, acknowledgements in.

Each round is one stream: what is queued goes out, and the end of the stream makes the
server write at once. What was not acknowledged goes out again with the same ids. When a
round is refused for good, its batches go one by one, and the one at fault is dropped
and counted.

The thread is no daemon: it ends when the main thread has, after a last round, so that
leaving the program loses nothing that a server takes within `exit_s`.

A caller's thread appends one tuple and takes no lock: whatever can be done later is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import grpc

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.sdk.batches import (
    Block,
    Given,
    Names,
    Outcome,
    Row,
    Source,
    outcome_requests,
    requests,
    rowed,
)
from modelkeep.sdk.resources import Usage, Used, checked, share

log = logging.getLogger(__name__)

ROUND_ROWS: Final = 65_536
ROUND_BATCHES: Final = 32
PAUSE_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
ROUND_S: Final = 30.0
HOPELESS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Asking again would be answered the same."""

Metadata = tuple[tuple[str, str], ...]
Sendable = pb.ObserveRequest | pb.RecordOutcomesRequest


class Stats(NamedTuple):
    """Rows, since the client began. Dropped: the queue was full. Refused: by the server
    for good, or not sendable at all; `last_error` says why.
    """

    logged: int
    acknowledged: int
    queued: int
    dropped: int
    refused: int
    retries: int
    last_error: str


@dataclass
class Sender:
    """`limit` bounds the rows held: those queued and those not acknowledged. Threads
    that find the last place free at the same instant may each take it.
    """

    source: Source
    channel: Callable[[], grpc.Channel]
    metadata: Callable[[], Metadata]
    limit: int
    interval_s: float
    exit_s: float
    usage: Usage | None = None
    acknowledged: int = 0
    dropped: int = 0
    refused: int = 0
    retries: int = 0
    last_error: str = ""
    _given: deque[Given] = field(default_factory=deque)
    """What callers left, as they left it."""
    _room: int = 0
    """So many may lie there: none before there is a thread, none once it ends."""
    _rows: deque[Row | Block] = field(default_factory=deque)
    _outcomes: deque[Outcome] = field(default_factory=deque)
    _packed: dict[str, Sendable] = field(default_factory=dict)
    _texts: set[str] = field(default_factory=set)
    """Columns that held text once: all missing, they are text still."""
    _names: Names = field(default_factory=dict)
    _taken: int = 0
    """Rows that came, but for those in `_given`."""
    _held: int = 0
    """Those of them that are not settled yet."""
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _wake: threading.Event = field(default_factory=threading.Event)
    _settled: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _closing: bool = False

    # --- the caller's side: never blocks, never raises ---------------------------

    def put(self, given: Given) -> None:
        # No lock: to append is one step, and the thread only ever makes room.
        if len(self._given) < self._room:
            self._given.append(given)
        else:
            self._put_first_or_drop(given)

    def _put_first_or_drop(self, given: Given) -> None:
        with self._counting:
            if self._admits(1):
                self._given.append(given)

    # What is given together is put at once, so that the thread never cuts it: the same
    # calls make the same batches.

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        with self._counting:
            self._rows.extend([one for one in blocks if self._takes(one.rows)])

    def put_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        with self._counting:
            self._outcomes.extend([one for one in outcomes if self._takes(1)])

    def _takes(self, rows: int) -> bool:
        if not self._admits(rows):
            return False
        self._hold(rows)
        return True

    def _admits(self, rows: int) -> bool:
        if self.queued + rows > self.limit or self._closing:
            self.dropped += rows
            return False
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="modelkeep-sdk", daemon=False
            )
            self._thread.start()
            self._room = self.limit - self._held
        return True

    def _hold(self, rows: int) -> None:
        self._held += rows
        self._taken += max(rows, 0)
        self._room = 0 if self._closing else self.limit - self._held

    def used(self) -> Used | None:
        """Ask for what was used since; None where nobody measures."""
        if self.usage is None:
            return None
        try:
            return checked(self.usage())
        except Exception as error:  # noqa: BLE001  # its decisions are sent all the same
            self.last_error = f"usage: {type(error).__name__}: {error}"
            return None

    def refuse(self, rows: int, why: str) -> None:
        """Count rows that never came as far as the queue."""
        with self._counting:
            self.refused += rows
            self.last_error = why

    @property
    def queued(self) -> int:
        return self._held + len(self._given)

    @property
    def stats(self) -> Stats:
        with self._counting:
            return Stats(
                self._taken + len(self._given),
                self.acknowledged,
                self.queued,
                self.dropped,
                self.refused,
                self.retries,
                self.last_error,
            )

    def flush(self, timeout: float) -> bool:
        """Wait until all that was queued is settled; say whether it is."""
        deadline = time.monotonic() + timeout
        with self._settled:
            while self.queued:
                self._wake.set()
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._settled.wait(min(left, 0.05))
        return True

    def close(self, timeout: float) -> bool:
        """Flush, then stop. Rows that are left are dropped and counted."""
        done = self.flush(timeout)
        with self._counting:
            self._closing, self._room = True, 0
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=max(1.0, timeout))
            if not thread.is_alive():
                self._drop_rest()  # what somebody put as it ended
        return done

    def forget(self) -> None:
        """In a forked child: what was queued is the parent's to send."""
        self._given, self._room, self._held, self._taken = deque(), 0, 0, 0
        self._rows, self._outcomes, self._packed = deque(), deque(), {}
        self._counting = threading.Lock()
        self._wake, self._settled = threading.Event(), threading.Condition()
        self._thread = None
        self.acknowledged = self.dropped = self.refused = 0

    # --- the thread's side -------------------------------------------------------

    def _run(self) -> None:
        failures, deadline = 0, None
        while True:
            if not self.queued:
                self._wake.wait(self.interval_s)
            self._wake.clear()
            self._take_in()
            if deadline is None and not threading.main_thread().is_alive():
                deadline = time.monotonic() + self.exit_s
            closing = self._closing
            if self.queued:
                failures = 0 if self._round() else failures + 1
                self._tell()
            over = deadline is not None and (
                not self.queued or time.monotonic() > deadline
            )
            if closing or over:
                self._drop_rest()
                return
            self._rest(failures, deadline)

    def _rest(self, failures: int, deadline: float | None) -> None:
        if failures:
            pause = PAUSE_S[min(failures, len(PAUSE_S)) - 1]
            if deadline is not None:
                pause = min(pause, max(0.0, deadline - time.monotonic()))
            self._wake.wait(pause)
        elif self.queued < ROUND_ROWS:
            # Let a batch gather, unless somebody waits for it.
            self._wake.wait(self.interval_s)

    def _drop_rest(self) -> None:
        with self._counting:
            self._closing, self._room = True, 0
            left = len(self._given)
            self._taken += left
            self.dropped += self._held + left
            self._held = 0
            self._given.clear()
            self._rows.clear()
            self._outcomes.clear()
        self._packed.clear()
        self._tell()

    def _tell(self) -> None:
        with self._settled:
            self._settled.notify_all()

    def _take_in(self) -> None:
        """Make rows of what callers left: they share their names, and take less."""
        for _ in range(len(self._given)):
            with self._counting:
                self._hold(1)  # before it leaves there: whoever looks misses none
                given = self._given.popleft()
            try:
                self._rows.append(rowed(given, self._names))
            except Exception as error:  # noqa: BLE001  # the others are sent
                self._settle(1, refused=f"{type(error).__name__}: {error}")

    def _round(self) -> bool:
        """Send what there is. False when the server could not be had."""
        if not self._packed:
            self._pack()
        packed = list(self._packed.values())
        decisions = [one for one in packed if isinstance(one, pb.ObserveRequest)]
        outcomes = [one for one in packed if isinstance(one, pb.RecordOutcomesRequest)]
        # Outcomes speak of decisions: these first.
        return self._send_all(decisions) and self._send_all(outcomes)

    def _pack(self) -> None:
        rows: list[Row] = []
        told: list[Outcome] = []
        try:
            while self._rows and len(rows) + len(self._packed) < ROUND_ROWS:
                item = self._rows.popleft()
                if isinstance(item, Row):
                    rows.append(item)
                else:
                    self._packed[item.request.batch] = item.request
                    if len(self._packed) >= ROUND_BATCHES:
                        break
            self._pack_rows(rows)
            while self._outcomes and len(told) < ROUND_ROWS:
                told.append(self._outcomes.popleft())
            self._pack_outcomes(told)
        except Exception as error:  # the caller's loop must live
            log.exception("what was logged cannot be packed")
            self._settle(len(rows) + len(told), refused=f"{error}")

    def _pack_rows(self, rows: list[Row]) -> None:
        packed = list(requests(self.source, rows, self._texts))
        self._tell_used(packed)
        self._packed.update((request.batch, request) for request in packed)
        left = len(rows) - sum(request.rows for request in packed)
        rows.clear()
        if left:
            self._settle(left, refused="a decision was logged twice")

    def _tell_used(self, packed: Sequence[pb.ObserveRequest]) -> None:
        used = self.used() if packed else None
        if used is None:
            return
        start, rows = 0, sum(request.rows for request in packed)
        for request in packed:
            end = start + request.rows
            request.resources.CopyFrom(share(used, start, end, rows))
            start = end

    def _pack_outcomes(self, told: list[Outcome]) -> None:
        packed = list(outcome_requests(self.source.model, told))
        self._packed.update((request.batch, request) for request in packed)
        left = len(told) - sum(request.rows for request in packed)
        told.clear()
        # Of two words on one decision the later is sent: both are dealt with.
        self._settle(left)

    def _send_all(self, batches: Sequence[Sendable]) -> bool:
        if not batches:
            return True
        try:
            self._send(batches)
        except grpc.RpcError as error:
            return self._failed(batches, error)
        return True

    def _failed(self, batches: Sequence[Sendable], error: grpc.RpcError) -> bool:
        code, why = _said(error)
        left = [one for one in batches if one.batch in self._packed]
        self.last_error = why
        if code not in HOPELESS:
            self.retries += 1
            return False
        if len(left) == 1:
            log.warning("%d rows were refused: %s", left[0].rows, why)
            del self._packed[left[0].batch]
            self._settle(left[0].rows, refused=why)
            return True
        return all(self._send_all([one]) for one in left)

    def _send(self, batches: Sequence[Sendable]) -> None:
        """Raises grpc.RpcError; what was acknowledged before is settled."""
        stub = MonitoringServiceStub(self.channel())
        for batch in _acknowledged(stub, batches, self.metadata()):
            done = self._packed.pop(batch, None)
            if done is not None:
                self._settle(done.rows)

    def _settle(self, rows: int, *, refused: str = "") -> None:
        with self._counting:
            self._hold(-rows)
            if refused:
                self.refused += rows
                self.last_error = refused
            else:
                self.acknowledged += rows


def _acknowledged(
    stub: MonitoringServiceStub, batches: Sequence[Sendable], metadata: Metadata
) -> Iterator[str]:
    answers: Iterable[pb.ObserveResponse | pb.RecordOutcomesResponse]
    if isinstance(batches[0], pb.ObserveRequest):
        answers = stub.Observe(iter(batches), timeout=ROUND_S, metadata=metadata)  # type: ignore[arg-type]  # all are of one kind
    else:
        answers = stub.RecordOutcomes(iter(batches), timeout=ROUND_S, metadata=metadata)  # type: ignore[arg-type]  # likewise
    for answer in answers:
        yield answer.batch


def _said(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, grpc.Call):
        return error.code(), f"{error.code().name}: {error.details()}"
    return grpc.StatusCode.UNKNOWN, str(error)
