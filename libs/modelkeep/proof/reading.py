"""The pass over a ledger file: what every row says, and the root where one was signed.

The work for one event is four hashes (data, metadata, leaf, one of the tree), and they
cost less than Python around them: so the loop in `_take` calls nothing that it can do
itself, and whatever is odd about a row is told elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from modelkeep.proof.crowd import Check, here
from modelkeep.proof.errors import Malformed
from modelkeep.proof.evidence import Evidence
from modelkeep.proof.leaf import UUID_BYTES, Leafer, digesting, ending
from modelkeep.proof.ledger_file import STRIDE, Damaged, LedgerFile, Row, Value
from modelkeep.proof.merkle import HASH_BYTES, Frontier, Node
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.report import KEPT, Problem, Report
from modelkeep.proof.writers import Writers, detach, stated

if TYPE_CHECKING:
    import hashlib

NO_LEAF: Final = bytes(HASH_BYTES)
"""Stands where a row is no event: no hash is known to be this."""

_NAMED: Final = KEPT
_BEGUN: Final = 1 << 14
_ODD: Final = (Malformed, LookupError, TypeError, AttributeError, struct.error)

Progress = Callable[[int, int], None]
"""Told how many events were read, of how many."""


def silent(_done: int, _total: int) -> None:
    pass


class Seen(NamedTuple):
    """An event as whoever watches the pass sees it; `leaf` is its place in the log."""

    leaf: int
    stream: str
    version: int
    id: bytes
    name: str
    schema_version: int
    data: bytes
    metadata: bytes


class Watch(Protocol):
    """Told of every event that has one of these names, in the log's order."""

    @property
    def names(self) -> frozenset[str]: ...

    def take(self, seen: Seen) -> None: ...


class _Place:
    """How far a stream has come, and its leaves' beginning while that is remembered."""

    __slots__ = ("begun", "due", "stream")

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.due = 0
        self.begun: Callable[[], hashlib._Hash] | None = None


class _Places(dict[int, _Place]):
    """Places by the number that rows know their stream by; two numbers of one name are
    one stream. Raises KeyError for a number without a name.
    """

    def __init__(self, names: dict[int, str], leafer: Leafer) -> None:
        super().__init__()
        self._names, self._leafer = names, leafer
        self._begun: list[_Place] = []
        self.streams: dict[str, _Place] = {}

    def __missing__(self, sid: int) -> _Place:
        stream = self._names[sid]
        place = self.streams.get(stream)
        if place is None:
            self._leafer.begun(stream)  # Malformed when it is no text
            place = self.streams[stream] = _Place(stream)
        self[sid] = place
        return place

    def begin(self, place: _Place) -> Callable[[], hashlib._Hash]:
        if len(self._begun) >= _BEGUN:
            for one in self._begun:
                one.begun = None
            self._begun.clear()
        self._begun.append(place)
        place.begun = self._leafer.begun(place.stream).copy
        return place.begun


class _Kinds(dict[tuple[int, int], bytes]):
    """What a leaf says of name and schema version, by the name's number and it."""

    def __init__(self, names: dict[int, str], leafer: Leafer) -> None:
        super().__init__()
        self._names, self._leafer = names, leafer

    def __missing__(self, key: tuple[int, int]) -> bytes:
        nid, schema_version = key
        kind = self[key] = self._leafer.kind(self._names[nid], schema_version)
        return kind


