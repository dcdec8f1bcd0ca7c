"""The embedded store: one SQLite file, many threads, several processes on one host.

An acknowledged event survives power loss, as far as the disk tells the truth. Beside
the events, in the same transaction, grows their Merkle tree. Not for network file
systems: their locks and shared memory do not hold what this needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import apsw

from modelkeep.errors import NotFound, Unavailable
from modelkeep.store.bell import Bell
from modelkeep.store.checks import check_append
from modelkeep.store.follow import Following
from modelkeep.store.group_commit import GroupCommit, Pending
from modelkeep.store.port import (
    NO_STREAM,
    START,
    Appended,
    Filter,
    NewEvent,
    Recorded,
)
from modelkeep.store.sqlite_file import (
    STRIDE,
    check_sqlite,
    open_writer,
    prepare,
    told,
)
from modelkeep.store.sqlite_read import PAGE_EVENTS, Reader
from modelkeep.store.sqlite_write import Writer
from modelkeep.store.tail import Tail
from modelkeep.store.turnstile import Turnstile

_LEAVES_PAGE: Final = 4096
_BEYOND: Final = (1 << 63) - 1


class SqliteStore:
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
        turnstile = Turnstile(self._beside("turn"), self._beside("room"))
        opened.callback(turnstile.close)
        self._bell = Bell(self._beside("bell"))
        opened.callback(self._bell.close)
        with turnstile:
            db = open_writer(self.path)
            opened.callback(db.close)
            self.origin = prepare(db, self.path, origin, uuid4())
        self._tail = Tail()
        self._writer = Writer(
            db, self.path, self.origin, turnstile, self._bell.ring, self._tail
        )
        self._reader = Reader(self.path)
        opened.callback(self._reader.close)
        self._commits = GroupCommit(self._writer.write)
        opened.callback(self._commits.close)

    def append(
        self, stream: str, events: Sequence[NewEvent], *, expected: int
    ) -> Appended:
        check_append(stream, events, expected)
        return self._commits.run(Pending(stream, events, expected))

    def submit(
        self, stream: str, events: Sequence[NewEvent], *, expected: int
    ) -> Future[Appended]:
        check_append(stream, events, expected)
        return self._commits.submit(Pending(stream, events, expected))

    def read_stream(
        self,
        stream: str,
        *,
        after: int = NO_STREAM,
        backwards: bool = False,
        limit: int | None = None,
    ) -> Iterator[Recorded]:
        at = _BEYOND if backwards and after == NO_STREAM else after
        left = _BEYOND if limit is None else limit
        while left > 0:
            events = self._reader.stream_page(
                stream, after=at, backwards=backwards, most=min(left, PAGE_EVENTS)
            )
            if not events:
                return
            yield from events
            left -= len(events)
            at = events[-1].version

    def read_all(
        self,
        *,
        after: int = START,
        limit: int | None = None,
        only: Filter | None = None,
    ) -> Iterator[Recorded]:
        """Yield in global order, up to where the log ended at the first step."""
        left = _BEYOND if limit is None else limit
        head = self._reader.head()
        while left > 0 and after < head:
            events, after = self._reader.page(
                after, head, only=only, most=min(left, PAGE_EVENTS)
            )
            yield from events
            left -= len(events)

    def stream_version(self, stream: str) -> int:
        return self._reader.stream_version(stream)

    def head(self) -> int:
        return self._reader.head()

    def subscribe(self, *, after: int = START, only: Filter | None = None) -> Following:
        self._bell.listen()
        self._tail.wanted = True
        return Following(self._reader, self._bell, self._tail, after=after, only=only)

    def tree(self) -> tuple[int, bytes]:
        """Return the number of leaves and the root over them, of one moment."""
        frontier = self._reader.tree()
        return frontier.size, frontier.root()

    def leaves(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the leaf hashes of [start, end), as far as there are any."""
        for at in range(start, end, _LEAVES_PAGE):
            yield from self._reader.leaves(at, min(end, at + _LEAVES_PAGE))

    def node(self, level: int, index: int) -> bytes | None:
        """Return a stored node: complete ones of levels 8, 16, 24 … are."""
        return next(iter(self._reader.nodes(level, index, index + 1)), None)

    def frozen_tree(self, size: int | None = None) -> FrozenTree:
        """Return the tree as it was at `size` leaves (now, by default), for proofs."""
        return FrozenTree(self._reader, self.tree()[0] if size is None else size)

    def leaf_index(self, position: int) -> int:
        """Return the rank of the event there; raises NotFound when there is none."""
        if position < 0 or position % STRIDE or position > self.head():
            raise NotFound("event at position", str(position))
        return position // STRIDE

    def event_at(self, leaf_index: int) -> Recorded:
        at = leaf_index * STRIDE
        events, _ = self._reader.page(at - 1, at, only=None)
        if leaf_index < 0 or not events:
            raise NotFound("leaf", str(leaf_index))
        return events[0]

    @property
    def broken(self) -> str:
        """Why nothing more is written until this is opened anew; empty: all is well."""
        return self._writer.broken

    def close(self) -> None:
        """Settle what was submitted, then let go of everything. Twice is once.

        Raises Unavailable when the disk fails at that; what was acknowledged is there.
        """
        try:
            self._opened.close()
        except apsw.Error as error:
            raise told(error, self.path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f"{self.path.name}-{what}")


class FrozenTree:
    """A tree of so many leaves, as `modelkeep.proof.merkle` reads one."""

    def __init__(self, reader: Reader, size: int) -> None:
        self._reader = reader
        self.size = size

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self._reader.leaves(start, min(end, self.size))

    def nodes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self._reader.nodes(level, start, min(end, self.size >> level))
