"""The rate card: what a liability is charged, and what its cure is taken to cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib.resources import files
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from modelkeep.events.debt import DebtKind, Minutes
from modelkeep.events.types import (
    Currency,
    Money,
    RiskVector,
    Severity,
    Slug,
    Text,
    Tier,
    Value,
)

MICRO: Final = 1_000_000
"""Micro-points a point."""

Whole = Annotated[int, Field(ge=1, le=1_000_000)]
Caused = Literal["review", "finding", "exception", "alert", "card"]


class CureRate(Value):
    """Of an automatic liability; `days` until it is overdue, by when its cause says
    nothing of it.
    """

    severity: Severity
    days: Whole
    minutes: dict[Tier, Minutes]
    money: dict[Tier, Money] = Field(default_factory=dict)

    @property
    def span(self) -> timedelta:
        return timedelta(days=self.days)


class Terms(NamedTuple):
    """What an automatic liability is entered at."""

    severity: Severity
    minutes: int
    money: Money | None
    due_at: datetime


class RateCard(Value):
    card: Slug
    says: Text
    severity_points: dict[Severity, Whole]
    tier_weights: dict[Tier, Whole]
    tier_when_unclassified: Tier
    overdue_times: Whole
    incident_step_permille: Whole
    incident_most_permille: Whole
    acceptance_days: Whole
    hour_costs: dict[Currency, Whole]
    """Minor units an hour: only to rank money beside work, never to post it."""

    cures: dict[Caused, CureRate]
    kinds: dict[RiskVector, DebtKind]

    def terms(
        self,
        origin: Caused,
        tier: Tier,
        since: datetime,
        *,
        severity: Severity | None = None,
        due_at: datetime | None = None,
    ) -> Terms:
        """What the cause does not say, the card does."""
        rate = self.cures[origin]
        return Terms(
            severity or rate.severity,
            rate.minutes[tier],
            rate.money.get(tier),
            due_at or since + rate.span,
        )

    def points_per_30d(self, severity: Severity, tier: Tier, incidents: int) -> int:
        """Micro-points, incidents counted; being overdue is not.

        >>> CARD.points_per_30d("high", 2, 0) // MICRO
        40
        >>> CARD.points_per_30d("high", 2, 3) // MICRO
        100
        >>> CARD.points_per_30d("high", 2, 99) // MICRO
        120
        """
        weight = self.severity_points[severity] * self.tier_weights[tier]
        step = self.incident_step_permille * incidents
        factor = min(1_000 + step, self.incident_most_permille)
        return weight * factor * MICRO // 1_000

    def cost_minutes(self, minutes: int, money: Money | None) -> float:
        """Minutes of work that the cure comes to, for ranking: money at an hour's cost.

        A currency the card does not know counts for nothing.
        """
        if money is None or money.currency not in self.hour_costs:
            return float(minutes)
        return minutes + 60 * money.minor / self.hour_costs[money.currency]


def read_card(text: bytes) -> RateCard:
    """A card in JSON. Raises pydantic's ValidationError."""
    return TypeAdapter(RateCard).validate_json(text)


CARD: Final = read_card((files(__package__) / "rates.v1.json").read_bytes())
