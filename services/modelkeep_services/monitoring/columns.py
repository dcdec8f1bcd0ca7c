"""Wire to arrays: the columns of a batch, checked before anything else sees them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar, cast
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.kernel import kernel
from modelkeep.decisions.matrix import (
    Codes,
    Column,
    Decisions,
    Flags,
    Floats,
    Numbers,
    Octets,
    Times,
    Words,
    all_there,
)
from modelkeep.decisions.rows import UNSAID, Schema
from modelkeep.errors import Invalid
from modelkeep.events.monitoring import MAX_COLUMNS
from modelkeep_services.monitoring import rooms
from modelkeep_services.monitoring.ids import repeats

T = TypeVar("T", bound=np.generic)

MAX_ROWS: Final = 65_536
MAX_DICTIONARY: Final = 65_536
MAX_WORD: Final = 1_000
MAX_NAME: Final = 100
EARLIEST: Final = 0
LATEST: Final = 253_402_300_799_000_000
"""The last microsecond but one of the year 9999."""

DTYPES: Final = {
    pb.DTYPE_UNSPECIFIED: "f64",
    pb.DTYPE_F64: "f64",
    pb.DTYPE_F32: "f32",
    pb.DTYPE_I64: "i64",
    pb.DTYPE_BOOL: "bool",
    pb.DTYPE_UTF8: "utf8",
}
F8: Final[np.dtype[np.float64]] = np.dtype("<f8")
F4: Final[np.dtype[np.float32]] = np.dtype("<f4")
I8: Final[np.dtype[np.int64]] = np.dtype("<i8")
I4: Final[np.dtype[np.int32]] = np.dtype("<i4")
U1: Final[np.dtype[np.uint8]] = np.dtype("u1")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]+")
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


def decisions(request: pb.ObserveRequest) -> Decisions:
    """Read a batch. Raises Invalid, naming the field."""
    rows = row_count(request.rows)
    schema, columns = _columns(request, rows)
    scores = _array("scores", request.scores, F8, rows)
    if not all(map(math.isfinite, *_spans([request.scores]))):
        raise Invalid.field("scores", f"row {_first(~np.isfinite(scores))} is no score")
    return Decisions(
        schema=schema,
        ids=ids(request.decision_ids, rows),
        times=times("times", request.times, rows),
        scores=scores,
        latency_ms=_latency(request.latency_ms, rows),
        explained=_flags("explained", request.explained, rows),
        reason_codes=_flags("reason_codes", request.reason_codes, rows),
        references=_references(request, rows),
        columns=columns,
    )


def row_count(rows: int) -> int:
    if not 1 <= rows <= MAX_ROWS:
        raise Invalid.field("rows", f"must lie between 1 and {MAX_ROWS}, not {rows}")
    return rows


def uuid_of(field: str, given: str) -> str:
    try:
        return str(UUID(given))
    except ValueError:
        raise Invalid.field(field, "must be a UUID") from None


def slug_of(field: str, given: str, default: str = "") -> str:
    found = given or default
    if len(found) > MAX_NAME or not _SLUG.fullmatch(found):
        raise Invalid.field(
            field, "must be a short name: lower case, digits, dots, dashes"
        )
    return found


def ids(given: bytes, rows: int) -> Octets:
    """Return [rows, 16]. Raises Invalid when an id is there twice."""
    found = _array("decision_ids", given, U1, rows * 16).reshape(rows, 16)
    if repeats(found):
        raise Invalid.field("decision_ids", "the same decision is there twice")
    return found


def times(field: str, given: bytes, rows: int) -> Times:
    found: Times = _array(field, given, I8, rows)
    if found.min() < EARLIEST or found.max() > LATEST:
        raise Invalid.field(
            field, "a time is not in microseconds between 1970 and 9999"
        )
    return found


def doubles(field: str, given: bytes, rows: int) -> Floats:
    return _array(field, given, F8, rows)


def octets(field: str, given: bytes, rows: int) -> Octets:
    return _array(field, given, U1, rows)


def read_columns(
    given: Sequence[pb.Column], rows: int
) -> Iterator[tuple[str, str, Column]]:
    """Yield name, dtype and values, by name. Raises Invalid."""
    if len(given) > MAX_COLUMNS:
        raise Invalid.field("columns", f"there are more than {MAX_COLUMNS}")
    seen: set[str] = set()
    together = _together(given, rows)
    for column in sorted(given, key=lambda c: c.name):
        name = column.name
        if len(name) > MAX_NAME or not _NAME.fullmatch(name):
            raise Invalid.field("columns.name", f"{name[:MAX_NAME]!r} is not a name")
        if name in seen:
            raise Invalid.field(f"columns.{name}", "is there twice")
        seen.add(name)
        dtype = DTYPES.get(column.dtype)
        if dtype is None:
            raise Invalid.field(f"columns.{name}.dtype", f"{column.dtype} is no dtype")
        if name in together:
            yield name, dtype, together[name]
        else:
            yield name, dtype, _column(f"columns.{name}", dtype, column, rows)


def _together(given: Sequence[pb.Column], rows: int) -> dict[str, Numbers]:
    """Read the columns of f64 that are what they should be, and look at all at once.

    One by one, each glance at a column lets go of the interpreter and must have it
    back, from threads that do the same.
    """
    size = rows * F8.itemsize
    plain: dict[str, bytes] = {}
    for column in given:
        told = column.values  # protobuf makes a copy each time
        if len(told) == size and _is_plain(column):
            plain[column.name] = told
    if not plain:
        return {}
    return {
        name: _looked_at(told, low, high)
        for (name, told), (low, high) in zip(
            plain.items(), _spans([*plain.values()]), strict=True
        )
    }


def _spans(columns: Sequence[bytes]) -> list[list[float]]:
    """Return the least and the greatest of each f64; NaN where one is missing."""
    compiled = kernel()
    if compiled is not None:
        return cast("list[list[float]]", compiled.spans(columns).tolist())
    block = np.frombuffer(b"".join(columns), dtype=F8).reshape(len(columns), -1)
    ends = np.stack([block.min(axis=1), block.max(axis=1)], axis=1)
    return cast("list[list[float]]", ends.tolist())


def _looked_at(told: bytes, low: float, high: float) -> Numbers:
    values = np.frombuffer(told, dtype=F8)
    if math.isnan(low):
        return Numbers(values, ~np.isnan(values))
    return Numbers(values, all_there(len(values)), (low, high))


def _is_plain(column: pb.Column) -> bool:
    f64 = DTYPES.get(column.dtype) == "f64"
    return f64 and not column.validity and not column.dictionary


def _columns(
    request: pb.ObserveRequest, rows: int
) -> tuple[Schema, tuple[Column, ...]]:
    found = list(read_columns(request.columns, rows))
    schema = Schema(
        slug_of("model", request.model),
        slug_of("version", request.version),
        slug_of("environment", request.environment, "prod"),
        slug_of("use", request.use) if request.use else "",
        tuple((name, dtype) for name, dtype, _ in found),
    )
    return schema, tuple(column for _, _, column in found)


def _column(field: str, dtype: str, column: pb.Column, rows: int) -> Column:
    if dtype == "utf8":
        valid = _validity(field, column.validity, rows)
        return _words(field, column, valid, rows)
    if column.dictionary:
        raise Invalid.field(f"{field}.dictionary", f"a column of {dtype} has none")
    where, given = f"{field}.values", column.values
    if dtype == "bool":
        truths = _array(where, given, U1, rows)
        if (truths > 1).any():
            raise Invalid.field(where, "a byte is neither 0 nor 1")
        return Numbers(truths, _validity(field, column.validity, rows))
    if dtype == "i64":
        whole = _array(where, given, I8, rows)
        return Numbers(whole, _validity(field, column.validity, rows))
    values = _array(where, given, F4 if dtype == "f32" else F8, rows)
    valid = values == values  # noqa: PLR0124 - NaN, which is missing, is not
    if column.validity:
        valid &= _validity(field, column.validity, rows)
    return Numbers(values, valid)


def _words(field: str, column: pb.Column, valid: Flags, rows: int) -> Words:
    codes: Codes = _array(f"{field}.values", column.values, I4, rows)
    size = len(column.dictionary)
    if size > MAX_DICTIONARY:
        raise Invalid.field(f"{field}.dictionary", f"is longer than {MAX_DICTIONARY}")
    if any(len(word) > MAX_WORD for word in column.dictionary):
        raise Invalid.field(
            f"{field}.dictionary", f"a word is longer than {MAX_WORD} characters"
        )
    if ((codes < -1) | (codes >= size)).any():
        raise Invalid.field(f"{field}.values", f"a code is not below {size}")
    return Words(np.where(valid, codes, -1).astype(np.int32), tuple(column.dictionary))


def _validity(field: str, given: bytes, rows: int) -> Flags:
    if not given:
        return all_there(rows)
    if len(given) != (rows + 7) // 8:
        raise Invalid.field(
            f"{field}.validity", f"has {len(given)} bytes, not {(rows + 7) // 8}"
        )
    bits = np.unpackbits(
        np.frombuffer(given, dtype=np.uint8), count=rows, bitorder="little"
    )
    return bits.astype(np.bool_)


def _latency(given: bytes, rows: int) -> Floats:
    if not given:
        return np.full(rows, np.nan)
    found = _array("latency_ms", given, F8, rows)
    ((low, high),) = _spans([given])
    if math.isnan(low):  # some were not measured
        low, high = np.fmin.reduce(found), np.fmax.reduce(found)
    if low < 0 or math.isinf(high):
        raise Invalid.field("latency_ms", "a latency is negative or infinite")
    return found


def _flags(field: str, given: bytes, rows: int) -> Octets:
    if not given:
        return np.full(rows, UNSAID, dtype=np.uint8)
    found = _array(field, given, U1, rows)
    if (found > UNSAID).any():
        raise Invalid.field(field, "a byte is none of 0, 1 and 2")
    return found


def _references(request: pb.ObserveRequest, rows: int) -> Words:
    if not request.HasField("references"):
        return Words(np.full(rows, -1, dtype=np.int32), ())
    column = request.references
    valid = _validity("references", column.validity, rows)
    return _words("references", column, valid, rows)


def _array(field: str, given: bytes, dtype: np.dtype[T], rows: int) -> NDArray[T]:
    wanted = rows * dtype.itemsize
    if len(given) != wanted:
        raise Invalid.field(field, f"has {len(given)} bytes, not {wanted}")
    return np.frombuffer(given, dtype=dtype)


def _first(bad: Flags) -> int:
    return int(np.flatnonzero(bad)[0])


# --- several batches as one --------------------------------------------------------


def joined(parts: Sequence[Decisions]) -> Decisions:
    """Put batches of one schema end to end."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    return Decisions(
        schema=first.schema,
        ids=np.concatenate([p.ids for p in parts]),
        times=np.concatenate([p.times for p in parts]),
        scores=np.concatenate([p.scores for p in parts]),
        latency_ms=np.concatenate([p.latency_ms for p in parts]),
        explained=np.concatenate([p.explained for p in parts]),
        reason_codes=np.concatenate([p.reason_codes for p in parts]),
        references=_joined_words([p.references for p in parts]),
        columns=tuple(_joined_columns(parts)),
    )


