"""A signed ledger, and what an insider does to its file with SQL and patience."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from modelkeep.proof.leaf import Leafer
from modelkeep.proof.merkle import Frontier
from modelkeep.proof.note import SigningKey
from modelkeep.proof.writers import Signable, sign_append
from modelkeep.store.port import NO_STREAM, NewEvent
from modelkeep.store.sqlite import SqliteStore

ORIGIN = "bank.example/ledger"
KEY = SigningKey(ORIGIN, bytes(range(32)))
WRITER = SigningKey("writer.example", bytes(32))
EVENTS = 700
SIGNED = (200, 450, 690)

Attack: TypeAlias = Callable[[sqlite3.Connection], object]


def metadata(n: int) -> bytes:
    return b'{"tenant":"acme","schema_version":"1","n":"%d"}' % n


def write(path: Path) -> None:
    """A ledger of seven streams, in appends of five, signed by their writer."""
    with SqliteStore(path, origin=ORIGIN) as store:
        for first in range(0, EVENTS, 5):
            stream, version = f"model-acme.{first // 5 % 7}", first // 35 * 5
            name = "inventory.model-registered"
            events = [
                NewEvent(UUID(int=n), name, 1, b'{"n":%d}' % n, metadata(n))
                for n in range(first, first + 5)
            ]
            told = [Signable(one.id.bytes, *one[1:]) for one in events]
            signed = sign_append(WRITER, stream, version, told)
            events[-1] = events[-1]._replace(metadata=signed)
            store.append(stream, events, expected=version - 1 if version else NO_STREAM)


def attack(folder: Path, *attacks: Attack) -> None:
    """Do as the database's administrator can: without triggers, without the store."""
    with closing(sqlite3.connect(folder / "ledger.db")) as db, db:
        for (trigger,) in db.execute(
            "select name from sqlite_master where type = 'trigger'"
        ).fetchall():
            db.execute(f"drop trigger {trigger}")
        for one in attacks:
            one(db)
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        db.execute("pragma journal_mode = delete")


def loosen(db: sqlite3.Connection) -> None:
    """Replace the table of events by one that takes anything."""
    db.execute("create table loose as select * from event")
    db.execute("drop table event")
    db.execute("alter table loose rename to event")


def renumber(db: sqlite3.Connection) -> None:
    """Close the gaps, in the log and in the streams."""
    rows = db.execute("select position, sid from event order by position").fetchall()
    next_version: dict[int, int] = {}
    for rank, (position, sid) in enumerate(rows):
        version = next_version.get(sid, 0)
        next_version[sid] = version + 1
        db.execute(
            "update event set position = ?, version = ? where position = ?",
            (-rank - 1, -version - 1, position),
        )
    db.execute("update event set position = (-position - 1) * 10")
    db.execute("update event set version = -version - 1")


def rehash(db: sqlite3.Connection) -> None:
    """Make every hash in the file fit what the file now says."""
    made = Leafer(ORIGIN)
    rows = db.execute(
        """
        select e.position, s.name, e.version, e.id, n.name, e.schema_version, e.data,
               e.metadata
        from event e join stream s using (sid) join name n using (nid)
        order by e.position
        """
    ).fetchall()
    leaves = [(row[0], made.leaf(*row[1:])) for row in rows]
    db.executemany(
        "update event set leaf = ? where position = ?",
        [(leaf, position) for position, leaf in leaves],
    )
    edge = Frontier.empty()
    nodes = edge.extend(leaf for _, leaf in leaves)
    db.execute("delete from node")
    db.executemany("insert into node values (?, ?, ?)", nodes)
    db.execute("update tree set size = ?, frontier = ?", (edge.size, edge.dump()))


def sql(statement: str, *values: object) -> Attack:
    return lambda db: db.execute(statement, values)


def put(index: int, column: str, value: object) -> Attack:
    statement = f"update event set {column} = ? where position = ?"  # noqa: S608, ours
    return sql(statement, value, index * 10)


def edit(index: int) -> Attack:
    return put(index, "data", b"{}")


def delete(index: int) -> Attack:
    return sql("delete from event where position = ?", index * 10)


def insert(index: int) -> Attack:
    """Put a copy of an event, with other data, between two others."""

    def do(db: sqlite3.Connection) -> None:
        after = (index - 1) * 10
        db.execute(
            """
            insert into event
            select position + 1, sid, version + 100000, nid, schema_version,
                   recorded_at, ?, leaf, ?, metadata
            from event where position = ?
            """,
            (bytes(16), b"forged", after),
        )

    return do
