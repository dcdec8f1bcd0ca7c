"""Fine cells: the shape of numeric columns, in integers that add up.

Ten bins are enough to see a drift and too few to measure it. Here the line is folded
into 256 cells, z = (x - centre) / spread, u = z / (1 + |z|), each 1/128 of u wide, so
1/128 of a spread at the centre and 1/5 four spreads away: no outlier, however far, can
take cells from the rest. Centre and spread are the baseline's median and quartile
distance and never move; a count is an integer, and so is the sum by which values exceed
the outermost cells; so any split and order of the same rows gives the same bytes.

`low` and `high` are the baseline's extremes; what lies beyond is counted. NaN is
missing; infinities fall into the outermost cells and beyond the range.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.kernel import Kernel, kernel
from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.bins import Column, Counts, Floats, is_whole, numbers_of
from modelkeep.stats.categories import Coded
from modelkeep.stats.pairs import known_pairs

FORMAT: Final = "modelkeep.fine/1"
CELLS: Final = 256
HALF: Final = CELLS // 2
MISSING: Final = CELLS
BELOW: Final = CELLS + 1
ABOVE: Final = CELLS + 2
SHORT: Final = CELLS + 3
BEYOND: Final = CELLS + 4
SIZE: Final = CELLS + 5
"""Cells, missing, below and above the range, and the two sums of excess."""

END: Final = HALF - 1
"""Where the outermost cells begin, in spreads from the centre."""
EXCESS_UNIT: Final = 1 / 8
"""Of a spread. An excess counts up to 2 ** 30 spreads, so 2 ** 30 rows cannot wrap."""
MOST_EXCESS: Final = 2.0**30

CHUNK: Final = 16_384
"""Rows at a time, and `BLOCK` values: a block and its cells stay in the cache."""
BLOCK: Final = 32_768

Singles = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Scale:
    """How one column is folded, and what the baseline's finite values were.

    `deviation` is their standard deviation; 0 for a constant, and where it overflows.
    """

    name: str
    centre: float
    spread: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class FineLayout:
    """The folded columns, in order."""

    scales: tuple[Scale, ...]

    @cached_property
    def digest(self) -> str:
        """Identify the layout: counts add only where this is the same."""
        return hashlib.sha256(
            _dump([vars(scale) for scale in self.scales])
        ).hexdigest()[:32]

    @cached_property
    def ends(self) -> Flags:
        """Return which cells may hold values beyond the range: [column, CELLS + 1]."""
        lows = np.array([[scale.low] for scale in self.scales])
        highs = np.array([[scale.high] for scale in self.scales])
        low, high = self._cells_of(lows), self._cells_of(highs)
        cells = np.arange(CELLS + 1)
        # the outermost cells have an excess to add, wherever the range ends
        outer = (cells == 0) | (cells == CELLS - 1)
        found: Flags = (cells <= low) | ((cells >= high) & (cells < MISSING)) | outer
        return found

    @cached_property
    def rates(self) -> Floats:
        """Return centre, cells in one unit and ends of the range: [column, 4]."""
        told = [(one.centre, 1 / one.spread, one.low, one.high) for one in self.scales]
        return np.array(told).reshape(-1, 4)

    def _cells_of(self, values: Floats) -> NDArray[np.int32]:
        """Return the cell of a value for each column: [column, 1]."""
        far = np.empty(values.shape, dtype=np.float32)
        for row, value, scale in zip(far, values, self.scales, strict=True):
            row[:] = (value - scale.centre) * (1 / scale.spread)
        cell = np.empty(values.shape, dtype=np.int32)
        _fold(far, np.empty_like(far), cell)
        return cell


@dataclass(frozen=True, eq=False)
class FineProfile:
    """Counts of one window: [column, SIZE]. Read only."""

    layout: FineLayout
    rows: int
    counts: Counts

    def __post_init__(self) -> None:
        self.counts.flags.writeable = False

    @classmethod
    def empty(cls, layout: FineLayout) -> Self:
        return cls(layout, 0, np.zeros((len(layout.scales), SIZE), dtype=np.int64))

    def __add__(self, other: FineProfile) -> FineProfile:
        """Raise Invalid when the other was counted in another layout."""
        if self.layout.digest != other.layout.digest:
            raise Invalid.field("layout", "profiles of two layouts do not add")
        return FineProfile(
            self.layout, self.rows + other.rows, self.counts + other.counts
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FineProfile) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    @property
    def cells(self) -> Counts:
        return self.counts[:, :CELLS]

    # a baseline is compared with every window: what is the same is computed once

    @cached_property
    def known(self) -> Counts:
        """Return the values that each column has."""
        found: Counts = self.cells.sum(axis=1)
        return found

    @cached_property
    def shares(self) -> Floats:
        """Return the share of each cell; 0 where a column has no values at all."""
        return self.cells / np.maximum(self.known, 1)[:, None]

    @cached_property
    def cumulative(self) -> Floats:
        """Return the share of each cell and those below it."""
        # whole numbers are added up exactly, and several times as fast
        below: Floats = np.cumsum(self.cells, axis=1)
        return below / np.maximum(self.known, 1)[:, None]

    def to_json(self) -> bytes:
        """Return the same bytes for the same counts: those above 0, by place."""
        told = []
        for row in self.counts:
            used = np.flatnonzero(row)
            told.append([used.tolist(), row[used].tolist()])
        return _dump(
            {
                "format": FORMAT,
                "layout": self.layout.digest,
                "rows": self.rows,
                "columns": told,
            }
        )

    @classmethod
    def from_json(cls, data: bytes | str, layout: FineLayout) -> Self:
        """Raise Invalid for another layout's counts, Corrupt for no counts at all."""
        try:
            told = json.loads(data)
            if told["layout"] != layout.digest:
                raise Invalid.field("layout", "the profile has another layout")
            counts = np.zeros((len(layout.scales), SIZE), dtype=np.int64)
            for row, (places, values) in zip(counts, told["columns"], strict=True):
                row[places] = values
            if counts.size and counts.min() < 0:
                raise Corrupt("a profile counts less than nothing")
            return cls(layout, int(told["rows"]), counts)
        except (ValueError, KeyError, TypeError, IndexError) as problem:
            raise Corrupt(f"this is not a profile: {problem!r}") from problem


