"""Profiles: what a window of rows looked like, in integers that add up.

A Baseline says how rows are counted (its Layout: bins, categories) and what the counts
were in reference data. It turns any batch into a Profile; profiles of the same layout
add, and any split and order of the same rows gives the same bytes, because a count is
an integer and the bins never move.

A column that a batch does not have is missing in all of its rows; one that the layout
does not know is left to the contract.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats import latency as latencies
from modelkeep.stats import scores as score_cells
from modelkeep.stats.bins import (
    Column,
    Counts,
    Floats,
    count_bins,
    edge_matrix,
    fit_edges,
    numbers_of,
)
from modelkeep.stats.categories import MOST, Coded, count_categories, fit_categories
from modelkeep.stats.psi import EPSILON
from modelkeep.stats.shares import Shares

BASELINE_FORMAT: Final = "modelkeep.baseline/1"
PROFILE_FORMAT: Final = "modelkeep.profile/1"


@dataclass(frozen=True)
class Numeric:
    """Counted by bin, one more than there are edges, then missing."""

    name: str
    edges: tuple[float, ...]

    @property
    def size(self) -> int:
        return len(self.edges) + 2


@dataclass(frozen=True)
class Categorical:
    """Counted by category, then other, then missing."""

    name: str
    categories: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.categories) + 2


Feature = Numeric | Categorical


@dataclass(frozen=True)
class Layout:
    """How rows are counted.

    `scores` has bins of its own, by which drift is judged: 64 equal cells are too few
    where all scores lie below .03. The cells serve performance.
    """

    features: tuple[Feature, ...]
    scores: Numeric | None = None
    score_low: float = 0.0
    score_high: float = 1.0

    @cached_property
    def digest(self) -> str:
        """Identify the layout: profiles add only where this is the same."""
        told = [
            [_spec(feature) for feature in self.binned],
            [self.score_low, self.score_high],
        ]
        return hashlib.sha256(_dump(told)).hexdigest()[:32]

    @cached_property
    def binned(self) -> tuple[Feature, ...]:
        """Everything that drift is judged by, the scores last."""
        return self.features if self.scores is None else (*self.features, self.scores)

    @cached_property
    def starts(self) -> Counts:
        """Return where the counts of each of `binned` begin."""
        return np.cumsum([0, *self.sizes], dtype=np.int64)[:-1]

    @cached_property
    def sizes(self) -> Counts:
        """Return how many counts each of `binned` has."""
        return np.array([feature.size for feature in self.binned], dtype=np.int64)

    @cached_property
    def ends(self) -> Counts:
        """Return where the counts of each of `binned` end: the last are the missing."""
        return np.cumsum(self.sizes, dtype=np.int64)

    @cached_property
    def bins_end(self) -> int:
        return sum(feature.size for feature in self.binned)

    @cached_property
    def size(self) -> int:
        return self.bins_end + score_cells.SIZE + latencies.SIZE

    @cached_property
    def numeric(self) -> tuple[Numeric, ...]:
        return tuple(f for f in self.features if isinstance(f, Numeric))

    @cached_property
    def categorical(self) -> tuple[tuple[slice, Categorical], ...]:
        """Return the categorical features and where their counts lie."""
        parts = ((self.part(at), f) for at, f in enumerate(self.features))
        return tuple((part, f) for part, f in parts if isinstance(f, Categorical))

    @cached_property
    def matrix(self) -> Floats:
        """Return the edges of the numeric features, those of the scores last."""
        edges = [feature.edges for feature in self.numeric]
        return edge_matrix(
            edges if self.scores is None else [*edges, self.scores.edges]
        )

    @cached_property
    def missing_places(self) -> Counts:
        """Return where the missing values of each numeric feature are counted."""
        parts = [
            self.part(place).stop - 1
            for place, feature in enumerate(self.binned)
            if isinstance(feature, Numeric)
        ]
        return np.array(parts, dtype=np.int64)

    @cached_property
    def bin_places(self) -> Counts:
        """Return where the bins of the numeric features are counted, end to end."""
        ranges = [
            np.arange(self.part(place).start, self.part(place).stop - 1)
            for place, feature in enumerate(self.binned)
            if isinstance(feature, Numeric)
        ]
        return np.concatenate([*ranges, np.empty(0, np.int64)]).astype(np.int64)

    @cached_property
    def bin_sources(self) -> Counts:
        """Return where the same bins are in a flat [feature, edge] matrix."""
        width, features = self.matrix.shape
        numeric = [f for f in self.binned if isinstance(f, Numeric)]
        sizes = np.array([feature.size - 1 for feature in numeric], dtype=np.int64)
        flat = np.arange(width) + width * np.arange(features)[:, None]
        sources: Counts = flat[np.arange(width) < sizes[:, None]]
        return sources

    @property
    def score_part(self) -> slice:
        return slice(self.bins_end, self.bins_end + score_cells.SIZE)

    @property
    def latency_part(self) -> slice:
        return slice(self.bins_end + score_cells.SIZE, self.size)

    def part(self, feature: int) -> slice:
        """Return where the counts of `binned[feature]` lie."""
        start = int(self.starts[feature])
        return slice(start, start + self.binned[feature].size)


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts of one window, end to end as its layout says. Read only."""

    layout: Layout
    rows: int
    counts: Counts

    def __post_init__(self) -> None:
        self.counts.flags.writeable = False

    @classmethod
    def empty(cls, layout: Layout) -> Self:
        return cls(layout, 0, np.zeros(layout.size, dtype=np.int64))

    def __add__(self, other: Profile) -> Profile:
        """Raise Invalid when the other was counted in another layout."""
        if self.layout.digest != other.layout.digest:
            raise Invalid.field("layout", "profiles of two layouts do not add")
        return Profile(self.layout, self.rows + other.rows, self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    @property
    def scores(self) -> Counts:
        """Return the 64 cells, then scores out of range, then missing ones."""
        return self.counts[self.layout.score_part]

    @property
    def latency(self) -> Counts:
        return self.counts[self.layout.latency_part]

    def feature(self, name: str) -> Counts:
        """Return the counts of its bins, or categories and other, then missing."""
        for place, feature in enumerate(self.layout.features):
            if feature.name == name:
                return self.counts[self.layout.part(place)]
        raise Invalid.field("feature", f"{name} is not in this layout")

    def to_json(self) -> bytes:
        """Return the same bytes for the same counts, all of them integers."""
        binned = self.counts[: self.layout.bins_end].tolist()
        latency = self.latency
        used = np.flatnonzero(latency)
        return _dump(
            {
                "format": PROFILE_FORMAT,
                "layout": self.layout.digest,
                "rows": self.rows,
                "bins": [
                    binned[self.layout.part(place)]
                    for place in range(len(self.layout.binned))
                ],
                "scores": self.scores.tolist(),
                # few of the thousand cells are in use
                "latency": np.column_stack((used, latency[used])).tolist(),
            }
        )

    @classmethod
    def from_json(cls, data: bytes | str, layout: Layout) -> Self:
        """Raise Invalid for another layout's profile, Corrupt for no profile at all."""
        try:
            told = json.loads(data)
            if told["layout"] != layout.digest:
                raise Invalid.field("layout", "the profile has another layout")
            counts = np.zeros(layout.size, dtype=np.int64)
            if told["bins"]:
                counts[: layout.bins_end] = np.concatenate(told["bins"])
            counts[layout.score_part] = told["scores"]
            for cell, rows in told["latency"]:
                counts[layout.latency_part][cell] = rows
            if counts.min() < 0:
                raise Corrupt("a profile counts less than nothing")
            return cls(layout, int(told["rows"]), counts)
        except (ValueError, KeyError, TypeError, IndexError) as problem:
            raise Corrupt(f"this is not a profile: {problem!r}") from problem


@dataclass(frozen=True, eq=False)
class Baseline:
    """Reference data, counted in its own layout.

    `importance` has a weight for each of the layout's features, adding up to 1.
    `epsilon` is the least share of a bin (see `psi`). `season` is an opaque key, such
    as an hour of the week, for services that keep a baseline a season; empty for one
    that serves them all.
    """

    layout: Layout
    reference: Profile
    importance: tuple[float, ...]
    epsilon: float = EPSILON
    season: str = ""

    @cached_property
    def shares(self) -> Shares:
        """Return the reference as shares of each of the layout's `binned`."""
        counts = self.reference.counts[: self.layout.bins_end]
        return Shares.of(counts, self.layout.starts, self.layout.sizes)

    @classmethod
    def fit(
        cls,
        columns: Mapping[str, Column | Coded],
        *,
        scores: Column | None = None,
        latency_ms: Column | None = None,
        importances: Mapping[str, float] | None = None,
        categorical: Collection[str] = (),
        bins: int = 10,
        categories: int = MOST,
        score_range: tuple[float, float] = (0.0, 1.0),
        season: str = "",
    ) -> Self:
        """Fit bins and categories to reference data and count it.

        Columns of numbers are numeric, others and those in `categorical` categorical.
        Without `importances` every feature weighs alike; a feature that has none weighs
        nothing. Raises Invalid for no rows, unequal lengths and impossible weights.
        """
        features = tuple(
            _fit(name, columns[name], bins, categories, forced=name in categorical)
            for name in sorted(columns)
        )
        low, high = score_range
        fitted = None if scores is None else Numeric("score", fit_edges(scores, bins))
        layout = Layout(features, fitted, low, high)
        reference = count(layout, columns, scores=scores, latency_ms=latency_ms)
        if reference.rows == 0:
            raise Invalid.field("columns", "a baseline needs rows")
        return cls(layout, reference, _weigh(features, importances), season=season)

    def profile(
        self,
        columns: Mapping[str, Column | Coded],
        scores: Column | None = None,
        latency_ms: Column | None = None,
    ) -> Profile:
        """Count a batch; see `count`."""
        return count(self.layout, columns, scores=scores, latency_ms=latency_ms)

    def to_json(self) -> bytes:
        parts = zip(self.layout.features, self.importance, strict=True)
        scores = self.layout.scores
        return _dump(
            {
                "format": BASELINE_FORMAT,
                "features": [
                    _spec(feature) | {"importance": weight} for feature, weight in parts
                ],
                "scores": None if scores is None else _spec(scores),
                "score_range": [self.layout.score_low, self.layout.score_high],
                "epsilon": self.epsilon,
                "epsilon_policy": "half a row or the other share, at least epsilon",
                "season": self.season,
                "reference": json.loads(self.reference.to_json()),
            }
        )

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Raise Corrupt when this is not what `to_json` wrote."""
        try:
            told = json.loads(data)
            if told["format"] != BASELINE_FORMAT:
                raise Corrupt(f"{told['format']} is not {BASELINE_FORMAT}")
            low, high = told["score_range"]
            layout = Layout(
                tuple(_feature(spec) for spec in told["features"]),
                _scores(told["scores"]),
                low,
                high,
            )
            return cls(
                layout,
                Profile.from_json(json.dumps(told["reference"]), layout),
                tuple(float(spec["importance"]) for spec in told["features"]),
                float(told["epsilon"]),
                str(told["season"]),
            )
        except (ValueError, KeyError, TypeError, Invalid) as problem:
            raise Corrupt(f"this is not a baseline: {problem!r}") from problem


def count(
    layout: Layout,
    columns: Mapping[str, Column | Coded],
    *,
    scores: Column | None = None,
    latency_ms: Column | None = None,
) -> Profile:
    """Count a batch, all columns at once; the inputs are not changed.

    NaN and None are missing, infinities fall into the open ends. Raises Invalid, naming
    the column, for unequal lengths and for text in a numeric column.
    """
    rows = _rows(columns, scores, latency_ms)
    counts = np.zeros(layout.size, dtype=np.int64)
    _count_numbers(layout, columns, scores, rows, counts)
    for part, feature in layout.categorical:
        column = columns.get(feature.name)
        if column is None:
            counts[part.stop - 1] = rows
        else:
            counts[part] = count_categories(column, feature.categories)
    if scores is not None:
        counts[layout.score_part] = score_cells.count_scores(
            scores, layout.score_low, layout.score_high
        )
    if latency_ms is not None:
        counts[layout.latency_part] = latencies.count_latency(latency_ms)
    return Profile(layout, rows, counts)


def _count_numbers(
    layout: Layout,
    columns: Mapping[str, Column | Coded],
    scores: Column | None,
    rows: int,
    counts: Counts,
) -> None:
    numbers = []
    for feature in layout.numeric:
        column = columns.get(feature.name)
        if column is None:
            column = np.full(rows, np.nan)
        numbers.append(_numbers(feature.name, column))
    if layout.scores is not None:
        given = np.full(rows, np.nan) if scores is None else scores
        numbers.append(numbers_of("score", given))
    binned = count_bins(numbers, layout.matrix)
    counts[layout.bin_places] = binned.T.ravel()[layout.bin_sources]
    counts[layout.missing_places] = rows - binned.sum(axis=0)
    if layout.scores is not None and scores is None:
        # a batch without scores says nothing about them, not that they are missing
        counts[layout.part(len(layout.features))] = 0


def _numbers(name: str, column: Column | Coded) -> Column:
    if isinstance(column, Coded):
        raise Invalid.field(f"columns.{name}", "categories in a numeric column")
    return numbers_of(name, column)


def _rows(
    columns: Mapping[str, Column | Coded],
    scores: Column | None,
    latency_ms: Column | None,
) -> int:
    lengths = [_length(column) for column in columns.values()]
    extra = {"scores": scores, "latency_ms": latency_ms}
    lengths += [len(column) for column in extra.values() if column is not None]
    rows = lengths[0] if lengths else 0
    if lengths.count(rows) < len(lengths):
        names = [f"columns.{name}" for name in columns]
        names += [name for name, column in extra.items() if column is not None]
        told = zip(names, lengths, strict=True)
        name, length = next(pair for pair in told if pair[1] != rows)
        raise Invalid.field(name, f"has {length} rows, others {rows}")
    return rows


def _length(column: Column | Coded) -> int:
    return len(column.codes if isinstance(column, Coded) else column)


def _fit(
    name: str, column: Column | Coded, bins: int, categories: int, *, forced: bool
) -> Feature:
    if forced or isinstance(column, Coded) or not _is_numeric(column):
        return Categorical(name, fit_categories(column, categories))
    return Numeric(name, fit_edges(numbers_of(name, column), bins))


def _is_numeric(column: Column) -> bool:
    if column.dtype.kind == "O":
        kinds = {type(value) for value in column.tolist()} - {type(None)}
        return bool(kinds) and kinds <= {int, float, bool}
    return column.dtype.kind not in "US"


def _weigh(
    features: Sequence[Feature], importances: Mapping[str, float] | None
) -> tuple[float, ...]:
    if not features:
        return ()
    if importances is None:
        return (1 / len(features),) * len(features)
    raw = [importances.get(feature.name, 0.0) for feature in features]
    if not all(0 <= weight < math.inf for weight in raw) or not sum(raw):
        raise Invalid.field("importances", "need a positive, finite sum")
    total = math.fsum(raw)
    return tuple(weight / total for weight in raw)


def _spec(feature: Feature) -> dict[str, object]:
    if isinstance(feature, Numeric):
        return {"kind": "numeric", "name": feature.name, "edges": list(feature.edges)}
    return {
        "kind": "categorical",
        "name": feature.name,
        "categories": list(feature.categories),
    }


def _feature(spec: Mapping[str, Sequence[str]]) -> Feature:
    name = str(spec["name"])
    if spec["kind"] == "numeric":
        return Numeric(name, tuple(float(edge) for edge in spec["edges"]))
    return Categorical(name, tuple(str(category) for category in spec["categories"]))


def _scores(spec: Mapping[str, Sequence[str]] | None) -> Numeric | None:
    feature = None if spec is None else _feature(spec)
    if isinstance(feature, Categorical):
        raise Corrupt("scores are numeric")
    return feature


def _dump(told: object) -> bytes:
    return json.dumps(
        told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
