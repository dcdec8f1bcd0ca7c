"""A time that a document states, read by somebody who trusts none of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from modelkeep.proof.errors import Malformed

SHOWN: Final = 40
"""As much of what is no time is shown as a time is long."""


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
