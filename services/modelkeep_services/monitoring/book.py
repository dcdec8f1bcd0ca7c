"""What is known of one model's decisions and outcomes, row by row, in memory.

A cache of the stream `decisions-<tenant>.<model>` and of the objects its events name:
lost with the process, and read again when first asked for. About 50 bytes a decision,
for every decision of the model.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.matrix import Column, Decisions, Flags, Floats, Octets, Times
from modelkeep.errors import Corrupt
from modelkeep.events.base import decode
from modelkeep.events.monitoring import (
    BatchRecorded,
    ContractBreached,
    OutcomesRecorded,
)
from modelkeep.ledger import stream_name
from modelkeep.store.port import NO_STREAM, START, Recorded, Store
from modelkeep_services.monitoring.ids import Ids
from modelkeep_services.monitoring.objects import (
    Essentials,
    Outcomes,
    load_column,
    load_decisions,
    load_essentials,
    load_outcomes,
)

UNKNOWN: Final = 255
HOT: Final = 8
"""Objects just written, kept until the stream says they count."""
EARLY: Final = 1_000_000
"""Outcomes that may wait for their decision; beyond, the oldest are let go."""

Truths = NDArray[np.uint8]


@dataclass(eq=False)
class Held:
    """A batch: its event, and its rows. `outcomes` holds 0, 1, NEVER or UNKNOWN."""

    event: BatchRecorded
    event_id: str
    position: int
    times: Times
    scores: Floats
    outcomes: Truths
    known: Times
    breaches: dict[str, int] = field(default_factory=dict)


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

    def __init__(self, store: Store, folder: Path, tenant: str, model: str) -> None:
        self.lock = threading.RLock()
        self.stream = stream_name("decisions", tenant, model)
        self.version, self.position = NO_STREAM, START
        self.batches: list[Held] = []
        self.ids = Ids()
        self.sent: dict[str, BatchAnswer] = {}
        self.outcomes_sent: dict[str, OutcomeAnswer] = {}
        self._store, self._folder = store, folder
        self._by_object: dict[str, Held] = {}
        # Outcomes that came before their decision, by id.
        self._early: dict[bytes, tuple[int, int]] = {}
        self._hot: OrderedDict[str, Essentials | Outcomes] = OrderedDict()

    def keep(self, address: str, rows: Essentials | Outcomes) -> None:
        """Spare the next `catch_up` from opening this object."""
        self._hot[address] = rows
        while len(self._hot) > HOT:
            self._hot.popitem(last=False)

    def catch_up(self) -> None:
        """Read what the stream says since. Raises Corrupt when an object is gone."""
        for recorded in self._store.read_stream(self.stream, after=self.version):
            self._take(recorded)
            self.version, self.position = recorded.version, recorded.position

    def decisions(self, held: Held) -> Decisions:
        """Open a batch's object, for what is not held of it."""
        return load_decisions(self._folder / held.event.address)

    def column(self, held: Held, name: str) -> Column | None:
        """Open one column of a batch's object; None where it has none of that name."""
        return load_column(self._folder / held.event.address, name)

    def effect(self, rows: Outcomes) -> Effect:
        """Say what these outcomes would change; change nothing."""
        found = self.ids.find(rows.ids)
        duplicates = contradictions = 0
        for held, here in self._touched(found.batches):
            before = held.outcomes[found.rows[here]]
            told = before != UNKNOWN
            same = int(np.count_nonzero(told & (before == rows.outcomes[here])))
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
                held.breaches[key] = held.breaches.get(key, 0) + event.count
            case OutcomesRecorded():
                self._take_outcomes(event, recorded.position)
            case _:
                raise Corrupt(f"{recorded.name} is not a decision log's")

    def _take_batch(self, event: BatchRecorded, recorded: Recorded) -> None:
        rows = self._hot.pop(event.address, None)
        if not isinstance(rows, Essentials):
            rows = load_essentials(self._folder / event.address)
        held = Held(
            event=event,
            event_id=str(recorded.uuid),
            position=recorded.position,
            times=rows.times,
            scores=rows.scores,
            outcomes=np.full(len(rows.times), UNKNOWN, dtype=np.uint8),
            known=np.zeros(len(rows.times), dtype=np.int64),
        )
        self.ids.add(rows.ids, len(self.batches))
        self.batches.append(held)
        self._by_object[event.batch] = held
        self._remember(event, recorded.position)
        if self._early:
            self._greet(held, rows.ids)

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
            )
            first += sent.rows

    def _greet(self, held: Held, ids: Octets) -> None:
        for row, key in enumerate(map(bytes, ids)):
            early = self._early.pop(key, None)
            if early is not None:
                held.outcomes[row], held.known[row] = early

    def _take_outcomes(self, event: OutcomesRecorded, position: int) -> None:
        rows = self._hot.pop(event.address, None)
        if not isinstance(rows, Outcomes):
            rows = load_outcomes(self._folder / event.address)
        found = self.ids.find(rows.ids)
        for held, here in self._touched(found.batches):
            _apply(held, found.rows[here], rows.outcomes[here], rows.known[here])
        for row in np.flatnonzero(~found.known):
            told = int(rows.outcomes[row]), int(rows.known[row])
            self._early[rows.ids[row].tobytes()] = told
        while len(self._early) > EARLY:
            del self._early[next(iter(self._early))]
        self.outcomes_sent[event.batch] = OutcomeAnswer(
            event.root,
            position,
            event.matched,
            event.unmatched,
            event.duplicates,
            event.contradictions,
            event.never,
        )

    def _touched(self, batches: NDArray[np.int32]) -> list[tuple[Held, Flags]]:
        return [
            (self.batches[number], batches == number)
            for number in np.unique(batches).tolist()
            if number >= 0
        ]


def _apply(held: Held, rows: NDArray[np.int32], outcomes: Truths, known: Times) -> None:
    # The later word counts, whichever arrived first.
    news = (held.outcomes[rows] == UNKNOWN) | (known >= held.known[rows])
    held.outcomes[rows[news]] = outcomes[news]
    held.known[rows[news]] = known[news]


class Books:
    """One book a model, opened when first asked for. Thread-safe."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._lock = threading.Lock()
        self._books: dict[tuple[str, str], Book] = {}

    @property
    def folder(self) -> Path:
        return self._folder

    def of(self, tenant: str, model: str) -> Book:
        with self._lock:
            found = self._books.get((tenant, model))
            if found is None:
                found = Book(self._store, self._folder, tenant, model)
                self._books[tenant, model] = found
            return found


def essentials(rows: Decisions) -> Essentials:
    return Essentials(rows.ids, rows.times, rows.scores)
