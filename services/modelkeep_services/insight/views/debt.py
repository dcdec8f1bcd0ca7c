"""What is owed, a row a liability."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from modelkeep.events.debt import (
    AcceptanceExpired,
    Accepted,
    Charged,
    Cured,
    DebtEvent,
    IncidentLinked,
    Incurred,
    Reassessed,
)
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class LiabilityRow:
    """`owed` is the balance by unit: minutes, micro-points, minor units of a currency.

    `points_per_30d` are micro-points; past `due_at` they count `overdue_times`.
    """

    model: str
    liability: str
    kind: str
    vector: str
    origin: str
    title: str
    severity: str
    tier: int
    owner: str
    since: datetime
    due_at: datetime | None
    points_per_30d: int
    overdue_times: int
    minutes: int
    source: str | None
    event: str
    owed: dict[str, int] = field(default_factory=dict)
    accepted_until: datetime | None = None
    cured_at: datetime | None = None
    cured_event: str | None = None

    @property
    def open(self) -> bool:
        """It is on the balance: neither cured nor accepted for now."""
        return self.cured_at is None and self.accepted_until is None

    def carrying(self, now: datetime) -> int:
        """Micro-points a 30 days, as things stand at `now`."""
        if not self.open:
            return 0
        overdue = self.due_at is not None and self.due_at < now
        return self.points_per_30d * (self.overdue_times if overdue else 1)


liabilities = View("liabilities", LiabilityRow)
"""By `model/liability`."""


def _posted(owed: dict[str, int], event: DebtEvent) -> dict[str, int]:
    sums = dict(owed)
    for entry in event.entries:
        if entry.account == "owed":
            sums[entry.unit] = sums.get(entry.unit, 0) + entry.amount
    return dict(sorted(sums.items()))


def _row(event: DebtEvent, rows: Rows[LiabilityRow]) -> tuple[str, LiabilityRow | None]:
    """Return the row with the event's entries posted."""
    key = f"{event.model}/{event.liability}"
    row = rows.get(key)
    return key, None if row is None else replace(row, owed=_posted(row.owed, event))


@liabilities.on(Incurred)
def incurred(event: Incurred, fact: Fact, rows: Rows[LiabilityRow]) -> None:
    rows.put(
        f"{event.model}/{event.liability}",
        LiabilityRow(
            model=event.model,
            liability=event.liability,
            kind=event.kind,
            vector=event.vector,
            origin=event.origin,
            title=event.title,
            severity=event.severity,
            tier=event.tier,
            owner=event.owner,
            since=event.since,
            due_at=event.due_at,
            points_per_30d=event.points_per_30d,
            overdue_times=event.overdue_times,
            minutes=event.minutes,
            source=event.source,
            event=str(fact.id),
            owed=_posted({}, event),
        ),
    )


@liabilities.on(Reassessed)
def reassessed(event: Reassessed, _: Fact, rows: Rows[LiabilityRow]) -> None:
    key, row = _row(event, rows)
    if row is not None:
        rows.put(
            key,
            replace(
                row,
                severity=event.severity,
                tier=event.tier,
                minutes=event.minutes,
                points_per_30d=event.points_per_30d,
                overdue_times=event.overdue_times,
                owner=event.owner,
                due_at=event.due_at,
            ),
        )


@liabilities.on(IncidentLinked)
def linked(event: IncidentLinked, _: Fact, rows: Rows[LiabilityRow]) -> None:
    key, row = _row(event, rows)
    if row is not None:
        rows.put(key, replace(row, points_per_30d=event.points_per_30d))


@liabilities.on(Charged)
def charged(event: Charged, _: Fact, rows: Rows[LiabilityRow]) -> None:
    key, row = _row(event, rows)
    if row is not None:
        rows.put(key, row)


@liabilities.on(Accepted)
def accepted(event: Accepted, _: Fact, rows: Rows[LiabilityRow]) -> None:
    key, row = _row(event, rows)
    if row is not None:
        rows.put(key, replace(row, accepted_until=event.until))


@liabilities.on(AcceptanceExpired)
def expired(event: AcceptanceExpired, _: Fact, rows: Rows[LiabilityRow]) -> None:
    key, row = _row(event, rows)
    if row is not None:
        rows.put(key, replace(row, accepted_until=None))


@liabilities.on(Cured)
def cured(event: Cured, fact: Fact, rows: Rows[LiabilityRow]) -> None:
    key, row = _row(event, rows)
    if row is not None:
        rows.put(key, replace(row, cured_at=event.at, cured_event=str(fact.id)))


VIEWS = (liabilities,)
