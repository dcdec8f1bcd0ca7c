"""What in a window's figures someone must act on: pure comparisons with stored limits.

A rule speaks only as far as the sample allows: PSI has limits that know its rows, and
a metric must be worse than its limit while chance is excluded by its 95 % bounds. Rules
on performance speak of mature windows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from modelkeep.events.monitoring import (
    AlertKind,
    FeatureFigure,
    MoneyBasis,
    PerformanceFigure,
    Thresholds,
    Uuid,
    WindowFigures,
)
from modelkeep.events.types import (
    Finite,
    Money,
    RiskVector,
    Severity,
    Slug,
    Title,
    Value,
)
from modelkeep_services.monitoring.rounding import significant

MATERIAL: Final = 0.5
"""A feature is material from this multiple of the even share of importance."""
WORSE_BELOW: Final = frozenset(
    {"auc", "accuracy", "precision", "recall", "explanation_coverage"}
)


class Slo(Value):
    """What a metric's limits are, which way is worse, and what an hour beyond them
    costs.
    """

    slo: Slug
    metric: str
    warning: Finite
    hard: Finite
    direction: Literal["rises", "falls"]
    money_per_hour: Money | None = None
    play: Title | None = None
    money_basis: MoneyBasis = "assumption"
    money_check: Uuid | None = None


class Breach(NamedTuple):
    """A rule that was broken. `value` is beyond `threshold`."""

    kind: AlertKind
    vector: RiskVector
    severity: Severity
    metric: str
    value: float
    threshold: float
    n: int
    cause: str
    feature: str | None = None
    baseline: float | None = None
    slo: str | None = None


class Duties(NamedTuple):
    """What the model owes beside its limits."""

    reason_codes_compulsory: bool = False
    quarantine: bool = False


def judge(
    figures: WindowFigures, limits: Thresholds, slos: Sequence[Slo], duties: Duties
) -> list[Breach]:
    """Return every breach, in an order that depends on nothing but the figures."""
    found = [
        *_features(figures, limits),
        *_prediction(figures),
        *_performance(figures, limits),
        *_latency(figures, limits),
        *_contract(figures, duties),
        *_inputs(figures),
        *_governance(figures, limits, duties),
    ]
    told = {breach.metric for breach in found}
    found += [b for b in _slos(figures, slos, limits) if b.metric not in told]
    return found


def metrics_of(figures: WindowFigures) -> dict[str, PerformanceFigure]:
    """Return every figure that an SLO may name, those of performance when mature."""
    found: dict[str, PerformanceFigure] = {}
    if figures.mature:
        found |= {figure.metric: figure for figure in figures.performance}
    latency = figures.latency_ms
    if latency is not None:
        for name in ("p50", "p95", "p99"):
            found[f"latency_{name}_ms"] = _plain(
                f"latency_{name}_ms", getattr(latency, name), latency.n
            )
    if figures.prediction is not None:
        found["prediction_psi"] = _plain(
            "prediction_psi", figures.prediction.psi, figures.prediction.n
        )
    if figures.explanation_coverage is not None:
        found["explanation_coverage"] = _plain(
            "explanation_coverage", figures.explanation_coverage, figures.rows
        )
    psis = [f.psi for f in figures.features if f.psi is not None]
    if psis:
        found["feature_psi"] = _plain("feature_psi", max(psis), figures.rows)
    return found


def _plain(metric: str, value: float, n: int) -> PerformanceFigure:
    return PerformanceFigure(metric=metric, value=value, n=n)


def _features(figures: WindowFigures, limits: Thresholds) -> Iterator[Breach]:
    for feature in figures.features:
        psi, limit = feature.psi, feature.hi
        if psi is not None and limit is not None and psi > limit:
            yield _drifted(feature, psi, limit, len(figures.features))
        yield from _missing(feature, limits)


def _drifted(feature: FeatureFigure, psi: float, limit: float, features: int) -> Breach:
    material = feature.importance * features >= MATERIAL
    return Breach(
        kind="feature_drift",
        vector="data_drift",
        severity="high" if material else "medium",
        metric="feature_psi",
        feature=feature.feature,
        value=psi,
        threshold=limit,
        n=feature.n,
        cause=(
            f"{feature.feature} is distributed otherwise than in the baseline: PSI "
            f"{psi:.4f}, limit {limit:.4f} for {feature.n} rows"
        ),
    )


def _missing(feature: FeatureFigure, limits: Thresholds) -> Iterator[Breach]:
    lower, before = feature.missing_lower, feature.baseline_missing_upper
    if lower is None or before is None or feature.missing_rate is None:
        return
    limit = before + limits.missing_rise
    if lower > limit:
        yield Breach(
            kind="missing_values",
            vector="data_drift",
            severity="medium",
            metric="missing_rate",
            feature=feature.feature,
            value=feature.missing_rate,
            threshold=round(limit, 4),
            baseline=feature.baseline_missing_rate,
            n=feature.n,
            cause=(
                f"{feature.feature} is missing in {feature.missing_rate:.1%} of rows, "
                f"in {feature.baseline_missing_rate or 0:.1%} of the baseline's"
            ),
        )


def _prediction(figures: WindowFigures) -> Iterator[Breach]:
    seen = figures.prediction
    if seen is not None and seen.psi > seen.hi:
        yield Breach(
            kind="prediction_drift",
            vector="data_drift",
            severity="high",
            metric="prediction_psi",
            value=seen.psi,
            threshold=seen.hi,
            baseline=seen.baseline_mean,
            n=seen.n,
            cause=(
                f"scores are distributed otherwise than in the baseline: PSI "
                f"{seen.psi:.4f}, limit {seen.hi:.4f} for {seen.n} rows"
            ),
        )


def _performance(figures: WindowFigures, limits: Thresholds) -> Iterator[Breach]:
    if not figures.mature or figures.outcomes < limits.least_outcomes:
        return
    by_metric = {figure.metric: figure for figure in figures.performance}
    allowed = {
        "auc": limits.auc_drop,
        "brier": limits.brier_rise,
        "accuracy": limits.accuracy_drop,
        "false_positive_rate": limits.fpr_rise,
    }
    for metric, change in allowed.items():
        figure = by_metric.get(metric)
        if figure is not None and change is not None:
            yield from _degraded(figure, change)
    yield from _errors(by_metric, limits)
    gap = by_metric.get("calibration_gap")
    if gap is not None and limits.calibration_gap is not None:
        yield from _miscalibrated(figures, gap, limits.calibration_gap)


def _errors(
    by_metric: Mapping[str, PerformanceFigure], limits: Thresholds
) -> Iterator[Breach]:
    """Errors of numbers have the target's unit: they may rise by a share."""
    for metric, share in (("rmse", limits.rmse_rise), ("mae", limits.mae_rise)):
        figure = by_metric.get(metric)
        if figure is not None and figure.baseline is not None and share is not None:
            yield from _degraded(figure, share * figure.baseline)
    off, rmse = by_metric.get("mean_error"), by_metric.get("rmse")
    if off is None or rmse is None or rmse.baseline is None:
        return
    if limits.mean_error is not None:
        yield from _biased(off, limits.mean_error * rmse.baseline)


