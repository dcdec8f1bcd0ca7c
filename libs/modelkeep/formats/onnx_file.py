"""ONNX: the fields of its protobuf that say what it is; weights are passed over.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import BinaryIO, Final

from modelkeep.formats.described import MAX_SAID, Described, cut
from modelkeep.formats.reading import Bounded, Unreadable

MOST_PARTS: Final = 2_000_000
LONGEST_TEXT: Final = 1 << 20
DEEPEST: Final = 16
MOST_DIMENSIONS: Final = 64
"""A product of many more takes minutes, and is no number that can be written."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
IR_VERSION: Final = b"\x08"

TEXTS: Final = {2: "producer_name", 3: "producer_version", 4: "domain", 6: "about"}
GRAPH, OPSET, PROPS, TRAINING, FUNCTION = 7, 8, 14, 20, 25
EXTERNAL: Final = 1
OURS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Operators that are ONNX's own; others are code that somebody else supplies."""


@dataclass
class _Found:
    says: dict[str, str] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    tensors: int = 0
    parameters: int = 0
    outside: bool = False
    graphs: int = 0


class _Message:
    """A message within the file. `fields` gives (number, kind, length or value), and
    whoever does not read a field's bytes has passed over them.
    """

    def __init__(self, reader: Bounded, end: int) -> None:
        self.reader, self.end = reader, end

    def fields(self) -> Iterator[tuple[int, int, int]]:
        reader = self.reader
        while reader.at < self.end:
            tag = reader.varint()
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                yield number, kind, reader.varint()
                continue
            length = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
            if kind == BYTES:
                length = reader.varint()
            if length < 0 or not number:
                raise Unreadable(f"byte {reader.at} begins no field")
            after = reader.at + length
            if after > self.end:
                raise Unreadable(f"the field before byte {reader.at} is too long")
            yield number, kind, length
            reader.skip(after - reader.at)
        if reader.at != self.end:
            raise Unreadable(f"a field leads beyond byte {self.end}")

    def inner(self, length: int) -> _Message:
        return _Message(self.reader, self.reader.at + length)

    def text(self, length: int) -> str:
        if length > LONGEST_TEXT:
            raise Unreadable(f"a text before byte {self.reader.at} is too long")
        return self.reader.take(length).decode("utf-8", "replace")


def begins(head: bytes) -> bool:
    return head.startswith(IR_VERSION)


def describe(content: BinaryIO, size: int) -> Described:
    """Raises Unreadable where it is no protobuf, or holds no graph."""
    found = _Found()
    whole = _Message(Bounded(content, size, MOST_PARTS), size)
    for number, kind, value in whole.fields():
        if number == 1 and kind == VARINT:
            found.says["ir_version"] = str(value)
        elif number in TEXTS and kind == BYTES:
            found.says[TEXTS[number]] = whole.text(value)
        elif number == GRAPH and kind == BYTES:
            _graph(whole.inner(value), found, 0)
        elif number in {OPSET, PROPS} and kind == BYTES:
            _pair(whole.inner(value), number, found)
        elif number in {TRAINING, FUNCTION} and kind == BYTES:
            found.says["also"] = "functions of its own, or how to train it"
    if not found.graphs:
        raise Unreadable("it begins like ONNX, and holds no graph")
    foreign = sorted(found.domains - OURS)
    notes = [f"needs operators of {', '.join(foreign[:10])}"] if foreign else []
    if found.outside:
        notes.append("some of its tensors lie in other files, which nobody follows")
    return Described(
        "onnx",
        tensors=found.tensors,
        parameters=found.parameters,
        carries_code=bool(foreign),
        points_outside=found.outside,
        says=cut(found.says),
        notes=tuple(notes),
    )


def _pair(message: _Message, number: int, found: _Found) -> None:
    said = {1: "", 2: ""}
    for place, kind, value in message.fields():
        if place in said:
            said[place] = message.text(value) if kind == BYTES else str(value)
    if len(found.says) < MAX_SAID:
        name = f"opset {said[1] or 'ai.onnx'}" if number == OPSET else said[1]
        found.says[name] = said[2]


def _graph(message: _Message, found: _Found, depth: int) -> None:
    if depth > DEEPEST:
        raise Unreadable("its graphs lie too deep in each other")
    found.graphs += 1
    _each(message, {1: _node, 5: _tensor, 15: _sparse}, found, depth)


def _node(message: _Message, found: _Found, depth: int) -> None:
    for number, kind, value in message.fields():
        if number == 7 and kind == BYTES:  # noqa: PLR2004  # the operator's domain
            found.domains.add(message.text(value))
        elif number == 5 and kind == BYTES:  # noqa: PLR2004  # an attribute
            inner = message.inner(value)
            _each(inner, {5: _tensor, 6: _graph, 10: _tensor, 11: _graph}, found, depth)


Reads = Callable[[_Message, _Found, int], None]


def _each(
    message: _Message, reads: Mapping[int, Reads], found: _Found, depth: int
) -> None:
    for number, kind, value in message.fields():
        if kind == BYTES and number in reads:
            reads[number](message.inner(value), found, depth + 1)


def _sparse(message: _Message, found: _Found, depth: int) -> None:
    _each(message, {1: _tensor, 2: _tensor}, found, depth)


def _tensor(message: _Message, found: _Found, _: int) -> None:
    shape: list[int] = []
    for number, kind, value in message.fields():
        if number == 1:
            shape += [value] if kind == VARINT else _packed(message.inner(value))
            if len(shape) > MOST_DIMENSIONS:
                raise Unreadable(
                    f"a tensor before byte {message.reader.at} has too"
                    f" many dimensions: {MOST_DIMENSIONS} is the most"
                )
        elif number == 13 or (number == 14 and value == EXTERNAL):  # noqa: PLR2004
            found.outside = True
    found.tensors += 1
    found.parameters += prod(shape)


def _packed(message: _Message) -> list[int]:
    found = []
    while message.reader.at < message.end:
        found.append(message.reader.varint())
    return found
