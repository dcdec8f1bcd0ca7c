"""Writers and servers that die: what PostgreSQL acknowledged is there, and once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from tests.faults.killed_writer import marked
from tests.faults.test_store_kill import check_said, check_whole
from tests.servers import postgresql

from modelkeep.store.port import ANY, NO_STREAM, Recorded

pytestmark = pytest.mark.skipif(
    bool(postgresql.absent()), reason=postgresql.absent() or "-"
)
if not postgresql.absent():
    import psycopg

    from modelkeep.store.postgres import PostgresStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[postgresql.Server]:
    """One of our own: it is killed."""
    found = postgresql.programs()
    assert found is not None
    with postgresql.Server(found) as server:
        yield server


@pytest.fixture
def url(server: postgresql.Server) -> str:
    return server.uri(schema=f"killed_{uuid4().hex[:16]}")


def writer(url: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killed_writer", url],
        cwd=ROOT,
        stdout=stdout,
        text=True,
    )


def killed(process: subprocess.Popen[str], said: list[str]) -> list[str]:
    """Kill it; return with what it said before all that it was acknowledged."""
    assert process.stdout is not None
    with process.stdout:
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    assert process.wait() == -signal.SIGKILL
    return [line for line in said if line.endswith("\n")]


def lines(process: subprocess.Popen[str], many: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(many)]


def await_nobody(server: postgresql.Server) -> None:
    """Wait until the sessions of those who died have ended what they were about."""
    with psycopg.connect(server.uri(), autocommit=True) as db:
        for _ in range(3_000):
            row = db.execute(
                """
                select count(*) from pg_stat_activity
                where application_name = 'modelkeep'
                """
            ).fetchone()
            if row == (0,):
                return
            time.sleep(0.01)
    pytest.fail("a session outlives its client")


def kill_writers(server: postgresql.Server, url: str, rounds: int) -> None:
    chance = random.Random(20130101)  # noqa: S311, a seed to repeat it with
    said: list[str] = []
    # One that lives on beside those that die: no lock may stay behind.
    with PostgresStore(url) as beside:
        for _ in range(rounds):
            process = writer(url)
            now = killed(process, lines(process, chance.randrange(1, 60)))
            beside.append(f"beside-{uuid4().hex}.1", marked(3), expected=NO_STREAM)
            check_said(beside, now)
            said += now
    await_nobody(server)
    with PostgresStore(url) as store:
        check_said(store, said)
        check_whole(store)


def kill_servers(server: postgresql.Server, url: str, rounds: int) -> None:
    """The writer lives on, waits, and goes on: nobody tells it that it must."""
    chance = random.Random(20131231)  # noqa: S311, a seed to repeat it with
    process = writer(url)
    said: list[str] = []
    try:
        for _ in range(rounds):
            said += lines(process, chance.randrange(1, 80))
            server.kill()
            server.start()
            said += lines(process, 5)
    finally:
        said = killed(process, said)
    await_nobody(server)
    with PostgresStore(url) as store:
        check_said(store, said)
        check_whole(store)


def test_three_killed_writers_lose_nothing_and_write_nothing_twice(
    server: postgresql.Server, url: str
) -> None:
    kill_writers(server, url, 3)


@pytest.mark.slow
def test_a_hundred_killed_writers_lose_nothing_and_write_nothing_twice(
    server: postgresql.Server, url: str
) -> None:
    kill_writers(server, url, 100)


def test_two_kills_of_the_server_lose_nothing_and_write_nothing_twice(
    server: postgresql.Server, url: str
) -> None:
    kill_servers(server, url, 2)


@pytest.mark.slow
def test_fifty_kills_of_the_server_lose_nothing_and_write_nothing_twice(
    server: postgresql.Server, url: str
) -> None:
    kill_servers(server, url, 50)


def write_until(store: PostgresStore, done: threading.Event) -> list[bytes]:
    """Append without a version, which only an exact answer writes once."""
    written: list[bytes] = []
    while not done.is_set():
        new = marked(2)
        store.append("cut-faults.1", new, expected=ANY)
        written += [one.id.bytes for one in new]
    return written


def disturbed(
    url: str, disturb: Callable[[], None], times: int
) -> tuple[list[Recorded], set[bytes]]:
    """Let four threads of two stores append while somebody disturbs them."""
    done = threading.Event()
    with (
        PostgresStore(url, timeout=30, patience=60) as one,
        PostgresStore(url, timeout=30, patience=60) as two,
        ThreadPoolExecutor(4) as pool,
    ):
        runs = [pool.submit(write_until, store, done) for store in (one, two) * 2]
        try:
            for _ in range(times):
                time.sleep(0.05)
                disturb()
        finally:
            done.set()
        acknowledged = {id_ for run in runs for id_ in run.result()}
        check_whole(one)
        return list(one.read_all()), acknowledged


def test_sessions_that_are_cut_lose_nothing_and_write_nothing_twice(
    server: postgresql.Server, url: str
) -> None:
    with psycopg.connect(server.uri(), autocommit=True) as operator:

        def cut() -> None:
            operator.execute(
                """
                select pg_terminate_backend(pid) from pg_stat_activity
                where application_name = 'modelkeep'
                """
            )

        log, acknowledged = disturbed(url, cut, 8)
    assert {one.id for one in log} == acknowledged
    assert len(log) == len(acknowledged)


def test_a_server_that_starts_again_is_waited_for(
    server: postgresql.Server, url: str
) -> None:
    def restart() -> None:
        server.stop()
        server.start()

    log, acknowledged = disturbed(url, restart, 2)
    assert {one.id for one in log} == acknowledged
    assert len(log) == len(acknowledged)


def follow_writers(url: str, writers: int, events: int) -> None:
    """What commits late stands late: who follows by position misses nothing."""
    with PostgresStore(url) as store, store.subscribe() as subscription:
        # What they say goes nowhere: into a pipe that nobody reads, they would stop.
        processes = [writer(url, subprocess.DEVNULL) for _ in range(writers)]
        seen: list[Recorded] = []
        while len(seen) < events:
            seen += subscription.poll(5).events
        for process in processes:
            process.kill()
            process.wait()
        head = store.head()
        while seen[-1].position < head:
            seen += subscription.poll(5).events
        # A session may have finished its last commit after its client had died.
        assert seen == list(store.read_all(limit=len(seen)))
        assert [one.position for one in seen] == [*range(0, 10 * len(seen), 10)]


def test_a_subscriber_of_two_writing_processes_misses_nothing(url: str) -> None:
    follow_writers(url, 2, 2_000)


@pytest.mark.slow
def test_a_subscriber_of_six_writing_processes_misses_nothing(url: str) -> None:
    follow_writers(url, 6, 30_000)
