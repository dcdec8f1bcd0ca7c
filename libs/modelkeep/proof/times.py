"""A time that somebody writes or a document states, trusted in nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from modelkeep.proof.errors import Malformed

SHOWN: Final = 40
"""As much of what is no time is shown as a time is long."""


def in_utc(text: str) -> datetime:
    """Return a time in UTC, which is meant where no zone is said. Raises ValueError for
    what is none, and OverflowError for one that is of no year in UTC.

    >>> in_utc("2013-06-30").isoformat(), in_utc("2013-06-30T12:00+02:00").hour
    ('2013-06-30T00:00:00+00:00', 10)
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        return found.replace(tzinfo=UTC)
    return found.astimezone(UTC)


def instant(text: str, what: str) -> datetime:
    """Return it in UTC. Raises Malformed for what is no time with its zone.

    >>> instant("2013-06-30T12:00:00+02:00", "issued_at").isoformat()
    '2013-06-30T10:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise Malformed(f"{what} has no zone: {text[:SHOWN]!r}")
        return found.astimezone(UTC)
    except (ValueError, OverflowError):  # in UTC it may be before the year 1
        raise Malformed(f"{what} is no time: {text[:SHOWN]!r}") from None
