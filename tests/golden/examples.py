"""An example of any event, made from its types: every field said, nothing random."""

from __future__ import annotations

import re
import types
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel

from modelkeep.events.base import Event

PATTERNS = {
    "sha256": "sha256:" + "a" * 64,
    "uuid": "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
}
SAID: dict[str, Any] = {
    # Postings sum to zero in every unit, which no type can say.
    "entries": [
        {"account": "owed", "unit": "points", "amount": 1},
        {"account": "owed", "unit": "points", "amount": -1},
    ],
    # Odds of a bet are above 1.
    "odds": [1.12, 1.5],
}
"""Where a type alone does not make a good example."""
WORDS = (
    "dataset:" + "a" * 64,
    "x",
    "a",
    "prod",
    "0",
    "a/a",
    "1.0.0",
    "USD",
    "{}",
    "[]",
    "a" * 64,
    "a" * 32,
    "A",
    "1afp-60",
)


def example(event: type[Event]) -> Event:
    return event.model_validate(_model(event))


def _model(model: type[BaseModel]) -> dict[str, Any]:
    return {
        name: SAID[name] if name in SAID else _value(field.rebuild_annotation(), name)
        for name, field in model.model_fields.items()
    }


def _value(kind: Any, name: str) -> Any:  # noqa: PLR0911  # a case a type
    origin, inner = get_origin(kind), get_args(kind)
    if hasattr(kind, "__value__"):  # a named alias, such as JSON
        return _value(kind.__value__, name)
    if origin is Annotated:
        return _annotated(inner[0], inner[1:], name)
    if origin is Literal:
        return inner[0]
    if origin in {Union, types.UnionType}:
        return _value(next(one for one in inner if one is not type(None)), name)
    if origin in {tuple, list, frozenset}:
        return [_value(inner[0], name)] if inner else []
    if origin is dict:
        return {_value(inner[0], "key"): _value(inner[1], name)}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _model(kind)
    return _plain(kind, name)


def _plain(kind: Any, name: str) -> Any:
    if kind in {datetime, AwareDatetime}:
        return datetime(2013, 4, 1, 12, 30, tzinfo=UTC)
    return {str: name.replace("_", "-"), int: 1, float: 0.5, bool: True}.get(kind, name)


def _annotated(kind: Any, marks: tuple[Any, ...], name: str) -> Any:
    if kind is not str:
        return _value(kind, name)
    patterns = [p for mark in marks for p in _patterns(mark)]
    for word in (name.replace("_", "-"), name, *PATTERNS.values(), *WORDS):
        if all(re.search(pattern, word) for pattern in patterns):
            return word
    raise AssertionError(f"no example word fits {patterns}")


def _patterns(mark: Any) -> list[str]:
    found = getattr(mark, "pattern", None)
    if found is not None:
        return [found if isinstance(found, str) else found.pattern]
    return [p for one in getattr(mark, "metadata", ()) for p in _patterns(one)]
