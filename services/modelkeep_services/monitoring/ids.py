"""Where a decision is, by its id: sorted runs that are merged as they grow.

24 bytes a decision. A run is merged with its neighbour once it is as long, so there are
about log2 of them and each id is moved as often. The first of two equal ids is found.

An id is held as two words: its first half, and a mix of both halves, from which the
second half follows. Runs are sorted by the mix, which is even whatever the ids are;
equality compares both words, so nobody can craft two ids that pass for one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.matrix import Flags, Octets

ABSENT: Final = -1
ODD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
"""2**64 over the golden ratio (Knuth, TAOCP 3, 6.4)."""
HALF: Final = np.uint64(32)

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


class _Run(NamedTuple):
    mixed: Halves
    first: Halves
    batches: Places
    rows: Places
    low: int
    high: int
    """The least and the greatest first half: ids of another time lie outside."""


class Ids:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return sum(len(run.mixed) for run in self._runs)

    def add(self, ids: Octets, batch: int) -> None:
        """Remember `ids`, [rows, 16], as the rows of `batch` in order."""
        if not len(ids):
            return
        first, _ = halves(ids)
        mixed = _mixed(ids)
        order = np.argsort(mixed, kind="stable")
        batches = np.full(len(ids), batch, dtype=np.int32)
        span = int(first.min()), int(first.max())
        rows = order.astype(np.int32)
        self._runs.append(_Run(mixed[order], first[order], batches, rows, *span))
        while len(self._runs) > 1 and len(self._runs[-1].mixed) * 2 >= len(
            self._runs[-2].mixed
        ):
            newer, older = self._runs.pop(), self._runs.pop()
            self._runs.append(_merged(older, newer))

    def find(self, ids: Octets) -> Found:
        batches = np.full(len(ids), ABSENT, dtype=np.int32)
        rows = np.full(len(ids), ABSENT, dtype=np.int32)
        if len(ids) and self._runs:
            first, _ = halves(ids)
            mixed = _mixed(ids)
            # In order, neighbours look at neighbours: several times faster than not.
            order = np.argsort(mixed)
            mixed, first = mixed[order], first[order]
            low, high = int(first.min()), int(first.max())
            for run in reversed(self._runs):  # an older run speaks last, and is heard
                if run.high >= low and run.low <= high:
                    here, at = _look(run, mixed, first)
                    batches[order[here]] = run.batches[at]
                    rows[order[here]] = run.rows[at]
        return Found(batches, rows)


def halves(ids: Octets) -> tuple[Halves, Halves]:
    """Return both halves of each id as numbers that are ordered as the ids are."""
    both = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])


def repeats(ids: Octets) -> bool:
    """Whether an id is there twice."""
    first, _ = halves(ids)
    mixed = _mixed(ids)
    order = np.argsort(mixed)
    mixed, first = mixed[order], first[order]
    alike = np.flatnonzero(mixed[1:] == mixed[:-1])
    if not len(alike):
        return False
    # Seldom: then look at the whole ids.
    keys = np.sort(np.ascontiguousarray(ids).view("S16").ravel())
    return bool((keys[1:] == keys[:-1]).any())


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


def _mixed(ids: Octets) -> Halves:
    first, second = halves(ids)
    spread = first * ODD
    spread ^= spread >> HALF
    # Odd times the second half is one to one, so with `first` it says the whole id.
    mixed: Halves = (second ^ spread) * ODD
    return mixed


def _look(run: _Run, mixed: Halves, first: Halves) -> tuple[Places, Places]:
    """Return which of those asked are in the run, and where."""
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
    mixed = np.concatenate([older.mixed, newer.mixed])
    # Of two sorted runs a stable sort makes one by merging; the older goes first.
    order = np.argsort(mixed, kind="stable")
    return _Run(
        mixed[order],
        np.concatenate([older.first, newer.first])[order],
        np.concatenate([older.batches, newer.batches])[order],
        np.concatenate([older.rows, newer.rows])[order],
        min(older.low, newer.low),
        max(older.high, newer.high),
    )
