"""What an hour out of band cost: the estimator beside simulation and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelkeep.errors import Invalid
from modelkeep.stats.hourly_cost import Cost, Period, hourly_cost, verdict


def year(
    rng: np.random.Generator, cost: float, *, inside: int = 8, outside: int = 4
) -> list[Period]:
    """Months that earn 50 an hour, but for what an hour out of band costs."""
    found = []
    for month in range(inside + outside):
        hours = float(rng.choice([672.0, 720.0, 744.0]))
        beyond = 0.0 if month < inside else float(rng.integers(24, 240))
        noise = float(rng.normal(0, 40 * math.sqrt(hours)))
        found.append(Period(50 * hours - cost * beyond + noise, hours, beyond))
    return found


def test_without_noise_the_cost_is_exact() -> None:
    periods = [Period(1_000 - 7 * b, 10, b) for b in (0, 0, 0, 2, 5, 10)]
    assert hourly_cost(periods) == pytest.approx((7, 7, 7))


def test_the_true_cost_lies_within_its_bounds_19_times_in_20() -> None:
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(2_000):
        found = hourly_cost(year(rng, 30.0))
        assert found is not None
        held += found.lower <= 30 <= found.upper
    # Binomial(2000, .95) lies within these four standard deviations.
    assert abs(held - 1_900) <= 4 * math.sqrt(2_000 * 0.95 * 0.05)


def test_one_period_on_a_side_is_no_comparison() -> None:
    two = [Period(100, 10, 0), Period(101, 10, 0)]
    assert hourly_cost([]) is None
    assert hourly_cost([*two, Period(90, 10, 3)]) is None
    assert hourly_cost([two[0], Period(90, 10, 3), Period(91, 10, 3)]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        Period(math.nan, 10, 0),
        Period(math.inf, 10, 0),
        Period(1, 10, 11),
        Period(1, 10, -1),
        Period(1, 0, 0),
        Period(1, math.inf, 0),
        Period(1, 10, math.nan),
    ],
)
def test_what_cannot_be_is_refused(wrong: Period) -> None:
    with pytest.raises(Invalid, match="periods"):
        hourly_cost([wrong])


def test_wide_bounds_say_nothing_yet_and_a_gain_contradicts_a_cost() -> None:
    assert verdict(Cost(100, 49, 120), 100, 0.5) == "not_yet"
    assert verdict(Cost(100, 50, 150), 100, 0.5) == "confirmed"
    assert verdict(Cost(-10, -20, -1), 100, 1.0) == "contradicted"
