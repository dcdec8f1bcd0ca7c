"""History's health under another document: when which model would have been otherwise.

The index is no event: it is computed of what was known at a moment. So it is computed
twice, by the document in force and by another, at moments a step apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelkeep.views import Reader
from modelkeep_services.insight.documents import HealthRules, Loaded
from modelkeep_services.insight.health import Health, health_of
from modelkeep_services.insight.views import inventory

AsOf = Callable[[datetime], AbstractContextManager[Reader]]
"""The views as they stood at a moment."""


@dataclass(frozen=True)
class Stretch:
    """A model whose band differs from `since` on, at every moment up to `until`.

    Indices are those of the first such moment; None where it was not rated.
    """

    model: str
    since: datetime
    until: datetime
    was: str
    now: str
    index_was: float | None
    index_is: float | None
    worst: str
    cause: str


@dataclass(frozen=True)
class Point:
    model: str
    at: datetime
    was: Health
    now: Health


def moments(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    """From the start on, a step apart, and the end."""
    found = []
    while start < end:
        found.append(start)
        start += step
    return [*found, end]


def points(
    as_of: AsOf, at: Sequence[datetime], found: Loaded[HealthRules]
) -> Iterator[Point]:
    for moment in at:
        with as_of(moment) as read:
            for model, _ in read.scan(inventory.models):
                was = health_of(read, model, moment)
                yield Point(model, moment, was, health_of(read, model, moment, found))


def stretches(points: Sequence[Point]) -> list[Stretch]:
    """Join moments that follow each other and say the same; leave out what is alike."""
    found: list[Stretch] = []
    for point in sorted(points, key=lambda one: (one.model, one.at)):
        pair = (point.was.band, point.now.band)
        last = found[-1] if found and found[-1].model == point.model else None
        if last is not None and (last.was, last.now) == pair:
            found[-1] = _longer(last, point.at)
            continue
        if last is not None:
            found[-1] = _longer(last, point.at)
        index = point.now.index
        found.append(
            Stretch(
                point.model,
                point.at,
                point.at,
                *pair,
                point.was.index.value,
                index.value,
                index.worst,
                index.cause,
            )
        )
    return [one for one in found if one.was != one.now]


def _longer(one: Stretch, until: datetime) -> Stretch:
    return Stretch(
        one.model,
        one.since,
        until,
        one.was,
        one.now,
        one.index_was,
        one.index_is,
        one.worst,
        one.cause,
    )
