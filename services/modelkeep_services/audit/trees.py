"""The Merkle tree of a store: its own, or one built here from what it holds.

An engine that grows the tree in its appends is asked for it. For one that cannot
(KurrentDB), leaves are computed from the log and kept beside the home, 40 bytes an
event: the position (positions are sparse) and the leaf hash. That file is a cache: what
is signed is remembered by the signer, who would notice another history.
"""

from __future__ import annotations

import struct
import threading
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from uuid import uuid4

from modelkeep.errors import Corrupt, NotFound
from modelkeep.home import Home
from modelkeep.proof import durable
from modelkeep.proof.leaf import Leafer
from modelkeep.proof.merkle import Frontier, Nodes
from modelkeep.store.port import START, Recorded, Store

_RECORD: Final = struct.Struct(">Q32s")
_BATCH: Final = 4_096
LEAVES: Final = "leaves"
"""What a built tree is kept in, in the home."""


class Tree(Protocol):
    """`origin` is the ledger's name, as in its leaves and on its checkpoints."""

    origin: str

    def frozen_tree(self) -> Nodes:
        """Return the tree as it is now, and stays for whoever holds this."""

    def leaf_index(self, position: int) -> int:
        """Return the rank of the event there; raises NotFound when there is none."""


@runtime_checkable
class _GrowsItsOwn(Protocol):
    origin: str

    def frozen_tree(self) -> Nodes: ...
    def leaf_index(self, position: int) -> int: ...


@runtime_checkable
class _TellsEvents(Protocol):
    def event_at(self, leaf_index: int) -> Recorded: ...


def tree_of(home: Home, store: Store) -> Tree:
    if isinstance(store, _GrowsItsOwn):
        return store
    return BuiltTree(store, _named(home), home.root / LEAVES)


def length(home: Home, store: Store) -> int:
    """Count the leaves, beside whoever keeps the tree: nothing is written."""
    if isinstance(store, _GrowsItsOwn):
        return store.frozen_tree().size
    kept = _kept(home)
    after = kept[-1] if kept else START
    return len(kept) + sum(1 for _ in store.read_all(after=after))


def recorded_at(home: Home, store: Store, index: int) -> float | None:
    """Return when the engine says it recorded leaf `index`, in seconds since 1970;
    None when there is no such leaf.
    """
    if isinstance(store, _TellsEvents):
        try:
            return store.event_at(index).recorded_at / 1e6
        except NotFound:
            return None
    kept = _kept(home)[:index]
    after = kept[-1] if kept else START
    later = islice(store.read_all(after=after), index - len(kept), None)
    found = next(later, None)
    return None if found is None else found.recorded_at / 1e6


def _kept(home: Home) -> list[int]:
    """Read the positions in the file of a built tree; none where there is no file."""
    path = home.root / LEAVES
    stored = path.read_bytes() if path.exists() else b""
    whole = len(stored) - len(stored) % _RECORD.size
    return [position for position, _ in _RECORD.iter_unpack(stored[:whole])]


def leaf_of(origin: str, recorded: Recorded) -> bytes:
    """Compute an event's leaf from what is stored of it."""
    return Leafer(origin).leaf(
        recorded.stream,
        recorded.version,
        recorded.id,
        recorded.name,
        recorded.schema_version,
        recorded.data,
        recorded.metadata,
    )


def _named(home: Home) -> str:
    """Name the ledger once and for ever: its engine has nowhere to keep a name."""
    path = home.root / "origin"
    if not path.exists():
        with suppress(FileExistsError):  # another process named it first
            durable.create(path, f"modelkeep.local/{uuid4()}".encode(), mode=0o600)
    return path.read_text()


class BuiltTree:
    """A tree over `store.read_all`, caught up whenever it is asked for. Thread-safe;
    one process a home, which the audit service's claim sees to.
    """

    def __init__(self, store: Store, origin: str, path: Path) -> None:
        self.origin = origin
        self._store, self._path = store, path
        self._leafer = Leafer(origin)
        self._lock = threading.Lock()
        self._positions: list[int] = []
        self._leaves: list[bytes] = []
        self._nodes: dict[int, list[bytes]] = {}
        self._edge = Frontier.empty()
        self._versions: dict[str, int] = {}
        self._recall()
        self._saw_all = not self._leaves

    def frozen_tree(self) -> Nodes:
        with self._lock:
            self._catch_up()
            return _Frozen(self._leaves, self._nodes, len(self._leaves))

    def leaf_index(self, position: int) -> int:
        with self._lock:
            self._catch_up()
            index = bisect_left(self._positions, position)
            if index == len(self._positions) or self._positions[index] != position:
                raise NotFound("event at position", str(position))
            return index

    def _recall(self) -> None:
        if not self._path.exists():
            return
        stored = self._path.read_bytes()
        whole = len(stored) - len(stored) % _RECORD.size  # a crash may cut the last
        self._add(list(_RECORD.iter_unpack(stored[:whole])))

    def _catch_up(self) -> None:
        after = self._positions[-1] if self._positions else START
        fresh: list[tuple[int, bytes]] = []
        for recorded in self._store.read_all(after=after):
            if (due := self._due(recorded)) != recorded.version:
                self._keep(fresh)
                raise Corrupt(
                    f"{recorded.stream} goes on at version {recorded.version} where"
                    f" {due} was due: the log was read with an event missing"
                )
            self._versions[recorded.stream] = recorded.version
            fresh.append((recorded.position, self._leaf(recorded)))
            if len(fresh) == _BATCH:
                self._keep(fresh)
                fresh = []
        self._keep(fresh)

    def _due(self, recorded: Recorded) -> int:
        """Return the version that comes next in its stream, as far as this process saw
        it: a leaf that comes late could never be put in.
        """
        if recorded.stream in self._versions:
            return self._versions[recorded.stream] + 1
        return 0 if self._saw_all else recorded.version

    def _leaf(self, recorded: Recorded) -> bytes:
        return self._leafer.leaf(
            recorded.stream,
            recorded.version,
            recorded.id,
            recorded.name,
            recorded.schema_version,
            recorded.data,
            recorded.metadata,
        )

    def _keep(self, fresh: list[tuple[int, bytes]]) -> None:
        if not fresh:
            return
        at = len(self._leaves) * _RECORD.size
        durable.append(self._path, b"".join(_RECORD.pack(*one) for one in fresh), at=at)
        self._add(fresh)

    def _add(self, fresh: Sequence[tuple[int, bytes]]) -> None:
        for level, _, node in self._edge.extend(leaf for _, leaf in fresh):
            self._nodes.setdefault(level, []).append(node)
        for position, leaf in fresh:
            self._positions.append(position)
            self._leaves.append(leaf)


class _Frozen:
    """The first `size` leaves of lists that only grow."""

    def __init__(
        self, leaves: list[bytes], nodes: dict[int, list[bytes]], size: int
    ) -> None:
        self._leaves, self._nodes, self.size = leaves, nodes, size

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self._leaves[start : min(end, self.size)]

    def nodes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self._nodes.get(level, [])[start : min(end, self.size >> level)]
