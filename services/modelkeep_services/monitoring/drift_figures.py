"""What outcomes and columns together say of a window: labels, concept, togetherness.

Labels and concept speak of the outcomes that have arrived, over the score cells that
the baseline's own outcomes fill; the methods are in `modelkeep.stats`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.events.monitoring import (
    ConceptDriftFigure,
    LabelDriftFigure,
    MisfitFigure,
)
from modelkeep.stats.bins import Counts
from modelkeep.stats.concept_drift import concept_drift
from modelkeep.stats.label_drift import label_drift
from modelkeep.stats.scores import CELLS
from modelkeep_services.monitoring.measures import Measured
from modelkeep_services.monitoring.rounding import rounded

MOST_COLUMNS = 10
"""Of those that fit worse or better, the first by how much."""


class OutcomeDrift(NamedTuple):
    label: LabelDriftFigure | None = None
    concept: ConceptDriftFigure | None = None


def outcome_drift(before: tuple[int, ...], window: Counts) -> OutcomeDrift:
    """Compare rows by outcome and score cell; `before` is the baseline's, end to end.

    Nothing is said where either has no outcomes. Needs scipy.
    """
    if not before or not window.sum():
        return OutcomeDrift()
    baseline = np.array(before, dtype=np.int64).reshape(2, CELLS)
    return OutcomeDrift(_label(baseline, window), _concept(baseline, window))


def _label(baseline: Counts, window: Counts) -> LabelDriftFigure | None:
    found = label_drift(baseline, window)
    if found is None:
        return None
    return LabelDriftFigure(
        difference=rounded(found.difference),
        lower=rounded(found.low),
        upper=rounded(found.high),
        share=rounded(found.share),
        baseline_share=rounded(found.baseline_share),
        n=found.n,
        baseline_n=found.baseline_n,
    )


def _concept(baseline: Counts, window: Counts) -> ConceptDriftFigure | None:
    found = concept_drift(baseline, window)
    if found is None:
        return None
    return ConceptDriftFigure(
        mix=rounded(found.mix),
        rate=rounded(found.rate),
        lower=rounded(found.low),
        upper=rounded(found.high),
        p=rounded(found.p),
        n=found.n,
        baseline_n=found.baseline_n,
        covered=rounded(found.covered),
    )


def misfit(measured: Measured | None) -> MisfitFigure | None:
    """Say how badly the columns fit what they had in common."""
    if measured is None or measured.together is None:
        return None
    if measured.by.components is None:
        return None
    found = measured.by.components.misfit(measured.together)
    if found is None:
        return None
    # ties by name, so that the same window says the same
    worst = sorted(found.by_column.items(), key=lambda one: (-abs(one[1]), one[0]))
    return MisfitFigure(
        error=rounded(found.error),
        baseline_error=rounded(found.baseline_error),
        lower=rounded(found.low),
        upper=rounded(found.high),
        by_column={name: rounded(part) for name, part in worst[:MOST_COLUMNS]},
        n=found.rows,
        baseline_n=found.baseline_rows,
    )
