"""The ledger as tables of a schema in PostgreSQL, and who may do what to them.

Triggers refuse to change, delete or truncate what was written, whoever asks; `always`
says that they do so on a replica too. The owner of the tables can drop the triggers, so
services are better given a role that owns nothing (`GRANTS`). A superuser can do
anything: the proof is for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

import psycopg

from modelkeep.errors import Corrupt, Invalid
from modelkeep.store.postgres_link import Address, Connection, told

FORMAT: Final = 1

_TABLES: Final = """
create schema if not exists {schema};

create table ledger (
    format integer not null,
    origin text not null
);

-- One row, which whoever appends holds until the end: so what commits later stands
-- later, and who follows by position misses nothing. `reach` is the log's length in
-- bytes of data and metadata; `frontier` the right edge of the Merkle tree.
create table head (
    size bigint not null,
    reach bigint not null,
    frontier bytea not null
) with (fillfactor = 10);

create table event (
    position bigint primary key,
    version bigint not null check (version >= 0),
    schema_version bigint not null,
    recorded_at bigint not null,
    reach bigint not null,
    id uuid not null,
    stream text collate "C" not null,
    name text collate "C" not null,
    leaf bytea not null,
    data bytea not null,
    metadata bytea not null
);

create unique index event_in_stream on event (stream, version);

create table node (
    level bigint not null,
    at bigint not null,
    hash bytea not null,
    primary key (level, at)
);

create function refuse() returns trigger language plpgsql as $$
begin
    raise exception 'a ledger only grows: % on % is refused', tg_op, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;

create trigger event_stays before update or delete on event
    for each row execute function refuse();
create trigger node_stays before update or delete on node
    for each row execute function refuse();
create trigger ledger_stays before insert or update or delete on ledger
    for each row execute function refuse();
create trigger head_stays before insert or delete on head
    for each row execute function refuse();
create trigger head_grows before update on head
    for each row when (new.size <= old.size) execute function refuse();
create trigger event_lasts before truncate on event execute function refuse();
create trigger node_lasts before truncate on node execute function refuse();
create trigger ledger_lasts before truncate on ledger execute function refuse();
create trigger head_lasts before truncate on head execute function refuse();

alter table event enable always trigger event_stays;
alter table event enable always trigger event_lasts;
alter table node enable always trigger node_stays;
alter table node enable always trigger node_lasts;
alter table ledger enable always trigger ledger_lasts;
alter table head enable always trigger head_grows;
alter table head enable always trigger head_lasts;
"""

GRANTS: Final = """
grant usage on schema {schema} to {role};
grant select on {schema}.ledger to {role};
grant select, update on {schema}.head to {role};
grant select, insert on {schema}.event, {schema}.node to {role};
"""
"""What a role needs to append and to read, and no more."""


def prepare(db: Connection, address: Address, origin: str | None) -> str:
    """Create the tables where there are none; return the ledger's origin.

    Safe when several services start at once. Raises Invalid when the ledger is of
    another format, or of another origin than the one asked for.
    """
    try:
        found = _found(db, address)
        if found is None:
            with _one_at_a_time(db, address):
                found = _found(db, address) or _created(db, address, origin)
    except psycopg.Error as error:
        raise told(error, address) from None
    written, stored = found
    if written != FORMAT:
        raise Invalid.field("store", f"{address} has format {written}, not {FORMAT}")
    if origin not in {None, stored}:
        raise Invalid.field("origin", f"{address} is {stored}, not {origin}")
    return stored


@contextmanager
def _one_at_a_time(db: Connection, address: Address) -> Iterator[None]:
    """Hold the session's lock of this name: the others find what the first has made.

    Not a transaction's: what others commit while one waits in it, it may not notice.
    """
    name = (address.channel,)
    db.execute("select pg_advisory_lock(hashtextextended(%s, 0))", name)
    try:
        yield
    finally:
        if not db.closed:  # else the server lets go of it
            db.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", name)


def _found(db: Connection, address: Address) -> tuple[int, str] | None:
    name = f"{address.schema}.ledger"
    there = db.execute("select to_regclass(%s) is not null", (name,)).fetchone()
    if there != (True,):
        return None
    row = db.execute("select format, origin from ledger").fetchone()
    if row is None:
        raise Corrupt(f"{address} does not say whose ledger it is")
    return int(row[0]), str(row[1])


def _created(db: Connection, address: Address, origin: str | None) -> tuple[int, str]:
    origin = origin or f"modelkeep.local/{uuid4()}"
    first, _, triggers = _TABLES.partition("create function")
    with db.transaction():
        db.execute(first.format(schema=address.schema).encode())
        db.execute("insert into ledger values (%s, %s)", (FORMAT, origin))
        db.execute("insert into head values (0, 0, '')")
        db.execute(f"create function{triggers}".encode())
    return FORMAT, origin
