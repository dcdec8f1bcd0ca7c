"""What every bell is within a process: a count of its rings, and who waits for more.

How other processes are heard is each bell's own: a thread, started when somebody first
wants to hear them.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod

from modelkeep.errors import Unavailable


class Waking(ABC):
    """A ring says "look", nothing more: one too many, or one late, loses nothing."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._rings = self._others = 0
        self._closed = False
        self._listener: Listener | None = None

    @property
    def rings(self) -> int:
        """How often it was heard here: take it before looking, hand it to `wait`."""
        return self._rings

    @property
    def others(self) -> int:
        """How often another process rang it, as far as was heard."""
        return self._others

    def announce(self) -> None:
        """Wake those who wait in this process."""
        with self._news:
            self._rings += 1
            self._news.notify_all()

    def told(self) -> None:
        """Another wrote, or may have."""
        self._others += 1
        self.announce()

    def wait(self, seen: int, timeout: float) -> None:
        """Return when the bell was heard after `seen`, or after `timeout` seconds."""
        with self._news:
            if self._rings == seen:
                self._news.wait(timeout)

    def listen(self) -> None:
        """Hear other processes too from now on; the first call starts a thread."""
        with self._news:
            if self._closed:
                raise Unavailable("the store is closed")
            if self._listener is None:
                self._listener = self._new_listener()
                self._listener.start()

    def close(self) -> None:
        """Wake who waits; nobody may listen from now on."""
        with self._news:
            listener, self._listener = self._listener, None
            self._closed = True
        if listener is not None:
            listener.stop()
        self.announce()

    @abstractmethod
    def _new_listener(self) -> Listener: ...


class Listener(threading.Thread, ABC):
    """The thread that hears others; a byte in its pipe says that it may stop."""

    def __init__(self) -> None:
        super().__init__(name="modelkeep-bell", daemon=True)
        self._stop_read, self._stop_write = os.pipe()

    @abstractmethod
    def run(self) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """Return when it has stopped, or will soon."""
