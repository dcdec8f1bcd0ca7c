"""YAML that others wrote, read without being obeyed: one document of plain data.

Bounded in size and depth. Refused: anchors and aliases (a short text that grows without
end), tags, keys that are there twice. Only `true`, `false`, `null`, `~` and decimal
numbers are more than text: a country `NO` is text, and so is a date.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import yaml

from modelkeep.errors import Invalid
from modelkeep.yaml_document import line_of, said

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 24

LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it: 256 KiB take it milliseconds."""

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(
    r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?"
)
_WORDS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}


def read(field: str, text: str) -> dict[str, Plain]:
    """Raises Invalid, with the line, for anything that is not a mapping of such."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise Invalid.field(field, f"is longer than {MAX_BYTES} bytes")
    try:
        events = list(yaml.parse(text, Loader=LOADER))
    except yaml.YAMLError as wrong:
        raise Invalid.field(field, said(wrong)) from None
    documents = [e for e in events if isinstance(e, yaml.DocumentStartEvent)]
    if len(documents) != 1:
        raise Invalid.field(field, f"holds {len(documents)} documents, not one")
    found = _Reader(field, events[2:]).node(0)
    if not isinstance(found, dict):
        raise Invalid.field(field, "is not a mapping")
    return found


class _Reader:
    def __init__(self, field: str, events: list[yaml.Event]) -> None:
        self._field, self._events = field, iter(events)

    def node(self, depth: int, event: yaml.Event | None = None) -> Plain:
        event = event or next(self._events)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._wrong(event, "an alias: write the value out")
        if getattr(event, "tag", None):
            raise self._wrong(event, "a tag: only plain data is read")
        if depth > MAX_DEPTH:
            raise self._wrong(event, f"nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(depth)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        raise self._wrong(event, "not plain data")

    def _mapping(self, depth: int) -> dict[str, Plain]:
        found: dict[str, Plain] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag or event.anchor:
                raise self._wrong(event, "a key that is not plain text")
            if event.value in found:
                raise self._wrong(event, f"{event.value[:100]} a second time")
            found[event.value] = self.node(depth + 1)
        return found

    def _sequence(self, depth: int) -> list[Plain]:
        found: list[Plain] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self.node(depth + 1, event))
        return found

    def _wrong(self, event: yaml.Event, what: str) -> Invalid:
        return Invalid.field(self._field, f"line {line_of(event)} holds {what}")


def _scalar(event: yaml.ScalarEvent) -> Plain:
    text = str(event.value)
    if not event.implicit[0]:  # quoted, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
