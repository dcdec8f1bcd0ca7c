"""What a model file says of itself, read without running, unpacking or believing it.

Headers only, each length checked against the file before it is used. A format that can
carry code (pickles, archives of them, HDF5 with its layers) is named and left shut.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from modelkeep.formats import gguf, onnx_file, safetensors
from modelkeep.formats.described import Described
from modelkeep.formats.reading import Unreadable, size_of

__all__ = ["Described", "Unreadable", "describe"]

SHUT: Final = {
    b"PK\x03\x04": ("zip", "an archive: it may hold pickles, and is not unpacked"),
    b"\x89HDF\r\n\x1a\n": ("hdf5", "its layers may carry code, and are not loaded"),
    b"\x80": ("pickle", "loading it would run what it says; nobody here does"),
}


def describe(content: BinaryIO) -> Described:
    """Say what `content`, which can seek, is. Raises Unreadable where it says that it
    is one thing and is not; what nobody here knows is `unknown`.
    """
    size = size_of(content)
    head = content.read(16)
    content.seek(0)
    if head.startswith(gguf.MAGIC):
        return gguf.describe(content, size)
    for magic, (name, why) in SHUT.items():
        if head.startswith(magic) and (magic != b"\x80" or _protocol(head)):
            return Described(name, carries_code=True, notes=(why,))
    if safetensors.begins(head):
        return safetensors.describe(content, size)
    if onnx_file.begins(head):
        return onnx_file.describe(content, size)
    return Described("unknown")


def _protocol(head: bytes) -> bool:
    """Protocols 2 to 5 say so in the second byte."""
    return len(head) > 1 and 2 <= head[1] <= 5  # noqa: PLR2004
