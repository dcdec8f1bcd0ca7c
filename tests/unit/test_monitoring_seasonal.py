"""Baselines by hour, and the detectors that hold a window against its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.errors import Invalid
from modelkeep.events.alarm_watch import WatchStepped
from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.monitoring import WindowFigures
from modelkeep.stats.bins import Column, Floats
from modelkeep.stats.categories import Coded
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.seasons import Season
from modelkeep.testing.deciding import given
from modelkeep_services.monitoring.alarm_eyes import WATCH, Asked, asked_of, eyes
from modelkeep_services.monitoring.alarm_watch import StepWatch
from modelkeep_services.monitoring.seasonal import by_season, key_of, season_of
from modelkeep_services.monitoring.windows import Reference

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS, ROWS = 20, 200


def micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def swinging(rng: np.random.Generator, hour: int, rows: int) -> Floats:
    """A day's swing of one sigma to both sides."""
    return rng.normal(np.sin(2 * np.pi * hour / 24), 1, rows)


class Days:
    """A baseline of some days, an hour at a time."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        hours = range(DAYS * 24)
        self.x = np.concatenate([swinging(rng, hour, ROWS) for hour in hours])
        starts = [micros(START + hour * HOUR) for hour in hours]
        self.times = np.repeat(np.array(starts, dtype=np.int64), ROWS) + 7
        self.word = Coded(rng.integers(0, 2, len(self.x)), ("a", "b"))
        self.scores = rng.random(len(self.x))
        self.columns: dict[str, Column | Coded] = {"word": self.word, "x": self.x}
        self.baseline = Baseline.fit(self.columns, scores=self.scores)

    def by(self, season: Season) -> dict[str, str]:
        return by_season(season, self.baseline, self.columns, self.scores, self.times)


@pytest.fixture(scope="module")
def days() -> Days:
    return Days()


def test_seasons_add_up_to_the_whole(days: Days) -> None:
    found = days.by(Season.HOUR_OF_DAY)
    assert sorted(found) == [f"h{hour:02}" for hour in range(24)]
    layout = days.baseline.layout
    profiles = [Profile.from_json(text, layout) for text in found.values()]
    assert {profile.rows for profile in profiles} == {DAYS * ROWS}
    assert sum(profiles, Profile.empty(layout)) == days.baseline.reference


def test_no_season_counts_nothing_apart(days: Days) -> None:
    assert days.by(Season.NONE) == {}


def test_rows_without_times_have_no_season(days: Days) -> None:
    with pytest.raises(Invalid, match="times"):
        by_season(Season.HOUR_OF_DAY, days.baseline, days.columns, days.scores, None)


def test_more_hours_and_bins_than_an_event_holds_are_refused() -> None:
    rng = np.random.default_rng(1)
    columns = {f"f{n}": rng.normal(size=50) for n in range(30)}
    wide = Baseline.fit(columns, scores=rng.random(50))
    times = np.zeros(50, dtype=np.int64)
    assert by_season(Season.HOUR_OF_DAY, wide, columns, rng.random(50), times)
    with pytest.raises(Invalid, match="fit"):
        by_season(Season.HOUR_OF_WEEK, wide, columns, rng.random(50), times)


def test_a_season_is_spelled_on_the_wire() -> None:
    assert season_of(pb.BaselineHeader()) is Season.NONE
    header = pb.BaselineHeader(season=pb.SEASON_HOUR_OF_WEEK)
    assert season_of(header) is Season.HOUR_OF_WEEK
    with pytest.raises(Invalid, match="season"):
        season_of(pb.BaselineHeader(season=99))  # type: ignore[arg-type]  # that is wrong


def test_a_window_has_a_season_where_it_lies_in_one() -> None:
    season, at = Season.HOUR_OF_DAY, START + 5 * HOUR
    assert key_of(season, at, at + HOUR) == "h05"
    assert key_of(season, at + HOUR / 4, at + HOUR / 2) == "h05"
    assert key_of(season, at + HOUR / 2, at + 1.5 * HOUR) is None
    assert key_of(Season.NONE, at, at + 100 * HOUR) == ""


def alarms(of: Asked, days: Days, season: Season, shift: float = 0.0) -> int:
    rng, past, spoken = np.random.default_rng(11), given(WATCH), 0
    for hour in range(48):
        start = START + hour * HOUR
        word = Coded(rng.integers(0, 2, 300), ("a", "b"))
        window = days.baseline.profile(
            {"x": swinging(rng, hour, 300) + shift, "word": word}, rng.random(300)
        )
        key = key_of(season, start, start + HOUR)
        assert key is not None
        seen = eyes(of, window.to_json().decode(), WindowFigures(rows=300), key)
        command = StepWatch(
            model="m",
            version="v",
            environment="prod",
            window=f"w{hour}",
            start=start,
            end=start + HOUR,
            cadence_hours=1,
            false_alarms=1,
            period="quarter",
            eyes=seen,
        )
        outcome = past.when(command)
        for event in outcome.events:
            assert isinstance(event, WatchStepped)
            spoken += sum(step.alarm is not None for step in event.steps)
        past = outcome.and_then()
    return spoken


def asked(days: Days, season: Season) -> Asked:
    reference = Reference("b", days.baseline.to_json().decode(), 0.5, ())
    return asked_of(FalseAlarms(), 1.0, 1, reference, days.by(season))


def test_a_daily_swing_is_drift_to_one_baseline_and_none_to_one_an_hour(
    days: Days,
) -> None:
    hourly = asked(days, Season.HOUR_OF_DAY)
    assert alarms(asked(days, Season.NONE), days, Season.NONE) > 5
    assert alarms(hourly, days, Season.HOUR_OF_DAY) == 0
    assert alarms(hourly, days, Season.HOUR_OF_DAY, shift=0.7) > 0


def test_an_hour_that_the_baseline_does_not_know_is_not_counted(days: Days) -> None:
    hourly = asked(days, Season.HOUR_OF_DAY)
    window = days.baseline.reference.to_json().decode()
    assert eyes(hourly, window, WindowFigures(rows=1), "d0h00") == ()
