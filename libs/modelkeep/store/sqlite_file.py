"""The ledger as a file: which SQLite may open it, how, and what its tables are."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import UUID

import apsw

from modelkeep.errors import Corrupt, DiskFull, Invalid, ModelkeepError, Unavailable

APPLICATION_ID: Final = 0x4D4B4C47  # "MKLG"
FORMAT: Final = 1

# Below, resetting the write-ahead log could corrupt the file (3.7.0 to 3.51.2).
_OLDEST: Final = (3, 51, 3)

_TABLES: Final = """
create table ledger (
    origin text not null
) strict;

create table stream (
    sid integer primary key,
    name text not null unique
) strict;

create table name (
    nid integer primary key,
    name text not null unique
) strict;

-- What is looked at by scans comes first: large data spills into pages of its own.
create table event (
    position integer primary key,
    sid integer not null,
    version integer not null,
    nid integer not null,
    schema_version integer not null,
    recorded_at integer not null,
    id blob not null,
    leaf blob not null,
    data blob not null,
    metadata blob not null
) strict;

create unique index event_in_stream on event (sid, version);

create table tree (
    size integer not null,
    frontier blob not null
) strict;

create table node (
    level integer not null,
    at integer not null,
    hash blob not null,
    primary key (level, at)
) strict, without rowid;

insert into tree values (0, x'');

create trigger event_stays before update on event
    begin select raise(abort, 'an event is never changed'); end;
create trigger event_lasts before delete on event
    begin select raise(abort, 'an event is never deleted'); end;
create trigger stream_stays before update on stream
    begin select raise(abort, 'a stream is never renamed'); end;
create trigger stream_lasts before delete on stream
    begin select raise(abort, 'a stream is never deleted'); end;
create trigger name_stays before update on name
    begin select raise(abort, 'a name is never changed'); end;
create trigger name_lasts before delete on name
    begin select raise(abort, 'a name is never deleted'); end;
create trigger node_stays before update on node
    begin select raise(abort, 'a node is never changed'); end;
create trigger node_lasts before delete on node
    begin select raise(abort, 'a node is never deleted'); end;
"""


def check_sqlite(version: str) -> None:
    if tuple(map(int, version.split("."))) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise Unavailable(f"SQLite {version} may corrupt a ledger; {wanted} does not")


def open_writer(path: Path) -> apsw.Connection:
    """Open for appends; creates the file. What it commits survives power loss.

    Raises Unavailable where the file cannot have a write-ahead log.
    """
    db = _open(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    try:
        db.execute(
            """
            pragma page_size = 8192;
            pragma journal_mode = wal;
            pragma synchronous = full;
            pragma fullfsync = on;
            pragma checkpoint_fullfsync = on;
            pragma wal_autocheckpoint = 0;
            pragma journal_size_limit = 67108864;
            """
        ).fetchall()  # what follows a row that nobody fetches is not executed
        if db.pragma("journal_mode") != "wal":
            raise Unavailable(f"{path} cannot be kept in write-ahead mode: no disk?")
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path) -> apsw.Connection:
    db = _open(path, apsw.SQLITE_OPEN_READWRITE)
    db.execute("pragma query_only = on")
    return db


def _open(path: Path, flags: int) -> apsw.Connection:
    db = apsw.Connection(str(path), flags=flags)
    db.set_busy_timeout(5000)
    return db


def prepare(db: apsw.Connection, path: Path, origin: str | None, fresh: UUID) -> str:
    """Create the tables where there are none; return the ledger's origin.

    Call it under the lock between processes. Raises Invalid when the file is something
    else, of another format, or of another origin than the one asked for.
    """
    db.execute("begin immediate")
    try:
        if not db.table_exists("main", "ledger"):
            if next(db.execute("select count(*) from sqlite_schema"))[0]:
                raise Invalid.field("path", f"{path} is a database but no ledger")
            db.execute(_TABLES)
            db.execute(
                "insert into ledger values (?)", (origin or f"modelkeep.local/{fresh}",)
            )
            db.execute(f"pragma application_id = {APPLICATION_ID}")
            db.execute(f"pragma user_version = {FORMAT}")
        application, written = db.pragma("application_id"), db.pragma("user_version")
        if (application, written) != (APPLICATION_ID, FORMAT):
            raise Invalid.field(
                "path", f"{path} has format {application}/{written}, not {FORMAT}"
            )
        ((stored,),) = db.execute("select origin from ledger")
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    if origin not in {None, stored}:
        raise Invalid.field("origin", f"{path} is the ledger {stored}, not {origin}")
    return str(stored)


def told(error: apsw.Error, path: Path) -> ModelkeepError:
    """Say in our words what SQLite said."""
    if isinstance(error, apsw.FullError):
        return DiskFull(f"there is no space left for {path}")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.ConstraintError):
        return Corrupt(f"{path} is damaged: {error}")
    if isinstance(error, apsw.BusyError):
        return Unavailable(f"another program holds {path}; nothing was written")
    return Unavailable(f"{path} cannot be used: {error}")
