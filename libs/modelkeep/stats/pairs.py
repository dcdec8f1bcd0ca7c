"""Scores beside outcomes: what every performance figure starts from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Floats
from modelkeep.stats.scores import check_outcomes


class Estimate(NamedTuple):
    """A figure, the rows it rests on, and its two-sided 95 % interval."""

    value: float
    n: int
    low: float
    high: float


def known_pairs(scores: Column, outcomes: Column) -> tuple[Floats, Floats]:
    """Return the rows where both are known; NaN in either leaves a row out.

    Raises Invalid for unequal lengths and for outcomes other than 0, 1 and NaN.
    """
    said = np.asarray(scores, dtype=np.float64)
    true = np.asarray(outcomes, dtype=np.float64)
    if said.shape != true.shape or said.ndim != 1:
        raise Invalid.field("outcomes", f"{true.shape} beside scores {said.shape}")
    check_outcomes(true)
    known = ~(np.isnan(said) | np.isnan(true))
    return said[known], true[known]


def mean_estimate(values: Floats, z: float) -> Estimate | None:
    """Return the mean with a normal interval; None when empty.

    One value has no spread to judge by: its interval is infinite.
    """
    n = values.size
    if n == 0:
        return None
    mean = float(values.mean())
    half = z * float(values.std(ddof=1)) / n**0.5 if n > 1 else float("inf")
    return Estimate(mean, n, mean - half, mean + half)