def _biased(off: PerformanceFigure, limit: float) -> Iterator[Breach]:
    if off.lower is None or off.upper is None or abs(off.value) <= limit:
        return
    if off.lower <= 0 <= off.upper:
        return
    certain = off.lower > limit or off.upper < -limit
    yield Breach(
        kind="calibration",
        vector="concept_shift",
        severity="high" if certain else "medium",
        metric="mean_error",
        value=off.value,
        threshold=significant(limit if off.value > 0 else -limit),
        baseline=off.baseline,
        n=off.n,
        cause=(
            f"predictions are {abs(off.value):.4g} too "
            f"{'high' if off.value > 0 else 'low'} on average, over {off.n} outcomes"
        ),
    )


def _degraded(figure: PerformanceFigure, change: float) -> Iterator[Breach]:
    if figure.baseline is None or figure.lower is None or figure.upper is None:
        return
    below = figure.metric in WORSE_BELOW
    limit = figure.baseline - change if below else figure.baseline + change
    kindest = figure.upper if below else figure.lower
    worse = figure.value < limit if below else figure.value > limit
    excluded = kindest < figure.baseline if below else kindest > figure.baseline
    certain = kindest < limit if below else kindest > limit
    if worse and excluded:
        yield Breach(
            kind="performance",
            vector="concept_shift",
            severity="high" if certain else "medium",
            metric=figure.metric,
            value=figure.value,
            threshold=round(limit, 4),
            baseline=figure.baseline,
            n=figure.n,
            cause=(
                f"{_words(figure.metric)} is {figure.value:.4f} "
                f"({figure.lower:.4f} to {figure.upper:.4f}) over {figure.n} outcomes, "
                f"{figure.baseline:.4f} in the baseline"
            ),
        )


