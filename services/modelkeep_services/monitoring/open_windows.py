"""The state of windows: counts that add up, kept while their batches come in.

A window's state is one `Sum`, whatever its rows: profile, score and outcome counts,
exact sums. A batch is added once, when it is recorded; an outcome moves one count. So
closing reads counts that exist. Any split and order of the same rows and outcomes gives
the same state, and the state of a window that was let go, or never watched, is counted
again from events and objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.matrix import (
    Column,
    Decisions,
    Flags,
    Floats,
    Numbers,
    Words,
)
from modelkeep.decisions.rows import NEVER, UNSAID
from modelkeep.events.monitoring import Estimate, Fairness, OutcomeKind, Resources
from modelkeep.stats import latency as latencies
from modelkeep.stats.exact_sum import exact_mean, exact_sum
from modelkeep.stats.fairness import Group
from modelkeep.stats.profile import Layout, Profile
from modelkeep.stats.regression import Errors, errors
from modelkeep.stats.scores import CELLS, cells_of
from modelkeep_services.monitoring import fairness
from modelkeep_services.monitoring.arrays import counted
from modelkeep_services.monitoring.book import (
    UNKNOWN,
    Book,
    Changed,
    Fresh,
    Held,
    Line,
    Rows,
    Truth,
    Truths,
    truth_of,
)
from modelkeep_services.monitoring.columns import MAX_ROWS, taken
from modelkeep_services.monitoring.ids import Places
from modelkeep_services.monitoring.measures import (
    Counted,
    Measured,
    Yardstick,
    counted_of,
)
from modelkeep_services.monitoring.shelf import Shelved
from modelkeep_services.monitoring.telemetry import total as used

SOURCES: Final = 50
MOST_SPANNED: Final = 32
"""Windows of a cadence that one batch is counted into as it comes; what spans more is
counted when they are closed."""
MOST_WATCHED: Final = 256
"""Windows of one model that are counted along; the rest, when asked for."""
BARE: Final = Layout(())
"""Without a baseline only latencies and scores are counted."""
WHOLE: Final = slice(None)
STATES: Final = 4
"""Outcome 0, outcome 1, never, unknown."""
_STATE_BYTES: Final = 2_048
"""A window's own objects, beside its arrays."""
_GROUP_BYTES: Final = 256
_ERROR_BYTES: Final = 1_536
NO_ERRORS: Final = Errors()

Counts = NDArray[np.int64]
Named = Callable[[str], Column | None]
"""Returns a column of a batch; None where it has none of that name."""


class Span(NamedTuple):
    """One version's window: [start, end) in microseconds."""

    version: str
    environment: str
    start: int
    end: int


class Basis(NamedTuple):
    """How rows are counted. Without a layout nothing is profiled. Rows recorded
    `patience` microseconds after the window's end or later are late; None: none are.
    `groups` are those that are compared.
    """

    layout: Layout | None
    threshold: float
    patience: int | None = None
    by: Yardstick | None = None
    groups: tuple[Fairness, ...] = ()
    kind: OutcomeKind = "binary"

    @property
    def bare(self) -> Basis:
        """Return it without what neither latencies nor outcomes need."""
        return self._replace(by=None, groups=())

    def serves(self, asked: Basis) -> bool:
        """Whether what was counted so answers for what is asked."""
        if (self.threshold, self.patience) != (asked.threshold, asked.patience):
            return False
        if self.kind != asked.kind:
            return False
        if not set(asked.groups) <= set(self.groups):
            return False
        if asked.layout is None:
            return True
        if asked.by is not None and (
            self.by is None or self.by.digest != asked.by.digest
        ):
            return False
        return self.layout is not None and self.layout.digest == asked.layout.digest


