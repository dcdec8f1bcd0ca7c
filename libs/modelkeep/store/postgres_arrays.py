"""Arrays as PostgreSQL sends and takes them: packed here, a third of the cost."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD: Final = struct.Struct(">iiIii")  # dimensions, nulls, type, length, first index
_EMPTY: Final = struct.Struct(">iiI")
_SIZE: Final = struct.Struct(">i")
_NUMBER: Final = struct.Struct(">q")


class _Array(bytes):
    """`oid` is the array's type, `of` that of what is in it."""

    __slots__ = ()
    oid: ClassVar[int]
    of: ClassVar[int]

    @classmethod
    def packed(cls, items: Sequence[bytes]) -> Self:
        if not items:
            return cls(_EMPTY.pack(0, 0, cls.of))
        sizes = map(_SIZE.pack, map(len, items))
        parts = [part for pair in zip(sizes, items, strict=True) for part in pair]
        return cls(_HEAD.pack(1, 0, cls.of, len(items), 1) + b"".join(parts))


class Numbers(_Array):
    oid, of = 1016, 20

    @classmethod
    def pack(cls, items: Iterable[int]) -> Self:
        return cls.packed([*map(_NUMBER.pack, items)])


class Texts(_Array):
    oid, of = 1009, 25

    @classmethod
    def pack(cls, items: Iterable[str]) -> Self:
        return cls.packed([one.encode() for one in items])


class Ids(_Array):
    oid, of = 2951, 2950


class Blobs(_Array):
    oid, of = 1001, 17


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


class _NumbersAsTheyAre(_AsItIs):
    oid = Numbers.oid


class _TextsAsTheyAre(_AsItIs):
    oid = Texts.oid


class _IdsAsTheyAre(_AsItIs):
    oid = Ids.oid


class _BlobsAsTheyAre(_AsItIs):
    oid = Blobs.oid


def teach(db: psycopg.Connection[tuple[object, ...]]) -> None:
    """Let a connection take these for parameters."""
    db.adapters.register_dumper(Numbers, _NumbersAsTheyAre)
    db.adapters.register_dumper(Texts, _TextsAsTheyAre)
    db.adapters.register_dumper(Ids, _IdsAsTheyAre)
    db.adapters.register_dumper(Blobs, _BlobsAsTheyAre)
