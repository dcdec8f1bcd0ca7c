"""Multivariate drift: columns that no longer move together.

Each column may look as it always did while what bound them has gone. Principal
components of the baseline (Pearson, "On lines and planes of closest fit to systems of
points in space", Philosophical Magazine 2 (1901), 559-572) that explain most of its
variance say what a row should look like given the rest of itself; the mean squared
distance of rows from that rises when they stop fitting (Jackson & Mudholkar, "Control
procedures for residuals associated with principal component analysis", Technometrics 21
(1979), 341-349, the Q statistic; NannyML takes the mean of its root). It falls too,
when columns come to move together more.

The mean of squares, unlike that of roots, follows from second moments alone, so a
window needs but sums: of values folded by centre and spread (see `fine`), held within 8
spreads and rounded to 1/256 of one. Sums of such whole numbers are exact, up to 2 ** 31
rows, so any split and order of the same rows gives the same integers, and they take
8 (k + 1) ** 2 bytes for k columns. A missing value stands at the centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Counts, Floats, numbers_of
from modelkeep.stats.fine import FineLayout, Scale
from modelkeep.stats.wilson import NORMAL_95

STEPS: Final = 256
"""Of one spread."""
MOST: Final = 8 * STEPS
EXPLAINED: Final = 0.65
"""The share of variance that the components explain, at least; NannyML's default."""
CHUNK: Final = 8_192


@dataclass(frozen=True, eq=False)
class Together:
    """Second moments of a window: `sums` is [1, x] [1, x]' over its rows, in steps.

    The first row and column count rows and sum up the columns. Read only.
    """

    layout: FineLayout
    sums: Counts

    def __post_init__(self) -> None:
        self.sums.flags.writeable = False

    @classmethod
    def empty(cls, layout: FineLayout) -> Self:
        size = len(layout.scales) + 1
        return cls(layout, np.zeros((size, size), dtype=np.int64))

    @property
    def rows(self) -> int:
        return int(self.sums[0, 0])

    def __add__(self, other: Together) -> Together:
        """Raise Invalid when the other was folded otherwise."""
        if self.layout.digest != other.layout.digest:
            raise Invalid.field("layout", "moments of two layouts do not add")
        return Together(self.layout, self.sums + other.sums)


