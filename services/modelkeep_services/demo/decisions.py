"""Decisions that really were to be made, in order, with what later came true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
Words: TypeAlias = NDArray[np.str_]
Rows: TypeAlias = NDArray[np.int64]
Instants: TypeAlias = NDArray[np.datetime64]
Columns: TypeAlias = Mapping[str, Numbers | Words]
"""One array a feature, all of one length: float64 (NaN is missing) or strings."""

MISSING_WORD: Final = ""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Batch(NamedTuple):
    """The decisions of one interval: `rows` index the `Decisions` they come from."""

    start: np.datetime64
    end: np.datetime64
    rows: Rows


@dataclass(frozen=True, slots=True)
class Decisions:
    """Sorted by `decided_at`. Instants are datetime64[ms], UTC.

    `outcome` is 1.0 (the bad thing happened), 0.0, or NaN where no outcome ever comes;
    `known_at` is NaT exactly there, and for outcomes that have not matured.
    `references` are the callers' own ids, unique.
    """

    columns: Columns
    decided_at: Instants
    known_at: Instants
    outcome: Numbers
    references: Words
    read_at: Mapping[str, Instants] = field(default_factory=dict)
    """For an input that ages: when the reading behind each decision was taken."""

    def __len__(self) -> int:
        return len(self.decided_at)

    def take(self, rows: Rows) -> Columns:
        return {name: values[rows] for name, values in self.columns.items()}

    def between(self, start: np.datetime64, end: np.datetime64) -> Rows:
        """Return the rows decided from `start` until before `end`."""
        first, last = np.searchsorted(self.decided_at, np.array([start, end]))
        return np.arange(first, last, dtype=np.int64)

    def matured(self, start: np.datetime64, end: np.datetime64) -> Rows:
        """Return the rows whose outcome became known in [start, end), soonest first."""
        rows = np.flatnonzero((self.known_at >= start) & (self.known_at < end))
        return rows[np.argsort(self.known_at[rows], kind="stable")]

    def known(self, rows: Rows, by: np.datetime64 | None = None) -> Rows:
        """Return those of `rows` whose outcome was known (before `by`, if given)."""
        seen = ~np.isnat(self.known_at[rows])
        if by is not None:
            seen &= self.known_at[rows] < by
        return rows[seen]

    def batches(
        self, start: np.datetime64, end: np.datetime64, every: np.timedelta64
    ) -> Iterator[Batch]:
        """Yield [start, end) cut at each `every`, empty intervals too."""
        while start < end:
            until = min(start + every, end)
            yield Batch(start, until, self.between(start, until))
            start = until


def moments(at: Instants) -> list[datetime]:
    """Return them as the SDK takes them: with a time zone."""
    micros = at.astype("datetime64[us]").astype(np.int64).tolist()
    return [EPOCH + timedelta(microseconds=one) for one in micros]
