"""A window's state: the same whatever the split and order, and as if counted by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import uuid5

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelkeep.decider import Actor
from modelkeep.decisions.matrix import Decisions, Numbers, Words
from modelkeep.decisions.rows import NEVER, Schema
from modelkeep.events.monitoring import MonitorConfigured, Thresholds
from modelkeep.home import Home
from modelkeep.ledger import COMMAND_IDS, Ledger
from modelkeep.service import Call
from modelkeep.stats.performance import performance
from modelkeep.stats.profile import Baseline
from modelkeep.stats.scores import outcome_table
from modelkeep.store.port import Store
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.monitoring.arrays import micros, numbers_of
from modelkeep_services.monitoring.book import Book, Shelves
from modelkeep_services.monitoring.known import Known
from modelkeep_services.monitoring.objects import Outcomes
from modelkeep_services.monitoring.record import part, ready, record, record_outcomes
from modelkeep_services.monitoring.shelf import Shelf
from modelkeep_services.monitoring.windows import (
    Answer,
    Question,
    Reference,
    answer,
    basis_of,
    counts,
    estimates,
    rows_between,
)

DAY = datetime(2024, 1, 5, tzinfo=UTC)
LATER = DAY + timedelta(days=30)
HOURS = 3
ACTOR = Actor("tests", "eve", frozenset(), "main")
NUMBERS = count()
MONITOR = MonitorConfigured(model="m", cadence_hours=1.0, anchor=DAY)
LIMITS = Thresholds(latency_p95_ms=5.0)


def reference() -> Reference:
    rng = np.random.default_rng(7)
    fitted = Baseline.fit(
        {"x": rng.normal(size=400), "y": rng.normal(size=400)},
        scores=rng.random(400),
    )
    return Reference("spring", fitted.to_json().decode(), 0.5, ())


REFERENCE = reference()
KNOWN = Known(
    deployed=True,
    uses=(),
    boundaries=(),
    contract=None,
    reference=REFERENCE,
    monitor=MONITOR,
)


@dataclass
class World:
    """Everything that happens to a model; `said` is row, outcome, known at."""

    rows: Decisions
    batches: list[list[int]]
    said: list[list[tuple[int, int, int]]]
    order: list[int]
    """Positions of batches and, after them, of outcome batches."""
    asked: list[int]
    """After so many steps somebody asks."""
    restart: int
    """After so many the process is another one."""


@st.composite
def worlds(draw: st.DrawFn) -> World:
    n = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    cuts = draw(st.lists(st.integers(0, n), max_size=4))
    mixed = rng.permutation(n).tolist()
    ends = sorted({0, n, *cuts})
    batches = [mixed[a:b] for a, b in pairwise(ends)]
    told = draw(st.lists(st.integers(0, n - 1), max_size=40))
    # Known at different times, so that of two words one is the later.
    known = rng.permutation(len(told)) + 1
    words = [
        (row, int(rng.integers(0, 3)), int(at) * 1_000_000)
        for row, at in zip(told, known, strict=True)
    ]
    said: list[list[tuple[int, int, int]]] = []
    for word in words:
        if not said or rng.random() < 0.3 or word[0] in [row for row, *_ in said[-1]]:
            said.append([])
        said[-1].append(word)
    steps = len(batches) + len(said)
    return World(
        decisions(rng, n),
        batches,
        said,
        rng.permutation(steps).tolist(),
        draw(st.lists(st.integers(0, steps), max_size=3)),
        draw(st.integers(0, steps)),
    )


def decisions(rng: np.random.Generator, n: int) -> Decisions:
    names = (("x", "f64"), ("y", "f64"))
    valid = rng.random((2, n)) < 0.9
    return Decisions(
        schema=Schema("m", "v1", "prod", "", names),
        ids=rng.integers(0, 256, (n, 16)).astype(np.uint8),
        times=micros(DAY)
        + (rng.integers(0, HOURS * 60, n) * 60_000_000).astype(np.int64),
        scores=rng.choice([0.0, 0.1, 1 / 3, 0.5, 0.7, 1.0, 1.5], n),
        latency_ms=np.where(rng.random(n) < 0.8, rng.random(n) * 10, np.nan),
        explained=rng.integers(0, 3, n).astype(np.uint8),
        reason_codes=rng.integers(0, 3, n).astype(np.uint8),
        references=Words(np.full(n, -1, np.int32), ()),
        columns=tuple(Numbers(rng.normal(size=n), one) for one in valid),
    )


def some(rows: Decisions, kept: list[int], model: str) -> Decisions:
    schema = Schema(model, *rows.schema[1:])
    return Decisions(
        schema=schema,
        ids=rows.ids[kept],
        times=rows.times[kept],
        scores=rows.scores[kept],
        latency_ms=rows.latency_ms[kept],
        explained=rows.explained[kept],
        reason_codes=rows.reason_codes[kept],
        references=Words(rows.references.codes[kept], ()),
        columns=tuple(
            Numbers(column.values[kept], column.valid[kept])
            for column in rows.columns
            if isinstance(column, Numbers)
        ),
    )


class Place:
    """A ledger and a folder; every book of it is a new model's."""

    def __init__(self, root: Path, store: Store, ledger: Ledger) -> None:
        self.home, self.store = Home(root), store
        host = SimpleNamespace(home=self.home)
        self.call = cast(
            "Call",
            SimpleNamespace(
                actor=ACTOR, host=host, now=lambda: LATER, execute=ledger.execute
            ),
        )

    def book(self, model: str, most: int = 1 << 30) -> Book:
        shelves = Shelves(self.store, self.home.decisions, Shelf(most), Shelf(most))
        return Book(shelves, "main", model)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("windows")
    with SqliteStore(root / "ledger.db") as store, Ledger(store) as ledger:
        yield Place(root, store, ledger)


