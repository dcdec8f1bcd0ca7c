"""What a window gave to declared groups of people, and whether that is alike.

A group is a value of a logged column. Counts are of rows, by batch, and add up;
outcomes count as far as they have arrived. The measures are in
`modelkeep.stats.fairness` and beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from modelkeep.decisions.matrix import Column, Flags, Floats, Words
from modelkeep.decisions.rows import NEVER
from modelkeep.events.monitoring import (
    Fairness,
    FairnessFigure,
    GroupFigure,
    GroupGap,
    Judged,
    Thresholds,
)
from modelkeep.stats.adverse_impact import Impact, adverse_impact
from modelkeep.stats.categories import Coded
from modelkeep.stats.equal_opportunity import opportunity_differences
from modelkeep.stats.fairness import Gap, Group, Judgement, group_counts
from modelkeep.stats.parity import parity_differences
from modelkeep_services.monitoring.book import Truths
from modelkeep_services.monitoring.rounding import rounded

WORDS: dict[Judgement, Judged] = {
    Judgement.HOLDS: "holds",
    Judgement.BREACHED: "breached",
    Judgement.UNSURE: "unsure",
}


def empty(declared: Fairness) -> tuple[Group, ...]:
    names = (declared.reference, *declared.groups)
    return tuple(Group(name, 0, 0) for name in names)


def counted(
    declared: Fairness,
    column: Coded,
    scores: Floats,
    outcomes: Truths,
    threshold: float,
) -> tuple[Group, ...]:
    """Count a batch. A decision is yes from the threshold on."""
    yes = scores >= threshold
    says_yes = declared.favourable == "yes"
    favoured: Flags = yes if says_yes else ~yes
    merited = np.where(outcomes < NEVER, outcomes == says_yes, np.nan)
    names = [group.name for group in empty(declared)]
    return group_counts(column, favoured, names, merited)


def spelled(column: Column) -> Coded:
    """Return a column's values as text: those that groups are declared by."""
    if isinstance(column, Words):
        return Coded(column.codes, column.dictionary)
    truths = column.values.dtype == np.uint8  # as a column of bool travels
    whole = column.values.astype(np.bool_) if truths else column.values
    values, places = np.unique(whole[column.valid], return_inverse=True)
    codes = np.full(len(column), -1, dtype=np.int32)
    codes[column.valid] = places
    return Coded(codes, tuple(_text(value) for value in values.tolist()))


def _text(value: bool | float) -> str:  # noqa: FBT001  # a cell's own value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f"{value:g}"


def plus(one: Sequence[Group], other: Sequence[Group]) -> tuple[Group, ...]:
    return tuple(a.plus(b) for a, b in zip(one, other, strict=True))


def minus(one: Sequence[Group], other: Sequence[Group]) -> tuple[Group, ...]:
    """Count those of `other` no longer."""
    less = [Group(group.name, *(-n for n in group[1:])) for group in other]
    return plus(one, less)


def figure(
    declared: Fairness, groups: Sequence[Group], rows: int, limits: Thresholds
) -> FairnessFigure:
    """Judge a window of `rows` rows by its groups; a limit that is None judges nothing.

    `groups` begin with the reference.
    """
    name = declared.reference
    parity = {
        gap.group: gap
        for gap in parity_differences(groups, name, limits.parity_tolerance or 0.0)
    }
    chances = {
        gap.group: gap
        for gap in opportunity_differences(
            groups, name, limits.opportunity_tolerance or 0.0
        )
    }
    impact = {
        one.group: one
        for one in adverse_impact(groups, name, limits.impact_ratio or 1.0)
    }
    return FairnessFigure(
        column=declared.column,
        reference=name,
        favourable=declared.favourable,
        groups=tuple(
            GroupFigure(
                group=group.name,
                n=group.n,
                favoured=group.favoured,
                qualified=group.qualified,
                qualified_favoured=group.qualified_favoured,
                parity=_gap(parity.get(group.name), limits.parity_tolerance),
                opportunity=_gap(chances.get(group.name), limits.opportunity_tolerance),
                impact=_ratio(impact.get(group.name), limits.impact_ratio),
            )
            for group in groups
        ),
        undeclared=rows - sum(group.n for group in groups),
    )


def _gap(found: Gap | None, limit: float | None) -> GroupGap | None:
    if found is None:
        return None
    return _told(
        found.value, found.low, found.high, found.n, found.reference_n
    ).model_copy(update={"judgement": _word(found.judgement, limit)})


def _ratio(found: Impact | None, limit: float | None) -> GroupGap | None:
    if found is None:
        return None
    return _told(
        found.ratio, found.low, found.high, found.n, found.reference_n
    ).model_copy(update={"judgement": _word(found.judgement, limit)})


def _word(found: Judgement, limit: float | None) -> Judged | None:
    return None if limit is None else WORDS[found]


def _told(
    value: float | None, low: float, high: float, n: int, reference_n: int
) -> GroupGap:
    # a figure about a few people is withheld, its bounds too
    known = value is not None
    return GroupGap(
        value=None if value is None else rounded(value),
        lower=rounded(low) if known and math.isfinite(low) else None,
        upper=rounded(high) if known and math.isfinite(high) else None,
        n=n,
        reference_n=reference_n,
    )
