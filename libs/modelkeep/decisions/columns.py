"""The canonical bytes of a batch's columns, `modelkeep.columns/1`.

Where that was chosen for a model, a batch is proven by its columns, not row by row: its
root is the Merkle root (RFC 6962) over one leaf a column of each batch that was
sent, in the order its event names them (`sent`). No single row can be proven by it. The
columns of one batch are, in this order: id, time, score, latency_ms, explained,
reason_codes, reference, then those of the schema. All numbers are little-endian. A leaf
is over

    32  SHA-256 of the schema's JSON: names what follows, and whose decisions they are
     4  int32   the column's number, from 0
     8  int64   how many rows there are
     w  a value a row, for id (16 bytes), time (int64), score (f64), explained and
        reason_codes (one byte each): as `rows` says

or, where a value may be missing (latency_ms, and a column of f64, f32, i64 or bool),

    44  as above
   n/8  whether it is there, a bit a row, the lowest of each byte first
     w  a value a row, zeros where it is missing

or, for words (reference, and a column of utf8),

    44  as above
     4  int32   how many words there are
   4+l  each, in the order of its UTF-8 bytes: int32 how long it is, and those bytes
     4  int32   for each row, which word it holds, from 0; -1 is missing
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from modelkeep.decisions.rows import FORMS, WIDTHS, Cell, Row, Schema, said

_HEAD: Final = struct.Struct("<32siq")
HEAD: Final = _HEAD.size


def column_head(schema: bytes, place: int, rows: int) -> bytes:
    """Return what a leaf begins with. `schema` is its digest."""
    return _HEAD.pack(schema, place, rows)


def encode_columns(schema: Schema, rows: Sequence[Row]) -> Iterator[bytes]:
    """Yield what is hashed of each column of one batch.

    >>> schema = Schema("m", "1", "prod", "", (("age", "f64"),))
    >>> row = Row(bytes(16), 0, 0.5, None, True, None, None, (30.0,))
    >>> [len(column) - HEAD for column in encode_columns(schema, [row])]
    [16, 8, 8, 9, 1, 1, 8, 9]
    """
    digest = schema.digest()
    for place, body in enumerate(_bodies(schema, rows)):
        yield column_head(digest, place, len(rows)) + body


def _bodies(schema: Schema, rows: Sequence[Row]) -> Iterator[bytes]:
    yield b"".join(row.id for row in rows)
    yield b"".join(struct.pack("<q", row.at) for row in rows)
    yield b"".join(struct.pack("<d", row.score) for row in rows)
    yield _values("f64", [row.latency_ms for row in rows])
    yield bytes(said(row.explained) for row in rows)
    yield bytes(said(row.reason_codes) for row in rows)
    yield _words([row.reference for row in rows])
    for place, (_, dtype) in enumerate(schema.columns):
        cells = [row.values[place] for row in rows]
        yield _words(cells) if dtype == "utf8" else _values(dtype, cells)


def _values(dtype: str, cells: Sequence[Cell]) -> bytes:
    there = [
        not (cell is None or (isinstance(cell, float) and math.isnan(cell)))
        for cell in cells
    ]
    bits = bytearray((len(cells) + 7) // 8)
    for at, one in enumerate(there):
        bits[at // 8] |= one << at % 8
    missing = bytes(WIDTHS[dtype])
    packed = (
        struct.pack(FORMS[dtype], cell) if one else missing
        for cell, one in zip(cells, there, strict=True)
    )
    return bytes(bits) + b"".join(packed)


def _words(cells: Sequence[Cell]) -> bytes:
    told = [None if cell is None else str(cell).encode() for cell in cells]
    words = sorted({word for word in told if word is not None})
    place = {word: at for at, word in enumerate(words)}
    codes = [-1 if word is None else place[word] for word in told]
    return (
        struct.pack("<i", len(words))
        + b"".join(struct.pack("<i", len(word)) + word for word in words)
        + struct.pack(f"<{len(codes)}i", *codes)
    )
