"""The rest of a comparison: what outcomes of both sides say, and what windows said of
themselves that no sum of their bins can: groups, estimates, fine cells.

People add up, and are judged anew; so do rows beyond a range. A Wasserstein distance
does not, but that of a mixture is at most the mixture of the distances (it is convex),
so the mean by rows bounds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.events.monitoring import (
    Fairness,
    FairnessFigure,
    FeatureFigure,
    GroupFigure,
    Thresholds,
)
from modelkeep.stats.fairness import Group
from modelkeep.stats.scores import CELLS
from modelkeep.stats.wilson import wilson
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.monitoring import known, label_free
from modelkeep_services.monitoring.drift_figures import outcome_drift
from modelkeep_services.monitoring.fairness import figure, plus
from modelkeep_services.monitoring.rounding import rounded
from modelkeep_services.monitoring.sides import Side


def tell_outcomes(answer: pb.CompareResponse, before: Side, after: Side) -> None:
    """Part the change of the outcome rate; nothing where scores have other ranges."""
    if not before.table.any() or (before.low, before.high) != (after.low, after.high):
        return
    moved = outcome_drift(tuple(before.table.ravel().tolist()), after.table)
    if moved.label is not None:
        fill(answer.label_drift, moved.label)
    if moved.concept is not None:
        fill(answer.concept_drift, moved.concept)


def tell_windows(
    answer: pb.Compared, side: Side, read: Reader, model: str, limits: Thresholds
) -> None:
    if not side.figures:
        return
    for told in _groups(side, limits):
        fill(answer.fairness.add(), told)
    if len(side.figures) == 1 and side.figures[0].misfit is not None:
        fill(answer.misfit, side.figures[0].misfit)
    reference = known.reference(read, model, side.version)
    if reference is None or sum(reference.score_outcomes) < limits.least_outcomes:
        return
    layout = reference.baseline.layout
    if (layout.score_low, layout.score_high) != (side.low, side.high):
        return
    estimated = label_free.estimated(
        side.cells[:CELLS],
        reference.threshold,
        reference.score_outcomes,
        reference.brier_cells,
        reference.performance,
    )
    if estimated is not None:
        fill(answer.estimated, estimated)


# --- groups ------------------------------------------------------------------------


class _People(NamedTuple):
    groups: tuple[Group, ...]
    rows: int


def _groups(side: Side, limits: Thresholds) -> Iterator[FairnessFigure]:
    """Add people up by what was declared of them, in the order of the windows."""
    found: dict[Fairness, _People] = {}
    for told in (one for window in side.figures for one in window.fairness):
        declared, people = _declared(told), _people(told)
        before = found.get(declared)
        found[declared] = (
            people
            if before is None
            else _People(plus(before.groups, people.groups), before.rows + people.rows)
        )
    for declared, people in found.items():
        yield figure(declared, people.groups, people.rows, limits)


def _declared(told: FairnessFigure) -> Fairness:
    return Fairness(
        column=told.column,
        reference=told.reference,
        groups=tuple(one.group for one in told.groups[1:]),
        favourable=told.favourable,
    )


def _people(told: FairnessFigure) -> _People:
    groups = tuple(_group(one) for one in told.groups)
    return _People(groups, told.undeclared + sum(one.n for one in groups))


def _group(one: GroupFigure) -> Group:
    return Group(one.group, one.n, one.favoured, one.qualified, one.qualified_favoured)


# --- fine cells --------------------------------------------------------------------


def fine_of(feature: str, before: Side, after: Side) -> pb.FineComparison | None:
    """Return what windows said of a feature beside this very baseline; None unless
    every one of them did.
    """
    if not before.baseline or not after.figures or before.version != after.version:
        return None
    if any(window.baseline != before.baseline for window in after.figures):
        return None
    told = [one for w in after.figures for one in w.features if one.feature == feature]
    if len(told) != sum(window.rows > 0 for window in after.figures):
        return None
    found = pb.FineComparison(windows=len(told))
    _move(found, told)
    _beyond(found, told)
    said = found.HasField("wasserstein") or found.HasField("beyond")
    return found if said else None


def _move(found: pb.FineComparison, told: list[FeatureFigure]) -> None:
    moves = [
        (one.wasserstein, _known(one)) for one in told if one.wasserstein is not None
    ]
    rows = sum(n for _, n in moves)
    if len(moves) == len(told) and rows:
        found.wasserstein = rounded(math.fsum(w * n for w, n in moves) / rows)


def _beyond(found: pb.FineComparison, told: list[FeatureFigure]) -> None:
    ends = {(one.low, one.high) for one in told}
    if len(ends) != 1:
        return
    [(low, high)] = ends
    counts = [one.beyond for one in told if one.beyond is not None]
    if low is None or high is None or len(counts) != len(told):
        return
    rows = sum(_known(one) for one in told)
    if not rows:
        return
    beyond = min(sum(counts), rows)
    bounds = wilson(beyond, rows)
    found.low, found.high, found.beyond = low, high, beyond
    found.beyond_share.value = rounded(beyond / rows)
    found.beyond_share.lower = rounded(bounds.low)
    found.beyond_share.upper = rounded(bounds.high)
    chance = told[0].beyond_by_chance
    found.beyond_left = chance is not None and bounds.low > chance


def _known(one: FeatureFigure) -> int:
    """Rows with a value: the rest is missing."""
    return round(one.n * (1 - (one.missing_rate or 0.0)))
