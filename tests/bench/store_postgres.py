"""How fast the store over PostgreSQL is, beside plain statements on the same server.

The server is the tests' own, on this machine and reached by a socket: over a network
each append waits for one round trip more, as the plain statement does.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import uuid4

import psycopg
from tests.bench.harness import Figure, Goal, Peer, in_turns, percentile
from tests.bench.store import (
    DATA,
    METADATA,
    ROOT,
    Times,
    in_threads,
    new,
    stream,
    timed,
)
from tests.servers import postgresql

from modelkeep.store.port import NO_STREAM
from modelkeep.store.postgres import PostgresStore

ROUNDS: Final = 7
LEAF: Final = bytes(32)

Session = psycopg.Connection[tuple[Any, ...]]

_PLAIN: Final = """
create table plain (
    position bigint generated always as identity primary key,
    version bigint not null,
    schema_version bigint not null,
    recorded_at timestamptz not null default now(),
    id uuid not null,
    stream text collate "C" not null,
    name text collate "C" not null,
    leaf bytea not null,
    data bytea not null,
    metadata bytea not null,
    unique (stream, version)
);
create table plain_head (size bigint not null) with (fillfactor = 10);
insert into plain_head values (0);
"""

_INSERT: Final = """
insert into plain (version, schema_version, id, stream, name, leaf, data, metadata)
values (%b, 1, %b, %s, 'bench.written', %b, %b, %b)
"""


def figures(_: Path) -> Iterable[Figure]:
    """Nothing, where there is no server."""
    found = postgresql.programs()
    if found is None:
        sys.stdout.write(f"{postgresql.absent()}\n")
        return
    settings = {"shared_buffers": "256MB", "max_wal_size": "2GB"}
    with postgresql.Server(found, settings) as server:
        with psycopg.connect(server.uri(), autocommit=True) as db:
            db.execute(_PLAIN)
        yield single(server)
        yield batched(server)
        yield from together(server)
        yield two_stores(server)
        yield from delivered(server)
        yield replayed(server)


@contextmanager
def opened(server: postgresql.Server) -> Iterator[tuple[PostgresStore, Session]]:
    with (
        PostgresStore(server.uri(schema=f"bench_{uuid4().hex[:8]}")) as store,
        psycopg.connect(server.uri(), autocommit=True) as plain,
    ):
        plain.prepare_threshold = 1
        yield store, plain


def single(server: postgresql.Server) -> Figure:
    """One event an append, one writer: against one row inserted and committed."""
    with opened(server) as (store, plain):

        def plain_block() -> list[float]:
            name, taken = stream(), []
            for at in range(200):
                row = (at, uuid4(), name, LEAF, DATA, METADATA)
                started = time.perf_counter()
                plain.execute(_INSERT, row)
                taken.append(time.perf_counter() - started)
            return taken

        def store_block() -> list[float]:
            name, taken = stream(), []
            for version in range(NO_STREAM, 199):
                one = new()
                started = time.perf_counter()
                store.append(name, one, expected=version)
                taken.append(time.perf_counter() - started)
            return taken

        alone, ours = in_turns(ROUNDS, plain_block, store_block)
    return Figure(
        "postgres.append_single",
        median(ours) * 1e6,
        "us p50",
        Peer("INSERT and commit, no tree", median(alone) * 1e6),
        Goal("ratio", "<=", 1.5),
    )


def batched(server: postgresql.Server) -> Figure:
    """A hundred events an append, each to a stream of its own, one writer."""
    with opened(server) as (store, plain):

        def ours_block() -> list[float]:
            appends = [(stream(), new(100)) for _ in range(30)]
            taken = timed(
                lambda: [
                    store.append(name, some, expected=NO_STREAM)
                    for name, some in appends
                ]
            )
            return [3000 / taken]

        def plain_block() -> list[float]:
            many = [
                [(at, uuid4(), name, LEAF, DATA, METADATA) for at in range(100)]
                for name in [stream() for _ in range(30)]
            ]

            def insert() -> None:
                for rows in many:
                    with plain.transaction(), plain.cursor() as cursor:
                        cursor.executemany(_INSERT, rows)

            return [3000 / timed(insert)]

        rate, other = in_turns(ROUNDS, ours_block, plain_block)
    return Figure(
        "postgres.append_batched",
        median(rate),
        "events/s",
        Peer("executemany and commit, no tree", median(other)),
        Goal("ratio", ">=", 1),
    )


def together(server: postgresql.Server) -> Iterable[Figure]:
    """Threads that each append one event after the other to a stream of their own."""
    for writers in (8, 32):
        ours, theirs = rivals(server, writers)
        yield Figure(
            f"postgres.{'eight' if writers == 8 else 'concurrent'}_writers",
            median(ours),
            "appends/s",
            Peer("a locked head row each, no group", median(theirs)),
            Goal("ratio", ">=", 1.7),
        )


def rivals(server: postgresql.Server, writers: int) -> Sequence[list[float]]:
    """Return appends a second, in groups and each for itself."""
    each = 960 // writers
    with ExitStack() as stack:
        store, _ = stack.enter_context(opened(server))
        sessions = [
            stack.enter_context(psycopg.connect(server.uri(), autocommit=True))
            for _ in range(writers)
        ]

        def ours_writes() -> Callable[[], None]:
            name, some = stream(), [new() for _ in range(each)]

            def write_all() -> None:
                for version, one in enumerate(some, NO_STREAM):
                    store.append(name, one, expected=version)

            return write_all

        def alone_writes(db: Session) -> Callable[[], None]:
            name = stream()

            def write_all() -> None:
                for at in range(each):
                    with db.transaction():
                        db.execute("select size from plain_head for update")
                        db.execute(_INSERT, (at, uuid4(), name, LEAF, DATA, METADATA))
                        db.execute("update plain_head set size = size + 1")

            return write_all

        return in_turns(
            5,
            lambda: [960 / in_threads([ours_writes() for _ in range(writers)])],
            lambda: [960 / in_threads([alone_writes(db) for db in sessions])],
        )


def two_stores(server: postgresql.Server) -> Figure:
    """Two processes that write as fast as they can: the slower one's share."""
    shares = []
    for _ in range(3):
        url = server.uri(schema=f"two_{uuid4().hex[:8]}")
        PostgresStore(url).close()
        start = time.time() + 1.5
        writers = [
            subprocess.Popen(
                [*_SELF, "write", url, str(start), str(start + 1.5)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        wrote = [int(writer.communicate()[0]) for writer in writers]
        shares.append(min(wrote) / max(wrote))
    return Figure(
        "postgres.two_processes",
        median(shares),
        "slower/faster",
        goal=Goal("value", ">=", 0.9),
    )


_SELF: Final = (sys.executable, "-m", "tests.bench.store_postgres")


def write(url: str, start: str, end: str) -> None:
    made = 0
    with PostgresStore(url) as store:
        name = stream()
        while time.time() < float(start):
            time.sleep(0.001)
        while time.time() < float(end):
            store.append(name, new(), expected=made - 1)
            made += 1
    sys.stdout.write(f"{made}\n")


def delivered(server: postgresql.Server) -> Iterable[Figure]:
    """From the start of an append until a subscriber has the event in its hands."""
    for where, follow in (("", follow_here), ("_across", follow_there)):
        url = server.uri(schema=f"live_{uuid4().hex[:8]}")
        with PostgresStore(url) as store:
            started, finished, arrived = follow(store, url, 600)
        delivery = [b - a for a, b in zip(started, arrived, strict=True)]
        append = [b - a for a, b in zip(started, finished, strict=True)]
        yield Figure(
            f"postgres.live_delivery{where}",
            median(delivery) / 1e3,
            "us p50",
            Peer("append p50", median(append) / 1e3),
            Goal("ratio", "<=", 1.5),
        )
        yield Figure(
            f"postgres.live_delivery{where}_p99",
            percentile(delivery, 99) / 1e3,
            "us p99",
        )


def paced(store: PostgresStore, many: int) -> tuple[list[int], list[int]]:
    """Append one event each 2 ms or so; return when each began and ended."""
    started, finished = [], []
    for version in range(NO_STREAM, many - 1):
        one = new()
        time.sleep(0.002)
        started.append(time.perf_counter_ns())
        store.append("live-bench.1", one, expected=version)
        finished.append(time.perf_counter_ns())
    return started, finished


def follow_here(store: PostgresStore, _: str, many: int) -> tuple[Times, Times, Times]:
    arrived: list[int] = []

    def follow() -> None:
        with store.subscribe() as subscription:
            while len(arrived) < many:
                events = subscription.poll(1).events
                arrived.extend([time.perf_counter_ns()] * len(events))

    follower = threading.Thread(target=follow)
    follower.start()
    time.sleep(0.5)  # until its session listens
    started, finished = paced(store, many)
    follower.join()
    return started, finished, arrived


def follow_there(
    store: PostgresStore, url: str, many: int
) -> tuple[Times, Times, Times]:
    with subprocess.Popen(
        [*_SELF, "follow", url, str(many)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        follower.stdout.readline()  # it listens
        started, finished = paced(store, many)
        arrived = [int(line) for line in follower.stdout]
    return started, finished, arrived


def follow(url: str, many: str) -> None:
    arrived: list[int] = []
    with PostgresStore(url) as store, store.subscribe() as subscription:
        subscription.poll(0.5)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        while len(arrived) < int(many):
            events = subscription.poll(1).events
            arrived.extend([time.perf_counter_ns()] * len(events))
    sys.stdout.write("".join(f"{at}\n" for at in arrived))


def replayed(server: postgresql.Server) -> Figure:
    """Fifty thousand events into objects, beside the same rows fetched in pages."""
    with opened(server) as (store, plain):
        for _ in range(500):
            store.append(stream(), new(100), expected=NO_STREAM)
        plain.execute(f"set search_path = {store.address.schema}".encode())

        def ours_block() -> list[float]:
            return [50_000 / timed(lambda: sum(1 for _ in store.read_all()))]

        def rows_block() -> list[float]:
            def fetch() -> None:
                after = -1
                while rows := plain.execute(
                    """
                    select position, stream, version, uuid_send(id), name,
                           schema_version, recorded_at, data, metadata
                    from event where position > %b order by position limit 1024
                    """,
                    (after,),
                    binary=True,
                ).fetchall():
                    after = rows[-1][0]

            return [50_000 / timed(fetch)]

        rate, rows = in_turns(5, ours_block, rows_block)
    return Figure(
        "postgres.replay",
        median(rate),
        "events/s",
        Peer("PostgreSQL's own rows", median(rows)),
        Goal("value", ">=", 200_000),
    )


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:])
    else:
        follow(*sys.argv[2:])
