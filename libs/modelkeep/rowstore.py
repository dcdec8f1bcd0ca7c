"""The SQL under the views: keys with their current bodies, history, time, checkpoint.

`keys` interns (view, tenant, key) and holds the current body (null once deleted);
`history` holds every body since the position that made it; `times` maps the running
maximum of known_at to the first position that reached it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import apsw

from modelkeep.store.port import START

SCHEMA: Final = """
create table meta(name text primary key, value) without rowid;
create table views(vid integer primary key, name text unique not null);
create table keys(
  kid integer primary key,
  vid integer not null,
  tenant text not null,
  key text not null,
  body blob,
  unique(vid, tenant, key)
);
create table history(
  kid integer not null,
  since integer not null,
  body blob,
  primary key(kid, since)
) without rowid;
create table times(known_at text primary key, position integer not null) without rowid;
"""

SUCCESSOR: Final = "\U0010ffff"
"""Sorts after anything a key may hold: `prefix <= key < prefix || SUCCESSOR`."""


def connect(path: Path, *, readonly: bool = False) -> apsw.Connection:
    flags = (
        apsw.SQLITE_OPEN_READONLY
        if readonly
        else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    )
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(5_000)
    if not readonly:
        # Disposable: a power cut may cost a rebuild, never an event.
        connection.execute(
            """
            pragma journal_mode=wal; pragma synchronous=normal;
            pragma cache_size=-65536
            """
        ).fetchall()
    return connection


def create(path: Path, fingerprint: str, names: Iterable[str]) -> apsw.Connection:
    connection = connect(path)
    with connection:
        connection.execute(SCHEMA)
        connection.executemany(
            "insert into views(name) values(?)", [(n,) for n in names]
        )
        connection.executemany(
            "insert into meta values(?, ?)",
            [("fingerprint", fingerprint), ("position", START)],
        )
    return connection


def hurry(connection: apsw.Connection) -> None:
    """Keep no journal and wait for no disk, until it is closed."""
    connection.execute("pragma journal_mode=off; pragma synchronous=off").fetchall()


def settle(path: Path) -> None:
    """Return when a closed file is on the disk as it is."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All of it or nothing. The connection's own `with` would do the same, but commits,
    which is to say writes and syncs, while it keeps every other thread of Python
    waiting; a statement does not.
    """
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def fingerprint(connection: apsw.Connection) -> str | None:
    """Tell which code made this file; None when it is not such a file at all."""
    with contextlib.suppress(apsw.SQLError, apsw.NotADBError, apsw.CorruptError):
        for (value,) in connection.execute(
            "select value from meta where name = 'fingerprint'"
        ):
            return str(value)
    return None


def position(connection: apsw.Connection) -> int:
    return int(connection.execute("select value from meta where name = 'position'").get)


def last_kid(connection: apsw.Connection) -> int:
    return int(connection.execute("select coalesce(max(kid), 0) from keys").get)


def view_ids(connection: apsw.Connection) -> dict[str, int]:
    return {
        name: vid for vid, name in connection.execute("select vid, name from views")
    }


def first_keys(connection: apsw.Connection, vid: int) -> list[str]:
    return [
        key
        for (key,) in connection.execute(
            """
            select min(key) from keys where vid = ? and body is not null
            group by tenant
            """,
            (vid,),
        )
    ]


def digests(
    connection: apsw.Connection, *, history: bool = True, bound: int | None = None
) -> dict[str, str]:
    """SHA-256 of each view: its rows by tenant, key and history order, no positions.

    Without `history`, of the current rows alone; with a `bound`, of the history up to
    that position: what it was when the view had come so far.
    """
    known = {"bound": (1 << 63) - 1 if bound is None else bound}
    rows = (
        """
        select v.name, k.tenant, k.key, h.body from views v left join (
          keys k join history h on h.kid = k.kid and h.since <= :bound
        ) on k.vid = v.vid
        order by v.name, k.tenant, k.key, h.since
        """
        if history
        else """
        select v.name, k.tenant, k.key, k.body from views v
        left join keys k on k.vid = v.vid and k.body is not null
        order by v.name, k.tenant, k.key
        """
    )
    hashes: dict[str, hashlib._Hash] = {}
    for name, tenant, key, body in connection.execute(rows, known):
        sha = hashes.setdefault(name, hashlib.sha256())
        if key is not None:
            for part in (tenant.encode(), key.encode(), body):
                sha.update(_framed(part))
    return {name: sha.hexdigest() for name, sha in hashes.items()}


def _framed(part: bytes | str | None) -> bytes:
    """A body is bytes; what a hand in the file left may be text, and is not them."""
    if isinstance(part, bytes):
        return b"%d:%b" % (len(part), part)
    return b"-" if part is None else b"text %b" % str(part).encode()


def adrift(connection: apsw.Connection) -> list[str]:
    """Return the views of which a current row is not the last of its history: nobody
    but a hand in the file makes such, and digests of the history do not show it.
    """
    return [
        str(name)
        for (name,) in connection.execute(
            """
            select distinct v.name from views v join keys k on k.vid = v.vid
            where k.body is not (
              select h.body from history h where h.kid = k.kid
              order by h.since desc limit 1
            )
            order by v.name
            """
        )
    ]


class Bound:
    """Reads as of a bound (a position to compare with), or now when it is None."""

    def __init__(self, connection: apsw.Connection, bound: int | None) -> None:
        self.connection, self.bound = connection, bound

    def body(self, vid: int, tenant: str, key: str) -> bytes | None:
        if self.bound is None:
            found = self.connection.execute(
                "select body from keys where vid = ? and tenant = ? and key = ?",
                (vid, tenant, key),
            )
        else:
            found = self.connection.execute(
                """
                select body from history
                where kid = (
                  select kid from keys where vid = ? and tenant = ? and key = ?
                ) and since <= ?
                order by since desc limit 1
                """,
                (vid, tenant, key, self.bound),
            )
        return next((body for (body,) in found), None)

    def bodies(
        self, vid: int, tenant: str, prefix: str, after: str | None
    ) -> Iterator[tuple[str, bytes]]:
        from_prefix = after is None or after < prefix
        low, inclusive = (prefix, 1) if from_prefix else (after, 0)
        span = (vid, tenant, low, inclusive, low, prefix + SUCCESSOR)
        if self.bound is None:
            yield from self.connection.execute(
                """
                select key, body from keys
                where vid = ? and tenant = ? and key >= ? and (? or key > ?) and key < ?
                and body is not null order by key
                """,
                span,
            )
            return
        for key, body in self.connection.execute(
            """
            select key, (
              select body from history h where h.kid = k.kid and since <= ?
              order by since desc limit 1
            ) from keys k
            where vid = ? and tenant = ? and key >= ? and (? or key > ?) and key < ?
            order by key
            """,
            (self.bound, *span),
        ):
            if body is not None:
                yield key, body

    def past(self, vid: int, tenant: str, key: str) -> list[tuple[int, bytes | None]]:
        return list(
            self.connection.execute(
                """
                select since, body from history
                where kid = (
                  select kid from keys where vid = ? and tenant = ? and key = ?
                ) and (? is null or since <= ?) order by since
                """,
                (vid, tenant, key, self.bound, self.bound),
            )
        )

    def tenants(self, vid: int) -> list[str]:
        return [
            tenant
            for (tenant,) in self.connection.execute(
                "select distinct tenant from keys where vid = ? order by tenant", (vid,)
            )
        ]

    def first_beyond(self, known_at: str) -> int | None:
        """Return the position of the first event known later than `known_at`."""
        found = self.connection.execute(
            "select position from times where known_at > ? order by known_at limit 1",
            (known_at,),
        )
        return next((at for (at,) in found), None)

    def known_until(self) -> str | None:
        """Return the latest known_at at or before the bound; None before any event."""
        found = self.connection.execute(
            """
            select known_at from times where ? is null or position <= ?
            order by known_at desc limit 1
            """,
            (self.bound, self.bound),
        )
        return next((known_at for (known_at,) in found), None)

    def changes(
        self, vid: int, tenant: str, prefix: str, after: int
    ) -> Iterator[tuple[int, str, bytes | None]]:
        """Yield (since, key, body) of what changed after a position, oldest first."""
        yield from self.connection.execute(
            """
            select h.since, k.key, h.body from keys k join history h on h.kid = k.kid
            where k.vid = ? and k.tenant = ? and k.key >= ? and k.key < ?
            and h.since > ? and (? is null or h.since <= ?)
            order by h.since, k.key
            """,
            (vid, tenant, prefix, prefix + SUCCESSOR, after, self.bound, self.bound),
        )
