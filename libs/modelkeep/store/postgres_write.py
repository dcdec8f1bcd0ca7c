"""The writing side of a ledger in PostgreSQL: many appends, one statement, one commit.

The row `head` is what appends stand in line for. Who alone writes need not ask how it
stands: the statement that adds events moves it from the size that was last seen, and
does nothing where that is no longer so. Then the row is locked first, and what was
believed is asked again.

An error is not "not written". When the connection fails, what was sent may be
committed, now or a moment later. It is looked for where it would stand: nothing else
can stand there, as an append moves the head from one size only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn

import psycopg
from psycopg.types.numeric import Int8

from modelkeep.errors import Corrupt, Invalid, ModelkeepError, Unavailable, WrongVersion
from modelkeep.proof.leaf import Leafer
from modelkeep.proof.merkle import Frontier
from modelkeep.store.group_commit import Pending, Take
from modelkeep.store.leaves import leaves_of
from modelkeep.store.port import EXISTS, NO_STREAM, Appended, Recognised, Recorded
from modelkeep.store.postgres_arrays import Blobs, Ids, Numbers, Texts
from modelkeep.store.postgres_link import (
    Address,
    Connection,
    check_server,
    connect,
    lost,
    told,
)
from modelkeep.store.ranks import STRIDE
from modelkeep.store.tail import Tail

RECENT: Final = 64
"""Events of a stream among which ANY and EXISTS recognise a retry."""

PAUSE_S: Final = 0.1
_CACHED: Final = 1 << 16
"""More streams than this are forgotten, all at once."""


_ADD: Final = """
with grown as (
    update head
    set size = %(size)b, reach = %(reach)b, frontier = %(frontier)b
    where size = %(known)b
    returning (extract(epoch from clock_timestamp()) * 1000000)::bigint as stamp,
              pg_notify(%(channel)b, '')
), noded as (
    insert into node (level, at, hash)
    select new.level, new.at, new.hash
    from grown, unnest(%(levels)b, %(ats)b, %(hashes)b) as new (level, at, hash)
), added as (
    insert into event (position, version, schema_version, recorded_at, reach, id,
                       stream, name, leaf, data, metadata)
    select new.position, new.version, new.schema_version, grown.stamp, new.reach,
           new.id, new.stream, new.name, new.leaf, new.data, new.metadata
    from grown, unnest(%(positions)b, %(versions)b, %(schema_versions)b, %(reaches)b,
                       %(ids)b, %(streams)b, %(names)b, %(leaves)b, %(data)b,
                       %(metadata)b)
             as new (position, version, schema_version, reach, id, stream, name,
                     leaf, data, metadata)
)
select stamp from grown
"""

_LOCK: Final = "select size, reach, frontier from head for update"

_KNOWN: Final = """
select wanted.name,
       (select max(version) from event where stream = wanted.name)
