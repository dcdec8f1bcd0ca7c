"""Numeric bins: edges fitted to a baseline, and counts of values between them.

A bin is [edge, next edge), open at both ends of the line. A value that many rows share
(a sentinel such as 999, a zero, a flag) gets a bin of its own, because quantile edges
alone collapse around it and drift away from it then reads as PSI 0.00: the bin
[v, nextafter(v)) holds v and no other float64.

NaN is missing and is counted apart. Infinities fall into the open ends. Integers beyond
2 ** 53 are rounded to the nearest float64. Standard text: Siddiqi, "Credit Risk
Scorecards" (2006), chapter 6, on special values kept apart from fine classing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelkeep.decisions.kernel import kernel
from modelkeep.errors import Invalid

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Column = NDArray[np.generic]

CHUNK: Final = 8_192
"""Rows at a time: blocks of this length stay in the cache."""
WORD: Final = 64


def fit_edges(values: Column, bins: int = 10) -> tuple[float, ...]:
    """Return the inner edges of about `bins` bins of equal share, ascending.

    Values with more than 1/bins of the finite rows are kept apart; the others share the
    bins that are left, at least one. No finite value gives no edge: one bin for all.

    Three quarters are the sentinel 999, so two of eight bins are left for 1 to 4, and
    they part at 3.

    >>> fit_edges(np.array([999.0] * 12 + [1, 2, 3, 4]), bins=8)
    (3.0, 999.0, 999.0000000000001)
    """
    if bins < 1:
        raise Invalid.field("bins", f"{bins} bins hold nothing")
    numbers = np.asarray(values, dtype=np.float64)
    # adding zero turns -0.0 into 0.0, so that equal values have one spelling
    known, shares = np.unique(numbers[np.isfinite(numbers)] + 0.0, return_counts=True)
    total = int(shares.sum())
    lonely = shares * bins > total
    spikes, rest = known[lonely], known[~lonely]
    edges = [spikes, np.nextafter(spikes, np.inf)]
    if rest.size:
        below = np.cumsum(shares[~lonely])
        left = max(1, round(bins * int(below[-1]) / total))
        ranks = np.arange(1, left) * int(below[-1]) // left
        edges.append(rest[np.searchsorted(below, ranks, side="right")])
    inner = np.unique(np.concatenate(edges))
    return tuple(inner[np.isfinite(inner)].tolist())


def numbers_of(name: str, column: Column) -> Column:
    """Return the column as it can be counted; None becomes NaN.

    Raises Invalid naming the column when it holds text, dates or anything else.
    """
    kind = column.dtype.kind
    if kind == "f" and column.ndim == 1:
        return column
    if kind == "O":
        column = np.array([np.nan if v is None else v for v in column.tolist()])
        if not column.size:
            column = column.astype(np.float64)
    if column.dtype.kind not in "biuf" or column.ndim != 1:
        raise Invalid.field(
            f"columns.{name}", f"{column.dtype} is not a numeric column"
        )
    return column


def edge_matrix(edges: Sequence[Sequence[float]]) -> Floats:
    """Return a row for each edge and a column for each feature, as `count_bins` asks.

    The first row is -inf, which every number reaches; NaN, which none reaches, pads.
    """
    longest = max((len(inner) for inner in edges), default=0)
    matrix = np.full((longest + 1, len(edges)), np.nan)
    for feature, inner in enumerate(edges):
        matrix[0, feature] = -np.inf
        matrix[1 : len(inner) + 1, feature] = inner
    return matrix


def count_bins(columns: Sequence[Column], matrix: Floats) -> Counts:
    """Return the rows in each bin: [bin, feature]; missing values are in none.

    All columns at once, and exact: how many values reach each edge, less how many reach
    the next. On random data a comparison an edge is ten times faster than a binary
    search a value, whose branches cannot be predicted.

    >>> ages = np.array([18.0, 30.0, 45.0, np.nan, 30.0])
    >>> count_bins([ages], edge_matrix([(30.0, 40.0)])).ravel().tolist()
    [1, 2, 1]
    """
    edges, features = matrix.shape
    rows = len(columns[0]) if columns else 0
    chunk = min(CHUNK, max(1, -(-rows // WORD)) * WORD)
    compiled = kernel()
    total = np.zeros((edges, features), dtype=np.int64)
    whole = _whole(columns) if rows > CHUNK else None  # few are copied sooner
    if compiled is not None and whole is not None:
        compiled.reach(whole, matrix, total)
        total[:-1] -= total[1:]
        return total
    block = np.empty((features, chunk))
    reached = np.empty((edges, features, chunk), dtype=np.bool_)
    for start in range(0, rows, chunk):
        size = min(chunk, rows - start)
        for row, column in zip(block, columns, strict=True):
            row[:size] = column[start : start + size]
        block[:, size:] = np.nan
        if compiled is not None:
            compiled.reach(block, matrix, total)
            continue
        np.greater_equal(block[None], matrix[:, :, None], out=reached)
        words = np.packbits(reached, axis=-1).view(np.uint64)
        total += np.bitwise_count(words).sum(axis=-1, dtype=np.int64)
    total[:-1] -= total[1:]
    return total


def is_whole(column: Column) -> bool:
    """Whether the kernel can look at it as it lies in memory."""
    return column.dtype == np.float64 and column.flags.c_contiguous


def _whole(columns: Sequence[Column]) -> list[Floats] | None:
    """Return them as they are, where all of them are whole."""
    if not all(map(is_whole, columns)):
        return None
    return [np.asarray(column, dtype=np.float64) for column in columns]
