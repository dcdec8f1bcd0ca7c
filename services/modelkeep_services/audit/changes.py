"""What differs between two moments, field by field, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from modelkeep.api.audit.v1 import audit_pb2 as pb

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Keyed = Mapping[str, "DataclassInstance"]
"""Rows by key: dataclasses of one type."""

SILENT = frozenset({"event_id"})
"""Fields that change with every event, and say nothing by it."""


def changes(kind: str, before: Keyed, after: Keyed) -> Iterator[pb.Change]:
    """Yield what was put in, taken away or changed, by key and field."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None:
            yield pb.Change(kind=kind, key=key, after="present")
        elif new is None:
            yield pb.Change(kind=kind, key=key, before="present")
        elif old != new:
            yield from _changed(kind, key, old, new)


def _changed(
    kind: str, key: str, old: DataclassInstance, new: DataclassInstance
) -> Iterator[pb.Change]:
    for field in fields(old):
        was, now = getattr(old, field.name), getattr(new, field.name)
        if was != now and field.name not in SILENT:
            yield pb.Change(
                kind=kind,
                key=key,
                field=field.name,
                before=spelled(was),
                after=spelled(now),
            )


_any: TypeAdapter[Any] = TypeAdapter(Any)


def spelled(value: object) -> str:
    """Spell a field's value for a reader: text as it is, the rest as JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case datetime():
            return value.isoformat(timespec="seconds").replace("+00:00", "Z")
        case tuple() if all(isinstance(one, str) for one in value):
            return ", ".join(value)
    return json.dumps(_any.dump_python(value, mode="json"), ensure_ascii=False)
