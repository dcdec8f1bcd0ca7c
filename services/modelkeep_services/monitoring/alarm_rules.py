"""Which rules still speak where a model has a budget of false alarms.

Only one rule speaks of a thing. What the detectors of `alarm_watch` watch is theirs:
fixed limits on drift record their figures and raise nothing. Nor do the limits that no
detector stands behind: each excludes chance at 95 % in one window, so that it speaks of
every fortieth that is at its limit, and no budget counts that. Declared groups are not
silenced but tested more strictly, in `alarm_tests`, and counted. Contracts, silence,
latency, stale inputs, reason codes and SLOs are promises, not statistics, and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.monitoring import WindowFigures
from modelkeep_services.monitoring.rules import Breach

DRIFT: Final = frozenset(
    {
        "feature_drift",
        "prediction_drift",
        "missing_values",
        # a category that the baseline does not keep is in a cell that is watched
        "unseen_categories",
        "range_drift",
        "multivariate_drift",
        "label_drift",
    }
)
OUTCOMES: Final = frozenset({"performance", "calibration", "concept_drift"})
"""A concept that drifts away from the scores raises the loss that is watched."""
GROUPS: Final = frozenset({"fairness"})
LOSS: Final = "brier"
"""The metric whose rise is watched: a loss between 0 and 1 of every decision."""
WIDEST: Final = 1_000
"""Features times bets: what detectors of more would not fit into an event."""


def fits(features: int, given: FalseAlarms) -> bool:
    """A model that is wider than this is left to its rules."""
    return features * len(given.odds) <= WIDEST


def left_to_rules(
    breaches: Sequence[Breach], figures: WindowFigures, given: FalseAlarms | None
) -> list[Breach]:
    """Return what fixed limits may still say of a window."""
    if given is None or not fits(len(figures.features), given):
        return list(breaches)
    spoken = DRIFT
    if watches_outcomes(figures):
        spoken |= OUTCOMES
    if figures.baseline is not None:
        spoken |= GROUPS
    return [breach for breach in breaches if breach.kind not in spoken]


def watches_outcomes(figures: WindowFigures) -> bool:
    """A baseline without outcomes leaves performance to its rules."""
    return any(
        figure.metric == LOSS and figure.baseline is not None
        for figure in figures.performance
    )
