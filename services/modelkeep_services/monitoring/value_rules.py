"""What in a window's values someone must act on: categories and numbers that the
baseline does not have. Pure comparisons, as in `rules`.

Windows of seven rows and thirty columns are real, and one strange value in one of them
is chance. So the window's bound is Chernoff's, which holds however few the rows, and
the baseline's range is doubted as Wilks has it, both at an error that all features of
the window share; and the rise must matter. A feature whose distribution has drifted is
told of once, by `rules`: that these rows moved it is in its figures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from modelkeep.events.monitoring import FeatureFigure, Thresholds, WindowFigures
from modelkeep.stats.chernoff import chernoff
from modelkeep.stats.wilks import beyond_ends
from modelkeep_services.monitoring.rules import Breach

ERROR: Final = 0.025
"""Of all features of a window together, on either side."""


def value_breaches(
    figures: WindowFigures, limits: Thresholds, told: Collection[str] = ()
) -> Iterator[Breach]:
    """Yield breaches; `told` are the features whose drift `rules` found."""
    error = ERROR / max(len(figures.features), 1)
    for feature in figures.features:
        if feature.feature not in told:
            yield from _unseen(feature, limits, error)
            yield from _beyond(feature, limits, error)


def _unseen(seen: FeatureFigure, limits: Thresholds, error: float) -> Iterator[Breach]:
    allowed = seen.baseline_unseen_upper
    if limits.unseen_rise is None or allowed is None:
        return
    limit = allowed + limits.unseen_rise
    if (
        seen.unseen_share is None
        or _least(seen.unseen, seen.unseen_share, error) <= limit
    ):
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
            f"baseline does not keep, where it allows {allowed:.1%}"
            f"{f': {such}' if such else ''}"
        ),
    )


def _beyond(seen: FeatureFigure, limits: Thresholds, error: float) -> Iterator[Breach]:
    if limits.beyond_rise is None:
        return
    rows = round(seen.baseline_n * (1 - (seen.baseline_missing_rate or 0.0)))
    allowed = beyond_ends(rows, error)
    limit = allowed + limits.beyond_rise
    if (
        seen.beyond_share is None
        or _least(seen.beyond, seen.beyond_share, error) <= limit
    ):
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
            f"{_range(seen)}, where its {rows} rows allow {allowed:.1%}"
        ),
    )


def _least(hits: int | None, share: float, error: float) -> float:
    """Return the lower bound of a share of the rows that have a value."""
    if not hits or not share:
        return 0.0
    return chernoff(hits, max(hits, round(hits / share)), error).low


def _range(seen: FeatureFigure) -> str:
    if seen.low is None or seen.high is None:
        return ""
    return f" of {seen.low:g} to {seen.high:g}"
