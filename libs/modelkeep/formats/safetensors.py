"""safetensors: eight bytes of length, JSON, then nothing but numbers.

https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from itertools import pairwise
from math import prod
from typing import BinaryIO, Final

from modelkeep.formats.described import Described, cut
from modelkeep.formats.reading import Bounded, Unreadable

LONGEST: Final = 16 << 20
MOST_DIMENSIONS: Final = 64
BITS: Final = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}


def begins(head: bytes) -> bool:
    return head[8:9] == b"{"


def describe(content: BinaryIO, size: int) -> Described:
    """Raises Unreadable unless every byte of it belongs to one tensor."""
    reader = Bounded(content, size, 2)
    length = reader.number("Q")
    if length > LONGEST:
        raise Unreadable(f"its header is of {length} bytes: {LONGEST} is the most")
    header = _header(reader.take(length))
    said = header.pop("__metadata__", {})
    if not isinstance(said, dict) or not all(isinstance(v, str) for v in said.values()):
        raise Unreadable("__metadata__ is no map of text to text")
    tensors = [_tensor(name, one) for name, one in header.items()]
    _filled(sorted(place for _, place in tensors), size - 8 - length)
    return Described(
        "safetensors",
        tensors=len(tensors),
        parameters=sum(count for count, _ in tensors),
        says=cut(said),
    )


def _header(raw: bytes) -> dict[str, object]:
    try:
        found = json.loads(raw.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its header is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unreadable("its header is no JSON object")
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _tensor(name: str, said: object) -> tuple[int, tuple[int, int]]:
    """How many numbers, and from where to where."""
    if not isinstance(said, dict):
        raise Unreadable(f"tensor {name[:80]} is no object")
    shape, ends = _counts(said.get("shape")), _counts(said.get("data_offsets"))
    bits = BITS.get(said["dtype"]) if isinstance(said.get("dtype"), str) else None
    if shape is None or ends is None or len(ends) != 2 or bits is None:  # noqa: PLR2004
        raise Unreadable(f"tensor {name[:80]} lacks a dtype, a shape or its two ends")
    if len(shape) > MOST_DIMENSIONS:
        raise Unreadable(f"tensor {name[:80]} has {len(shape)} dimensions")
    count = prod(shape)
    if count * bits != (ends[1] - ends[0]) * 8:
        raise Unreadable(f"tensor {name[:80]} is not as long as its shape")
    return count, (ends[0], ends[1])


def _counts(said: object) -> list[int] | None:
    if not isinstance(said, list):
        return None
    whole = all(type(one) is int and 0 <= one < 1 << 63 for one in said)
    return said if whole else None


def _filled(places: list[tuple[int, int]], size: int) -> None:
    """No hole and no overlap: bytes that belong to nobody could be anything."""
    joined = [(0, 0), *places, (size, size)]
    for (_, end), (start, _) in pairwise(joined):
        if start != end:
            raise Unreadable(f"byte {min(start, end)} of its data belongs to no tensor")
