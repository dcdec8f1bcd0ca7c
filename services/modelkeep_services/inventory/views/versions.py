"""Versions with their cards and validations, and the changes made to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from modelkeep.events import inventory as e
from modelkeep.events.types import Person
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class ValidationRow:
    """`void` says why it no longer counts."""

    outcome: str
    validator: Person
    metrics: Mapping[str, float]
    limitations: e.Reliances
    assumptions: e.Reliances
    conditions: tuple[str, ...]
    valid_until: datetime | None
    summary: str | None
    at: datetime
    event_id: str
    void: str = ""


@dataclass(frozen=True)
class SignatureRow:
    publisher: str
    key: str
    signature_digest: str
    others: int
    by: Person
    at: datetime
    event_id: str


@dataclass(frozen=True)
class VersionRow:
    model: str
    version: str
    digest: str
    artifacts: tuple[e.Artifact, ...]
    manifest: str | None
    feature_count: int | None
    parent: str | None
    registered_by: Person
    registered_at: datetime
    event_id: str
    card_digest: str | None = None
    validation: ValidationRow | None = None
    signatures: tuple[SignatureRow, ...] = ()


versions = View("versions", VersionRow, version=2)
"""By `model/version`."""


@versions.on(e.VersionRegistered)
def registered(event: e.VersionRegistered, fact: Fact, rows: Rows[VersionRow]) -> None:
    rows.put(
        f"{event.model}/{event.version}",
        VersionRow(
            **dict(event), registered_at=fact.effective_at, event_id=str(fact.id)
        ),
    )


@versions.on(e.CardAttached)
def carded(event: e.CardAttached, _: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, card_digest=event.card_digest))


@versions.on(e.VersionSigned)
def signed(event: e.VersionSigned, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is not None:
        said = dict(event)
        for name in ("model", "version", "digest"):
            del said[name]
        found = SignatureRow(**said, at=fact.effective_at, event_id=str(fact.id))
        rows.put(key, replace(row, signatures=(*row.signatures, found)))


@versions.on(e.ValidationRecorded)
def validated(event: e.ValidationRecorded, fact: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is not None:
        said = dict(event)
        for name in ("model", "version", "digest"):
            del said[name]
        found = ValidationRow(**said, at=fact.effective_at, event_id=str(fact.id))
        rows.put(key, replace(row, validation=found))


@versions.on(e.ChangeClassified)
def voided(event: e.ChangeClassified, _: Fact, rows: Rows[VersionRow]) -> None:
    key = f"{event.model}/{event.version}"
    row = rows.get(key)
    if row is None or row.validation is None or not event.material:
        return
    void = replace(row.validation, void=f"material change {event.change}")
    rows.put(key, replace(row, validation=void))


@dataclass(frozen=True)
class ChangeRow:
    model: str
    change: str
    version: str
    digest: str
    kinds: tuple[str, ...]
    material: bool
    envelope: str | None
    rationale: str
    voids: tuple[str, ...]
    by: Person
    at: datetime
    event_id: str


changes = View("changes", ChangeRow)
"""By `model/version/change`."""


@changes.on(e.ChangeClassified)
def classified(event: e.ChangeClassified, fact: Fact, rows: Rows[ChangeRow]) -> None:
    rows.put(
        f"{event.model}/{event.version}/{event.change}",
        ChangeRow(**dict(event), at=fact.effective_at, event_id=str(fact.id)),
    )
