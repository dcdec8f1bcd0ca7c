"""Rows to columns of little-endian bytes, with arrays of the standard library.

A column of numbers becomes float64 (None is NaN, which is missing), of integers that
float64 cannot hold int64, of truth values bool, and of anything else text. Arrays that
have a dtype (numpy's, and what looks like them) are taken as they are.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeAlias, cast

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb

EXACT: Final = 2**53
BIG_ENDIAN: Final = sys.byteorder == "big"
NAN: Final = float("nan")

Value: TypeAlias = float | int | bool | str | None


class Dtype(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def itemsize(self) -> int: ...


class Array(Protocol):
    """What is asked of an array."""

    @property
    def dtype(self) -> Dtype: ...
    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> Array: ...
    def astype(self, dtype: str, /) -> Array: ...
    def tobytes(self) -> bytes: ...
    def tolist(self) -> object: ...


class Packed(Protocol):
    """What packs itself."""

    def packed(self, name: str, /) -> pb.Column: ...
    def tolist(self) -> object: ...


Values: TypeAlias = Sequence[Value] | Array


def is_array(values: object) -> bool:
    return hasattr(values, "dtype") and hasattr(values, "tobytes")


def doubles(values: Iterable[float | None]) -> bytes:
    """Return float64; None becomes NaN. Raises TypeError or ValueError for others."""
    given = values if isinstance(values, list | tuple) else list(values)
    try:
        found = array("d", given)
    except TypeError:
        found = array("d", [NAN if v is None else float(v) for v in given])
    return _little(found)


def doubles_of(values: Values) -> bytes:
    """Return float64, of a sequence or an array."""
    if hasattr(values, "packed"):
        return doubles(cast("list[float | None]", cast("Packed", values).tolist()))
    if is_array(values):
        return cast("Array", values).astype("<f8").tobytes()
    return doubles(cast("Sequence[float | None]", values))


def longs(values: Iterable[int]) -> bytes:
    return _little(array("q", values))


def column(name: str, values: Values) -> pb.Column:
    """Pack one column, of whatever its values are."""
    if is_array(values) or hasattr(values, "packed"):
        return _whole(name, values)
    given = cast("Sequence[Value]", values)
    kinds = {type(v) for v in given} - {type(None)}
    if kinds == {bool}:
        return _truths(name, cast("Sequence[bool | None]", given))
    if any(issubclass(kind, str) for kind in kinds):
        return words(name, given)
    numbers = cast("Sequence[float | None]", given)
    if kinds == {int} and any(v is not None and abs(v) > EXACT for v in numbers):
        return _integers(name, cast("Sequence[int | None]", given))
    try:
        return pb.Column(name=name, values=doubles(numbers))
    except (TypeError, ValueError, OverflowError):
        return words(name, given)


def least_width(values: Values) -> int:
    """Return the bytes that one of them takes at least."""
    if is_array(values):
        dtype = cast("Array", values).dtype
        return {"f": min(dtype.itemsize, 8), "i": 8, "u": 8}.get(dtype.kind, 1)
    return 1


def _whole(name: str, values: Values) -> pb.Column:
    if hasattr(values, "packed"):  # it knows how: see `frames`
        return cast("Packed", values).packed(name)
    return _of_array(name, cast("Array", values))


def words(name: str, values: Iterable[object]) -> pb.Column:
    """Pack text: codes into a dictionary; None, and NaN, are missing."""
    known: dict[str, int] = {}
    codes = array("i")
    for value in values:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            codes.append(-1)
        else:
            word = value if type(value) is str else str(value)
            codes.append(known.setdefault(word, len(known)))
    return pb.Column(
        name=name, dtype=pb.DTYPE_UTF8, values=_little(codes), dictionary=known
    )


def _of_array(name: str, values: Array) -> pb.Column:
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "f" and size == 4:  # noqa: PLR2004  # float32 stays what it is
        return pb.Column(
            name=name, dtype=pb.DTYPE_F32, values=values.astype("<f4").tobytes()
        )
    if kind == "f":
        return pb.Column(name=name, values=values.astype("<f8").tobytes())
    if kind == "b":
        return pb.Column(
            name=name, dtype=pb.DTYPE_BOOL, values=values.astype("|u1").tobytes()
        )
    if kind in "iu":
        return pb.Column(
            name=name, dtype=pb.DTYPE_I64, values=values.astype("<i8").tobytes()
        )
    return column(name, cast("list[Value]", values.tolist()))


def _truths(name: str, values: Sequence[bool | None]) -> pb.Column:
    return pb.Column(
        name=name,
        dtype=pb.DTYPE_BOOL,
        values=bytes(1 if value else 0 for value in values),
        validity=_validity(values),
    )


def _integers(name: str, values: Sequence[int | None]) -> pb.Column:
    try:
        octets = longs(0 if value is None else value for value in values)
    except OverflowError:  # beyond 64 bits: no number of ours
        return words(name, values)
    return pb.Column(
        name=name, dtype=pb.DTYPE_I64, values=octets, validity=_validity(values)
    )


def _validity(values: Sequence[object]) -> bytes:
    if None not in values:
        return b""
    bits = bytearray((len(values) + 7) // 8)
    for row, value in enumerate(values):
        if value is not None:
            bits[row >> 3] |= 1 << (row & 7)
    return bytes(bits)


def _little(found: array[float] | array[int]) -> bytes:
    if BIG_ENDIAN:
        found.byteswap()
    return found.tobytes()
