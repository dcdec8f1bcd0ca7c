"""Reviews: hypotheses numbered for life, levels that follow, a period reviewed once."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given as assuming
from hypothesis import strategies as st

from modelkeep.events.base import decode, encode
from modelkeep.events.false_alarms import period_of
from modelkeep.events.findings import FindingsReviewed
from modelkeep.stats.online_fdr import slow_gamma
from modelkeep.testing.deciding import Past, given
from modelkeep_services.monitoring.findings import (
    FINDINGS,
    FindingsState,
    Hypothesis,
    ReviewFindings,
    evolve,
)

NEW = given(FINDINGS)


def review(month: int, *logs: float, **changes: Any) -> ReviewFindings:
    start, end = period_of(datetime(2026, month, 9, tzinfo=UTC), "month")
    said: dict[str, Any] = {
        "model": "m",
        "version": "v1",
        "environment": "prod",
        "start": start,
        "end": end,
        "rate": 0.05,
        "windows": 28,
        "baseline": "b",
        "hypotheses": tuple(
            Hypothesis(monitor="features", group=f"x{place}", n=9, log_e=value)
            for place, value in enumerate(logs)
        ),
    }
    return ReviewFindings(**said | changes)


def said(past: Past, command: ReviewFindings) -> list[FindingsReviewed]:
    found = past.when(command).events
    return [event for event in found if isinstance(event, FindingsReviewed)]


def test_hypotheses_are_numbered_through_a_models_life() -> None:
    first = NEW.when(review(1, 0.0, 20.0)).and_then()
    [second] = said(first, review(2, -3.0, 9.0, 8.0))
    assert [one.number for one in second.findings] == [3, 4, 5]
    # one discovery before them doubles their levels, the next makes them thrice
    gains = [2, 2, 3]
    assert [one.level for one in second.findings] == pytest.approx(
        [0.05 * slow_gamma(n) * gain for n, gain in zip((3, 4, 5), gains, strict=True)]
    )
    assert [one.discovery for one in second.findings] == [False, True, True]
    for one in second.findings:
        assert one.discovery == (one.log_e >= -math.log(one.level))


def test_a_period_of_a_version_is_reviewed_once() -> None:
    seen = NEW.when(review(2, 1.0)).and_then()
    assert said(seen, review(2, 99.0)) == []
    assert said(seen, review(1, 99.0)) == []
    assert len(said(seen, review(3, 99.0))) == 1
    [other] = said(seen, review(2, 99.0, version="v2"))
    assert other.findings[0].number == 2


def test_a_review_of_nothing_is_a_review() -> None:
    [event] = said(NEW, review(1, windows=3, baseline=None))
    assert event.findings == ()
    assert said(NEW.when(review(1)).and_then(), review(1, 50.0)) == []


def test_infinite_evidence_is_told_as_a_number() -> None:
    [event] = said(NEW, review(1, 123_456.0))
    assert event.findings[0].discovery
    assert event.findings[0].log_e == 123_456.0


@assuming(
    st.lists(
        st.lists(st.floats(-50, 50), max_size=6).map(tuple), min_size=1, max_size=8
    )
)
def test_what_stands_in_the_log_is_the_state(months: list[tuple[float, ...]]) -> None:
    past, events = NEW, []
    for month, logs in enumerate(months, 1):
        outcome = past.when(review(month, *logs))
        events += [e for e in outcome.events if isinstance(e, FindingsReviewed)]
        past = outcome.and_then()
    state = FindingsState()
    for event in events:
        stored = decode(event.event_name, event.event_version, encode(event))
        assert isinstance(stored, FindingsReviewed)
        state = evolve(state, stored)
    every = [one for event in events for one in event.findings]
    assert state.lond == (len(every), sum(one.discovery for one in every))
    assert [one.number for one in every] == list(range(1, len(every) + 1))
    found = 0
    for one in every:
        assert one.level == pytest.approx(0.05 * slow_gamma(one.number) * (found + 1))
        found += one.discovery
    # levels over their gains never add up to more than the rate
    assert math.fsum(0.05 * slow_gamma(one.number) for one in every) <= 0.05


@pytest.mark.parametrize(
    ("at", "period", "start", "end"),
    [
        ("2026-12-31T23:59:59+00:00", "month", "2026-12-01", "2027-01-01"),
        ("2026-12-31T23:59:59+00:00", "quarter", "2026-10-01", "2027-01-01"),
        ("2024-02-29T12:00:00+00:00", "month", "2024-02-01", "2024-03-01"),
        ("2026-01-01T00:30:00+01:00", "year", "2025-01-01", "2026-01-01"),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(
    at: str, period: Any, start: str, end: str
) -> None:
    found = period_of(datetime.fromisoformat(at), period)
    assert [f"{one:%Y-%m-%d}" for one in found] == [start, end]
