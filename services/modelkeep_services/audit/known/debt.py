"""What was owed: liabilities, open, accepted for a while, or cured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from modelkeep.events.debt import (
    AcceptanceExpired,
    Accepted,
    Cured,
    Incurred,
    Reassessed,
)
from modelkeep.events.types import Money
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class LiabilityRow:
    liability: str
    model: str
    kind: str
    vector: str
    title: str
    severity: str
    minutes: int
    money: Money | None
    owner: str
    status: str
    due_at: datetime | None
    event_id: str


liabilities = View("liabilities", LiabilityRow)


@liabilities.on(Incurred)
def _incurred(event: Incurred, fact: Fact, rows: Rows[LiabilityRow]) -> None:
    row = LiabilityRow(
        liability=event.liability,
        model=event.model,
        kind=event.kind,
        vector=event.vector,
        title=event.title,
        severity=event.severity,
        minutes=event.minutes,
        money=event.money,
        owner=event.owner,
        status="open",
        due_at=event.due_at,
        event_id=str(fact.id),
    )
    rows.put(event.liability, row)


@liabilities.on(Reassessed)
def _reassessed(event: Reassessed, fact: Fact, rows: Rows[LiabilityRow]) -> None:
    row = rows.get(event.liability)
    if row is not None:
        again = replace(
            row,
            severity=event.severity,
            minutes=event.minutes,
            money=event.money,
            owner=event.owner,
            due_at=event.due_at,
            event_id=str(fact.id),
        )
        rows.put(event.liability, again)


@liabilities.on(Cured)
def _cured(event: Cured, fact: Fact, rows: Rows[LiabilityRow]) -> None:
    _is(rows, event.liability, "cured", fact)


@liabilities.on(Accepted)
def _accepted(event: Accepted, fact: Fact, rows: Rows[LiabilityRow]) -> None:
    _is(rows, event.liability, "accepted", fact)


@liabilities.on(AcceptanceExpired)
def _owed_again(event: AcceptanceExpired, fact: Fact, rows: Rows[LiabilityRow]) -> None:
    _is(rows, event.liability, "open", fact)


def _is(rows: Rows[LiabilityRow], key: str, status: str, fact: Fact) -> None:
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, status=status, event_id=str(fact.id)))


VIEWS: Final = (liabilities,)
