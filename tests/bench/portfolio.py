"""A portfolio to measure on: its events, three views over them, and a ledger full.

A thousand models, each registered, tiered, given versions and deployed, then watched:
most of what happens is windows that close and alerts that come and go. Every event
changes the inventory's row of its model and writes to two more views on average, so the
history has about three rows an event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID

from modelkeep.events.base import Event, encode
from modelkeep.events.types import Count, Finite, Slug, Subject, Text, Tier, Title
from modelkeep.ledger import stamp, stream_name
from modelkeep.store.port import NO_STREAM, NewEvent
from modelkeep.store.sqlite import SqliteStore
from modelkeep.views import Fact, Rows, View

TENANT: Final = "main"
MODELS: Final = 1_000
STARTED: Final = datetime(2025, 1, 1, tzinfo=UTC)
APART: Final = timedelta(seconds=31)
"""From one event to the next, as the ledger's clock has it."""

APPEND: Final = 100
ROUNDS: Final = 4
"""At least so often it is each model's turn: half way, all of them exist."""


class Registered(Event, name="bench.registered"):
    model: Slug
    title: Title
    owner: Subject
    purpose: Text


class Tiered(Event, name="bench.tiered"):
    model: Slug
    tier: Tier
    drivers: tuple[Title, ...]


class Deployed(Event, name="bench.deployed"):
    model: Slug
    version: Slug
    share: Finite


class WindowClosed(Event, name="bench.window-closed"):
    model: Slug
    version: Slug
    feature: Slug
    rows: Count
    psi: Finite
    threshold: Finite


class AlertRaised(Event, name="bench.alert-raised"):
    model: Slug
    alert: Slug
    severity: Title
    cause: Text


class AlertClosed(Event, name="bench.alert-closed"):
    model: Slug
    alert: Slug


@dataclass(frozen=True)
class ModelRow:
    model: str
    title: str
    owner: str
    purpose: str
    registered_at: datetime
    changed_at: datetime
    tier: int = 0
    live: str = ""
    windows: int = 0
    breaches: int = 0
    open_alerts: int = 0


@dataclass(frozen=True)
class WindowRow:
    rows: int
    psi: float
    breached: bool
    at: datetime
    evidence: str


@dataclass(frozen=True)
class AlertRow:
    model: str
    severity: str
    cause: str
    raised_at: datetime


@dataclass(frozen=True)
class DayRow:
    windows: int = 0
    rows: int = 0
    breaches: int = 0


models = View("models", ModelRow)
windows = View("windows", WindowRow)
alerts = View("alerts", AlertRow)
days = View("days", DayRow)

VIEWS: Final = (models, windows, alerts, days)


@models.on(Registered)
def registered(event: Registered, fact: Fact, rows: Rows[ModelRow]) -> None:
    at = fact.known_at
    rows.put(
        event.model,
        ModelRow(event.model, event.title, event.owner, event.purpose, at, at),
    )


