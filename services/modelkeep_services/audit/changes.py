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

SILENT = frozenset(
    {
        "event_id",
        "since",
        "settled_by",
        "verdict_source",
        "period_start",
        "period_end",
        "card_event",
        "last_event",
        "ended_by",
        "revoked_by",
    }
)
"""Fields that change with others, and say nothing by it."""

GIST = ("status", "band", "share", "title", "cause")
"""Fields that say what a thing is, where a row has them."""


def changes(kind: str, before: Keyed, after: Keyed) -> Iterator[pb.Change]:
    """Yield what was put in, taken away or changed, by key and field."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if new is None:
            if old is not None:
                yield pb.Change(kind=kind, key=key, before=gist(old))
        elif old is None:
            yield pb.Change(kind=kind, key=key, after=gist(new))
        elif old != new:
            yield from _changed(kind, key, old, new)


def gist(row: DataclassInstance) -> str:
    """Say in a few words what a row is."""
    said = [spelled(getattr(row, name)) for name in GIST if hasattr(row, name)]
    return ", ".join(word for word in said if word) or "present"


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
