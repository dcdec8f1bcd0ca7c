"""When somebody must act: limits, chance excluded, and the duties that have none."""

from __future__ import annotations

from typing import Any

import pytest

from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.monitoring import (
    FeatureFigure,
    InputAge,
    LatencyFigure,
    PerformanceFigure,
    PredictionFigure,
    Thresholds,
    WindowFigures,
)
from modelkeep_services.monitoring.alarm_rules import left_to_rules
from modelkeep_services.monitoring.rules import Breach, Duties, Slo, judge

LIMITS = Thresholds()


def judged(
    found: WindowFigures,
    limits: Thresholds = LIMITS,
    slos: tuple[Slo, ...] = (),
    **duties: bool,
) -> list[Breach]:
    return judge(found, limits, slos, Duties(**duties))


def kinds(found: list[Breach]) -> list[tuple[str, str]]:
    return [(breach.kind, breach.severity) for breach in found]


def performing(**figure: Any) -> WindowFigures:
    said = {"metric": "auc", "n": 500, "baseline": 0.75} | figure
    return WindowFigures(
        rows=500,
        outcomes=500,
        mature=True,
        performance=(PerformanceFigure.model_validate(said),),
    )


def test_an_unimportant_feature_is_less_severe() -> None:
    def feature(name: str, importance: float) -> FeatureFigure:
        return FeatureFigure(
            feature=name, psi=0.3, lo=0.1, hi=0.25, n=500, importance=importance
        )

    found = judged(
        WindowFigures(rows=500, features=(feature("a", 0.9), feature("b", 0.1)))
    )
    assert kinds(found) == [("feature_drift", "high"), ("feature_drift", "medium")]


def test_psi_within_the_limit_that_the_sample_allows_is_no_drift() -> None:
    small = FeatureFigure(feature="x", psi=0.5, lo=0.3, hi=0.6, n=40)
    assert not judged(WindowFigures(rows=40, features=(small,)))


def test_missing_values_must_rise_beyond_chance_and_five_points() -> None:
    def missing(rate: float, lower: float) -> WindowFigures:
        feature = FeatureFigure(
            feature="x",
            n=500,
            missing_rate=rate,
            missing_lower=lower,
            missing_upper=1.0,
            baseline_missing_rate=0.01,
            baseline_missing_upper=0.02,
        )
        return WindowFigures(rows=500, features=(feature,))

    assert kinds(judged(missing(0.2, 0.15))) == [("missing_values", "medium")]
    assert not judged(missing(0.2, 0.06))


def erring(**rises: float) -> WindowFigures:
    """RMSE, MAE and mean error as shares of a baseline's RMSE of 200, MAE of 100."""
    said = {"rmse": (1.0, 200.0), "mae": (1.0, 100.0), "mean_error": (0.0, 200.0)}
    return WindowFigures(
        rows=500,
        outcomes=500,
        mature=True,
        outcome_kind="number",
        performance=tuple(
            PerformanceFigure(
                metric=metric,
                value=rises.get(metric, usual) * unit,
                lower=(rises.get(metric, usual) - 0.05) * unit,
                upper=(rises.get(metric, usual) + 0.05) * unit,
                n=500,
                baseline=usual * unit,
            )
            for metric, (usual, unit) in said.items()
        ),
    )


def test_errors_of_numbers_rise_by_shares_of_the_baselines() -> None:
    assert not judged(erring())
    assert not judged(erring(rmse=1.09, mae=1.09, mean_error=0.09))
    [found] = judged(erring(rmse=1.12))
    assert (found.kind, found.severity, found.threshold) == (
        "performance",
        "medium",
        220.0,
    )
    assert found.cause.startswith("RMSE is 224")
    assert kinds(judged(erring(mae=1.2))) == [("performance", "high")]
    assert not judged(erring(rmse=0.5, mae=0.5))


def test_a_budget_of_false_alarms_leaves_errors_of_numbers_to_their_rules() -> None:
    found = judged(erring(rmse=1.2, mean_error=0.2))
    assert kinds(found) == [("performance", "high"), ("calibration", "high")]
    assert left_to_rules(found, erring(), FalseAlarms()) == found


def test_predictions_that_are_off_on_average_are_told_which_way() -> None:
    [low] = judged(erring(mean_error=-0.2))
    assert (low.kind, low.severity, low.threshold) == ("calibration", "high", -20.0)
    assert "40 too low" in low.cause
    assert kinds(judged(erring(mean_error=0.12))) == [("calibration", "medium")]
    assert not judged(erring(mean_error=0.2), Thresholds(mean_error=None))


