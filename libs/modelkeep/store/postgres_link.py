"""How PostgreSQL is reached: at what address, as what session, and what its errors say.

Every exchange has a deadline on both sides. The server gives up a statement by itself;
should it not answer at all, whoever waits here gives up the connection.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from modelkeep.errors import Corrupt, DiskFull, Invalid, ModelkeepError, Unavailable
from modelkeep.store.postgres_arrays import teach

log = logging.getLogger(__name__)

R = TypeVar("R")

OLDEST: Final = 14
LOOK_S: Final = 0.1
DEFAULT_SCHEMA: Final = "modelkeep"

# An identifier that needs no quotes, short enough for a channel's name around it.
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")

# A host that is gone is noticed within half a minute; an address may say otherwise.
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "fallback_application_name": "modelkeep",
    "gssencmode": "disable",
    "keepalives_count": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "30000",
}

# Fresh tables have no statistics to plan by, and all that is asked here has an index.
_SESSION: Final = """
set search_path = {schema};
set default_transaction_isolation = 'read committed';
set default_transaction_read_only = {readonly};
set statement_timeout = {milliseconds};
set lock_timeout = {milliseconds};
set idle_in_transaction_session_timeout = {half};
set client_min_messages = warning;
set enable_seqscan = off;
set jit = off;
"""

_LOST: Final = ("08", "57P", "25006")
_DAMAGED: Final = ("23", "42P01", "42703", "3F000", "XX")


@dataclass(frozen=True, repr=False)
class Address:
    """Where a ledger is: libpq's own parameters, and the schema that holds it.

    To print it shows no secrets.
    """

    parameters: Mapping[str, Any]
    schema: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a connection URI of libpq's. One field of its query is ours: `schema`.

        Raises Invalid, which does not repeat it: there may be a password in it.
        """
        address, _, query = url.partition("?")
        fields = [field for field in query.split("&") if field]
        ours = [field for field in fields if field.startswith("schema=")]
        rest = "&".join(field for field in fields if field not in ours)
        schema = unquote(ours[-1].partition("=")[2]) if ours else DEFAULT_SCHEMA
        if not _SCHEMA.fullmatch(schema):
            raise Invalid.field(
                "store", f"{schema[:64]!r} is no schema: a-z, 0-9 and _, at most 40"
            )
        try:
            given = conninfo_to_dict(f"{address}?{rest}" if rest else address)
        except psycopg.Error:
            raise Invalid.field("store", "not a connection URI of PostgreSQL") from None
        return cls({**_DEFAULTS, **given, "client_encoding": "UTF8"}, schema)

    @property
    def channel(self) -> str:
        return f"modelkeep_{self.schema}"

    def __str__(self) -> str:
        of = self.parameters
        host = of.get("host") or of.get("hostaddr") or "the local socket"
        return f"PostgreSQL {of.get('dbname', '')}/{self.schema} at {host}"

    __repr__ = __str__


class Connection(psycopg.Connection[TupleRow]):
    """One that does not wait for ever: `patience` is in seconds, for each exchange."""

    patience: float = 10.0

    def wait(
        self,
        gen: Generator[Any, Any, R],
        interval: float = LOOK_S,
        timeout: float | None = None,
    ) -> R:
        patience = self.patience if timeout is None else timeout
        try:
            return super().wait(_bounded(gen, int(patience / interval)), interval)
        except Unanswered:
            self.close()
            raise


def _bounded(gen: Generator[Any, Any, R], looks: int) -> Generator[Any, Any, R]:
    """Do as `gen` does, which is told each time it was looked and nothing had come.

    Looks are counted, not seconds: where a whole machine stood still nobody is late.
    """
    try:
        awaited = next(gen)
        while True:
            ready = yield awaited
            if not ready:
                looks -= 1
                if looks < 0:
                    gen.close()
                    raise Unanswered("it does not answer")
            awaited = gen.send(ready)
    except StopIteration as done:
        result: R = done.value
        return result


class Unanswered(psycopg.OperationalError):
    """An answer may still come, to nobody: the connection is closed."""


def connect(address: Address, timeout: float, *, readonly: bool = False) -> Connection:
    """Open a session of ours, in autocommit. Raises what psycopg does."""
    db = Connection.connect(**address.parameters, autocommit=True)
    try:
        teach(db)
        db.patience = timeout * 1.5  # the server's own limit comes first
        milliseconds = int(timeout * 1000)
        db.execute(
            _SESSION.format(
                schema=address.schema,
                readonly="on" if readonly else "off",
                milliseconds=milliseconds,
                half=milliseconds // 2,
            ).encode()
        )
    except BaseException:
        db.close()
        raise
    return db


def check_server(db: Connection, address: Address) -> None:
    """Raise Unavailable when what it acknowledges might not be there tomorrow.

    A session that would not wait for the disk is told to: that much we may decide.
    """
    if db.info.server_version < OLDEST * 10_000:
        raise Unavailable(
            f"{address}: version {db.info.server_version // 10_000} is too old,"
            f" {OLDEST} is the first that will do"
        )
    asked = db.execute(
        """
        select current_setting('fsync'), current_setting('full_page_writes'),
               current_setting('synchronous_commit'),
               current_setting('server_encoding'), pg_is_in_recovery()
        """
    ).fetchall()
    ((fsync, whole_pages, waits, encoding, standby),) = asked
    if standby:
        raise Unavailable(f"{address} is a standby: name the primary")
    if fsync != "on":
        raise Unavailable(f"{address} has fsync off: it acknowledges what may be lost")
    if encoding != "UTF8":
        raise Unavailable(f"{address} is encoded in {encoding}, not in UTF8")
    if whole_pages != "on":
        log.warning("%s has full_page_writes off: a crash may tear pages", address)
    if waits == "off":
        log.warning("%s has synchronous_commit off: ours waits for the disk", address)
        db.execute("set synchronous_commit = on")


def lost(error: psycopg.Error) -> bool:
    """Say whether it was the connection that failed, or a server that cannot yet."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_LOST)


def told(error: psycopg.Error, address: Address) -> ModelkeepError:
    """Say in our words what PostgreSQL said; what is in a row is not repeated."""
    said = error.diag.message_primary or str(error).partition("\n")[0]
    state = error.sqlstate or ""
    if isinstance(error, psycopg.errors.DiskFull):
        return DiskFull(f"there is no space left for {address}")
    if state.startswith(_DAMAGED):
        return Corrupt(f"{address} is damaged: {said}")
    return Unavailable(f"{address} cannot be used: {said}")
