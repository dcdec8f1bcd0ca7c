"""Times as the wire has them: microseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    """Raises ValueError for a time without a time zone.

    >>> micros(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
