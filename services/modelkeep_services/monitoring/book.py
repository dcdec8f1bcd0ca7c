"""What is known of one model's decisions and outcomes: an index, and rows on a shelf.

A cache of the stream `decisions-<tenant>.<model>` and of the objects its events name:
lost with the process, and read again when first asked for. What stays is a line an
object; ids, times, scores and outcomes lie on a shelf of the whole process, are let go
when it is full, and are read again from the objects concerned.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sys import intern
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.matrix import Column, Decisions, Flags, Floats, Octets, Times
from modelkeep.decisions.rows import Proof
from modelkeep.errors import Corrupt
from modelkeep.events.base import decode
from modelkeep.events.monitoring import (
    BatchRecorded,
    ContractBreached,
    LatencyCell,
    OutcomeKind,
    OutcomesRecorded,
    Reading,
    Resources,
)
from modelkeep.ledger import stream_name
from modelkeep.store.port import NO_STREAM, START, Recorded, Store
from modelkeep_services.monitoring.arrays import micros
from modelkeep_services.monitoring.ids import Found, Ids, Places, Sought, places
from modelkeep_services.monitoring.measures import Counted
from modelkeep_services.monitoring.objects import (
    Essentials,
    Outcomes,
    load_column,
    load_decisions,
    load_essentials,
    load_ids,
    load_outcomes,
)
from modelkeep_services.monitoring.shelf import WINDOWS, Shelf, Shelved

UNKNOWN: Final = 255
HOT: Final = 8
"""Objects just written, kept until the stream says they count."""
ROW_BYTES: Final = 41
OUTCOME_BYTES: Final = 25
NUMBER_BYTES: Final = 8
"""More, a row or an outcome, where outcomes are numbers."""

Truths = NDArray[np.uint8]


@dataclass(eq=False, slots=True)
class Rows(Shelved):
    """The rows of one object. `outcomes` holds 0, 1, NEVER or UNKNOWN, as said by the
    first `heard` batches of outcomes. Once one of them is a number, `values` has the
    numbers, 0 where there is none, and `outcomes` is 0 where there is one.
    """

    held: Held
    ids: Octets
    times: Times
    scores: Floats
    outcomes: Truths
    known: Times
    heard: int = 0
    values: Floats | None = None

    def let_go(self) -> None:
        self.held.kept = None

    def __len__(self) -> int:
        return len(self.times)


class Line(NamedTuple):
    """What stays of a batch's event, by the event's own names."""

    version: str
    environment: str
    address: str
    rows: int
    last_at: datetime
    use: str | None
    use_approved: bool | None
    deployed: bool
    explained: int
    explanations_said: int
    reason_codes_missing: int
    reason_codes_owed: int
    quarantined: bool
    out_of_bounds: int
    readings: tuple[Reading, ...]
    explanation_ms: NDArray[np.int64] | None
    """Cells and their rows, [2, cells]; None where nothing was said."""
    resources: Resources | None

    @classmethod
    def of(cls, event: BatchRecorded) -> Line:
        line = cls(**{name: getattr(event, name) for name in cls._fields})
        # The same few words in every line of a model.
        return line._replace(
            version=intern(event.version),
            environment=intern(event.environment),
            explanation_ms=_cells(event.explanation_ms),
        )


def _cells(told: tuple[LatencyCell, ...]) -> NDArray[np.int64] | None:
    if not told:
        return None
    return np.array([[one.cell for one in told], [one.rows for one in told]], np.int64)


@dataclass(eq=False, slots=True)
class Held:
    """A batch: a line of its event, and its rows while they are kept.

    Times are in microseconds; `known_at` is when it was recorded, `version` where in
    the stream. `low` and `high` are the first halves of its least and greatest id.
    """

    event: Line
    event_id: str
    version: int
    number: int
    known_at: int
    first_at: int
    last_at: int
    low: int
    high: int
    breaches: dict[str, int] | None = None
    """By `column.rule`; None: none."""
    kept: Rows | None = None


@dataclass(eq=False, slots=True)
class Told(Shelved):
    """A batch of outcomes: where it is, and its rows while they are kept."""

    address: str
    some_early: bool
    """Some of its decisions were not logged yet."""
    kept: Outcomes | None = None

    def let_go(self) -> None:
        self.kept = None


class Spans:
    """Which of many intervals, ends included, meet another. 16 bytes an interval."""

    def __init__(self) -> None:
        self._lows, self._highs = array("Q"), array("Q")

    def add(self, low: int, high: int) -> None:
        self._lows.append(low)
        self._highs.append(high)

    def meeting(self, low: int, high: int, after: int = 0) -> list[int]:
        """Return their numbers, from `after` on."""
        if after >= len(self._lows) or high < 0:
            return []
        lows = np.frombuffer(self._lows, np.uint64)[after:]
        highs = np.frombuffer(self._highs, np.uint64)[after:]
        met = np.flatnonzero((lows <= high) & (highs >= max(low, 0)))
        return [after + number for number in met.tolist()]


class Truth(NamedTuple):
    """What became true of some rows, as `Rows` has it."""

    outcomes: Truths
    values: Floats | None = None

    def taken(self, here: Flags | Places | slice) -> Truth:
        values = None if self.values is None else self.values[here]
        return Truth(self.outcomes[here], values)

    def differs(self, other: Truth) -> Flags:
        found: Flags = self.outcomes != other.outcomes
        if self.values is not None or other.values is not None:
            found |= self._numbers() != other._numbers()
        return found

    def _numbers(self) -> Floats:
        return np.zeros(len(self.outcomes)) if self.values is None else self.values


class Changed(NamedTuple):
    """Outcomes of some rows of one object: what they were, and what they are now."""

    rows: Places
    before: Truth
    after: Truth


class Fresh(NamedTuple):
    """Rows that were just written, before their object need be opened."""

    rows: Decisions
    counted: Counted
    """Counted as the baseline's layout says."""
    sought: Sought
    """Their ids, in the order in which they are looked for."""


