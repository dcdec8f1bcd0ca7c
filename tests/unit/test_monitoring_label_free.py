"""What is said of performance before outcomes arrive, against what they then say."""

from __future__ import annotations

import numpy as np
import pytest

from modelkeep.decisions.matrix import Floats
from modelkeep.stats.cbpe import CAVEAT
from modelkeep.stats.performance import performance
from modelkeep.stats.scores import CELLS, count_scores
from modelkeep_services.monitoring.label_free import (
    brier_cells,
    estimated,
    score_outcomes,
)
from modelkeep_services.monitoring.windows import estimates


def judged(n: int, seed: int, a: float, b: float) -> tuple[Floats, Floats]:
    """Scores that are as often true as they say, of another mix."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(a, b, n)
    return scores, (rng.random(n) < scores).astype(np.float64)


def test_estimates_are_what_outcomes_say_later_while_the_concept_holds() -> None:
    scores, truth = judged(40_000, 1, 2, 3)
    before = estimates(performance(scores, truth, 0.4))
    later, came = judged(20_000, 2, 3, 2)
    told = estimated(
        count_scores(later)[:CELLS],
        0.4,
        score_outcomes(scores, truth),
        brier_cells(scores, truth),
        before,
    )
    assert told is not None
    assert told.caveat == CAVEAT
    said = {figure.metric: figure for figure in told.figures}
    true = {one.metric: one.value for one in estimates(performance(later, came, 0.4))}
    was = {one.metric: one.value for one in before}
    assert set(said) >= {"auc", "accuracy", "precision", "recall", "brier"}
    for metric, figure in said.items():
        assert figure.value == pytest.approx(true[metric], abs=0.015), metric
        assert figure.baseline == was[metric]
    # the mix has moved far enough for the baseline's own figures to be wrong
    assert abs(was["precision"] - true["precision"]) > 0.05


def test_nothing_is_estimated_from_a_baseline_without_outcomes() -> None:
    counts = count_scores(np.array([0.2, 0.8]))[:CELLS]
    none = np.empty(0)
    assert score_outcomes(none, none) == ()
    assert brier_cells(none, none) is None
    assert estimated(counts, 0.5, (), None, ()) is None


def test_scores_that_are_no_probabilities_are_not_estimated_from() -> None:
    counts = count_scores(np.array([7.0, -3.0]))[:CELLS]
    scores, truth = judged(1_000, 1, 2, 3)
    table = score_outcomes(scores, truth)
    assert estimated(counts, 0.5, table, None, ()) is None
