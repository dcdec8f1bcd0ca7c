"""What the inventory answers from: a row a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.events.inventory import ModelRegistered
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class ModelRow:
    model: str
    title: str
    kind: str
    purpose: str
    owner: str
    registered_at: datetime


models = View("models", ModelRow)


@models.on(ModelRegistered)
def registered(event: ModelRegistered, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = ModelRow(
        event.model,
        event.title,
        event.kind,
        event.purpose,
        event.owner,
        fact.effective_at,
    )
    rows.put(event.model, row)
