"""What an object store must do: keep bytes under their digest, and hash them again."""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import AbstractContextManager
from typing import BinaryIO, Final, NamedTuple, Protocol

from modelkeep.errors import Invalid, Late

PIECE: Final = 1 << 20
NAMED: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class Stored(NamedTuple):
    """`digest` is `sha256:` and 64 hexadecimal digits; `size` is in bytes."""

    digest: str
    size: int


class Objects(Protocol):
    """Thread-safe. What is under a digest is never overwritten or removed."""

    def put(self, content: BinaryIO) -> Stored:
        """Keep it; durable when this returns, and whole or not there at all. Raises
        Unavailable, DiskFull.
        """
        ...

    def open(self, digest: str) -> AbstractContextManager[BinaryIO]:
        """Open for reading, from anywhere. Raises NotFound, Unavailable."""
        ...

    def found(self, digest: str, *, within_s: float) -> str:
        """Hash what is kept under `digest` again, and return what it is.

        Raises NotFound, Unavailable, and Late when it takes longer.
        """
        ...


def hexadecimal(digest: str) -> str:
    """The 64 digits alone. Raises Invalid: a name that is no digest is no path."""
    named = NAMED.fullmatch(digest)
    if named is None:
        raise Invalid.field("digest", f"{digest[:80]!r} is no SHA-256")
    return named[1]


def stream_digest(content: BinaryIO, *, within_s: float = float("inf")) -> Stored:
    """Hash to the end, piece by piece. Raises Late."""
    found, size, until = hashlib.sha256(), 0, time.monotonic() + within_s
    while piece := content.read(PIECE):
        found.update(piece)
        size += len(piece)
        if time.monotonic() > until:
            raise Late(f"{size} bytes were hashed within {within_s:g} s: it is longer")
    return Stored(f"sha256:{found.hexdigest()}", size)
