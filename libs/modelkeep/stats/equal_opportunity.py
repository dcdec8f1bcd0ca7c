"""Equal opportunity difference: whether those who merit favour get it in every group.

P(favoured | came true, group) - P(favoured | came true, reference), the difference of
true positive rates (Hardt, Price & Srebro, "Equality of opportunity in supervised
learning", NeurIPS 2016). It needs outcomes, also of those who were refused; where these
have none, it speaks of the others alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelkeep.stats.fairness import Gap, Group, find, gap


def opportunity_differences(
    groups: Sequence[Group], reference: str, tolerance: float = 0.1
) -> tuple[Gap, ...]:
    """Return one for each group but the reference. Raises Invalid if that is not there.

    Of a hundred who merited it 60 were favoured, of another hundred 90:

    >>> women = Group("women", 400, 100, qualified=100, qualified_favoured=60)
    >>> men = Group("men", 400, 200, qualified=100, qualified_favoured=90)
    >>> (found,) = opportunity_differences((women, men), "men")
    >>> round(found.value, 6), str(found.judgement)
    (-0.3, 'breached')
    """
    base = find(groups, reference)
    return tuple(
        gap(
            one.name,
            (one.qualified_favoured, one.qualified),
            base.name,
            (base.qualified_favoured, base.qualified),
            tolerance,
        )
        for one in groups
        if one is not base
    )
