"""The leaves of a whole batch at once: of its rows, or of its columns.

Columns are hashed as they lie in memory, without the interpreter; see `columns` for
their bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

import numpy as np

from modelkeep.decisions.columns import column_head
from modelkeep.decisions.kernel import Values, kernel
from modelkeep.decisions.matrix import (
    Column,
    Decisions,
    Flags,
    Numbers,
    Words,
    all_there,
    leaves,
    row_matrix,
)
from modelkeep.decisions.rows import Proof

Body: TypeAlias = tuple[bytes, Values]
"""What is hashed of a column after its head: what comes first, and its values."""
LEAF: Final = b"\0"
_LITTLE_HOST: Final = sys.byteorder == "little"


def leaves_of(rows: Decisions, proof: Proof) -> list[bytes]:
    """Return the leaves by which a batch is proven."""
    return leaves(row_matrix(rows)) if proof == "rows" else column_leaves(rows)


def column_leaves(rows: Decisions) -> list[bytes]:
    """Return the leaf of each column, in their order."""
    bodies = list(_bodies(rows))
    heads = _heads(rows.schema.digest(), len(bodies), len(rows))
    told = [
        (head + front, _little(values))
        for head, (front, values) in zip(heads, bodies, strict=True)
    ]
    compiled = kernel()
    if compiled is not None:
        return [one.tobytes() for one in compiled.digests(told)]
    return [_hashed(front, values) for front, values in told]


@lru_cache(maxsize=64)
def _heads(schema: bytes, columns: int, rows: int) -> list[bytes]:
    return [LEAF + column_head(schema, place, rows) for place in range(columns)]


def _hashed(front: bytes, values: Values) -> bytes:
    hashed = sha256(front)
    hashed.update(values.data)
    return hashed.digest()


def _bodies(rows: Decisions) -> Iterator[Body]:
    latency = Numbers(rows.latency_ms, ~np.isnan(rows.latency_ms))
    yield b"", rows.ids
    yield b"", rows.times
    yield b"", rows.scores
    yield _numbers(latency)
    yield b"", rows.explained
    yield b"", rows.reason_codes
    yield _words(rows.references)
    yield from map(_body, rows.columns)


def _body(column: Column) -> Body:
    return _words(column) if isinstance(column, Words) else _numbers(column)


def _numbers(column: Numbers) -> Body:
    if column.whole:
        return _all_there(len(column)), column.values
    # what is missing is zeros, whatever was sent in its place
    zero = column.values.dtype.type(0)
    there = np.packbits(column.valid, bitorder="little").tobytes()
    return there, np.where(column.valid, column.values, zero)


@lru_cache(maxsize=64)
def _all_there(rows: int) -> bytes:
    return np.packbits(all_there(rows), bitorder="little").tobytes()


def _words(column: Words) -> Body:
    used: Flags = np.zeros(len(column.dictionary) + 1, dtype=np.bool_)
    used[column.codes] = True
    told = [word.encode() for word in column.dictionary]
    words = sorted({told[at] for at in np.flatnonzero(used[:-1]).tolist()})
    place = {word: at for at, word in enumerate(words)}
    table = np.array([*(place.get(word, -1) for word in told), -1], dtype="<i4")
    spelled = b"".join(struct.pack("<i", len(word)) + word for word in words)
    return struct.pack("<i", len(words)) + spelled, table[column.codes]


def _little(values: Values) -> Values:
    if _LITTLE_HOST and values.dtype.isnative and values.flags.c_contiguous:
        return values  # as nearly all are
    whole = np.ascontiguousarray(values)
    return whole.astype(whole.dtype.newbyteorder("<"), copy=False)
