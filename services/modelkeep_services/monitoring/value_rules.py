"""What in a window's values someone must act on: categories and numbers that the
baseline does not have. Pure comparisons, as in `rules`.

Each needs its whole interval beyond what the baseline and chance allow, and a rise that
matters: of a small window one strange row is no rise. A feature whose distribution has
drifted is told of once, by `rules`: that these rows moved it is in its figures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modelkeep.events.monitoring import FeatureFigure, Thresholds, WindowFigures
from modelkeep_services.monitoring.rules import Breach


def value_breaches(
    figures: WindowFigures, limits: Thresholds, told: Collection[str] = ()
) -> Iterator[Breach]:
    """Yield breaches; `told` are the features whose drift `rules` found."""
    for feature in figures.features:
        if feature.feature not in told:
            yield from _unseen(feature, limits)
            yield from _beyond(feature, limits)


def _unseen(seen: FeatureFigure, limits: Thresholds) -> Iterator[Breach]:
    lower, before = seen.unseen_lower, seen.baseline_unseen_upper
    if limits.unseen_rise is None or lower is None or before is None:
        return
    limit = before + limits.unseen_rise
    if seen.unseen_share is None or lower <= limit:
        return
    such = ", ".join(seen.unseen_examples)
    yield Breach(
        kind="unseen_categories",
        vector="data_drift",
        severity="medium",
        metric="unseen_share",
        feature=seen.feature,
        value=seen.unseen_share,
        threshold=round(limit, 4),
        n=seen.n,
        cause=(
            f"{seen.unseen_share:.1%} of {seen.feature} are categories that the "
            f"baseline does not keep, where it allows {before:.1%}"
            f"{f': {such}' if such else ''}"
        ),
    )


def _beyond(seen: FeatureFigure, limits: Thresholds) -> Iterator[Breach]:
    lower, chance = seen.beyond_lower, seen.beyond_by_chance
    if limits.beyond_rise is None or lower is None or chance is None:
        return
    limit = chance + limits.beyond_rise
    if seen.beyond_share is None or lower <= limit:
        return
    yield Breach(
        kind="range_drift",
        vector="data_drift",
        severity="medium",
        metric="beyond_share",
        feature=seen.feature,
        value=seen.beyond_share,
        threshold=round(limit, 4),
        n=seen.n,
        cause=(
            f"{seen.beyond_share:.1%} of {seen.feature} lie beyond the baseline's range"
            f"{_range(seen)}, where chance explains {chance:.1%}"
        ),
    )


def _range(seen: FeatureFigure) -> str:
    if seen.low is None or seen.high is None:
        return ""
    return f" of {seen.low:g} to {seen.high:g}"
