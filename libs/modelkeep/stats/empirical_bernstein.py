"""Empirical Bernstein bounds: the mean of a loss between 0 and 1, from a few sums.

Two of them. For a fixed sample, Maurer & Pontil, "Empirical Bernstein bounds and sample
variance penalization", COLT 2009, theorem 4. For a sample that grows and is looked at
after every batch, the predictable-mixture confidence sequence of Waudby-Smith & Ramdas,
"Estimating means of bounded random variables by betting", Journal of the Royal
Statistical Society B 86 (2024), 1-27, as the authors' package confseq computes it
(`predmix_empbern_lower_cs`): for batches of one row, to the last digits. In a batch of
many the bet is made once, before it, for its number of rows.

Standard library only. Losses outside [0, 1] make every bound void; `LossSum` refuses
sums that show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from modelkeep.errors import Invalid

DECIMALS: Final = 6
"""Sums are rounded to so many, and always so that a bound gets wider."""
_UNIT: Final = 10**DECIMALS


class LossSum(NamedTuple):
    """A batch of losses: how many, their sum, and the sum of their squares."""

    rows: int
    total: float
    squares: float

    @classmethod
    def of(cls, losses: Iterable[float]) -> Self:
        """Raise Invalid, also for NaN, when a loss is outside [0, 1]."""
        known = list(losses)
        if not all(0 <= loss <= 1 for loss in known):
            raise Invalid.field("losses", "lie between 0 and 1")
        return cls(
            len(known), math.fsum(known), math.fsum(loss * loss for loss in known)
        )

    @classmethod
    def of_errors(cls, errors: int, rows: int) -> Self:
        """Return the sum of losses that are 0 or 1."""
        return cls(rows, float(errors), float(errors)).checked()

    def checked(self) -> Self:
        """Raise Invalid unless these can be sums of losses in [0, 1]."""
        slack = 1e-9 * max(1, self.rows)
        if not (self.rows >= 0 and 0 <= self.squares <= self.total + slack):
            raise Invalid.field("losses", "squares exceed the sum: not in [0, 1]")
        if not self.total**2 <= (self.squares + slack) * max(1, self.rows):
            raise Invalid.field("losses", "are no sums of so many rows")
        return self

    @property
    def mean(self) -> float | None:
        return self.total / self.rows if self.rows else None


def upper_bound(losses: LossSum, error: float) -> float:
    """Return what the mean exceeds with probability `error` at most; 1 of few rows.

    mean + sqrt(2 V ln(2 / error) / n) + 7 ln(2 / error) / (3 (n - 1)), V the sample
    variance. Half of 1,001 rows wrong, V = .25: .5 + .04295 + .00861.

    >>> round(upper_bound(LossSum(1_001, 500.5, 500.5), 0.05), 4)
    0.5516
    """
    if not 0 < error < 1:
        raise Invalid.field("error", "must lie between 0 and 1")
    rows, total, squares = losses.checked()
    if rows < 2:  # noqa: PLR2004 - one row has no variance
        return 1.0
    variance = max(0.0, squares - total * total / rows) / (rows - 1)
    log = math.log(2 / error)
    slack = math.sqrt(2 * variance * log / rows) + 7 * log / (3 * (rows - 1))
    return min(1.0, total / rows + slack)


class SequenceState(NamedTuple):
    """What a confidence sequence remembers of all rows so far.

    `spread` is the sum of squared distances from the running mean, `weighted`, `weight`
    and `paid` the sums of bet x loss, bets, and what the variance costs. `lower` is the
    highest lower bound so far: one that held once holds for ever.
    """

    rows: int = 0
    total: float = 0.0
    spread: float = 0.0
    weighted: float = 0.0
    weight: float = 0.0
    paid: float = 0.0
    lower: float = 0.0


@dataclass(frozen=True, slots=True)
class LowerSequence:
    """Lower bounds of which not one is above the mean, with a probability of 1 - alpha.

    Where the mean moves, of the mean weighted by the bets. `most` truncates a bet.
    """

    alpha: float
    most: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and 0 < self.most < 1):
            raise Invalid.field("alpha", "alpha and most lie between 0 and 1")

    def update(self, state: SequenceState, batch: LossSum) -> SequenceState:
        """Return the state after a batch; one without rows changes nothing.

        >>> one_by_one = LowerSequence(0.05)
        >>> state = SequenceState()
        >>> for _ in range(100):
        ...     state = one_by_one.update(state, LossSum(1, 1.0, 1.0))
        >>> round(state.lower, 3)
        0.936
        """
        rows, total, _ = batch.checked()
        if rows == 0:
            return state
        count, added = state.rows + rows, state.total + total
        bet = self._bet(state, count)
        before = state.total / state.rows if state.rows else 0.0
        centre = min(1.0, (0.5 + added) / (count + 1))
        weighted = _down(state.weighted + bet * total)
        weight = _up(state.weight + bet * rows)
        cost = -math.log1p(-bet) - bet
        paid = _up(state.paid + cost * _around(batch, before))
        bound = (weighted - math.log(1 / self.alpha) - paid) / weight
        return SequenceState(
            count,
            round(added, DECIMALS),
            round(state.spread + _around(batch, centre), DECIMALS),
            weighted,
            weight,
            paid,
            max(state.lower, _down(bound), 0.0),
        )

    def _bet(self, state: SequenceState, count: int) -> float:
        variance = (0.25 + state.spread) / (state.rows + 1)
        scale = count * math.log(1 + count) * max(variance, 1e-12)
        return min(self.most, math.sqrt(2 * math.log(1 / self.alpha) / scale))


def _around(batch: LossSum, centre: float) -> float:
    rows, total, squares = batch
    return max(0.0, squares - 2 * centre * total + rows * centre * centre)


def _down(value: float) -> float:
    return math.floor(value * _UNIT) / _UNIT


def _up(value: float) -> float:
    return math.ceil(value * _UNIT) / _UNIT
