"""What in a window's drift of labels, concept and columns someone must act on: pure
comparisons, as in `rules`.

Each needs its size beyond a limit and its whole interval beyond nothing. Labels and
columns may move with the season and do a model no harm, so their limits are stated by
whoever wants the alert. Nor does a concept that has moved towards what scores say: a
baseline from an odd week was what was wrong then, and nobody is called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modelkeep.events.monitoring import AlertKind, Thresholds, WindowFigures
from modelkeep_services.monitoring.rules import Breach


def drift_breaches(
    figures: WindowFigures, limits: Thresholds, told: Collection[AlertKind] = ()
) -> Iterator[Breach]:
    """Yield breaches; `told` are the kinds of those that `rules` found."""
    yield from _misfit(figures, limits)
    if not figures.mature or figures.outcomes < limits.least_outcomes:
        return
    yield from _label(figures, limits)
    # a gap of calibration is the same finding, measured against the scores
    if "calibration" not in told:
        yield from _concept(figures, limits)


def _label(figures: WindowFigures, limits: Thresholds) -> Iterator[Breach]:
    seen, limit = figures.label_drift, limits.label_shift
    if seen is None or limit is None:
        return
    if abs(seen.difference) > limit and not seen.lower <= 0 <= seen.upper:
        yield Breach(
            kind="label_drift",
            vector="concept_shift",
            severity="medium",
            metric="label_shift",
            value=seen.difference,
            threshold=limit if seen.difference > 0 else -limit,
            baseline=seen.baseline_share,
            n=seen.n,
            cause=(
                f"{seen.share:.1%} of {seen.n} came true, {seen.baseline_share:.1%} of "
                f"the baseline's"
            ),
        )


def _concept(figures: WindowFigures, limits: Thresholds) -> Iterator[Breach]:
    seen, limit = figures.concept_drift, limits.concept_shift
    if seen is None or limit is None or _truer(figures):
        return
    if abs(seen.rate) > limit and not seen.lower <= 0 <= seen.upper:
        certain = seen.lower > limit or seen.upper < -limit
        yield Breach(
            kind="concept_drift",
            vector="concept_shift",
            severity="high" if certain else "medium",
            metric="concept_shift",
            value=seen.rate,
            threshold=limit if seen.rate > 0 else -limit,
            n=seen.n,
            cause=(
                f"the same scores came true {seen.rate:+.1%} from the baseline "
                f"({seen.lower:+.1%} to {seen.upper:+.1%}); other cases account for "
                f"{seen.mix:+.1%}"
            ),
        )


def _truer(figures: WindowFigures) -> bool:
    """Whether scores miss the outcomes by no more than they did in the baseline."""
    for figure in figures.performance:
        if figure.metric == "calibration_gap" and figure.baseline is not None:
            return abs(figure.value) <= abs(figure.baseline)
    return False


def _misfit(figures: WindowFigures, limits: Thresholds) -> Iterator[Breach]:
    seen, limit = figures.misfit, limits.misfit_rise
    if seen is None or limit is None:
        return
    rise = seen.error - seen.baseline_error
    if abs(rise) <= limit or seen.lower <= 0 <= seen.upper:
        return
    worst = next(iter(seen.by_column), "no column")
    yield Breach(
        kind="multivariate_drift",
        vector="data_drift",
        severity="medium",
        metric="misfit",
        value=seen.error,
        threshold=round(seen.baseline_error + (limit if rise > 0 else -limit), 6),
        baseline=seen.baseline_error,
        n=seen.n,
        cause=(
            f"columns move {'less' if rise > 0 else 'more'} together than in the "
            f"baseline, {worst} most: a row misses by {seen.error:.3f} variances, "
            f"{seen.baseline_error:.3f} before"
        ),
    )
