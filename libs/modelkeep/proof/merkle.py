"""The Merkle tree of RFC 6962 (and 9162, section 2.1): roots, proofs, the right edge.

A node is named by its level (0 is the leaves) and its index from the left. Of complete
nodes the leaves and levels 8, 16, 24 … are stored: one for 256 below it. What lies
between is recomputed from at most 255 neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final, Protocol, Self, TypeAlias

from modelkeep.proof.errors import Malformed

HASH_BYTES: Final = 32
STORED_EVERY: Final = 8
TILE: Final = 1 << STORED_EVERY

EMPTY_ROOT: Final = sha256(b"").digest()


Node: TypeAlias = tuple[int, int, bytes]
"""Level, index, hash."""


def leaf_hash(content: bytes) -> bytes:
    return sha256(b"\0" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


# To copy a hash that has begun costs a quarter less than to begin one.
_branching = sha256(b"\1").copy


def _tile(row: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of nodes, level by level: that is faster."""
    begin = _branching
    while len(row) > 1:
        pairs, above = iter(row), list[bytes]()
        for left, right in zip(pairs, pairs, strict=True):
            branch = begin()
            branch.update(left + right)
            above.append(branch.digest())
        row = above
    return row[0]


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees.

    Left to right, at most 64 hashes: all that an append needs. Not thread-safe.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int, peaks: list[bytes]) -> None:
        self.size = size
        self._peaks = peaks

    @classmethod
    def empty(cls) -> Self:
        return cls(0, [])

    @classmethod
    def load(cls, size: int, blob: bytes) -> Self:
        """Read back a `dump`; raises Malformed when it is not one of `size` leaves."""
        if size < 0 or len(blob) != HASH_BYTES * size.bit_count():
            raise Malformed(f"{len(blob)} bytes are not the edge of {size} leaves")
        return cls(
            size,
            [blob[at : at + HASH_BYTES] for at in range(0, len(blob), HASH_BYTES)],
        )

    def dump(self) -> bytes:
        return b"".join(self._peaks)

    def copy(self) -> Frontier:
        return Frontier(self.size, self._peaks.copy())

    def append(self, leaf: bytes) -> list[Node]:
        """Add one leaf; return the nodes it completed that are to be stored."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> list[Node]:
        """Add leaves in order; return the nodes to be stored that they completed."""
        done: list[Node] = []
        rest = iter(leaves)
        # As far as the next whole tile one by one, then tile by tile, if so many come.
        while some := list(islice(rest, TILE - self.size % TILE)):
            if len(some) == TILE:
                self._grow((_tile(some),), STORED_EVERY, done)
            else:
                self._grow(some, 0, done)
        return done

    def _grow(self, subtrees: Sequence[bytes], base: int, done: list[Node]) -> None:
        """Add complete subtrees of 2 ** base leaves each, and note what is stored."""
        size, peaks, begin = self.size, self._peaks, _branching
        for subtree in subtrees:
            node, level, left = subtree, base, size >> base
            if base:
                done.append((level, left, node))
            while left & 1:
                branch = begin()
                branch.update(peaks.pop() + node)
                node = branch.digest()
                left >>= 1
                level += 1
                if not level & 7:
                    done.append((level, left, node))
            peaks.append(node)
            size += 1 << base
        self.size = size

    def root(self) -> bytes:
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    frontier = Frontier.empty()
    frontier.extend(leaves)
    return frontier.root()


class Nodes(Protocol):
    """A reader of a stored tree. `size` is its number of leaves."""

    @property
    def size(self) -> int: ...

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return the leaf hashes of [start, end)."""

    def nodes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        """Return the nodes [start, end) of a stored level (8, 16, 24 …)."""


def _complete(nodes: Nodes, level: int, index: int) -> bytes:
    """Return any complete node, from at most 128 of the stored level at or below it."""
    stored = level - level % STORED_EVERY
    width = 1 << (level - stored)
    start = index * width
    row = (
        nodes.nodes(stored, start, start + width)
        if stored
        else nodes.leaves(start, start + width)
    )
    if len(row) != width:
        raise Malformed(
            f"level {stored} has {len(row)} nodes from {start} on, not {width}"
        )
    return _tile(row)


