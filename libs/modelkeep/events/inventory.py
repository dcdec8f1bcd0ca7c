"""What happens to models: registered, tiered, versioned, deployed, retired."""

from __future__ import annotations

from typing import Literal

from modelkeep.events.base import Event
from modelkeep.events.types import Slug, Subject, Text, Title

ModelKind = Literal["trained", "rulebook", "spreadsheet", "vendor", "generative"]


class ModelRegistered(Event, name="inventory.model-registered"):
    model: Slug
    title: Title
    kind: ModelKind
    purpose: Text
    owner: Subject
