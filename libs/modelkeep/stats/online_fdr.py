"""What the online procedures for scheduled reports have in common.

A report tests hypotheses one after another, for years; of everything that it calls a
change, the expected share that is none (the false discovery rate) stays below alpha.
That is for reviews that happen anyway. It is no budget for alerts: a detector that
never stops looking finds something in the end, whatever its rate (Dandapanthula &
Ramdas, arXiv 2501.04130).

Hypotheses are numbered from 1 in the order in which they are tested. States are
immutable and plain numbers, so that an event can carry them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from modelkeep.errors import Invalid

SLOW: float = 0.07720838
STEEP: float = 0.4374901658


class Ruling(NamedTuple):
    """A hypothesis, the level it was tested at, and whether it was rejected."""

    number: int
    level: float
    rejected: bool


def slow_gamma(number: int) -> float:
    """Return log(max(j, 2)) / (j exp(sqrt(log j))) in parts that add up to 1.

    Javanmard & Montanari, "Online rules for control of false discovery rate and false
    discovery exceedance", Annals of Statistics 46 (2018), equation 31, with the
    constant of R's onlineFDR. 0 for a hypothesis that is not there yet.

    >>> round(slow_gamma(1), 8)
    0.05351677
    """
    if number < 1:
        return 0.0
    return (
        SLOW
        * math.log(max(number, 2))
        / (number * math.exp(math.sqrt(math.log(number))))
    )


def steep_gamma(number: int) -> float:
    """Return j ** -1.6 in parts that add up to 1, as SAFFRON and onlineFDR have it.

    >>> round(steep_gamma(2), 8)
    0.14431793
    """
    return STEEP / number**1.6 if number >= 1 else 0.0


def check_p(value: float) -> float:
    """Raise Invalid for what is no p-value, NaN included."""
    if not 0 <= value <= 1:
        raise Invalid.field("p", f"{value} is no p-value")
    return value


def check_rates(alpha: float, wealth: float) -> None:
    """Raise Invalid unless 0 < wealth <= alpha < 1."""
    if not 0 < wealth <= alpha < 1:
        raise Invalid.field("alpha", "needs 0 < wealth <= alpha < 1")
