"""The bell across hosts: PostgreSQL's own LISTEN, told by NOTIFY in each append.

Within a process it is a condition (`waking.py`). Notices come in the order of commits
and only of what is committed. While the listening session is gone, it is as if somebody
rang all the time: who waits looks for himself.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from typing import Final

import psycopg

from modelkeep.store.postgres_link import Address, Connection, connect
from modelkeep.store.waking import Listener, Waking

log = logging.getLogger(__name__)

DEAF_S: Final = 0.05
"""How often who waits looks for himself while nobody listens for him."""

QUIET_S: Final = 20.0
"""After so long without a notice, the server is asked whether it is still there."""

AGAIN_S: Final = 0.5
STOP_S: Final = 2.0


class PostgresBell(Waking):
    def __init__(self, address: Address, timeout: float) -> None:
        super().__init__()
        self._address, self._timeout = address, timeout
        self._ours: set[int] = set()
        self._deaf = True

    @property
    def others(self) -> int:
        """How often another process rang it, as far as was heard. To the deaf it
        rings whenever they ask.
        """
        if self._deaf:
            self._others += 1
        return self._others

    def wait(self, seen: int, timeout: float) -> None:
        super().wait(seen, min(timeout, DEAF_S) if self._deaf else timeout)

    def ours(self, session: int) -> None:
        """Take what this session says for our own: who wrote it announces it."""
        self._ours.add(session)

    def heard(self, session: int) -> None:
        if session not in self._ours:
            self.told()

    def listens(self, *, now: bool) -> None:
        self._deaf = not now
        self.told()  # what was not heard until now

    def _new_listener(self) -> Listener:
        return _SessionListener(self, self._address, self._timeout)


class _SessionListener(Listener):
    def __init__(self, bell: PostgresBell, address: Address, timeout: float) -> None:
        super().__init__()
        self._bell, self._address, self._timeout = bell, address, timeout
        self._stopped = threading.Event()

    def run(self) -> None:
        complained = ""
        while not self._stopped.is_set():
            try:
                with connect(self._address, self._timeout) as db:
                    db.execute(f"listen {self._address.channel}".encode())
                    self._bell.listens(now=True)
                    complained = ""
                    self._listen(db)
            except psycopg.Error as error:
                if str(error) != complained:
                    complained = str(error)
                    log.warning("%s rings no more: %s", self._address, complained)
            self._bell.listens(now=False)
            self._stopped.wait(AGAIN_S)

    def _listen(self, db: Connection) -> None:
        """Return when stopped; raises what psycopg does when the session is lost."""
        poll = select.poll()
        poll.register(db.fileno(), select.POLLIN)
        if not self._stopped.is_set():
            poll.register(self._stop_read, select.POLLIN)
        while not self._stopped.is_set():
            if not poll.poll(QUIET_S * 1000):
                db.execute("select 1")
            db.pgconn.consume_input()
            while (notice := db.pgconn.notifies()) is not None:
                self._bell.heard(notice.be_pid)

    def stop(self) -> None:
        self._stopped.set()
        os.write(self._stop_write, b"x")
        self.join(STOP_S)
        if not self.is_alive():  # else it is still on its way to a server
            os.close(self._stop_read)
            os.close(self._stop_write)
