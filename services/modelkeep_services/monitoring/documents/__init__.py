"""The versioned documents by which monitoring judges: read once, with their digest."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import Generic, NamedTuple, TypeVar

from modelkeep.events.attention import RulesDocument
from modelkeep.events.types import Slug, Text, Value


class Rules(Value):
    """What every document has: a version, and what it says in words."""

    version: Slug
    says: Text


R = TypeVar("R", bound=Rules)


class Loaded(NamedTuple, Generic[R]):
    """What a document says, and the stamp that decisions made by it carry."""

    says: R
    stamp: RulesDocument


def load(name: str, model: type[R]) -> Loaded[R]:
    """Raises ValidationError when the file is not such a document."""
    text = (files(__package__) / name).read_bytes()
    says = model.model_validate_json(text)
    digest = f"sha256:{sha256(text).hexdigest()}"
    return Loaded(says, RulesDocument(version=says.version, digest=digest))
