"""What may be let go: caches of objects and events, bounded for the whole process.

Whatever lies here can be made again from the log and its objects, and is let go, the
least lately used first, once all of it together is larger than the shelf.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Final

ROWS: Final = 384 << 20
"""Bytes of ids, times, scores and outcomes."""
WINDOWS: Final = 2 << 30
"""Bytes of windows' counts."""


class Shelved(ABC):
    """Kept until let go. Whoever uses it holds it by a name of his own meanwhile."""

    @abstractmethod
    def let_go(self) -> None:
        """Forget. Any thread may ask for it, at any moment."""


class Shelf:
    """Thread-safe."""

    def __init__(self, most: int = ROWS) -> None:
        """`most`: bytes. What was put last stays, however large."""
        self._most = most
        self._lock = threading.Lock()
        self._sizes: OrderedDict[Shelved, int] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Return the bytes of all that is kept."""
        return self._size

    def put(self, kept: Shelved, size: int) -> None:
        """Keep what takes `size` bytes, or what now takes as many."""
        gone = []
        with self._lock:
            self._size += size - self._sizes.pop(kept, 0)
            self._sizes[kept] = size
            while self._size > self._most and len(self._sizes) > 1:
                oldest, its = self._sizes.popitem(last=False)
                self._size -= its
                gone.append(oldest)
        for one in gone:
            one.let_go()

    def touch(self, kept: Shelved) -> None:
        """Say that it was used just now."""
        with self._lock:
            if kept in self._sizes:
                self._sizes.move_to_end(kept)

    def drop(self, kept: Shelved) -> None:
        """Let go at once, where it is kept at all."""
        with self._lock:
            self._size -= self._sizes.pop(kept, 0)
        kept.let_go()
