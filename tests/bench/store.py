"""How fast the embedded store is, beside the disk and the `eventsourcing` library."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID, uuid4

import apsw
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
from tests.bench.harness import Figure, Goal, Peer, in_turns, percentile

from modelkeep.store.port import NO_STREAM, NewEvent
from modelkeep.store.sqlite import SqliteStore

DATA: Final = b'{"model":"fraud","note":"' + b"x" * 373 + b'"}'
METADATA: Final = b'{"schema_version":"1","tenant":"' + b"y" * 119 + b'"}'
EVENT_BYTES: Final = len(DATA) + len(METADATA)
ROOT: Final = Path(__file__).parents[2]
ROUNDS: Final = 7


def new(many: int = 1) -> list[NewEvent]:
    return [NewEvent(uuid4(), "bench.written", 1, DATA, METADATA) for _ in range(many)]


def stream() -> str:
    return f"bench-{uuid4().hex}.1"


def timed(what: Callable[[], object]) -> float:
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def figures(folder: Path) -> Iterable[Figure]:
    yield single(folder)
    yield batched(folder)
    yield from together(folder)
    yield two_processes(folder)
    yield from delivered(folder)
    yield replayed(folder)


def single(folder: Path) -> Figure:
    """One event an append, one writer: against writing as many bytes to a log file."""
    raw = os.open(folder / "raw.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    block = b"z" * EVENT_BYTES
    with SqliteStore(folder / "single.db") as store:

        def append_raw() -> None:
            os.write(raw, block)
            os.fdatasync(raw)

        def raw_block() -> list[float]:
            return [timed(append_raw) for _ in range(200)]

        def store_block() -> list[float]:
            name, taken = stream(), []
            for version in range(NO_STREAM, 199):
                one = new()
                started = time.perf_counter()
                store.append(name, one, expected=version)
                taken.append(time.perf_counter() - started)
            return taken

        alone, ours = in_turns(ROUNDS, raw_block, store_block)
    os.close(raw)
    return Figure(
        "store.append_single",
        median(ours) * 1e6,
        "us p50",
        Peer("raw write+fdatasync", median(alone) * 1e6),
        Goal("ratio", "<=", 2),
    )


def batched(folder: Path) -> Figure:
    """A hundred events an append, each to a stream of its own, one writer."""
    with (
        SqliteStore(folder / "batched.db") as store,
        recorder(folder / "peer1.db") as (theirs),
    ):

        def ours_block() -> list[float]:
            appends = [(stream(), new(100)) for _ in range(60)]
            taken = timed(
                lambda: [
                    store.append(name, some, expected=NO_STREAM)
                    for name, some in appends
                ]
            )
            return [6000 / taken]

        def theirs_block() -> list[float]:
            appends = [stored(uuid4(), 100) for _ in range(60)]
            taken = timed(lambda: [theirs.insert_events(some) for some in appends])
            return [6000 / taken]

        rate, other = in_turns(ROUNDS, ours_block, theirs_block)
    return Figure(
        "store.append_batched",
        median(rate),
        "events/s",
        Peer("eventsourcing SQLite, no Merkle tree", median(other)),
        Goal("value", ">=", 30_000),
    )


def together(folder: Path) -> Iterable[Figure]:
    """Threads that each append one event after the other to a stream of their own."""
    for writers in (8, 32):
        ours, theirs = rivals(folder, writers)
        peer = Peer("eventsourcing SQLite", median(theirs))
        if writers == 8:
            yield Figure("store.eight_writers", median(ours), "appends/s", peer)
        else:
            goal = Goal("ratio", ">=", 4)
            yield Figure(
                "store.concurrent_writers", median(ours), "appends/s", peer, goal
            )


def rivals(folder: Path, writers: int) -> Sequence[list[float]]:
    """Return appends a second, of the store and of the library's recorder."""
    each = 1600 // writers
    with (
        SqliteStore(folder / f"together{writers}.db") as store,
        recorder(folder / f"peer{writers}.db") as theirs,
    ):

        def ours_writes() -> Callable[[], None]:
            name, some = stream(), [new() for _ in range(each)]

            def write_all() -> None:
                for version, one in enumerate(some, NO_STREAM):
                    store.append(name, one, expected=version)

            return write_all

        def theirs_writes() -> Callable[[], None]:
            origin = uuid4()
            some = [stored(origin, 1, version) for version in range(each)]

            def write_all() -> None:
                for one in some:
                    theirs.insert_events(one)

            return write_all

        return in_turns(
            ROUNDS,
            lambda: [1600 / in_threads([ours_writes() for _ in range(writers)])],
            lambda: [1600 / in_threads([theirs_writes() for _ in range(writers)])],
        )


