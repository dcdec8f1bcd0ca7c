"""Drift of a window against its baseline: PSI for every feature, and for the score.

Each value comes with the limits that its sample sizes allow and with what chance alone
would show, so that a reader, and a later replay, needs no statistics.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import PsiDocument, expected_by_chance, limits, psi_each


class Drift(NamedTuple):
    """One feature's PSI, or the score's.

    `rows` and `baseline_rows` are those counted for it; `bins` those that hold any of
    them. `importance` adds up to 1 over features; the score has 0.
    """

    name: str
    psi: float
    by_chance: float
    warning: float
    hard: float
    bins: int
    rows: int
    baseline_rows: int
    importance: float


def feature_drift(
    baseline: Baseline, window: Profile, document: PsiDocument
) -> tuple[Drift, ...]:
    """Return a Drift for each feature in the layout's order; none when empty."""
    found = _drifts(baseline, window, document)[: len(baseline.layout.features)]
    return tuple(drift for drift in found if drift is not None)


def prediction_drift(
    baseline: Baseline, window: Profile, document: PsiDocument
) -> Drift | None:
    """Return the drift of the scores; None when either side has none."""
    if baseline.layout.scores is None:
        return None
    return _drifts(baseline, window, document)[-1]


def _drifts(
    baseline: Baseline, window: Profile, document: PsiDocument
) -> list[Drift | None]:
    layout = baseline.layout
    if window.layout.digest != layout.digest:
        raise Invalid.field("window", "was counted in another layout")
    if not layout.binned:
        return []
    before = baseline.reference.counts[: layout.bins_end]
    after = window.counts[: layout.bins_end]
    starts = layout.starts
    values = psi_each(before, after, starts, baseline.epsilon).tolist()
    baseline_rows = np.add.reduceat(before, starts).tolist()
    rows = np.add.reduceat(after, starts).tolist()
    used = np.add.reduceat(((before + after) > 0).astype(np.int64), starts).tolist()
    weights = (*baseline.importance, 0.0)
    found: list[Drift | None] = []
    for place, feature in enumerate(layout.binned):
        sizes = (used[place], baseline_rows[place], rows[place])
        if not (sizes[1] and sizes[2]):
            found.append(None)
            continue
        bound = limits(*sizes, document)
        found.append(
            Drift(
                name=feature.name,
                psi=values[place],
                by_chance=expected_by_chance(*sizes),
                warning=bound.warning,
                hard=bound.hard,
                bins=sizes[0],
                rows=sizes[2],
                baseline_rows=sizes[1],
                importance=weights[place],
            )
        )
    return found
