"""How good a model is likely to be while its outcomes are still on their way.

What a baseline's rows showed by score cell, weighted by a window's scores: see
`modelkeep.stats.cbpe` and `direct_loss`. Estimates stand apart from what was measured,
and are gone once the outcomes are mature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from modelkeep.decisions.matrix import Floats
from modelkeep.events.monitoring import (
    Estimate,
    EstimatedPerformance,
    LossCells,
    PerformanceFigure,
)
from modelkeep.stats.bins import Counts
from modelkeep.stats.cbpe import CAVEAT, Calibration, calibrate, estimate_performance
from modelkeep.stats.direct_loss import LossTable, estimate_loss, loss_table
from modelkeep.stats.pairs import Estimate as Measured
from modelkeep.stats.scores import CELLS, cells_of, outcome_table
from modelkeep_services.monitoring.rounding import rounded


def score_outcomes(scores: Floats, truth: Floats) -> tuple[int, ...]:
    """Return rows by outcome and score cell, end to end; none without rows."""
    return tuple(outcome_table(scores, truth).ravel().tolist()) if truth.size else ()


def brier_cells(scores: Floats, truth: Floats) -> LossCells | None:
    """Return squared errors by score cell; None without a score from 0 to 1."""
    cells = cells_of(scores)
    inside = cells < CELLS
    if not inside.any():
        return None
    losses = (scores[inside] - truth[inside]) ** 2
    table = loss_table(cells[inside], losses, CELLS)
    return LossCells(
        rows=table.rows,
        means=tuple(map(rounded, table.means)),
        variances=tuple(map(rounded, table.variances)),
    )


def estimated(
    counts: Counts,
    threshold: float,
    table: tuple[int, ...],
    losses: LossCells | None,
    before: Sequence[Estimate],
) -> EstimatedPerformance | None:
    """Say what to expect of a window's counts by score cell; None where nothing can be.

    `table` and `losses` are the baseline's, `before` is how well it did.
    """
    calibration = _calibration(table) if table else None
    if calibration is None or not counts.sum():
        return None
    seen = estimate_performance(calibration, counts, threshold * CELLS)
    known = {one.metric: one for one in before}
    told: list[tuple[str, Measured | None]] = [
        ("auc", seen.auc),
        ("brier", _brier(losses, counts)),
        ("accuracy", seen.accuracy),
        ("false_positive_rate", seen.false_positive_rate),
        ("precision", seen.precision),
        ("recall", seen.recall),
        ("base_rate", seen.base_rate),
    ]
    return EstimatedPerformance(
        figures=tuple(_figures(told, known)), n=seen.n, caveat=CAVEAT
    )


@lru_cache(maxsize=256)
def _calibration(table: tuple[int, ...]) -> Calibration | None:
    return calibrate(np.array(table, dtype=np.int64).reshape(2, CELLS))


def _brier(losses: LossCells | None, counts: Counts) -> Measured | None:
    if losses is None:
        return None
    table = LossTable(losses.rows, losses.means, losses.variances)
    found = estimate_loss(table, counts)
    if found is None:
        return None
    return Measured(found.value, found.n, max(0.0, found.low), found.high)


def _figures(
    told: list[tuple[str, Measured | None]], before: dict[str, Estimate]
) -> Iterator[PerformanceFigure]:
    for metric, found in told:
        if found is None:
            continue
        known = before.get(metric)
        yield PerformanceFigure(
            metric=metric,
            value=rounded(found.value),
            lower=rounded(found.low),
            upper=rounded(found.high),
            n=found.n,
            baseline=known.value if known else None,
            baseline_lower=known.lower if known else None,
            baseline_upper=known.upper if known else None,
        )
