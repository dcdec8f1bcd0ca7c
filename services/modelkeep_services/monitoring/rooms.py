"""Memory that files are made in, and columns put together in, used again: fresh pages
cost more than the filling.
"""

from __future__ import annotations

import mmap
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import pyarrow as pa

from modelkeep.decisions.matrix import Floats

SIZE: Final = 32 << 20
"""What a file may have; a greater one is made in memory of its own."""
KEPT: Final = 4
"""Rooms kept for whoever comes next: as many as are commonly needed at once."""

_rooms: deque[mmap.mmap] = deque(maxlen=KEPT)


def block(columns: int, rows: int) -> Floats:
    """Return [columns, rows] to be filled; the room is free again once no array lies in
    it any more.
    """
    size = columns * rows * np.dtype(np.float64).itemsize
    if not 0 < size <= SIZE:
        return np.empty((columns, rows))
    room = _room()
    whole = np.frombuffer(room, dtype=np.float64, count=columns * rows)
    weakref.finalize(whole, _rooms.append, room)  # every view of it keeps it
    return whole.reshape(columns, rows)


@contextmanager
def made(write: Callable[[pa.NativeFile], None]) -> Iterator[memoryview]:
    """Have `write` make a file; yield its bytes, which last as long as the context.

    It is asked once more, for other memory, where the file is too large.
    """
    room = _room()
    try:
        yield _written(write, room)
    finally:
        _rooms.append(room)


def _room() -> mmap.mmap:
    try:
        return _rooms.pop()
    except IndexError:
        return mmap.mmap(-1, SIZE)


def _written(write: Callable[[pa.NativeFile], None], room: mmap.mmap) -> memoryview:
    file = pa.FixedSizeBufferWriter(pa.py_buffer(room))
    try:
        write(file)
    except OSError:  # it says so when the room is too small
        whole = pa.BufferOutputStream()
        write(whole)
        return memoryview(whole.getvalue())
    return memoryview(room)[: file.tell()]
