"""Some events, and streams nobody else writes to."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

from modelkeep.store.port import NewEvent


def stream(category: str = "contract") -> str:
    return f"{category}-{uuid4().hex}.1"


def event(
    name: str = "contract.something-happened",
    *,
    id_: UUID | None = None,
    data: bytes = b'{"n":1}',
    schema_version: int = 1,
    **metadata: str,
) -> NewEvent:
    flat = {"schema_version": str(schema_version), **metadata}
    written = json.dumps(flat, separators=(",", ":")).encode()
    return NewEvent(id_ or uuid4(), name, schema_version, data, written)


def events(many: int, name: str = "contract.something-happened") -> list[NewEvent]:
    return [event(name, data=b'{"n":%d}' % at) for at in range(many)]
