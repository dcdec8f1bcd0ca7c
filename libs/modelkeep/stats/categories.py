"""Categories: a dictionary fitted to a baseline, and counts of its entries.

Whatever the dictionary does not know is *other*; None, NaN and code -1 are missing. The
empty string is a category like any other. Values are compared as text, so the integer 3
and the text "3" are one category.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Counts

MOST: Final = 32
"""Categories kept apart; a longer tail is other. It bounds the size of a profile."""

REMEMBERED: Final = 1_024
"""Dictionaries up to this length are translated once, not with each batch."""


class Coded(NamedTuple):
    """A column as a wire or a table carries it: small integers into a dictionary."""

    codes: NDArray[np.integer]
    categories: tuple[str | None, ...]


def fit_categories(column: Column | Coded, most: int = MOST) -> tuple[str, ...]:
    """Return the most frequent categories, in alphabetical order; ties go to the first.

    >>> fit_categories(np.array(["car", "tv", "car", "boat"]), most=2)
    ('boat', 'car')
    """
    return tuple(sorted(rank_categories(column)[:most]))


def rank_categories(column: Column | Coded) -> list[str]:
    """Return all of its values as text, the most frequent first, ties by alphabet."""
    ranked = sorted(_tally(column).items(), key=lambda item: (-item[1], item[0]))
    return [name for name, _ in ranked]


def count_categories(column: Column | Coded, known: tuple[str, ...]) -> Counts:
    """Return the rows of each known category, then other, then missing.

    >>> seen = np.array(["car", "bike", None, "car"], dtype=object)
    >>> count_categories(seen, ("boat", "car")).tolist()
    [0, 2, 1, 1]
    """
    if not isinstance(column, Coded):
        values, rows = _distinct(column)
        return _gather(_places(known, values), rows, len(known) + 2)
    rows = _rows_by_code(column)
    find = _places if len(column.categories) > REMEMBERED else _remembered_places
    return _gather(find(known, (None, *column.categories)), rows, len(known) + 2)


def _tally(column: Column | Coded) -> Counter[str]:
    if isinstance(column, Coded):
        values: tuple[object, ...] = (None, *column.categories)
        rows = _rows_by_code(column)
    else:
        values, rows = _distinct(column)
    found: Counter[str] = Counter()
    for value, count in zip(values, rows.tolist(), strict=True):
        if count and not _is_missing(value):
            found[str(value)] += count
    return found


def _distinct(column: Column) -> tuple[tuple[object, ...], Counts]:
    text = column.astype(np.str_) if column.dtype.kind == "S" else column
    found = Counter(text.tolist())
    return tuple(found), np.fromiter(found.values(), np.int64, len(found))


def _rows_by_code(column: Coded) -> Counts:
    """Return the rows of code -1, then of each from 0."""
    size = len(column.categories)
    if not column.codes.size:
        return np.zeros(size + 1, dtype=np.int64)
    shifted = np.add(column.codes, 1, dtype=np.intp)
    # before counting, which would make room for any code it is given; what is negative
    # is huge without its sign
    if shifted.view(np.uintp).max() > size:
        raise Invalid.field("codes", f"must lie between -1 and {size - 1}")
    return np.bincount(shifted, minlength=size + 1)


def _gather(places: NDArray[np.intp], rows: Counts, size: int) -> Counts:
    # float64 adds integers exactly up to 2 ** 53 rows
    return np.bincount(places, weights=rows, minlength=size).astype(np.int64)


def _places(known: tuple[str, ...], values: tuple[object, ...]) -> NDArray[np.intp]:
    """Return where each value is counted."""
    other, missing = len(known), len(known) + 1
    place = {name: number for number, name in enumerate(known)}
    found = (
        missing if _is_missing(value) else place.get(str(value), other)
        for value in values
    )
    return np.fromiter(found, np.intp, len(values))


_remembered_places = lru_cache(maxsize=256)(_places)


def _is_missing(value: object) -> bool:
    # NaN is the one value that differs from itself
    return value is None or bool(value != value)  # noqa: PLR0124 - that is the test
