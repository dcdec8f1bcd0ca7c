"""A window's state: the same whatever the split and order, and as if counted by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from numpy.typing import NDArray

from modelkeep.decider import Actor
from modelkeep.decisions.matrix import Decisions, Flags, Floats, Numbers, Words
from modelkeep.decisions.rows import NEVER, Schema
from modelkeep.events.monitoring import (
    Fairness,
    LatencyCell,
    LatencyFigure,
    MonitorConfigured,
    OutcomeKind,
    Resources,
    Thresholds,
)
from modelkeep.events.types import Money
from modelkeep.home import Home
from modelkeep.ledger import COMMAND_IDS, Ledger
from modelkeep.service import Call
from modelkeep.stats import latency
from modelkeep.stats.categories import Coded
from modelkeep.stats.fairness import Group
from modelkeep.stats.performance import performance
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.scores import CELLS, outcome_table
from modelkeep.store.port import Store
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.monitoring import label_free, measures
from modelkeep_services.monitoring.arrays import micros, numbers_of
from modelkeep_services.monitoring.book import Book, Shelves, Truths
from modelkeep_services.monitoring.drift_figures import misfit, outcome_drift
from modelkeep_services.monitoring.feature_figures import feature_figures
from modelkeep_services.monitoring.known import Known
from modelkeep_services.monitoring.measures import Columns, Measured
from modelkeep_services.monitoring.objects import Outcomes
from modelkeep_services.monitoring.record import part, ready, record, record_outcomes
from modelkeep_services.monitoring.shelf import Shelf
from modelkeep_services.monitoring.telemetry import Telemetry
from modelkeep_services.monitoring.windows import (
    UNESTIMATED,
    Answer,
    Question,
    Reference,
    answer,
    basis_of,
    counts,
    estimates,
    psi_document,
    rows_between,
)

DAY = datetime(2024, 1, 5, tzinfo=UTC)
LATER = DAY + timedelta(days=30)
HOURS = 3
ACTOR = Actor("tests", "eve", frozenset(), "main")
NUMBERS = count()
GROUPS = Fairness(column="sex", reference="m", groups=("f",), favourable="yes")
REFUSALS = Fairness(column="sex", reference="f", groups=("z",), favourable="no")
MONITOR = MonitorConfigured(
    model="m", cadence_hours=1.0, anchor=DAY, fairness=(GROUPS, REFUSALS)
)
SEXES = ("m", "f", "z", "w")
"""The baseline knows the first two."""
LIMITS = Thresholds(latency_p95_ms=5.0)


def reference(seed: int = 7) -> Reference:
    rng = np.random.default_rng(seed)
    scores, true = rng.random(400), rng.integers(0, 2, 400).astype(np.float64)
    columns: Columns = {
        "sex": Coded(rng.integers(0, 2, 400).astype(np.int32), SEXES[:2]),
        "x": rng.normal(size=400),
        "y": rng.normal(size=400),
    }
    fitted = Baseline.fit(columns, scores=scores)
    by = measures.fit(fitted, columns)
    assert by is not None
    assert by.components is not None
    spelled = measures.spelled(by)
    return Reference(
        "spring",
        fitted.to_json().decode(),
        0.5,
        (),
        spelled["fine"],
        spelled["components"],
        label_free.score_outcomes(scores, true),
        label_free.brier_cells(scores, true),
    )


REFERENCE = reference()
KNOWN = Known(
    deployed=True,
    uses=(),
    boundaries=(),
    contract=None,
    reference=REFERENCE,
    monitor=MONITOR,
)
OTHERS = (
    replace(KNOWN, reference=None),
    replace(KNOWN, reference=reference(8)),
    replace(KNOWN, reference=replace(REFERENCE, components=None)),
    replace(KNOWN, reference=replace(REFERENCE, fine=None, components=None)),
)
"""What counts less of a batch, or otherwise."""


@dataclass
class World:
    """Everything that happens to a model; `said` is row, outcome, known at."""

    rows: Decisions
    batches: list[list[int]]
    known: list[Known]
    beside: list[Telemetry]
    """What was known, and said, of each batch."""
    said: list[list[tuple[int, int, int]]]
    order: list[int]
    """Positions of batches and, after them, of outcome batches."""
    asked: list[int]
    """After so many steps somebody asks."""
    restart: int
    """After so many the process is another one."""
    numbers: bool = False
    """Outcomes are numbers: see `number`."""

    @property
    def monitor(self) -> MonitorConfigured:
        kind: OutcomeKind = "number" if self.numbers else "binary"
        return MONITOR.model_copy(update={"outcome_kind": kind})


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
    share = draw(st.sampled_from([1.0, 0.7]))
    return World(
        decisions(rng, n),
        batches,
        [KNOWN if rng.random() < share else OTHERS[rng.integers(4)] for _ in batches],
        [telemetry(rng, len(one)) for one in batches],
        said,
        rng.permutation(steps).tolist(),
        draw(st.lists(st.integers(0, steps), max_size=3)),
        draw(st.integers(0, steps)),
    )


def telemetry(rng: np.random.Generator, n: int) -> Telemetry:
    cells = np.unique(rng.integers(0, latency.MISSING, 3)).tolist()
    used = Resources(
        rows=n,
        cpu_seconds=round(rng.random(), 6),
        memory_bytes=int(rng.integers(1_000)),
        cost=(Money(minor=int(rng.integers(100)), currency="EUR"),),
    )
    return Telemetry(
        tuple(LatencyCell(cell=one, rows=1) for one in cells),
        used if rng.random() < 0.7 else None,
    )


def decisions(rng: np.random.Generator, n: int) -> Decisions:
    names = (("sex", "utf8"), ("x", "f64"), ("y", "f64"))
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
        columns=(
            Words(rng.integers(-1, 4, n).astype(np.int32), SEXES),
            *(Numbers(rng.normal(size=n), one) for one in valid),
        ),
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
            if isinstance(column, Numbers)
            else Words(column.codes[kept], column.dictionary)
            for column in rows.columns
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


def question(
    hour: int, now: datetime = LATER, monitor: MonitorConfigured = MONITOR
) -> Question:
    start = DAY + timedelta(hours=hour)
    return Question(
        version="v1",
        environment="prod",
        start=start,
        end=start + timedelta(hours=1),
        now=now,
        maturity_hours=1.0,
        reference=REFERENCE,
        limits=LIMITS,
        slas={},
        basis=basis_of(REFERENCE, monitor),
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
                answer(book, question(step % HOURS, monitor=world.monitor))
                counts(book, question((step + 1) % HOURS, monitor=world.monitor))
        name = str(uuid5(COMMAND_IDS, f"{model}/{what}"))
        if what < len(world.batches):
            given = part(
                name,
                some(world.rows, world.batches[what], model),
                replace(world.known[what], monitor=world.monitor),
                (),
                beside=world.beside[what],
            )
            record(book, place.call, ready(place.call, [given]))
        else:
            told = world.said[what - len(world.batches)]
            rows, outcomes, known = (np.array(one) for one in zip(*told, strict=True))
            sent = Outcomes(
                world.rows.ids[rows], outcomes.astype(np.uint8), known.astype(np.int64)
            )
            if world.numbers:
                never = (outcomes == NEVER).astype(np.uint8) * np.uint8(NEVER)
                values = np.where(outcomes == NEVER, 0.0, number(rows, outcomes))
                sent = sent._replace(outcomes=never, values=values)
            record_outcomes(book, place.call, model, name, sent)
    return book


def number(row: NDArray[np.int64], outcome: NDArray[np.int64]) -> Floats:
    """Return what 0 and 1 stand for where outcomes are numbers."""
    found: Floats = 1e6 + 0.3 * row + 7.0 * outcome
    return found


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
    columns: Columns = {
        name: Coded(column.codes[here], column.dictionary)
        if isinstance(column, Words)
        else numbers_of(column)[here]
        for (name, _), column in zip(rows.schema.columns, rows.columns, strict=True)
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
        "groups": [
            groups(rows, here, truth, declared) for declared in (GROUPS, REFUSALS)
        ],
        "estimated": estimated(profile, truth),
    }
    found |= measured(profile, columns) | used(world, start)
    drift = outcome_drift(REFERENCE.score_outcomes, outcome_table(said, true))
    found |= {"label": drift.label, "concept": drift.concept}
    if said.size:
        found["table"] = tuple(outcome_table(said, true).ravel().tolist())
        found["errors"] = int((yes != (true == 1)).sum())
    return found


def groups(
    rows: Decisions, here: Flags, truth: Truths, declared: Fairness
) -> list[Group]:
    """Count people one by one."""
    sexes, yes = rows.columns[0], declared.favourable == "yes"
    assert isinstance(sexes, Words)
    found = {name: [0, 0, 0, 0] for name in (declared.reference, *declared.groups)}
    people = zip(sexes.codes[here], rows.scores[here], truth, strict=True)
    for code, score, outcome in people:
        name = SEXES[code] if code >= 0 else ""
        if name in found:
            favoured, merited = (score >= 0.5) == yes, outcome == int(yes)
            told = (True, favoured, merited, favoured and merited)
            found[name] = [n + one for n, one in zip(found[name], told, strict=True)]
    return [Group(name, *(int(n) for n in told)) for name, told in found.items()]


def estimated(profile: Profile, truth: Truths) -> object:
    if profile.rows and not (truth == 255).any():
        return None  # all is known already
    return label_free.estimated(
        profile.scores[:CELLS],
        0.5,
        REFERENCE.score_outcomes,
        REFERENCE.brier_cells,
        (),
    )


def measured(profile: Profile, columns: Columns) -> dict[str, object]:
    baseline, by = REFERENCE.baseline, REFERENCE.yardstick
    assert by is not None
    total = Measured.empty(by)
    total.add(measures.count(by, profile, columns))
    figures = feature_figures(baseline, profile, psi_document(LIMITS), total)
    return {
        "features": figures if profile.rows else (),
        "misfit": misfit(total),
    }


def used(world: World, start: int) -> dict[str, object]:
    """Add up what was said of batches whose first row is in the window."""
    cells, several = np.zeros(latency.SIZE, dtype=np.int64), []
    for rows, beside in zip(world.batches, world.beside, strict=True):
        if start <= world.rows.times[rows].min() < start + 3_600_000_000:
            several += [beside.resources] if beside.resources else []
            for one in beside.explanation_ms:
                cells[one.cell] += one.rows
    n = int(cells.sum())
    p50, p95, p99 = (
        round(min(one, latency.LONGEST), 6) if one is not None else 0
        for one in latency.quantiles(cells, (0.5, 0.95, 0.99))
    )
    resources = Resources(
        rows=sum(one.rows for one in several),
        cpu_seconds=round(sum(one.cpu_seconds or 0 for one in several), 6),
        memory_bytes=max((one.memory_bytes or 0 for one in several), default=None),
        cost=(Money(minor=sum(o.cost[0].minor for o in several), currency="EUR"),),
    )
    return {
        "explanation_ms": LatencyFigure(p50=p50, p95=p95, p99=p99, n=n) if n else None,
        "resources": resources if several else None,
    }


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
        "groups": [
            [
                Group(
                    one.group,
                    one.n,
                    one.favoured,
                    one.qualified,
                    one.qualified_favoured,
                )
                for one in seen.groups
            ]
            for seen in figures.fairness
        ],
        "features": figures.features,
        "misfit": figures.misfit,
        "label": figures.label_drift,
        "concept": figures.concept_drift,
        "explanation_ms": figures.explanation_ms,
        "resources": figures.resources,
    }


def holds(place: Place, world: World, most: int) -> None:
    model = f"m{next(NUMBERS)}"
    book, again = live(place, world, model, most), place.book(model, most)
    book.catch_up()
    again.catch_up()
    for hour in range(HOURS):
        expected = by_row(world, hour)
        now = answer(book, question(hour))
        early = answer(book, question(hour, DAY)).figures.estimated
        assert told(now) | {"estimated": early} == expected
        # A process that starts afterwards says the same, sources and all.
        assert answer(again, question(hour)) == now
        assert counts(again, question(hour)) == counts(book, question(hour))
        start, end = question(hour).start, question(hour).end
        size = rows_between(again, start, end).total()
        assert size == rows_between(book, start, end).total() == expected["rows"]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(world=worlds(), most=st.sampled_from([1, 4_000, 1 << 30]))
def test_any_split_and_order_gives_the_figures_of_all_rows_at_once(
    place: Place, world: World, most: int
) -> None:
    holds(place, world, most)


def test_outcomes_that_come_last_move_all_that_is_counted_of_their_rows(
    place: Place,
) -> None:
    rng = np.random.default_rng(3)
    words = rng.integers(0, 3, (4, 60))
    world = World(
        decisions(rng, 60),
        batches=[list(range(40)), list(range(40, 60))],
        known=[KNOWN, KNOWN],
        beside=[telemetry(rng, 40), telemetry(rng, 20)],
        said=[
            [(row, int(word), at + 1) for row, word in enumerate(told) if row % 7]
            for at, told in enumerate(words)
        ],
        order=list(range(6)),
        asked=[2, 3],
        restart=6,
    )
    holds(place, world, 1 << 30)


# --- outcomes that are numbers -----------------------------------------------------


def errors_by_row(world: World, hour: int) -> tuple[int, int, Floats]:
    """Return how many never come, how many are pending, and the errors of the rest."""
    rows, start = world.rows, micros(question(hour).start)
    here = (rows.times >= start) & (rows.times < start + 3_600_000_000)
    truth = np.full(len(rows), 255)
    for row, outcome, _ in sorted(
        (word for told in world.said for word in told), key=lambda word: word[2]
    ):
        truth[row] = outcome
    known = here & (truth < NEVER)
    true = number(np.flatnonzero(known), truth[known])
    never, pending = (int((here & (truth == one)).sum()) for one in (NEVER, 255))
    return never, pending, rows.scores[known] - true


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(world=worlds(), most=st.sampled_from([1, 4_000, 1 << 30]))
def test_numbers_give_the_errors_of_all_rows_whatever_the_split_and_order(
    place: Place, world: World, most: int
) -> None:
    world = replace(world, numbers=True)
    model = f"m{next(NUMBERS)}"
    book, again = live(place, world, model, most), place.book(model, most)
    book.catch_up()
    again.catch_up()
    for hour in range(HOURS):
        asked = question(hour, monitor=world.monitor)
        never, pending, error = errors_by_row(world, hour)
        now = answer(book, asked)
        # A process that starts afterwards says the same, to the last digit of a sum.
        assert answer(again, asked) == now
        assert counts(again, asked) == counts(book, asked)
        seen = now.figures
        assert (seen.outcomes, seen.never, seen.pending) == (error.size, never, pending)
        assert (seen.positives, seen.estimated, seen.label_drift) == (0, None, None)
        assert now.score_outcomes == ()
        assert "errors" not in seen.bad
        found = {one.metric: one.value for one in seen.performance}
        if not error.size:
            assert found == {}
            assert now.errors is None
            continue
        assert found == pytest.approx(
            {
                "rmse": float(np.sqrt((error**2).mean())),
                "mae": float(np.abs(error).mean()),
                "mean_error": float(error.mean()),
            },
            rel=1e-8,
        )


def test_nothing_is_estimated_of_numbers_and_the_answer_says_so(place: Place) -> None:
    rng = np.random.default_rng(4)
    world = World(
        decisions(rng, 40),
        batches=[list(range(40))],
        known=[KNOWN],
        beside=[telemetry(rng, 40)],
        said=[[(row, 1, row + 1) for row in range(0, 40, 2)]],
        order=[0, 1],
        asked=[],
        restart=2,
        numbers=True,
    )
    book = live(place, world, f"m{next(NUMBERS)}", 1 << 30)
    early = answer(book, question(0, DAY, world.monitor)).figures
    assert not early.mature
    assert (early.estimated, early.unestimated) == (None, UNESTIMATED)
    late = answer(book, question(0, LATER, world.monitor)).figures
    assert (late.mature, late.unestimated) == (True, None)
