"""Business days: how old something is when weekends and holidays do not count."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, time, timedelta

from modelkeep.errors import Invalid

WORKING_WEEKDAYS = 5


def is_business_day(day: date, holidays: Collection[date] = ()) -> bool:
    return day.weekday() < WORKING_WEEKDAYS and day not in holidays


def business_days(
    since: datetime, until: datetime, holidays: Collection[date] = ()
) -> float:
    """Return the days between the two instants that fall on business days.

    Days are those of `since`'s zone; both instants must carry one (Invalid otherwise).
    0 when `until` is not later: an instant in the future is not stale.

    From Friday 18:00 to Monday 09:00 there are 6 + 9 hours of business days.

    >>> from datetime import UTC
    >>> friday = datetime(2013, 3, 1, 18, tzinfo=UTC)
    >>> business_days(friday, datetime(2013, 3, 4, 9, tzinfo=UTC)) * 24
    15.0
    """
    if since.tzinfo is None or until.tzinfo is None:
        raise Invalid.field("since", "an instant without a time zone has no age")
    until = until.astimezone(since.tzinfo)
    spent = timedelta()
    day = since.date()
    while day <= until.date():
        tomorrow = day + timedelta(days=1)
        begin = max(since, datetime.combine(day, time(), since.tzinfo))
        end = min(until, datetime.combine(tomorrow, time(), since.tzinfo))
        if is_business_day(day, holidays) and end > begin:
            spent += end - begin
        day = tomorrow
    return spent / timedelta(days=1)
