"""What a backtest found: verdicts that flip, rules that tell nothing apart, costs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from modelkeep.errors import Invalid
from modelkeep.events.types import Money
from modelkeep_services.policy.history import Period

NOT_EVALUABLE: Final = "not_evaluable"
NOT_IN_BUNDLE: Final = "(the bundle knows no such question)"
INCOMPLETE: Final = "(what the action requires)"
UNCOVERED: Final = "(a policy that must cover it)"
"""Words in a rule's place, where no rule of a bundle denied."""

LONGEST_MINUTES: Final = 10_000
ORDER: Final = ("deny", "pending", "allow")
"""From the strictest: a step to the right loosens."""


class Exemplar(NamedTuple):
    """One verdict behind a figure; `says` are the candidate's sentences."""

    request: str
    event: str
    model: str
    known_at: datetime
    was: str
    now: str
    says: tuple[str, ...]


@dataclass
class Rule:
    """How one rule of the candidate answered. `fired`: it stopped, warned or proposed.

    `stops` and `frees` are flips it took part in: to a deny, and from one.
    """

    rule: str
    asked: int = 0
    fired: int = 0
    unanswered: int = 0
    stops: int = 0
    frees: int = 0
    exemplars: list[Exemplar] = field(default_factory=list)

    @property
    def real(self) -> bool:
        """Not words in a rule's place."""
        return "/" in self.rule


@dataclass
class Cell:
    """Verdicts of one tier and action that were one thing and are another."""

    tier: int | None
    action: str
    was: str
    now: str
    count: int = 0
    exemplars: list[Exemplar] = field(default_factory=list)


class Pair(NamedTuple):
    """The same figure as it was and as the candidate has it."""

    was: int
    now: int


@dataclass(frozen=True)
class Assumed:
    """What a person states and nothing here can know."""

    minutes_per_approval: float | None = None

    def __post_init__(self) -> None:
        minutes = self.minutes_per_approval
        if (
            minutes is not None and not 0 <= minutes <= LONGEST_MINUTES
        ):  # NaN is neither
            raise Invalid.field("minutes_per_approval", "is from 0 to 10,000")


@dataclass
class Report:
    """What a backtest found. See the module for what it can and cannot say."""

    bundle: str
    name: str
    version: str
    period: Period
    assumed: Assumed = field(default_factory=Assumed)
    verdicts: int = 0
    first: datetime | None = None
    last: datetime | None = None
    cells: dict[tuple[int | None, str, str, str], Cell] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    freed: dict[str, Rule] = field(default_factory=dict)
    """Rules of past bundles that stopped what the candidate lets pass."""
    lacking: Counter[str] = field(default_factory=Counter)
    not_evaluable: int = 0
    denied_anyway: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    proposals_gained: Counter[str] = field(default_factory=Counter)
    proposals_lost: Counter[str] = field(default_factory=Counter)
    escalations_were: int = 0
    escalations_are: int = 0
    approvals_were: int = 0
    approvals_are: int = 0
    flipped: set[str] = field(default_factory=set)
    prices: Mapping[str, Mapping[str, Money]] = field(default_factory=dict)

    @property
    def flips(self) -> int:
        return sum(cell.count for cell in self.cells.values() if _flipped(cell))

    @property
    def loosened(self) -> int:
        return sum(c.count for c in self.cells.values() if _step(c) > 0)

    @property
    def tightened(self) -> int:
        return sum(c.count for c in self.cells.values() if _step(c) < 0)

    def never_fired(self) -> list[str]:
        return sorted(r.rule for r in self.rules.values() if r.asked and not r.fired)

    def never_asked(self) -> list[str]:
        return sorted(r.rule for r in self.rules.values() if not r.asked and r.real)

    def always_fired(self) -> list[str]:
        return sorted(
            r.rule for r in self.rules.values() if r.asked and r.fired == r.asked
        )

    def hours(self) -> tuple[float, float] | None:
        """Reviewers' hours then and by the candidate; None without an assumption."""
        minutes = self.assumed.minutes_per_approval
        if minutes is None:
            return None
        both = (self.approvals_were, self.approvals_are)
        was, now = (round(count * minutes / 60, 4) for count in both)
        return was, now

    def money(self) -> dict[str, int]:
        """What an hour beyond all their hard limits costs, of the models whose verdicts
        flip: minor units by currency.
        """
        found: Counter[str] = Counter()
        for model in self.flipped:
            for price in self.prices.get(model, {}).values():
                found[price.currency] += price.minor
        return dict(sorted(found.items()))

    def unpriced(self) -> list[str]:
        return sorted(model for model in self.flipped if not self.prices.get(model))


