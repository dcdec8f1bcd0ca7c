"""What in a window's fairness someone must act on: pure comparisons, as in `rules`.

Judgements were made from intervals when the window was counted; here they become
alerts. The adverse-impact ratio and the parity difference look at the same two rates,
so a group is told of once: by the ratio where it speaks, else by the difference. What
rests on outcomes speaks of mature windows alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modelkeep.events.monitoring import (
    FairnessFigure,
    GroupFigure,
    GroupGap,
    Thresholds,
    WindowFigures,
)
from modelkeep_services.monitoring.rules import Breach

LONGEST: Final = 100
"""Characters of what an alert is about."""


def fairness_breaches(figures: WindowFigures, limits: Thresholds) -> Iterator[Breach]:
    for seen in figures.fairness:
        for group in seen.groups:
            yield from _rates(seen, group, limits)
            if figures.mature:
                yield from _chances(seen, group, limits)


def _rates(
    seen: FairnessFigure, group: GroupFigure, limits: Thresholds
) -> Iterator[Breach]:
    ratio, gap = group.impact, group.parity
    if _breached(ratio) and ratio is not None and limits.impact_ratio is not None:
        cause = (
            f"{_people(seen, group)} get a favourable decision {ratio.value:.2f} times "
            f"as often as {seen.reference}, limit {limits.impact_ratio:g}"
        )
        yield _breach(
            "adverse_impact_ratio", seen, group, ratio, limits.impact_ratio, cause
        )
    elif _breached(gap) and gap is not None and limits.parity_tolerance is not None:
        cause = (
            f"the share of favourable decisions of {_people(seen, group)} is "
            f"{gap.value:+.1%} from that of {seen.reference}, tolerance "
            f"{limits.parity_tolerance:.1%}"
        )
        limit = _signed(gap, limits.parity_tolerance)
        yield _breach("parity_difference", seen, group, gap, limit, cause)


def _chances(
    seen: FairnessFigure, group: GroupFigure, limits: Thresholds
) -> Iterator[Breach]:
    gap, tolerance = group.opportunity, limits.opportunity_tolerance
    if _breached(gap) and gap is not None and tolerance is not None:
        cause = (
            f"of those who merited it, {_people(seen, group)} got a favourable "
            f"decision {gap.value:+.1%} from {seen.reference}, tolerance "
            f"{tolerance:.1%}"
        )
        limit = _signed(gap, tolerance)
        yield _breach("equal_opportunity", seen, group, gap, limit, cause)


def about(column: str, group: str) -> str:
    return f"{column}={group}"[:LONGEST]


def _breached(found: GroupGap | None) -> bool:
    return found is not None and found.judgement == "breached"


def _signed(gap: GroupGap, tolerance: float) -> float:
    return tolerance if (gap.value or 0.0) > 0 else -tolerance


def _people(seen: FairnessFigure, group: GroupFigure) -> str:
    return f"{seen.column} {group.group}"


def _breach(
    metric: str,
    seen: FairnessFigure,
    group: GroupFigure,
    found: GroupGap,
    limit: float,
    cause: str,
) -> Breach:
    return Breach(
        kind="fairness",
        vector="fairness",
        severity="high",
        metric=metric,
        feature=about(seen.column, group.group),
        value=found.value or 0.0,
        threshold=limit,
        n=found.n,
        cause=cause,
    )
