"""The writing side of a ledger file: many appends, one transaction, one fsync."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, TypeVar, cast

import apsw

from modelkeep.errors import (
    DiskFull,
    ModelkeepError,
    Unavailable,
    WrongVersion,
)
from modelkeep.proof.leaf import Leafer
from modelkeep.proof.merkle import Frontier
from modelkeep.store.group_commit import Pending, Take
from modelkeep.store.leaves import leaves_of
from modelkeep.store.port import EXISTS, NO_STREAM, Appended, Recognised, Recorded
from modelkeep.store.ranks import STRIDE
from modelkeep.store.reserve import check_space, reserved
from modelkeep.store.sqlite_file import told
from modelkeep.store.tail import Tail
from modelkeep.store.turnstile import Turnstile

V = TypeVar("V")

RECENT: Final = 64
"""Events of a stream among which ANY and EXISTS recognise a retry."""

_CACHED: Final = 1 << 16
_CHECKPOINT_PAGES: Final = 1000


# SQLite lets other threads in at each statement, and to get the interpreter back costs
# more than the statement: so all that can be is said of many rows at once.
_ROWS: Final = 64
_SIZES: Final = (1, 2, 4, 8, 16, 32, _ROWS)
_EVENT: Final = "insert into event values {}"
_STREAM: Final = "insert into stream (sid, name) values {}"
_KNOWN: Final = """
select name, sid, (select max(version) from event where sid = stream.sid)
from stream where name in ({})
"""


def _by_rows(statement: str, row: str) -> dict[int, str]:
    return {rows: statement.format(", ".join([row] * rows)) for rows in _SIZES}


_EVENTS: Final = _by_rows(_EVENT, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
_STREAMS: Final = _by_rows(_STREAM, "(?, ?)")
_LOOK_UPS: Final = _by_rows(_KNOWN, "?")


@dataclass(slots=True)
class _Stream:
    sid: int
    version: int


@dataclass(slots=True)
class _Added:
    """What a transaction adds: `rows` and `streams` are not inserted yet, each all in
    one list. `events` are for the tail, where there is one.
    """

    size: int
    now: int
    leaves: list[bytes] = field(default_factory=list)
    rows: list[int | bytes] = field(default_factory=list)
    streams: list[int | str] = field(default_factory=list)
    events: list[Recorded] | None = None


class Writer:
    """The only connection of this store that writes; one thread at a time.

    After an input or output error it refuses to write until the file is opened anew:
    the system may have dropped what it could not store, and would not say so twice.
    """

    def __init__(
        self,
        db: apsw.Connection,
        path: Path,
        origin: str,
        turnstile: Turnstile,
        ring: Callable[[], None],
        tail: Tail,
    ) -> None:
        self._db = db
        self._path = path
        self._turnstile = turnstile
        self._ring = ring
        self._tail = tail
        self._leafer = Leafer(origin)
        self._streams: dict[str, _Stream] = {}
        self._names: dict[str, int] = {}
        self._size = self._last_sid = -1
        self._log_pages = 0
        self._broken = ""
        self._reserve = reserved()
        db.set_wal_hook(self._grown)

    @property
    def broken(self) -> str:
        """Why nothing more is written; empty while all is well."""
        return self._broken

    def write(self, take: Take) -> None:
        """Settle each of a group: one that fails does not disturb the others."""
        if self._broken:
            return self._fail(take(), Unavailable(self._broken))
        try:
            check_space(self._path.parent, self._reserve)
            with self._turnstile:
                # Nothing new is no news: a ring of ours would hide another's.
                if self._transact(take):
                    self._ring()
                self._checkpoint()
        except DiskFull as error:
            self._fail(take(), error)
        except apsw.Error as error:
            reason = told(error, self._path)
            if not isinstance(error, apsw.FullError | apsw.BusyError):
                self._broken = f"{reason}; open it again to find out what it holds"
                reason = Unavailable(f"{self._broken}; the outcome is unknown")
            self._fail(take(), reason)
        except OSError as error:
            self._fail(take(), Unavailable(f"{self._path} cannot be locked: {error}"))
        except BaseException:
            self._fail(take(), Unavailable("interrupted; the outcome is unknown"))
            raise

    @staticmethod
    def _fail(group: Sequence[Pending], reason: ModelkeepError) -> None:
        for pending in group:
            pending.appended = None
            pending.error = reason

    def _transact(self, take: Take) -> bool:
        """Say whether anything was added."""
        db = self._db
        db.execute("begin immediate")
        try:
            # The right edge is read here, under the lock, and nowhere else.
            size, frontier = cast(
                "tuple[int, bytes]", db.execute("select size, frontier from tree").get
            )
            self._forget_what_others_changed(size)
            added = _Added(size, time.time_ns() // 1000)
            if self._tail.wanted:
                added.events = []
            group = take()
            self._look_up(group)
            for pending in group:
                try:
                    pending.appended = self._append(pending, added)
                except ModelkeepError as error:
                    pending.error = error
            if added.leaves:
                self._insert(added)
                self._grow(Frontier.load(size, frontier), added.leaves)
            db.execute("commit")
            self._size = size + len(added.leaves)
            if added.events:
                self._tail.add(added.events)
            return bool(added.leaves)
        except BaseException:
            self._forget()
            if db.in_transaction:
                db.execute("rollback")
            raise

    def _forget_what_others_changed(self, size: int) -> None:
        """Streams and names only come with events: the same size is the same log."""
        full = len(self._streams) > _CACHED or len(self._names) > _CACHED
        if size != self._size or full:
            self._forget()

    def _forget(self) -> None:
        self._streams.clear()
        self._names.clear()
        self._last_sid = -1

    def _look_up(self, group: Sequence[Pending]) -> None:
        """Learn of every stream of a group; one that is then unknown does not exist."""
        unknown = [p.stream for p in group if p.stream not in self._streams]
        for names in _chunks(unknown, 1):
            for name, sid, version in self._db.execute(_LOOK_UPS[len(names)], names):
                self._streams[name] = _Stream(sid, version)

    def _append(self, pending: Pending, added: _Added) -> Appended:
        """Add the events, or raise before anything is added."""
        stream = self._streams.get(pending.stream)
        version = stream.version if stream else NO_STREAM
        if pending.expected != version:
            self._insert(added)  # what is looked for may be among it
            earlier = self._earlier(pending, stream)
            if earlier is not None:
                return earlier
        made = leaves_of(self._leafer, pending, version + 1)
        sid = stream.sid if stream else self._new_stream(pending.stream, added)
        position = (added.size + len(added.leaves)) * STRIDE
        for event, id_, leaf in zip(pending.events, pending.ids, made, strict=True):
            version += 1
            added.rows += (
                position,
                sid,
                version,
                self._names.get(event.name) or self._name(event.name),
                event.schema_version,
                added.now,
                id_,
                leaf,
                event.data,
                event.metadata,
            )
            if added.events is not None:
                added.events.append(
                    Recorded(
                        position,
                        pending.stream,
                        version,
                        id_,
                        event.name,
                        event.schema_version,
                        added.now,
                        event.data,
                        event.metadata,
                    )
                )
            position += STRIDE
        added.leaves += made
        self._streams[pending.stream] = _Stream(sid, version)
        return Appended(position - STRIDE, version)

    def _insert(self, added: _Added) -> None:
        for many in _chunks(added.streams, 2):
            self._db.execute(_STREAMS[len(many) // 2], many)
        for rows in _chunks(added.rows, 10):
            self._db.execute(_EVENTS[len(rows) // 10], rows)
        added.streams.clear()
        added.rows.clear()

    def _earlier(self, pending: Pending, stream: _Stream | None) -> Recognised | None:
        """Return the first result when this is a retry, None when it is to be written.

        Called when the stream is not at the version expected, so a number that is no
        retry is WrongVersion. Without a number, an append that begins with an event
        unknown to the stream's recent ones is new.
        """
        expected, ids = pending.expected, pending.ids
        if stream is None:
            if expected == EXISTS or expected >= 0:
                _refuse(pending, NO_STREAM)
            return None
        after = expected
        if expected < NO_STREAM:
            recent = self._ids(stream.sid, stream.version - RECENT - len(ids), -1)
            versions = [version for version, id_, _ in recent if id_ == ids[0]]
            if not versions:
                return None
            after = versions[-1] - 1
        stored = self._ids(stream.sid, after, len(ids))
        if [id_ for _, id_, _ in stored] != ids:
            _refuse(pending, stream.version)
        version, _, position = stored[-1]
        return Recognised(position, version)

    def _ids(self, sid: int, after: int, most: int) -> list[tuple[int, bytes, int]]:
        rows = self._db.execute(
            """
            select version, id, position from event
            where sid = ? and version > ? order by version limit ?
            """,
            (sid, after, most),
        )
        return cast("list[tuple[int, bytes, int]]", rows.fetchall())

    def _new_stream(self, name: str, added: _Added) -> int:
        if self._last_sid < 0:
            last = self._db.execute("select coalesce(max(sid), 0) from stream").get
            self._last_sid = cast("int", last)
        self._last_sid += 1
        added.streams += (self._last_sid, name)
        return self._last_sid

    def _name(self, name: str) -> int:
        row = self._db.execute(
            "select nid from name where name = ?", (name,)
        ).fetchone()
        if row is None:
            self._db.execute("insert into name (name) values (?)", (name,))
            nid = self._db.last_insert_rowid()
        else:
            nid = cast("int", row[0])
        self._names[name] = nid
        return nid

    def _grow(self, frontier: Frontier, leaves: list[bytes]) -> None:
        nodes = frontier.extend(leaves)
        if nodes:
            self._db.executemany("insert into node values (?, ?, ?)", nodes)
        self._db.execute(
            "update tree set size = ?, frontier = ?", (frontier.size, frontier.dump())
        )

    def _grown(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Move the log into the file when it is long. What was committed stays so."""
        if self._log_pages < _CHECKPOINT_PAGES:
            return
        self._log_pages = 0
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.FullError, apsw.BusyError):
            pass  # the log holds everything; a later one will do
        except apsw.Error as error:
            self._broken = f"{told(error, self._path)}; open it again"


def _refuse(pending: Pending, current: int) -> NoReturn:
    raise WrongVersion(pending.stream, pending.expected, current)


def _chunks(values: list[V], width: int) -> Iterator[list[V]]:
    """Cut rows of `width` values, all in one list, into powers of two of rows."""
    at, rows = 0, _ROWS
    while at < len(values):
        while at + rows * width > len(values):
            rows >>= 1
        yield values[at : at + rows * width]
        at += rows * width
