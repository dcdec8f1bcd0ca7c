"""The canonical bytes of one logged decision, `modelkeep.row/1`.

A batch's root is the Merkle root (RFC 6962) over its rows in these bytes. All numbers
are little-endian. What is missing is zeros after a validity byte of 0, so all rows of a
batch are equally long:

    32  SHA-256 of the schema's JSON: names what follows, and whose decision it is
    16  decision id
     8  int64   microseconds since 1970, UTC
     8  f64     score
   1+8  f64     latency in milliseconds
     1          explained: 0 no, 1 yes, 2 nothing said
     1          reason codes: 0 owed and missing, 1 there, 2 not owed
  1+32          the caller's own id: SHA-256 of its UTF-8
   1+w  a column of the schema, in its order: f64 8, f32 4, i64 8, bool 1 (0 or 1),
        utf8 32 (SHA-256 of the UTF-8)

NaN in a column is missing. The schema's JSON has sorted keys and no spaces; its columns
are sorted by name. An outcome (`modelkeep.outcome/1`) is 32 bytes of schema, 16 of
decision id, one of outcome (0, 1, or 2 for never) and 8 of the time it was known. One
that is a number (`modelkeep.number/1`) is 32 bytes of schema, 16 of decision id, one of
whether it is known (0, or 2 for never), its f64 (zeros for never), and 8 of that time.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal, NamedTuple, TypeAlias

ROW_FORMAT: Final = "modelkeep.row/1"
OUTCOME_FORMAT: Final = "modelkeep.outcome/1"
WIDTHS: Final = {"f64": 8, "f32": 4, "i64": 8, "bool": 1, "utf8": 32}
FIXED: Final = 32 + 16 + 8 + 8 + 9 + 1 + 1 + 33
NUMBER_FORMAT: Final = "modelkeep.number/1"
UNSAID: Final = 2
NEVER: Final = 2

Cell: TypeAlias = float | int | bool | str | None
Proof: TypeAlias = Literal["rows", "columns"]
"""What a batch proves: each of its rows, or its columns as wholes (see `columns`)."""
FORMS: Final = {"f64": "<d", "f32": "<f", "i64": "<q", "bool": "<?"}


class Schema(NamedTuple):
    """What all rows of a batch have in common. `columns` are (name, dtype)."""

    model: str
    version: str
    environment: str
    use: str
    columns: tuple[tuple[str, str], ...]

    def to_json(self) -> bytes:
        told = {"format": ROW_FORMAT, **self._asdict()}
        return _dump(told | {"columns": [list(c) for c in self.columns]})

    def digest(self) -> bytes:
        return _digest(self)

    @property
    def width(self) -> int:
        """How long each row is, in bytes."""
        return FIXED + sum(1 + WIDTHS[dtype] for _, dtype in self.columns)

    @classmethod
    def from_json(cls, data: bytes | str) -> Schema:
        """Raises ValueError, KeyError or TypeError when it is not one."""
        try:
            told = json.loads(data)
        except RecursionError:
            raise ValueError("it is nested too deep") from None
        if told["format"] != ROW_FORMAT:
            raise ValueError(f"{told['format']} is not {ROW_FORMAT}")
        columns = tuple((str(name), str(dtype)) for name, dtype in told["columns"])
        return cls(
            str(told["model"]),
            str(told["version"]),
            str(told["environment"]),
            str(told["use"]),
            columns,
        )


@lru_cache(maxsize=256)
def _digest(schema: Schema) -> bytes:
    """Asked for each batch, and of few."""
    return sha256(schema.to_json()).digest()


class Row(NamedTuple):
    """One decision. `values` follow the schema's columns; None is missing."""

    id: bytes
    at: int
    score: float
    latency_ms: float | None
    explained: bool | None
    reason_codes: bool | None
    reference: str | None
    values: Sequence[Cell]


def encode_row(schema: Schema, row: Row) -> bytes:
    """Return what is hashed of a row.

    >>> schema = Schema("m", "1", "prod", "", (("age", "f64"), ("name", "utf8")))
    >>> row = Row(bytes(16), 0, 0.5, None, True, None, None, (None, "dana"))
    >>> len(encode_row(schema, row)) == schema.width
    True
    """
    parts = [
        schema.digest(),
        row.id,
        struct.pack("<qd", row.at, row.score),
        _cell("f64", row.latency_ms),
        bytes([said(row.explained), said(row.reason_codes)]),
        _cell("utf8", row.reference),
    ]
    parts += [
        _cell(dtype, value)
        for (_, dtype), value in zip(schema.columns, row.values, strict=True)
    ]
    return b"".join(parts)


def outcome_schema(model: str) -> bytes:
    """The first 32 bytes of each outcome of a model."""
    return sha256(_dump({"format": OUTCOME_FORMAT, "model": model})).digest()


def encode_outcome(model: str, decision: bytes, outcome: int, known_at: int) -> bytes:
    return outcome_schema(model) + decision + struct.pack("<Bq", outcome, known_at)


def number_schema(model: str) -> bytes:
    """The first 32 bytes of each outcome that is a number."""
    return sha256(_dump({"format": NUMBER_FORMAT, "model": model})).digest()


def encode_number(
    model: str, decision: bytes, number: float | None, known_at: int
) -> bytes:
    """Return what is hashed of an outcome; None: it will never be known."""
    told = (NEVER, 0.0) if number is None else (0, number)
    return number_schema(model) + decision + struct.pack("<Bdq", *told, known_at)


def _cell(dtype: str, value: Cell) -> bytes:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return bytes(1 + WIDTHS[dtype])
    if dtype == "utf8":
        return b"\1" + sha256(str(value).encode()).digest()
    return b"\1" + struct.pack(FORMS[dtype], value)


def said(flag: bool | None) -> int:  # noqa: FBT001  # a row's own value
    return UNSAID if flag is None else int(flag)


def _dump(told: object) -> bytes:
    return json.dumps(
        told, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
