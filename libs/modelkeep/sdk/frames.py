"""Whole tables of decisions in one call: dicts, numpy, Arrow, pandas and polars.

Nothing is imported that the caller has not: a frame is known by what it can do. What it
holds becomes columns (`columns_of`), some of which say something beside the features:
the score, the id, the time. A batch job waits for room in the queue instead of losing
rows, and is told what cannot be sent: this is no request that must not fail.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeAlias, cast

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.sdk import packing
from modelkeep.sdk.batches import Flags, Source, Whole, blocks
from modelkeep.sdk.moments import micros
from modelkeep.sdk.packing import Array, Value, Values
from modelkeep.sdk.resources import Used
from modelkeep.sdk.sender import Sender
from modelkeep.sdk.uuid7 import mint_many, octets_many

PAUSE_S: Final = 0.002
MISSING: Final = -(2**63)
"""What numpy calls NaT, as an integer."""


class ArrowLike(Protocol):
    """What is asked of an Arrow table or record batch."""

    @property
    def column_names(self) -> list[str]: ...
    def column(self, name: str, /) -> object: ...


class PolarsLike(Protocol):
    @property
    def columns(self) -> list[str]: ...
    def to_arrow(self) -> ArrowLike: ...


class PandasLike(Protocol):
    @property
    def columns(self) -> Sequence[object]: ...
    def __getitem__(self, name: object, /) -> object: ...


Frame: TypeAlias = (
    Mapping[str, Values]
    | Sequence[Mapping[str, Value]]
    | Array
    | ArrowLike
    | PolarsLike
    | PandasLike
)
"""Columns by name, rows as dicts, an array, or a frame of one of the libraries."""


class Roles(NamedTuple):
    """Which columns are no features. `scores` may be values too."""

    scores: str | Values
    decision_ids: str | None
    at: str | None
    latency_ms: str | None
    references: str | None
    features: Sequence[str] | None
    explanation_ms: str | None = None


class About(NamedTuple):
    """What all rows of a frame have in common."""

    use: str
    explained: Flags
    reason_codes: Flags
    used: Used | None = None


def log(
    source: Source,
    sender: Sender,
    frame: Frame,
    names: Sequence[str] | None,
    roles: Roles,
    about: About,
    timeout: float,
) -> list[str]:
    """Queue a frame's rows, waiting for room; return their ids.

    Raises ValueError for a column that is not there or cannot be what it should be,
    TimeoutError when the queue has no room for longer than `timeout`.
    """
    columns = dict(columns_of(frame, names))
    scores = roles.scores
    if isinstance(scores, str):
        scores = _taken(columns, scores)
    given_ids = _optional(columns, roles.decision_ids)
    moments = _moments(_optional(columns, roles.at), len(scores))
    latency = _optional(columns, roles.latency_ms)
    references = _optional(columns, roles.references)
    explanation = _optional(columns, roles.explanation_ms)
    if roles.features is not None:
        columns = {name: _taken(columns, name) for name in roles.features}
    if given_ids is None:
        keys, ids = mint_many([moment * 1000 for moment in moments])
    else:
        ids = [str(one) for one in _listed(given_ids)]
        keys = octets_many(ids)
    whole = Whole(
        columns,
        keys,
        moments,
        scores,
        latency,
        about.explained,
        about.reason_codes,
        None if references is None else [_word(one) for one in _listed(references)],
        explanation_ms=explanation,
        used=about.used,
    )
    _check(scores)
    deadline = time.monotonic() + timeout
    for block in blocks(source, about.use, whole):
        while sender.queued + block.rows > sender.limit and sender.queued:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{sender.queued} rows are waiting to be sent")
            time.sleep(PAUSE_S)
        sender.put_blocks([block])
    return ids


def columns_of(
    frame: Frame, names: Sequence[str] | None = None
) -> Iterator[tuple[str, Values]]:
    """Yield columns by name. `names` are those of an array that has none of its own."""
    if isinstance(frame, Mapping):
        yield from ((str(name), frame[name]) for name in frame)
    elif hasattr(frame, "column_names"):
        arrow = cast("ArrowLike", frame)
        yield from ((name, _arrow(arrow.column(name))) for name in arrow.column_names)
    elif hasattr(frame, "to_arrow"):
        yield from columns_of(cast("PolarsLike", frame).to_arrow())
    elif hasattr(frame, "columns"):
        pandas = cast("PandasLike", frame)
        yield from ((str(name), _pandas(pandas[name])) for name in pandas.columns)
    elif packing.is_array(frame):
        yield from _array(cast("Array", frame), names)
    else:
        rows = cast("Sequence[Mapping[str, Value]]", frame)
        known = dict.fromkeys(name for row in rows for name in row)
        yield from ((str(name), [row.get(name) for row in rows]) for name in known)


# --- numpy -------------------------------------------------------------------------


class _Shaped(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def T(self) -> Sequence[Array]: ...  # noqa: N802  # numpy's own word


def _array(frame: Array, names: Sequence[str] | None) -> Iterator[tuple[str, Values]]:
    fields = getattr(frame.dtype, "names", None)
    if fields:
        by_name = cast("Mapping[str, Array]", frame)
        yield from ((name, by_name[name]) for name in fields)
        return
    shaped = cast("_Shaped", frame)
    if len(shaped.shape) != 2 or names is None or len(names) != shaped.shape[1]:  # noqa: PLR2004  # a matrix
        raise ValueError("an array needs two dimensions, and a name for each column")
    yield from zip(names, shaped.T, strict=True)


# --- Arrow -------------------------------------------------------------------------


class _ArrowArray(Protocol):
    """What is asked of a pyarrow Array."""

    @property
    def type(self) -> object: ...
    @property
    def null_count(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def indices(self) -> _ArrowArray: ...
    @property
    def dictionary(self) -> _ArrowArray: ...
    def __len__(self) -> int: ...
    def slice(self, start: int, length: int) -> _ArrowArray: ...
    def cast(self, to: str, /) -> _ArrowArray: ...
    def fill_null(self, value: object, /) -> _ArrowArray: ...
    def is_valid(self) -> _ArrowArray: ...
    def dictionary_encode(self) -> _ArrowArray: ...
    def dictionary_decode(self) -> _ArrowArray: ...
    def buffers(self) -> list[object]: ...
    def to_pylist(self) -> list[Value]: ...


class _Arrow:
    """A column of Arrow's, sliced without copying and packed without a loop."""

    def __init__(self, values: _ArrowArray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, part: slice) -> _Arrow:
        start, stop, _ = part.indices(len(self))
        return _Arrow(self._values.slice(start, stop - start))

    def tolist(self) -> list[Value]:
        return self._values.to_pylist()

    def packed(self, name: str) -> pb.Column:
        values, kind = self._values, str(self._values.type)
        if kind.startswith("dictionary"):
            values = values.dictionary_decode()
            kind = str(values.type)
        if kind.startswith(("string", "large_string")):
            return self._words(name, values)
        for prefix, dtype, to, width in _ARROW:
            if kind.startswith(prefix):
                return self._numbers(name, values, dtype, to, width)
        return packing.column(name, values.to_pylist())

    def _words(self, name: str, values: _ArrowArray) -> pb.Column:
        coded = values.dictionary_encode()
        codes = coded.indices.cast("int32").fill_null(-1)
        return pb.Column(
            name=name,
            dtype=pb.DTYPE_UTF8,
            values=_octets(codes, 4),
            dictionary=cast("list[str]", coded.dictionary.to_pylist()),
        )

    def _numbers(
        self,
        name: str,
        values: _ArrowArray,
        dtype: pb.Dtype.ValueType,
        to: str,
        width: int,
    ) -> pb.Column:
        if str(values.type).startswith(("date", "timestamp")):
            values = values.cast("timestamp[us]")
        found = pb.Column(name=name, dtype=dtype)
        if values.null_count:
            bits = memoryview(cast("bytes", values.is_valid().buffers()[1]))
            found.validity = bytes(bits[: (len(values) + 7) // 8])
            values = values.cast(to).fill_null(0)
        found.values = _octets(values.cast(to), width)
        return found


_Made: TypeAlias = tuple[str | tuple[str, ...], pb.Dtype.ValueType, str, int]
_ARROW: Final[tuple[_Made, ...]] = (
    ("double", pb.DTYPE_F64, "float64", 8),
    ("halffloat", pb.DTYPE_F32, "float32", 4),
    ("float", pb.DTYPE_F32, "float32", 4),
    (("int", "uint"), pb.DTYPE_I64, "int64", 8),
    ("bool", pb.DTYPE_BOOL, "uint8", 1),
    ("decimal", pb.DTYPE_F64, "float64", 8),
    (("date", "timestamp"), pb.DTYPE_I64, "int64", 8),
)
"""Arrow's type, ours, what it is cast to and its width. Times become microseconds."""


def _octets(values: _ArrowArray, width: int) -> bytes:
    data = memoryview(cast("bytes", values.buffers()[1]))  # or what looks like them
    start = values.offset * width
    return bytes(data[start : start + len(values) * width])


class _Chunked(Protocol):
    def combine_chunks(self) -> object: ...


def _arrow(column: object) -> Values:
    """Take a column as one array."""
    if hasattr(column, "combine_chunks"):
        column = cast("_Chunked", column).combine_chunks()
    return cast("Values", _Arrow(cast("_ArrowArray", column)))


# --- pandas ------------------------------------------------------------------------


class _Series(Protocol):
    @property
    def dtype(self) -> object: ...
    def to_numpy(self) -> Array: ...
    def isna(self) -> Sequence[bool]: ...
    def tolist(self) -> list[Value]: ...
    def astype(self, to: str, /) -> _Series: ...


def _pandas(series: object) -> Values:
    """Take a series: arrays as they are, what pandas alone calls missing as None."""
    one = cast("_Series", series)
    kind = getattr(one.dtype, "kind", "O")
    if type(one.dtype).__module__.startswith("numpy") and kind in "fiub":
        return one.to_numpy()
    if kind == "M":
        return _no_time(one.astype("datetime64[us, UTC]").astype("int64"), one)
    missing = one.isna()
    return [
        None if gone else value
        for value, gone in zip(one.tolist(), missing, strict=True)
    ]


def _no_time(micros: _Series, of: _Series) -> Values:
    found = micros.to_numpy()
    missing = list(of.isna())
    if not any(missing):
        return found
    values = cast("list[int]", found.tolist())
    return [None if gone else one for one, gone in zip(values, missing, strict=True)]


# --- what is said beside the features ----------------------------------------------


def _taken(columns: dict[str, Values], name: str) -> Values:
    try:
        return columns.pop(name)
    except KeyError:
        raise ValueError(f"the frame has no column {name}") from None


def _optional(columns: dict[str, Values], name: str | None) -> Values | None:
    return None if name is None else _taken(columns, name)


def _listed(values: Values) -> list[Value]:
    if isinstance(values, list):
        return values
    if hasattr(values, "tolist"):
        return cast("list[Value]", values.tolist())
    return list(values)


def _word(value: Value) -> str | None:
    return None if value is None else str(value)


def _moments(at: Values | None, rows: int) -> list[int]:
    """Return microseconds since 1970: of times with a zone, or of such integers."""
    if at is None:
        return [time.time_ns() // 1000] * rows
    if getattr(getattr(at, "dtype", None), "kind", "") == "M":
        at = cast("Array", at).astype("datetime64[us]").astype("int64")
    return [_moment(one) for one in _listed(at)]


def _moment(value: object) -> int:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, int) and value != MISSING:
        return value
    raise ValueError(f"{value} is no time: give datetimes, or microseconds since 1970")


def _check(scores: Values) -> None:
    """Refuse here the row that would make a server refuse a whole batch."""
    found = array("d")
    found.frombytes(packing.doubles_of(scores))
    if packing.BIG_ENDIAN:
        found.byteswap()
    if all(map(math.isfinite, found)):
        return
    for row, score in enumerate(found):
        if not math.isfinite(score):
            raise ValueError(f"row {row}: {score} is no score")
