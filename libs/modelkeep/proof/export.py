"""A piece of the log as a file, checkable without the database it came from.

JSON lines in UTF-8. The first says what the rest is and how it hangs together:

    {"format": "modelkeep export v1", "origin": "bank.example/ledger",
     "first": 1000, "end": 2000, "size": 6403, "checkpoint": "<signed note>",
     "edge": "<base64>", "proof": ["<base64>", …]}

Events `first` to before `end` follow, in the log's order, one on each line:

    {"stream": "…", "version": 0, "id": "<UUID>", "name": "…", "schema_version": 1,
     "recorded_at": 1364807400000000, "data": "{…}", "metadata": "{…}"}

`edge` is the tree's right edge before the first: the roots of its complete subtrees,
left to right. Grown by the leaves of these events it gives the root at `end`, and
`proof` shows that tree as the beginning of the one of `size` events that was signed
(RFC 6962, consistency). So no event of the range can be left out, put in or changed.
Data and metadata are the bytes as stored, as text; what is no UTF-8 comes in base64, as
`data64` or `metadata64`. `recorded_at` is the engine's own stamp, and in no hash.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol
from uuid import UUID

from modelkeep.proof.dsse import read_object
from modelkeep.proof.errors import Malformed
from modelkeep.proof.fields import Fields
from modelkeep.proof.merkle import HASH_BYTES, Frontier, Nodes, consistency_proof
from modelkeep.proof.merkle import edge_at as edge_of
from modelkeep.proof.note import unbase64

FORMAT: Final = "modelkeep export v1"
LONGEST_LINE: Final = 64 << 20
_LONGEST_HEAD: Final = 1 << 20
_BEGINNING: Final = b'{"format":"modelkeep export '


class Stored(Protocol):
    """An event as an engine stored it."""

    @property
    def stream(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def id(self) -> bytes: ...
    @property
    def name(self) -> str: ...
    @property
    def schema_version(self) -> int: ...
    @property
    def recorded_at(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def metadata(self) -> bytes: ...


class Head(NamedTuple):
    """What an export says of itself; nothing of it is believed."""

    origin: str
    first: int
    end: int
    size: int
    checkpoint: bytes
    edge: Frontier
    proof: tuple[bytes, ...]

    @property
    def whole(self) -> bool:
        """Whether it holds all events that were signed."""
        return self.first == 0 and self.end == self.size

    def encode(self) -> bytes:
        return _line(
            {
                "format": FORMAT,
                "origin": self.origin,
                "first": self.first,
                "end": self.end,
                "size": self.size,
                "checkpoint": self.checkpoint.decode(),
                "edge": base64.b64encode(self.edge.dump()).decode(),
                "proof": [base64.b64encode(node).decode() for node in self.proof],
            }
        )

    @classmethod
    def parse(cls, line: bytes) -> Head:
        """Raises Malformed for what is no head of this format."""
        fields = Fields(read_object(line, "the first line"))
        if fields.text("format") != FORMAT:
            raise Malformed(f"{fields.text('format')[:40]!r} is not {FORMAT}")
        first, end, size = (fields.count(name) for name in ("first", "end", "size"))
        if not first <= end <= size:
            raise Malformed(f"events {first} to {end} are not among {size}")
        proof = tuple(map(unbase64, fields.words("proof")))
        if any(len(node) != HASH_BYTES for node in proof):
            raise Malformed("the proof is no list of hashes")
        edge = Frontier.load(first, unbase64(fields.text("edge")))
        checkpoint = fields.text("checkpoint").encode()
        return cls(fields.text("origin"), first, end, size, checkpoint, edge, proof)


def head(
    origin: str, nodes: Nodes, first: int, end: int, size: int, checkpoint: bytes
) -> Head:
    """Say how events `first` to before `end` hang together with the `size` signed."""
    edge, proof = edge_of(nodes, first), consistency_proof(nodes, end, size)
    return Head(origin, first, end, size, checkpoint, edge, tuple(proof))


def encode(event: Stored) -> bytes:
    """Return an event's line."""
    return _line(
        {
            "stream": event.stream,
            "version": event.version,
            "id": str(UUID(bytes=event.id)),
            "name": event.name,
            "schema_version": event.schema_version,
            "recorded_at": event.recorded_at,
            **_content("data", event.data),
            **_content("metadata", event.metadata),
        }
    )


def write(file: BinaryIO, head: Head, events: Iterable[Stored]) -> int:
    """Write an export; return how many events it holds. Keeps one in memory."""
    file.write(head.encode())
    written = 0
    for event in events:
        file.write(encode(event))
        written += 1
    return written


class Exported(NamedTuple):
    """An event as it is found in an export."""

    stream: str
    version: int
    id: bytes
    name: str
    schema_version: int
    data: bytes
    metadata: bytes


def decode(line: bytes) -> Exported:
    """Raises Malformed for a line that is no event."""
    fields = Fields(read_object(line, "an event"))
    said = fields.text("id")
    try:
        id_ = UUID(said)
    except ValueError:
        raise Malformed(f"{said[:40]!r} is no UUID") from None
    if str(id_) != said:
        raise Malformed(f"{said[:40]!r} is a UUID with another spelling")
    return Exported(
        fields.text("stream"),
        fields.count("version"),
        id_.bytes,
        fields.text("name"),
        fields.count("schema_version"),
        _bytes(fields, "data"),
        _bytes(fields, "metadata"),
    )


def is_export(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_BEGINNING)) == _BEGINNING


def read_head(file: BinaryIO) -> Head:
    return Head.parse(file.readline(_LONGEST_HEAD))


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield what follows the head, line by line; raises Malformed at an endless one."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise Malformed(f"a line of more than {LONGEST_LINE} bytes")
        yield line


def _line(content: dict[str, object]) -> bytes:
    said = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return said.encode() + b"\n"


def _content(name: str, raw: bytes) -> dict[str, object]:
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}64": base64.b64encode(raw).decode()}


def _bytes(fields: Fields, name: str) -> bytes:
    coded = fields.word(f"{name}64")
    try:
        return fields.text(name).encode() if coded is None else unbase64(coded)
    except UnicodeEncodeError:
        raise Malformed(f"{name} is no UTF-8") from None
