"""The leaves of a whole batch at once: of its rows, or of its columns.

Columns are hashed as they lie in memory, without the interpreter; see `columns` for
their bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.columns import column_head
from modelkeep.decisions.matrix import (
    Column,
    Decisions,
    Flags,
    Numbers,
    Words,
    leaves,
    row_matrix,
)
from modelkeep.decisions.rows import Proof

Buffer: TypeAlias = bytes | NDArray[np.generic]
LEAF: Final = b"\0"


def leaves_of(rows: Decisions, proof: Proof) -> list[bytes]:
    """Return the leaves by which a batch is proven."""
    return leaves(row_matrix(rows)) if proof == "rows" else column_leaves(rows)


def column_leaves(rows: Decisions) -> list[bytes]:
    """Return the leaf of each column, in their order."""
    schema = rows.schema.digest()
    return [
        _leaf(column_head(schema, place, len(rows)), body)
        for place, body in enumerate(_bodies(rows))
    ]


def _leaf(head: bytes, body: Iterable[Buffer]) -> bytes:
    hashed = sha256(LEAF + head)
    for part in body:
        hashed.update(part if isinstance(part, bytes) else _little(part))
    return hashed.digest()


def _bodies(rows: Decisions) -> Iterator[Iterator[Buffer]]:
    latency = Numbers(rows.latency_ms, ~np.isnan(rows.latency_ms))
    yield iter([rows.ids])
    yield iter([rows.times])
    yield iter([rows.scores])
    yield _numbers(latency)
    yield iter([rows.explained])
    yield iter([rows.reason_codes])
    yield _words(rows.references)
    yield from map(_body, rows.columns)


def _body(column: Column) -> Iterator[Buffer]:
    return _words(column) if isinstance(column, Words) else _numbers(column)


def _numbers(column: Numbers) -> Iterator[Buffer]:
    if column.whole:
        yield _all_there(len(column))
        yield column.values
    else:
        yield np.packbits(column.valid, bitorder="little")
        # what is missing is zeros, whatever was sent in its place
        zero = column.values.dtype.type(0)
        yield np.where(column.valid, column.values, zero)


@lru_cache(maxsize=64)
def _all_there(rows: int) -> bytes:
    return np.packbits(np.ones(rows, dtype=np.bool_), bitorder="little").tobytes()


def _words(column: Words) -> Iterator[Buffer]:
    used: Flags = np.zeros(len(column.dictionary) + 1, dtype=np.bool_)
    used[column.codes] = True
    told = [word.encode() for word in column.dictionary]
    words = sorted({told[at] for at in np.flatnonzero(used[:-1]).tolist()})
    yield struct.pack("<i", len(words))
    yield b"".join(struct.pack("<i", len(word)) + word for word in words)
    place = {word: at for at, word in enumerate(words)}
    table = np.array([*(place.get(word, -1) for word in told), -1], dtype="<i4")
    yield table[column.codes]


def _little(values: NDArray[np.generic]) -> memoryview:
    whole = np.ascontiguousarray(values)
    return whole.astype(whole.dtype.newbyteorder("<"), copy=False).data
