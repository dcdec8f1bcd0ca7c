"""Drift of a window against its baseline: PSI for every feature, and for the score.

Each value comes with the limits that its sample sizes allow and with what chance alone
would show, so that a reader, and a later replay, needs no statistics.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import PsiDocument, limits_each, psi_of_shares


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


def drift(
    baseline: Baseline, window: Profile, document: PsiDocument
) -> tuple[tuple[Drift, ...], Drift | None]:
    """Return both, `feature_drift` and `prediction_drift`, worked out once."""
    found = _drifts(baseline, window, document)
    features = found[: len(baseline.layout.features)]
    scores = None if baseline.layout.scores is None else found[-1]
    return tuple(one for one in features if one is not None), scores


def feature_drift(
    baseline: Baseline, window: Profile, document: PsiDocument
) -> tuple[Drift, ...]:
    """Return a Drift for each feature in the layout's order; none when empty."""
    return drift(baseline, window, document)[0]


def prediction_drift(
    baseline: Baseline, window: Profile, document: PsiDocument
) -> Drift | None:
    """Return the drift of the scores; None when either side has none."""
    return drift(baseline, window, document)[1]


def _drifts(
    baseline: Baseline, window: Profile, document: PsiDocument
) -> list[Drift | None]:
    layout = baseline.layout
    if window.layout.digest != layout.digest:
        raise Invalid.field("window", "was counted in another layout")
    if not layout.binned:
        return []
    before = baseline.shares
    after = before.beside(window.counts[: layout.bins_end])
    bins = before.bins_of_either(after)
    # an empty side has no limits; what stands in for it is not told
    counted = np.maximum(before.rows, 1), np.maximum(after.rows, 1)
    told = zip(
        [feature.name for feature in layout.binned],
        psi_of_shares(before, after, baseline.epsilon).tolist(),
        *limits_each(bins, *counted, document),
        bins.tolist(),
        after.rows.tolist(),
        before.rows.tolist(),
        (*baseline.importance, 0.0),
        strict=False,
    )
    known = (np.minimum(before.rows, after.rows) > 0).tolist()
    return [
        Drift(*row) if compared else None
        for row, compared in zip(told, known, strict=True)
    ]
