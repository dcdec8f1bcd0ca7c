"""A baseline's rows by season: each hour of the day, or of the week, counted apart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.matrix import Floats, Times
from modelkeep.errors import Invalid
from modelkeep.stats.bins import Column
from modelkeep.stats.categories import Coded
from modelkeep.stats.profile import Baseline
from modelkeep.stats.seasons import HOUR, Season

MOST_CELLS: Final = 36_000
"""Bins times seasons: what fits into one event, as counts or as bands."""
MICRO: Final = timedelta(microseconds=1)
MICROS: Final = 1_000_000


def season_of(header: pb.BaselineHeader) -> Season:
    """Raises Invalid for a season of no name."""
    if header.season == pb.SEASON_UNSPECIFIED:
        return Season.NONE
    try:
        name = pb.Season.Name(header.season)
    except ValueError:
        raise Invalid.field("header.season", f"{header.season} is no season") from None
    return Season(name.removeprefix("SEASON_").lower().replace("_", "-"))


def by_season(
    season: Season,
    baseline: Baseline,
    columns: Mapping[str, Column | Coded],
    scores: Floats,
    times: Times | None,
) -> dict[str, str]:
    """Return the profile of each season that has rows, as text.

    Raises Invalid without times, and for more bins and seasons than an event holds.
    """
    if season is Season.NONE:
        return {}
    if times is None:
        raise Invalid.field("header.season", "rows without times have none")
    if baseline.layout.bins_end * len(season.keys) > MOST_CELLS:
        raise Invalid.field("header.season", "so many bins by so many hours do not fit")
    hours = times // (HOUR * MICROS)
    found: dict[str, Floats] = {}
    for hour in np.unique(hours).tolist():
        key = season.key(hour * HOUR)
        rows = hours == hour
        found[key] = found[key] | rows if key in found else rows
    return {
        key: baseline.profile(
            {name: _part(column, rows) for name, column in columns.items()},
            scores=scores[rows],
        )
        .to_json()
        .decode()
        for key, rows in sorted(found.items())
    }


def _part(column: Column | Coded, rows: Column) -> Column | Coded:
    if isinstance(column, Coded):
        return Coded(column.codes[rows], column.categories)
    kept: Column = column[rows]
    return kept


def key_of(season: Season, start: datetime, end: datetime) -> str | None:
    """Return the season of [start, end); None where it lies in several."""
    if season is Season.NONE:
        return ""
    first = int(start.timestamp()) // HOUR
    last = int((end - MICRO).timestamp()) // HOUR
    return season.key(first * HOUR) if first == last else None