class Grid(NamedTuple):
    """Windows of a cadence: [anchor + k cadence, + cadence), in microseconds."""

    anchor: int
    cadence: int

    def spans(self, rows: Rows, most: int) -> list[tuple[int, int]]:
        """Return the windows that have rows of a batch; none when there are more."""
        held = rows.held
        first, last = self._place(held.first_at), self._place(held.last_at)
        places = [first]
        if first != last:
            places = np.unique((rows.times - self.anchor) // self.cadence).tolist()
        if len(places) > most:
            return []
        starts = (self.anchor + place * self.cadence for place in places)
        return [(start, start + self.cadence) for start in starts]

    def _place(self, at: int) -> int:
        return (at - self.anchor) // self.cadence


@dataclass
class Sum:
    """What is added up over batches: bounded, whatever the rows.

    `outcomes` counts rows by what was said (score at the threshold or above: 1) and by
    what became true; `table` those with an outcome by that and score cell. Of outcomes
    that are numbers `outcomes` counts those that are known as 0, and `errors` adds them
    up. `scored` is the exact sum of all scores.
    """

    profile: Profile
    measured: Measured | None = None
    groups: dict[Fairness, tuple[Group, ...]] = field(default_factory=dict)
    explanation_ms: Counts = field(
        default_factory=lambda: np.zeros(latencies.SIZE, dtype=np.int64)
    )
    resources: Resources | None = None
    rows: int = 0
    quarantined: int = 0
    late: int = 0
    explained: int = 0
    said: int = 0
    owed: int = 0
    missing: int = 0
    out_of_bounds: int = 0
    undeployed: int = 0
    breaches: Counter[str] = field(default_factory=Counter)
    uses: Counter[str] = field(default_factory=Counter)
    inputs: dict[str, tuple[datetime, float]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    batches: int = 0
    scored: int = 0
    outcomes: Counts = field(
        default_factory=lambda: np.zeros((2, STATES), dtype=np.int64)
    )
    table: Counts = field(default_factory=lambda: np.zeros((2, CELLS), dtype=np.int64))
    errors: Errors = NO_ERRORS

    @property
    def known(self) -> int:
        """Return how many outcomes have arrived."""
        return int(self.outcomes[:, :NEVER].sum())

    @property
    def positives(self) -> int:
        return int(self.outcomes[:, 1].sum())

    @property
    def never(self) -> int:
        return int(self.outcomes[:, NEVER].sum())

    @property
    def pending(self) -> int:
        return int(self.outcomes[:, STATES - 1].sum())

    @property
    def score_mean(self) -> float | None:
        return exact_mean(self.scored, self.rows) if self.rows else None


class Performance(NamedTuple):
    """What scores and outcomes say, worked out once for as long as they stand."""

    figures: tuple[Estimate, ...]
    predicted_mean: float | None
    actual_mean: float | None


@dataclass(eq=False)
class Window(Shelved):
    """A span, its state, and which batches are in it."""

    span: Span
    basis: Basis
    total: Sum
    members: list[Held] = field(default_factory=list)
    """Those not quarantined, in the order of the log."""
    performance: Performance | None = None
    gone: bool = False

    def let_go(self) -> None:
        self.gone = True

    @property
    def size(self) -> int:
        """Return its bytes, about, in memory."""
        total = self.total
        arrays = total.profile.counts.nbytes + total.table.nbytes
        arrays += total.explanation_ms.nbytes
        if total.measured is not None:
            arrays += total.measured.size
        groups = _GROUP_BYTES * sum(map(len, total.groups.values()))
        errors = _ERROR_BYTES if self.basis.kind == "number" else 0
        return arrays + groups + errors + _STATE_BYTES + 8 * len(self.members)


class OpenWindows:
    """Those of one model that are counted along. The book's lock is held."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._windows: dict[Span, Window] = {}
        self._followed: dict[tuple[str, str], tuple[Grid, Basis]] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def follow(self, version: str, environment: str, grid: Grid, basis: Basis) -> None:
        """Open the windows of a cadence as their first rows come."""
        known = self._followed.get((version, environment))
        if known is not None and known[1].serves(basis) and basis.serves(known[1]):
            basis = known[1]  # one layout in memory, not one a batch
        self._followed[version, environment] = grid, basis

    def window(self, span: Span, basis: Basis) -> Window:
        """Return a window's state, counted now if it was not before."""
        window = self._windows.get(span)
        if window is None or window.gone or not window.basis.serves(basis):
            window = _counted(self._book, span, basis)
            self._windows.pop(span, None)  # and what is put last is oldest last
            self._windows[span] = window
            self._let_go()
        self._book.shelves.windows.put(window, window.size)
        return window

    def seen(self, span: Span) -> Window | None:
        """Return a window's state if there is one."""
        window = self._windows.get(span)
        return None if window is None or window.gone else window

    # --- the book's own news -------------------------------------------------------

    def took_batch(self, held: Held, fresh: Fresh | None) -> None:
        if fresh is None:
            # Somebody else wrote it, or wrote it earlier: counted when asked for.
            for window in self._around(held):
                self._forget(window)
            return
        followed = self._followed.get((held.event.version, held.event.environment))
        rows = held.kept
        if followed is not None and rows is not None:
            grid, basis = followed
            about = held.event.version, held.event.environment
            for start, end in grid.spans(rows, MOST_SPANNED):
                self.window(Span(*about, start, end), basis)
        for window in self._around(held):
            _add(window, self._book, held, fresh)
            self._book.shelves.windows.put(window, window.size)

    def broke(self, held: Held, rule: str, count: int) -> None:
        for window in self._around(held):
            if window.span.start <= held.first_at < window.span.end:
                window.total.breaches[rule] += count

    def concerned(self, held: Held) -> bool:
        return any(True for _ in self._around(held))

    def took_outcomes(self, held: Held, rows: Rows, changed: Changed) -> None:
        if held.event.quarantined:
            return
        column = _columns(self._book, held, None)
        for window in list(self._around(held)):
            _move(window, rows, changed, column)

    def _around(self, held: Held) -> Iterator[Window]:
        """Return the windows that may have rows of a batch."""
        event = held.event
        for window in list(self._windows.values()):
            span = window.span
            if (
                (span.version, span.environment) == (event.version, event.environment)
                and span.start <= held.last_at
                and held.first_at < span.end
            ):
                if window.gone:
                    del self._windows[span]
                else:
                    yield window

    def _let_go(self) -> None:
        while len(self._windows) > MOST_WATCHED:
            self._forget(next(iter(self._windows.values())))

    def _forget(self, window: Window) -> None:
        self._windows.pop(window.span, None)
        self._book.shelves.windows.drop(window)


def windows_of(book: Book) -> OpenWindows:
    """Return what counts along with a book. Its lock is held."""
    if not isinstance(book.watching, OpenWindows):
        book.watching = OpenWindows(book)
    return book.watching


def late_spans(book: Book, grid: Grid, start: int, end: int) -> list[Span]:
    """Return the windows of a cadence that were over, with rows that were recorded in
    [start, end): the newest first. The book's lock is held.
    """
    found = set()
    for held in book.recorded_between(start, end):
        if held.first_at + grid.cadence <= held.known_at:
            of = held.event.version, held.event.environment
            found |= {
                Span(*of, *span) for span in grid.spans(book.rows(held), MAX_ROWS)
            }
    over = (span for span in found if span.end <= end)
    return sorted(over, key=lambda span: (-span.start, span))


def within(rows: Rows, span: Span) -> Flags | slice | None:
    """Return which rows lie in the span: a slice for all, None for none."""
    held = rows.held
    if held.last_at < span.start or held.first_at >= span.end:
        return None
    if held.first_at >= span.start and held.last_at < span.end:
        return WHOLE
    found: Flags = (rows.times >= span.start) & (rows.times < span.end)
    return found if found.any() else None


def pairs(window: Window, book: Book) -> tuple[Floats, Truths]:
    """Return scores and outcomes of the rows whose outcome is known, by score, so that
    the order in which they came says nothing. Opens objects that were let go.
    """
    scores: list[Floats] = [np.empty(0)]
    outcomes: list[Truths] = [np.empty(0, np.uint8)]
    for held in window.members:
        rows = book.rows(held)
        here = within(rows, window.span)
        if here is None:
            continue
        known = rows.outcomes[here] < NEVER
        scores.append(rows.scores[here][known])
        outcomes.append(rows.outcomes[here][known])
    said, true = np.concatenate(scores), np.concatenate(outcomes)
    order = np.lexsort((true, said))
    return said[order], true[order]


def _counted(book: Book, span: Span, basis: Basis) -> Window:
    measured = None if basis.by is None else Measured.empty(basis.by)
    groups = {declared: fairness.empty(declared) for declared in basis.groups}
    total = Sum(Profile.empty(basis.layout or BARE), measured, groups)
    window = Window(span, basis, total)
    for held in book.between(span.start, span.end):
        event = held.event
        if (event.version, event.environment) == (span.version, span.environment):
            _add(window, book, held, None)
    return window


def _add(window: Window, book: Book, held: Held, fresh: Fresh | None) -> None:
    event, total, span = held.event, window.total, window.span
    rows = book.rows(held)
    here = within(rows, span)
    if here is None:
        return
    size = len(rows) if isinstance(here, slice) else int(np.count_nonzero(here))
    if span.start <= held.first_at < span.end:
        total.breaches.update(held.breaches or {})
        if not event.quarantined:
            _beside(total, event)
    if len(total.sources) < SOURCES:
        total.sources.append(held.event_id)
    patience = window.basis.patience
    if patience is not None and held.known_at >= span.end + patience:
        total.late += size
    if event.quarantined:
        total.quarantined += size
        return
    _told(total, event, size)
    if window.basis.layout is not None:
        _profile(window, book, held, here, fresh)
    window.members.append(held)
    window.performance = None
    scores = rows.scores[here]
    total.scored += exact_sum(scores)
    _shift(window, scores, truth_of(rows).taken(here), 1)
    column = _columns(book, held, fresh)
    for declared, groups in total.groups.items():
        found = _groups(window, declared, column, rows, here, rows.outcomes[here])
        total.groups[declared] = fairness.plus(groups, found)


def _columns(book: Book, held: Held, fresh: Fresh | None) -> Named:
    """Return what finds the columns of a batch, and opens each once at most."""

    @cache
    def named(name: str) -> Column | None:
        if fresh is None:
            return book.column(held, name)
        names = [known for known, _ in fresh.rows.schema.columns]
        return fresh.rows.columns[names.index(name)] if name in names else None

    return named


def _groups(
    window: Window,
    declared: Fairness,
    named: Named,
    rows: Rows,
    here: Flags | Places | slice,
    outcomes: Truths,
) -> tuple[Group, ...]:
    """Count some rows of an object by their groups, with these outcomes."""
    column = named(declared.column)
    if window.basis.kind == "number":  # of which none says who merits favour
        outcomes = np.full_like(outcomes, UNKNOWN)
    if column is None:  # nobody is known to be in a declared group
        return fairness.empty(declared)
    return fairness.counted(
        declared,
        fairness.spelled(_some(column, here)),
        rows.scores[here],
        outcomes,
        window.basis.threshold,
    )


def _some(column: Column, here: Flags | Places | slice) -> Column:
    if isinstance(column, Words):
        return Words(column.codes[here], column.dictionary)
    return Numbers(column.values[here], column.valid[here])


def _beside(total: Sum, event: Line) -> None:
    """Add what a batch counted as a whole."""
    total.out_of_bounds += event.out_of_bounds
    if event.explanation_ms is not None:
        cells, rows = event.explanation_ms
        np.add.at(total.explanation_ms, cells, rows)
    total.resources = used((total.resources, event.resources))


def _told(total: Sum, event: Line, size: int) -> None:
    """Add what a batch says of all of its rows."""
    total.batches += 1
    total.rows += size
    if event.use_approved is False:
        total.uses[event.use or "unsaid"] += size
    if not event.deployed:
        total.undeployed += size
    for reading in event.readings:
        _age(total.inputs, reading.feed, reading.last_at, event.last_at)


def _shift(window: Window, scores: Floats, truth: Truth, by: int) -> None:
    """Count rows by their outcome, or `by` -1 no longer."""
    total, basis, outcomes = window.total, window.basis, truth.outcomes
    numbers = basis.kind == "number"
    said = (scores >= basis.threshold) & (not numbers)
    states = np.minimum(outcomes, STATES - 1)
    places = said * STATES + states
    counted = np.bincount(places, minlength=2 * STATES).reshape(2, STATES)
    total.outcomes += by * counted
    known = outcomes < NEVER
    if not known.any():
        return
    if numbers:
        if truth.values is not None:
            found = errors(scores[known], truth.values[known])
            add = total.errors.plus if by > 0 else total.errors.minus
            total.errors = add(found)
        return
    cells = cells_of(scores[known])
    inside = cells < CELLS
    true = outcomes[known][inside].astype(np.int64)
    table = np.bincount(true * CELLS + cells[inside], minlength=2 * CELLS)
    total.table += by * table.reshape(2, CELLS)


def _move(window: Window, rows: Rows, changed: Changed, column: Named) -> None:
    here = changed.before.differs(changed.after)
    times = rows.times[changed.rows]
    here &= (times >= window.span.start) & (times < window.span.end)
    if here.any():
        moved = Changed(
            changed.rows[here], changed.before.taken(here), changed.after.taken(here)
        )
        scores = rows.scores[moved.rows]
        _shift(window, scores, moved.before, -1)
        _shift(window, scores, moved.after, 1)
        _regroup(window, rows, moved, column)
        window.performance = None


def _regroup(window: Window, rows: Rows, moved: Changed, column: Named) -> None:
    """Count rows of groups by their new outcomes."""
    told = np.minimum(moved.before.outcomes, moved.after.outcomes)
    if window.basis.kind == "number" or told.min() >= NEVER:
        return  # who merits favour is as unknown as it was
    for declared, groups in window.total.groups.items():
        before, after = (
            _groups(window, declared, column, rows, moved.rows, truth.outcomes)
            for truth in (moved.before, moved.after)
        )
        less = fairness.minus(groups, before)
        window.total.groups[declared] = fairness.plus(less, after)


def _profile(
    window: Window, book: Book, held: Held, here: Flags | slice, fresh: Fresh | None
) -> None:
    event, total, basis = held.event, window.total, window.basis
    if isinstance(here, slice):
        kept = _kept(book, held, basis, fresh)
        if kept is not None:
            _add_counted(total, kept)
            total.explained += event.explained
            total.said += event.explanations_said
            total.owed += event.reason_codes_owed
            total.missing += event.reason_codes_missing
            return
    whole = book.decisions(held) if fresh is None else fresh.rows
    _recount(total, basis, whole if isinstance(here, slice) else taken(whole, here))


def _kept(book: Book, held: Held, basis: Basis, fresh: Fresh | None) -> Counted | None:
    """Return what was counted when the batch came, if that is all that is asked."""
    layout = basis.layout or BARE
    if fresh is not None:
        found = fresh.counted
    else:
        event = book.told(held)
        found = Counted() if event is None else counted_of(event, layout, basis.by)
    if found.profile is None or found.profile.layout.digest != layout.digest:
        return None
    if basis.by is not None and not Measured.empty(basis.by).serves(found):
        return None
    return found


def _add_counted(total: Sum, found: Counted) -> None:
    if found.profile is not None:
        total.profile += found.profile
    if total.measured is not None:
        total.measured.add(found)


def _recount(total: Sum, basis: Basis, part: Decisions) -> None:
    _add_counted(total, counted(basis.layout or BARE, basis.by, part))
    total.explained += int(np.count_nonzero(part.explained == 1))
    total.said += int(np.count_nonzero(part.explained != UNSAID))
    total.owed += int(np.count_nonzero(part.reason_codes != UNSAID))
    total.missing += int(np.count_nonzero(part.reason_codes == 0))


def _age(
    inputs: dict[str, tuple[datetime, float]],
    feed: str,
    last_at: datetime,
    used_at: datetime,
) -> None:
    age = max(0.0, (used_at - last_at) / timedelta(hours=1))
    newest, oldest = inputs.get(feed, (last_at, age))
    inputs[feed] = max(newest, last_at), max(oldest, age)
