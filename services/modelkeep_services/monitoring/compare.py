"""Compare: any two of window, baseline and version over a period, beside each other.

A feature is compared where both sides counted it in the same bins; of any other the
answer says why not. Computed when asked, as of the moment asked for; never stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.errors import Invalid
from modelkeep.events.monitoring import Estimate
from modelkeep.service import Asked
from modelkeep.stats import latency as latencies
from modelkeep.stats.bins import Counts
from modelkeep.stats.comparison import Comparison, compare
from modelkeep.stats.drift import prediction_drift
from modelkeep.stats.jensen_shannon import jensen_shannon
from modelkeep.stats.ks import ks
from modelkeep.stats.missing import missing_rates
from modelkeep.stats.profile import Baseline, Categorical, Layout, Numeric, Profile
from modelkeep.stats.psi import PsiDocument
from modelkeep.stats.scores import CELLS
from modelkeep.stats.unseen import unseen_categories
from modelkeep.stats.wilson import Interval
from modelkeep.wire import fill
from modelkeep_services.monitoring import known
from modelkeep_services.monitoring.asking import require_model
from modelkeep_services.monitoring.columns import slug_of
from modelkeep_services.monitoring.compare_windows import (
    fine_of,
    tell_outcomes,
    tell_windows,
)
from modelkeep_services.monitoring.rounding import rounded, significant
from modelkeep_services.monitoring.sides import (
    Counted,
    Side,
    of_baseline,
    of_period,
    of_window,
)
from modelkeep_services.monitoring.windows import psi_document
from modelkeep_services.monitoring.wire_values import instant

METHOD: Final = "compare/1"
MAX_FEATURES: Final = 100
MAX_NAME: Final = 200
OF_NUMBERS: Final = frozenset({"rmse", "mae", "mean_error"})
"""Metrics in the unit of what is predicted."""
COARSE: Final = (
    "Wasserstein distances and ranges need fine cells, which a side does not keep: "
    "they are what windows said of themselves, beside the baseline they were judged "
    "by; the Kolmogorov-Smirnov distance is that of the bins"
)
POOLED: Final = (
    "performance of a period is that of its windows' counts and sums; its AUC that of "
    "score cells, in which a cell is a tie"
)


def compare_sides(request: pb.CompareRequest, asked: Asked) -> pb.CompareResponse:
    model = require_model(asked.read, request.model)
    names = _names(request.features)
    before = _side("before", request.before, model, asked)
    after = _side("after", request.after, model, asked)
    limits = known.limits(asked.read, model)
    document = psi_document(limits)
    answer = pb.CompareResponse(
        method=f"{METHOD}, thresholds {limits.version}", notes=_notes(before, after)
    )
    _tell(answer.before, before)
    _tell(answer.after, after)
    answer.features.extend(_features(before, after, document, names))
    answer.scores.CopyFrom(_scores(before, after, document))
    answer.performance.extend(_performance(before, after))
    tell_outcomes(answer, before, after)
    for told, side in ((answer.before, before), (answer.after, after)):
        tell_windows(told, side, asked.read, model, limits)
    for feature in answer.features:
        fine = fine_of(feature.feature, before, after)
        # in other bins, it is another baseline of the same name
        if fine is not None and not feature.not_comparable:
            feature.fine.CopyFrom(fine)
    return answer


# --- what is asked -----------------------------------------------------------------


def _names(given: Sequence[str]) -> frozenset[str]:
    if len(given) > MAX_FEATURES:
        raise Invalid.field("features", f"are more than {MAX_FEATURES}")
    if any(not 0 < len(name) <= MAX_NAME for name in given):
        raise Invalid.field("features", f"are names of 1 to {MAX_NAME} characters")
    return frozenset(given)


def _side(field: str, given: pb.ComparedSide, model: str, asked: Asked) -> Side:
    what = given.WhichOneof("what")
    if what == "window":
        return of_window(asked.read, model, slug_of(f"{field}.window", given.window))
    if what == "baseline":
        return _baseline(f"{field}.baseline", given.baseline, model, asked)
    if what == "period":
        return _period(f"{field}.period", given.period, model, asked)
    raise Invalid.field(field, "is a window, a baseline or a version over a period")


def _baseline(field: str, given: pb.BaselineSide, model: str, asked: Asked) -> Side:
    version = slug_of(f"{field}.version", given.version)
    name = slug_of(f"{field}.baseline", given.baseline) if given.baseline else ""
    return of_baseline(asked.read, model, version, name)


def _period(field: str, given: pb.PeriodSide, model: str, asked: Asked) -> Side:
    version = slug_of(f"{field}.version", given.version)
    environment = slug_of(f"{field}.environment", given.environment, "prod")
    start = instant(f"{field}.start", given, "start")
    end = instant(f"{field}.end", given, "end")
    if start is None or end is None or start >= end:
        raise Invalid.field(f"{field}.start", "say a start and a later end")
    return of_period(asked.read, model, version, environment, start, end)


# --- what the sides are ------------------------------------------------------------


def _tell(answer: pb.Compared, side: Side) -> None:
    fill(
        answer,
        {
            "version": side.version,
            "environment": side.environment,
            "start": side.start,
            "end": side.end,
            "rows": side.rows,
            "windows": side.windows,
            "baseline": side.baseline,
            "left_out": side.left_out,
            "outcomes": side.outcomes,
            "pending": side.pending,
            "immature": side.immature,
            "sources": side.sources,
        },
    )
    p50, p95, p99 = latencies.quantiles(side.latency, (0.50, 0.95, 0.99))
    if p50 is not None and p95 is not None and p99 is not None:
        top = latencies.LONGEST
        answer.latency_ms.p50 = rounded(min(p50, top))
        answer.latency_ms.p95 = rounded(min(p95, top))
        answer.latency_ms.p99 = rounded(min(p99, top))
        answer.latency_ms.n = int(side.latency[: latencies.MISSING].sum())


def _notes(before: Side, after: Side) -> Iterator[str]:
    if before.features or after.features:
        yield COARSE
    if len(before.windows) > 1 or len(after.windows) > 1:
        yield POOLED
    for name, side in (("before", before), ("after", after)):
        if side.immature:
            yield (
                f"{name}: the outcomes of {side.immature} of {len(side.windows)} "
                "windows have not had their time, so its performance is biased"
            )
        if not side.baseline and not side.features and not side.apart:
            yield f"{name}: no baseline was registered, so no feature was counted"


# --- features ----------------------------------------------------------------------


def _features(
    before: Side, after: Side, document: PsiDocument, names: frozenset[str]
) -> list[pb.FeatureComparison]:
    every = {*before.features, *after.features, *before.apart, *after.apart}
    unknown = sorted(names - every)
    if unknown:
        raise Invalid.field("features", f"{unknown[0]} was counted on neither side")
    wanted = sorted(names or every)
    reasons = {name: _reason(name, before, after) for name in wanted}
    alike = [name for name in wanted if not reasons[name]]
    found = {one.feature: one for one in _compared(before, after, document, alike)}
    for name in wanted:
        if reasons[name]:
            found[name] = _not_compared(name, reasons[name], before, after)
        if names:
            found[name].bins.extend(_bins(name, before, after))
    return [found[name] for name in wanted]


def _reason(name: str, before: Side, after: Side) -> str:
    """Say why a feature cannot be compared; nothing where it can."""
    for word, side in (("before", before), ("after", after)):
        if name in side.apart:
            return f"{word}: {side.apart[name]}"
    for word, side in (("before", before), ("after", after)):
        if name not in side.features:
            return f"{word}: it was not counted"
    one, other = before.features[name], after.features[name]
    if type(one.feature) is not type(other.feature):
        return "it is of numbers on one side and of categories on the other"
    if one.feature != other.feature:
        return "it was counted in other bins, and rows cannot be binned again"
    for word, counted in (("before", one), ("after", other)):
        if not int(counted.counts.sum()):
            return f"{word}: there are no rows"
    return ""


def _not_compared(
    name: str, reason: str, before: Side, after: Side
) -> pb.FeatureComparison:
    found = pb.FeatureComparison(feature=name, not_comparable=reason)
    if name in before.features:
        found.before_rows = before.features[name].known
    if name in after.features:
        found.after_rows = after.features[name].known
    some = before.features.get(name) or after.features.get(name)
    found.categorical = some is not None and isinstance(some.feature, Categorical)
    return found


def _compared(
    before: Side, after: Side, document: PsiDocument, names: Sequence[str]
) -> Iterator[pb.FeatureComparison]:
    if not names:
        return
    baseline, window = _beside(before, after, names)
    distances = {one.name: one for one in compare(baseline, window, document)}
    missing = {one.name: one for one in missing_rates(baseline, window)}
    unseen = {one.name: one for one in unseen_categories(baseline, window)}
    for name in names:
        one, other = before.features[name], after.features[name]
        found = pb.FeatureComparison(
            feature=name,
            categorical=isinstance(one.feature, Categorical),
            before_rows=one.known,
            after_rows=other.known,
        )
        rate = missing[name]
        _share(found.missing_before, rate.baseline_share, rate.baseline_bounds)
        _share(found.missing_after, rate.share, rate.bounds)
        found.missing_rose = rate.risen
        if name in distances:
            _distances(found, distances[name])
        if isinstance(one.feature, Numeric):
            gap = _gap(one.counts[:-1], other.counts[:-1])
            if gap is not None:
                found.kolmogorov_smirnov.CopyFrom(gap)
        if name in unseen:
            strange = unseen[name]
            _share(found.unseen_before, strange.baseline_share, strange.baseline_bounds)
            _share(found.unseen_after, strange.share, strange.bounds)
            found.unseen_rose = strange.risen
        yield found


def _beside(
    before: Side, after: Side, names: Sequence[str]
) -> tuple[Baseline, Profile]:
    """Return both sides in the layout of the features that they share."""
    layout = Layout(tuple(before.features[name].feature for name in names))
    return (
        Baseline(layout, _part(layout, before, names), (1 / len(names),) * len(names)),
        _part(layout, after, names),
    )


def _part(layout: Layout, side: Side, names: Sequence[str]) -> Profile:
    counts = np.zeros(layout.size, dtype=np.int64)
    counts[: layout.bins_end] = np.concatenate(
        [side.features[name].counts for name in names]
    )
    return Profile(layout, int(side.features[names[0]].counts.sum()), counts)


def _distances(found: pb.FeatureComparison, one: Comparison) -> None:
    found.psi = rounded(one.drift.psi)
    found.lo = rounded(one.drift.warning)
    found.hi = rounded(one.drift.hard)
    found.by_chance = rounded(one.drift.by_chance)
    found.jensen_shannon = rounded(one.jensen_shannon)
    found.divergence_by_chance = rounded(one.divergence_by_chance)
    test = one.chi_square
    found.chi_square.CopyFrom(
        pb.ChiSquareFigure(
            statistic=rounded(test.statistic),
            freedom=test.freedom,
            p=test.p,
            effect=rounded(test.effect),
        )
    )


def _gap(one: Counts, other: Counts) -> pb.KolmogorovSmirnovFigure | None:
    """Compare counts in ordered bins, the missing left out."""
    found = ks(one, other)
    if found is None:
        return None
    return pb.KolmogorovSmirnovFigure(
        distance=rounded(found.distance), most=rounded(found.most), p=found.p
    )


def _bins(name: str, before: Side, after: Side) -> Iterator[pb.BinFigure]:
    """Tell the counts of bins that both sides share, or of the one that has some."""
    one, other = before.features.get(name), after.features.get(name)
    if one is None or other is None or one.feature != other.feature:
        return
    told = zip(
        _labels(one.feature), one.counts.tolist(), other.counts.tolist(), strict=True
    )
    for (label, low, high), was, now in told:
        found = pb.BinFigure(label=label, before=was, after=now)
        if low is not None:
            found.low = low
        if high is not None:
            found.high = high
        yield found


def _labels(
    feature: Numeric | Categorical,
) -> list[tuple[str, float | None, float | None]]:
    if isinstance(feature, Categorical):
        names = (*feature.categories, "other", "missing")
        return [(name, None, None) for name in names]
    ends = [None, *feature.edges, None]
    bins = [("", low, high) for low, high in pairwise(ends)]
    return [*bins, ("missing", None, None)]


def _share(answer: pb.ShareFigure, value: float, bounds: Interval) -> None:
    answer.value = rounded(value)
    answer.lower, answer.upper = rounded(bounds.low), rounded(bounds.high)


# --- scores ------------------------------------------------------------------------


def _scores(before: Side, after: Side, document: PsiDocument) -> pb.ScoreComparison:
    if math.isnan(before.low) or math.isnan(after.low):
        return pb.ScoreComparison(
            not_comparable="the range of scores changed within a period"
        )
    if (before.low, before.high) != (after.low, after.high):
        return pb.ScoreComparison(
            not_comparable="the scores of the sides have other ranges"
        )
    found = pb.ScoreComparison(
        low=before.low,
        high=before.high,
        before=before.cells[:CELLS].tolist(),
        after=after.cells[:CELLS].tolist(),
    )
    if not (sum(found.before) and sum(found.after)):
        found.not_comparable = "one side has no scores"
        return found
    one, other, by_cells = _judged(before, after)
    found.by_cells = by_cells
    layout = Layout((), scores=_as_scores(one))
    drift = prediction_drift(
        Baseline(layout, _only(layout, one), ()), _only(layout, other), document
    )
    if drift is not None:
        found.psi, found.lo = rounded(drift.psi), rounded(drift.warning)
        found.hi = rounded(drift.hard)
    cells = before.cells[:CELLS], after.cells[:CELLS]
    found.jensen_shannon = rounded(jensen_shannon(*cells))
    gap = _gap(*cells)
    if gap is not None:
        found.kolmogorov_smirnov.CopyFrom(gap)
    return found


def _judged(before: Side, after: Side) -> tuple[Counted, Counted, bool]:
    """Return what PSI is computed of: the scores' own bins, or their cells."""
    one, other = before.scores, after.scores
    if one is not None and other is not None and one.feature == other.feature:
        return one, other, False
    edges = np.linspace(before.low, before.high, CELLS + 1)[1:-1]
    cells = Numeric("score", tuple(edges.tolist()))
    return (
        Counted(cells, np.append(before.cells[:CELLS], 0)),
        Counted(cells, np.append(after.cells[:CELLS], 0)),
        True,
    )


