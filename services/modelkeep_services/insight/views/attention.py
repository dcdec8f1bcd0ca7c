"""What people found out about alerts, and how far models may decide alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.events.attention import (
    AlertEscalated,
    AutonomyLowered,
    AutonomyProposed,
    AutonomyRaised,
    IncidentGrew,
    IncidentLeft,
    IncidentOpened,
    IncidentReopened,
    OnsetEstablished,
)
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class GroupedRow:
    incident: str
    event: str


grouped = View("grouped", GroupedRow)
"""The incident of an alert, by `model/alert/incident`: each key of one stream."""


def _group(
    event: IncidentOpened | IncidentGrew | IncidentReopened,
    fact: Fact,
    rows: Rows[GroupedRow],
) -> None:
    key = f"{event.alert.model}/{event.alert.alert}/{event.incident}"
    rows.put(key, GroupedRow(event.incident, str(fact.id)))


@grouped.on(IncidentOpened)
def opened(event: IncidentOpened, fact: Fact, rows: Rows[GroupedRow]) -> None:
    _group(event, fact, rows)


@grouped.on(IncidentGrew)
def grew(event: IncidentGrew, fact: Fact, rows: Rows[GroupedRow]) -> None:
    _group(event, fact, rows)


@grouped.on(IncidentReopened)
def reopened(event: IncidentReopened, fact: Fact, rows: Rows[GroupedRow]) -> None:
    _group(event, fact, rows)


@grouped.on(IncidentLeft)
def left(event: IncidentLeft, _: Fact, rows: Rows[GroupedRow]) -> None:
    rows.delete(f"{event.alert.model}/{event.alert.alert}/{event.incident}")


@dataclass(frozen=True)
class EscalatedRow:
    """`role` was called last, because nobody acted in time."""

    role: str
    event: str


escalations = View("escalations", EscalatedRow)
"""By `model/alert`."""


@escalations.on(AlertEscalated)
def escalated(event: AlertEscalated, fact: Fact, rows: Rows[EscalatedRow]) -> None:
    rows.put(f"{event.model}/{event.alert}", EscalatedRow(event.role, str(fact.id)))


@dataclass(frozen=True)
class OnsetRow:
    onset: datetime
    basis: str
    event: str


onsets = View("onsets", OnsetRow)
"""Since when it was wrong: by `model/alert`, or by incident."""


@onsets.on(OnsetEstablished)
def established(event: OnsetEstablished, fact: Fact, rows: Rows[OnsetRow]) -> None:
    key = event.incident or f"{event.model}/{event.alert}"
    rows.put(key, OnsetRow(event.onset, event.basis, str(fact.id)))


@dataclass(frozen=True)
class AutonomyRow:
    """`event` set the level, or first proposed to."""

    use: str
    level: str
    event: str


autonomies = View("autonomies", AutonomyRow)
"""By `model/use`."""


@autonomies.on(AutonomyProposed)
def proposed(event: AutonomyProposed, fact: Fact, rows: Rows[AutonomyRow]) -> None:
    key = f"{event.model}/{event.use}"
    if rows.get(key) is None:
        rows.put(key, AutonomyRow(event.use, event.from_level, str(fact.id)))


@autonomies.on(AutonomyRaised)
def raised(event: AutonomyRaised, fact: Fact, rows: Rows[AutonomyRow]) -> None:
    row = AutonomyRow(event.use, event.to_level, str(fact.id))
    rows.put(f"{event.model}/{event.use}", row)


@autonomies.on(AutonomyLowered)
def lowered(event: AutonomyLowered, fact: Fact, rows: Rows[AutonomyRow]) -> None:
    row = AutonomyRow(event.use, event.to_level, str(fact.id))
    rows.put(f"{event.model}/{event.use}", row)


VIEWS = (grouped, escalations, onsets, autonomies)