def _flipped(cell: Cell) -> bool:
    return cell.now not in {cell.was, NOT_EVALUABLE}


def _step(cell: Cell) -> int:
    if cell.now == NOT_EVALUABLE:
        return 0
    return ORDER.index(cell.now) - ORDER.index(cell.was)


# --- as a document -------------------------------------------------------------------


def document(report: Report) -> dict[str, object]:
    """A report as plain data: the same history and candidate, the same bytes."""
    hours, money = report.hours(), report.money()
    period = report.period
    return {
        "bundle": report.bundle,
        "name": report.name,
        "version": report.version,
        "from": _when(period.start),
        "to": _when(period.end),
        "models": sorted(period.models),
        "actions": sorted(period.actions),
        "first": _when(report.first),
        "last": _when(report.last),
        "order": "first",
        "verdicts": report.verdicts,
        "flips": report.flips,
        "loosened": report.loosened,
        "tightened": report.tightened,
        "not_evaluable": {
            "verdicts": report.not_evaluable,
            "denied_whatever_these_facts": report.denied_anyway,
            "facts": dict(sorted(report.lacking.items())),
            "unreadable": dict(sorted(report.unreadable.items())),
        },
        "matrix": [
            _cell(report.cells[key]) for key in sorted(report.cells, key=_order)
        ],
        "rules": [_rule(report.rules[name]) for name in sorted(report.rules)],
        "freed_from": [_rule(report.freed[name]) for name in sorted(report.freed)],
        "never_asked": report.never_asked(),
        "never_fired": report.never_fired(),
        "always_fired": report.always_fired(),
        "proposals": {
            "gained": dict(sorted(report.proposals_gained.items())),
            "lost": dict(sorted(report.proposals_lost.items())),
        },
        "escalations": {"was": report.escalations_were, "now": report.escalations_are},
        "approvals_owed": {"was": report.approvals_were, "now": report.approvals_are},
        "reviewer_hours": None
        if hours is None
        else {
            "was": hours[0],
            "now": hours[1],
            "minutes_per_approval": report.assumed.minutes_per_approval,
        },
        "money_per_hour_beyond_limits": money or None,
        "models_without_a_price": report.unpriced(),
    }


def digest(said: Mapping[str, object]) -> str:
    """Of a document, as two approvers would name it."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _order(key: tuple[int | None, str, str, str]) -> tuple[int, str, str, str]:
    tier, *rest = key
    return (9 if tier is None else tier, *rest)  # type: ignore[return-value]  # three more


def _cell(cell: Cell) -> dict[str, object]:
    return {
        "tier": cell.tier,
        "action": cell.action,
        "was": cell.was,
        "now": cell.now,
        "verdicts": cell.count,
        "exemplars": [_exemplar(one) for one in cell.exemplars],
    }


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "rule": rule.rule,
        "asked": rule.asked,
        "fired": rule.fired,
        "unanswered": rule.unanswered,
        "stops": rule.stops,
        "frees": rule.frees,
        "exemplars": [_exemplar(one) for one in rule.exemplars],
    }


def _exemplar(one: Exemplar) -> dict[str, object]:
    return {**one._asdict(), "known_at": _when(one.known_at), "says": list(one.says)}


def _when(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat()
