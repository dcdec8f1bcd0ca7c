"""What the log knows of past verdicts, read without a view and without writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from modelkeep.errors import Corrupt, Invalid
from modelkeep.events.base import decode
from modelkeep.events.inventory import SloDefined
from modelkeep.events.policy import (
    Approval,
    Barred,
    BundleActivated,
    BundleProposed,
    Covered,
    Owed,
    Proposal,
    VerdictGiven,
    Waiver,
)
from modelkeep.events.types import Money
from modelkeep.policy.program import Program
from modelkeep.store.port import Filter, Recorded, Store
from modelkeep_services.policy.in_force import compiled

T = TypeVar("T", bound=BaseModel)
Tell = Callable[[int, int], None]
"""Told how far the log has been read, of how far."""

AROUND: Final = (BundleProposed.event_name, SloDefined.event_name)


class Lean(BaseModel):
    """A part of an event: what is not asked for is passed over, which is quicker."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RuleWas(Lean):
    rule: str
    denies: bool


class Rules(Lean):
    """The greater part of a verdict: asked for only where it matters."""

    rules: tuple[RuleWas, ...] = ()


class Given(Lean):
    """A verdict as it was given, without its sentences and operands."""

    request: str
    action: str
    model: str
    version: str | None = None
    environment: str | None = None
    tier: int | None = None
    verdict: str
    bundle: str
    descriptor: str
    facts: str
    missing: tuple[str, ...] = ()
    owed: tuple[Owed, ...] = ()
    parties: tuple[Barred, ...] = ()
    approvals: tuple[Approval, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    envelope: Covered | None = None
    proposals: tuple[Proposal, ...] = ()
    escalations: tuple[str, ...] = ()


class Past(NamedTuple):
    """One verdict of history, where it stands, and all that was stored of it."""

    event: str
    known_at: datetime
    given: Given
    data: bytes

    def stopped_by(self) -> frozenset[str]:
        """The rules that denied it then."""
        rules = Rules.model_validate_json(self.data).rules
        return frozenset(one.rule for one in rules if one.denies)


@dataclass(frozen=True)
class Period:
    """[start, end) by the ledger's clock; None is open. Empty words mean all."""

    start: datetime | None = None
    end: datetime | None = None
    models: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise Invalid.field("start", "is not before the end")

    def holds(self, known_at: datetime) -> bool:
        early = self.start is not None and known_at < self.start
        return not early and (self.end is None or known_at < self.end)

    def asks_for(self, model: str, action: str) -> bool:
        return (not self.models or model in self.models) and (
            not self.actions or action in self.actions
        )


@dataclass(frozen=True)
class Around:
    """What the log says beside verdicts: bundles by digest, an hour's price by model.

    `programs` compiles what was stored; None where this program cannot read it.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, Mapping[str, Money]] = field(default_factory=dict)
    _compiled: dict[str, Program | None] = field(default_factory=dict)

    def program(self, digest: str) -> Program | None:
        if digest not in self._compiled:
            self._compiled[digest] = _compiled(self.texts.get(digest))
        return self._compiled[digest]


def _compiled(text: str | None) -> Program | None:
    try:
        return compiled(text) if text is not None else None
    except Invalid:
        return None


def around(store: Store, tenant: str) -> Around:
    texts: dict[str, str] = {}
    prices: dict[str, dict[str, Money]] = {}
    for recorded in store.read_all(only=Filter("name", AROUND)):
        if recorded.meta.get("tenant") != tenant:
            continue
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        if isinstance(event, BundleProposed):
            texts[event.bundle] = event.text
        elif isinstance(event, SloDefined):
            of_model = prices.setdefault(event.model, {})
            of_model.pop(event.slo, None)
            if event.money_per_hour is not None:
                of_model[event.slo] = event.money_per_hour
    return Around(texts, prices)


def in_force_at_head(store: Store, tenant: str) -> str | None:
    """The digest of the bundle in force now; None before there was any."""
    found = None
    only = Filter("name", (BundleActivated.event_name,))
    for recorded in store.read_all(only=only):
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        if isinstance(event, BundleActivated) and recorded.meta["tenant"] == tenant:
            found = event.bundle
    return found


def verdicts(
    store: Store, tenant: str, period: Period, tell: Tell = lambda _done, _of: None
) -> Iterator[Past]:
    """Raises Corrupt for an event that is none."""
    for recorded, known_at in _recorded(store, tenant, period, tell):
        given = lean(recorded)
        if period.asks_for(given.model, given.action):
            yield Past(str(recorded.uuid), known_at, given, recorded.data)


def whole_verdicts(
    store: Store, tenant: str, period: Period, tell: Tell = lambda _done, _of: None
) -> Iterator[tuple[str, VerdictGiven]]:
    """The same verdicts with all that they say, each behind its event's id."""
    for recorded, _ in _recorded(store, tenant, period, tell):
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        if not isinstance(event, VerdictGiven):
            continue
        if period.asks_for(event.model, event.action):
            yield str(recorded.uuid), event


def _recorded(
    store: Store, tenant: str, period: Period, tell: Tell
) -> Iterator[tuple[Recorded, datetime]]:
    head = store.head()
    only = Filter("name", (VerdictGiven.event_name,))
    for recorded in store.read_all(only=only):
        if recorded.position > head or recorded.name != VerdictGiven.event_name:
            continue
        tell(recorded.position, head)
        meta = recorded.meta
        known_at = datetime.fromisoformat(meta["known_at"])
        if meta.get("tenant") == tenant and period.holds(known_at):
            yield recorded, known_at
    tell(head, head)


def lean(recorded: Recorded) -> Given:
    try:
        if recorded.schema_version == VerdictGiven.event_version:
            return Given.model_validate_json(recorded.data)
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        return Given.model_validate(event.model_dump())
    except ValidationError as error:
        raise Corrupt(f"verdict {recorded.uuid} cannot be read: {error}") from None
