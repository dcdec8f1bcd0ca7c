"""What an open window takes in memory: models of 50 features, two windows each.

Everything is what a server has: recorded batches, their index, ids and rows on the
shelf, layouts, counts. `python -m tests.bench.monitoring_memory 10000` asks for as many
models as the promise names.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Final, cast
from uuid import uuid4

import numpy as np
from tests.bench.harness import Figure, Goal

from modelkeep.decider import Actor
from modelkeep.decisions.matrix import Decisions, Numbers, Words
from modelkeep.decisions.rows import Schema
from modelkeep.events.monitoring import MonitorConfigured
from modelkeep.home import Home
from modelkeep.ledger import Ledger
from modelkeep.sdk.uuid7 import mint
from modelkeep.service import Call
from modelkeep.stats.profile import Baseline
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.monitoring.book import Books
from modelkeep_services.monitoring.known import Known
from modelkeep_services.monitoring.open_windows import windows_of
from modelkeep_services.monitoring.record import part, ready, record
from modelkeep_services.monitoring.windows import Reference

MODELS: Final = 200
PROMISED: Final = 10_000
FEATURES: Final = tuple(f"f{at:02}" for at in range(50))
ROWS: Final = 40
OPEN: Final = 2
START: Final = datetime(2024, 1, 5, tzinfo=UTC)


def figures(folder: Path) -> Iterable[Figure]:
    yield from measured(folder, MODELS)


def measured(folder: Path, models: int) -> Iterator[Figure]:
    with calling(folder) as (books, call):
        _open(books, call, "warm-up", 0)
        gc.collect()
        before = resident()
        for number in range(models):
            _open(books, call, f"m{number}", number)
        gc.collect()
        taken = resident() - before
        windows = sum(
            len(windows_of(books.of("main", f"m{number}"))) for number in range(models)
        )
    if windows != models * OPEN:
        raise AssertionError(f"{windows} windows are open")
    each = taken / models
    yield Figure("monitoring.memory_a_model", each / 1024, "KiB")
    per_feature = each / OPEN / len(FEATURES) / 1024
    yield Figure("monitoring.memory_a_feature_and_window", per_feature, "KiB")
    yield Figure(
        f"monitoring.memory_of_{models}_models",
        taken / 2**20,
        "MiB",
        goal=_goal(models),
    )


def _goal(models: int) -> Goal | None:
    return Goal("value", "<=", 4_096) if models >= PROMISED else None


def resident() -> int:
    """Return the bytes of this process that are in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def calling(folder: Path) -> Iterator[tuple[Books, Call]]:
    with SqliteStore(folder / "ledger.db") as store, Ledger(store) as ledger:
        home = Home(folder)
        call = SimpleNamespace(
            actor=Actor("bench", "bench", frozenset(), "main"),
            host=SimpleNamespace(home=home),
            now=lambda: datetime.now(UTC),
            execute=ledger.execute,
        )
        yield Books(store, home.decisions), cast("Call", call)


def _open(books: Books, call: Call, model: str, seed: int) -> None:
    """Log rows of two hours, each model under a baseline of its own."""
    rng = np.random.default_rng(seed)
    fitted = Baseline.fit(
        {name: rng.normal(size=500) for name in FEATURES}, scores=rng.random(500)
    )
    known = Known(
        deployed=True,
        uses=(),
        boundaries=(),
        contract=None,
        reference=Reference("b", fitted.to_json().decode(), 0.5, ()),
        monitor=MonitorConfigured(model=model, cadence_hours=1.0, anchor=START),
    )
    rows = _rows(model, rng)
    given = part(str(uuid4()), rows, known, ())
    record(books.of("main", model), call, ready(call, [given]))


def _rows(model: str, rng: np.random.Generator) -> Decisions:
    nanos = int(START.timestamp()) * 10**9
    ids = b"".join(mint(nanos)[0] for _ in range(ROWS))
    every = OPEN * timedelta(hours=1) // ROWS // timedelta(microseconds=1)
    micros = int(START.timestamp()) * 1_000_000
    whole = np.ones(ROWS, dtype=np.bool_)
    columns = tuple((name, "f64") for name in FEATURES)
    return Decisions(
        schema=Schema(model, "v1", "prod", "", columns),
        ids=np.frombuffer(ids, np.uint8).reshape(ROWS, 16),
        times=micros + every * np.arange(ROWS, dtype=np.int64),
        scores=rng.random(ROWS),
        latency_ms=rng.random(ROWS) * 10,
        explained=np.full(ROWS, 2, dtype=np.uint8),
        reason_codes=np.full(ROWS, 2, dtype=np.uint8),
        references=Words(np.full(ROWS, -1, np.int32), ()),
        columns=tuple(Numbers(rng.normal(size=ROWS), whole) for _ in FEATURES),
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for figure in measured(Path(folder), int(sys.argv[1])):
            sys.stdout.write(f"{figure}\n")


if __name__ == "__main__":
    main()
