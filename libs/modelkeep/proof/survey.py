"""One pass over a ledger file that asks for no checkpoint: what holds together.

Versions without a gap, positions in step, each leaf that of its event, the stored tree
theirs. That says nothing of who wrote it: `verify` holds a ledger against what was
signed, this finds what broke, and the root at any size asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from modelkeep.proof.errors import Malformed
from modelkeep.proof.leaf import Leafer
from modelkeep.proof.ledger_file import STRIDE, Damaged, LedgerFile, Row
from modelkeep.proof.merkle import HASH_BYTES, Frontier, Node

NO_LEAF: Final = bytes(HASH_BYTES)
"""Stands where a row is no event: no hash is known to be this."""

_NAMED: Final = 5

Seen = Callable[[LedgerFile, Sequence[Row]], None]
"""Told of every row, some at a time, in global order."""

Progress = Callable[[int, int], None]
"""Told how many events were read, of how many."""


@dataclass
class Survey:
    """What a ledger holds. `faults` names the first of each kind, `counts` counts all;
    `roots` are those at the sizes asked for that it reaches.
    """

    origin: str
    events: int = 0
    streams: int = 0
    root: bytes = b""
    roots: dict[int, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        return not self.counts

    def note(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= _NAMED:
            self.faults.append(text)


def survey(
    ledger: LedgerFile,
    *,
    sizes: Iterable[int] = (),
    seen: Seen = lambda _ledger, _rows: None,
    progress: Progress = lambda _done, _total: None,
) -> Survey:
    """Read all of it. Raises Unreadable when it is written to meanwhile, unlocked."""
    origins = [one for one in ledger.origins if isinstance(one, str)]
    found = Survey(origins[0] if origins else "")
    if len(ledger.origins) != 1 or not origins:
        found.note("origin", f"it calls itself {ledger.origins!r}")
    reading = _Reading(ledger, found, sorted(set(sizes), reverse=True))
    try:
        total = ledger.expected()
        reading.grow([])
        for rows in ledger.events():
            seen(ledger, rows)
            reading.take(rows)
            progress(reading.edge.size, total)
        reading.check_tree()
    except Damaged as error:
        found.note("damaged", f"{error}, after {reading.edge.size} events")
    found.events, found.root = reading.edge.size, reading.edge.root()
    found.streams = len(reading.versions)
    ledger.require_unchanged()
    return found


class _Reading:
    def __init__(self, ledger: LedgerFile, found: Survey, sizes: list[int]) -> None:
        self._ledger, self._found, self._sizes = ledger, found, sizes
        self._leafer = Leafer(found.origin)
        self.versions: dict[str, int] = {}
        self.edge = Frontier.empty()
        self._nodes: list[Node] = []

    def take(self, rows: Sequence[Row]) -> None:
        leaves = []
        for at, row in enumerate(rows, self.edge.size):
            if row[0] != at * STRIDE:
                self._found.note(
                    "position", f"event {at} is at position {row[0]}, not {at * STRIDE}"
                )
            leaves.append(self._leaf(at, row))
        self.grow(leaves)

    def _leaf(self, at: int, row: Row) -> bytes:
        _, sid, version, nid, schema, id_, stored, data, metadata = row
        try:
            stream, name = self._ledger.streams[sid], self._ledger.names[nid]
            leaf = self._leafer.leaf(stream, version, id_, name, schema, data, metadata)
        except (Malformed, KeyError, TypeError) as error:
            self._found.note("malformed", f"event {at} is none: {error}")
            return NO_LEAF
        due = self.versions.get(stream, 0)
        if version != due:
            self._found.note(
                "version", f"{stream} has version {version} where {due} was due"
            )
        self.versions[stream] = version + 1
        if leaf != stored:
            self._found.note(
                "leaf", f"event {at} ({stream}@{version}) is not what was written"
            )
        return leaf

    def grow(self, leaves: Sequence[bytes]) -> None:
        """Add leaves to the tree, stopping for its root where one was asked for."""
        start, at = self.edge.size, 0
        while self._sizes and self._sizes[-1] <= start + len(leaves):
            size = self._sizes.pop()
            self._nodes += self.edge.extend(leaves[at : size - start])
            at = size - start
            self._found.roots[size] = self.edge.root()
        self._nodes += self.edge.extend(leaves[at:])

    def check_tree(self) -> None:
        stored = self._ledger.stored_tree(), self._ledger.stored_nodes()
        if stored != ([(self.edge.size, self.edge.dump())], sorted(self._nodes)):
            self._found.note("tree", "the stored Merkle tree is not that of the events")
