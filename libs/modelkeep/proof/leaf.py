"""The leaf: what the Merkle log remembers of one event.

An RFC 6962 leaf hash, SHA-256(0x00 || commitment). The commitment is these fields in
this order, each preceded by its length in bytes as a 32-bit big-endian number:

    format           "modelkeep leaf v1"
    origin           UTF-8; the ledger's name, as on its checkpoints
    stream           UTF-8
    name             UTF-8; the event's name
    schema version   64-bit big-endian
    version          64-bit big-endian; the event's place in its stream, from 0
    id               16 bytes
    data             SHA-256 of the bytes as stored
    metadata         SHA-256 of the bytes as stored

Nothing in it was assigned by an engine, so a ledger keeps its proofs when it moves.
Data and metadata enter by their digests, so a leaf can be checked without showing them.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import TYPE_CHECKING

from modelkeep.proof.errors import Malformed

if TYPE_CHECKING:
    import hashlib

FORMAT = b"modelkeep leaf v1"

UUID_BYTES = 16
DIGEST_BYTES = 32
_CACHED = 1 << 14

# To copy a hash that has begun costs a quarter less than to begin one.
digesting = sha256().copy
"""Begins a SHA-256."""

_SCHEMA = struct.Struct(">IQI")
ending = struct.Struct(">QI16sI32sI32s").pack
"""Makes the end of a commitment: version, then id, data's and metadata's digest, each
behind its length. It would cut or fill up what has another: look before.
"""


def _field(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


class Leafer:
    """Makes the leaves of one ledger; remembers how those of a stream and of a name
    begin, and the last metadata, which the events of one append share.
    """

    __slots__ = ("_head", "_last", "_names", "_streams")

    def __init__(self, origin: str) -> None:
        self._head = b"\0" + _field(FORMAT) + _field(origin.encode())
        self._streams: dict[str, hashlib._Hash] = {}
        self._names: dict[tuple[str, int], bytes] = {}
        self._last = b"", sha256(b"").digest()

    def leaf(
        self,
        stream: str,
        version: int,
        event_id: bytes,
        name: str,
        schema_version: int,
        data: bytes,
        metadata: bytes,
    ) -> bytes:
        """Return the 32-byte leaf hash; raises Malformed when no event looks so."""
        begun, kind = self.begun(stream), self.kind(name, schema_version)
        try:
            if len(event_id) != UUID_BYTES:
                raise Malformed(f"{stream}@{version}: an id of {len(event_id)} bytes")
            told = digesting()
            told.update(data)
            whole = begun.copy()
            around = self._digest(metadata)
            whole.update(
                kind
                + ending(
                    version,
                    UUID_BYTES,
                    event_id,
                    DIGEST_BYTES,
                    told.digest(),
                    DIGEST_BYTES,
                    around,
                )
            )
            return whole.digest()
        except (TypeError, AttributeError, struct.error) as error:
            raise Malformed(f"{stream}@{version} is no event: {error}") from error

    def begun(self, stream: str) -> hashlib._Hash:
        """Return the hash of a leaf as far as its stream: to be copied, not changed."""
        return self._streams.get(stream) or self._stream(stream)

    def kind(self, name: str, schema_version: int) -> bytes:
        """Return what comes next in it, as far as the version's length."""
        key = name, schema_version
        return self._names.get(key) or self._name(name, schema_version)

    def _digest(self, metadata: bytes) -> bytes:
        known, digest = self._last  # as one: another thread may be at it too
        if metadata != known:
            digest = sha256(metadata).digest()
            self._last = metadata, digest
        return digest

    def _stream(self, stream: str) -> hashlib._Hash:
        if len(self._streams) >= _CACHED:
            self._streams.clear()
        try:
            begun = sha256(self._head + _field(stream.encode()))
        except (AttributeError, UnicodeEncodeError) as error:
            raise Malformed(f"stream {stream!r} is not text") from error
        self._streams[stream] = begun
        return begun

    def _name(self, name: str, schema_version: int) -> bytes:
        if len(self._names) >= _CACHED:
            self._names.clear()
        try:
            # the version's length too
            kind = _field(name.encode()) + _SCHEMA.pack(8, schema_version, 8)
        except (AttributeError, UnicodeEncodeError, struct.error) as error:
            raise Malformed(f"name {name!r} v{schema_version!r} is none") from error
        self._names[name, schema_version] = kind
        return kind


def event_leaf(
    origin: str,
    stream: str,
    version: int,
    event_id: bytes,
    name: str,
    schema_version: int,
    data: bytes,
    metadata: bytes,
) -> bytes:
    """Return one leaf; make a Leafer for more than a few."""
    return Leafer(origin).leaf(
        stream, version, event_id, name, schema_version, data, metadata
    )
