"""Where a decision is, by its id: sorted runs that are merged as they grow.

24 bytes a decision, as long as it is kept. A run is merged with its neighbour once it
is as long, up to a million ids, so each id is moved 20 times at most. Runs are let go
by the shelf and read again where ids between their ends are asked for: those ordered by
time (UUIDv7) seldom ask for old ones. The first of two equal ids is found.

An id is held as two words: its first half, and a mix of both halves, from which the
second half follows. Runs are sorted by the mix, which is even whatever the ids are;
equality compares both words, so nobody can craft two ids that pass for one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.kernel import kernel
from modelkeep.decisions.matrix import Flags, Octets
from modelkeep_services.monitoring.shelf import Shelf, Shelved

ABSENT: Final = -1
ODD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
"""2**64 over the golden ratio (Knuth, TAOCP 3, 6.4)."""
HALF: Final = np.uint64(32)
LONGEST: Final = 1 << 20
"""Ids of a run: so many are read again at once."""
BYTES: Final = 24
"""What an id takes while it is kept."""

Halves = NDArray[np.uint64]
Places = NDArray[np.int32]


class Found(NamedTuple):
    """For each id asked, its batch and row; ABSENT where it is not known."""

    batches: Places
    rows: Places

    @property
    def known(self) -> Flags:
        known: Flags = self.batches != ABSENT
        return known


class _Sorted(NamedTuple):
    """Ids by their mix, and where each is."""

    mixed: Halves
    first: Halves
    batches: Places
    rows: Places


@dataclass(eq=False, slots=True)
class _Run(Shelved):
    """The ids of neighbouring batches. `ids` is None while they are let go."""

    batches: range
    size: int
    low: int
    high: int
    """The least and the greatest first half: ids of another time lie outside."""
    ids: _Sorted | None

    def let_go(self) -> None:
        self.ids = None


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """Ids in the order of their mix, worked out once for all that is asked of them."""

    mixed: Halves
    first: Halves
    order: NDArray[np.intp]
    """Where each was among the ids given; equal mixes keep their order."""

    @classmethod
    def of(cls, ids: Octets) -> Sought:
        first, second = halves(ids)
        mixed = _mix(first, second)
        # In order, neighbours look at neighbours: several times faster than not.
        order = np.argsort(mixed)
        ordered = mixed[order]
        if _alike(ordered).any():
            order = np.argsort(mixed, kind="stable")
        return cls(ordered, first[order], order)

    def __len__(self) -> int:
        return len(self.order)

    def repeats(self) -> bool:
        """Whether an id is there twice: the mix and the first half say all of it."""
        if not _alike(self.mixed).any():
            return False
        # Seldom: then look at the whole ids, those with the same mix side by side.
        whole = np.lexsort((self.first, self.mixed))
        mixed, first = self.mixed[whole], self.first[whole]
        same = (mixed[1:] == mixed[:-1]) & (first[1:] == first[:-1])
        return bool(same.any())


Read = Callable[[int], Octets]
"""Returns the ids of a batch, in the order of its rows."""


class Ids:
    """Not thread-safe."""

    def __init__(self, read: Read | None = None, shelf: Shelf | None = None) -> None:
        """Without a shelf nothing is let go; without `read` nothing may be."""
        self._runs: list[_Run] = []
        self._read, self._shelf = read, shelf

    def __len__(self) -> int:
        return sum(run.size for run in self._runs)

    def add(self, ids: Octets | Sought, batch: int) -> None:
        """Remember `ids`, [rows, 16], as the rows of `batch` in order. Batches are
        numbered in the order in which they come.
        """
        if not len(ids):
            return
        known = ids if isinstance(ids, Sought) else Sought.of(ids)
        span = int(known.first.min()), int(known.first.max())
        numbers = range(batch, batch + 1)
        self._push(_Run(numbers, len(known), *span, _run_of(known, batch)))

    def add_unread(self, size: int, low: int, high: int, batch: int) -> None:
        """Remember where to read `size` ids between those first halves."""
        self._push(_Run(range(batch, batch + 1), size, low, high, None))

    def find(self, ids: Octets | Sought) -> Found:
        batches = np.full(len(ids), ABSENT, dtype=np.int32)
        rows = np.full(len(ids), ABSENT, dtype=np.int32)
        if len(ids) and self._runs:
            asked = ids if isinstance(ids, Sought) else Sought.of(ids)
            mixed, first, order = asked.mixed, asked.first, asked.order
            low, high = int(first.min()), int(first.max())
            for run in reversed(self._runs):  # an older run speaks last, and is heard
                if run.high >= low and run.low <= high:
                    known = self._ids(run)
                    here, at = _look(known, mixed, first)
                    batches[order[here]] = known.batches[at]
                    rows[order[here]] = known.rows[at]
        return Found(batches, rows)

    def _push(self, run: _Run) -> None:
        self._runs.append(run)
        while len(self._runs) > 1:
            older, newer = self._runs[-2:]
            if newer.size * 2 < older.size or older.size + newer.size > LONGEST:
                break
            if (older.ids is None) != (newer.ids is None):
                break  # what was just read stays with its like
            self._runs[-2:] = [_merged(older, newer)]
            if self._shelf is not None:
                self._shelf.drop(older)
                self._shelf.drop(newer)
        self._keep(self._runs[-1])

    def _keep(self, run: _Run) -> None:
        if self._shelf is not None and run.ids is not None:
            self._shelf.put(run, run.size * BYTES)

    def _ids(self, run: _Run) -> _Sorted:
        known = run.ids
        if known is None:
            if self._read is None:
                raise AssertionError("ids were let go that cannot be read again")
            parts = [_sorted(self._read(batch), batch) for batch in run.batches]
            known = run.ids = _in_order(parts)
            self._keep(run)
        elif self._shelf is not None:
            self._shelf.touch(run)
        return known


def places(of: Octets, asked: Octets) -> tuple[Places, Places]:
    """Return which of `asked` are among the ids `of`, and in which rows."""
    sought, known = Sought.of(asked), _sorted(of, 0)
    found, at = _look(known, sought.mixed, sought.first)
    return sought.order[found].astype(np.int32), known.rows[at]


def _sorted(ids: Octets, batch: int) -> _Sorted:
    return _run_of(Sought.of(ids), batch)


def _run_of(sought: Sought, batch: int) -> _Sorted:
    batches = np.full(len(sought), batch, dtype=np.int32)
    rows = sought.order.astype(np.int32)
    return _Sorted(sought.mixed, sought.first, batches, rows)


def halves(ids: Octets) -> tuple[Halves, Halves]:
    """Return both halves of each id as numbers that are ordered as the ids are."""
    both = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])


def repeats(ids: Octets) -> bool:
    """Whether an id is there twice."""
    if _alike(np.sort(_mix(*halves(ids)))).any():
        return Sought.of(ids).repeats()
    return False


def ends(ids: Octets) -> tuple[bytes, bytes]:
    """Return the least and the greatest id."""
    first, second = halves(ids)
    low, high = first.min(), first.max()
    return (
        _whole(low, second[first == low].min()),
        _whole(high, second[first == high].max()),
    )


def _whole(first: np.uint64, second: np.uint64) -> bytes:
    return int(first).to_bytes(8, "big") + int(second).to_bytes(8, "big")


def _mix(first: Halves, second: Halves) -> Halves:
    spread = first * ODD
    spread ^= spread >> HALF
    # Odd times the second half is one to one, so with `first` it says the whole id.
    mixed: Halves = (second ^ spread) * ODD
    return mixed


def _alike(mixed: Halves) -> Flags:
    """Say which are what the one before them is, but for the first."""
    alike: Flags = mixed[1:] == mixed[:-1]
    return alike


def _look(run: _Sorted, mixed: Halves, first: Halves) -> tuple[Places, Places]:
    """Return which of those asked are in the run, and where. `mixed` ascends."""
    compiled = kernel()
    if compiled is not None:
        at = compiled.places(run.mixed, mixed)
    else:
        at = np.searchsorted(run.mixed, mixed)
    asked = np.flatnonzero(at < len(run.mixed))
    found_asked, found_at = [], []
    while len(asked):
        place = at[asked]
        same = run.mixed[place] == mixed[asked]
        asked, place = asked[same], place[same]
        hit = run.first[place] == first[asked]
        found_asked.append(asked[hit])
        found_at.append(place[hit])
        # Another id may have the same mix: look at the next one.
        asked = asked[~hit]
        at[asked] += 1
        asked = asked[at[asked] < len(run.mixed)]
    if not found_asked:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    return np.concatenate(found_asked), np.concatenate(found_at)


def _merged(older: _Run, newer: _Run) -> _Run:
    one, other = older.ids, newer.ids
    known = None if one is None or other is None else _in_order([one, other])
    return _Run(
        range(older.batches.start, newer.batches.stop),
        older.size + newer.size,
        min(older.low, newer.low),
        max(older.high, newer.high),
        known,
    )


def _in_order(parts: list[_Sorted]) -> _Sorted:
    compiled = kernel()
    if compiled is not None and len(parts) == 2:  # noqa: PLR2004, as most often
        return _Sorted._make(compiled.merge(*parts))
    mixed = np.concatenate([part.mixed for part in parts])
    # Of sorted runs a stable sort makes one by merging; the older goes first.
    order = np.argsort(mixed, kind="stable")
    return _Sorted(
        mixed[order],
        np.concatenate([part.first for part in parts])[order],
        np.concatenate([part.batches for part in parts])[order],
        np.concatenate([part.rows for part in parts])[order],
    )
