"""What a change writes: the charges due by then, and entries that sum to zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from modelkeep.events.debt import (
    AcceptanceExpired,
    Accepted,
    Account,
    Charged,
    Cured,
    Entry,
    IncidentLinked,
    Reassessed,
)
from modelkeep.events.types import Money, Person
from modelkeep_services.debt.accrual import month_end, month_ends
from modelkeep_services.debt.liability import Liability, LiabilityEvent, evolved
from modelkeep_services.debt.rates import CARD


class Books:
    """What a change at `at` writes: first the charges that are due by then."""

    def __init__(self, state: Liability, at: datetime) -> None:
        self._state, self._at = state, at
        self._events: list[LiabilityEvent] = []
        if state.status == "open":
            for end in month_ends(state.upto, at):
                self._charge(end)
            if self._state.unposted(at):
                self._charge(at)

    def _write(self, event: LiabilityEvent) -> Sequence[LiabilityEvent]:
        self._events.append(event)
        self._state = evolved(self._state, event)
        return self._events

    def _charge(self, upto: datetime) -> None:
        state, points = self._state, self._state.unposted(upto)
        self._write(
            Charged(
                liability=state.liability,
                model=state.model,
                upto=upto,
                points=points,
                entries=moved("accrued", "owed", {"points": points}),
                awaited=state.awaits,
                awaits=month_end(upto),
            )
        )

    def reassess(self, new: Mapping[str, object]) -> Sequence[LiabilityEvent]:
        state = self._state
        event = Reassessed.model_validate(
            {
                **new,
                "liability": state.liability,
                "model": state.model,
                "points_per_30d": 0,
                "overdue_times": CARD.overdue_times,
                "since": self._at,
                "card": CARD.card,
                "awaited": state.awaits,
                "awaits": state.awaits,
            }
        )
        rate = CARD.points_per_30d(event.severity, event.tier, len(state.incidents))
        now, before = (
            cost_of(event.minutes, event.money),
            cost_of(state.minutes, state.money),
        )
        more = {unit: now.get(unit, 0) - before.get(unit, 0) for unit in now | before}
        balance: Account = "owed" if state.accepted_until is None else "accepted"
        entries = moved("incurred", balance, more)
        return self._write(
            event.model_copy(update={"points_per_30d": rate, "entries": entries})
        )

    def link(self, group: str) -> Sequence[LiabilityEvent]:
        state = self._state
        incidents = len(state.incidents) + 1
        return self._write(
            IncidentLinked(
                liability=state.liability,
                model=state.model,
                group=group,
                points_per_30d=CARD.points_per_30d(
                    state.severity,
                    state.tier,
                    incidents,
                ),
                since=self._at,
                awaited=state.awaits,
                awaits=state.awaits,
            )
        )

    def cure(
        self, by: Person, evidence: str, source: str | None = None
    ) -> Sequence[LiabilityEvent]:
        state = self._state
        return self._write(
            Cured(
                liability=state.liability,
                model=state.model,
                by=by,
                at=self._at,
                evidence=evidence,
                source=source,
                entries=(
                    *moved("owed", "cured", state.owed),
                    *moved("accepted", "cured", state.accepted),
                ),
                awaited=state.awaits,
            )
        )

    def accept(
        self, by: Person, until: datetime, reason: str
    ) -> Sequence[LiabilityEvent]:
        state = self._state
        return self._write(
            Accepted(
                liability=state.liability,
                model=state.model,
                by=by,
                at=self._at,
                until=until,
                reason=reason,
                entries=moved("owed", "accepted", state.owed),
                awaited=state.awaits,
                awaits=until,
            )
        )

    def _expire(self, at: datetime) -> None:
        state = self._state
        self._write(
            AcceptanceExpired(
                liability=state.liability,
                model=state.model,
                at=at,
                entries=moved("accepted", "owed", state.accepted),
                awaited=state.awaits,
                awaits=month_end(at),
            )
        )

    def fall_due(self, instant: datetime) -> Sequence[LiabilityEvent]:
        """All that is due by `instant`: ends of months, and of an acceptance."""
        while (due := self._state.awaits) is not None and due <= instant:
            if self._state.accepted_until is None:
                self._charge(due)
            else:
                self._expire(due)
        return self._events


def cost_of(minutes: int, money: Money | None) -> dict[str, int]:
    cost = {"minutes": minutes}
    if money is not None:
        cost[money.currency] = money.minor
    return cost


def moved(
    source: Account, target: Account, amounts: Mapping[str, int]
) -> tuple[Entry, ...]:
    """Two entries a unit that sum to zero; none for nothing."""
    return tuple(
        Entry(account=account, unit=unit, amount=amount)
        for unit, moved in sorted(amounts.items())
        if moved
        for account, amount in ((target, moved), (source, -moved))
    )