def _miscalibrated(
    figures: WindowFigures, gap: PerformanceFigure, limit: float
) -> Iterator[Breach]:
    if gap.lower is None or gap.upper is None or abs(gap.value) <= limit:
        return
    if gap.lower <= 0 <= gap.upper:
        return
    certain = gap.lower > limit or gap.upper < -limit
    yield Breach(
        kind="calibration",
        vector="concept_shift",
        severity="high" if certain else "medium",
        metric="calibration_gap",
        value=gap.value,
        threshold=limit if gap.value > 0 else -limit,
        baseline=gap.baseline,
        n=gap.n,
        cause=(
            f"{figures.actual_mean or 0:.1%} came true where "
            f"{figures.predicted_mean or 0:.1%} was said, over {gap.n} outcomes"
        ),
    )


def _latency(figures: WindowFigures, limits: Thresholds) -> Iterator[Breach]:
    seen, limit = figures.latency_ms, limits.latency_p95_ms
    if seen is not None and limit is not None and seen.p95 > limit:
        yield Breach(
            kind="latency",
            vector="operational_regression",
            severity="high",
            metric="latency_p95_ms",
            value=seen.p95,
            threshold=limit,
            n=seen.n,
            cause=f"one decision in twenty takes {seen.p95:.1f} ms or more",
        )


def _contract(figures: WindowFigures, duties: Duties) -> Iterator[Breach]:
    worst: dict[str, tuple[str, int]] = {}
    for key in sorted(figures.breaches):
        column, _, rule = key.rpartition(".")
        count = figures.breaches[key]
        if count > worst.get(column, ("", 0))[1]:
            worst[column] = rule, count
    total = figures.rows + figures.quarantined
    for column, (rule, count) in worst.items():
        yield Breach(
            kind="contract",
            vector="data_drift",
            severity="high" if duties.quarantine else "medium",
            metric=f"contract_{rule}",
            feature=column,
            value=float(count),
            threshold=0.0,
            n=total,
            cause=f"{column} broke the contract's {rule} in {count} of {total} rows",
        )


def _inputs(figures: WindowFigures) -> Iterator[Breach]:
    for seen in figures.inputs:
        if seen.sla_hours is not None and seen.age_hours > seen.sla_hours:
            yield Breach(
                kind="stale_input",
                vector="data_drift",
                severity="medium",
                metric="input_age_hours",
                feature=seen.feed,
                value=seen.age_hours,
                threshold=seen.sla_hours,
                n=figures.rows,
                cause=(
                    f"{seen.feed} was {seen.age_hours:.1f} hours old when last used, "
                    f"SLA {seen.sla_hours:g}"
                ),
            )


