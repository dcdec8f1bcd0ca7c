"""History's liabilities under another rate card: what they would have been charged.

Each liability's own events are folded as ever, with the figures that a card gave put in
by another. What a person or a cause stated (a finding's severity and date, a cure's
cost) is stated still.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

from modelkeep.events.debt import IncidentLinked, Incurred, Reassessed
from modelkeep.events.inventory import ModelClassified
from modelkeep_services.debt.accrual import accrued
from modelkeep_services.debt.liability import Liability, LiabilityEvent, evolve
from modelkeep_services.debt.rates import Caused, RateCard

STATES_SEVERITY: Final = frozenset({"finding", "alert"})
STATES_DATE: Final = frozenset({"finding", "exception"})


@dataclass(frozen=True)
class Priced:
    """One liability as it was charged, and by the other card.

    `charge` in micro-points within the period, `carrying` a 30 days at its end.
    """

    liability: str
    model: str
    title: str
    status: str
    charge_was: int
    charge_is: int
    carrying_was: int
    carrying_is: int
    minutes_were: int
    minutes_are: int

    @property
    def moved(self) -> bool:
        return (self.charge_was, self.carrying_was, self.minutes_were) != (
            self.charge_is,
            self.carrying_is,
            self.minutes_are,
        )


@dataclass
class Repricing:
    """Fold the log's events, in their order, twice."""

    card: RateCard
    was: dict[str, Liability] = field(default_factory=dict)
    now: dict[str, Liability] = field(default_factory=dict)
    classified: set[str] = field(default_factory=set)

    def take(self, event: LiabilityEvent | ModelClassified) -> None:
        if isinstance(event, ModelClassified):
            self.classified.add(event.model)
            return
        name = event.liability
        was, now = self.was.get(name), self.now.get(name)
        other = self._repriced(event, was, now)
        for fold, after in (
            (self.was, evolve(was, event)),
            (self.now, evolve(now, other)),
        ):
            if after is not None:
                fold[name] = after

    def _repriced(
        self, event: LiabilityEvent, was: Liability | None, now: Liability | None
    ) -> LiabilityEvent:
        match event:
            case Incurred():
                return self._incurred(event)
            case Reassessed() if was is not None and now is not None:
                return self._reassessed(event, was, now)
            case IncidentLinked() if now is not None:
                points = self.card.points_per_30d(
                    now.severity, now.tier, len(now.incidents) + 1
                )
                return event.model_copy(update={"points_per_30d": points})
        return event

    def _incurred(self, event: Incurred) -> Incurred:
        tier, card = event.tier, self.card
        said: dict[str, object] = {}
        if event.source is not None:
            if event.model not in self.classified:
                tier = card.tier_when_unclassified
            origin = cast("Caused", event.origin)
            terms = card.terms(
                origin,
                tier,
                event.since,
                severity=event.severity if origin in STATES_SEVERITY else None,
                due_at=event.due_at if origin in STATES_DATE else None,
            )
            said = terms._asdict()
        priced = event.model_copy(update={**said, "tier": tier, "card": card.card})
        return priced.model_copy(
            update={
                "points_per_30d": card.points_per_30d(priced.severity, tier, 0),
                "overdue_times": card.overdue_times,
            }
        )

    def _reassessed(
        self, event: Reassessed, was: Liability, now: Liability
    ) -> Reassessed:
        """What was reassessed then; the rest stays as the other card has it."""
        kept = {
            name: getattr(now, name)
            for name in ("severity", "minutes", "money", "due_at")
            if getattr(event, name) == getattr(was, name)
        }
        priced = event.model_copy(update={**kept, "card": self.card.card})
        points = self.card.points_per_30d(
            priced.severity, priced.tier, len(now.incidents)
        )
        return priced.model_copy(
            update={
                "points_per_30d": points,
                "overdue_times": self.card.overdue_times,
            }
        )

    def found(self, start: datetime | None, end: datetime) -> list[Priced]:
        return [
            _priced(self.was[name], self.now[name], start, end)
            for name in sorted(self.was)
        ]


def repriced(
    events: Iterable[LiabilityEvent | ModelClassified],
    card: RateCard,
    start: datetime | None,
    end: datetime,
) -> list[Priced]:
    fold = Repricing(card)
    for event in events:
        fold.take(event)
    return fold.found(start, end)


def _priced(
    was: Liability, now: Liability, start: datetime | None, end: datetime
) -> Priced:
    return Priced(
        was.liability,
        was.model,
        was.title,
        was.status,
        _charge(was, start, end),
        _charge(now, start, end),
        was.carrying(end),
        now.carrying(end),
        was.minutes,
        now.minutes,
    )


def _charge(one: Liability, start: datetime | None, end: datetime) -> int:
    before = accrued(one.stretches, start) if start is not None else 0
    return accrued(one.stretches, end) - before
