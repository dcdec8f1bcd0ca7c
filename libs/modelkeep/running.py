"""One process a service and home: the lock that says so, and where it answers."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from modelkeep.errors import Unavailable
from modelkeep.home import Home

ADDRESS_BYTES: Final = 256


class Claim:
    """A service's lock, held. The kernel lets go of it when the process dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def answers_on(self, address: str) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, address.encode(), 0)


@contextmanager
def claim(home: Home, service: str) -> Iterator[Claim]:
    """Hold `service` of `home`. Raises Unavailable when another process does."""
    path = home.run(service)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            _lock(descriptor)
        except BlockingIOError:
            where = os.pread(descriptor, ADDRESS_BYTES, 0).decode() or "another process"
            raise Unavailable(f"{service} of {home.root} runs on {where}") from None
        os.ftruncate(descriptor, 0)
        yield Claim(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    for patience in (0.05, 0.1, 0.2, 0.0):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Somebody may only be asking whether it runs.
            if not patience:
                raise
            time.sleep(patience)
    return None


def address_of(home: Home, service: str) -> str | None:
    """Return where a running `service` of `home` answers; None when none runs."""
    try:
        descriptor = os.open(home.run(service), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, ADDRESS_BYTES, 0).decode() or None
    else:
        return None
    finally:
        os.close(descriptor)
