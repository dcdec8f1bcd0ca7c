"""Wilks' tolerance limits: what may lie beyond the least and the greatest of a sample.

Wilks, "Determination of sample sizes for setting tolerance limits", Annals of
Mathematical Statistics 12 (1941), 91-96: of n independent rows of any continuous
distribution, more than a share p lies beyond both ends together with the chance that a
binomial of n and p is at most 1,

    (1 - p) ** n + n p (1 - p) ** (n - 1).

On average it is 2 / (n + 1); where many samples are looked at, some leave far more.
Ties make it less. Standard library only.
"""

from __future__ import annotations

from typing import Final

from modelkeep.errors import Invalid

HALVINGS: Final = 60


def beyond_ends(rows: int, error: float) -> float:
    """Return the share that lies beyond both ends at most, but for a chance of `error`.

    Of 93 rows at most a twentieth, at 95 % (Wilks' own table).

    >>> beyond_ends(92, 0.05) > 0.05 > beyond_ends(93, 0.05)
    True
    """
    if rows < 0 or not 0 < error < 1:
        raise Invalid.field("rows", "is a number of rows, and error between 0 and 1")
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _chance(rows, middle) > error:
            low = middle
        else:
            high = middle
    return high


def _chance(rows: int, share: float) -> float:
    inside = 1 - share
    if rows == 0:
        return 1.0
    return inside**rows + rows * share * inside ** (rows - 1)
