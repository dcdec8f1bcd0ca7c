"""Ask a Parquet file whether a column may hold a text, without reading the column.

The writer leaves a split-block Bloom filter (Parquet's own, hashed by XXH64), and
pyarrow tells where it stands but does not read it. One block of 32 bytes answers: "no"
is certain, "perhaps" is wrong about once in a hundred. Parquet format, BloomFilter.md;
Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007).
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from pyarrow import parquet

_BLOCK: Final = 32
_SALTS: Final = (
    0x47B6137B,
    0x44974D91,
    0x8824AD5B,
    0xA2B7289D,
    0x705495C7,
    0x2DF1424B,
    0x9EFC4947,
    0x5C6BFB31,
)
_FIRST_FIELD: Final = 0x15
"""How the header begins, in Thrift's compact protocol: `numBytes`, an int32."""
_SPLIT_BLOCK_XXHASH_PLAIN: Final = bytes.fromhex("1c1c0000" * 3 + "00")
"""How it goes on when the algorithm is the split block, the hash XXH64, and nothing is
compressed: the one kind there is. Anything else is not ours to read.
"""
_LONGEST_HEADER: Final = 32
_KNOWN: Final = 1 << 16
_MAGIC: Final = b"PAR1"
_TAIL: Final = 8
"""The footer's length, and the magic."""
REFERENCE: Final = "reference"
"""The column that the objects have a filter of, and the only one."""

_MASK: Final = (1 << 64) - 1
_P1: Final = 0x9E3779B185EBCA87
_P2: Final = 0xC2B2AE3D27D4EB4F
_P3: Final = 0x165667B19E3779F9
_P4: Final = 0x85EBCA77C2B2AE63
_P5: Final = 0x27D4EB2F165667C5


class _Filter(NamedTuple):
    """Where the blocks begin in the file, and how many there are."""

    start: int
    blocks: int


def may_hold(path: Path, column: str, hashed: int) -> bool:
    """Say whether a text of this `xxh64` may be in the column: false is certain.

    True as well when the file has no such filter. Raises what opening a file raises.
    """
    found = _filter(path, column)
    if found is None:
        return True
    at = found.start + ((hashed >> 32) * found.blocks >> 32) * _BLOCK
    block = _read(path, at, _BLOCK)
    key = hashed & 0xFFFFFFFF
    words = (block[i : i + 4] for i in range(0, len(block), 4))
    return all(
        int.from_bytes(word, "little") >> ((key * salt & 0xFFFFFFFF) >> 27) & 1
        for word, salt in zip(words, _SALTS, strict=True)
    )


# An object is named by its content, so what was read of it stays true.
@lru_cache(maxsize=_KNOWN)
def _filter(path: Path, column: str) -> _Filter | None:
    if column == REFERENCE and (found := _before_the_footer(path)) is not None:
        return found
    metadata = parquet.read_metadata(path)
    if metadata.num_row_groups != 1:
        return None
    group = metadata.row_group(0)
    names = [group.column(i).path_in_schema for i in range(group.num_columns)]
    if column not in names:
        return None
    chunk = group.column(names.index(column))
    offset, length = chunk.bloom_filter_offset, chunk.bloom_filter_length
    if offset is None or length is None:
        return None
    size = _size(_read(path, offset, min(length, _LONGEST_HEADER)))
    if size is None or size % _BLOCK or not 0 < size < length:
        return None
    return _Filter(offset + length - size, size // _BLOCK)


def _before_the_footer(path: Path) -> _Filter | None:
    """Look where the writer of our objects leaves its one filter: right before the
    footer. That takes a tenth of the time that reading what the footer says takes. None
    where no filter ends there, or a second one ends before it.
    """
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(opened).st_size
        tail = os.pread(opened, _TAIL, max(size - _TAIL, 0))
        end = size - _TAIL - int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or end <= 0:
            return None
        found = _ending(opened, end)
        if found is None or _ending(opened, found.header) is not None:
            return None
        return _Filter(found.blocks_at, found.blocks)
    finally:
        os.close(opened)


class _Ending(NamedTuple):
    header: int
    blocks_at: int
    blocks: int


def _ending(opened: int, end: int) -> _Ending | None:
    """Return the filter whose last byte is the one before `end`. Its size is a power of
    two, and says how long its header is.
    """
    for header, size in _HEADERS:
        start = end - size - len(header)
        if start < len(_MAGIC):
            return None
        if os.pread(opened, len(header), start) == header:
            return _Ending(start, end - size, size // _BLOCK)
    return None


def _header(size: int) -> bytes:
    """Write the one header that a filter of so many bytes has."""
    octets, left = [_FIRST_FIELD], size << 1
    while left > 0x7F:  # noqa: PLR2004  # a varint
        octets.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*octets, left]) + _SPLIT_BLOCK_XXHASH_PLAIN


_HEADERS: Final = [(_header(1 << n), 1 << n) for n in range(5, 28)]
"""Headers by size: of one block to the 128 MiB that the format allows."""


def _size(header: bytes) -> int | None:
    """Return how many bytes of blocks follow; None when it is another kind."""
    if not header or header[0] != _FIRST_FIELD:
        return None
    zigzag = shift = 0
    for at, octet in enumerate(header[1:6], start=2):
        zigzag |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:  # noqa: PLR2004  # the last of a varint
            known = header[at:].startswith(_SPLIT_BLOCK_XXHASH_PLAIN)
            return zigzag >> 1 if known and not zigzag & 1 else None
    return None


def _read(path: Path, at: int, size: int) -> bytes:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(opened, size, at)
    finally:
        os.close(opened)


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).

    >>> f"{xxh64(b''):016x} {xxh64(b'abc'):016x}"
    'ef46db3751d8e999 44bc2cf5ad770999'
    """
    at, size = 0, len(data)
    if size >= _BLOCK:
        lanes = [_P1 + _P2 & _MASK, _P2, 0, -_P1 & _MASK]
        while at + _BLOCK <= size:
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], _word(data, at + 8 * lane, 8))
            at += _BLOCK
        turns = zip(lanes, (1, 7, 12, 18), strict=True)
        found = sum(_turned(lane, by) for lane, by in turns) & _MASK
        for lane in lanes:
            found = ((found ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        found = _P5
    found = found + size & _MASK
    while at + 8 <= size:
        found = _turned(found ^ _round(0, _word(data, at, 8)), 27) * _P1 + _P4 & _MASK
        at += 8
    if at + 4 <= size:
        found = _turned(found ^ _word(data, at, 4) * _P1 & _MASK, 23) * _P2 + _P3
        found, at = found & _MASK, at + 4
    for octet in data[at:]:
        found = _turned(found ^ octet * _P5 & _MASK, 11) * _P1 & _MASK
    found = (found ^ found >> 33) * _P2 & _MASK
    found = (found ^ found >> 29) * _P3 & _MASK
    return found ^ found >> 32


def _round(lane: int, word: int) -> int:
    return _turned(lane + word * _P2 & _MASK, 31) * _P1 & _MASK


def _turned(word: int, by: int) -> int:
    return (word << by | word >> 64 - by) & _MASK


def _word(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
