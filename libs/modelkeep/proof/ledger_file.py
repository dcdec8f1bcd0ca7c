"""A ledger's SQLite file as evidence: read in one snapshot, changed in nothing.

    ledger (origin)                      stream (sid, name)     name (nid, name)
    event  (position, sid, version, nid, schema_version, recorded_at, id, leaf,
            data, metadata)              position = 10 * rank in global order
    tree   (size, frontier)              node (level, at, hash)

Nothing read here is believed. The file may come from someone who rewrote it: rows may
hold anything, tables may have been replaced, and an index may hide what its table
holds, so none is used.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, Self, TypeAlias
from urllib.parse import quote

from modelkeep.proof.errors import ProofError

STRIDE: Final = 10
_BATCH: Final = 512  # rows that stay in the processor's cache
_MAX_VALUE_BYTES: Final = 16 << 20  # far more than an append may hold

_BROKEN: Final = (sqlite3.Error, UnicodeDecodeError)
"""SQLite quotes the damage it finds, and that may be no text."""

Value: TypeAlias = int | float | str | bytes | None
"""What a column may hold, whatever its table says."""

Row: TypeAlias = tuple[int, int, int, int, int, bytes, bytes, bytes, bytes]
"""Position, sid, version, nid, schema version, id, leaf, data, metadata: so an honest
writer leaves it. Whoever reads one survives any Value anywhere."""


class Unreadable(ProofError):
    """Not a ledger, or not one that can be opened here."""


class Damaged(ProofError):
    """A ledger that ends in the middle: the file is malformed from there on."""


class Glimpse(NamedTuple):
    """What may be told of the event in some row, malformed or not."""

    stream: Value
    version: Value
    name: Value
    recorded_at: Value


class LedgerFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = ExitStack()
        try:
            self._db = self._connect()
            self._opened.callback(self._db.close)
            # one snapshot from here on, however long the verification takes
            self._db.execute("begin")
            self._require_tables()
            self.origins = [row[0] for row in self._db.execute("select * from ledger")]
            self.streams = dict(
                self._db.execute("select sid, name from stream not indexed")
            )
            self.names = dict(
                self._db.execute("select nid, name from name not indexed")
            )
        except (*_BROKEN, OSError) as error:
            self._opened.close()
            raise Unreadable(f"{path} cannot be read as a ledger: {error}") from error
        except BaseException:
            self._opened.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        """Open without a trace.

        No write-ahead log: nobody has it open, and SQLite is told to touch nothing. A
        log with its index: somebody may, so read beside them. A log alone was left by a
        crash or came with a copy, and reading it would write: read a copy of both.
        """
        if not self.path.is_file():
            raise Unreadable(f"there is no ledger {self.path}")
        self._before: list[tuple[int, int]] | None = _marks(self.path)
        log = _beside(self.path, "-wal")
        if not log.exists():
            return _open(self.path, "immutable=1")
        if _beside(self.path, "-shm").exists():
            try:
                db = _open(self.path, "mode=ro")
            except sqlite3.OperationalError:
                pass  # a folder one may only read
            else:
                self._before = None
                return db
        folder = Path(self._opened.enter_context(TemporaryDirectory()))
        copy = folder / "ledger.db"
        shutil.copyfile(self.path, copy)
        shutil.copyfile(log, _beside(copy, "-wal"))
        self.require_unchanged()
        return _open(copy, "mode=rw")

    def require_unchanged(self) -> None:
        """Raise Unreadable when the file was written to while it was read unlocked."""
        if self._before is not None and _marks(self.path) != self._before:
            raise Unreadable(f"{self.path} was written to meanwhile: verify it again")

    def _require_tables(self) -> None:
        found = dict(self._db.execute("select name, type from sqlite_master"))
        for table in ("ledger", "stream", "name", "event", "tree", "node"):
            if found.get(table) != "table":
                raise Unreadable(f"{self.path} is no ledger: it has no table {table}")

    def events(self) -> Iterator[list[Row]]:
        """Yield all rows in global order, some at a time; raises Damaged."""
        return self._batches(
            """
            select position, sid, version, nid, schema_version, id, leaf, data, metadata
            from event not indexed order by position
            """
        )

    def stored_leaves(self) -> Iterator[bytes]:
        """Yield the leaf column as it stands, nothing where there is no leaf."""
        for batch in self._batches(
            "select leaf from event not indexed order by position"
        ):
            for (leaf,) in batch:
                yield leaf if isinstance(leaf, bytes) else b""

    def stored_tree(self) -> list[tuple[Value, Value]]:
        """Return size and edge as the writer left them: one row, in an honest file."""
        return self._rows("select size, frontier from tree")

    def stored_nodes(self) -> list[tuple[Value, Value, Value]]:
        return self._rows("select level, at, hash from node order by level, at")

    def faults(self, most: int) -> list[str]:
        """Return what SQLite finds wrong with the file, its indexes included."""
        rows = self._rows(f"pragma integrity_check({most:d})")
        return [str(text) for (text,) in rows if text != "ok"]

    def expected(self) -> int:
        """Return how many events there seem to be: for showing progress only."""
        ((last,),) = self._rows("select max(position) from event not indexed")
        return last // STRIDE + 1 if isinstance(last, int) else 0

    def glimpse(self, index: int) -> Glimpse:
        """Look at the row that stands at `index` in global order."""
        rows = self._rows(
            """
            select sid, version, nid, recorded_at
            from event not indexed order by position limit 1 offset ?
            """,
            index,
        )
        if not rows:
            return Glimpse(None, None, None, None)
        ((sid, version, nid, recorded_at),) = rows
        stream, name = self.streams.get(sid), self.names.get(nid)
        return Glimpse(stream, version, name, recorded_at)

    def _rows(self, query: str, *values: int) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except _BROKEN as error:
            raise Damaged(f"{self.path} is damaged: {error}") from error

    def _batches(self, query: str) -> Iterator[list[Any]]:
        try:
            cursor = self._db.execute(query)
            while batch := cursor.fetchmany(_BATCH):
                yield batch
        except _BROKEN as error:
            raise Damaged(f"{self.path} is damaged: {error}") from error

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, how: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{how}", uri=True, isolation_level=None
    )
    try:
        db.text_factory = _text
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
        # what a hostile schema might call while it is read
        db.execute("pragma trusted_schema = off")
        db.execute("select count(*) from sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _marks(path: Path) -> list[tuple[int, int]]:
    """Return what changes when the file or its log is written to."""
    files = [path, _beside(path, "-wal")]
    stats = [file.stat() for file in files if file.exists()]
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]
