"""How often people override a model, whether that drifts, and whether they look at all.

The difference of two shares: Newcombe, "Interval estimation for the difference between
independent proportions: comparison of eleven methods", Statistics in Medicine 17
(1998), 873-890, method 10: Wilson's bounds of each, joined. The rates are looked at
daily, so the document's z is far beyond 1.96: at 3.29 one look in a thousand is wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from modelkeep.events.types import Count, Finite, Share
from modelkeep.stats.wilson import Interval, wilson
from modelkeep_services.monitoring.documents import Rules, load

DAY: Final = timedelta(days=1)
SHOWN_REASONS: Final = 20

Days = Annotated[int, Field(ge=1, le=1_000)]


class OverrideRules(Rules):
    """`least` dispositions are needed in each period before anything is said."""

    period_days: Days
    reference_days: Days
    least: Count
    z: Annotated[Finite, Field(gt=0, le=10)]
    least_change: Share
    rubber_stamp_upper: Share


RULES, DOCUMENT = load("overrides.v1.json", OverrideRules)


class Rate(NamedTuple):
    """Overridden over all dispositions; (0, 1) and None when there are none."""

    n: int
    overridden: int
    bounds: Interval

    @property
    def value(self) -> float | None:
        return self.overridden / self.n if self.n else None


class Change(NamedTuple):
    """The rate minus the reference rate, with its bounds at the document's z."""

    value: float
    low: float
    high: float


class Found(NamedTuple):
    what: Literal["rose", "fell", "rubber_stamping"]
    rate: Rate
    reference: Rate | None
    change: Change | None


class Spans(NamedTuple):
    """Whole days (UTC): reference [reference, start), period [start, end)."""

    reference: datetime
    start: datetime
    end: datetime


def spans(now: datetime, rules: OverrideRules = RULES) -> Spans:
    """Return the periods that are over at `now`: today is not."""
    end = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - rules.period_days * DAY
    return Spans(start - rules.reference_days * DAY, start, end)


def rate(counts: Mapping[str, int]) -> Rate:
    """Escalated decisions count as not overridden.

    >>> rate({"accepted": 8, "overridden": 2}).value
    0.2
    """
    n, overridden = sum(counts.values()), counts.get("overridden", 0)
    return Rate(n, overridden, wilson(overridden, n))


def change(now: Rate, before: Rate, z: float = RULES.z) -> Change | None:
    """Return None where either is empty.

    Newcombe's own example, 56 of 70 and 48 of 80 at 95 %, gives .0524 to .3339:

    >>> now, before = Rate(70, 56, wilson(56, 70)), Rate(80, 48, wilson(48, 80))
    >>> [round(part, 4) for part in change(now, before, z=1.959964)]
    [0.2, 0.0524, 0.3339]
    """
    if not now.n or not before.n:
        return None
    p, q = now.overridden / now.n, before.overridden / before.n
    mine = wilson(now.overridden, now.n, z)
    theirs = wilson(before.overridden, before.n, z)
    below = math.hypot(p - mine.low, theirs.high - q)
    above = math.hypot(mine.high - p, q - theirs.low)
    return Change(p - q, p - q - below, p - q + above)


def judged(now: Rate, before: Rate, rules: OverrideRules = RULES) -> Found | None:
    """Say what is wrong with how people override, if anything is."""
    if now.n < rules.least:
        return None
    moved = change(now, before, rules.z) if before.n >= rules.least else None
    if moved is not None and moved.low > rules.least_change:
        return Found("rose", now, before, moved)
    # Nearly nobody disagrees: whether that is new matters less than that it is so.
    if now.bounds.high < rules.rubber_stamp_upper:
        return Found("rubber_stamping", now, before if before.n else None, moved)
    if moved is not None and moved.high < -rules.least_change:
        return Found("fell", now, before, moved)
    return None


def told(found: Found) -> str:
    """Say it in a sentence, for an alert."""
    n, share = found.rate.n, found.rate.value or 0.0
    if found.what == "rubber_stamping":
        return (
            f"people overrode {found.rate.overridden} of {n} decisions, at most "
            f"{found.rate.bounds.high:.2%}: they may no longer look"
        )
    before = found.reference.value if found.reference else None
    return (
        f"people overrode {share:.1%} of {n} decisions, {before or 0:.1%} in the "
        f"reference period: the rate {found.what}"
    )


def shown(reasons: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent reasons, ties by the alphabet."""
    order = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    return order[:SHOWN_REASONS]
