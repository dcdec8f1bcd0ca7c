"""The bell: wakes who waits for news, in this process and in others on this host.

Within a process it is a condition (`waking.py`). Between processes it is a small file:
to ring is to overwrite it, and to listen is to ask the kernel (inotify) when that
happens, or, where there is no inotify, to look every few milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import select
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelkeep.store.waking import Listener, Waking

_IN_MODIFY: Final = 0x2
_IN_NONBLOCK: Final = os.O_NONBLOCK
_POLL_MS: Final = 2
_TOKEN_BYTES: Final = 8
_RING_BYTES: Final = 2 * _TOKEN_BYTES


class Bell(Waking):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._token = os.urandom(_TOKEN_BYTES)

    def ring(self) -> None:
        # The file first: a listener that reads our own token does nothing, and may do
        # so because all that others wrote before it is followed by our announcement.
        mine = self._token + (self._rings & 0xFFFFFFFF).to_bytes(_TOKEN_BYTES)
        with suppress(OSError):
            os.pwrite(self._file, mine, 0)
        self.announce()

    def heard(self, previous: bytes) -> bytes:
        """Announce what another wrote to the file since `previous`; return it."""
        now = os.pread(self._file, _RING_BYTES, 0)
        if now != previous and now[:_TOKEN_BYTES] != self._token:
            self.told()
        return now

    def close(self) -> None:
        super().close()
        os.close(self._file)

    def _new_listener(self) -> Listener:
        return _FileListener(self)

    @property
    def path(self) -> Path:
        return self._path


class _FileListener(Listener):
    def __init__(self, bell: Bell) -> None:
        super().__init__()
        self._bell = bell
        self._watch = _inotify(bell.path)

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._stop_read, select.POLLIN)
        if self._watch is not None:
            poll.register(self._watch, select.POLLIN)
        heard = self._bell.heard(b"")
        while True:
            ready = poll.poll(None if self._watch is not None else _POLL_MS)
            if any(descriptor == self._stop_read for descriptor, _ in ready):
                return
            if ready and self._watch is not None:
                with suppress(BlockingIOError):
                    os.read(self._watch, 4096)
            heard = self._bell.heard(heard)

    def stop(self) -> None:
        os.write(self._stop_write, b"x")
        self.join()
        for descriptor in (self._stop_read, self._stop_write, self._watch):
            if descriptor is not None:
                os.close(descriptor)


def _inotify(path: Path) -> int | None:
    """Return a descriptor that is readable once `path` was written; None without."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        return None
    watch = int(libc.inotify_init1(_IN_NONBLOCK | os.O_CLOEXEC))
    if watch < 0:  # too many of them: the user's limit, not ours
        return None
    if libc.inotify_add_watch(watch, os.fsencode(path), _IN_MODIFY) < 0:
        os.close(watch)
        return None
    return watch
