"""A liability as its events left it: what is owed, and since when at which charge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from modelkeep.events.debt import (
    AcceptanceExpired,
    Accepted,
    Account,
    Charged,
    Cured,
    DebtKind,
    DragRecorded,
    Entry,
    IncidentLinked,
    Incurred,
    Origin,
    Reassessed,
)
from modelkeep.events.types import Money, Person, RiskVector, Severity
from modelkeep_services.debt.accrual import Stretch, accrued

LiabilityEvent = (
    Incurred
    | Reassessed
    | IncidentLinked
    | Charged
    | Cured
    | Accepted
    | AcceptanceExpired
    | DragRecorded
)


@dataclass(frozen=True)
class Liability:
    """Also the row of the view. `owed` and `accepted` are balances by unit; `posted`
    is what was charged since it was incurred, up to `upto`. Rate is what it is charged
    unless it is accepted.
    """

    liability: str
    model: str
    kind: DebtKind
    vector: RiskVector
    origin: Origin
    title: str
    severity: Severity
    tier: int
    minutes: int
    money: Money | None
    rate: int
    times: int
    owner: str
    since: datetime
    due_at: datetime | None
    card: str
    source: str | None
    by: Person
    stretches: tuple[Stretch, ...]
    upto: datetime
    posted: int = 0
    owed: Mapping[str, int] = field(default_factory=dict)
    accepted: Mapping[str, int] = field(default_factory=dict)
    incidents: tuple[str, ...] = ()
    accepted_until: datetime | None = None
    cured_at: datetime | None = None
    awaits: datetime | None = None

    @property
    def status(self) -> str:
        if self.cured_at is not None:
            return "cured"
        return "open" if self.accepted_until is None else "accepted"

    def carrying(self, now: datetime) -> int:
        """Micro-points a 30 days, being overdue counted."""
        if self.status != "open":
            return 0
        return self.rate * (self.times if self.overdue(now) else 1)

    def overdue(self, now: datetime) -> bool:
        return self.due_at is not None and self.due_at < now

    def unposted(self, upto: datetime) -> int:
        return max(0, accrued(self.stretches, upto) - self.posted)


def evolve(state: Liability | None, event: LiabilityEvent) -> Liability | None:
    if isinstance(event, Incurred):
        return _begun(event)
    return None if state is None else evolved(state, event)


def _begun(event: Incurred) -> Liability:
    stretch = Stretch(
        event.since, event.points_per_30d, event.due_at, event.overdue_times
    )
    return Liability(
        liability=event.liability,
        model=event.model,
        kind=event.kind,
        vector=event.vector,
        origin=event.origin,
        title=event.title,
        severity=event.severity,
        tier=event.tier,
        minutes=event.minutes,
        money=event.money,
        rate=event.points_per_30d,
        times=event.overdue_times,
        owner=event.owner,
        since=event.since,
        due_at=event.due_at,
        card=event.card,
        source=event.source,
        by=event.by,
        stretches=(stretch,),
        upto=event.since,
        owed=_balance({}, event.entries, "owed"),
        awaits=event.awaits,
    )


def evolved(state: Liability, event: LiabilityEvent) -> Liability:
    state = replace(
        state,
        owed=_balance(state.owed, event.entries, "owed"),
        accepted=_balance(state.accepted, event.entries, "accepted"),
        awaits=event.awaits,
    )
    match event:
        case Incurred():
            state = _begun(event)
        case Reassessed():
            state = _stretched(_reassessed(state, event), event.since)
        case IncidentLinked():
            incidents = (*state.incidents, event.group)
            known = replace(state, incidents=incidents, rate=event.points_per_30d)
            state = _stretched(known, event.since)
        case Charged():
            posted = state.posted + event.points
            state = replace(state, posted=posted, upto=event.upto)
        case Cured():
            state = _stretched(replace(state, cured_at=event.at), event.at)
        case Accepted():
            state = _stretched(replace(state, accepted_until=event.until), event.at)
        case AcceptanceExpired():
            state = _stretched(replace(state, accepted_until=None), event.at)
        case DragRecorded():
            pass
    return state


def _reassessed(state: Liability, event: Reassessed) -> Liability:
    return replace(
        state,
        severity=event.severity,
        tier=event.tier,
        minutes=event.minutes,
        money=event.money,
        rate=event.points_per_30d,
        times=event.overdue_times,
        owner=event.owner,
        due_at=event.due_at,
        card=event.card,
    )


def _stretched(state: Liability, since: datetime) -> Liability:
    """Charge from `since` on what it is charged now: nothing unless it is open."""
    rate = state.rate if state.status == "open" else 0
    stretch = Stretch(since, rate, state.due_at, state.times)
    return replace(state, stretches=(*state.stretches, stretch), upto=since)


def _balance(
    before: Mapping[str, int], entries: Iterable[Entry], account: Account
) -> dict[str, int]:
    sums = dict(before)
    for entry in entries:
        if entry.account == account:
            sums[entry.unit] = sums.get(entry.unit, 0) + entry.amount
    return {unit: sums[unit] for unit in sorted(sums) if sums[unit]}
