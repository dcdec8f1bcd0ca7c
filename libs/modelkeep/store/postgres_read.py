"""The reading side of a ledger in PostgreSQL: pages of events, and of the Merkle tree.

A page is one statement, so it is of one moment, and a server that was away is asked
again: to read twice does no harm.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import psycopg
from psycopg.types.numeric import Int8

from modelkeep.errors import Corrupt, Unavailable
from modelkeep.proof.merkle import Frontier
from modelkeep.store.checks import STREAM_NAME
from modelkeep.store.port import NO_STREAM, START, Filter, Recorded
from modelkeep.store.postgres_arrays import Texts
from modelkeep.store.postgres_link import Address, Connection, connect, lost, told
from modelkeep.store.ranks import PAGE_BYTES, PAGE_EVENTS, STRIDE, WINDOW

CONNECTIONS: Final = 8
PAUSE_S: Final = 0.1

_FORWARDS: Final = """
select position, stream, version, uuid_send(id), name, schema_version, recorded_at,
       data, metadata
from (
    select *, sum(octet_length(data) + octet_length(metadata)) over upto as bytes,
           octet_length(data) + octet_length(metadata) as own
    from event where stream = %(stream)b and version > %(after)b
    window upto as (order by version rows unbounded preceding)
    order by version limit %(most)b
) page
where bytes - own < %(bytes)b order by version
"""

_BACKWARDS: Final = """
select position, stream, version, uuid_send(id), name, schema_version, recorded_at,
       data, metadata
from (
    select *, sum(octet_length(data) + octet_length(metadata)) over upto as bytes,
           octet_length(data) + octet_length(metadata) as own
    from event where stream = %(stream)b and version < %(after)b
    window upto as (order by version desc rows unbounded preceding)
    order by version desc limit %(most)b
) page
where bytes - own < %(bytes)b order by version desc
"""

# The log knows its own length in bytes, so a page of it need not be added up.
_ALL: Final = """
select position, stream, version, uuid_send(id), name, schema_version, recorded_at,
       data, metadata
from event
where position > %(after)b and position <= %(upto)b
  and reach <= %(bytes)b + coalesce(
      (select reach from event where position <= %(after)b
       order by position desc limit 1), 0)
order by position limit %(most)b
"""

_SOME: Final = """
select position, stream, version, uuid_send(id), name, schema_version, recorded_at,
       data, metadata, bytes
from (
    select *, sum(octet_length(data) + octet_length(metadata)) over upto as bytes,
           octet_length(data) + octet_length(metadata) as own
    from event
    where position > %(after)b and position <= %(upto)b
      and case when %(by_stream)b then stream ^@ any(%(prefixes)b)
               else name ^@ any(%(prefixes)b) end
    window upto as (order by position rows unbounded preceding)
    order by position limit %(most)b
) page
where bytes - own < %(bytes)b order by position
"""


class Reader:
    """Thread-safe: each page borrows one of at most CONNECTIONS sessions.

    `patience`, in seconds, is how long a server that went away is waited for.
    """

    def __init__(self, address: Address, *, timeout: float, patience: float) -> None:
        self._address = address
        self._timeout, self._patience = timeout, patience
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._idle: deque[Connection] = deque()
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()
        self._forget()

    def head(self) -> int:
        ((size,),) = self._rows("select size from head")
        return (size - 1) * STRIDE if size else START

    def stream_version(self, stream: str) -> int:
        if not STREAM_NAME.fullmatch(stream):
            return NO_STREAM
        ((last,),) = self._rows(
            "select max(version) from event where stream = %(stream)b", stream=stream
        )
        return NO_STREAM if last is None else cast("int", last)

    def stream_page(
        self, stream: str, *, after: int, backwards: bool, most: int
    ) -> list[Recorded]:
        """Return versions beyond `after`, or below it; never empty when there are."""
        if not STREAM_NAME.fullmatch(stream):
            return []
        rows = self._rows(
            _BACKWARDS if backwards else _FORWARDS,
            stream=stream,
            after=Int8(after),
            most=Int8(most),
            bytes=Int8(PAGE_BYTES),
        )
        return [Recorded._make(row) for row in rows]

    def page(
        self, after: int, upto: int, *, only: Filter | None, most: int = PAGE_EVENTS
    ) -> tuple[list[Recorded], int]:
        """Read on beyond `after`, through a filter a bounded stretch at a time.

        Raises Corrupt when an event is missing where nothing is left out.
        """
        after = max(after, START)
        if only is None:
            return self._whole_page(after, upto, most)
        upto = min(upto, after // STRIDE * STRIDE + WINDOW)
        rows = self._rows(
            _SOME,
            after=Int8(after),
            upto=Int8(upto),
            by_stream=only.by == "stream",
            prefixes=Texts.pack(filter(_may_begin_a_text, only.prefixes)),
            most=Int8(most),
            bytes=Int8(PAGE_BYTES),
        )
        events = [Recorded._make(row[:-1]) for row in rows]
        if rows and (len(rows) == most or rows[-1][-1] >= PAGE_BYTES):
            upto = events[-1].position
        return events, upto

    def _whole_page(
        self, after: int, upto: int, most: int
    ) -> tuple[list[Recorded], int]:
        rows = self._rows(
            _ALL,
            after=Int8(after),
            upto=Int8(upto),
            most=Int8(most),
            bytes=Int8(PAGE_BYTES),
        )
        events = [Recorded._make(row) for row in rows]
        first = (after // STRIDE + 1) * STRIDE
        due = first + (len(events) - 1) * STRIDE
        if first <= upto and (not events or events[-1].position != due):
            raise Corrupt(f"{self._address}: an event is missing after {after}")
        return events, events[-1].position if events else upto

    def tree(self) -> Frontier:
        ((size, frontier),) = self._rows("select size, frontier from head")
        return Frontier.load(size, frontier)

    def leaves(self, start: int, end: int) -> list[bytes]:
        rows = self._rows(
            """
            select leaf from event
            where position >= %(start)b and position < %(end)b order by position
            """,
            start=Int8(start * STRIDE),
            end=Int8(end * STRIDE),
        )
        return [cast("bytes", leaf) for (leaf,) in rows]

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        rows = self._rows(
            """
            select hash from node
            where level = %(level)b and at >= %(start)b and at < %(end)b order by at
            """,
            level=Int8(level),
            start=Int8(start),
            end=Int8(end),
        )
        return [cast("bytes", node) for (node,) in rows]

    def _rows(self, sql: str, **named: object) -> Sequence[tuple[Any, ...]]:
        until = time.monotonic() + self._patience
        while True:
            try:
                with self._borrowed() as db:
                    asked = db.execute(sql.encode(), named, prepare=True, binary=True)
                    return asked.fetchall()
            except psycopg.Error as error:
                self._forget()  # what broke one broke all of them
                if not lost(error) or time.monotonic() > until:
                    raise told(error, self._address) from None
            self._closed.wait(PAUSE_S)

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        with self._free:
            if self._closed.is_set():
                raise Unavailable("the store is closed")
            db = self._idle.pop() if self._idle else self._connect()
            try:
                yield db
            except BaseException:
                db.close()
                raise
            self._idle.append(db)
            if self._closed.is_set():
                self._forget()

    def _connect(self) -> Connection:
        return connect(self._address, self._timeout, readonly=True)

    def _forget(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread was quicker
                return


def _may_begin_a_text(prefix: str) -> bool:
    return "\0" not in prefix and not any("\ud800" <= c <= "\udfff" for c in prefix)
