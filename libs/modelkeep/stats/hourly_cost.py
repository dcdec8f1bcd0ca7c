"""What an hour out of band cost, told by a business figure kept per period.

A ratio estimator (Cochran, "Sampling Techniques", 3rd ed. 1977, chapter 6): what the
periods with hours out of band are short of, at the rate of the periods without any,
shared among those hours. A sum over a period varies as its length does, so residuals
are weighted by hours; the interval is Student's, two-sided 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from modelkeep.errors import Invalid

Verdict: TypeAlias = Literal["confirmed", "contradicted", "not_yet"]


class Period(NamedTuple):
    """`worth` was earned in `hours`, of which `beyond` were out of band.

    A cost is a negative worth. 0 <= beyond <= hours, hours > 0.
    """

    worth: float
    hours: float
    beyond: float


class Cost(NamedTuple):
    """Lost per hour out of band, in the unit of the worths; negative is a gain."""

    observed: float
    lower: float
    upper: float


def hourly_cost(periods: Sequence[Period]) -> Cost | None:
    """Return None unless there are two periods in band and two out of it.

    Needs scipy. Raises Invalid for NaN, infinities and hours that cannot be.

    With `a` the worth per hour over periods in band, `H` and `h` all hours of the
    periods in and out of band, `B` the hours beyond, `W` the worth of the periods out
    of band, and n periods in all:

        observed = (a h - W) / B
        s^2      = sum of hours_i e_i^2 / (n - 2)
        e_i      = worth_i / hours_i - a + observed beyond_i / hours_i
        half     = t(.975, n - 2) s sqrt(h (h / H + 1)) / B

    Two periods of 10 hours earn 90 and 110, so a = 10; two more, out of band for 5
    hours each, earn 70 and 50: they are short of 80 in 10 hours. All e are 1 in size,
    s^2 = 40 / 2, and the half width is 4.3027 sqrt(20) sqrt(20 * 2) / 10 = 12.17.

    >>> year = [Period(90, 10, 0), Period(110, 10, 0)]
    >>> year += [Period(70, 10, 5), Period(50, 10, 5)]
    >>> [round(bound, 2) for bound in hourly_cost(year)]
    [8.0, -4.17, 20.17]
    """
    for one in periods:
        if not (math.isfinite(one.worth) and 0 <= one.beyond <= one.hours < math.inf):
            raise Invalid.field("periods", f"{one} cannot be")
        if not one.hours:
            raise Invalid.field("periods", "a period of no hours")
    inside = [one for one in periods if not one.beyond]
    outside = [one for one in periods if one.beyond]
    if min(len(inside), len(outside)) < 2:  # noqa: PLR2004  # one has no variation
        return None
    in_hours = math.fsum(one.hours for one in inside)
    out_hours = math.fsum(one.hours for one in outside)
    beyond = math.fsum(one.beyond for one in outside)
    rate = math.fsum(one.worth for one in inside) / in_hours
    short = rate * out_hours - math.fsum(one.worth for one in outside)
    observed = short / beyond
    residuals = (
        (one.worth - rate * one.hours + observed * one.beyond) ** 2 / one.hours
        for one in periods
    )
    freedom = len(periods) - 2
    variance = math.fsum(residuals) / freedom * out_hours * (out_hours / in_hours + 1)
    half = _student(freedom) * math.sqrt(variance) / beyond
    return Cost(observed, observed - half, observed + half)


def verdict(cost: Cost, declared: float, tolerance: float) -> Verdict:
    """Compare with what was declared: within `declared` times 1 - or + `tolerance`.

    Confirmed when the whole interval lies within, contradicted when all of it lies
    without, else not yet: more periods may tell.

    >>> verdict(Cost(110, 80, 140), 100, 0.5), verdict(Cost(20, -5, 45), 100, 0.5)
    ('confirmed', 'contradicted')
    >>> verdict(Cost(100, 40, 160), 100, 0.5)
    'not_yet'
    """
    low, high = declared * (1 - tolerance), declared * (1 + tolerance)
    if low <= cost.lower and cost.upper <= high:
        return "confirmed"
    if cost.upper < low or cost.lower > high:
        return "contradicted"
    return "not_yet"


def _student(freedom: int) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, seldom needed

    return float(stdtrit(freedom, 0.975))
