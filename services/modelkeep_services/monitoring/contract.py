"""A data contract against a batch: which column broke which rule, in which rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np

from modelkeep.decisions.matrix import Column, Decisions, Flags, Numbers, Words
from modelkeep.events.monitoring import ColumnContract

EXAMPLES: Final = 10


class Breach(NamedTuple):
    """`broken` of `of` rows broke `rule`; examples are decision ids."""

    column: str
    rule: str
    broken: int
    of: int
    examples: tuple[str, ...]


def breaches(
    rows: Decisions, columns: Sequence[ColumnContract], *, closed: bool
) -> list[Breach]:
    """Check every promise; [] when all are kept."""
    names = [name for name, _ in rows.schema.columns]
    dtypes = dict(rows.schema.columns)
    by_name = dict(zip(names, rows.columns, strict=True))
    found: list[Breach] = []
    for promised in columns:
        column = by_name.get(promised.column)
        if column is None:
            if promised.required:
                found.append(_all(rows, promised.column, "present"))
            continue
        dtype = dtypes[promised.column]
        if promised.dtype is not None and dtype != promised.dtype:
            found.append(_all(rows, promised.column, "dtype"))
            continue
        found += _column(rows, promised, column)
    if closed:
        known = {promised.column for promised in columns}
        found += [_all(rows, n, "unknown") for n in names if n not in known]
    return found


def merged(parts: Iterable[Breach], of: int) -> list[Breach]:
    """Add up breaches of several batches that became one object of `of` rows."""
    together: dict[tuple[str, str], Breach] = {}
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


def _column(
    rows: Decisions, promised: ColumnContract, column: Column
) -> Iterator[Breach]:
    present = valid(column)
    missing = len(rows) - int(np.count_nonzero(present))
    if promised.max_null_rate is not None and missing > promised.max_null_rate * len(
        rows
    ):
        yield _some(rows, promised.column, "null_rate", ~present)
    if isinstance(column, Numbers):
        yield from _range(rows, promised, column)
    elif promised.categories:
        known = set(promised.categories)
        strange = np.array([w not in known for w in column.dictionary] + [False])
        broken = strange[column.codes]
        if broken.any():
            yield _some(rows, promised.column, "category", broken)


def _range(
    rows: Decisions, promised: ColumnContract, column: Numbers
) -> Iterator[Breach]:
    values = column.values.astype(np.float64, copy=False)
    for rule, limit, beyond in (
        ("minimum", promised.minimum, np.less),
        ("maximum", promised.maximum, np.greater),
    ):
        if limit is not None:
            bad = beyond(values, limit) & column.valid
            if bad.any():
                yield _some(rows, promised.column, rule, bad)


def _all(rows: Decisions, column: str, rule: str) -> Breach:
    return _some(rows, column, rule, np.ones(len(rows), dtype=np.bool_))


def _some(rows: Decisions, column: str, rule: str, broken: Flags) -> Breach:
    count = int(np.count_nonzero(broken))
    return Breach(column, rule, count, len(rows), examples(rows, broken))


def examples(rows: Decisions, chosen: Flags) -> tuple[str, ...]:
    """Return the ids of the first few rows chosen."""
    first = np.flatnonzero(chosen)[:EXAMPLES]
    return tuple(str(UUID(bytes=rows.ids[row].tobytes())) for row in first)
