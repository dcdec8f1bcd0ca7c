"""Which rules still speak where a model has a budget of false alarms.

Only one rule speaks of a thing. What the detectors of `alarm_watch` watch is theirs:
fixed limits on drift record their figures and raise nothing. Contracts, silence,
latency, stale inputs, reason codes and SLOs are promises, not statistics, and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.monitoring import WindowFigures
from modelkeep_services.monitoring.rules import Breach

DRIFT: Final = frozenset({"feature_drift", "prediction_drift", "missing_values"})
OUTCOMES: Final = frozenset({"performance", "calibration"})
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
    spoken = DRIFT | OUTCOMES if watches_outcomes(figures) else DRIFT
    return [breach for breach in breaches if breach.kind not in spoken]


def watches_outcomes(figures: WindowFigures) -> bool:
    """A baseline without outcomes leaves performance to its rules."""
    return any(
        figure.metric == LOSS and figure.baseline is not None
        for figure in figures.performance
    )
