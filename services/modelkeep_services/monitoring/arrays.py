"""Rows as statistics want them: arrays, and the profile of a batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from modelkeep.decisions.matrix import Column, Decisions, Floats, Numbers, Words
from modelkeep.stats.bins import Column as Array
from modelkeep.stats.categories import Coded
from modelkeep.stats.profile import Layout, Numeric, count
from modelkeep_services.monitoring import measures
from modelkeep_services.monitoring.measures import Counted, Yardstick


def counted(layout: Layout, by: Yardstick | None, rows: Decisions) -> Counted:
    """Count rows. A column of another kind than the baseline's counts as missing: the
    contract says so, the counts cannot.
    """
    numeric = {f.name: isinstance(f, Numeric) for f in layout.features}
    named = zip(rows.schema.columns, rows.columns, strict=True)
    columns = {
        name: array_of(column)
        for (name, _), column in named
        if name in numeric and not (numeric[name] and isinstance(column, Words))
    }
    scores, latency = rows.scores, rows.latency_ms
    profile = count(layout, columns, scores=scores, latency_ms=latency)
    return measures.count(by, profile, columns)


def array_of(column: Column) -> Array | Coded:
    if isinstance(column, Words):
        return Coded(column.codes, column.dictionary)
    return numbers_of(column)


def numbers_of(column: Numbers) -> Floats:
    if column.whole:
        return column.values.astype(np.float64, copy=False)
    found = column.values.astype(np.float64)
    found[~column.valid] = np.nan
    return found


def micros(at: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def instant(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
