"""Months on a calendar."""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime


def add_months(instant: datetime, months: int) -> datetime:
    """The same day and time so many months later, or that month's last day.

    >>> add_months(datetime(2024, 1, 31), 13)
    datetime.datetime(2025, 2, 28, 0, 0)
    """
    year, month = divmod(instant.year * 12 + instant.month - 1 + months, 12)
    day = min(instant.day, monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)
