"""Groups of people and what they were given: what every fairness figure starts from.

Counts of declared groups add up over batches. A figure about a few people is gossip:
below `LEAST` people on either side it is withheld, and what is left is "not enough to
say"; above, the interval decides, not the figure. The measures are in `parity`,
`equal_opportunity` and `adverse_impact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column, Counts
from modelkeep.stats.categories import Coded, count_categories
from modelkeep.stats.newcombe import difference
from modelkeep.stats.scores import check_outcomes

LEAST: Final = 30
"""People on either side, below whom nothing is said."""


class Judgement(StrEnum):
    HOLDS = "holds"
    """The whole interval lies within the limit."""
    BREACHED = "breached"
    """The whole interval lies beyond it."""
    UNSURE = "not enough to say"


class Group(NamedTuple):
    """`favoured` of `n` people; of `qualified`, whose outcome came true, some were.

    Without outcomes the last two are 0.
    """

    name: str
    n: int
    favoured: int
    qualified: int = 0
    qualified_favoured: int = 0

    def plus(self, other: Group) -> Group:
        """Raise Invalid when the other is another group."""
        if self.name != other.name:
            raise Invalid.field("groups", f"{self.name} and {other.name} do not add")
        sums = (a + b for a, b in zip(self[1:], other[1:], strict=True))
        return Group(self.name, *sums)


class Gap(NamedTuple):
    """A group's share less the reference's, with its 95 % interval (see `newcombe`).

    `value` is None where either side has too few people; `judgement` is what to read
    first. `n` and `reference_n` are the people that the shares are of.
    """

    group: str
    reference: str
    value: float | None
    low: float
    high: float
    n: int
    reference_n: int
    judgement: Judgement


def group_counts(
    groups: Column | Coded,
    favoured: NDArray[np.bool_],
    declared: Sequence[str],
    outcomes: Column | None = None,
) -> tuple[Group, ...]:
    """Count a batch, one Group for each that is declared, in that order.

    People of no declared group are in none. Outcomes are 1 for those who merited
    favour, 0 for others and NaN where that is not known.

    >>> groups, favoured = np.array(["a", "a", "x"]), np.array([True, False, True])
    >>> group_counts(groups, favoured, ["a", "b"])[0]
    Group(name='a', n=2, favoured=1, qualified=0, qualified_favoured=0)
    """
    rows = len(groups.codes if isinstance(groups, Coded) else groups)
    if favoured.shape != (rows,) or favoured.dtype != np.bool_:
        raise Invalid.field("favoured", f"must be {rows} of yes or no")
    merited = np.zeros(rows, dtype=np.bool_)
    if outcomes is not None:
        if outcomes.shape != (rows,):
            raise Invalid.field("outcomes", f"has {outcomes.size} rows, others {rows}")
        truth = np.asarray(outcomes, dtype=np.float64)
        check_outcomes(truth)
        merited = truth == 1
    names = tuple(declared)
    counted = [
        _count(groups, rows_kept, names).tolist()
        for rows_kept in (
            np.ones(rows, dtype=np.bool_),
            favoured,
            merited,
            merited & favoured,
        )
    ]
    return tuple(
        Group(name, *(part[place] for part in counted))
        for place, name in enumerate(names)
    )


def gap(
    group: str,
    hits: tuple[int, int],
    reference: str,
    reference_hits: tuple[int, int],
    tolerance: float,
) -> Gap:
    """Compare two shares, each told as hits and people."""
    if not 0 <= tolerance < 1:
        raise Invalid.field("tolerance", f"{tolerance} is not a share")
    low, high = difference(*hits, *reference_hits)
    value = None
    judgement = Judgement.UNSURE
    if min(hits[1], reference_hits[1]) >= LEAST:
        value = hits[0] / hits[1] - reference_hits[0] / reference_hits[1]
        if -tolerance <= low and high <= tolerance:
            judgement = Judgement.HOLDS
        elif low > tolerance or high < -tolerance:
            judgement = Judgement.BREACHED
    return Gap(
        group, reference, value, low, high, hits[1], reference_hits[1], judgement
    )


def find(groups: Sequence[Group], name: str) -> Group:
    """Raise Invalid when there is none of that name."""
    for group in groups:
        if group.name == name:
            return group
    raise Invalid.field("reference", f"{name} is not a declared group")


def _count(
    groups: Column | Coded, kept: NDArray[np.bool_], names: tuple[str, ...]
) -> Counts:
    if isinstance(groups, Coded):
        return count_categories(groups._replace(codes=groups.codes[kept]), names)
    return count_categories(groups[kept], names)
