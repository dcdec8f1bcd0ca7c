"""Every fact of a model as it was stored, so that its past can be told in any order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, get_args
from uuid import UUID

from modelkeep.events.base import Event, decode, encode
from modelkeep.events.types import Person
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep_services.inventory.state import ModelEvent

EVENTS: Final[tuple[type[Event], ...]] = get_args(ModelEvent)


@dataclass(frozen=True)
class FactRow:
    """`revision` is the event's version in the model's stream."""

    event_id: UUID
    name: str
    schema_version: int
    data: str
    revision: int
    known_at: datetime
    effective_at: datetime
    actor: Person
    roles: tuple[str, ...]

    def fact(self, stream: str, tenant: str) -> Fact:
        """As views see it; a position is not remembered."""
        return Fact(
            decode(self.name, self.schema_version, self.data.encode()),
            self.event_id,
            stream,
            self.revision,
            0,
            tenant,
            self.known_at,
            self.effective_at,
            self.actor,
            self.roles,
            "",
        )


facts = View("facts", FactRow)
"""By `model/revision`, ten digits."""


def fact_key(model: str, revision: int) -> str:
    return f"{model}/{revision:010d}"


def keep(event: Event, fact: Fact, rows: Rows[FactRow]) -> None:
    model: str = event.model  # type: ignore[attr-defined]  # every event of a model's stream names it
    rows.put(
        fact_key(model, fact.version),
        FactRow(
            fact.id,
            event.event_name,
            event.event_version,
            encode(event).decode(),
            fact.version,
            fact.known_at,
            fact.effective_at,
            fact.actor,
            fact.roles,
        ),
    )


for _event in EVENTS:
    facts.on(_event)(keep)


def last_revision(read: Reader, model: str) -> int:
    """The version of a model's stream; -1 when there is none. Revisions have no gaps,
    so doubling and halving find it.
    """
    low, step = -1, 1
    while read.get(facts, fact_key(model, low + step)) is not None:
        low, step = low + step, step * 2
    while step > 1:
        step //= 2
        if read.get(facts, fact_key(model, low + step)) is not None:
            low += step
    return low
