"""Views as of a moment, and rebuilt: beside PyPI's model-ledger on its SQLite backend.

Both hold the same portfolio: a thousand models, a hundred thousand events. The question
is the whole inventory as it was known half way; ours is answered with the rows as they
stood then, theirs with the models that existed.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Final
from uuid import uuid4

import apsw
from model_ledger import Ledger as TheirLedger
from model_ledger import Snapshot
from tests.bench.harness import Figure, Goal, Peer, in_turns
from tests.bench.portfolio import (
    MODELS,
    STARTED,
    TENANT,
    VIEWS,
    Registered,
    WindowClosed,
    fill,
    models,
)

from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.events.base import Event
from modelkeep.ledger import Ledger, Order, body_hash, stream_name
from modelkeep.proof.note import SigningKey
from modelkeep.store.sqlite import SqliteStore
from modelkeep.viewset import ViewSet

EVENTS: Final = 100_000
REBUILT: Final = 1_000_000
ROUNDS: Final = 7
RECORDS: Final = 200
PEER: Final = "model-ledger, SQLite"
ROOT: Final = Path(__file__).parents[2]


def figures(folder: Path) -> Iterable[Figure]:
    yield from beside_model_ledger(folder)
    yield from rebuilt(folder)


def beside_model_ledger(folder: Path) -> Iterable[Figure]:
    theirs = TheirLedger.from_sqlite(str(folder / "theirs.db"))
    half = _their_portfolio(theirs)
    with SqliteStore(folder / "ours.db") as store:
        last = fill(store, EVENTS)
        middle = STARTED + (last - STARTED) / 2
        with ViewSet("bench", VIEWS, store, folder / "views.db") as views:
            views.catch_up()

            def our_inventory() -> Iterable[float]:
                started = time.perf_counter()
                with views.reader(TENANT) as read:
                    found = read.at(read.when(middle)).scan(models)
                yield (time.perf_counter() - started) * 1e3
                _expect(len(found))

            def their_inventory() -> Iterable[float]:
                started = time.perf_counter()
                found = theirs.inventory_at(half)
                yield (time.perf_counter() - started) * 1e3
                _expect(len(found))

            ours, other = in_turns(ROUNDS, our_inventory, their_inventory)
        yield Figure(
            "views.as_of",
            median(ours),
            "ms",
            Peer(PEER, median(other)),
            Goal("value", "<=", 50),
        )
        with Ledger(store, signer=SigningKey.generate("bench-writer")) as ledger:
            recorded, noted = in_turns(
                ROUNDS, lambda: _our_records(ledger), lambda: _their_records(theirs)
            )
    yield Figure(
        "ledger.record", median(recorded), "records/s", Peer(PEER, median(noted))
    )


def _expect(found: int) -> None:
    if found != MODELS:
        raise AssertionError(f"{found} of {MODELS} models were found")


# --- their side ---------------------------------------------------------------------


def _their_portfolio(theirs: TheirLedger) -> datetime:
    """Register the models, give each its events; return the moment half way."""
    backend = theirs.backend
    now = datetime.now(UTC)
    for at in range(MODELS):
        theirs.register(
            name=f"model-{at}",
            owner="owner",
            model_type="ml_model",
            tier="high",
            purpose="to decide what would otherwise be decided slowly and unevenly",
        )
    each = EVENTS // MODELS - 1  # registering was one
    for model in theirs.list():
        for at in range(1, each + 1):
            backend.append_snapshot(
                Snapshot(
                    model_hash=model.model_hash,
                    actor="bench",
                    event_type="window_closed",
                    payload=_payload(),
                    timestamp=now + timedelta(seconds=31 * at),
                )
            )
    return now + timedelta(seconds=31 * each / 2)


def _payload() -> dict[str, object]:
    return {"feature": "feature-1", "rows": 5_000, "psi": 0.1, "threshold": 0.2}


def _their_records(theirs: TheirLedger) -> Iterable[float]:
    started = time.perf_counter()
    for at in range(RECORDS):
        theirs.record(
            f"model-{at}", event="window_closed", actor="bench", payload=_payload()
        )
    yield RECORDS / (time.perf_counter() - started)


# --- our side -----------------------------------------------------------------------


class CloseWindow(Command):
    model: str
    psi: float


def _close(command: CloseWindow, _: int, __: Context) -> list[WindowClosed]:
    return [
        WindowClosed(
            model=command.model,
            version="v1",
            feature="feature-1",
            rows=5_000,
            psi=command.psi,
            threshold=0.2,
        )
    ]


def _count(windows: int, event: Event) -> int:
    return windows + (not isinstance(event, Registered))


WINDOWS: Final = decider(0, _close, _count)
BENCH: Final = Actor("bench", "bench", frozenset({"engineer"}), TENANT)


def _our_records(ledger: Ledger) -> Iterable[float]:
    started = time.perf_counter()
    for at in range(RECORDS):
        now = datetime.now(UTC)
        command = CloseWindow(model=f"model-{at}", psi=Random(at).random())  # noqa: S311  # not a secret
        context = Context(BENCH, now, now, str(uuid4()))
        stream = stream_name("bench", TENANT, command.model)
        ledger.execute(Order(stream, WINDOWS, command, context, body_hash(command)))
    yield RECORDS / (time.perf_counter() - started)


# --- rebuild ------------------------------------------------------------------------


def rebuilt(folder: Path) -> Iterable[Figure]:
    """A million events into a fresh file, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.views", str(folder), str(REBUILT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, worked, rows, megabytes = map(float, done.stdout.split())
    yield Figure("views.rebuild", seconds, "s", goal=Goal("value", "<=", 60))
    yield Figure("views.rebuild_cpu", worked, "s of processor")
    yield Figure("views.rebuild_history", rows, "rows/event")
    yield Figure("views.rebuild_memory", megabytes, "MiB at most")


def rebuild(folder: Path, events: int) -> None:
    path = folder / "rebuilt.db"
    with SqliteStore(folder / "million.db") as store:
        fill(store, events)
        with ViewSet("bench", VIEWS, store, path) as views:
            started, idle = time.perf_counter(), time.process_time()
            views.rebuild()
            seconds = time.perf_counter() - started
            worked = time.process_time() - idle
    connection = apsw.Connection(str(path))
    rows = connection.execute("select count(*) from history").get / events
    connection.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{seconds} {worked} {rows} {peak}\n")


if __name__ == "__main__":
    rebuild(Path(sys.argv[1]), int(sys.argv[2]))
