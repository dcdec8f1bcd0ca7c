"""Where each event is; and every view that the audit answers from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modelkeep.events import load_all
from modelkeep.events.base import Event, known_events
from modelkeep.views import AnyView, Fact, Rows, View
from modelkeep_services.audit.known import (
    debt,
    insight,
    inventory,
    lineage,
    monitoring,
    policy,
)


@dataclass(frozen=True)
class Where:
    """An event's place in the log, as every engine knows it."""

    stream: str
    version: int


index = View("index", Where)


def _seen(_: Event, fact: Fact, rows: Rows[Where]) -> None:
    rows.put(str(fact.id), Where(fact.stream, fact.version))


load_all()
for _kind in known_events().values():
    if _kind.__module__.startswith("modelkeep.events."):
        index.on(_kind)(_seen)

VIEWS: Final[tuple[AnyView, ...]] = (
    index,
    *inventory.VIEWS,
    *lineage.VIEWS,
    *policy.VIEWS,
    *monitoring.VIEWS,
    *debt.VIEWS,
    *insight.VIEWS,
)
