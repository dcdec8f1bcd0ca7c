"""What closing a window of 25 features costs, in CPU time, whatever its rows.

`close_statistics` is drift, missing rates and latency from the state that stands: of 25
numeric columns, and of twenty and five of categories (`_mixed`), each at the median and
at the 95th percentile; `close_distances` is every distance as well, with fine cells;
`close_figures` all that an event says, its profile as JSON too, before it is appended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import numpy as np
from tests.bench.harness import Figure, Goal, percentile
from tests.bench.monitoring_memory import calling
from tests.bench.monitoring_server import FEATURES
from tests.bench.stats import frame

from modelkeep.decisions.matrix import Decisions, Numbers, Words
from modelkeep.decisions.rows import Schema
from modelkeep.events.monitoring import MonitorConfigured, Thresholds
from modelkeep.stats import latency
from modelkeep.stats.comparison import compare
from modelkeep.stats.drift import drift
from modelkeep.stats.fine import FineBaseline
from modelkeep.stats.missing import missing_rates
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import PsiDocument
from modelkeep_services.monitoring.arrays import micros
from modelkeep_services.monitoring.known import Known
from modelkeep_services.monitoring.open_windows import Span, windows_of
from modelkeep_services.monitoring.record import part, ready, record
from modelkeep_services.monitoring.windows import (
    Question,
    Reference,
    answer,
    basis_of,
)

START: Final = datetime(2024, 1, 5, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
MONITOR: Final = MonitorConfigured(model="late", cadence_hours=1.0, anchor=START)
BATCH: Final = 10_000
BATCHES: Final = (1, 40)
ROUNDS: Final = 200


def figures(folder: Path) -> Iterable[Figure]:
    rng = np.random.default_rng(1)
    fitted = Baseline.fit(
        {name: rng.normal(size=4_000) for name in FEATURES}, scores=rng.random(4_000)
    )
    reference = Reference("b", fitted.to_json().decode(), 0.5, ())
    known = Known(
        deployed=True,
        uses=(),
        boundaries=(),
        contract=None,
        reference=reference,
        monitor=MONITOR,
    )
    with calling(folder) as (books, call):
        book, rows, asked = books.of("main", "late"), 0, _question(reference)
        for batches in BATCHES:
            for _ in range(batches):
                given = part(str(uuid4()), _rows(rng), known, ())
                record(book, call, ready(call, [given]))
                rows += BATCH
            whole = _cpu(lambda: answer(book, asked))
            if answer(book, asked).figures.rows != rows:
                raise AssertionError("rows are missing")
            yield Figure(f"monitoring.close_figures_{rows}_rows", whole, "us")
    span = Span("v1", "prod", micros(START), micros(START + HOUR))
    window = windows_of(book).window(span, asked.basis).total.profile
    yield from _figures("close_statistics", _statistics(reference.baseline, window))
    yield from _mixed(rng)


def _mixed(rng: np.random.Generator) -> Iterator[Figure]:
    before, after = frame(1, 100_000), frame(2, BATCH)
    baseline = Baseline.fit(before, scores=rng.random(100_000))
    fine, document = FineBaseline.fit(before), PsiDocument("bench")
    window = baseline.profile(after, rng.random(BATCH), rng.random(BATCH) * 10)
    cells, statistics = fine.profile(after), _statistics(baseline, window)
    yield from _figures("close_statistics_mixed", statistics)

    def distances() -> None:
        statistics()
        # a copy has nothing worked out yet
        compare(baseline, window, document, (fine, replace(cells)))

    yield from _figures("close_distances", distances)


def _statistics(baseline: Baseline, window: Profile) -> Callable[[], None]:
    document = PsiDocument("bench")

    def statistics() -> None:
        drift(baseline, window, document)
        missing_rates(baseline, window)
        latency.quantiles(window.latency, (0.5, 0.95, 0.99))

    return statistics


def _figures(name: str, work: Callable[[], object]) -> Iterator[Figure]:
    taken, goal = _samples(work), Goal("value", "<=", 250)
    yield Figure(f"monitoring.{name}", median(taken), "us", goal=goal)
    yield Figure(f"monitoring.{name}_p95", percentile(taken, 95), "us", goal=goal)


def _cpu(work: Callable[[], object]) -> float:
    return median(_samples(work))


def _samples(work: Callable[[], object]) -> list[float]:
    """Return microseconds of this process's own time; the first round is a warm-up."""
    taken = []
    for _ in range(ROUNDS + 1):
        started = time.process_time()
        work()
        taken.append((time.process_time() - started) * 1e6)
    return taken[1:]


def _question(reference: Reference) -> Question:
    return Question(
        version="v1",
        environment="prod",
        start=START,
        end=START + HOUR,
        now=START + 2 * HOUR,
        maturity_hours=0.0,
        reference=reference,
        limits=Thresholds(),
        slas={},
        basis=basis_of(reference, MONITOR),
    )


def _rows(rng: np.random.Generator) -> Decisions:
    whole = np.ones(BATCH, dtype=np.bool_)
    return Decisions(
        schema=Schema("late", "v1", "prod", "", tuple((n, "f64") for n in FEATURES)),
        ids=rng.integers(0, 256, (BATCH, 16)).astype(np.uint8),
        times=micros(START) + rng.integers(0, 3_600_000_000, BATCH),
        scores=rng.random(BATCH),
        latency_ms=rng.random(BATCH) * 10,
        explained=np.full(BATCH, 2, dtype=np.uint8),
        reason_codes=np.full(BATCH, 2, dtype=np.uint8),
        references=Words(np.full(BATCH, -1, np.int32), ()),
        columns=tuple(Numbers(rng.normal(size=BATCH), whole) for _ in FEATURES),
    )
