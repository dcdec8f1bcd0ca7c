"""How often people override: what is drift, what is chance, and who may not look."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np

from modelkeep_services.monitoring.overrides import (
    RULES,
    Found,
    change,
    judged,
    rate,
    shown,
    spans,
    told,
)


def found(now: tuple[int, int], before: tuple[int, int]) -> Found | None:
    """Each as (overridden, of)."""
    recent, earlier = (
        rate({"overridden": k, "accepted": n - k}) for k, n in (now, before)
    )
    return judged(recent, earlier)


def test_a_rate_that_rose_or_fell_beyond_chance_has_drifted() -> None:
    rose, fell = found((120, 400), (60, 1_000)), found((24, 400), (300, 1_000))
    assert rose is not None
    assert fell is not None
    assert (rose.what, fell.what) == ("rose", "fell")
    assert told(rose) == (
        "people overrode 30.0% of 400 decisions, 6.0% in the reference period: "
        "the rate rose"
    )


def test_small_samples_say_nothing() -> None:
    assert found((50, 99), (0, 1_000)) is None
    assert found((50, 100), (0, 99)) is None


def test_a_difference_that_does_not_matter_is_no_drift() -> None:
    # Certain, and below the least change.
    assert found((11_500, 100_000), (10_000, 100_000)) is None


def test_nearly_no_override_over_many_is_rubber_stamping() -> None:
    stamping = found((0, 400), (0, 0))
    assert stamping is not None
    assert stamping.what == "rubber_stamping"
    assert found((0, 300), (0, 0)) is None
    assert found((4, 400), (0, 0)) is None


def test_without_drift_few_looks_are_wrong() -> None:
    rng = np.random.default_rng(11)
    looks = 2_000
    now, before = rng.binomial(300, 0.1, looks), rng.binomial(900, 0.1, looks)
    wrong = sum(
        found((int(k), 300), (int(m), 900)) is not None
        for k, m in zip(now, before, strict=True)
    )
    # z = 3.29 promises one in a thousand; the least change makes it rarer.
    assert wrong <= 6


def test_an_empty_period_has_no_change() -> None:
    assert change(rate({}), rate({"accepted": 5})) is None


def test_periods_are_whole_days_that_are_over() -> None:
    now = datetime(2026, 5, 20, 13, 30, tzinfo=UTC)
    over = spans(now)
    assert over.end == datetime(2026, 5, 20, tzinfo=UTC)
    assert over.end - over.start == timedelta(days=RULES.period_days)
    assert over.start - over.reference == timedelta(days=RULES.reference_days)


def test_reasons_are_shown_the_most_frequent_first() -> None:
    reasons = Counter({f"r{n:02}": 1 for n in range(30)}) + Counter({"storm": 5})
    assert shown(reasons)[:2] == [("storm", 5), ("r00", 1)]
    assert len(shown(reasons)) == 20