def _governance(
    figures: WindowFigures, limits: Thresholds, duties: Duties
) -> Iterator[Breach]:
    for use in sorted(figures.unapproved_use):
        count = figures.unapproved_use[use]
        cause = f"{count} decisions were for {use}, a use that was not approved"
        yield _lapse("unapproved_use", "high", count, figures.rows, cause, use)
    if figures.out_of_bounds:
        count = figures.out_of_bounds
        cause = f"{count} decisions lie outside the operating boundaries"
        yield _lapse("out_of_bounds", "medium", count, figures.rows, cause)
    if figures.undeployed:
        count = figures.undeployed
        cause = f"{count} decisions by a version that is not deployed there"
        yield _lapse("undeployed_version", "high", count, figures.rows, cause)
    coverage, least = figures.explanation_coverage, limits.explanation_coverage
    if coverage is not None and least is not None and coverage < least:
        yield Breach(
            kind="explanations",
            vector="governance_lapse",
            severity="medium",
            metric="explanation_coverage",
            value=coverage,
            threshold=least,
            n=figures.rows,
            cause=f"{coverage:.1%} of decisions have a valid explanation",
        )
    seen, slowest = figures.explanation_ms, limits.explanation_p95_ms
    if seen is not None and slowest is not None and seen.p95 > slowest:
        yield Breach(
            kind="explanations",
            vector="governance_lapse",
            severity="medium",
            metric="explanation_p95_ms",
            value=seen.p95,
            threshold=slowest,
            n=seen.n,
            cause=f"one explanation in twenty takes {seen.p95:.1f} ms or more",
        )
    if duties.reason_codes_compulsory and figures.reason_codes_missing:
        count = figures.reason_codes_missing
        cause = (
            f"{count} of {figures.reason_codes_owed} decisions lack the reason codes "
            "they owe"
        )
        yield _lapse(
            "reason_codes", "critical", count, figures.reason_codes_owed, cause
        )


def _lapse(
    kind: AlertKind,
    severity: Severity,
    count: int,
    n: int,
    cause: str,
    feature: str | None = None,
) -> Breach:
    return Breach(
        kind=kind,
        vector="governance_lapse",
        severity=severity,
        metric=kind,
        feature=feature,
        value=float(count),
        threshold=0.0,
        n=n,
        cause=cause,
    )


def _slos(
    figures: WindowFigures, slos: Sequence[Slo], limits: Thresholds
) -> Iterator[Breach]:
    seen = metrics_of(figures)
    for slo in sorted(slos, key=lambda one: one.slo):
        figure = seen.get(slo.metric)
        if figure is None or _immature(figure, figures, limits):
            continue
        # Performance must be beyond the limit even at the kind end of its bounds.
        kind_end = figure.lower if slo.direction == "rises" else figure.upper
        value = figure.value if kind_end is None else kind_end
        severity: Severity | None = None
        if beyond(slo.direction, value, slo.hard):
            severity = "high"
        elif beyond(slo.direction, value, slo.warning):
            severity = "medium"
        if severity is not None:
            limit = slo.hard if severity == "high" else slo.warning
            side = "above" if slo.direction == "rises" else "below"
            yield Breach(
                kind="slo",
                vector=_vector_of(slo.metric),
                severity=severity,
                metric=slo.metric,
                value=figure.value,
                threshold=limit,
                baseline=figure.baseline,
                n=figure.n,
                slo=slo.slo,
                cause=(
                    f"{_words(slo.metric)} is {figure.value:.4g}, {side} the "
                    f"{'hard' if severity == 'high' else 'warning'} limit "
                    f"{limit:g} of {slo.slo}"
                ),
            )


def _immature(
    figure: PerformanceFigure, figures: WindowFigures, limits: Thresholds
) -> bool:
    rests_on_outcomes = any(figure is one for one in figures.performance)
    return rests_on_outcomes and figures.outcomes < limits.least_outcomes


def beyond(direction: Literal["rises", "falls"], value: float, limit: float) -> bool:
    return value > limit if direction == "rises" else value < limit


_VECTORS: Final[Mapping[str, RiskVector]] = {
    "explanation_coverage": "governance_lapse",
    "feature_psi": "data_drift",
    "prediction_psi": "data_drift",
}


def _vector_of(metric: str) -> RiskVector:
    if metric.startswith("latency"):
        return "operational_regression"
    return _VECTORS.get(metric, "concept_shift")


def _words(metric: str) -> str:
    words = metric.replace("_", " ")
    proper = {"auc": "AUC", "brier": "Brier score", "rmse": "RMSE", "mae": "MAE"}
    return proper.get(metric, words)