class Misfit(NamedTuple):
    """The mean squared distance of a window's rows from the baseline's components.

    In variances of a column. `low` and `high` are the 95 % interval of `error` less
    `baseline_error` if rows still vary as the baseline's did; `by_column` adds up to
    that difference and says where it lies.
    """

    error: float
    baseline_error: float
    low: float
    high: float
    by_column: dict[str, float]
    rows: int
    baseline_rows: int

    @property
    def drifted(self) -> bool:
        """Chance is excluded at 95 %."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True, eq=False)
class Components:
    """What the baseline's rows had in common.

    `deviation` is that of one row's squared distance, from which a window's interval
    follows.
    """

    baseline: Together
    deviation: float
    explained: float = EXPLAINED

    @classmethod
    def fit(
        cls,
        layout: FineLayout,
        columns: Mapping[str, Column],
        explained: float = EXPLAINED,
    ) -> Self:
        """Fit to reference rows. Raises Invalid for fewer than two columns or rows."""
        if len(layout.scales) < 2 or not 0 < explained < 1:  # noqa: PLR2004 - a pair
            raise Invalid.field("columns", "two are the least that move together")
        baseline = together(layout, columns)
        if baseline.rows < 2:  # noqa: PLR2004 - two rows are the least that differ
            raise Invalid.field("columns", "a baseline needs rows")
        found = cls(baseline, 0.0, explained)
        return cls(baseline, found._deviation(columns), explained)

    @cached_property
    def centre(self) -> Floats:
        sums = self.baseline.sums.astype(np.float64)
        mean: Floats = sums[0, 1:] / sums[0, 0]
        return mean

    @cached_property
    def scale(self) -> Floats:
        """Return each column's standard deviation, a whole spread for a constant."""
        sums = self.baseline.sums.astype(np.float64)
        variance = np.diagonal(sums)[1:] / sums[0, 0] - self.centre**2
        return np.sqrt(np.where(variance > 0, variance, float(STEPS) ** 2))

    @cached_property
    def residual(self) -> Floats:
        """Return the matrix that leaves of a row what the components do not explain."""
        values, vectors = np.linalg.eigh(self._about_centre(self.baseline))
        values, vectors = values[::-1], vectors[:, ::-1]
        share = np.cumsum(values) / values.sum() if values.sum() > 0 else values
        # all but one, so that something is left that can misfit
        kept = min(int(np.searchsorted(share, self.explained)) + 1, values.size - 1)
        main = vectors[:, :kept]
        left: Floats = np.eye(values.size) - main @ main.T
        return left

    def misfit(self, window: Together) -> Misfit | None:
        """Return how badly a window fits; None when it is empty.

        Two columns that were one, then one of them turned around: each looks as it did.

        >>> from modelkeep.stats.fine import FineBaseline
        >>> line = np.linspace(-1, 1, 1_001)
        >>> layout = FineBaseline.fit({"a": line, "b": line}).layout
        >>> told = Components.fit(layout, {"a": line, "b": line})
        >>> found = told.misfit(together(layout, {"a": line, "b": -line}))
        >>> round(found.baseline_error, 6), round(found.error, 2), found.drifted
        (0.0, 2.0, True)
        """
        before = self.baseline
        if window.layout.digest != before.layout.digest:
            raise Invalid.field("window", "was folded otherwise")
        if not window.rows:
            return None
        now, was = self._left(window), self._left(before)
        apart = float((now - was).sum())
        half = NORMAL_95 * self.deviation * (1 / window.rows + 1 / before.rows) ** 0.5
        names = (scale.name for scale in before.layout.scales)
        return Misfit(
            float(now.sum()),
            float(was.sum()),
            apart - half,
            apart + half,
            dict(zip(names, (now - was).tolist(), strict=True)),
            window.rows,
            before.rows,
        )

    def _left(self, rows: Together) -> Floats:
        """Return the mean squared distance by column."""
        left = self.residual @ self._about_centre(rows) @ self.residual
        return np.maximum(0.0, np.diagonal(left))

    def _about_centre(self, rows: Together) -> Floats:
        """Return second moments about the baseline's centre, in its deviations."""
        mean = rows.sums.astype(np.float64) / rows.rows
        apart = np.outer(mean[0, 1:], self.centre)
        about = mean[1:, 1:] - apart - apart.T + np.outer(self.centre, self.centre)
        found: Floats = about / np.outer(self.scale, self.scale)
        return found

    def _deviation(self, columns: Mapping[str, Column]) -> float:
        total = squares = 0.0
        rows = 0
        for block in _blocks(self.baseline.layout, columns):
            standard = (block[1:] - self.centre[:, None]) / self.scale[:, None]
            far = ((self.residual @ standard) ** 2).sum(axis=0)
            total, squares = total + float(far.sum()), squares + float(far @ far)
            rows += far.size
        return float(np.sqrt(max(0.0, squares / rows - (total / rows) ** 2)))


def together(layout: FineLayout, columns: Mapping[str, Column]) -> Together:
    """Sum up a batch; a column that it lacks stands at its centre in all rows.

    Raises Invalid, naming the column, for unequal lengths and for anything but numbers.
    """
    size = len(layout.scales) + 1
    sums = np.zeros((size, size), dtype=np.int64)
    for block in _blocks(layout, columns):
        # whole numbers below 2 ** 53: exact in whatever order they are added
        sums += (block @ block.T).astype(np.int64)
    return Together(layout, sums)


def _blocks(layout: FineLayout, columns: Mapping[str, Column]) -> Iterator[Floats]:
    """Yield blocks of rows as [1, columns] by row, in steps from the centre."""
    rows = next((len(column) for column in columns.values()), 0)
    parts = []
    for scale in layout.scales:
        column = columns.get(scale.name)
        if column is not None:
            column = numbers_of(scale.name, column)
            if len(column) != rows:
                raise Invalid.field(
                    f"columns.{scale.name}", f"has {len(column)} rows, others {rows}"
                )
        parts.append((scale, column))
    for start in range(0, rows, CHUNK):
        yield _block(parts, start, min(start + CHUNK, rows))


def _block(
    parts: Sequence[tuple[Scale, Column | None]], start: int, end: int
) -> Floats:
    block = np.zeros((len(parts) + 1, end - start))
    block[0] = 1
    with np.errstate(over="ignore"):
        for row, (scale, column) in zip(block[1:], parts, strict=True):
            if column is None:
                continue
            np.subtract(column[start:end], scale.centre, out=row)
            np.multiply(row, STEPS / scale.spread, out=row)
            np.clip(row, -MOST, MOST, out=row)
            np.rint(row, out=row)
            np.copyto(row, 0.0, where=np.isnan(row))
    return block
