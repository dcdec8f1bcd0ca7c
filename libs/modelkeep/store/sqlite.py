"""The embedded store: one SQLite file, many threads, several processes on one host.

An acknowledged event survives power loss, as far as the disk tells the truth. Beside
the events, in the same transaction, grows their Merkle tree. Not for network file
systems: their locks and shared memory do not hold what this needs.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import apsw

from modelkeep.errors import Unavailable
from modelkeep.store.bell import Bell
from modelkeep.store.group_commit import GroupCommit
from modelkeep.store.ranked import RankedStore
from modelkeep.store.sqlite_file import check_sqlite, open_writer, prepare, told
from modelkeep.store.sqlite_read import Reader
from modelkeep.store.sqlite_write import Writer
from modelkeep.store.tail import Tail
from modelkeep.store.turnstile import Turnstile


def turnstile_of(path: Path) -> Turnstile:
    """What processes that write this ledger take turns by."""
    return Turnstile(_beside(path, "turn"), _beside(path, "room"))


def wait_until_made(path: Path) -> None:
    """Wait for whoever is making this ledger: until then a file is there, and empty."""
    turnstile = turnstile_of(path)
    try:
        with turnstile:
            pass
    finally:
        turnstile.close()


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}-{what}")


class SqliteStore(RankedStore):
    """Keeps its locks and its bell in files beside the ledger: `-turn -room -bell`.

    `origin` names a ledger for ever, on its checkpoints and in its leaves; it is chosen
    when the file is created. Raises Invalid when the file is of another origin, or none
    of ours.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, origin: str | None = None
    ) -> None:
        check_sqlite(apsw.sqlite_lib_version())
        self.path = Path(path).absolute()
        try:
            with ExitStack() as opened:
                self._open(origin, opened)
                self._opened = opened.pop_all()
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be opened: {error}") from error
        except apsw.Error as error:
            raise told(error, self.path) from error

    def _open(self, origin: str | None, opened: ExitStack) -> None:
        """Open all parts; what is opened last closes first."""
        turnstile = turnstile_of(self.path)
        opened.callback(turnstile.close)
        self._bell = bell = Bell(_beside(self.path, "bell"))
        opened.callback(bell.close)
        with turnstile:
            db = open_writer(self.path)
            opened.callback(db.close)
            self.origin = prepare(db, self.path, origin, uuid4())
        self._tail = Tail()
        self._writer = Writer(
            db, self.path, self.origin, turnstile, bell.ring, self._tail
        )
        self._reader = reader = Reader(self.path)
        opened.callback(reader.close)
        self._commits = GroupCommit(self._writer.write)
        opened.callback(self._commits.close)

    @property
    def broken(self) -> str:
        """Why nothing more is written until this is opened anew; empty: all is well."""
        return self._writer.broken

    def close(self) -> None:
        """Settle what was submitted, then let go of everything. Twice is once.

        Raises Unavailable when the disk fails at that; what was acknowledged is there.
        """
        try:
            super().close()
        except apsw.Error as error:
            raise told(error, self.path) from error
