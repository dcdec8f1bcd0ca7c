"""Records that have no keys: which of them are past their period, and what that means.

The decision log's objects hold callers' own ids and features in the clear. No key
destroys one person's rows, and an object cannot lose a row without losing its proof. So
these are told, a month of a model at a time, and never touched here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep_services.privacy.retention import RETENTION

KIND: Final = "decisions"
MOST: Final = 1_000
_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class DueRecords(NamedTuple):
    """See the message of that name."""

    kind: str
    model: str
    month: str
    objects: int
    bytes: int
    due_at: datetime


def due_records(folder: Path, by: datetime) -> list[DueRecords]:
    """Look through a tenant's folder, `<model>/<month>/<object>`: the longest due
    first.
    """
    found = [one for one in _months(folder) if one.due_at <= by]
    return sorted(found, key=lambda one: (one.due_at, one.model))[:MOST]


def _months(folder: Path) -> Iterator[DueRecords]:
    for month in folder.glob("*/*"):
        if not _MONTH.fullmatch(month.name):
            continue
        sizes = [one.stat().st_size for one in month.glob("*.parquet")]
        if sizes:
            yield DueRecords(
                KIND,
                month.parent.name,
                month.name,
                len(sizes),
                sum(sizes),
                _over(month.name) + RETENTION.of[KIND].keep,
            )


def _over(month: str) -> datetime:
    """The first moment of the month after."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    return (first + timedelta(days=32)).replace(day=1)
