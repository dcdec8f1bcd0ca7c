"""A window beside its baseline: every distance of every feature, in one record each.

What to read for what: `psi` has limits and a name in every policy; `jensen_shannon` is
bounded and needs no floor; `chi_square` says whether chance can explain it, `ks` and
`wasserstein` how large it is and in which unit. The methods are in their own modules.
All come from counts, so closing a window costs the same whatever its rows.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from modelkeep.stats.chi_square import ChiSquare, chi_square_of_shares
from modelkeep.stats.drift import Drift, feature_drift
from modelkeep.stats.fine import FineBaseline, FineProfile
from modelkeep.stats.jensen_shannon import jensen_shannon_of_shares
from modelkeep.stats.ks import KolmogorovSmirnov, ks_of_profiles
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import PsiDocument
from modelkeep.stats.wasserstein import Wasserstein, wasserstein

BITS: Final = 8 * math.log(2)
"""A PSI without drift by the divergence without drift: see `divergence_by_chance`."""


class Comparison(NamedTuple):
    """One feature's distances; `drift` has its PSI, limits and rows.

    `divergence_by_chance` is what the square of `jensen_shannon` would be without
    drift. `ks` and `wasserstein` are None for categories, where no fine cells were
    counted, and where all values are missing on either side.
    """

    name: str
    drift: Drift
    jensen_shannon: float
    divergence_by_chance: float
    chi_square: ChiSquare
    ks: KolmogorovSmirnov | None
    wasserstein: Wasserstein | None


def compare(
    baseline: Baseline,
    window: Profile,
    document: PsiDocument,
    fine: tuple[FineBaseline, FineProfile] | None = None,
    drifts: tuple[Drift, ...] | None = None,
) -> tuple[Comparison, ...]:
    """Return one a feature in the layout's order; none of an empty window.

    `drifts` are those of `feature_drift`, where they were worked out before.
    Needs scipy. Raises Invalid for a window that was counted in another layout.

    >>> import numpy as np
    >>> steady = Baseline.fit({"x": np.arange(1_000.0)})
    >>> (found,) = compare(steady, steady.reference, PsiDocument("house"))
    >>> found.name, found.jensen_shannon, found.chi_square.p, found.ks
    ('x', 0.0, 1.0, None)
    """
    if drifts is None:
        drifts = feature_drift(baseline, window, document)
    if not drifts:
        return ()
    layout = baseline.layout
    sides = baseline.shares, baseline.shares.beside(window.counts[: layout.bins_end])
    bits = jensen_shannon_of_shares(*sides).tolist()
    tests = chi_square_of_shares(*sides)
    gaps: dict[str, KolmogorovSmirnov] = {}
    moves: dict[str, Wasserstein] = {}
    if fine is not None:
        before, after = fine[0].reference, fine[1]
        gaps, moves = ks_of_profiles(before, after), wasserstein(before, after)
    by_name = {feature.name: place for place, feature in enumerate(layout.features)}
    found = []
    for drift in drifts:
        place = by_name[drift.name]
        test = tests[place]
        if test is not None:
            found.append(
                Comparison(
                    drift.name,
                    drift,
                    bits[place],
                    drift.by_chance / BITS,
                    test,
                    gaps.get(drift.name),
                    moves.get(drift.name),
                )
            )
    return tuple(found)
