"""YAML without surprises: one document, plain data, and the line of everything.

What is refused is refused because two readers could disagree about it: duplicate
keys, anchors and aliases, tags, directives, a second document, `yes` and `~` and
unquoted dates, and characters that no screen shows. Keys are always strings.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import yaml

from modelkeep.errors import Invalid
from modelkeep.yaml_document import line_of, said

MAX_BYTES = 96 * 1024
MAX_DEPTH = 32
LARGEST_INT = 2**63 - 1

INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?")
# What other readers of YAML take for a boolean or a number, and this one does not.
AMBIGUOUS = re.compile(
    r"[yYnN]|[-+]?0[box].*|[-+.]?[0-9][0-9_]*|[-+]?\.[0-9]+|[-+]?[0-9.]+[eE][-+]?[0-9]+"
)
# Cc control, Cf format (bidirectional overrides too), Cs, Co, Cn: nothing to see.
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}

Scalar: TypeAlias = bool | int | float | str
Node: TypeAlias = "Scalar | list[Node] | dict[str, Node]"
Place: TypeAlias = tuple[str | int, ...]
E = TypeVar("E", bound=yaml.Event)


@dataclass(frozen=True)
class Source:
    """Plain data, and where each piece of it stands; lines count from 1."""

    data: dict[str, Node]
    lines: dict[Place, int] = field(repr=False)

    def line(self, place: Place) -> int:
        """Say the line of the nearest thing at or above a place."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def dotted(place: Place) -> str:
    """Write a place the way people point at it.

    >>> dotted(("policies", 0, "rules", 2, "assert"))
    'policies[0].rules[2].assert'
    """
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "document"


def read(text: str) -> Source:
    """Raise Invalid, with path and line, for anything that is not plain data."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Invalid.field("document", "is not valid Unicode") from None
    if size > MAX_BYTES:
        raise Invalid.field("document", f"is {size} bytes; {MAX_BYTES} are allowed")
    try:
        return Reader(text).document()
    except yaml.YAMLError as broken:
        raise Invalid.field("document", said(broken)) from None


class Reader:
    def __init__(self, text: str) -> None:
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self.lines: dict[Place, int] = {}

    def document(self) -> Source:
        self.expect(yaml.StreamStartEvent, ())
        start = self.expect(yaml.DocumentStartEvent, ())
        if start.version or start.tags:
            raise refusal((), start, "has a directive")
        data = self.node(next(self.events), ())
        self.expect(yaml.DocumentEndEvent, ())
        end = next(self.events)
        if not isinstance(end, yaml.StreamEndEvent):
            raise refusal((), end, "is followed by a second document")
        if not isinstance(data, dict):
            raise Invalid.field("document", "line 1: must be a mapping")
        return Source(data, self.lines)

    def expect(self, kind: type[E], place: Place) -> E:
        event = next(self.events)
        if not isinstance(event, kind):
            raise refusal(place, event, "is empty")
        return event

    def node(self, event: yaml.Event, place: Place) -> Node:
        self.lines[place] = line_of(event)
        if isinstance(event, yaml.AliasEvent):
            raise refusal(place, event, "is an alias; write the value out")
        if getattr(event, "anchor", None) is not None:
            raise refusal(place, event, "has an anchor; write values out")
        if getattr(event, "tag", None) is not None:
            raise refusal(place, event, "has a tag; quote text that begins with !")
        if len(place) > MAX_DEPTH:
            raise refusal(place, event, f"is nested deeper than {MAX_DEPTH}")
        match event:
            case yaml.MappingStartEvent():
                return self.mapping(place)
            case yaml.SequenceStartEvent():
                return self.sequence(place)
            case yaml.ScalarEvent():
                return scalar(event, place)
        raise refusal(place, event, "is not plain data")

    def mapping(self, place: Place) -> dict[str, Node]:
        found: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, place)
            if key in found:
                raise refusal((*place, key), event, "is written twice")
            found[key] = self.node(next(self.events), (*place, key))
            self.lines[(*place, key)] = line_of(event)
        return found

    def key(self, event: yaml.Event, place: Place) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise refusal(place, event, "has a key that is not plain text")
        if event.anchor is not None or event.tag is not None:
            raise refusal(place, event, "has a key with an anchor or a tag")
        if event.value == "<<":
            raise refusal(place, event, "has a merge key; write the values out")
        return visible(event, place)

    def sequence(self, place: Place) -> list[Node]:
        found: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self.node(event, (*place, len(found))))
        return found


def scalar(event: yaml.ScalarEvent, place: Place) -> Scalar:
    text = visible(event, place)
    if not event.implicit[0]:  # quoted, or a block
        return text
    if text in {"true", "false"}:
        return text == "true"
    if INTEGER.fullmatch(text) and abs(int(text)) <= LARGEST_INT:
        return int(text)
    if NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if typed_by_others(text) or AMBIGUOUS.fullmatch(text):
        raise refusal(place, event, f"{text!r} could be read in two ways; quote it")
    return text


def typed_by_others(text: str) -> bool:
    """Whether YAML 1.1 takes plain text for something that is not text."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], [])
    return any(pattern.match(text) for _, pattern in resolvers)


def visible(event: yaml.ScalarEvent, place: Place) -> str:
    for character in event.value:
        if character not in "\n\t" and unicodedata.category(character) in UNSEEN:
            raise refusal(place, event, f"has an invisible character {character!a}")
    return str(event.value)


def refusal(place: Place, event: yaml.Event, why: str) -> Invalid:
    return Invalid.field(dotted(place), f"line {line_of(event)}: {why}")
