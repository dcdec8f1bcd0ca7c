"""Concept drift: whether the same cases have come to mean something else.

The change of the outcome rate is parted in two (Kitagawa, "Components of a difference
between two rates", Journal of the American Statistical Association 50 (1955),
1168-1194; Oaxaca, International Economic Review 14 (1973), 693-709), here with the
baseline's rates and the window's mix, so that nothing is left over:

    sum q v' - sum p v  =  sum (q - p) v   +   sum q (v' - v)
                           mix                 rate

over cells of score or segment, p and q their shares in baseline and window, v and v'
the share of true outcomes there. The rate term is what no label-free estimate sees. Its
95 % interval is normal, with the variance that both sides' rows would show in each cell
if they had one rate between them.

Cells that rise and cells that fall cancel in the rate term. `p` is of the sum of
squares instead, which follows chi-square with `freedom` degrees where nothing has
changed; only cells with at least five expected rows of each outcome on both sides count
for it (Cochran, "Some methods for strengthening the common chi-square tests",
Biometrics 10 (1954), 417-451).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Counts, Floats
from modelkeep.stats.wilson import NORMAL_95

EXPECTED: Final = 5


class ConceptDrift(NamedTuple):
    """`mix` and `rate` add up to the change of the outcome rate, `low` to `high` the
    rate's interval. `n` window rows are in cells that the baseline knows, a share of
    `covered`; nothing is said of the others.
    """

    mix: float
    rate: float
    low: float
    high: float
    statistic: float
    freedom: int
    p: float
    n: int
    baseline_n: int
    covered: float

    @property
    def drifted(self) -> bool:
        """Chance is excluded at 95 % for the rate term."""
        return not self.low <= 0 <= self.high


def concept_drift(baseline: Counts, window: Counts) -> ConceptDrift | None:
    """Compare tables of rows by outcome (0, 1) and cell; None where nothing compares.

    Needs scipy. Half the rows were in a cell of rate .1 and half in one of .3; now all
    are in the second, at .4: the mix accounts for .1 and the rate for .1.

    >>> before = np.array([[900, 700], [100, 300]])
    >>> found = concept_drift(before, np.array([[0, 600], [0, 400]]))
    >>> round(found.mix, 6), round(found.rate, 6), found.drifted
    (0.1, 0.1, True)
    """
    from scipy.special import chdtrc  # noqa: PLC0415 - slow to import, seldom needed

    if baseline.shape != window.shape or baseline.shape[:1] != (2,):
        raise Invalid.field("table", "must be two rows over the same cells")
    before, after = baseline.sum(axis=0), window.sum(axis=0)
    known = before > 0
    total, n = int(before.sum()), int(after[known].sum())
    if n == 0:
        return None
    p, q = before[known] / total, after[known] / n
    was = baseline[1, known] / before[known]
    now = window[1, known] / np.maximum(after[known], 1)
    here = q > 0
    variance, apart, judged = _doubt(baseline[:, known], window[:, known])
    rate = float(q @ np.where(here, now - was, 0.0))
    half = NORMAL_95 * float(q[here] ** 2 @ variance[here]) ** 0.5
    statistic, freedom = float(apart[judged].sum()), int(judged.sum())
    return ConceptDrift(
        mix=float((q - p) @ was),
        rate=rate,
        low=rate - half,
        high=rate + half,
        statistic=statistic,
        freedom=freedom,
        p=float(chdtrc(freedom, statistic)) if freedom else 1.0,
        n=n,
        baseline_n=total,
        covered=n / int(after.sum()),
    )


def _doubt(
    baseline: Counts, window: Counts
) -> tuple[Floats, Floats, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Return each cell's variance, its squared standard distance, and if it counts."""
    before, after = baseline.sum(axis=0), window.sum(axis=0)
    both = before + after
    share = (baseline[1] + window[1]) / both
    # half a row each way, so that a cell of one kind is not thought certain
    near = (baseline[1] + window[1] + 0.5) / (both + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = 1 / before + 1 / after
        apart = (window[1] / after - baseline[1] / before) ** 2
        apart /= share * (1 - share) * rows
    least = np.minimum(before, after) * np.minimum(share, 1 - share)
    variance: Floats = near * (1 - near) * rows
    return variance, apart, least >= EXPECTED
