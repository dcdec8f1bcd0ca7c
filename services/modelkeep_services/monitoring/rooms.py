"""Memory that files are made in, used again: fresh pages cost more than the filling."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

SIZE: Final = 32 << 20
"""What a file may have; a greater one is made in memory of its own."""
KEPT: Final = 2
"""Rooms kept for whoever comes next: as many files as are commonly made at once."""

_rooms: deque[mmap.mmap] = deque(maxlen=KEPT)


@contextmanager
def made(write: Callable[[pa.NativeFile], None]) -> Iterator[memoryview]:
    """Have `write` make a file; yield its bytes, which last as long as the context.

    It is asked once more, for other memory, where the file is too large.
    """
    try:
        room = _rooms.pop()
    except IndexError:
        room = mmap.mmap(-1, SIZE)
    try:
        yield _written(write, room)
    finally:
        _rooms.append(room)


def _written(write: Callable[[pa.NativeFile], None], room: mmap.mmap) -> memoryview:
    file = pa.FixedSizeBufferWriter(pa.py_buffer(room))
    try:
        write(file)
    except OSError:  # it says so when the room is too small
        whole = pa.BufferOutputStream()
        write(whole)
        return memoryview(whole.getvalue())
    return memoryview(room)[: file.tell()]
