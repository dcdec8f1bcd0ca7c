"""Errors of a regression: root mean square, mean absolute, and bias, from sums.

Error is prediction less truth. RMSE weighs large errors more and is never below MAE
(Willmott & Matsuura, "Advantages of the mean absolute error (MAE) over the root mean
square error (RMSE)", Climate Research 30 (2005), 79-82). The intervals are normal ones
of the mean absolute, mean squared and mean error; RMSE's is the root of the second's.

Sums are exact integers (see `moments`), in units of the target's own scale, so batches
add up in any order. Rows where either side is NaN are left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Floats
from modelkeep.stats.moments import UNIT, Moments, moments
from modelkeep.stats.pairs import Estimate, mean_estimate
from modelkeep.stats.wilson import NORMAL_95


class Errors(NamedTuple):
    """Moments of the error, its size and its square. Errors of batches add up."""

    signed: Moments
    absolute: Moments
    squared: Moments

    @property
    def n(self) -> int:
        return self.signed.n

    @property
    def beyond(self) -> int:
        """Return how many were too large to be told whole: see `moments`."""
        return self.squared.beyond

    def plus(self, other: Errors) -> Errors:
        """Raise Invalid when the other has another scale."""
        return Errors(*(a.plus(b) for a, b in zip(self, other, strict=True)))

    def bias(self) -> Estimate | None:
        """Return the mean error: above 0 when predictions are too high."""
        return self.signed.estimate()

    def mae(self) -> Estimate | None:
        found = self.absolute.estimate()
        return found and found._replace(low=max(0.0, found.low))

    def rmse(self) -> Estimate | None:
        return _root(self.squared.estimate())


def errors(predictions: Column, truths: Column, scale: float = 1.0) -> Errors:
    """Sum up the errors of a batch; `scale` is a typical size of the target.

    A value is rounded to scale * 2 ** -32, a square to scale ** 2 * 2 ** -32; errors
    beyond 1,024 scales count as that in the squares, and are told in `beyond`. The
    scale is rounded to a power of two, so that sums of one declared scale always add.

    Errors of 3 and -4: MAE 3.5, RMSE the root of 12.5, bias -.5.

    >>> seen = errors(np.array([5.0, 1.0]), np.array([2.0, 5.0]))
    >>> seen.mae().value, round(seen.rmse().value ** 2, 6), seen.bias().value
    (3.5, 12.5, -0.5)
    """
    if not 0 < scale < math.inf:
        raise Invalid.field("scale", f"{scale} measures nothing")
    power = 2.0 ** round(math.log2(scale))
    error = _errors(predictions, truths)
    with np.errstate(over="ignore"):
        squared = error**2
    return Errors(
        moments(error, power * UNIT),
        moments(np.abs(error), power * UNIT),
        moments(squared, power**2 * UNIT),
    )


def mae(predictions: Column, truths: Column) -> Estimate | None:
    """Return the mean absolute error of rows at hand; None when empty.

    >>> mae(np.array([5.0, 1.0]), np.array([2.0, 5.0])).value
    3.5
    """
    found = mean_estimate(np.abs(_errors(predictions, truths)), NORMAL_95)
    return found and found._replace(low=max(0.0, found.low))


def rmse(predictions: Column, truths: Column) -> Estimate | None:
    """Return the root mean squared error of rows at hand; None when empty.

    >>> round(rmse(np.array([5.0, 1.0]), np.array([2.0, 5.0])).value ** 2, 6)
    12.5
    """
    return _root(mean_estimate(_errors(predictions, truths) ** 2, NORMAL_95))


def _root(found: Estimate | None) -> Estimate | None:
    if found is None:
        return None
    value, n, low, high = found
    return Estimate(math.sqrt(value), n, math.sqrt(max(0.0, low)), math.sqrt(high))


def _errors(predictions: Column, truths: Column) -> Floats:
    said = np.asarray(predictions, dtype=np.float64)
    true = np.asarray(truths, dtype=np.float64)
    if said.shape != true.shape or said.ndim != 1:
        raise Invalid.field("truths", f"{true.shape} beside predictions {said.shape}")
    known = ~(np.isnan(said) | np.isnan(true))
    with np.errstate(invalid="ignore", over="ignore"):
        error = said[known] - true[known]
    # two infinities of one sign are no error; of two signs, an infinite one
    error[np.isnan(error)] = 0.0
    return error
