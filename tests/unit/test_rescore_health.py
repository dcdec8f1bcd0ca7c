"""Moments that say the same are one stretch; what is alike is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelkeep.stats.health import Colour, HealthIndex
from modelkeep_services.insight.documents import health_rules, read_health
from modelkeep_services.insight.health import Health
from modelkeep_services.insight.reindexing import Point, moments, stretches

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def health(colour: Colour, value: float) -> Health:
    index = HealthIndex(
        value=value,
        colour=colour,
        worst="data freshness",
        cause="a feed is late",
        evidence=(),
        marks=(),
        measured_weight=1.0,
        components=(),
        document="d",
    )
    return Health(index, health_rules())


def point(n: int, was: Colour, now: Colour, model: str = "credit") -> Point:
    return Point(model, day(n), health(was, 90.0), health(now, 50.0))


G, A, R = Colour.GREEN, Colour.AMBER, Colour.RED


def test_days_that_differ_alike_are_one_stretch() -> None:
    points = [point(0, G, G), point(1, G, A), point(2, G, A), point(3, G, G)]
    (one,) = stretches(points)
    assert (one.since, one.until, one.was, one.now) == (
        day(1),
        day(3),
        "green",
        "amber",
    )
    assert (one.index_was, one.index_is) == (90.0, 50.0)


def test_another_difference_is_another_stretch() -> None:
    found = stretches([point(0, G, A), point(1, G, R), point(2, A, R)])
    assert [(one.was, one.now) for one in found] == [
        ("green", "amber"),
        ("green", "red"),
        ("amber", "red"),
    ]
    assert [one.until for one in found] == [day(1), day(2), day(2)]


def test_models_are_told_apart() -> None:
    found = stretches([point(0, G, A), point(0, G, A, "churn"), point(1, G, A)])
    assert [(one.model, one.until) for one in found] == [
        ("churn", day(0)),
        ("credit", day(1)),
    ]


def test_moments_end_where_the_period_does() -> None:
    assert moments(day(0), day(2.5), timedelta(days=1)) == [
        day(0),
        day(1),
        day(2),
        day(2.5),
    ]
    assert moments(day(1), day(1), timedelta(days=1)) == [day(1)]


def test_a_document_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="index"):
        read_health(b"version: health-v2")
