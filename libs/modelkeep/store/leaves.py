"""An append's leaves in the log's tree: the same in every engine that keeps one."""

from __future__ import annotations

from typing import Final

from modelkeep.errors import Invalid
from modelkeep.proof.errors import Malformed
from modelkeep.proof.leaf import Leafer
from modelkeep.store.group_commit import Pending

_LARGEST: Final = (1 << 63) - 1


def leaves_of(leafer: Leafer, pending: Pending, version: int) -> list[bytes]:
    """Hash an append's events, the first of them at `version`. Raises Invalid."""
    leaf, stream, events = leafer.leaf, pending.stream, pending.events
    try:
        made = [
            leaf(
                stream,
                at,
                id_,
                event.name,
                event.schema_version,
                event.data,
                event.metadata,
            )
            for at, (event, id_) in enumerate(
                zip(events, pending.ids, strict=True), version
            )
        ]
    except Malformed as error:
        raise Invalid.field("events", str(error)) from error
    if any(event.schema_version > _LARGEST for event in events):
        raise Invalid.field("events", "a schema version is beyond 63 bits")
    return made
