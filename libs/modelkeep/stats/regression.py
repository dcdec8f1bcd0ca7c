"""Errors of a regression: root mean square, mean absolute, and mean error, from sums.

Error is prediction less truth. RMSE weighs large errors more and is never below MAE
(Willmott & Matsuura, "Advantages of the mean absolute error (MAE) over the root mean
square error (RMSE)", Climate Research 30 (2005), 79-82). The intervals are those of the
central limit theorem, for the mean of the errors, of their sizes and of their squares;
none supposes normal errors. RMSE's is the root of the last one's, of which it is an
increasing function (the delta method: van der Vaart, "Asymptotic Statistics" (1998)).

Sums are exact integers (see `exact_sum`) of the errors, their sizes, squares and fourth
powers, and of what was said and came true: bounded whatever the rows, the same in any
order, and rows can be taken out again. Errors are taken before anything is added, and
squared to twice the digits (Dekker, "A floating-point technique for extending the
available precision", Numerische Mathematik 18 (1971), 224-242), so that neither a large
offset of the target nor a large bias hides a spread. Rows where either side is NaN are
left out.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple, Self

import numpy as np

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.bins import Column, Floats
from modelkeep.stats.exact_sum import BITS, exact_mean, exact_sum
from modelkeep.stats.pairs import Estimate, mean_estimate
from modelkeep.stats.wilson import NORMAL_95

LARGEST: Final = 2.0**250
"""Some 1.8e75: beyond, a fourth power is no float."""
_HALVES: Final = 2.0**27 + 1
"""Times this, a float falls into two halves whose products are exact (Veltkamp)."""
_SPELLED: Final = re.compile(r"(-?[0-9a-f]+)p(-?[0-9]+)")


class Errors(NamedTuple):
    """Exact sums over `n` rows. Those of batches add up, and subtract."""

    n: int = 0
    predicted: int = 0
    actual: int = 0
    signed: int = 0
    absolute: int = 0
    squared: int = 0
    fourth: int = 0
    beyond: int = 0
    """Rows where a side is beyond 2 ** 250, and counts as that."""

    def plus(self, other: Errors) -> Errors:
        return Errors(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Errors) -> Errors:
        return Errors(*(a - b for a, b in zip(self, other, strict=True)))

    def predicted_mean(self) -> float | None:
        return exact_mean(self.predicted, self.n) if self.n else None

    def actual_mean(self) -> float | None:
        return exact_mean(self.actual, self.n) if self.n else None

    def mean_error(self) -> Estimate | None:
        """Return the bias: above 0 when predictions are too high; None when empty."""
        return _mean(self.signed, self.squared, self.n)

    def mae(self) -> Estimate | None:
        found = _mean(self.absolute, self.squared, self.n)
        return found and found._replace(low=max(0.0, found.low))

    def rmse(self) -> Estimate | None:
        return _root(_mean(self.squared, self.fourth, self.n))

    def spelled(self) -> dict[str, int | str]:
        """Return it as events keep it, by field: sums as `1afp-60`, in hexadecimal
        times a power of two.

        >>> errors(np.array([0.75]), np.array([0.5])).spelled()["signed"]
        '1p-2'
        """
        counts = {"n", "beyond"}
        told = self._asdict().items()
        return {k: v if k in counts else _spell(v) for k, v in told}

    @classmethod
    def of(cls, told: dict[str, int | str]) -> Self:
        """Read what `spelled` returned. Raises Corrupt."""
        try:
            return cls(
                **{k: _read(v) if isinstance(v, str) else v for k, v in told.items()}
            )
        except (TypeError, ValueError) as problem:
            raise Corrupt(f"these are no sums of errors: {problem}") from problem


def errors(predictions: Column, truths: Column) -> Errors:
    """Sum up the errors of rows. Raises Invalid for unequal lengths.

    Errors of 3 and -4: MAE 3.5, RMSE the root of 12.5, mean error -.5.

    >>> seen = errors(np.array([5.0, 1.0]), np.array([2.0, 5.0]))
    >>> seen.mae().value, round(seen.rmse().value ** 2, 6), seen.mean_error().value
    (3.5, 12.5, -0.5)
    >>> seen.minus(seen) == Errors()
    True
    """
    said, true, beyond = _pairs(predictions, truths)
    error = said - true
    squared, rest = _squares(error)
    fourth, last = _squares(squared)
    return Errors(
        n=error.size,
        predicted=exact_sum(said),
        actual=exact_sum(true),
        signed=exact_sum(error),
        absolute=exact_sum(np.abs(error)),
        squared=exact_sum(squared) + exact_sum(rest),
        fourth=exact_sum(fourth) + exact_sum(last) + exact_sum(2 * squared * rest),
        beyond=beyond,
    )


def mae(predictions: Column, truths: Column) -> Estimate | None:
    """Return the mean absolute error of rows at hand; None when empty.

    >>> mae(np.array([5.0, 1.0]), np.array([2.0, 5.0])).value
    3.5
    """
    said, true, _ = _pairs(predictions, truths)
    found = mean_estimate(np.abs(said - true), NORMAL_95)
    return found and found._replace(low=max(0.0, found.low))


def rmse(predictions: Column, truths: Column) -> Estimate | None:
    """Return the root mean squared error of rows at hand; None when empty.

    >>> round(rmse(np.array([5.0, 1.0]), np.array([2.0, 5.0])).value ** 2, 6)
    12.5
    """
    said, true, _ = _pairs(predictions, truths)
    return _root(mean_estimate((said - true) ** 2, NORMAL_95))


def _mean(total: int, squares: int, n: int) -> Estimate | None:
    """Return the mean with its normal interval, infinite for one row."""
    if not n:
        return None
    mean = exact_mean(total, n)
    if n == 1:
        return Estimate(mean, n, -math.inf, math.inf)
    # whole numbers until the division: nothing cancels
    spread = max(0, (n * squares << BITS) - total**2)
    half = NORMAL_95 * math.sqrt(spread / (n * n * (n - 1) << 2 * BITS))
    return Estimate(mean, n, mean - half, mean + half)


def _root(found: Estimate | None) -> Estimate | None:
    if found is None:
        return None
    value, n, low, high = found
    return Estimate(math.sqrt(value), n, math.sqrt(max(0.0, low)), math.sqrt(high))


def _squares(values: Floats) -> tuple[Floats, Floats]:
    """Return the squares, rounded, and what rounding took: together they are exact."""
    squares = values**2
    over = values * _HALVES
    high = over - (over - values)
    low = values - high
    rest: Floats = high**2 - squares + 2 * high * low + low**2
    return squares, rest


def _pairs(predictions: Column, truths: Column) -> tuple[Floats, Floats, int]:
    """Return the rows where both are known, and how many were too large to be told."""
    said = np.asarray(predictions, dtype=np.float64)
    true = np.asarray(truths, dtype=np.float64)
    if said.shape != true.shape or said.ndim != 1:
        raise Invalid.field("truths", f"{true.shape} beside predictions {said.shape}")
    known = ~(np.isnan(said) | np.isnan(true))
    said, true = said[known], true[known]
    beyond = (np.abs(said) > LARGEST) | (np.abs(true) > LARGEST)
    if beyond.any():
        said, true = (np.clip(one, -LARGEST, LARGEST) for one in (said, true))
    return said, true, int(np.count_nonzero(beyond))


def _spell(total: int) -> str:
    if not total:
        return "0p0"
    zeros = (total & -total).bit_length() - 1
    return f"{total >> zeros:x}p{zeros - BITS}"


def _read(text: str) -> int:
    found = _SPELLED.fullmatch(text)
    if found is None or not 0 <= (shift := int(found[2]) + BITS) <= 4 * BITS:
        raise ValueError(f"{text[:40]} is no sum")
    return int(found[1], 16) << shift