def _as_scores(one: Counted) -> Numeric:
    if not isinstance(one.feature, Numeric):
        raise TypeError("scores are numeric")
    return one.feature


def _only(layout: Layout, one: Counted) -> Profile:
    counts = np.zeros(layout.size, dtype=np.int64)
    counts[: layout.bins_end] = one.counts
    return Profile(layout, int(one.counts.sum()), counts)


# --- performance -------------------------------------------------------------------


def _performance(before: Side, after: Side) -> Iterator[pb.MetricComparison]:
    names = dict.fromkeys([*before.performance, *after.performance])
    for name in names:
        one, other = before.performance.get(name), after.performance.get(name)
        found = pb.MetricComparison(metric=name)
        if one is not None:
            fill(found.before, one)
        if other is not None:
            fill(found.after, other)
        if one is not None and other is not None:
            found.difference = _rounded(name, other.value - one.value)
            _bounds(found, one, other)
        yield found


def _bounds(found: pb.MetricComparison, one: Estimate, other: Estimate) -> None:
    """Bound the difference of two independent figures from the bounds of each: Zou &
    Donner, "Construction of confidence limits about effect measures", Statistics in
    Medicine 27 (2008), 1693-1702, which of two shares is Newcombe's interval.
    """
    if one.lower is None or one.upper is None:
        return
    if other.lower is None or other.upper is None:
        return
    apart = other.value - one.value
    below = math.hypot(other.value - other.lower, one.upper - one.value)
    above = math.hypot(other.upper - other.value, one.value - one.lower)
    found.lower = _rounded(found.metric, apart - below)
    found.upper = _rounded(found.metric, apart + above)


def _rounded(metric: str, value: float) -> float:
    return significant(value) if metric in OF_NUMBERS else rounded(value)