@models.on(Tiered)
def tiered(event: Tiered, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = _row(rows, event.model)
    rows.put(event.model, replace(row, tier=event.tier, changed_at=fact.known_at))


@models.on(Deployed)
def deployed(event: Deployed, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = _row(rows, event.model)
    rows.put(event.model, replace(row, live=event.version, changed_at=fact.known_at))


@models.on(WindowClosed)
def counted(event: WindowClosed, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = _row(rows, event.model)
    breached = event.psi > event.threshold
    rows.put(
        event.model,
        replace(
            row,
            windows=row.windows + 1,
            breaches=row.breaches + breached,
            changed_at=fact.known_at,
        ),
    )


@models.on(AlertRaised)
def alarmed(event: AlertRaised, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = _row(rows, event.model)
    rows.put(
        event.model,
        replace(row, open_alerts=row.open_alerts + 1, changed_at=fact.known_at),
    )


@models.on(AlertClosed)
def calmed(event: AlertClosed, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = _row(rows, event.model)
    rows.put(
        event.model,
        replace(row, open_alerts=row.open_alerts - 1, changed_at=fact.known_at),
    )


def _row(rows: Rows[ModelRow], model: str) -> ModelRow:
    row = rows.get(model)
    if row is None:
        raise AssertionError(f"{model} was never registered")
    return row


@windows.on(WindowClosed)
def closed(event: WindowClosed, fact: Fact, rows: Rows[WindowRow]) -> None:
    row = WindowRow(
        event.rows, event.psi, event.psi > event.threshold, fact.known_at, str(fact.id)
    )
    rows.put(f"{event.model}/{event.feature}", row)


@days.on(WindowClosed)
def added(event: WindowClosed, fact: Fact, rows: Rows[DayRow]) -> None:
    key = f"{event.model}/{fact.known_at:%Y-%m-%d}"
    row = rows.get(key) or DayRow()
    rows.put(
        key,
        DayRow(
            row.windows + 1,
            row.rows + event.rows,
            row.breaches + (event.psi > event.threshold),
        ),
    )


@alerts.on(AlertRaised)
def raised(event: AlertRaised, fact: Fact, rows: Rows[AlertRow]) -> None:
    row = AlertRow(event.model, event.severity, event.cause, fact.known_at)
    rows.put(f"{event.model}/{event.alert}", row)


@alerts.on(AlertClosed)
def ended(event: AlertClosed, _: Fact, rows: Rows[AlertRow]) -> None:
    rows.delete(f"{event.model}/{event.alert}")


def life(model: str, chance: Random) -> Iterator[Event]:
    """What happens to one model, without an end."""
    yield Registered(
        model=model,
        title=f"The model {model}",
        owner=f"owner-{chance.randrange(50)}",
        purpose="to decide what would otherwise be decided slowly and unevenly",
    )
    yield Tiered(
        model=model,
        tier=chance.randint(1, 4),
        drivers=("adverse action", "customers affected", "money at stake"),
    )
    while True:
        version = f"v{chance.randrange(10**6)}"
        yield Deployed(model=model, version=version, share=1.0)
        for closing in range(40):
            yield WindowClosed(
                model=model,
                version=version,
                feature=f"feature-{closing % 20}",
                rows=chance.randrange(200, 20_000),
                psi=round(chance.random() / 4, 4),
                threshold=0.2,
            )
        alert = f"a{chance.randrange(10**9)}"
        yield AlertRaised(
            model=model, alert=alert, severity="high", cause="psi above its threshold"
        )
        yield AlertClosed(model=model, alert=alert)


def fill(store: SqliteStore, events: int) -> datetime:
    """Append so many events, the models in turn; return when the last was known."""
    chance = Random(7)  # noqa: S311  # the same portfolio each time
    lives = [life(f"model-{at}", chance) for at in range(MODELS)]
    each = min(APPEND, events // MODELS // ROUNDS)
    known_at = STARTED
    for append in range(events // each):
        model = append % MODELS
        stream = stream_name("bench", TENANT, f"model-{model}")
        told = []
        for _ in range(each):
            known_at += APART
            told.append(_recordable(next(lives[model]), known_at, chance))
        version = append // MODELS * each - 1
        store.append(stream, told, expected=version if version >= 0 else NO_STREAM)
    return known_at


def _recordable(event: Event, known_at: datetime, chance: Random) -> NewEvent:
    id_ = UUID(int=chance.getrandbits(128), version=4)
    metadata = {
        "known_at": stamp(known_at),
        "effective_at": stamp(known_at),
        "tenant": TENANT,
        "actor_issuer": "bench",
        "actor_subject": "bench",
        "actor_roles": "engineer",
        "command_id": str(id_),
        "body_hash": "0" * 64,
        "schema_version": "1",
    }
    said = json.dumps(metadata, separators=(",", ":")).encode()
    return NewEvent(id_, event.event_name, event.event_version, encode(event), said)
