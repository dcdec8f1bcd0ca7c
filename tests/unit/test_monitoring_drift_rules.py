"""Labels, concept and columns together: what moved, by how much, who must act."""

from __future__ import annotations

import numpy as np
import pytest

from modelkeep.events.monitoring import (
    MisfitFigure,
    PerformanceFigure,
    Thresholds,
    WindowFigures,
)
from modelkeep.stats.bins import Counts
from modelkeep.stats.scores import outcome_table
from modelkeep_services.monitoring.drift_figures import outcome_drift
from modelkeep_services.monitoring.drift_rules import drift_breaches

LIMITS = Thresholds()


def table(n: int, seed: int, *, a: float = 2, shift: float = 0.0) -> Counts:
    """Outcomes of scores that are true as often as they say, and `shift` more."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(a, 3, n)
    return outcome_table(scores, (rng.random(n) < scores + shift).astype(np.float64))


def window(found: Counts, *, mature: bool = True) -> WindowFigures:
    drift = outcome_drift(tuple(table(20_000, 1).ravel().tolist()), found)
    n = int(found.sum())
    return WindowFigures(
        rows=n,
        outcomes=n,
        mature=mature,
        label_drift=drift.label,
        concept_drift=drift.concept,
    )


def test_other_cases_are_no_other_concept() -> None:
    figures = window(table(4_000, 2, a=4))
    assert figures.label_drift is not None
    assert figures.concept_drift is not None
    assert figures.label_drift.difference > 0.1
    whole = figures.concept_drift.mix + figures.concept_drift.rate
    assert abs(whole - figures.label_drift.difference) < 0.005
    assert not list(drift_breaches(figures, LIMITS))
    [breach] = drift_breaches(figures, Thresholds(label_shift=0.05))
    assert (breach.kind, breach.threshold) == ("label_drift", 0.05)


def test_the_same_scores_that_come_true_more_often_are_another_concept() -> None:
    figures = window(table(4_000, 2, shift=0.1))
    [breach] = drift_breaches(figures, LIMITS)
    assert (breach.kind, breach.vector) == ("concept_drift", "concept_shift")
    assert (breach.severity, breach.threshold) == ("high", 0.03)
    # the gap of calibration says the same, and said it first
    assert not list(drift_breaches(figures, LIMITS, {"calibration"}))


@pytest.mark.parametrize(("before", "alerts"), [(0.14, 0), (0.01, 1)])
def test_a_concept_that_moved_towards_the_scores_calls_nobody(
    before: float, alerts: int
) -> None:
    gap = PerformanceFigure(
        metric="calibration_gap", value=-0.02, n=4_000, baseline=before
    )
    figures = window(table(4_000, 2, shift=0.1))
    figures = figures.model_copy(update={"performance": (gap,)})
    assert len(list(drift_breaches(figures, LIMITS))) == alerts


def test_immature_or_few_outcomes_say_nothing_of_drift() -> None:
    moved = table(4_000, 2, shift=0.1)
    assert not list(drift_breaches(window(moved, mature=False), LIMITS))
    few = window(table(99, 2, shift=0.4))
    assert not list(drift_breaches(few, Thresholds(label_shift=0.01)))


def test_nothing_is_compared_without_outcomes_on_both_sides() -> None:
    assert outcome_drift((), table(10, 1)) == (None, None)
    some = tuple(table(10, 1).ravel().tolist())
    assert outcome_drift(some, np.zeros((2, 64), dtype=np.int64)) == (None, None)


def test_columns_that_part_are_an_alert_where_a_limit_is_stated() -> None:
    parted = MisfitFigure(
        error=1.5,
        baseline_error=0.5,
        lower=0.9,
        upper=1.1,
        by_column={"y": 0.6, "x": 0.4},
        n=500,
        baseline_n=5_000,
    )
    figures = WindowFigures(rows=500, misfit=parted)
    assert not list(drift_breaches(figures, LIMITS))
    [breach] = drift_breaches(figures, Thresholds(misfit_rise=0.5))
    assert (breach.kind, breach.threshold) == ("multivariate_drift", 1.0)
    assert "y most" in breach.cause
    assert not list(drift_breaches(figures, Thresholds(misfit_rise=1.0)))
