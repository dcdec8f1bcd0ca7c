"""Rows as statistics want them: arrays, and the profile of a batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from modelkeep.decisions.matrix import Column, Decisions, Floats, Numbers, Words
from modelkeep.stats.bins import Column as Array
from modelkeep.stats.categories import Coded
from modelkeep.stats.profile import Layout, Numeric, Profile, count


def profile_of(layout: Layout, rows: Decisions) -> Profile:
    """Count a batch. A column of another kind than the baseline's counts as missing:
    the contract says so, the profile cannot.
    """
    numeric = {f.name: isinstance(f, Numeric) for f in layout.features}
    named = zip(rows.schema.columns, rows.columns, strict=True)
    columns = {
        name: array_of(column)
        for (name, _), column in named
        if name in numeric and not (numeric[name] and isinstance(column, Words))
    }
    return count(layout, columns, scores=rows.scores, latency_ms=rows.latency_ms)


def array_of(column: Column) -> Array | Coded:
    if isinstance(column, Words):
        return Coded(column.codes, column.dictionary)
    return numbers_of(column)


def numbers_of(column: Numbers) -> Floats:
    found = column.values.astype(np.float64)
    if not column.valid.all():
        found[~column.valid] = np.nan
    return found


def micros(at: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def instant(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
