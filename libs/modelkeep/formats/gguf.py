"""GGUF 2 and 3: keys with typed values, then the shapes of tensors.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from math import prod
from typing import BinaryIO, Final

from modelkeep.formats.described import MAX_SAID, Described, cut
from modelkeep.formats.reading import Bounded, Unreadable

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MOST_PARTS: Final = 2_000_000
"""A vocabulary is a list of text, of some 250,000 words, each read as two parts."""

LONGEST_KEY: Final = 65_535
LONGEST_WORD: Final = 1 << 20
MOST_DIMENSIONS: Final = 8
DEEPEST: Final = 4
NUMBERS: Final = dict(enumerate("BbHhIif")) | {7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT: Final = 8
LIST: Final = 9


def describe(content: BinaryIO, size: int) -> Described:
    """Raises Unreadable where a length leads out of the file."""
    reader = Bounded(content, size, MOST_PARTS)
    reader.skip(len(MAGIC))
    version = reader.number("I")
    if version not in VERSIONS:
        raise Unreadable(f"it is version {version} of GGUF: 2 and 3 are read here")
    tensors, keys = reader.number("Q"), reader.number("Q")
    says: dict[str, str] = {}
    for _ in range(keys):
        name = _text(reader, LONGEST_KEY)
        value = _value(reader, reader.number("I"), 0)
        if value is not None and len(says) < MAX_SAID:
            says[name] = value
    parameters = sum(_tensor(reader) for _ in range(tensors))
    return Described("gguf", tensors=tensors, parameters=parameters, says=cut(says))


def _value(reader: Bounded, kind: int, depth: int) -> str | None:
    """What a key is set to, in words; None for a list, which is only passed over."""
    if kind in NUMBERS:
        form = f"<{NUMBERS[kind]}"
        return str(struct.unpack(form, reader.take(struct.calcsize(form)))[0])
    if kind == TEXT:
        return _text(reader, LONGEST_WORD)
    if kind != LIST or depth >= DEEPEST:
        raise Unreadable(f"a value before byte {reader.at} is of no kind known here")
    inner, count = reader.number("I"), reader.number("Q")
    if inner in NUMBERS:
        reader.skip(count * struct.calcsize(f"<{NUMBERS[inner]}"))
        return None
    for _ in range(count):
        if inner == TEXT:
            reader.skip(reader.number("Q"))
        else:
            _value(reader, inner, depth + 1)
    return None


def _text(reader: Bounded, longest: int) -> str:
    length = reader.number("Q")
    if length > longest:
        raise Unreadable(f"a text before byte {reader.at} is of {length} bytes")
    return reader.take(length).decode("utf-8", "replace")


def _tensor(reader: Bounded) -> int:
    """How many numbers it holds."""
    _text(reader, LONGEST_KEY)
    dimensions = reader.number("I")
    if dimensions > MOST_DIMENSIONS:
        raise Unreadable(
            f"a tensor before byte {reader.at} has {dimensions} dimensions"
        )
    shape = [reader.number("Q") for _ in range(dimensions)]
    reader.skip(4 + 8)  # how it is packed, and where it lies
    return prod(shape)