def _split(width: int) -> int:
    """Return the largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def _subtree(nodes: Nodes, start: int, end: int) -> bytes:
    """Return the root over leaves [start, end), as the tree of `end` leaves has it."""
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return _complete(nodes, level, start >> level)
    middle = start + _split(width)
    return node_hash(_subtree(nodes, start, middle), _subtree(nodes, middle, end))


def _within(size: int, nodes: Nodes) -> None:
    if not 0 <= size <= nodes.size:
        raise Malformed(f"the tree has {nodes.size} leaves, not {size}")


def root_at(nodes: Nodes, size: int) -> bytes:
    """Return the root the tree had when it had `size` leaves."""
    _within(size, nodes)
    return _subtree(nodes, 0, size) if size else EMPTY_ROOT


def edge_at(nodes: Nodes, size: int) -> Frontier:
    """Return the right edge that the tree had when it had `size` leaves."""
    _within(size, nodes)
    at, peaks = 0, []
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(_complete(nodes, level, at >> level))
            at += 1 << level
    return Frontier(size, peaks)


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """Prove leaf `index` in the tree of `size` leaves: siblings, lowest first."""
    _within(size, nodes)
    if not 0 <= index < size:
        raise Malformed(f"leaf {index} is not among {size}")
    start, end, siblings = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append(_subtree(nodes, middle, end))
            end = middle
        else:
            siblings.append(_subtree(nodes, start, middle))
            start = middle
    return siblings[::-1]


def consistency_proof(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """Prove that the tree of `old` leaves is the beginning of that of `new`."""
    _within(new, nodes)
    if not 0 <= old <= new:
        raise Malformed(f"{old} leaves do not come before {new}")
    if old in (0, new):
        return []
    start, end, path = 0, new, []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_subtree(nodes, middle, end))
            end = middle
        else:
            path.append(_subtree(nodes, start, middle))
            start = middle
    if start:
        path.append(_subtree(nodes, start, end))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Say whether `proof` shows `leaf` at `index` in the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _hashes(leaf, root, *proof):
        return False
    node, last = leaf, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if index & 1 or index == last:
            node = node_hash(sibling, node)
            while index and not index & 1:
                index >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        index >>= 1
        last >>= 1
    return last == 0 and node == root


def verify_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Say whether `proof` shows the older tree as the newer's beginning.

    RFC 9162, 2.1.4.2: of an empty older tree there is nothing to prove, so nothing is
    taken for proof of it.
    """
    if old == new:
        return old > 0 and not proof and old_root == new_root
    if not 0 < old < new or not _hashes(old_root, new_root, *proof):
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    first, last = old - 1, new - 1
    while first & 1:
        first >>= 1
        last >>= 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            older = node_hash(sibling, older)
            newer = node_hash(sibling, newer)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            newer = node_hash(newer, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and older == old_root and newer == new_root


def _hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


class Leaves:
    """A tree held as its leaf hashes alone; its inner nodes are computed when asked."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves

    @property
    def size(self) -> int:
        return len(self._leaves)

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self._leaves[start:end]

    def nodes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        width = 1 << level
        return [
            root_of(self._leaves[at * width : (at + 1) * width])
            for at in range(start, end)
            if (at + 1) * width <= len(self._leaves)
        ]


def row_root(rows: Iterable[bytes]) -> bytes:
    """Return the root over the rows of a batch, each in its canonical bytes."""
    return root_of(map(leaf_hash, rows))


def row_inclusion(rows: Sequence[bytes], index: int) -> list[bytes]:
    """Prove row `index` in its batch; check it with `verify_inclusion`."""
    return inclusion_proof(Leaves([leaf_hash(row) for row in rows]), index, len(rows))
