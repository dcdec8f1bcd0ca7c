"""The double's log: KurrentDB's rules for what may be appended, in memory.

It tests our side, not KurrentDB. The rules are those of the server's
`IndexWriter.CheckCommit`, with soft deletion and tombstones.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum
from threading import Condition
from typing import Final, NamedTuple
from uuid import UUID, uuid4

NO_STREAM, ANY, EXISTS = -1, -2, -4
STRIDE: Final = 137  # so that nobody computes a position by adding one
FOR_EVER: Final = (1 << 63) - 1  # the number of a tombstone


class Proposed(NamedTuple):
    id: UUID
    type: str
    data: bytes = b"{}"
    metadata: bytes = b""
    content_type: str = "application/json"

    @property
    def size(self) -> int:
        return len(self.data) + len(self.metadata) + 2 * len(self.type)


class Record(NamedTuple):
    position: int
    stream: str
    number: int
    event: Proposed
    created: int  # in units of 100 ns since 1970


class Decision(Enum):
    OK = "ok"
    IDEMPOTENT = "idempotent"
    WRONG_VERSION = "wrong version"
    DELETED = "deleted"


class Outcome(NamedTuple):
    decision: Decision
    number: int  # of the last event written; otherwise the stream's own last
    position: int = -1


class Log:
    """Shared by the threads of a server; `grown` is notified at each append.

    `remembered` bounds how many ids ANY and EXISTS recognise, in place of the server's
    8 MB.
    """

    def __init__(self, remembered: int = 10_000) -> None:
        self.grown = Condition()
        self._records: list[Record] = []
        self._streams: dict[str, list[Record]] = {}
        self._ranks: dict[int, int] = {}
        self._remembered = remembered
        self._recent: OrderedDict[UUID, Record] = OrderedDict()
        self._first_seen: dict[str, int] = {}
        self._tombs: set[str] = set()
        # What a new database already holds, or soon will.
        self.write_system_event()
        self.write_system_event("$users", "$UserCreated")
        self.write_system_event("$persistentSubscriptionConfig", "PersistentConfig1")

    def append(self, stream: str, expected: int, events: Sequence[Proposed]) -> Outcome:
        with self.grown:
            outcome = self._check(stream, expected, [event.id for event in events])
            if outcome.decision is Decision.OK:
                if self._is_deleted(stream):
                    self._first_seen[stream] = outcome.number + 1
                for event in events:
                    last = self._write(stream, event)
                outcome = Outcome(Decision.OK, last.number, last.position)
                self.grown.notify_all()
            return outcome

    def write_system_event(
        self, stream: str = "$settings", name: str = "$settings"
    ) -> int:
        with self.grown:
            record = self._write(stream, Proposed(uuid4(), name))
            self.grown.notify_all()
            return record.position

    def delete(self, stream: str) -> None:
        """Hide what the stream holds; its numbers go on when it is written again."""
        with self.grown:
            self._write("$$" + stream, Proposed(uuid4(), "$metadata"))
            self._first_seen[stream] = FOR_EVER
            self.grown.notify_all()

    def tombstone(self, stream: str) -> None:
        with self.grown:
            self._write(stream, Proposed(uuid4(), "$streamDeleted"), number=FOR_EVER)
            self._tombs.add(stream)
            self.grown.notify_all()

    def is_tombstoned(self, stream: str) -> bool:
        with self.grown:
            return stream in self._tombs

    def stream(self, stream: str) -> list[Record] | None:
        """Return what can be read of it; None when there is no such stream."""
        with self.grown:
            if self._is_deleted(stream) or stream not in self._streams:
                return None
            return self._streams[stream][self._first_seen.get(stream, 0) :]

    def all(self) -> list[Record]:
        with self.grown:
            return list(self._records)

    def beyond(self, position: int, limit: int) -> list[Record]:
        with self.grown:
            rank = self._ranks.get(position, -1) + 1
            return self._records[rank : rank + limit]

    def is_real(self, position: int) -> bool:
        """Whether a record stands there; the server refuses to read from elsewhere."""
        with self.grown:
            return position == 0 or position in self._ranks

    def end(self) -> int:
        with self.grown:
            return self._records[-1].position

    def _check(self, stream: str, expected: int, ids: Sequence[UUID]) -> Outcome:
        current = len(self._streams.get(stream, ())) - 1
        if stream in self._tombs:
            return Outcome(Decision.DELETED, FOR_EVER)
        if expected == EXISTS and (current < 0 or self._is_deleted(stream)):
            return Outcome(Decision.WRONG_VERSION, current)
        if expected in (ANY, EXISTS):
            return self._check_recent(stream, current, ids)
        if expected < current:
            return self._check_earlier(stream, current, expected, ids)
        known = Decision.OK if expected == current else Decision.WRONG_VERSION
        return Outcome(known, current)

    def _check_earlier(
        self, stream: str, current: int, expected: int, ids: Sequence[UUID]
    ) -> Outcome:
        there = self._streams[stream][expected + 1 : expected + 1 + len(ids)]
        if [record.event.id for record in there] == list(ids):
            return Outcome(Decision.IDEMPOTENT, there[-1].number, there[-1].position)
        reborn = expected == NO_STREAM and self._is_deleted(stream)
        if reborn and there[0].event.id != ids[0]:
            return Outcome(Decision.OK, current)
        return Outcome(Decision.WRONG_VERSION, current)

    def _check_recent(self, stream: str, current: int, ids: Sequence[UUID]) -> Outcome:
        known = [
            record
            for record in map(self._recent.get, ids)
            if record is not None and record.stream == stream
        ]
        if len(known) == len(ids):
            return Outcome(Decision.IDEMPOTENT, known[-1].number, known[-1].position)
        first = self._recent.get(ids[0])
        if first is not None and first.stream == stream:
            return Outcome(Decision.WRONG_VERSION, current)  # the server: corrupted
        return Outcome(Decision.OK, current)

    def _is_deleted(self, stream: str) -> bool:
        return self._first_seen.get(stream) == FOR_EVER

    def _write(self, stream: str, event: Proposed, number: int | None = None) -> Record:
        there = self._streams.setdefault(stream, [])
        rank = len(self._records)
        record = Record(
            position=STRIDE * (rank + 1),
            stream=stream,
            number=len(there) if number is None else number,
            event=event,
            created=time.time_ns() // 100,
        )
        self._records.append(record)
        self._ranks[record.position] = rank
        there.append(record)
        self._recent[event.id] = record
        if len(self._recent) > self._remembered:
            self._recent.popitem(last=False)
        return record
