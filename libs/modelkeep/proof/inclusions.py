"""Many inclusion proofs of one tree at once: what they share is read and hashed once.

One proof costs up to 255 hashes and some reads at each stored level. A dossier proves
two hundred events, most of them neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelkeep.proof.errors import Malformed
from modelkeep.proof.merkle import STORED_EVERY, TILE, Nodes, node_hash


class Inclusions:
    """Proves leaves of the tree of `size` leaves. Not thread-safe; remembers all that
    it computed.
    """

    def __init__(self, nodes: Nodes, size: int) -> None:
        if not 0 <= size <= nodes.size:
            raise Malformed(f"the tree has {nodes.size} leaves, not {size}")
        self._nodes, self.size = nodes, size
        self._roots: dict[tuple[int, int], bytes] = {}
        self._rows: dict[tuple[int, int], Sequence[bytes]] = {}

    def proof(self, index: int) -> list[bytes]:
        """Return the siblings of a leaf, lowest first, as `merkle.inclusion_proof`."""
        if not 0 <= index < self.size:
            raise Malformed(f"leaf {index} is not among {self.size}")
        start, end, siblings = 0, self.size, list[bytes]()
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                siblings.append(self._root(middle, end))
                end = middle
            else:
                siblings.append(self._root(start, middle))
                start = middle
        return siblings[::-1]

    def _root(self, start: int, end: int) -> bytes:
        found = self._roots.get((start, end))
        if found is None:
            found = self._roots[start, end] = self._computed(start, end)
        return found

    def _computed(self, start: int, end: int) -> bytes:
        width = end - start
        level = width.bit_length() - 1
        if width == 1 << level and level % STORED_EVERY == 0:
            return self._stored(level, start >> level)
        middle = start + _split(width)
        return node_hash(self._root(start, middle), self._root(middle, end))

    def _stored(self, level: int, index: int) -> bytes:
        """Return a leaf or a stored node, read with its neighbours."""
        tile, at = divmod(index, TILE)
        row = self._rows.get((level, tile))
        if row is None:
            first = tile * TILE
            row = (
                self._nodes.nodes(level, first, first + TILE)
                if level
                else self._nodes.leaves(first, first + TILE)
            )
            self._rows[level, tile] = row
        if at >= len(row):
            raise Malformed(f"level {level} has no node {index}")
        return row[at]


def inclusion_proofs(
    nodes: Nodes, indexes: Iterable[int], size: int
) -> list[list[bytes]]:
    """Prove several leaves in the tree of `size` leaves."""
    shared = Inclusions(nodes, size)
    return [shared.proof(index) for index in indexes]


def _split(width: int) -> int:
    """Return the largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)