def test_an_slo_on_an_error_speaks_once_its_kind_end_is_beyond() -> None:
    slo = Slo(slo="s", metric="mae", warning=110, hard=130, direction="rises")
    silent = Thresholds(mae_rise=None)
    assert not judged(erring(mae=1.14), silent, (slo,))
    assert kinds(judged(erring(mae=1.2), silent, (slo,))) == [("slo", "medium")]
    assert kinds(judged(erring(mae=1.4), silent, (slo,))) == [("slo", "high")]


def test_performance_is_worse_only_where_chance_is_excluded() -> None:
    certain = performing(value=0.6, lower=0.55, upper=0.65)
    assert kinds(judged(certain)) == [("performance", "high")]
    likely = performing(value=0.7, lower=0.66, upper=0.74)
    assert kinds(judged(likely)) == [("performance", "medium")]
    perhaps = performing(value=0.7, lower=0.6, upper=0.8)
    assert not judged(perhaps)


def test_immature_or_few_outcomes_say_nothing_of_performance() -> None:
    bad = performing(value=0.5, lower=0.45, upper=0.55)
    assert not judged(bad.model_copy(update={"mature": False}))
    assert not judged(bad.model_copy(update={"outcomes": 99}))


def test_a_metric_that_is_worse_when_higher_is_judged_that_way() -> None:
    found = performing(metric="brier", value=0.3, lower=0.28, upper=0.32, baseline=0.15)
    [breach] = judged(found)
    assert (breach.metric, breach.threshold) == ("brier", 0.17)


@pytest.mark.parametrize(
    ("value", "lower", "upper", "severity"),
    [(0.1, 0.08, 0.12, "high"), (-0.05, -0.09, -0.01, "medium")],
)
def test_calibration_is_off_in_either_direction(
    value: float, lower: float, upper: float, severity: str
) -> None:
    found = performing(
        metric="calibration_gap", value=value, lower=lower, upper=upper, baseline=0.0
    )
    [breach] = judged(found)
    assert (breach.kind, breach.severity) == ("calibration", severity)
    assert (breach.value > 0) == (breach.threshold > 0)


def test_scores_and_latencies_have_their_own_rules() -> None:
    found = WindowFigures(
        rows=500,
        prediction=PredictionFigure(psi=0.4, lo=0.1, hi=0.25, n=500),
        latency_ms=LatencyFigure(p50=1, p95=50, p99=60, n=500),
    )
    limits = Thresholds(latency_p95_ms=20)
    assert kinds(judged(found, limits)) == [
        ("prediction_drift", "high"),
        ("latency", "high"),
    ]
    assert kinds(judged(found)) == [("prediction_drift", "high")]


def test_governance_has_no_tolerance() -> None:
    found = WindowFigures(
        rows=500,
        unapproved_use={"marketing": 3},
        out_of_bounds=2,
        undeployed=500,
        explanation_coverage=0.5,
        reason_codes_owed=10,
        reason_codes_missing=1,
    )
    limits = Thresholds(explanation_coverage=0.9)
    seen = judged(found, limits, reason_codes_compulsory=True)
    assert kinds(seen) == [
        ("unapproved_use", "high"),
        ("out_of_bounds", "medium"),
        ("undeployed_version", "high"),
        ("explanations", "medium"),
        ("reason_codes", "critical"),
    ]
    assert {breach.vector for breach in seen} == {"governance_lapse"}
    assert "reason_codes" not in {b.kind for b in judged(found, limits)}


def test_a_column_that_broke_its_contract_is_told_once_by_its_worst_rule() -> None:
    found = WindowFigures(
        rows=90, quarantined=10, breaches={"x.maximum": 3, "x.null_rate": 9}
    )
    [breach] = judged(found, quarantine=True)
    assert (breach.feature, breach.metric, breach.n) == ("x", "contract_null_rate", 100)
    assert breach.severity == "high"


def test_an_old_input_is_stale() -> None:
    age = InputAge(
        feed="weather",
        last_at="2026-01-01T00:00:00Z",
        age_hours=5,
        sla_hours=3,
    )
    [breach] = judged(WindowFigures(rows=5, inputs=(age,)))
    assert (breach.kind, breach.feature) == ("stale_input", "weather")


def test_an_slo_speaks_where_no_other_rule_did_and_only_as_far_as_bounds_allow() -> (
    None
):
    slo = Slo(
        slo="s",
        metric="false_positive_rate",
        warning=0.05,
        hard=0.10,
        direction="rises",
    )

    def rate(value: float, lower: float) -> WindowFigures:
        return performing(
            metric="false_positive_rate",
            value=value,
            lower=lower,
            upper=value + 0.02,
            baseline=None,
        )

    assert kinds(judged(rate(0.2, 0.15), slos=(slo,))) == [("slo", "high")]
    assert kinds(judged(rate(0.12, 0.06), slos=(slo,))) == [("slo", "medium")]
    assert not judged(rate(0.12, 0.04), slos=(slo,))
