"""A moment as people write it: a day, a time, a position of the log, or now."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from modelkeep.api.common.v1.common_pb2 import AsOf
from modelkeep.errors import Invalid
from modelkeep.proof.times import in_utc

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def moment(text: str) -> AsOf:
    """Read `2013-06-30` (the whole of that day, UTC), `2013-06-30T12:00`, `1240` (a
    position) or `now`. Raises Invalid.

    >>> moment("2013-06-30").time.ToJsonString()
    '2013-06-30T23:59:59.999999Z'
    >>> moment("1240").position
    1240
    """
    if text == "now":
        return AsOf()
    if text.isascii() and text.isdigit() and len(text) < len(str(1 << 63)):
        return AsOf(position=int(text))
    try:
        found = in_utc(text)
    except (ValueError, OverflowError):
        raise Invalid.field(
            "moment", f"{text} is no day (2013-06-30), time, position or `now`"
        ) from None
    if _DAY.fullmatch(text):
        found += timedelta(days=1) - timedelta(microseconds=1)
    asked = AsOf()
    asked.time.FromDatetime(found)
    return asked


def instant(field: str, text: str, *, whole_day: bool) -> datetime:
    """Read a day or a time; the end of a day is the next midnight. Raises Invalid.

    >>> instant("to", "2013-06-30", whole_day=True).isoformat()
    '2013-07-01T00:00:00+00:00'
    """
    try:
        found = in_utc(text)
    except (ValueError, OverflowError):
        raise Invalid.field(field, f"{text} is no day (2013-06-30) or time") from None
    if not (whole_day and _DAY.fullmatch(text)):
        return found
    try:
        return found + timedelta(days=1)
    except OverflowError:
        raise Invalid.field(field, f"{text} is the last of all days") from None
