"""Decision ids: UUIDv7 (RFC 9562, 5.7), so that ids of one time lie together.

48 bits of milliseconds, 12 bits of the millisecond's fraction, 62 random bits.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

VERSION: Final = 7 << 12
VARIANT: Final = 2 << 62

_HALVES: Final = struct.Struct(">QQ").pack
_VARIANTS: Final = bytes(octet & 0x3F | 0x80 for octet in range(256))

_random = random.Random(os.urandom(32))  # noqa: S311  # unique, not secret
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def mint(nanoseconds: int) -> tuple[bytes, str]:
    """Return an id of that time since 1970, as bytes and as text.

    >>> mint(0)[1][:15]
    '00000000-0000-7'
    """
    return _made(nanoseconds, _random.getrandbits(62))


def mint_many(nanoseconds: Sequence[int]) -> tuple[list[bytes], list[str]]:
    """Return an id of each of these times: like `mint`, several times faster."""
    tails = bytearray(_random.randbytes(8 * len(nanoseconds)))
    tails[::8] = tails[::8].translate(_VARIANTS)
    heads: dict[int, bytes] = {}
    keys = []
    for at, moment in enumerate(nanoseconds):
        head = heads.get(moment)
        if head is None:
            head = heads[moment] = _made(moment, 0)[0][:8]
        keys.append(head + tails[at * 8 : at * 8 + 8])
    return keys, [_text(key.hex()) for key in keys]


def derived(nanoseconds: int, seed: str) -> str:
    """Return the id of that time and seed: always the same.

    >>> derived(0, "UA17")
    '00000000-0000-7000-8a62-8cc302f52f29'
    """
    digest = sha256(seed.encode()).digest()
    return _made(nanoseconds, int.from_bytes(digest[:8], "big") >> 2)[1]


def content_id(*parts: bytes) -> str:
    """Name what was packed by what it is (a UUIDv8, RFC 9562, 5.8)."""
    found = bytearray(sha256(b"\0".join(parts)).digest()[:16])
    found[6] = found[6] & 0x0F | 0x80
    found[8] = found[8] & 0x3F | 0x80
    text = found.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _made(nanoseconds: int, bits: int) -> tuple[bytes, str]:
    millis, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    key = _HALVES(
        (millis & 0xFFFF_FFFF_FFFF) << 16 | VERSION | fraction, VARIANT | bits
    )
    return key, _text(key.hex())


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
