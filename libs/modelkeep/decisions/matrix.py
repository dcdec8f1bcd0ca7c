"""The canonical bytes of a whole batch at once: see `rows` for what they are.

Each row of the matrix begins with the zero byte of an RFC 6962 leaf, so that hashing a
slice of it is hashing the leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.kernel import kernel
from modelkeep.decisions.rows import (
    NEVER,
    WIDTHS,
    Schema,
    number_schema,
    outcome_schema,
)
from modelkeep.proof.merkle import EMPTY_ROOT

Octets: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
Times: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Codes: TypeAlias = NDArray[np.int32]
Put: TypeAlias = Callable[[Octets, int, slice], int]

BLOCK: Final = 1_024
"""Rows written at a time: so many stay in the cache while columns are put into them."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of f64, f32, i64 or bool. `valid` is false where a value is missing.
    `span` is its least and greatest value, where somebody looked and none is missing.
    """

    values: NDArray[np.generic]
    valid: Flags
    span: tuple[float, float] | None = None

    @cached_property
    def whole(self) -> bool:
        """Whether no value is missing: asked often, and looked at once."""
        return self.span is not None or bool(self.valid.all())

    def __len__(self) -> int:
        return len(self.values)


@lru_cache(maxsize=64)
def all_there(rows: int) -> Flags:
    """Return flags that are all set, and take no memory; nobody may write to them."""
    return np.broadcast_to(np.True_, rows)


@dataclass(frozen=True, eq=False)
class Words:
    """A column of text, as codes into a dictionary; -1 is missing."""

    codes: Codes
    dictionary: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)


Column: TypeAlias = Numbers | Words


@dataclass(frozen=True, eq=False)
class Decisions:
    """Rows of one schema, column by column; all arrays have one length.

    `ids` is [rows, 16]. `columns` follow the schema. `latency_ms` is NaN where it was
    not measured.
    """

    schema: Schema
    ids: Octets
    times: Times
    scores: Floats
    latency_ms: Floats
    explained: Octets
    reason_codes: Octets
    references: Words
    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.times)


def row_matrix(rows: Decisions) -> Octets:
    """Return [rows, 1 + width]: a zero byte, then the row's canonical bytes."""
    n = len(rows)
    found = np.zeros((n, 1 + rows.schema.width), dtype=np.uint8)
    latency = Numbers(rows.latency_ms, ~np.isnan(rows.latency_ms))
    put = [_putter(latency, "f64"), _putter(rows.references, "utf8")]
    put += [
        _putter(column, dtype)
        for (_, dtype), column in zip(rows.schema.columns, rows.columns, strict=True)
    ]
    digest = np.frombuffer(rows.schema.digest(), dtype=np.uint8)
    for start in range(0, n, BLOCK):
        part = slice(start, start + BLOCK)
        block = found[part]
        block[:, 1:33] = digest
        block[:, 33:49] = rows.ids[part]
        _little(block, 49, rows.times[part])
        _little(block, 57, rows.scores[part])
        at = put[0](block, 65, part)
        block[:, at] = rows.explained[part]
        block[:, at + 1] = rows.reason_codes[part]
        at += 2
        for column in put[1:]:
            at = column(block, at, part)
    return found


def outcome_matrix(model: str, ids: Octets, outcomes: Octets, known: Times) -> Octets:
    """Return [rows, 1 + 57]: a zero byte, then the outcome's canonical bytes."""
    found = np.zeros((len(ids), 58), dtype=np.uint8)
    found[:, 1:33] = np.frombuffer(outcome_schema(model), dtype=np.uint8)
    found[:, 33:49] = ids
    found[:, 49] = np.minimum(outcomes, NEVER)
    found[:, 50:58] = _octets(known.astype("<i8", copy=False))
    return found


def number_matrix(
    model: str, ids: Octets, outcomes: Octets, values: Floats, known: Times
) -> Octets:
    """Return [rows, 1 + 65]: a zero byte, then the canonical bytes of outcomes that are
    numbers. `outcomes` say which will never be known.
    """
    found = np.zeros((len(ids), 66), dtype=np.uint8)
    found[:, 1:33] = np.frombuffer(number_schema(model), dtype=np.uint8)
    found[:, 33:49] = ids
    found[:, 49] = np.minimum(outcomes, NEVER)
    found[:, 50:58] = _octets(values.astype("<f8", copy=False))
    found[:, 58:66] = _octets(known.astype("<i8", copy=False))
    return found


def leaves(matrix: Octets) -> list[bytes]:
    """Return the leaf hash of each row."""
    compiled = kernel()
    if compiled is None:
        return _hashed(np.ascontiguousarray(matrix))
    return _rows(compiled.leaves(matrix))


def root(hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle root, level by level; an odd last node goes up as it is."""
    row = list(hashes)
    if not row:
        return EMPTY_ROOT
    compiled = kernel()
    if compiled is not None:
        return compiled.root(b"".join(row))
    while len(row) > 1:
        pairs = len(row) // 2
        nodes = np.ones((pairs, 65), dtype=np.uint8)
        below = np.frombuffer(b"".join(row[: 2 * pairs]), dtype=np.uint8)
        nodes[:, 1:] = below.reshape(pairs, 64)
        row = _hashed(nodes) + row[2 * pairs :]
    return row[0]


def _hashed(matrix: Octets) -> list[bytes]:
    """Return the hash of each row of contiguous bytes."""
    return [sha256(row).digest() for row in _rows(matrix)]


def _rows(matrix: Octets) -> list[bytes]:
    # a list that numpy makes is cheaper than slices made one by one
    whole = np.dtype((np.void, matrix.shape[1]))
    return cast("list[bytes]", matrix.view(whole).ravel().tolist())


def _putter(column: Column, dtype: str) -> Put:
    """Return what writes a validity byte and a value a row from byte `at` on, and says
    where it ends. Values that are missing stay zero.
    """
    width = WIDTHS[dtype]
    if isinstance(column, Words):
        digests = [bytes(33)]
        digests += [b"\1" + sha256(w.encode()).digest() for w in column.dictionary]
        table = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 33)

        def words(block: Octets, at: int, part: slice) -> int:
            block[:, at : at + 1 + width] = table[column.codes[part] + 1]
            return at + 1 + width

        return words
    whole = column.whole

    def numbers(block: Octets, at: int, part: slice) -> int:
        block[:, at] = column.valid[part]
        _little(block, at + 1, column.values[part])
        if not whole:
            block[~column.valid[part], at + 1 : at + 1 + width] = 0
        return at + 1 + width

    return numbers


def _little(block: Octets, at: int, values: NDArray[np.generic]) -> None:
    """Write little-endian values into each row from byte `at` on."""
    little = values.dtype.newbyteorder("<")
    # One value at a time, not byte by byte: rows are not aligned, and need not be.
    into = np.ndarray(
        (len(block),), little, block.data, offset=at, strides=(block.strides[0],)
    )
    into[:] = values


def _octets(values: NDArray[np.generic]) -> Octets:
    flat = np.ascontiguousarray(values)
    return flat.view(np.uint8).reshape(len(flat), flat.dtype.itemsize)
