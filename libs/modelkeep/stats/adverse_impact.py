"""Adverse-impact ratio: a group's rate of favour over the most favoured group's.

The four-fifths rule (Uniform Guidelines on Employee Selection Procedures, 29 CFR
1607.4(D)) takes a ratio below .8 for evidence of adverse impact, and warns that small
numbers show none. So the interval decides: that of Katz et al., "Obtaining confidence
intervals for the risk ratio in cohort studies", Biometrics 34 (1978), 469-474, normal
in the logarithm. Where nobody or everybody was favoured, half a person is added to each
side (Walter, "The distribution of Levin's measure of attributable risk", Biometrika 62
(1975), 371-374), for the interval alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.fairness import LEAST, Group, Judgement, find
from modelkeep.stats.wilson import NORMAL_95, Interval

FOUR_FIFTHS: Final = 0.8


class Impact(NamedTuple):
    """`ratio` is None where either side has too few people, or nobody was favoured.

    `judgement` is what to read first: HOLDS when the whole interval is at the limit or
    above, BREACHED when it is below.
    """

    group: str
    reference: str
    ratio: float | None
    low: float
    high: float
    n: int
    reference_n: int
    judgement: Judgement


def adverse_impact(
    groups: Sequence[Group], reference: str | None = None, limit: float = FOUR_FIFTHS
) -> tuple[Impact, ...]:
    """Return one for each group but the reference, by default the most favoured.

    Groups too small to judge are no reference by default. None when no group is large
    enough for that. Raises Invalid for a reference that is not there.

    A quarter beside a half is a ratio of one half:

    >>> women, men = Group("women", 400, 100), Group("men", 400, 200)
    >>> (found,) = adverse_impact((women, men))
    >>> found.reference, found.ratio, str(found.judgement)
    ('men', 0.5, 'breached')
    """
    if not 0 < limit <= 1:
        raise Invalid.field("limit", f"{limit} is not a ratio of at most 1")
    large = [group for group in groups if group.n >= LEAST]
    if reference is not None:
        base = find(groups, reference)
    elif large:
        base = max(large, key=lambda group: group.favoured / group.n)
    else:
        return ()
    return tuple(_impact(one, base, limit) for one in groups if one is not base)


def _impact(one: Group, base: Group, limit: float) -> Impact:
    low, high = ratio_interval(one.favoured, one.n, base.favoured, base.n)
    ratio = None
    judgement = Judgement.UNSURE
    if min(one.n, base.n) >= LEAST and base.favoured:
        ratio = one.favoured / one.n / (base.favoured / base.n)
        if low >= limit:
            judgement = Judgement.HOLDS
        elif high < limit:
            judgement = Judgement.BREACHED
    return Impact(one.name, base.name, ratio, low, high, one.n, base.n, judgement)


def ratio_interval(
    hits: int, trials: int, other_hits: int, other_trials: int
) -> Interval:
    """Return the 95 % interval of the first share over the second.

    (0, inf) when nothing was tried on either side.

    Equal shares of .5, 100 people each: exp(+- 1.96 sqrt(.02)).

    >>> [round(bound, 4) for bound in ratio_interval(50, 100, 50, 100)]
    [0.7579, 1.3194]
    """
    if not (trials and other_trials):
        return Interval(0.0, math.inf)
    extremes = (hits in {0, trials}) or (other_hits in {0, other_trials})
    half = 0.5 if extremes else 0.0
    one, n = hits + half, trials + half
    two, m = other_hits + half, other_trials + half
    spread = NORMAL_95 * math.sqrt(1 / one - 1 / n + 1 / two - 1 / m)
    middle = math.log(one / n) - math.log(two / m)
    low = 0.0 if hits == 0 else math.exp(middle - spread)
    high = math.inf if other_hits == 0 else math.exp(middle + spread)
    return Interval(low, high)
