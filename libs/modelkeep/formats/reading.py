"""Reads a file that may lie about its own lengths."""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from modelkeep.errors import ModelkeepError

MAX_VARINT: Final = 10


class Unreadable(ModelkeepError):
    """The file is not what it begins as. The message says where."""


def size_of(content: BinaryIO) -> int:
    size = content.seek(0, 2)
    content.seek(0)
    return size


class Bounded:
    """A file from here to `end`. Each read raises Unreadable beyond it, and after
    `most` of them: what is small to write must not be long to read.
    """

    def __init__(self, content: BinaryIO, end: int, most: int) -> None:
        self._content, self.end, self._left = content, end, most
        self.at = content.tell()

    def take(self, count: int) -> bytes:
        self._spend(count)
        found = self._content.read(count)
        if len(found) != count:
            raise Unreadable(f"it ends at byte {self.at + len(found)}")
        self.at += count
        return found

    def skip(self, count: int) -> None:
        self._spend(count)
        self.at += count
        self._content.seek(self.at)

    def _spend(self, count: int) -> None:
        if count > self.end - self.at:
            raise Unreadable(f"byte {self.at} speaks of {count} more than there are")
        self._left -= 1
        if self._left < 0:
            raise Unreadable("it has more parts than are read here")

    def number(self, form: str) -> int:
        """A little-endian integer by `struct`'s letter."""
        return int(struct.unpack(f"<{form}", self.take(struct.calcsize(form)))[0])

    def varint(self) -> int:
        value = 0
        for place in range(MAX_VARINT):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:  # noqa: PLR2004  # no more follow
                return value & (2**64 - 1)
        raise Unreadable(f"the number before byte {self.at} does not end")