from unnest(%(streams)b) as wanted (name)
"""

_IDS: Final = """
select version, uuid_send(id), position from event
where stream = %(stream)b and version > %(after)b order by version limit %(most)b
"""


class _Place(NamedTuple):
    """Where the first event of an append would stand, and its leaf."""

    position: int
    leaf: bytes


@dataclass(slots=True)
class _Added:
    """What a group adds to a log of so many events and bytes."""

    size: int
    reach: int
    frontier: Frontier
    leaves: list[bytes] = field(default_factory=list)
    reaches: list[int] = field(default_factory=list)
    events: list[Recorded] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)

    def of(self, stream: str, after: int) -> list[tuple[int, bytes, int]]:
        return [
            (one.version, one.id, one.position)
            for one in self.events
            if one.stream == stream and one.version > after
        ]


class Writer:
    """The only session of this store that writes; one thread at a time.

    A server that went away is waited for `patience` seconds. Then the outcome of what
    was sent is unknown, and whoever appended retries with the same ids.
    """

    def __init__(
        self,
        address: Address,
        origin: str,
        db: Connection,
        ring: Callable[[], None],
        ours: Callable[[int], None],
        tail: Tail,
        *,
        timeout: float,
        patience: float,
    ) -> None:
        self._address = address
        self._ring, self._ours = ring, ours
        self._tail = tail
        self._timeout, self._patience = timeout, patience
        self._leafer = Leafer(origin)
        self._streams: dict[str, int] = {}
        self._size = -1
        self._reach = 0
        self._frontier = Frontier.empty()
        self._alone = False
        self._doubt: _Place | None = None
        self._db: Connection | None = None
        self._take(db)

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def write(self, take: Take) -> None:
        """Settle each of a group: one that fails does not disturb the others."""
        until = time.monotonic() + self._patience
        try:
            while True:
                try:
                    self._transact(take)
                    break
                except psycopg.Error as error:
                    reason = told(error, self._address)
                    self.close()  # whatever it was about to do, it is over
                    self._forget()
                    gone = lost(error)
                    if not gone or time.monotonic() > until:
                        if self._doubt is not None and gone:
                            reason = Unavailable(f"{reason}; the outcome is unknown")
                        self._fail(take(), reason)
                        break
                time.sleep(PAUSE_S)
        except ModelkeepError as error:
            self.close()
            self._fail(take(), error)
        except BaseException:
            self.close()
            self._fail(take(), Unavailable("interrupted; the outcome is unknown"))
            raise
        finally:
            self._doubt = None

    def _fail(self, group: Sequence[Pending], reason: ModelkeepError) -> None:
        self._forget()
        for pending in group:
            pending.appended = None
            pending.error = reason

    def _transact(self, take: Take) -> None:
        db = self._connected()
        if self._alone and self._doubt is None:
            if self._attempt(db, take(), locked=False):
                return
            self._forget()  # somebody else wrote meanwhile
        self._stand_in_line(db, take)

    def _stand_in_line(self, db: Connection, take: Take) -> None:
        """Lock the head, then do as `_attempt`: what is known is true until the end."""
        with db.pipeline():
            db.execute("begin")
            asked = db.execute(_LOCK, prepare=True, binary=True)
        row = asked.fetchone()
        if row is None:
            raise Corrupt(f"{self._address} has lost its head")
        size, reach, frontier = row
        alone = size == self._size
        if not alone or len(self._streams) > _CACHED:
            self._forget()
        self._alone, self._size, self._reach = alone, size, reach
        self._frontier = Frontier.load(size, frontier)
        if self._was_written(db):
            db.execute("commit")
            self._ring()
        elif not self._attempt(db, take(), locked=True):
            raise Corrupt(f"{self._address}: its head moved while it was locked")

    def _was_written(self, db: Connection) -> bool:
        """Say whether what was in doubt is there; nobody is on the way to write it.

        Its results, made when it was sent, are then those to tell.
        """
        if self._doubt is None:
            return False
        position, leaf = self._doubt
        stored = db.execute(
            "select leaf from event where position = %(position)b",
            {"position": Int8(position)},
            binary=True,
        ).fetchone()
        self._doubt = None
        return stored == (leaf,)

    def _attempt(
        self, db: Connection, group: Sequence[Pending], *, locked: bool
    ) -> bool:
        """Settle the group as the log is known to be; say whether it is still so."""
        added = _Added(self._size, self._reach, self._frontier.copy())
        self._look_up(db, group)
        for pending in group:
            pending.appended = pending.error = None
            try:
                pending.appended = self._append(db, pending, added)
            except ModelkeepError as error:
                pending.error = error
        if not added.events:
            return self._is_so(db, locked=locked)
        stamp = self._add(db, added, locked=locked)
        if stamp is None:
            return False
        self._grown(added, stamp)
        return True

    def _is_so(self, db: Connection, *, locked: bool) -> bool:
        """Say whether the log is what it was believed to be, where nothing is added."""
        if locked:
            db.execute("commit")
            return True
        known = {"known": Int8(self._size)}
        sql = "select from head where size = %(known)b"
        return db.execute(sql, known, prepare=True).fetchone() is not None

    def _look_up(self, db: Connection, group: Sequence[Pending]) -> None:
        """Learn of every stream of a group; one that is then unknown does not exist."""
        unknown = {p.stream for p in group if p.stream not in self._streams}
        if unknown:
            asked = {"streams": Texts.pack(unknown)}
            for name, last in db.execute(_KNOWN, asked, prepare=True, binary=True):
                self._streams[name] = NO_STREAM if last is None else last

    def _append(self, db: Connection, pending: Pending, added: _Added) -> Appended:
        """Add the events, or raise before anything is added."""
        stream = pending.stream
        version = added.versions.get(stream, self._streams[stream])
        if pending.expected != version:
            earlier = self._earlier(db, pending, version, added)
            if earlier is not None:
                return earlier
        leaves = self._leaves(pending, version + 1)
        position = (added.size + len(added.leaves)) * STRIDE
        for event, id_ in zip(pending.events, pending.ids, strict=True):
            version += 1
            added.reach += len(event.data) + len(event.metadata)
            added.reaches.append(added.reach)
            added.events.append(
                Recorded(
                    position,
                    stream,
                    version,
                    id_,
                    event.name,
                    event.schema_version,
                    0,  # the server says when
                    event.data,
                    event.metadata,
                )
            )
            position += STRIDE
        added.leaves += leaves
        added.versions[stream] = version
        return Appended(position - STRIDE, version)

    def _leaves(self, pending: Pending, version: int) -> list[bytes]:
        made = leaves_of(self._leafer, pending, version)
        if any("\0" in event.name for event in pending.events):
            raise Invalid.field("events", "a name has a zero in it")
        return made

    def _earlier(
        self, db: Connection, pending: Pending, version: int, added: _Added
    ) -> Recognised | None:
        """Return the first result when this is a retry, None when it is to be written.

        Called when the stream is not at the version expected, so a number that is no
        retry is WrongVersion. Without a number, an append that begins with an event
        unknown to the stream's recent ones is new.
        """
        expected, ids = pending.expected, pending.ids
        if version == NO_STREAM:
            if expected == EXISTS or expected >= 0:
                _refuse(pending, NO_STREAM)
            return None
        if expected > version:
            _refuse(pending, version)
        after, most = expected, len(ids)
        if expected < NO_STREAM:
            most += RECENT
            after = max(NO_STREAM, version - most)
        stored = self._ids(db, pending.stream, after, most, added)
        if expected < NO_STREAM:
            first = [at for at, (_, id_, _) in enumerate(stored) if id_ == ids[0]]
            if not first:
                return None
            stored = stored[first[-1] :]
        if [id_ for _, id_, _ in stored[: len(ids)]] != ids:
            _refuse(pending, version)
        last, _, position = stored[len(ids) - 1]
        return Recognised(position, last)

    def _ids(
        self, db: Connection, stream: str, after: int, most: int, added: _Added
    ) -> list[tuple[int, bytes, int]]:
        """Return versions, ids and positions beyond `after`, in order."""
        asked = {"stream": stream, "after": Int8(after), "most": Int8(most)}
        rows = db.execute(_IDS, asked, prepare=True, binary=True).fetchall()
        return [*rows, *added.of(stream, after)]

    def _add(self, db: Connection, added: _Added, *, locked: bool) -> int | None:
        """Return the server's stamp; None when the log is not what it was."""
        events = added.events
        nodes = added.frontier.extend(added.leaves)
        asked = {
            "known": Int8(added.size),
            "size": Int8(added.frontier.size),
            "reach": Int8(added.reach),
            "frontier": added.frontier.dump(),
            "channel": self._address.channel,
            "levels": Numbers.pack(level for level, _, _ in nodes),
            "ats": Numbers.pack(at for _, at, _ in nodes),
            "hashes": Blobs.packed([node for _, _, node in nodes]),
            "positions": Numbers.pack(one.position for one in events),
            "versions": Numbers.pack(one.version for one in events),
            "schema_versions": Numbers.pack(one.schema_version for one in events),
            "reaches": Numbers.pack(added.reaches),
            "ids": Ids.packed([one.id for one in events]),
            "streams": Texts.pack(one.stream for one in events),
            "names": Texts.pack(one.name for one in events),
            "leaves": Blobs.packed(added.leaves),
            "data": Blobs.packed([one.data for one in events]),
            "metadata": Blobs.packed([one.metadata for one in events]),
        }
        self._doubt = _Place(events[0].position, added.leaves[0])
        if locked:
            with db.pipeline():
                answer = db.execute(_ADD, asked, prepare=True, binary=True)
                db.execute("commit")
        else:
            answer = db.execute(_ADD, asked, prepare=True, binary=True)
        row = answer.fetchone()
        self._doubt = None
        return None if row is None else int(row[0])

    def _grown(self, added: _Added, stamp: int) -> None:
        """Know the log as it is now, and tell of it."""
        self._size, self._reach = added.frontier.size, added.reach
        self._frontier = added.frontier
        self._streams |= added.versions
        if self._tail.wanted:
            self._tail.add([one._replace(recorded_at=stamp) for one in added.events])
        self._ring()

    def _forget(self) -> None:
        self._streams.clear()
        self._size = -1
        self._alone = False

    def _connected(self) -> Connection:
        if self._db is None:
            db = connect(self._address, self._timeout)
            try:
                check_server(db, self._address)
            except BaseException:
                db.close()
                raise
            self._take(db)
            return db
        return self._db

    def _take(self, db: Connection) -> None:
        self._ours(db.info.backend_pid)
        self._db = db


def _refuse(pending: Pending, current: int) -> NoReturn:
    raise WrongVersion(pending.stream, pending.expected, current)
