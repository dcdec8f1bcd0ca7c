"""The reading side of a ledger file: pages of events, and of the Merkle tree.

A page is read at once and its snapshot let go, so that no slow reader keeps the log
from being folded into the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, cast

import apsw

from modelkeep.errors import Unavailable
from modelkeep.proof.merkle import Frontier
from modelkeep.store.port import NO_STREAM, START, Filter, Recorded
from modelkeep.store.ranks import PAGE_BYTES, PAGE_EVENTS, STRIDE, WINDOW
from modelkeep.store.sqlite_file import open_reader, told

_CHUNK: Final = 16
_PREFIXES: Final = 100  # SQLite's expressions are at most a thousand deep


_FORWARDS: Final = """
select e.position, s.name, e.version, e.id, n.name, e.schema_version,
       e.recorded_at, e.data, e.metadata
from stream s
cross join event e on e.sid = s.sid
cross join name n on n.nid = e.nid
where s.name = ? and e.version > ? order by e.version limit ?
"""

_BACKWARDS: Final = """
select e.position, s.name, e.version, e.id, n.name, e.schema_version,
       e.recorded_at, e.data, e.metadata
from stream s
cross join event e on e.sid = s.sid
cross join name n on n.nid = e.nid
where s.name = ? and e.version < ? order by e.version desc limit ?
"""

# The log in its order, whatever is looked up beside it: `cross` keeps the join so.
_ALL: Final = """
select e.position, s.name, e.version, e.id, n.name, e.schema_version,
       e.recorded_at, e.data, e.metadata
from event e
cross join stream s on s.sid = e.sid
cross join name n on n.nid = e.nid
where e.position > ? and e.position <= ? order by e.position limit ?
"""

_SOME: Final = """
select e.position, s.name, e.version, e.id, n.name, e.schema_version,
       e.recorded_at, e.data, e.metadata
from event e
cross join stream s on s.sid = e.sid
cross join name n on n.nid = e.nid
where e.position > ? and e.position <= ? and ({}) order by e.position limit ?
"""


class Page(NamedTuple):
    """`position`: everything up to there was read or filtered out."""

    events: list[Recorded]
    position: int


class Reader:
    """Thread-safe: each page borrows a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[apsw.Connection] = deque()
        self._closed = False

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def head(self) -> int:
        with self._reading() as db:
            last = db.execute("select max(position) from event").get
        return START if last is None else cast("int", last)

    def stream_version(self, stream: str) -> int:
        with self._reading() as db:
            last = db.execute(
                """
                select max(version) from event
                where sid = (select sid from stream where name = ?)
                """,
                (stream,),
            ).get
        return NO_STREAM if last is None else cast("int", last)

    def stream_page(
        self, stream: str, *, after: int, backwards: bool, most: int
    ) -> list[Recorded]:
        """Return versions beyond `after`, or below it; never empty when there are."""
        return self._page(
            _BACKWARDS if backwards else _FORWARDS, (stream, after, most), most
        )[0]

    def page(
        self, after: int, upto: int, *, only: Filter | None, most: int = PAGE_EVENTS
    ) -> Page:
        """Read on beyond `after`, through a filter a bounded stretch at a time."""
        if only is None or len(only.prefixes) > _PREFIXES:
            events, whole = self._page(_ALL, (after, upto, most), most)
            if not whole:
                upto = events[-1].position
            if only is not None:
                events = [one for one in events if only.admits(one.stream, one.name)]
        else:
            upto = min(upto, after // STRIDE * STRIDE + WINDOW)
            column = "s.name" if only.by == "stream" else "n.name"
            admitted = f"{column} >= ? and {column} < ?"
            sql = _SOME.format(" or ".join([admitted] * len(only.prefixes)) or "false")
            bounds = [bound for prefix in only.prefixes for bound in _span(prefix)]
            events, whole = self._page(sql, (after, upto, *bounds, most), most)
            if not whole:
                upto = events[-1].position
        return Page(events, upto)

    def tree(self) -> Frontier:
        with self._reading() as db:
            size, frontier = db.execute("select size, frontier from tree").get
        return Frontier.load(size, frontier)

    def leaves(self, start: int, end: int) -> list[bytes]:
        with self._reading() as db:
            rows = db.execute(
                """
                select leaf from event where position >= ? and position < ?
                order by position
                """,
                (start * STRIDE, end * STRIDE),
            ).fetchall()
        return [cast("bytes", leaf) for (leaf,) in rows]

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        with self._reading() as db:
            rows = db.execute(
                """
                select hash from node where level = ? and at >= ? and at < ?
                order by at
                """,
                (level, start, end),
            ).fetchall()
        return [cast("bytes", node) for (node,) in rows]

    def _page(
        self, sql: str, bindings: tuple[int | str | bytes, ...], most: int
    ) -> tuple[list[Recorded], bool]:
        """Return at most `most` events or PAGE_BYTES, and whether that was all."""
        events: list[Recorded] = []
        size, make = 0, Recorded._make
        with self._reading() as db:
            rows = db.execute(sql, bindings)
            while size < PAGE_BYTES:
                chunk = [make(row) for row in islice(rows, _CHUNK)]
                events += chunk
                if len(chunk) < _CHUNK:
                    return events, len(events) < most
                size += sum([len(event.data) + len(event.metadata) for event in chunk])
            rows.close()
        return events, False

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        if self._closed:
            raise Unavailable("the store is closed")
        try:
            db = self._borrow()
            try:
                yield db
            except BaseException:
                db.close(True)  # noqa: FBT003, whatever it was about to read
                raise
        except apsw.Error as error:
            raise told(error, self._path) from error
        self._idle.append(db)
        if self._closed:
            self.close()

    def _borrow(self) -> apsw.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return open_reader(self._path)


def _span(prefix: str) -> tuple[str, str | bytes]:
    """Return the first string with this prefix and the first beyond them all.

    Text is ordered by its UTF-8 bytes, which is the order of code points. Beyond every
    text are the blobs.
    """
    stem = prefix.rstrip(chr(0x10FFFF))
    if not stem:
        return prefix, b""
    last = stem[-1]
    following = "\ue000" if last == "\ud7ff" else chr(ord(last) + 1)  # no surrogates
    return prefix, stem[:-1] + following
