"""A data contract against columns: which column broke which rule, in which rows.

What is tolerated as a rate is judged over all rows that were added, so a snapshot that
comes in parts is judged as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np

from modelkeep.decisions.matrix import (
    Codes,
    Column,
    Decisions,
    Flags,
    Numbers,
    Octets,
    Times,
    Words,
    all_there,
)
from modelkeep.events.monitoring import ColumnContract, Reading, Rule
from modelkeep_services.monitoring.ids import Ids

EXAMPLES: Final = 20
HOUR: Final = 3_600_000_000
"""In microseconds."""

DTYPES_OF: Final = {
    "number": frozenset({"f64", "f32", "i64"}),
    "integer": frozenset({"f64", "f32", "i64"}),
    "string": frozenset({"utf8"}),
    "boolean": frozenset({"bool"}),
    "moment": frozenset({"i64", "utf8"}),
}

Broken = Iterator[tuple[Rule, Flags]]


class Breach(NamedTuple):
    """`broken` of `of` rows broke `rule`; examples are names of rows."""

    column: str
    rule: Rule
    broken: int
    of: int
    examples: tuple[str, ...]


class Table(NamedTuple):
    """Some rows of the data. `name` says what a row is called; `at` is the moment that
    freshness is measured at, in microseconds.
    """

    columns: Mapping[str, tuple[str, Column]]
    """Dtype and values, by name."""
    rows: int
    at: int
    name: Callable[[int], str]
    readings: Mapping[str, int] = {}
    """The newest moments of inputs that travel beside the rows."""


@dataclass
class _Tally:
    """How often one rule of one column was broken so far."""

    broken: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, table: Table, bad: Flags) -> None:
        self.broken += int(np.count_nonzero(bad))
        if len(self.examples) < EXAMPLES:
            first = np.flatnonzero(bad)[: EXAMPLES - len(self.examples)]
            self.examples += [table.name(row) for row in first.tolist()]


class Check:
    """One contract against the parts of one data set. Not thread-safe."""

    def __init__(self, columns: Sequence[ColumnContract], *, closed: bool) -> None:
        self._columns, self._closed = columns, closed
        self._tallies: dict[tuple[str, Rule], _Tally] = {}
        self._newest: dict[str, int] = {}
        self._seen: dict[str, Ids] = {}
        self._at = 0
        self._first: list[tuple[Table, int]] = []
        self.rows = 0

    def add(self, table: Table) -> None:
        self.rows += table.rows
        self._at = max(self._at, table.at)
        if len(self._first) < EXAMPLES:
            some = min(table.rows, EXAMPLES - len(self._first))
            self._first += [(table, row) for row in range(some)]
        for promised in self._columns:
            self._one(table, promised)
        if self._closed:
            known = {promised.column for promised in self._columns}
            for name in sorted(table.columns.keys() - known):
                self._count(table, name, "unknown", all_there(table.rows))

    def breaches(self) -> list[Breach]:
        """Judge what was added; [] when every promise is kept."""
        return [*self._broken(), *self._stale_ones()]

    def _broken(self) -> Iterator[Breach]:
        if not self._tallies:  # as mostly
            return
        promised = {one.column: one for one in self._columns}
        for (column, rule), tally in self._tallies.items():
            if not _tolerated(promised.get(column), rule, tally.broken, self.rows):
                examples = tuple(tally.examples)
                yield Breach(column, rule, tally.broken, self.rows, examples)

    def _stale_ones(self) -> Iterator[Breach]:
        if not self._newest:
            return
        first = tuple(table.name(row) for table, row in self._first)
        for one in self._columns:
            if self._stale(one):
                yield Breach(one.column, "freshness", self.rows, self.rows, first)

    def _one(self, table: Table, promised: ColumnContract) -> None:
        name = promised.column
        if name in table.readings:
            self._seen_at(name, table.readings[name])
        held = table.columns.get(name)
        if held is None:
            if promised.required and name not in table.readings:
                self._count(table, name, "present", all_there(table.rows))
            return
        dtype, column = held
        if not _fits(promised, dtype):
            self._count(table, name, "dtype", all_there(table.rows))
            return
        if _is_kept(promised, column):
            return
        present = _present(promised, column)
        for rule, bad in _rules(promised, column, dtype, present):
            self._count(table, name, rule, bad)
        if _tells_apart(promised):
            self._count(table, name, "unique", self._repeated(name, column, present))
        if promised.kind == "moment":
            self._moments(table, promised, column, present)

    def _count(self, table: Table, column: str, rule: Rule, bad: Flags) -> None:
        if bad.any():
            self._tallies.setdefault((column, rule), _Tally()).add(table, bad)

    def _repeated(self, name: str, column: Column, present: Flags) -> Flags:
        """Say which rows hold a value that an earlier row holds."""
        rows = np.flatnonzero(present)
        keys = _keys(column)[rows]
        seen = self._seen.setdefault(name, Ids())
        again = seen.find(keys).known
        order = np.argsort(keys.view("S16").ravel(), kind="stable")
        there = keys.view("S16").ravel()[order]
        again[order[1:][there[1:] == there[:-1]]] = True
        seen.add(keys[~again], 0)
        bad: Flags = np.zeros(len(column), dtype=np.bool_)
        bad[rows[again]] = True
        return bad

    def _moments(
        self, table: Table, promised: ColumnContract, column: Column, present: Flags
    ) -> None:
        moments, readable = _micros(column)
        self._count(table, promised.column, "format", present & ~readable)
        told = moments[present & readable]
        if promised.max_age_hours is not None and len(told):
            self._seen_at(promised.column, int(told.max()))

    def _seen_at(self, column: str, moment: int) -> None:
        self._newest[column] = max(self._newest.get(column, moment), moment)

    def _stale(self, promised: ColumnContract) -> bool:
        newest = self._newest.get(promised.column)
        if promised.max_age_hours is None or newest is None:
            return False
        return self._at - newest > promised.max_age_hours * HOUR


def breaches(
    rows: Decisions,
    columns: Sequence[ColumnContract],
    *,
    closed: bool,
    readings: Sequence[Reading] = (),
) -> list[Breach]:
    """Check one batch of decisions, whose rows are called by their ids."""
    check = Check(columns, closed=closed)
    check.add(
        Table(
            {
                name: (dtype, column)
                for (name, dtype), column in zip(
                    rows.schema.columns, rows.columns, strict=True
                )
            },
            len(rows),
            int(rows.times.max()),
            lambda row: str(UUID(bytes=rows.ids[row].tobytes())),
            {one.feed: _moment(one.last_at) for one in readings},
        )
    )
    return check.breaches()


def merged(parts: Iterable[Breach], of: int) -> list[Breach]:
    """Add up breaches of several batches that became one object of `of` rows."""
    together: dict[tuple[str, Rule], Breach] = {}
    for part in parts:
        key = part.column, part.rule
        was = together.get(key)
        together[key] = Breach(
            *key,
            part.broken + (was.broken if was else 0),
            of,
            ((was.examples if was else ()) + part.examples)[:EXAMPLES],
        )
    return list(together.values())


def valid(column: Column) -> Flags:
    if isinstance(column, Words):
        present: Flags = column.codes >= 0
        return present
    return column.valid


def examples(rows: Decisions, chosen: Flags, most: int = 10) -> tuple[str, ...]:
    """Return the ids of the first few rows chosen."""
    first = np.flatnonzero(chosen)[:most]
    return tuple(str(UUID(bytes=rows.ids[row].tobytes())) for row in first)


# --- the rules ---------------------------------------------------------------------


def _fits(promised: ColumnContract, dtype: str) -> bool:
    if promised.dtype is not None and dtype != promised.dtype:
        return False
    return promised.kind is None or dtype in DTYPES_OF[promised.kind]


def _tells_apart(promised: ColumnContract) -> bool:
    return (
        promised.max_duplicate_rate is not None or promised.max_duplicates is not None
    )


def _present(promised: ColumnContract, column: Column) -> Flags:
    present = valid(column)
    if promised.missing_words and isinstance(column, Words):
        return present & ~_words(column, set(promised.missing_words).__contains__)
    return present


def _rules(
    promised: ColumnContract, column: Column, dtype: str, present: Flags
) -> Broken:
    limited = promised.max_null_rate is not None or promised.max_nulls is not None
    if limited and not (isinstance(column, Numbers) and column.whole):
        yield "null_rate", ~present
    if isinstance(column, Words):
        yield from _of_words(promised, column, present)
    else:
        yield from _of_numbers(promised, column, dtype, present)


def _of_words(promised: ColumnContract, column: Words, present: Flags) -> Broken:
    if promised.categories:
        known = set(promised.categories)
        yield "category", _words(column, lambda word: word not in known) & present
    low, high = promised.min_length, promised.max_length
    if low is not None or high is not None:
        least, most = low or 0, math.inf if high is None else high
        bad = _words(column, lambda word: not least <= len(word) <= most)
        yield "length", bad & present


def _of_numbers(
    promised: ColumnContract, column: Numbers, dtype: str, present: Flags
) -> Broken:
    values = column.values.astype(np.float64, copy=False)
    kept = column.span is not None and _within(promised, *column.span)
    for rule, limit, beyond in (
        ()
        if kept
        else (
            ("minimum", promised.minimum, np.less),
            ("minimum", promised.exclusive_minimum, np.less_equal),
            ("maximum", promised.maximum, np.greater),
            ("maximum", promised.exclusive_maximum, np.greater_equal),
        )
    ):
        if limit is not None:
            bad = beyond(values, limit)
            if bad.any():  # most promises are kept
                yield rule, bad & present  # type: ignore[misc]  # one of those above
    if promised.kind == "integer" and dtype != "i64":
        yield "integer", (values != np.floor(values)) & present
    if promised.categories:
        yield "category", ~np.isin(values, _numbers(promised.categories)) & present


def _is_kept(promised: ColumnContract, column: Column) -> bool:
    """Whether ends that are known already say that all is kept, as they mostly do."""
    if not isinstance(column, Numbers) or column.span is None:
        return False
    more = promised.kind not in (None, "number") or promised.categories
    if more or _tells_apart(promised):
        return False
    return _within(promised, *column.span)


def _within(promised: ColumnContract, low: float, high: float) -> bool:
    """Whether the least and the greatest value keep what is promised of all."""
    least, above = promised.minimum, promised.exclusive_minimum
    most, below = promised.maximum, promised.exclusive_maximum
    return (
        (least is None or low >= least)
        and (above is None or low > above)
        and (most is None or high <= most)
        and (below is None or high < below)
    )


def _tolerated(
    promised: ColumnContract | None, rule: Rule, broken: int, of: int
) -> bool:
    if promised is None:
        return False
    rate, rows = {
        "null_rate": (promised.max_null_rate, promised.max_nulls),
        "category": (promised.max_invalid_rate, promised.max_invalids),
        "unique": (promised.max_duplicate_rate, promised.max_duplicates),
    }.get(rule, (None, None))
    if rate is None and rows is None:
        return False
    return (rate is None or broken <= rate * of) and (rows is None or broken <= rows)


def _words(column: Words, chosen: Callable[[str], bool]) -> Flags:
    """Say which rows hold a chosen word: each word is looked at once."""
    table = np.array([*map(chosen, column.dictionary), False], dtype=np.bool_)
    found: Flags = table[column.codes]
    return found


def _numbers(categories: Sequence[str]) -> list[float]:
    found = []
    for word in categories:
        try:
            found.append(float(word))
        except ValueError:
            continue  # no number is this word
    return found


def _keys(column: Column) -> Octets:
    """Return [rows, 16]: equal values have equal keys, and (of words) others do not."""
    if isinstance(column, Words):
        digests = [sha256(word.encode()).digest()[:16] for word in column.dictionary]
        table = np.frombuffer(b"".join([*digests, bytes(16)]), dtype=np.uint8)
        found: Octets = table.reshape(-1, 16)[column.codes]
        return found
    keys: Octets = np.zeros((len(column), 16), dtype=np.uint8)
    values = np.add(column.values, column.values.dtype.type(0))  # -0.0 is 0.0
    little = np.ascontiguousarray(values).view(np.uint8).reshape(len(column), -1)
    keys[:, : little.shape[1]] = little
    keys[:, 15] = 1  # S16 forgets zeros at the end
    return keys


def _micros(column: Column) -> tuple[Times, Flags]:
    """Return moments, and which rows hold one."""
    if isinstance(column, Numbers):
        return column.values.astype(np.int64), all_there(len(column))
    told = [_read(word) for word in column.dictionary]
    codes: Codes = column.codes
    table = np.array([0 if one is None else one for one in [*told, None]], np.int64)
    read = np.array([one is not None for one in [*told, None]], np.bool_)
    return table[codes], read[codes]


def _read(word: str) -> int | None:
    try:
        moment = datetime.fromisoformat(word)
    except ValueError:
        return None
    return _moment(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _moment(at: datetime) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    span = at - epoch
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
