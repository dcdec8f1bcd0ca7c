"""Where a decision is, by its id: sorted runs that are merged as they grow.

24 bytes a decision. A run is merged with its neighbour once it is as long, so there are
about log2 of them and each id is moved as often. The first of two equal ids is found.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.matrix import Octets

ABSENT: Final = -1

Keys = NDArray[np.bytes_]
Places = NDArray[np.int32]


class Found(NamedTuple):
    """For each id asked, its batch and row; ABSENT where it is not known."""

    batches: Places
    rows: Places

    @property
    def known(self) -> NDArray[np.bool_]:
        known: NDArray[np.bool_] = self.batches != ABSENT
        return known


class _Run(NamedTuple):
    keys: Keys
    batches: Places
    rows: Places


class Ids:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return sum(len(run.keys) for run in self._runs)

    def add(self, ids: Octets, batch: int) -> None:
        """Remember `ids`, [rows, 16], as the rows of `batch` in order."""
        rows = np.arange(len(ids), dtype=np.int32)
        batches = np.full(len(ids), batch, dtype=np.int32)
        self._runs.append(_sorted(_keys(ids), batches, rows))
        while len(self._runs) > 1 and len(self._runs[-1].keys) * 2 >= len(
            self._runs[-2].keys
        ):
            newer, older = self._runs.pop(), self._runs.pop()
            self._runs.append(
                _sorted(
                    np.concatenate([older.keys, newer.keys]),
                    np.concatenate([older.batches, newer.batches]),
                    np.concatenate([older.rows, newer.rows]),
                )
            )

    def find(self, ids: Octets) -> Found:
        batches = np.full(len(ids), ABSENT, dtype=np.int32)
        rows = np.full(len(ids), ABSENT, dtype=np.int32)
        wanted = _keys(ids)
        for run in reversed(self._runs):  # an older run speaks last, and is heard
            at = np.searchsorted(run.keys, wanted)
            at[at == len(run.keys)] = 0
            here = run.keys[at] == wanted
            batches[here] = run.batches[at[here]]
            rows[here] = run.rows[at[here]]
        return Found(batches, rows)


def _keys(ids: Octets) -> Keys:
    # As S16 both sides lose trailing zeros alike, so order and equality stay exact.
    keys: Keys = np.ascontiguousarray(ids).view("S16").ravel()
    return keys


def _sorted(keys: Keys, batches: Places, rows: Places) -> _Run:
    order = np.argsort(keys, kind="stable")
    return _Run(keys[order], batches[order], rows[order])
