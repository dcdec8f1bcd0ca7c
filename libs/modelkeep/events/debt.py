"""What happens to a liability: incurred, charged, reassessed, accepted, cured.

Stream `debt-<tenant>.<liability>`. The journal is double: each event carries its
entries, which sum to zero in every unit. Units are minutes of work, minor units of a
currency, and micro-points of risk (a millionth of a point): integers, so that totals
are exact in any order.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from modelkeep.events.base import Event
from modelkeep.events.types import (
    Instant,
    Minor,
    Money,
    Person,
    RiskVector,
    Severity,
    Slug,
    Subject,
    Text,
    Tier,
    Title,
    Value,
)

DebtKind = Literal["technical", "data", "governance", "explainability"]

Origin = Literal["hand", "review", "finding", "exception", "alert", "card"]
"""What made it: a person, or another service's event. Reviews, findings, alerts and
cards cure what they caused.
"""

Account = Literal[
    "owed", "incurred", "accrued", "cured", "accepted", "drag", "drag_measured"
]
"""`owed` is the balance: cost to cure in minutes and money, carrying charge in points.
The others say why it moved, with the opposite sign. Drag is what was measured to have
been lost; it has a pair of accounts of its own and never touches the balance.
"""

Unit = Annotated[str, StringConstraints(pattern=r"^(minutes|points|[A-Z]{3})$")]
"""`points` are micro-points; three capitals are a currency's minor units."""

Rate = Annotated[int, Field(ge=0, lt=2**53)]
"""Micro-points a 30 days, incidents counted, before what being overdue makes of it."""

Minutes = Annotated[int, Field(ge=0, lt=2**31)]


class Entry(Value):
    account: Account
    unit: Unit
    amount: Minor


class DebtEvent(Event):
    """What every event of a liability says.

    `awaited` and `awaits`: when the clock was to come back to it, and when it is now
    (the next month's end, or the end of an acceptance).
    """

    liability: Slug
    model: Slug
    entries: Annotated[tuple[Entry, ...], Field(max_length=16)] = ()
    awaited: Instant | None = None
    awaits: Instant | None = None

    @model_validator(mode="after")
    def _balanced(self) -> Self:
        sums: Counter[str] = Counter()
        for entry in self.entries:
            sums[entry.unit] += entry.amount
        if any(sums.values()):
            raise ValueError("the entries do not sum to zero in every unit")
        return self


class Incurred(DebtEvent, name="debt.incurred"):
    """`source` is the event that caused it; without one it was entered by hand.

    `points_per_30d` is severity by tier by incident factor, in micro-points; past
    `due_at` it counts `overdue_times`. `card` is the rate card it was priced by.
    """

    kind: DebtKind
    vector: RiskVector
    origin: Origin
    title: Title
    severity: Severity
    tier: Tier
    minutes: Minutes
    money: Money | None = None
    points_per_30d: Rate
    overdue_times: Annotated[int, Field(ge=1, le=100)]
    owner: Subject
    since: Instant
    due_at: Instant | None = None
    card: Slug
    source: Slug | None = None
    by: Person


class Reassessed(DebtEvent, name="debt.reassessed"):
    """All that it is from `since` on; the entries hold the difference."""

    severity: Severity
    tier: Tier
    minutes: Minutes
    money: Money | None = None
    points_per_30d: Rate
    overdue_times: Annotated[int, Field(ge=1, le=100)]
    owner: Subject
    since: Instant
    due_at: Instant | None = None
    card: Slug
    reason: Text


class IncidentLinked(DebtEvent, name="debt.incident-linked"):
    """An incident it had a part in; a group of incidents counts once."""

    group: Slug
    points_per_30d: Rate
    since: Instant


class Charged(DebtEvent, name="debt.charged"):
    """Carrying charge up to `upto`: what had accrued by then, less what was posted."""

    upto: Instant
    points: Minor


class Cured(DebtEvent, name="debt.cured"):
    by: Person
    at: Instant
    evidence: Text
    source: Slug | None = None


class Accepted(DebtEvent, name="debt.accepted"):
    """Off the balance, and not charged, until `until`."""

    by: Person
    at: Instant
    until: Instant
    reason: Text


class AcceptanceExpired(DebtEvent, name="debt.acceptance-expired"):
    """What had been accepted is owed again."""

    at: Instant


class DragRecorded(DebtEvent, name="debt.drag-recorded"):
    """What it was measured to have cost between two moments, beside its balances."""

    start: Instant
    end: Instant
    minutes: Minutes = 0
    money: Money | None = None
    method: Text
    evidence: Text
    by: Person
