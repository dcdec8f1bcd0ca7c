"""Every flight that left New York in 2013, and whether it arrived late.

Decided at the scheduled departure, known when the aircraft reaches the gate. A flight
that was cancelled or diverted is decided like any other; its outcome never arrives.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from modelkeep_services.demo.decisions import Decisions, Instants, Numbers, Rows, Words
from modelkeep_services.demo.recipes import Recipe, Statement

LATE_MINUTES: Final = 15
"""Late is more than this behind schedule at the gate."""
CARRY_HOURS: Final = 3
"""An hour without a weather reading takes the last one, if it is no older than this."""

WEATHER: Final = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
JANUARY: Final = np.datetime64("2013-01-01T05:00", "ms")
"""The year begins at midnight in New York."""
RECIPE: Final = Recipe(
    name="late-arrival",
    method="trees",
    numbers=(
        "minute_of_day",
        "weekday",
        "distance",
        "planned_minutes",
        *WEATHER,
    ),
    words=("carrier", "origin", "dest"),
    groups={
        "time of day and week": ("minute_of_day", "weekday"),
        "carrier": ("carrier",),
        "route": ("origin", "dest", "distance", "planned_minutes"),
        "wind": ("wind_dir", "wind_speed", "wind_gust"),
        "weather": ("temp", "dewp", "humid", "precip", "pressure", "visib"),
    },
)
"""Nothing here is known later than the departure. No month: the first three are all a
model trained in March has seen."""

STATEMENT: Final = Statement(
    task="binary classification: arrival more than 15 minutes late",
    purpose="Warn connecting desks of flights that will probably arrive late",
    users=("connections desk", "gate planning"),
    limitations=(
        "trained on three winter months: it has seen no summer storm",
        "knows the weather at departure, not on the way or at the destination",
        "says nothing of flights that are cancelled or diverted",
    ),
    risks={"Rebooking on a wrong warning": "the desk decides; overrides are recorded"},
)

_SUMMER: Final = (
    np.datetime64("2013-03-10T07:00", "ms"),
    np.datetime64("2013-11-03T06:00", "ms"),
)


def midnight(day: str) -> np.datetime64:
    """Return when that day (`2013-04-01`) began in New York, as UTC.

    >>> midnight("2013-04-01"), midnight("2013-12-01")
    (np.datetime64('2013-04-01T04:00:00.000'), np.datetime64('2013-12-01T05:00:00.000'))
    """
    moment = np.datetime64(day, "ms")
    summer = _SUMMER[0] <= moment < _SUMMER[1]
    return moment + np.timedelta64(4 if summer else 5, "h")


def local(moments: Instants) -> Instants:
    """Return New York's clock for instants of 2013 (and the hours around it)."""
    summer = (moments >= _SUMMER[0]) & (moments < _SUMMER[1])
    clock: Instants = moments - np.where(summer, 4, 5).astype("timedelta64[h]")
    return clock


def local_day(moments: Instants) -> Instants:
    """Return the calendar day in New York: the unit that is held out whole."""
    return local(moments).astype("datetime64[D]")


def load() -> Decisions:
    """Read the year in about a third of a second."""
    folder = resources.files(__package__) / "data"
    with resources.as_file(folder) as path:
        flights = parquet.read_table(path / "flights.parquet")
        weather = parquet.read_table(path / "weather.parquet")
    scheduled = flights["scheduled"].to_numpy()
    origin, airports = _words(flights, "origin")
    reading, read_at = _last_reading(weather, airports, origin, scheduled)
    delay = flights["arrival_delay"].to_numpy().astype(np.float64)
    planned = _numbers(flights, "planned_minutes")
    took = np.where(np.isnan(delay), 0, planned + np.nan_to_num(delay))
    landed = scheduled + took.astype("timedelta64[m]")
    landed[np.isnan(delay)] = np.datetime64("NaT")
    weekday = (local_day(scheduled).astype(np.int64) + 3) % 7
    columns: dict[str, Numbers | Words] = {
        "carrier": _spelled(flights, "carrier"),
        "origin": airports[origin],
        "dest": _spelled(flights, "dest"),
        "minute_of_day": _numbers(flights, "local_minute"),
        "weekday": weekday.astype(np.float64),  # Monday is 0
        "distance": _numbers(flights, "distance"),
        "planned_minutes": planned,
    }
    for name in WEATHER:
        values = _numbers(weather, name)
        columns[name] = np.where(reading < 0, np.nan, values[reading])
    return Decisions(
        columns=columns,
        decided_at=scheduled,
        known_at=landed,
        outcome=np.where(np.isnan(delay), np.nan, delay > LATE_MINUTES),
        references=_references(flights),
        read_at={"weather": read_at},
    )


def statuses() -> Words:
    """Return flown, cancelled or diverted for each row of `load()`."""
    path = resources.files(__package__) / "data" / "flights.parquet"
    with resources.as_file(path) as file:
        return _spelled(parquet.read_table(file, columns=["status"]), "status")


def _numbers(table: pa.Table, name: str) -> Numbers:
    values: Numbers = table[name].to_numpy().astype(np.float64)
    return values


def _words(table: pa.Table, name: str) -> tuple[Rows, Words]:
    column = table[name].combine_chunks()
    codes: Rows = column.indices.to_numpy().astype(np.int64)
    return codes, np.array(column.dictionary.to_pylist(), dtype=np.str_)


def _spelled(table: pa.Table, name: str) -> Words:
    codes, words = _words(table, name)
    return words[codes]


def _last_reading(
    weather: pa.Table, airports: Words, origin: Rows, scheduled: Instants
) -> tuple[Rows, Instants]:
    """Return the weather row that each departure could know (-1: none recent enough),
    and when the last reading was taken, however old (NaT before the first).
    """
    place, names = _words(weather, "origin")
    if list(names) != list(airports):
        message = "flights and weather name different airports"
        raise ValueError(message)
    read_at = weather["hour"].to_numpy()
    zero = JANUARY - np.timedelta64(1, "D")
    hours = _hours_since(zero, scheduled)
    grid = np.full((len(names), hours.max() + 1), -1, dtype=np.int64)
    grid[place, _hours_since(zero, read_at)] = np.arange(len(place))
    last = np.maximum.accumulate(grid, axis=1)  # rows are sorted by hour
    row = last[origin, hours]
    taken = np.where(row < 0, np.datetime64("NaT"), read_at[row])
    recent = hours - _hours_since(zero, read_at[row]) <= CARRY_HOURS
    return np.where((row >= 0) & recent, row, -1), taken


def _hours_since(zero: np.datetime64, moments: Instants) -> Rows:
    return (moments - zero).astype("timedelta64[h]").astype(np.int64)


def _references(flights: pa.Table) -> Words:
    """`UA1545-EWR-IAH-2013-01-01T10:15`: carrier and number, way, schedule in UTC."""
    text = [
        flights[name].cast(pa.string())
        for name in ("carrier", "flight", "origin", "dest")
    ]
    stamp = pc.strftime(flights["scheduled"], format="%Y-%m-%dT%H:%M")
    flight = pc.binary_join_element_wise(text[0], text[1], "")
    joined = pc.binary_join_element_wise(flight, text[2], text[3], stamp, "-")
    return np.array(joined.to_numpy(), dtype=np.str_)
