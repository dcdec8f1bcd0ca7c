"""What a model's version owes its lineage: a versioned document, read once."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from pydantic import ConfigDict, TypeAdapter

from modelkeep.events.lineage import Evidence
from modelkeep.events.types import Slug, Text, Value


class Standard(Value):
    """`kinds` are the inventory's kinds of model that owe other than the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    standard: Slug
    says: Text
    default: tuple[Evidence, ...]
    kinds: dict[str, tuple[Evidence, ...]]

    def owed(self, kind: str | None) -> tuple[Evidence, ...]:
        return self.default if kind is None else self.kinds.get(kind, self.default)


STANDARD: Final = TypeAdapter(Standard).validate_json(
    (files(__package__) / "completeness.v1.json").read_bytes()
)
