"""Decision ids: UUIDv7 (RFC 9562, 5.7), so that ids of one time lie together.

48 bits of milliseconds, 12 bits of the millisecond's fraction, 62 random bits; where
there is no time for a fraction (`fresh`), 74 random bits.

Many at a time are spelled column by column, not one by one. The chance that `fresh`
needs is made in advance, and thrown away in a forked child.
"""

from __future__ import annotations

import os
import random
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

VERSION: Final = 7 << 12
VARIANT: Final = 2 << 62

POOL: Final = 256
"""Random tails that are made at once."""
MILLISECOND: Final = 1_000_000

_HALVES: Final = struct.Struct(">QQ").pack
_VARIANTS: Final = bytes(octet & 0x3F | 0x80 for octet in range(256))
_VERSIONS: Final = bytes(octet & 0x0F | 0x70 for octet in range(256))
_MILLIS: Final = 0xFFFF_FFFF_FFFF_0000
_WHOLE: Final = "########-####-####-####-############ "
_TAIL: Final = "-####-####-############ "
_AT_ONCE: Final = 1024
"""Ids spelled together: what the processor's cache holds."""

_random = random.Random(os.urandom(32))  # noqa: S311  # unique, not secret
_tails: list[str] = []
_millisecond = (0, "00000000-0000")
"""The last one that had an id: when it began, and how its ids do."""


def _after_fork_in_child() -> None:
    _random.seed(os.urandom(32))
    _tails.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def fresh(nanoseconds: int) -> str:
    """Return the text of a new id of that time: a fraction of what `mint` costs.

    >>> fresh(0)[:15]
    '00000000-0000-7'
    """
    start, head = _millisecond
    if not 0 <= nanoseconds - start < MILLISECOND:
        head = _began(nanoseconds)
    try:
        return head + _tails.pop()
    except IndexError:
        return head + _more()


def _began(nanoseconds: int) -> str:
    global _millisecond  # noqa: PLW0603  # replaced whole: threads may race
    millis = nanoseconds // MILLISECOND
    digits = f"{millis & 0xFFFF_FFFF_FFFF:012x}"
    head = f"{digits[:8]}-{digits[8:]}"
    _millisecond = millis * MILLISECOND, head
    return head


def _more() -> str:
    octets = bytearray(_random.randbytes(10 * POOL))
    octets[::10] = octets[::10].translate(_VERSIONS)
    octets[2::10] = octets[2::10].translate(_VARIANTS)
    made = _spelled(octets, _TAIL)
    found = made.pop()
    _tails.extend(made)
    return found


def mint(nanoseconds: int) -> tuple[bytes, str]:
    """Return an id of that time since 1970, as bytes and as text.

    >>> mint(0)[1][:15]
    '00000000-0000-7'
    """
    return _made(nanoseconds, _random.getrandbits(62))


def mint_many(nanoseconds: Sequence[int]) -> tuple[list[bytes], list[str]]:
    """Return an id of each of these times: like `mint`, several times faster."""
    octets = _joined(nanoseconds, _chance(len(nanoseconds)))
    keys = [octets[at : at + 16] for at in range(0, len(octets), 16)]
    return keys, _spelled(octets, _WHOLE)


def derived(nanoseconds: int, seed: str) -> str:
    """Return the id of that time and seed: always the same.

    >>> derived(0, "UA17")
    '00000000-0000-7000-8a62-8cc302f52f29'
    """
    digest = sha256(seed.encode()).digest()
    return _made(nanoseconds, int.from_bytes(digest[:8], "big") >> 2)[1]


def derived_many(nanoseconds: Sequence[int], seeds: Iterable[str]) -> list[str]:
    """Return the ids of these times and seeds: those of `derived`, faster. Raises
    ValueError when there are more of one than of the other.

    >>> derived_many([0], ["UA17"])
    ['00000000-0000-7000-8a62-8cc302f52f29']
    """
    digests = b"".join([sha256(seed.encode()).digest()[:8] for seed in seeds])
    if len(digests) != 8 * len(nanoseconds):
        raise ValueError(f"{len(nanoseconds)} times, {len(digests) // 8} references")
    # Shifted as one number: what each takes over from its neighbour, the variant hides.
    bits = int.from_bytes(digests, "big") >> 2
    tails = _tails_of(bits.to_bytes(len(digests), "big"))
    return _spelled(_joined(nanoseconds, tails), _WHOLE)


def content_id(*parts: bytes) -> str:
    """Name what was packed by what it is (a UUIDv8, RFC 9562, 5.8)."""
    found = bytearray(sha256(b"\0".join(parts)).digest()[:16])
    found[6] = found[6] & 0x0F | 0x80
    found[8] = found[8] & 0x3F | 0x80
    text = found.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _made(nanoseconds: int, bits: int) -> tuple[bytes, str]:
    key = _HALVES(_head(nanoseconds), VARIANT | bits)
    return key, _text(key.hex())


def _head(nanoseconds: int) -> int:
    tick = nanoseconds * 64 // 15_625  # 4,096 a millisecond
    return _MILLIS & tick << 4 | VERSION | tick & 0xFFF


def _chance(ids: int) -> bytes:
    return _tails_of(_random.randbytes(8 * ids))


def _tails_of(bits: bytes) -> bytes:
    """Return them with the variant in each first octet of eight."""
    found = bytearray(bits)
    found[::8] = found[::8].translate(_VARIANTS)
    return bytes(found)


def _joined(nanoseconds: Sequence[int], tails: bytes) -> bytes:
    known = {moment: _head(moment) for moment in set(nanoseconds)}
    heads = array("Q", map(known.__getitem__, nanoseconds))
    if sys.byteorder == "little":
        heads.byteswap()
    found = array("Q", bytes(2 * len(tails)))
    found[::2], found[1::2] = heads, array("Q", tails)
    return found.tobytes()


def _spelled(octets: bytes | bytearray, form: str) -> list[str]:
    """Spell what lies one behind the other: a `#` is a digit, the space an end.

    >>> _spelled(bytes.fromhex("0123" "cdef"), "#-### ")
    ['0-123', 'c-def']
    """
    width = form.count("#") // 2
    found: list[str] = []
    for start in range(0, len(octets), width * _AT_ONCE):
        part = octets[start : start + width * _AT_ONCE]
        found += _spelled_together(part.hex().encode(), form, len(part) // width)
    return found


def _spelled_together(digits: bytes, form: str, n: int) -> list[str]:
    columns = [at for at, sign in enumerate(form) if sign == "#"]
    found = bytearray(form.encode() * n)
    for at, column in enumerate(columns):
        found[column :: len(form)] = digits[at :: len(columns)]
    return found.decode().split()


def _text(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def octets(text: str) -> bytes:
    """Read an id. Raises ValueError when it is not one.

    >>> octets("00000000-0000-7000-8000-000000000001")[-1]
    1
    """
    found = bytes.fromhex(text.replace("-", ""))
    if len(found) != 16:  # noqa: PLR2004  # a UUID
        raise ValueError(f"{text} is not a UUID")
    return found


def octets_many(texts: Sequence[str]) -> list[bytes]:
    """Read ids: like `octets`, several times faster."""
    digits = [text.replace("-", "") for text in texts]
    found = bytes.fromhex("".join(digits)) if {*map(len, digits)} == {32} else b""
    if len(found) != 16 * len(digits):  # one is none, or has a blank in it
        return [octets(text) for text in texts]
    return [found[at : at + 16] for at in range(0, len(found), 16)]
