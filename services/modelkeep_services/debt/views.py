"""What debt answers from: liabilities, their journal by date, and the models' tiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from modelkeep import timekeeper
from modelkeep.events.debt import (
    AcceptanceExpired,
    Accepted,
    Account,
    Charged,
    Cured,
    DebtEvent,
    DragRecorded,
    IncidentLinked,
    Incurred,
    Reassessed,
)
from modelkeep.events.inventory import (
    CardAttached,
    ModelClassified,
    ModelRegistered,
    OverrideExpired,
    RoleAssigned,
)
from modelkeep.timekeeper import Due, due_key
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep_services.debt.liability import Liability, LiabilityEvent, evolve
from modelkeep_services.debt.rates import CARD


@dataclass(frozen=True)
class ModelRow:
    model: str
    business_line: str | None
    owner: str
    tier: int | None = None

    @property
    def charged_as(self) -> int:
        return CARD.tier_when_unclassified if self.tier is None else self.tier


@dataclass(frozen=True)
class EntryRow:
    account: Account
    unit: str
    amount: int


@dataclass(frozen=True)
class PostingRow:
    """Any event of a liability; most have entries."""

    liability: str
    model: str
    on: datetime
    event_id: str
    name: str
    entries: tuple[EntryRow, ...]
    source: str | None


@dataclass(frozen=True)
class Pointer:
    """The key of what is meant in another view."""

    key: str


models = View("models", ModelRow)
cards = View("cards", Pointer)
"""Digests of cards by model/version."""

liabilities = View("liabilities", Liability)
of_model = View("of_model", Pointer)
"""model/liability."""

journal = View("journal", PostingRow)
"""By date: when/liability/version."""

postings = View("postings", Pointer)
"""liability/version to the journal's keys."""

due = timekeeper.due_view()

EVENTS: tuple[type[LiabilityEvent], ...] = (
    Incurred,
    Reassessed,
    IncidentLinked,
    Charged,
    Cured,
    Accepted,
    AcceptanceExpired,
    DragRecorded,
)


# --- liabilities -------------------------------------------------------------------


def evolved(event: LiabilityEvent, _: Fact, rows: Rows[Liability]) -> None:
    after = evolve(rows.get(event.liability), event)
    if after is not None:
        rows.put(event.liability, after)


def posted(event: LiabilityEvent, fact: Fact, rows: Rows[PostingRow]) -> None:
    rows.put(
        _journal_key(event, fact),
        PostingRow(
            event.liability,
            event.model,
            dated(event, fact),
            str(fact.id),
            event.event_name,
            tuple(EntryRow(e.account, e.unit, e.amount) for e in event.entries),
            event.source if isinstance(event, Incurred | Cured) else None,
        ),
    )


def pointed(event: LiabilityEvent, fact: Fact, rows: Rows[Pointer]) -> None:
    rows.put(
        f"{event.liability}/{fact.version:08d}", Pointer(_journal_key(event, fact))
    )


def scheduled(event: LiabilityEvent, _: Fact, rows: Rows[Due]) -> None:
    if event.awaited is not None:
        rows.delete(due_key(event.awaited, "debt", event.liability))
    if event.awaits is not None:
        rows.put(
            due_key(event.awaits, "debt", event.liability),
            Due("debt", event.liability),
        )


def _on_all(view: View[object], apply: Callable[..., None]) -> None:
    for event in EVENTS:
        view.on(event)(apply)


for _view, _apply in (
    (liabilities, evolved),
    (journal, posted),
    (postings, pointed),
    (due, scheduled),
):
    _on_all(_view, _apply)  # type: ignore[arg-type]  # a view and its own apply


@of_model.on(Incurred)
def of(event: Incurred, _: Fact, rows: Rows[Pointer]) -> None:
    rows.put(f"{event.model}/{event.liability}", Pointer(event.liability))


def dated(event: DebtEvent, fact: Fact) -> datetime:
    """The day it belongs to; drag, to the end of what was measured."""
    match event:
        case Incurred() | Reassessed() | IncidentLinked():
            return event.since
        case Charged():
            return event.upto
        case Cured() | Accepted() | AcceptanceExpired():
            return event.at
        case DragRecorded():
            return event.end
        case _:
            return fact.effective_at


def _journal_key(event: DebtEvent, fact: Fact) -> str:
    on = dated(event, fact).astimezone(UTC)
    return f"{on:%Y-%m-%dT%H:%M:%S.%fZ}/{event.liability}/{fact.version:08d}"


# --- models ------------------------------------------------------------------------


@models.on(ModelRegistered)
def registered(event: ModelRegistered, _: Fact, rows: Rows[ModelRow]) -> None:
    rows.put(event.model, ModelRow(event.model, event.business_line, event.owner))


@models.on(ModelClassified)
def classified(event: ModelClassified, _: Fact, rows: Rows[ModelRow]) -> None:
    _change(rows, event.model, tier=event.tier)


@models.on(OverrideExpired)
def expired(event: OverrideExpired, _: Fact, rows: Rows[ModelRow]) -> None:
    _change(rows, event.model, tier=event.tier)


@models.on(RoleAssigned)
def assigned(event: RoleAssigned, _: Fact, rows: Rows[ModelRow]) -> None:
    if event.role == "owner":
        _change(rows, event.model, owner=event.subject)


def _change(rows: Rows[ModelRow], model: str, **what: object) -> None:
    row = rows.get(model)
    if row is not None:
        rows.put(model, replace(row, **what))  # type: ignore[arg-type]  # its own fields


@cards.on(CardAttached)
def attached(event: CardAttached, _: Fact, rows: Rows[Pointer]) -> None:
    rows.put(f"{event.model}/{event.version}", Pointer(event.card_digest))


# --- questions ---------------------------------------------------------------------


def open_of(read: Reader, model: str) -> list[Liability]:
    """Every liability of a model that is not cured."""
    found = [
        read.get(liabilities, row.key) for _, row in read.scan(of_model, f"{model}/")
    ]
    return [row for row in found if row is not None and row.cured_at is None]


VIEWS = (models, cards, liabilities, of_model, journal, postings, due)