def question(hour: int) -> Question:
    start = DAY + timedelta(hours=hour)
    return Question(
        version="v1",
        environment="prod",
        start=start,
        end=start + timedelta(hours=1),
        now=LATER,
        maturity_hours=1.0,
        reference=REFERENCE,
        limits=LIMITS,
        slas={},
        basis=basis_of(REFERENCE, MONITOR),
    )


def live(place: Place, world: World, model: str, most: int) -> Book:
    """Let it all happen, in its order, and let somebody look now and then."""
    book = place.book(model, most)
    for step, what in enumerate(world.order):
        if step == world.restart:
            book = place.book(model, most)
        if step in world.asked:
            with book.lock:
                book.catch_up()
                answer(book, question(step % HOURS))
                counts(book, question((step + 1) % HOURS))
        name = str(uuid5(COMMAND_IDS, f"{model}/{what}"))
        if what < len(world.batches):
            given = part(name, some(world.rows, world.batches[what], model), KNOWN, ())
            record(book, place.call, ready(place.call, [given]))
        else:
            told = world.said[what - len(world.batches)]
            rows, outcomes, known = (np.array(one) for one in zip(*told, strict=True))
            sent = Outcomes(
                world.rows.ids[rows], outcomes.astype(np.uint8), known.astype(np.int64)
            )
            record_outcomes(book, place.call, model, name, sent)
    return book


def by_row(world: World, hour: int) -> dict[str, object]:
    """Count a window from all of its rows at once, as if none had come in batches."""
    rows, start = world.rows, micros(question(hour).start)
    here = (rows.times >= start) & (rows.times < start + 3_600_000_000)
    truth = np.full(len(rows), 255)
    for row, outcome, _ in sorted(
        (word for told in world.said for word in told), key=lambda word: word[2]
    ):
        truth[row] = outcome
    scores, truth = rows.scores[here], truth[here]
    known = truth < NEVER
    said, true = scores[known], truth[known].astype(np.float64)
    columns = {
        name: numbers_of(column)[here]
        for (name, _), column in zip(rows.schema.columns, rows.columns, strict=True)
        if isinstance(column, Numbers)
    }
    profile = REFERENCE.baseline.profile(columns, scores, rows.latency_ms[here])
    yes = said >= 0.5
    found: dict[str, object] = {
        "rows": int(here.sum()),
        "outcomes": int(known.sum()),
        "never": int((truth == NEVER).sum()),
        "pending": int((truth == 255).sum()),
        "positives": int(true.sum()),
        "explained": int((rows.explained[here] == 1).sum()),
        "reason_codes_owed": int((rows.reason_codes[here] != 2).sum()),
        "reason_codes_missing": int((rows.reason_codes[here] == 0).sum()),
        "predicted_mean": round(float(said.mean()), 6) if said.size else None,
        "actual_mean": round(float(true.mean()), 6) if true.size else None,
        "performance": tuple(
            one.model_dump(exclude_none=True)
            for one in (estimates(performance(said, true)) if said.size else ())
        ),
        "profile": profile.to_json().decode(),
        "mean": round(float(scores.mean()), 6) if scores.size else None,
        "table": (),
        "errors": None,
    }
    if said.size:
        found["table"] = tuple(outcome_table(said, true).ravel().tolist())
        found["errors"] = int((yes != (true == 1)).sum())
    return found


def told(found: Answer) -> dict[str, object]:
    figures = found.figures
    names = (
        "rows outcomes never pending positives explained reason_codes_owed "
        "reason_codes_missing predicted_mean actual_mean"
    )
    plain: dict[str, object] = {name: getattr(figures, name) for name in names.split()}
    return plain | {
        "performance": tuple(
            one.model_dump(exclude_none=True) for one in figures.performance
        ),
        "profile": found.profile,
        "mean": None if figures.prediction is None else figures.prediction.mean,
        "table": found.score_outcomes,
        "errors": figures.bad.get("errors"),
    }


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(world=worlds(), most=st.sampled_from([1, 4_000, 1 << 30]))
def test_any_split_and_order_gives_the_figures_of_all_rows_at_once(
    place: Place, world: World, most: int
) -> None:
    model = f"m{next(NUMBERS)}"
    book, again = live(place, world, model, most), place.book(model, most)
    book.catch_up()
    again.catch_up()
    for hour in range(HOURS):
        expected = by_row(world, hour)
        now = answer(book, question(hour))
        assert told(now) == expected
        # A process that starts afterwards says the same, sources and all.
        assert answer(again, question(hour)) == now
        assert counts(again, question(hour)) == counts(book, question(hour))
        start, end = question(hour).start, question(hour).end
        size = rows_between(again, start, end).total()
        assert size == rows_between(book, start, end).total() == expected["rows"]
