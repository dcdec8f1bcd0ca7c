"""Messages as cells of a spreadsheet: one line a row, and nothing that computes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.wire import values

Path: TypeAlias = tuple[str, ...]
Row: TypeAlias = Mapping[str, object]

COMPUTES: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # full-width ones compute too
"""What a cell begins with that a spreadsheet runs (OWASP, CSV injection)."""

WHOLE: Final = frozenset(
    {Timestamp.DESCRIPTOR.full_name, Duration.DESCRIPTOR.full_name}
)
DEEPEST: Final = 3
LONGEST: Final = 32_000
"""A spreadsheet's own limit is 32,767 characters a cell."""


@cache
def columns(descriptor: Descriptor) -> tuple[str, ...]:
    """The column names of a message: its fields, those of messages in it by `a.b`."""
    return tuple(".".join(path) for path in _paths(descriptor, 0))


def _paths(descriptor: Descriptor, depth: int) -> Iterator[Path]:
    for field in descriptor.fields:
        inner = field.message_type
        if inner is None or _in_one_cell(field, inner, depth):
            yield (field.name,)
        else:
            yield from ((field.name, *rest) for rest in _paths(inner, depth + 1))


def _in_one_cell(field: FieldDescriptor, inner: Descriptor, depth: int) -> bool:
    return field.is_repeated or inner.full_name in WHOLE or depth >= DEEPEST


def row(message: Message) -> Row:
    """The cells of a message, by column; absent is None."""
    found = values(message)
    return {name: _at(found, name.split(".")) for name in columns(message.DESCRIPTOR)}


def _at(found: object, path: Sequence[str]) -> object:
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def text(value: object) -> str:
    """A cell's text; never one that computes when it is opened.

    >>> text("=HYPERLINK(A1)"), text(-3), text(("a", "b")), text(None)
    ("'=HYPERLINK(A1)", '-3', 'a; b', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return repr(value) if math.isfinite(value) else ""
    said = _said(value)
    safe = f"'{said}" if said.startswith(COMPUTES) else said
    return safe if len(safe) <= LONGEST else f"{safe[:LONGEST]} [cut]"


def _said(value: object) -> str:
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return "; ".join(value)
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=_plain, ensure_ascii=False, sort_keys=True)
    return str(value)


def stamp(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def as_csv(names: Sequence[str], rows: Iterable[Row]) -> bytes:
    """A table with a header: UTF-8, RFC 4180, every cell quoted."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([text(one.get(name)) for name in names] for one in rows)
    return out.getvalue().encode()


def as_json_lines(rows: Iterable[Row]) -> bytes:
    """The same rows for programs: nothing is quoted away or cut."""
    return b"".join(
        json.dumps(
            {name: value for name, value in one.items() if value is not None},
            default=_plain,
            ensure_ascii=False,
        ).encode()
        + b"\n"
        for one in rows
    )
