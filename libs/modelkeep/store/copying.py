"""Ledger files made from ledger files: a copy of one moment, and a fork.

A copy is taken beside those who write. A fork is another ledger: its first events are
those of the first, and its name says so; every leaf commits to the name, so nothing
that was signed of the one holds for the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast
from uuid import uuid4

import apsw

from modelkeep.errors import Corrupt
from modelkeep.proof.durable import sync_folder
from modelkeep.proof.errors import Malformed
from modelkeep.proof.leaf import Leafer
from modelkeep.proof.merkle import Frontier
from modelkeep.rowstore import transaction
from modelkeep.store.sqlite_file import open_writer, prepare, told

PAGES: Final = 256
BATCH: Final = 2_000

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


def silent(_done: int, _total: int) -> None:
    pass


def copy_database(source: Path, target: Path, progress: Progress = silent) -> None:
    """Copy one moment of an SQLite file, durably, while others read and write it.

    Raises Corrupt, DiskFull or Unavailable, and leaves half a `target` behind then.
    """
    try:
        with _opened(source, apsw.SQLITE_OPEN_READWRITE) as old:
            old.execute("begin")
            # From here on it is of this moment, however long the copy takes.
            old.execute("select count(*) from sqlite_schema").fetchall()
            made = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            with _opened(target, made) as new, new.backup("main", old, "main") as copy:
                while not copy.done:
                    copy.step(PAGES)
                    progress(copy.page_count - copy.remaining, copy.page_count)
    except apsw.Error as error:
        raise told(error, source) from error
    sync_file(target)


class _opened:  # noqa: N801  # apsw's own `with` is a transaction, not a lifetime
    def __init__(self, path: Path, flags: int) -> None:
        self._db = apsw.Connection(str(path), flags=flags)
        self._db.set_busy_timeout(5_000)

    def __enter__(self) -> apsw.Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.close(True)  # noqa: FBT003  # whatever it was about to read


def sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(path.parent)


def fork(
    source: Path,
    target: Path,
    origin: str,
    upto: int,
    progress: Progress = silent,
) -> int:
    """Write the events at or before position `upto` into a new ledger called `origin`.

    Positions, ids, versions and the engine's stamps stay; leaves and tree are new.
    Returns how many events there are. Raises Corrupt where one is none.
    """
    db = open_writer(target)
    try:
        prepare(db, target, origin, uuid4())
        db.execute("attach ? as old", (str(source),))
        with transaction(db):
            events = _fill(db, Leafer(origin), upto, progress)
    except Malformed as error:
        raise Corrupt(f"{source} holds what is no event: {error}") from error
    except apsw.Error as error:
        raise told(error, source) from error
    finally:
        db.close()
    return events


def _fill(db: apsw.Connection, leafer: Leafer, upto: int, progress: Progress) -> int:
    db.execute(
        """
        insert into stream select * from old.stream
        where sid in (select sid from old.event where position <= ?)
        """,
        (upto,),
    )
    db.execute(
        """
        insert into name select * from old.name
        where nid in (select nid from old.event where position <= ?)
        """,
        (upto,),
    )
    total = cast(
        "int",
        db.execute("select count(*) from old.event where position <= ?", (upto,)).get,
    )
    edge = Frontier.empty()
    for rows in _events(db, upto):
        made = [_leafed(leafer, row) for row in rows]
        db.executemany("insert into event values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", made)
        nodes = edge.extend(row[7] for row in made)
        db.executemany("insert into node values (?, ?, ?)", nodes)
        progress(edge.size, total)
    db.execute("update tree set size = ?, frontier = ?", (edge.size, edge.dump()))
    return edge.size


def _events(db: apsw.Connection, upto: int) -> Iterator[list[tuple[Any, ...]]]:
    after = -1
    while True:
        rows = db.execute(
            """
            select e.position, e.sid, e.version, e.nid, e.schema_version,
                   e.recorded_at, e.id, e.data, e.metadata, s.name, n.name
            from old.event e
            join old.stream s on s.sid = e.sid
            join old.name n on n.nid = e.nid
            where e.position > ? and e.position <= ?
            order by e.position limit ?
            """,
            (after, upto, BATCH),
        ).fetchall()
        if not rows:
            return
        yield rows
        after = cast("int", rows[-1][0])


def _leafed(leafer: Leafer, row: tuple[Any, ...]) -> tuple[Any, ...]:
    position, sid, version, nid, schema, recorded_at, id_, data, metadata = row[:9]
    stream, name = row[9:]
    leaf = leafer.leaf(stream, version, id_, name, schema, data, metadata)
    return (
        position,
        sid,
        version,
        nid,
        schema,
        recorded_at,
        id_,
        leaf,
        data,
        metadata,
    )
