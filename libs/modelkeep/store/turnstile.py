"""A lock between processes that is fair: who waits longest is next, near enough.

With one lock, the process that lets go of it takes it again before another has woken.
So there are two. Whoever wants in stands in the turnstile, which only one can do; from
there it waits for the room, enters, and leaves the turnstile to the next. A process
that comes out of the room finds the turnstile taken by one who waited.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class Turnstile:
    """Holds for one thread at a time. The system lets go of it when a process dies."""

    def __init__(self, turn: Path, room: Path) -> None:
        self._turn = _open(turn)
        try:
            self._room = _open(room)
        except OSError:
            os.close(self._turn)
            raise

    def __enter__(self) -> Self:
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
            fcntl.flock(self._room, fcntl.LOCK_EX)
        except BaseException:
            self.__exit__()
            raise
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._turn)
        os.close(self._room)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
