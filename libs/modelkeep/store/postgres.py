"""The networked store: tables of a schema in PostgreSQL 14+, for services on any host.

What is acknowledged is on the disk of a server that does not lie about it, and on its
synchronous standbys where it has them. Beside the events, in the same statement, grows
their Merkle tree.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

import psycopg

from modelkeep.errors import Unavailable
from modelkeep.store.group_commit import GroupCommit
from modelkeep.store.postgres_bell import PostgresBell
from modelkeep.store.postgres_link import Address, check_server, connect
from modelkeep.store.postgres_read import Reader
from modelkeep.store.postgres_schema import prepare
from modelkeep.store.postgres_write import Writer
from modelkeep.store.ranked import RankedStore
from modelkeep.store.tail import Tail

TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = 15.0


class PostgresStore(RankedStore):
    """One session writes, at most eight read, and one listens where somebody follows.

    `url` is a connection URI of libpq's, TLS and all; a password is better left to
    PGPASSWORD or a passfile. One field of its query is ours: `schema=risk` names the
    schema that holds the ledger, and several may share a database.

    `timeout` is in seconds, for each exchange with the server. One that went away is
    waited for `patience` seconds before it is Unavailable.
    """

    def __init__(
        self,
        url: str,
        *,
        origin: str | None = None,
        timeout: float = TIMEOUT_S,
        patience: float = PATIENCE_S,
    ) -> None:
        self.address = Address.parse(url)
        try:
            with ExitStack() as opened:
                self._open(origin, timeout, patience, opened)
                self._opened = opened.pop_all()
        except psycopg.Error as error:
            said = str(error).partition("\n")[0]
            raise Unavailable(f"{self.address} does not open: {said}") from None

    def _open(
        self, origin: str | None, timeout: float, patience: float, opened: ExitStack
    ) -> None:
        """Open all parts; what is opened last closes first."""
        address = self.address
        db = connect(address, timeout)
        opened.callback(db.close)
        check_server(db, address)
        self.origin = prepare(db, address, origin)
        self._bell = bell = PostgresBell(address, timeout)
        opened.callback(bell.close)
        self._tail = Tail()
        self._writer = Writer(
            address,
            self.origin,
            db,
            bell.announce,
            bell.ours,
            self._tail,
            timeout=timeout,
            patience=patience,
        )
        opened.callback(self._writer.close)
        self._reader = reader = Reader(address, timeout=timeout, patience=patience)
        opened.callback(reader.close)
        self._commits = GroupCommit(self._writer.write)
        opened.callback(self._commits.close)