@dataclass(frozen=True, eq=False)
class FineBaseline:
    """Reference data and the layout fitted to it."""

    layout: FineLayout
    reference: FineProfile

    @classmethod
    def fit(cls, columns: Mapping[str, Column | Coded]) -> Self:
        """Fit to the numeric columns, by name; categories are left to `profile`.

        Raises Invalid for unequal lengths and text.

        >>> ages = FineBaseline.fit({"age": np.arange(101.0)})
        >>> scale = ages.layout.scales[0]
        >>> scale.centre, scale.spread, scale.low, scale.high
        (50.0, 50.0, 0.0, 100.0)
        """
        names = sorted(n for n, c in columns.items() if not isinstance(c, Coded))
        layout = FineLayout(tuple(_fit(name, columns[name]) for name in names))
        return cls(layout, count_fine(layout, columns))

    def profile(self, columns: Mapping[str, Column | Coded]) -> FineProfile:
        """Count a batch; see `count_fine`."""
        return count_fine(self.layout, columns)

    def to_json(self) -> bytes:
        return _dump(
            {
                "format": FORMAT,
                "scales": [vars(scale) for scale in self.layout.scales],
                "reference": json.loads(self.reference.to_json()),
            }
        )

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Raise Corrupt when this is not what `to_json` wrote."""
        try:
            told = json.loads(data)
            layout = FineLayout(tuple(Scale(**scale) for scale in told["scales"]))
            reference = FineProfile.from_json(json.dumps(told["reference"]), layout)
        except (ValueError, KeyError, TypeError, Invalid) as problem:
            raise Corrupt(f"this is not a baseline: {problem!r}") from problem
        return cls(layout, reference)


def edges_of(scale: Scale) -> Floats:
    """Return the 255 inner edges, ascending, in the column's own unit.

    A value within 1e-5 of an edge, relatively, may be counted on its other side: the
    fold is computed in 32 bits. An edge belongs to the cell that is farther from the
    centre.
    """
    return scale.centre + scale.spread * folded_edges()


def folded_edges() -> Floats:
    """Return the 255 inner edges in spreads from the centre, from -127 to 127.

    >>> edges = folded_edges()
    >>> edges[0].item(), edges[127].item(), edges[191].item(), edges[254].item()
    (-127.0, 0.0, 1.0, 127.0)
    """
    places = np.arange(1 - HALF, HALF, dtype=np.float64)
    edges: Floats = places / (HALF - np.abs(places))
    return edges


def place_of(scale: Scale, value: float) -> float:
    """Return where a value lies among the cells: 128 at the centre, 192 a spread above.

    >>> place_of(Scale("x", 10.0, 2.0, 1.0, 0.0, 20.0), 12.0)
    192.0
    """
    far = (value - scale.centre) / scale.spread
    return HALF + HALF * far / (1 + abs(far))


def outcome_table_fine(scale: Scale, scores: Column, outcomes: Column) -> Counts:
    """Return rows by outcome (0, 1) and fine cell of the score: [2, 256].

    Finer than `scores.outcome_table` where all scores lie close together. Rows where
    either is NaN are left out. Raises Invalid when an outcome is neither 0, 1 nor NaN.
    """
    said, true = known_pairs(scores, outcomes)
    layout = FineLayout((scale,))
    parts = [count_fine(layout, {scale.name: said[true == told]}) for told in (0, 1)]
    return np.concatenate([part.cells for part in parts])


def count_fine(
    layout: FineLayout, columns: Mapping[str, Column | Coded]
) -> FineProfile:
    """Count a batch, all columns at once; the inputs are not changed.

    A column that the batch lacks is missing in all of its rows. Raises Invalid, naming
    the column, for unequal lengths and for anything but numbers.
    """
    rows = next((_length(column) for column in columns.values()), 0)
    parts: list[Column | None] = []
    for scale in layout.scales:
        column = columns.get(scale.name)
        if isinstance(column, Coded):
            raise Invalid.field(f"columns.{scale.name}", "categories in numbers")
        if column is not None and len(column) != rows:
            raise Invalid.field(
                f"columns.{scale.name}", f"has {len(column)} rows, others {rows}"
            )
        parts.append(None if column is None else numbers_of(scale.name, column))
    counts = np.zeros((len(parts), SIZE), dtype=np.int64)
    if rows:
        with np.errstate(invalid="ignore", over="ignore"):
            _count(layout, parts, rows, counts)
    return FineProfile(layout, rows, counts)


def _count(
    layout: FineLayout, columns: Sequence[Column | None], rows: int, counts: Counts
) -> None:
    compiled = kernel()
    if compiled is not None and all(one is None or is_whole(one) for one in columns):
        _count_compiled(compiled, layout, columns, rows, counts)
        return
    chunk = min(CHUNK, rows)
    group = max(1, BLOCK // chunk)
    for first in range(0, len(columns), group):
        some = slice(first, first + group)
        _count_group(
            layout.scales[some], layout.ends[some], columns[some], rows, counts[some]
        )


def _count_compiled(
    compiled: Kernel,
    layout: FineLayout,
    columns: Sequence[Column | None],
    rows: int,
    counts: Counts,
) -> None:
    here = [at for at, column in enumerate(columns) if column is not None]
    counts[[column is None for column in columns], MISSING] += rows
    if not here:
        return
    whole = [np.asarray(column, np.float64) for column in columns if column is not None]
    found = counts[here]
    compiled.fold(whole, layout.rates[here], found)
    outside = found[:, 0] | found[:, CELLS - 1]
    for place in np.flatnonzero(outside).tolist():
        scale = layout.scales[here[place]]
        far = np.multiply(whole[place] - scale.centre, 1 / scale.spread)
        _add_excess(far.astype(np.float32), found[place])
    counts[here] = found


def _count_group(
    scales: Sequence[Scale],
    ends: Flags,
    columns: Sequence[Column | None],
    rows: int,
    counts: Counts,
) -> None:
    features, chunk, wide = len(columns), min(CHUNK, rows), CELLS + 1
    rate = np.array([[1 / scale.spread] for scale in scales])
    first = wide * np.arange(features, dtype=np.int32)[:, None]
    block = np.full((features, chunk), np.nan)
    far = np.empty((features, chunk), dtype=np.float32)
    fold, cell = np.empty_like(far), np.empty(far.shape, dtype=np.int32)
    place = np.empty(far.shape, dtype=np.intp)
    for start in range(0, rows, chunk):
        end = min(start + chunk, rows)
        for row, scale, column in zip(block, scales, columns, strict=True):
            if column is not None:
                np.subtract(column[start:end], scale.centre, out=row[: end - start])
        block[:, end - start :] = np.nan
        np.multiply(block, rate, out=far, casting="same_kind")
        _fold(far, fold, cell)
        cell += first
        np.copyto(place, cell)
        found = np.bincount(place.ravel(), minlength=features * wide)
        seen = found.reshape(features, wide)
        counts[:, :wide] += seen
        for at in np.flatnonzero((seen * ends).any(axis=1)).tolist():
            _count_ends(scales[at], columns[at], start, end, counts[at])
            if seen[at, 0] or seen[at, CELLS - 1]:
                _add_excess(far[at], counts[at])
    # the padding of the last chunk was counted as missing
    counts[:, MISSING] -= -rows % chunk


def _fold(far: Singles, fold: Singles, cell: NDArray[np.int32]) -> None:
    """Find the cell of each distance: 128 - 128 / (1 + |z|), mirrored below zero.

    Each step is monotone however it is rounded, so that a cell is an interval. NaN has
    no integer: what the cast makes of it lies far outside, and ends as missing.
    """
    np.abs(far, out=fold)
    fold += 1
    np.divide(-HALF, fold, out=fold)
    fold += HALF
    np.copyto(cell, fold, casting="unsafe")
    np.minimum(cell, HALF - 1, out=cell)
    cell ^= far.view(np.int32) >> 31
    cell += HALF
    np.minimum(cell.view(np.uint32), MISSING, out=cell.view(np.uint32))


def _count_ends(
    scale: Scale, column: Column | None, start: int, end: int, counts: Counts
) -> None:
    if column is not None:
        part = column[start:end]
        counts[BELOW] += np.count_nonzero(np.less(part, scale.low))
        counts[ABOVE] += np.count_nonzero(np.greater(part, scale.high))


def _add_excess(far: Singles, counts: Counts) -> None:
    """Add by how much values exceed the outermost cells."""
    for sign, part in ((-1, SHORT), (1, BEYOND)):
        past = sign * far - np.float32(END)
        past = np.minimum(past[past > 0].astype(np.float64), MOST_EXCESS)
        counts[part] += int(np.rint(past / EXCESS_UNIT).sum())


def _fit(name: str, column: Column | Coded) -> Scale:
    if isinstance(column, Coded):
        raise Invalid.field(f"columns.{name}", "categories in numbers")
    numbers = numbers_of(name, column).astype(np.float64)
    # adding zero turns -0.0 into 0.0, so that equal values have one spelling
    known = numbers[np.isfinite(numbers)] + 0.0
    if not known.size:
        return Scale(name, 0.0, 1.0, 0.0, 0.0, 0.0)
    # ranks, not quantiles between them: those of huge values overflow
    ranks = np.array((0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)) * (known.size - 1)
    places = np.rint(ranks).astype(np.intp)
    marks = np.partition(known, places)[places].tolist()
    least, twentieth, first, median, third, last, most = marks
    # a value that most rows share leaves no quartile distance: look wider
    wider = (third - first, last - twentieth, most - least, abs(median), 1.0)
    spread = next(width for width in wider if np.finfo(float).tiny < width < np.inf)
    with np.errstate(over="ignore"):
        deviation = float(known.std())
    return Scale(
        name, median, spread, deviation if deviation < np.inf else 0.0, least, most
    )


def _length(column: Column | Coded) -> int:
    return len(column.codes if isinstance(column, Coded) else column)


def _dump(told: object) -> bytes:
    return json.dumps(
        told, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()
