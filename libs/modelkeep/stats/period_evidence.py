"""What a period as a whole says of each group of cells: an e-value.

A window's likelihood ratio has a mean of at most 1 while its shares are inside their
bands (see `e_detector`), given all windows before it; so their product over a period
has one too, and the mean of the products of a group's components as well, whatever
their dependence. That is a test martingale's value at a time fixed in advance
(Grünwald, de Heide & Koolen, "Safe testing", Journal of the Royal Statistical Society B
86 (2024), 1091-1128), and what `e_lond` asks for. Since the bets do not change within a
season, the product is that of the period's counts added up.

It asks whether the period differs from the baseline, not when: a change that came late
is as weak as its part of the rows. The detectors are for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from modelkeep.errors import Invalid
from modelkeep.stats.bins import Counts, Floats
from modelkeep.stats.e_detector import NAT, SHIFT, Detector

DIGITS: Final = 10_000
"""Logarithms are rounded down to 4 decimals, which adds no evidence."""
SLACK: Final = 1e-6
"""Far more than what floats can have rounded up."""


class Counted(NamedTuple):
    """A period's hits in trials, each a number a cell."""

    hits: Counts
    trials: Counts


class Evidence(NamedTuple):
    """`log_e` is the natural logarithm of the e-value that `n` trials are worth, those
    of the group's cell that had most.
    """

    name: str
    log_e: float
    n: int


def period_evidence(
    detector: Detector, seen: Mapping[str, Counted]
) -> tuple[Evidence, ...]:
    """Return one a group that was tried and has something to bet against.

    `seen` are the counts of each season, the empty one where there are none. Raises
    Invalid for a season without bands and for counts of other cells.
    """
    shape = detector.weights.shape
    logs, trials = np.zeros(shape), np.zeros(shape[1], dtype=np.int64)
    for season, counted in seen.items():
        if counted.hits.shape != shape[1:] or counted.trials.shape != shape[1:]:
            raise Invalid.field("hits", f"{shape[1]} cells are watched")
        bets = detector.bets[detector.season(season)]
        of = counted.trials.astype(np.float64) * detector.unit
        logs += np.where(bets.live, bets.swap * counted.hits + bets.miss * of, 0.0)
        trials += counted.trials
    logs /= NAT * 2**SHIFT
    ends = [*detector.starts.tolist(), shape[1]]
    parts = [slice(first, last) for first, last in pairwise(ends)]
    found = []
    for name, part in zip(detector.names, parts, strict=True):
        value = _log_mean(logs[:, part], detector.weights[:, part])
        most = int(trials[part].max())
        if value is not None and most:
            found.append(Evidence(name, _down(value), most))
    return tuple(found)


def _log_mean(logs: Floats, weights: Floats) -> float | None:
    """Return the logarithm of a weighted mean of exponentials."""
    whole = float(weights.sum())
    if not whole:
        return None
    top = float(logs[weights > 0].max())
    return top + math.log(float((weights * np.exp(logs - top)).sum()) / whole)


def _down(value: float) -> float:
    return math.floor((value - SLACK) * DIGITS) / DIGITS