class Watching(Protocol):
    """What counts along while the book goes on."""

    def took_batch(self, held: Held, fresh: Fresh | None) -> None:
        """A batch is about to join those in the book."""

    def broke(self, held: Held, rule: str, count: int) -> None:
        """So many rows of a batch broke a rule of the contract."""

    def concerned(self, held: Held) -> bool:
        """Whether outcomes of this batch would be counted."""

    def took_outcomes(self, held: Held, rows: Rows, changed: Changed) -> None: ...


class BatchAnswer(NamedTuple):
    """What the sender of a batch was, or would again be, told."""

    digest: str
    position: int
    object: str
    root: str
    first_row: int
    rows: int
    breaches: int
    quarantined: bool
    proof: Proof = "rows"


class OutcomeAnswer(NamedTuple):
    root: str
    position: int
    matched: int
    unmatched: int
    duplicates: int
    contradictions: int
    never: int


class Effect(NamedTuple):
    """What a batch of outcomes does to what is known."""

    matched: int
    unmatched: int
    duplicates: int
    contradictions: int
    never: int


class Book:
    """Take `lock` around whatever belongs together."""

    def __init__(self, shelves: Shelves, tenant: str, model: str) -> None:
        self.lock = threading.RLock()
        self.stream = stream_name("decisions", tenant, model)
        self.version, self.position = NO_STREAM, START
        self.batches: list[Held] = []
        self.shelves = shelves
        self.ids = Ids(self._read_ids, shelves.rows)
        self.sent: dict[str, BatchAnswer] = {}
        self.outcomes_sent: dict[str, OutcomeAnswer] = {}
        self.outcome_kind: OutcomeKind | None = None
        """Of those recorded; None: there are none yet."""
        self.watching: Watching | None = None
        self._by_object: dict[str, Held] = {}
        self._times, self._recorded = Spans(), Spans()
        self._told: list[Told] = []
        self._told_ids = Spans()
        self._hot: OrderedDict[str, Fresh | Outcomes] = OrderedDict()

    def keep(self, address: str, rows: Fresh | Outcomes) -> None:
        """Spare the next `catch_up` from opening this object."""
        self._hot[address] = rows
        while len(self._hot) > HOT:
            self._hot.popitem(last=False)

    def catch_up(self) -> None:
        """Read what the stream says since. Raises Corrupt when an object is gone."""
        store = self.shelves.store
        for recorded in store.read_stream(self.stream, after=self.version):
            self._take(recorded)
            self.version, self.position = recorded.version, recorded.position

    def between(self, start: int, end: int) -> list[Held]:
        """Return the batches with rows in [start, end), microseconds, or about it."""
        return [self.batches[n] for n in self._times.meeting(start, end - 1)]

    def recorded_between(self, start: int, end: int) -> list[Held]:
        """Return the batches recorded in [start, end), microseconds."""
        return [self.batches[n] for n in self._recorded.meeting(start, end - 1)]

    def decisions(self, held: Held) -> Decisions:
        """Open a batch's object, for what is not held of it."""
        return load_decisions(self._path(held.event.address))

    def told(self, held: Held) -> BatchRecorded | None:
        """Read a batch's event again, with its counts."""
        read = self.shelves.store.read_stream(
            self.stream, after=held.version - 1, limit=1
        )
        recorded = next(iter(read))
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        return event if isinstance(event, BatchRecorded) else None

    def rows(self, held: Held) -> Rows:
        """Return a batch's rows, with every outcome that was told of them so far."""
        rows = held.kept
        if rows is None:
            found = load_essentials(self._path(held.event.address))
            rows = self._keep_rows(held, found, heard=0)
        else:
            self.shelves.rows.touch(rows)
        for number in self._told_ids.meeting(held.low, held.high, rows.heard):
            self._hear(rows, self._outcomes(self._told[number]))
        rows.heard = len(self._told)
        return rows

    def column(self, held: Held, name: str) -> Column | None:
        """Open one column of a batch's object; None where it has none of that name."""
        return load_column(self._path(held.event.address), name)

    def effect(self, rows: Outcomes) -> Effect:
        """Say what these outcomes would change; change nothing."""
        found = self.ids.find(rows.ids)
        duplicates = contradictions = 0
        said = Truth(rows.outcomes, rows.values)
        for held, here in self._touched(found):
            before = truth_of(self.rows(held)).taken(found.rows[here])
            told = before.outcomes != UNKNOWN
            same = int(np.count_nonzero(told & ~before.differs(said.taken(here))))
            duplicates += same
            contradictions += int(np.count_nonzero(told)) - same
        matched = int(np.count_nonzero(found.known))
        never = int(np.count_nonzero(rows.outcomes > 1))
        unmatched = len(rows.ids) - matched
        return Effect(matched, unmatched, duplicates, contradictions, never)

    def _take(self, recorded: Recorded) -> None:
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        match event:
            case BatchRecorded():
                self._take_batch(event, recorded)
            case ContractBreached():
                held = self._by_object[event.batch]
                key = f"{event.column}.{event.rule}"
                told = held.breaches or {}
                held.breaches = told | {key: told.get(key, 0) + event.count}
                if self.watching is not None:
                    self.watching.broke(held, key, event.count)
            case OutcomesRecorded():
                self._take_outcomes(event, recorded.position)
            case _:
                raise Corrupt(f"{recorded.name} is not a decision log's")

    def _take_batch(self, event: BatchRecorded, recorded: Recorded) -> None:
        low, high = _span(event)
        held = Held(
            event=Line.of(event),
            event_id=str(recorded.uuid),
            version=recorded.version,
            number=len(self.batches),
            known_at=micros(datetime.fromisoformat(recorded.meta["known_at"])),
            first_at=micros(event.first_at),
            last_at=micros(event.last_at),
            low=low,
            high=high,
        )
        fresh = self._hot.pop(event.address, None)
        if isinstance(fresh, Fresh):
            self._keep_rows(held, essentials(fresh.rows), heard=len(self._told))
            self._greet(held)
            self.ids.add(fresh.sought, held.number)
        else:
            fresh = None
            self.ids.add_unread(event.rows, low, high, held.number)
        if self.watching is not None:
            self.watching.took_batch(held, fresh)
        self.batches.append(held)
        self._times.add(held.first_at, held.last_at)
        self._recorded.add(held.known_at, held.known_at)
        self._by_object[event.batch] = held
        self._remember(event, recorded.position)

    def _keep_rows(self, held: Held, found: Essentials, *, heard: int) -> Rows:
        size = len(found.times)
        outcomes = np.full(size, UNKNOWN, dtype=np.uint8)
        rows = Rows(held, *found, outcomes, np.zeros(size, dtype=np.int64), heard)
        held.kept = rows
        self.shelves.rows.put(rows, size * ROW_BYTES)
        return rows

    def _greet(self, held: Held) -> None:
        """Look among outcomes that came before their decisions."""
        for number in self._told_ids.meeting(held.low, held.high):
            told, rows = self._told[number], held.kept
            if told.some_early and rows is not None:
                self._hear(rows, self._outcomes(told))

    def _hear(self, rows: Rows, told: Outcomes) -> None:
        if told.values is not None and rows.values is None:
            rows.values = np.zeros(len(rows))
            self.shelves.rows.put(rows, len(rows) * (ROW_BYTES + NUMBER_BYTES))
        _hear(rows, told)

    def _remember(self, event: BatchRecorded, position: int) -> None:
        first = 0
        for sent in event.sent:
            self.sent[sent.batch] = BatchAnswer(
                sent.digest,
                position,
                event.batch,
                event.root,
                first,
                sent.rows,
                event.breaches,
                event.quarantined,
                event.proof,
            )
            first += sent.rows

    def _take_outcomes(self, event: OutcomesRecorded, position: int) -> None:
        rows = self._hot.pop(event.address, None)
        told = Told(event.address, event.unmatched > 0)
        if isinstance(rows, Outcomes):
            self._keep_outcomes(told, rows)
        self.outcome_kind = self.outcome_kind or event.outcome_kind
        watched = [] if self.watching is None else self._watched(told)
        self._told.append(told)
        self._told_ids.add(*_span(event))
        for held, which, before in watched:
            changed = self.rows(held)
            after = truth_of(changed).taken(which)
            if self.watching is not None:
                self.watching.took_outcomes(
                    held, changed, Changed(which, before, after)
                )
        self.outcomes_sent[event.batch] = OutcomeAnswer(
            event.root,
            position,
            event.matched,
            event.unmatched,
            event.duplicates,
            event.contradictions,
            event.never,
        )

    def _watched(self, told: Told) -> list[tuple[Held, Places, Truth]]:
        """Return the rows that these outcomes are of, as they are now, where someone
        counts along.
        """
        found = self.ids.find(self._outcomes(told).ids)
        watched = []
        for held, here in self._touched(found):
            if self.watching is not None and self.watching.concerned(held):
                which = np.unique(found.rows[here])
                before = truth_of(self.rows(held)).taken(which)
                watched.append((held, which, before))
        return watched

    def _outcomes(self, told: Told) -> Outcomes:
        rows = told.kept
        if rows is None:
            rows = load_outcomes(self._path(told.address))
            self._keep_outcomes(told, rows)
        else:
            self.shelves.rows.touch(told)
        return rows

    def _keep_outcomes(self, told: Told, rows: Outcomes) -> None:
        told.kept = rows
        wide = OUTCOME_BYTES + (0 if rows.values is None else NUMBER_BYTES)
        self.shelves.rows.put(told, len(rows.ids) * wide)

    def _touched(self, found: Found) -> list[tuple[Held, Flags]]:
        return [
            (self.batches[number], found.batches == number)
            for number in np.unique(found.batches).tolist()
            if number >= 0
        ]

    def _read_ids(self, number: int) -> Octets:
        return load_ids(self._path(self.batches[number].event.address))

    def _path(self, address: str) -> Path:
        return self.shelves.folder / address