def _joined_columns(parts: Sequence[Decisions]) -> Iterator[Column]:
    """All columns of f64 share one block, which was used before: fresh pages cost more
    than what is written to them.
    """
    schema = parts[0].schema.columns
    wide = [place for place, (_, dtype) in enumerate(schema) if dtype == "f64"]
    into = dict(zip(wide, rooms.block(len(wide), sum(map(len, parts))), strict=True))
    for place in range(len(schema)):
        yield joined_column([p.columns[place] for p in parts], into.get(place))


def joined_column(parts: Sequence[Column], into: Floats | None = None) -> Column:
    """Put columns end to end, numbers of f64 `into` memory that is given."""
    words = [part for part in parts if isinstance(part, Words)]
    if words:
        return _joined_words(words)
    numbers = [part for part in parts if isinstance(part, Numbers)]
    values = np.concatenate([part.values for part in numbers], out=into)
    spans = [part.span for part in numbers if part.span is not None]
    if len(spans) < len(numbers):
        return Numbers(values, np.concatenate([part.valid for part in numbers]))
    low, high = zip(*spans, strict=True)
    return Numbers(values, all_there(len(values)), (min(low), max(high)))


def _joined_words(parts: Sequence[Words]) -> Words:
    place: dict[str, int] = {}
    codes = []
    for part in parts:
        known = [place.setdefault(word, len(place)) for word in part.dictionary]
        table = np.array([*known, -1], dtype=np.int32)
        codes.append(table[part.codes])
    return Words(np.concatenate(codes), tuple(place))


def parted(rows: Decisions, sizes: Iterable[int]) -> Iterator[Decisions]:
    """Yield the first so many rows, then the next: what `joined` put together."""
    start = 0
    for size in sizes:
        yield taken(rows, slice(start, start + size))
        start += size


def taken(rows: Decisions, kept: Flags | slice) -> Decisions:
    """Return some of the rows."""
    return Decisions(
        schema=rows.schema,
        ids=rows.ids[kept],
        times=rows.times[kept],
        scores=rows.scores[kept],
        latency_ms=rows.latency_ms[kept],
        explained=rows.explained[kept],
        reason_codes=rows.reason_codes[kept],
        references=_taken(rows.references, kept),
        columns=tuple(
            _taken(c, kept)
            if isinstance(c, Words)
            else Numbers(c.values[kept], c.valid[kept])
            for c in rows.columns
        ),
    )


def _taken(words: Words, kept: Flags | slice) -> Words:
    return Words(words.codes[kept], words.dictionary)
