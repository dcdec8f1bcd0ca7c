"""Files that survive power loss: replaced whole, or only ever longer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def replace(path: Path, content: bytes | memoryview, *, mode: int = 0o644) -> None:
    """Write `content` at `path`: after a crash the old or the new is there, whole."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # what a crash left behind may have another mode
    with _created(fresh, mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def create(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that must not exist yet; raises FileExistsError."""
    with _created(path, mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


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
