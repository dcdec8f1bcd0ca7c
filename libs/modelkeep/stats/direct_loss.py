"""Direct loss estimation: what a window's losses will be, before the truth is in.

NannyML's DLE fits a model of the loss given inputs and prediction. This is its cheap
form: the mean loss of the baseline in each cell (of score, prediction, segment, or
their product), weighted by the window's rows in that cell. It is the poststratified
mean of survey sampling (Holt & Smith, "Post stratification", Journal of the Royal
Statistical Society A 142 (1979), 33-46), so a window needs counts alone, which add up.

**Blind to concept drift**: a cell whose losses have changed is not seen to. `covered`
is the share of the window's rows in cells that the baseline knows; nothing is said of
the others. Any loss will do: absolute error, squared error, log loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Counts
from modelkeep.stats.cbpe import CAVEAT
from modelkeep.stats.wilson import NORMAL_95


@dataclass(frozen=True, slots=True)
class LossTable:
    """The baseline's rows, mean loss and its variance in each cell."""

    rows: tuple[int, ...]
    means: tuple[float, ...]
    variances: tuple[float, ...]


class LossEstimate(NamedTuple):
    """The mean loss to expect, with its 95 % interval if the concept holds."""

    value: float
    n: int
    low: float
    high: float
    covered: float
    caveat: str = CAVEAT


def loss_table(cells: Counts, losses: Column, size: int) -> LossTable:
    """Average the baseline's losses by cell, 0 to `size`.

    NaN and infinite losses are left out. A cell of one row has no spread to judge by:
    it takes that of all rows.

    >>> loss_table(np.array([0, 0, 2]), np.array([1.0, 3.0, 2.0]), 3)
    LossTable(rows=(2, 0, 1), means=(2.0, 0.0, 2.0), variances=(2.0, 1.0, 1.0))
    """
    values = np.asarray(losses, dtype=np.float64)
    if cells.shape != values.shape or values.ndim != 1:
        raise Invalid.field("losses", f"{values.shape} beside cells {cells.shape}")
    known = np.isfinite(values)
    place, values = cells[known], values[known]
    if place.size and not 0 <= place.min() <= place.max() < size:
        raise Invalid.field("cells", f"must lie between 0 and {size - 1}")
    rows = np.bincount(place, minlength=size)
    means = np.bincount(place, weights=values, minlength=size) / np.maximum(rows, 1)
    apart = np.bincount(place, weights=(values - means[place]) ** 2, minlength=size)
    overall = float(values.var(ddof=1)) if values.size > 1 else 0.0
    variances = np.where(rows > 1, apart / np.maximum(rows - 1, 1), overall)
    return LossTable(
        tuple(rows.tolist()), tuple(means.tolist()), tuple(variances.tolist())
    )


def estimate_loss(table: LossTable, counts: Counts) -> LossEstimate | None:
    """Weigh by a window's rows in each cell; None when the baseline knows none.

    >>> told = loss_table(np.array([0, 0, 1, 1]), np.array([1.0, 3, 8, 8]), 2)
    >>> estimate_loss(told, np.array([30, 10])).value
    3.5
    """
    rows = np.array(table.rows)
    if counts.shape != rows.shape:
        raise Invalid.field("counts", "has other cells than the baseline")
    known = (rows > 0) & (counts > 0)
    n = int(counts[known].sum())
    if n == 0:
        return None
    share = counts[known] / n
    value = float(share @ np.array(table.means)[known])
    each = np.array(table.variances)[known] * (1 / counts[known] + 1 / rows[known])
    half = NORMAL_95 * float(share**2 @ each) ** 0.5
    return LossEstimate(value, n, value - half, value + half, n / int(counts.sum()))
