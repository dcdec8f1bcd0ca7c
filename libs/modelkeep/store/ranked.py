"""A store over pages of events by rank: what SQLite's and PostgreSQL's do alike.

Beside its events each keeps their Merkle tree, grown in the appends themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Final, Protocol, Self

from modelkeep.errors import NotFound
from modelkeep.proof.merkle import Frontier
from modelkeep.store.checks import check_append
from modelkeep.store.follow import Following, Rings
from modelkeep.store.group_commit import GroupCommit, Pending
from modelkeep.store.port import (
    NO_STREAM,
    START,
    Appended,
    Filter,
    NewEvent,
    Recorded,
)
from modelkeep.store.ranks import PAGE_EVENTS, STRIDE
from modelkeep.store.tail import Tail

_LEAVES_PAGE: Final = 4096
_BEYOND: Final = (1 << 63) - 1


class Pages(Protocol):
    """The reading side of an engine: thread-safe, a bounded page at a time."""

    def head(self) -> int: ...
    def stream_version(self, stream: str) -> int: ...
    def stream_page(
        self, stream: str, *, after: int, backwards: bool, most: int
    ) -> list[Recorded]:
        """Return versions beyond `after`, or below it; never empty when there are."""

    def page(
        self, after: int, upto: int, *, only: Filter | None, most: int = PAGE_EVENTS
    ) -> tuple[list[Recorded], int]:
        """Read on beyond `after`; also say up to where all was read or left out."""

    def tree(self) -> Frontier: ...
    def leaves(self, start: int, end: int) -> list[bytes]: ...
    def nodes(self, level: int, start: int, end: int) -> list[bytes]: ...


class RankedStore:
    """What an engine's store inherits: it opens the parts, and closes them."""

    origin: str
    _bell: Rings
    _tail: Tail
    _reader: Pages
    _commits: GroupCommit
    _opened: ExitStack

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

    def close(self) -> None:
        """Settle what was submitted, then let go of everything. Twice is once."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FrozenTree:
    """A tree of so many leaves, as `modelkeep.proof.merkle` reads one."""

    def __init__(self, reader: Pages, size: int) -> None:
        self._reader = reader
        self.size = size

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self._reader.leaves(start, min(end, self.size))

    def nodes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self._reader.nodes(level, start, min(end, self.size >> level))
