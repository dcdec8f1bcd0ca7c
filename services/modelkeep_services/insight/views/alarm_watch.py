"""How many false alarms a model's owner allowed, by quarter."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep.events.alarm_watch import WatchStepped
from modelkeep.events.false_alarms import a_quarter, quarter_of
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class AllowedRow:
    """`allowed` a quarter, as it was when the quarter's last window was counted."""

    model: str
    quarter: str
    allowed: float
    event: str


allowed = View("allowed_alarms", AllowedRow)
"""By `model/quarter` of a window's start (UTC), such as 2026Q1."""


@allowed.on(WatchStepped)
def stepped(event: WatchStepped, fact: Fact, rows: Rows[AllowedRow]) -> None:
    quarter = quarter_of(event.start)
    said = a_quarter(event.false_alarms, event.period)
    row = AllowedRow(event.model, quarter, said, str(fact.id))
    rows.put(f"{event.model}/{quarter}", row)


VIEWS = (allowed,)
