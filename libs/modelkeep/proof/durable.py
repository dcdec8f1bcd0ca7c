"""Files that survive power loss: replaced whole, or only ever longer."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from pathlib import Path
from typing import BinaryIO, Final

LARGE: Final = 1 << 20
"""Bytes from which a file is written past the cache of the system, where it can be."""
PIECE: Final = 1 << 20
"""Bytes written past it at once."""
_PAST_THE_CACHE: Final[int | None] = getattr(os, "O_DIRECT", None)


def replace(path: Path, content: bytes | memoryview, *, mode: int = 0o644) -> None:
    """Write `content` at `path`: after a crash the old or the new is there, whole."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # what a crash left behind may have another mode
    if len(content) < LARGE or not _written_past_the_cache(fresh, content, mode):
        _written(fresh, content, mode)
    fresh.replace(path)
    sync_folder(path.parent)


def create(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that must not exist yet; raises FileExistsError."""
    _written(path, content, mode)
    sync_folder(path.parent)


def _written(path: Path, content: bytes | memoryview, mode: int) -> None:
    with _created(path, mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _written_past_the_cache(path: Path, content: bytes | memoryview, mode: int) -> bool:
    """Write a new file without a copy of it in the system's cache, where making room
    costs ten times as much processor time as writing. False, and nothing there, where
    the system or the file's does not offer it.
    """
    if _PAST_THE_CACHE is None:
        return False
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PAST_THE_CACHE
    handle = None
    try:
        handle = os.open(path, flags, mode)
        # whatever its items are called: those of some libraries are signed
        _write_pages(handle, memoryview(content).cast("B"))
        os.fsync(handle)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        path.unlink(missing_ok=True)
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True


def _write_pages(handle: int, content: memoryview) -> None:
    """Write whole pages from memory that begins at one, then cut the file to size."""
    done = 0
    if _begins_a_page(content):
        done = len(content) // mmap.PAGESIZE * mmap.PAGESIZE
        _write_whole(handle, content[:done])
    size = min(PIECE, _pages(len(content) - done))
    with mmap.mmap(-1, size or mmap.PAGESIZE) as room, memoryview(room) as pages:
        for start in range(done, len(content), PIECE):
            piece = content[start : start + PIECE]
            pages[: len(piece)] = piece
            with pages[: _pages(len(piece))] as whole:
                _write_whole(handle, whole)
    os.ftruncate(handle, len(content))


def _write_whole(handle: int, pages: memoryview) -> None:
    written = 0
    while written < len(pages):
        with pages[written:] as left:
            written += os.write(handle, left)


def _begins_a_page(content: memoryview) -> bool:
    """False as well of what nobody may write to: where that lies is not said."""
    if content.readonly:
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(content)) % mmap.PAGESIZE == 0


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def append(path: Path, content: bytes, *, at: int) -> None:
    """Write `content` from byte `at` on and end the file there.

    What lay beyond `at` was written by someone who crashed before it counted.
    """
    new = not path.exists()
    with path.open("wb" if new else "r+b") as file:
        file.truncate(at)
        file.seek(at)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def _created(path: Path, mode: int) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(path, flags, mode), "wb")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, not only what they name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
