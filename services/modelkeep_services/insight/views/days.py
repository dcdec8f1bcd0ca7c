"""Which tick was the first of its day: on it, everything that ages is looked at."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep.events.clock import Ticked
from modelkeep.views import Fact, Reader, Rows, View


@dataclass(frozen=True)
class DayRow:
    tick: str


days = View("days", DayRow)
"""By UTC date, in the clock's own tenant."""


@days.on(Ticked)
def first(event: Ticked, fact: Fact, rows: Rows[DayRow]) -> None:
    key = f"{event.instant:%Y-%m-%d}"
    if rows.get(key) is None:
        rows.put(key, DayRow(str(fact.id)))


def is_first(read: Reader, event: Ticked, fact: Fact) -> bool:
    row = read.other(fact.tenant).get(days, f"{event.instant:%Y-%m-%d}")
    return row is not None and row.tick == str(fact.id)


VIEWS = (days,)