def _span(event: BatchRecorded | OutcomesRecorded) -> tuple[int, int]:
    """Return the first halves of the least and the greatest id."""
    return UUID(event.first_id).int >> 64, UUID(event.last_id).int >> 64


def _hear(rows: Rows, told: Outcomes) -> None:
    here, at = places(rows.ids, told.ids)
    # As they were sent: of two in one batch the last one counts.
    order = np.argsort(here)
    here, at = here[order], at[order]
    outcomes, known = told.outcomes[here], told.known[here]
    # The later word counts, whichever arrived first.
    news = (rows.outcomes[at] == UNKNOWN) | (known >= rows.known[at])
    rows.outcomes[at[news]] = outcomes[news]
    rows.known[at[news]] = known[news]
    if rows.values is not None:
        values = 0.0 if told.values is None else told.values[here][news]
        rows.values[at[news]] = values


class Shelves(NamedTuple):
    """What all books of a process share."""

    store: Store
    folder: Path
    rows: Shelf
    windows: Shelf


class Books:
    """One book a model, opened when first asked for. Thread-safe."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._shelves = Shelves(store, folder, Shelf(), Shelf(WINDOWS))
        self._lock = threading.Lock()
        self._books: dict[tuple[str, str], Book] = {}

    @property
    def folder(self) -> Path:
        return self._shelves.folder

    def of(self, tenant: str, model: str) -> Book:
        with self._lock:
            found = self._books.get((tenant, model))
            if found is None:
                found = Book(self._shelves, tenant, model)
                self._books[tenant, model] = found
            return found


def truth_of(rows: Rows) -> Truth:
    return Truth(rows.outcomes, rows.values)


def essentials(rows: Decisions) -> Essentials:
    return Essentials(rows.ids, rows.times, rows.scores)
