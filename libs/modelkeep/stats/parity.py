"""Demographic parity difference: whether favour is as frequent in each group.

P(favoured | group) - P(favoured | reference) (Calders & Verwer, "Three naive Bayes
approaches for discrimination-free classification", Data Mining and Knowledge Discovery
21 (2010), 277-292). It asks for no outcomes, and does not ask who merited favour; see
`equal_opportunity` for that.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelkeep.stats.fairness import Gap, Group, find, gap


def parity_differences(
    groups: Sequence[Group], reference: str, tolerance: float = 0.1
) -> tuple[Gap, ...]:
    """Return one for each group but the reference. Raises Invalid if that is not there.

    Half of 400 and a quarter of 400:

    >>> women, men = Group("women", 400, 100), Group("men", 400, 200)
    >>> (found,) = parity_differences((women, men), "men")
    >>> found.value, str(found.judgement)
    (-0.25, 'breached')
    """
    base = find(groups, reference)
    return tuple(
        gap(
            one.name,
            (one.favoured, one.n),
            base.name,
            (base.favoured, base.n),
            tolerance,
        )
        for one in groups
        if one is not base
    )