class Reading:
    """`run` it once. `leaves` are those found, some in each; `unequal` the events whose
    stored leaf is another; `nodes` the tree's.
    """

    def __init__(
        self,
        ledger: LedgerFile,
        report: Report,
        evidence: Evidence,
        writers: Sequence[VerifierKey] | None,
        watch: Watch | None = None,
        check: Check = here,
    ) -> None:
        self._ledger = ledger
        self._report = report
        leafer = Leafer(evidence.top.origin)
        self._names = ledger.names
        self._places = _Places(ledger.streams, leafer)
        self._kinds = _Kinds(ledger.names, leafer)
        self._due = 0
        self._shared = b"", digesting().digest()
        self._sizes = sorted(
            {one.checkpoint.size for one in evidence.all}, reverse=True
        )
        self._writers = Writers(writers, check=check) if writers is not None else None
        self._stated: list[bytes] = []
        self._watch = watch
        self._wanted = {
            nid for nid, name in ledger.names.items() if watch and name in watch.names
        }
        self.edge = Frontier.empty()
        self.nodes: list[Node] = []
        self.roots: dict[int, bytes] = {}
        self.leaves: list[bytes] = []
        self.unequal: list[int] = []

    def run(self, progress: Progress) -> None:
        report = self._report
        try:
            total = self._ledger.expected()
            for rows in self._ledger.events():
                leaves = self._read(rows)
                if self._writers:
                    self._ask_writers(self._writers, rows)
                if self._watch:
                    self._show(self._watch, rows, leaves)
                self._grow(leaves)
                self.leaves.append(b"".join(leaves))
                progress(self.edge.size, total)
        except Damaged as error:
            report.add(Problem("damaged", f"{error}, after {self.edge.size} events"))
        self._grow([])
        report.events = self.edge.size
        report.streams = len(self._places.streams)
        if self._writers:
            report.vouched = self._writers.finish()
            for leaf, stream, version, reason in report.vouched.doubts:
                text = f"event {leaf} ({stream}@{version}): {reason}"
                report.add(Problem("writer", text, leaf, stream, version))

    def _read(self, rows: list[Row]) -> list[bytes]:
        """Return the leaves of `rows`, having noted what is odd about each."""
        leaves: list[bytes] = []
        self._stated.clear()
        while len(leaves) < len(rows):
            try:
                self._take(rows, leaves)
            except _ODD as error:
                index = self.edge.size + len(leaves)
                self._malformed(index, error)
                self._due = self._after(index, rows[len(leaves)][0], self._due)
                leaves.append(NO_LEAF)
                self._stated.append(b"")
        return leaves

    def _take(self, rows: list[Row], leaves: list[bytes]) -> None:
        """Add the leaves of the rows behind those that are there, as far as it goes.

        Raises one of _ODD at a row that is no event, which has left no trace then.
        """
        places, kinds, begin, end = self._places, self._kinds, digesting, ending
        start, due, (shared, digest) = self.edge.size, self._due, self._shared
        told = self._stated if self._writers else None
        try:
            for row in islice(rows, len(leaves), None):
                position, sid, version, nid, schema, id_, stored, data, metadata = row
                place, kind = places[sid], kinds[nid, schema]
                if len(id_) != UUID_BYTES:
                    raise Malformed(f"an id of {len(id_)} bytes")
                if metadata != shared:
                    around = begin()
                    around.update(metadata)
                    shared, digest = metadata, around.digest()
                content = begin()
                content.update(data)
                said = content.digest()
                whole = (place.begun or places.begin(place))()
                whole.update(kind + end(version, 16, id_, 32, said, 32, digest))
                leaf = whole.digest()
                if told is not None:
                    told.append(stated(id_, schema, self._names[nid], said, digest))
                if leaf != stored:
                    self.unequal.append(start + len(leaves))
                if version != place.due:
                    self._gap(start + len(leaves), place.due, version)
                place.due = version + 1
                if position == due:
                    due += STRIDE
                else:
                    due = self._after(start + len(leaves), position, due)
                leaves.append(leaf)
        finally:
            self._due, self._shared = due, (shared, digest)

    def _grow(self, leaves: list[bytes]) -> None:
        """Add leaves to the tree, stopping for its root where a checkpoint did."""
        start, end = self.edge.size, self.edge.size + len(leaves)
        at = 0
        while self._sizes and self._sizes[-1] <= end:
            size = self._sizes.pop()
            self.nodes += self.edge.extend(leaves[at : size - start])
            at = size - start
            self.roots[size] = self.edge.root()
        self.nodes += self.edge.extend(leaves[at:])

    def _ask_writers(self, writers: Writers, rows: list[Row]) -> None:
        index, streams = self.edge.size, self._ledger.streams
        for row, told in zip(rows, self._stated, strict=True):
            if told:
                unsigned, signature = detach(row[8])
                if signature:
                    told = told[:-HASH_BYTES] + sha256(unsigned).digest()  # noqa: PLW2901, of what was signed
                writers.hear(index, streams[row[1]], row[2], told, signature)
            index += 1

    def _show(self, watch: Watch, rows: list[Row], leaves: list[bytes]) -> None:
        wanted, streams, names = self._wanted, self._ledger.streams, self._names
        for offset, row in enumerate(rows):
            if row[3] in wanted and leaves[offset] is not NO_LEAF:
                _, sid, version, nid, schema, id_, _, data, metadata = row
                about = streams[sid], version, id_, names[nid], schema
                watch.take(Seen(self.edge.size + offset, *about, data, metadata))

    def _malformed(self, index: int, error: Exception) -> None:
        why = (
            error if isinstance(error, Malformed) else f"{type(error).__name__} {error}"
        )
        self._note("malformed", index, f"is no event ({why})")

    def _gap(self, index: int, due: int, version: int) -> None:
        self._note("version", index, f"has version {version} where {due} was due")

    def _after(self, index: int, position: Value, due: int) -> int:
        """Note a position out of step; return the one that is due after it."""
        if not isinstance(position, int):
            self._note("order", index, "has no position")
            return due + STRIDE
        missing, odd = divmod(position - due, STRIDE)
        if odd or missing < 0:
            self._note("order", index, f"was put in, at position {position}")
            return position - odd + STRIDE
        if missing:
            self._note("order", index, f"comes after {missing} that are missing")
        return position + STRIDE

    def _note(self, kind: str, index: int, text: str) -> None:
        if self._report.counts[kind] < _NAMED:
            self._report.add(event_problem(self._ledger, kind, index, text))
        else:
            self._report.counts[kind] += 1


def event_problem(ledger: LedgerFile, kind: str, index: int, text: str) -> Problem:
    """Say what is wrong with the event that stands at `index`, by its name."""
    try:
        stream, version, name, _ = ledger.glimpse(index)
    except Damaged:
        stream = version = name = None
    told = f"event {index} ({stream!s}@{version!s} {name!s}) {text}"
    return Problem(
        kind,
        told,
        index,
        stream if isinstance(stream, str) else None,
        version if isinstance(version, int) else None,
        name if isinstance(name, str) else None,
    )
