"""Performance of a binary model over the outcomes that have arrived, in one record.

Each figure is None where nothing can be said, and else carries its rows and 95 %
interval; the methods are in `auc`, `brier`, `confusion`, `calibration` and `log_loss`.
"""

from __future__ import annotations

from typing import NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.auc import auc
from modelkeep.stats.bins import Column
from modelkeep.stats.brier import brier
from modelkeep.stats.calibration import (
    calibration_in_the_large,
    expected_calibration_error,
)
from modelkeep.stats.confusion import confusion
from modelkeep.stats.log_loss import log_loss
from modelkeep.stats.pairs import Estimate


class Performance(NamedTuple):
    """`n` rows have both score and outcome; `gap` is calibration in the large."""

    n: int
    auc: Estimate | None
    brier: Estimate | None
    accuracy: Estimate | None
    false_positive_rate: Estimate | None
    precision: Estimate | None
    recall: Estimate | None
    base_rate: Estimate | None
    gap: Estimate | None
    calibration_error: float | None
    log_loss: Estimate | None
    """None too where a score is no probability."""


def performance(
    scores: Column, outcomes: Column, threshold: float = 0.5
) -> Performance:
    """Measure everything; rows with NaN in either are left out.

    >>> import numpy as np
    >>> seen = performance(np.array([0.2, 0.9, np.nan]), np.array([0, 1, 1]))
    >>> seen.n, seen.auc.value, seen.accuracy.value
    (2, 1.0, 1.0)
    """
    matrix = confusion(scores, outcomes, threshold)
    return Performance(
        n=matrix.n,
        auc=auc(scores, outcomes),
        brier=brier(scores, outcomes),
        accuracy=matrix.accuracy(),
        false_positive_rate=matrix.false_positive_rate(),
        precision=matrix.precision(),
        recall=matrix.recall(),
        base_rate=matrix.base_rate(),
        gap=calibration_in_the_large(scores, outcomes),
        calibration_error=expected_calibration_error(scores, outcomes),
        log_loss=_log_loss(scores, outcomes),
    )


def _log_loss(scores: Column, outcomes: Column) -> Estimate | None:
    try:
        return log_loss(scores, outcomes)
    except Invalid:
        # the outcomes were accepted before: it is the scores that are margins
        return None
