"""The canonical bytes of one decision and of one outcome, written down once more.

`modelkeep.decisions.rows` says what they are and writes them for the log. Whoever
checks must not run the code that is checked, nor import it: this is the same in a page,
for a value that comes out of JSON. Everything here raises Malformed for what is no row.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from modelkeep.proof import dsse
from modelkeep.proof.errors import Malformed

DECISION: Final = "modelkeep.row/1"
OUTCOME: Final = "modelkeep.outcome/1"
NUMBER: Final = "modelkeep.number/1"
NEVER: Final = 2
"""An outcome that will never be known."""

Cell: TypeAlias = float | int | bool | str | None

_WIDTHS: Final = {"f64": 8, "f32": 4, "i64": 8, "bool": 1, "utf8": 32}
_FLOATS: Final = {"f64": "<d", "f32": "<f"}
_BEYOND: Final = {"Infinity": float("inf"), "-Infinity": float("-inf")}
"""How JSON, which has no such numbers, spells them here."""
_UNSAID: Final = b"\2"
_ID_BYTES: Final = 16


class Schema(NamedTuple):
    """What all rows of a batch have in common; `text` is the JSON that is hashed."""

    text: str
    model: str
    version: str
    environment: str
    use: str
    columns: Sequence[tuple[str, str]]

    @property
    def digest(self) -> bytes:
        return sha256(self.text.encode()).digest()


class Row(NamedTuple):
    """One decision; `at` in microseconds since 1970, None what was not said."""

    id: bytes
    at: int
    score: Cell
    latency_ms: Cell
    explained: bool | None
    reason_codes: bool | None
    reference: str | None
    values: Sequence[Cell]


def read_schema(text: str) -> Schema:
    found = dsse.read_object(_utf8(text), "the row's schema")
    if dsse.text(found, "format") != DECISION:
        raise Malformed(f"the row's schema is {found['format']!r}, not {DECISION}")
    columns = found.get("columns")
    if not isinstance(columns, list) or not all(map(_is_column, columns)):
        raise Malformed("the row's schema has no columns of known types")
    model, version, environment, use = (
        dsse.text(found, n) for n in ("model", "version", "environment", "use")
    )
    pairs = [(name, dtype) for name, dtype in columns]
    return Schema(text, model, version, environment, use, pairs)


def _is_column(one: object) -> bool:
    if not isinstance(one, list) or len(one) != len(("name", "dtype")):
        return False
    name, dtype = one
    return isinstance(name, str) and isinstance(dtype, str) and dtype in _WIDTHS


def decision(schema: Schema, row: Row) -> bytes:
    """Return what is hashed of a decision."""
    if len(row.values) != len(schema.columns):
        raise Malformed(
            f"the row has {len(row.values)} values for {len(schema.columns)} columns"
        )
    parts = [
        schema.digest,
        _id(row.id),
        _int(row.at),
        _float("f64", row.score),
        _cell("f64", row.latency_ms),
        _said(row.explained),
        _said(row.reason_codes),
        _cell("utf8", row.reference),
    ]
    parts += [
        _cell(dtype, value)
        for (_, dtype), value in zip(schema.columns, row.values, strict=True)
    ]
    return b"".join(parts)


def outcome(model: str, of: bytes, became: float, known_at: int) -> bytes:
    """Return what is hashed of an outcome: 0, 1, or NEVER."""
    if became not in (0, 1, NEVER):
        raise Malformed(f"{became!r} is no outcome")
    told = bytes([int(became)]) + _int(known_at)
    return _kind(OUTCOME, model) + _id(of) + told


def number(model: str, of: bytes, value: Cell, known_at: int) -> bytes:
    """Return what is hashed of an outcome that is a number; None: never known."""
    told = b"\2" + bytes(8) if value is None else b"\0" + _float("f64", value)
    return _kind(NUMBER, model) + _id(of) + told + _int(known_at)


def _kind(form: str, model: str) -> bytes:
    told = json.dumps(
        {"format": form, "model": model}, separators=(",", ":"), ensure_ascii=False
    )
    return sha256(told.encode()).digest()


def _id(octets: bytes) -> bytes:
    if len(octets) != _ID_BYTES:
        raise Malformed(f"an id of {len(octets)} bytes")
    return octets


def _said(flag: bool | None) -> bytes:  # noqa: FBT001  # a row's own value
    return _UNSAID if flag is None else bytes([flag])


def _cell(dtype: str, value: Cell) -> bytes:
    if value is None:
        return bytes(1 + _WIDTHS[dtype])
    match dtype, value:
        case "utf8", str():
            return b"\1" + sha256(_utf8(value)).digest()
        case "bool", bool():
            return b"\1" + bytes([value])
        case "i64", int() if not isinstance(value, bool):
            return b"\1" + _int(value)
        case "f64" | "f32", _:
            return b"\1" + _float(dtype, value)
    raise Malformed(f"{value!r} is no {dtype}")


def _float(dtype: str, value: Cell) -> bytes:
    if isinstance(value, str) and value in _BEYOND:
        value = _BEYOND[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"{value!r} is no number")
    try:
        return struct.pack(_FLOATS[dtype], value)
    except (struct.error, OverflowError):
        raise Malformed(f"{value!r} is no {dtype}") from None


def _int(value: int) -> bytes:
    try:
        return struct.pack("<q", value)
    except struct.error:
        raise Malformed(f"{value!r} is no whole number of 64 bits") from None


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Malformed("a text that is no UTF-8") from None