def in_threads(works: Sequence[Callable[[], None]]) -> float:
    """Return the seconds from the moment all may start until all are done."""
    gate = threading.Barrier(len(works) + 1)

    def waiting(work: Callable[[], None]) -> None:
        gate.wait()
        work()

    threads = [threading.Thread(target=waiting, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    gate.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def stored(origin: UUID, many: int, first: int = 0) -> list[StoredEvent]:
    state = DATA + METADATA  # it has no column for metadata
    return [
        StoredEvent(origin, version, "bench.written", state)
        for version in range(first, first + many)
    ]


class recorder:  # noqa: N801, read as a verb
    """The library's recorder, on a file of its own."""

    def __init__(self, path: Path) -> None:
        self._datastore = SQLiteDatastore(str(path), pool_size=40)

    def __enter__(self) -> SQLiteApplicationRecorder:
        theirs = SQLiteApplicationRecorder(self._datastore)
        theirs.create_table()
        return theirs

    def __exit__(self, *_: object) -> None:
        self._datastore.close()


def two_processes(folder: Path) -> Figure:
    """Two processes that write as fast as they can: the slower one's share."""
    shares = []
    for turn in range(3):
        ledger = folder / f"two{turn}.db"
        with SqliteStore(ledger):
            start = time.time() + 1
            command = [sys.executable, "-m", "tests.bench.store", "write"]
            writers = [
                subprocess.Popen(
                    [*command, str(ledger), str(start), str(start + 1.5)],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(2)
            ]
            wrote = [int(writer.communicate()[0]) for writer in writers]
        shares.append(min(wrote) / max(wrote))
    return Figure(
        "store.two_processes",
        median(shares),
        "slower/faster",
        goal=Goal("value", ">=", 0.9),
    )


def write(ledger: str, start: str, end: str) -> None:
    with SqliteStore(ledger) as store:
        name = stream()
        while time.time() < float(start):
            time.sleep(0.001)
        for version in count(NO_STREAM):
            if time.time() > float(end):
                break
            store.append(name, new(), expected=version)
    sys.stdout.write(f"{version + 1}\n")


def delivered(folder: Path) -> Iterable[Figure]:
    """From the start of an append until a subscriber has the event in its hands."""
    for where, follow in (("", follow_here), ("_across", follow_there)):
        with SqliteStore(folder / f"live{where}.db") as store:
            started, finished, arrived = follow(store, 1000)
        delivery = [b - a for a, b in zip(started, arrived, strict=True)]
        append = [b - a for a, b in zip(started, finished, strict=True)]
        yield Figure(
            f"store.live_delivery{where}",
            median(delivery) / 1e3,
            "us p50",
            Peer("append p50", median(append) / 1e3),
            Goal("ratio", "<=", 1.5),
        )
        yield Figure(
            f"store.live_delivery{where}_p99", percentile(delivery, 99) / 1e3, "us p99"
        )


Times = Sequence[int]


def paced(store: SqliteStore, many: int) -> tuple[list[int], list[int]]:
    """Append one event each 2 ms or so; return when each began and ended."""
    started, finished = [], []
    for version in range(NO_STREAM, many - 1):
        one = new()
        time.sleep(0.002)
        started.append(time.perf_counter_ns())
        store.append("live-bench.1", one, expected=version)
        finished.append(time.perf_counter_ns())
    return started, finished


def follow_here(store: SqliteStore, many: int) -> tuple[Times, Times, Times]:
    arrived: list[int] = []

    def follow() -> None:
        with store.subscribe() as subscription:
            while len(arrived) < many:
                events = subscription.poll(1).events
                arrived.extend([time.perf_counter_ns()] * len(events))

    follower = threading.Thread(target=follow)
    follower.start()
    started, finished = paced(store, many)
    follower.join()
    return started, finished, arrived


def follow_there(store: SqliteStore, many: int) -> tuple[Times, Times, Times]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.store", "follow", store.path, str(many)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        follower.stdout.readline()  # it listens
        started, finished = paced(store, many)
        arrived = [int(line) for line in follower.stdout]
    return started, finished, arrived


def follow(ledger: str, many: str) -> None:
    arrived: list[int] = []
    with SqliteStore(ledger) as store, store.subscribe() as subscription:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        while len(arrived) < int(many):
            events = subscription.poll(1).events
            arrived.extend([time.perf_counter_ns()] * len(events))
    sys.stdout.write("".join(f"{at}\n" for at in arrived))


def replayed(folder: Path) -> Figure:
    """A hundred thousand events into objects, beside SQLite's own rows."""
    with SqliteStore(folder / "replay.db") as store:
        for _ in range(1000):
            store.append(stream(), new(100), expected=NO_STREAM)
        with closing(apsw.Connection(str(store.path))) as raw:

            def ours_block() -> list[float]:
                taken = timed(lambda: sum(1 for _ in store.read_all()))
                return [100_000 / taken]

            def raw_block() -> list[float]:
                taken = timed(
                    lambda: sum(
                        1
                        for _ in raw.execute(
                            """
                            select position, sid, version, id, nid, schema_version,
                                   recorded_at, data, metadata
                            from event order by position
                            """
                        )
                    )
                )
                return [100_000 / taken]

            rate, rows = in_turns(5, ours_block, raw_block)
    return Figure(
        "store.replay",
        median(rate),
        "events/s",
        Peer("SQLite's own rows", median(rows)),
        Goal("value", ">=", 200_000),
    )


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:])
    else:
        follow(*sys.argv[2:])
