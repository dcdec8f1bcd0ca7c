"""The detector of performance: a mean loss that rises, with a budget of false alarms.

One e-SR detector (see `e_detector`) with one cell. A loss between 0 and 1 is evidence
by the same likelihood ratio as a hit: the ratio is convex in the loss, so its mean is
largest for losses of 0 and 1 alone, where it is at most 1. The band reaches to the
upper bound of the baseline's loss, and no less far than what would matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.alarm_budget import AlarmDocument, Allotment
from modelkeep.stats.e_detector import Detector, Evidence, Side, Step
from modelkeep.stats.empirical_bernstein import LossSum, upper_bound

THOUSANDTHS: Final = 1_000


@dataclass(frozen=True, eq=False)
class OutcomeWatch:
    detector: Detector

    def update(self, evidence: Evidence, batch: LossSum) -> Step:
        """Return what a batch of outcomes does, whenever they were decided.

        Sums are rounded down to thousandths, which adds no evidence.
        """
        rows, total, _ = batch.checked()
        hits = min(math.floor(total * THOUSANDTHS), rows * THOUSANDTHS)
        return self.detector.update(evidence, np.array([hits]), np.array([rows]))


def watching_outcomes(
    metric: str, allotment: Allotment, baseline: LossSum, document: AlarmDocument
) -> OutcomeWatch:
    """Return the watch of a metric whose loss was `baseline` when it was validated.

    Raises Invalid for a baseline of no rows.
    """
    if baseline.mean is None:
        raise Invalid.field("baseline", "needs outcomes")
    tolerance = document.tolerance
    room = max(tolerance.relative * baseline.mean, tolerance.absolute)
    exact = upper_bound(_apart(baseline, document.alike), 1 - tolerance.confidence)
    high = max(exact, baseline.mean + room)
    return OutcomeWatch(
        Detector.between(
            [(metric, 1)],
            np.array([[0.0]]),
            np.array([[min(1.0, high)]]),
            threshold=allotment.threshold,
            odds=document.odds,
            sides=(Side.ABOVE,),
            unit=THOUSANDTHS,
            alike=document.alike,
        )
    )


def _apart(losses: LossSum, alike: int) -> LossSum:
    """Count up to `alike` rows as one, the mean as it was."""
    rows = losses.rows // alike
    part = rows / losses.rows
    return LossSum(rows, losses.total * part, losses.squares * part)
