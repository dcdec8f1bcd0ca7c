"""Whether models stay within the false alarms their owners allowed this quarter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from modelkeep.events.false_alarms import METRICS, quarter_of
from modelkeep.views import Reader
from modelkeep_services.insight.views import alarm_watch
from modelkeep_services.insight.views.alarm_watch import AllowedRow
from modelkeep_services.insight.views.monitoring import AlertRow


class Spending(NamedTuple):
    """A model's budget of the quarter, and the alerts that people called false."""

    row: AllowedRow
    false: tuple[AlertRow, ...]

    @property
    def within(self) -> bool:
        return len(self.false) <= self.row.allowed


def spendings(
    read: Reader, alerts: Sequence[AlertRow], now: datetime
) -> list[Spending]:
    """Return those of the quarter that `now` lies in, of models that have a budget."""
    quarter = quarter_of(now)
    return [
        Spending(
            row,
            tuple(
                alert
                for alert in alerts
                if alert.model == row.model
                and alert.metric in METRICS
                and alert.true_alarm is False
                and quarter_of(alert.start or alert.raised_at) == quarter
            ),
        )
        for _, row in read.scan(alarm_watch.allowed)
        if row.quarter == quarter
    ]
