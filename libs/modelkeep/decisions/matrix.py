"""The canonical bytes of a whole batch at once: see `rows` for what they are.

Each row of the matrix begins with the zero byte of an RFC 6962 leaf, so that hashing a
slice of it is hashing the leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.rows import NEVER, WIDTHS, Schema, outcome_schema
from modelkeep.proof.merkle import EMPTY_ROOT

Octets: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
Times: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Codes: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of f64, f32, i64 or bool. `valid` is false where a value is missing."""

    values: NDArray[np.generic]
    valid: Flags

    def __len__(self) -> int:
        return len(self.values)


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
    found[:, 1:33] = np.frombuffer(rows.schema.digest(), dtype=np.uint8)
    found[:, 33:49] = rows.ids
    found[:, 49:57] = _octets(rows.times.astype("<i8", copy=False))
    found[:, 57:65] = _octets(rows.scores.astype("<f8", copy=False))
    latency = Numbers(rows.latency_ms, ~np.isnan(rows.latency_ms))
    at = _put(found, 65, latency, "f64")
    found[:, at] = rows.explained
    found[:, at + 1] = rows.reason_codes
    at = _put(found, at + 2, rows.references, "utf8")
    for (_, dtype), column in zip(rows.schema.columns, rows.columns, strict=True):
        at = _put(found, at, column, dtype)
    return found


def outcome_matrix(model: str, ids: Octets, outcomes: Octets, known: Times) -> Octets:
    """Return [rows, 1 + 57]: a zero byte, then the outcome's canonical bytes."""
    found = np.zeros((len(ids), 58), dtype=np.uint8)
    found[:, 1:33] = np.frombuffer(outcome_schema(model), dtype=np.uint8)
    found[:, 33:49] = ids
    found[:, 49] = np.minimum(outcomes, NEVER)
    found[:, 50:58] = _octets(known.astype("<i8", copy=False))
    return found


def leaves(matrix: Octets) -> list[bytes]:
    """Return the leaf hash of each row."""
    width, whole = matrix.shape[1], memoryview(matrix.tobytes())
    return [
        sha256(whole[at : at + width]).digest() for at in range(0, len(whole), width)
    ]


def root(hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle root, level by level; an odd last node goes up as it is."""
    row = list(hashes)
    if not row:
        return EMPTY_ROOT
    while len(row) > 1:
        above = [
            sha256(b"\1" + left + right).digest()
            for left, right in zip(row[::2], row[1::2], strict=False)
        ]
        if len(row) % 2:
            above.append(row[-1])
        row = above
    return row[0]


def _put(found: Octets, at: int, column: Column, dtype: str) -> int:
    """Write a validity byte and a value a row from byte `at` on; return where it ends.

    Values that are missing stay zero.
    """
    width = WIDTHS[dtype]
    end = at + 1 + width
    if isinstance(column, Words):
        digests = [bytes(33)]
        digests += [b"\1" + sha256(w.encode()).digest() for w in column.dictionary]
        table = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 33)
        found[:, at:end] = table[column.codes + 1]
        return end
    little = column.values.astype(column.values.dtype.newbyteorder("<"), copy=False)
    found[:, at] = column.valid
    found[:, at + 1 : end] = _octets(little)
    if not column.valid.all():
        found[~column.valid, at + 1 : end] = 0
    return end


def _octets(values: NDArray[np.generic]) -> Octets:
    flat = np.ascontiguousarray(values)
    return flat.view(np.uint8).reshape(len(flat), flat.dtype.itemsize)
