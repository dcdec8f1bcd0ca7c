"""Chi-square: whether two samples of counts can come from one distribution.

Pearson's test of homogeneity on the two rows of a contingency table, baseline and
window (Pearson, "On the probability that two distributions of frequency are really
samples from the same population", Biometrika 8 (1911), 250-254):

    X2 = sum (sqrt(n/N) P - sqrt(N/n) Q)^2 / (P + Q)

with counts P and Q, rows N and n. Both samples are uncertain: a one-sample test that
takes the baseline for the truth finds drift in nearly every window that is larger than
its baseline, and certain drift in one new category. Bins empty on both sides say
nothing and cost no freedom. With many rows a test finds differences of no importance:
`effect`, Cramer's V of the table, says how large it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelkeep.stats.bins import Counts, Floats
from modelkeep.stats.shares import Shares


class ChiSquare(NamedTuple):
    """`p` is the chance of as much without drift; `effect` lies between 0 and 1."""

    statistic: float
    freedom: int
    p: float
    effect: float


def chi_square(baseline: Counts, window: Counts) -> ChiSquare | None:
    """Compare two rows of counts over the same bins; None when either is empty.

    Half and half beside a quarter and three quarters, a hundred rows each: the expected
    counts are 37.5 and 62.5, so X2 = 2 * 12.5^2 / 37.5 + 2 * 12.5^2 / 62.5 = 13.3333.

    >>> found = chi_square(np.array([50, 50]), np.array([25, 75]))
    >>> found.freedom, round(found.statistic, 4), round(found.effect, 4)
    (1, 13.3333, 0.2582)
    """
    return chi_square_each(baseline, window, np.array([0]))[0]


def chi_square_each(
    baseline: Counts, window: Counts, starts: Counts
) -> list[ChiSquare | None]:
    """Return a result a feature; features lie end to end, from each of `starts`.

    Needs scipy.
    """
    before = Shares.of(baseline, starts)
    return chi_square_of_shares(before, before.beside(window))


def chi_square_of_shares(baseline: Shares, window: Shares) -> list[ChiSquare | None]:
    """Return a result a feature of two sides over the same bins. Needs scipy."""
    from scipy.special import chdtrc  # noqa: PLC0415 - slow to import, seldom needed

    both = baseline.counts + window.counts
    before, after = baseline.rows, window.rows
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(after / before).repeat(baseline.sizes)
        apart: Floats = scale * baseline.counts
        apart -= window.counts / scale
        apart *= apart
        apart /= both
        apart[both == 0] = 0.0
        statistic = np.add.reduceat(apart, baseline.starts)
        effect = np.sqrt(np.minimum(1.0, statistic / (before + after)))
    freedom = baseline.bins_of_either(window) - 1
    chance = chdtrc(np.maximum(freedom, 1), statistic)
    told = zip(
        statistic.tolist(),
        freedom.tolist(),
        chance.tolist(),
        effect.tolist(),
        (np.minimum(before, after) > 0).tolist(),
        strict=True,
    )
    return [
        # one bin cannot differ from itself
        ChiSquare(x2, free, p if free else 1.0, size) if known else None
        for x2, free, p, size, known in told
    ]
