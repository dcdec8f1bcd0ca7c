"""What is asked, held, kept and due: of people, but by random ids and HMACs alone.

No row has personal text, sealed or open: `fields` says where in the log it is, and
whoever asks is read it through the keystore. So an erasure changes no row of any view
but its own, and a replay before or after it gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from modelkeep.events.inventory import RoleAssigned, RoleVacated
from modelkeep.events.monitoring import DispositionRecorded
from modelkeep.events.policy import Approved
from modelkeep.events.privacy import (
    Basis,
    ErasureApproved,
    ErasureExpired,
    ErasureRejected,
    ErasureRequested,
    ErasureStopped,
    HoldPlaced,
    HoldReleased,
    NamedKey,
    RetentionSwept,
    SubjectKeyDestroyed,
)
from modelkeep.events.types import Person, Sealed
from modelkeep.ledger import stamp
from modelkeep.timekeeper import Due, due_key, due_view
from modelkeep.views import Fact, Rows, View
from modelkeep_services.privacy.domain import Status
from modelkeep_services.privacy.retention import RETENTION, look_at

VERSION: Final = 1
"""Of views whose rows follow the retention document: raise it with the document's."""

EXPIRY: Final = "expiry"
RETENTION_DUE: Final = "retention"

# --- erasures ----------------------------------------------------------------------


@dataclass(frozen=True)
class KeyRow:
    key_id: str
    purpose: str
    destroyed_at: datetime | None = None


@dataclass(frozen=True)
class ErasureRow:
    erasure: str
    status: Status
    basis: Basis
    reason: str
    keys: tuple[KeyRow, ...]
    requested_by: Person
    requested_at: datetime
    until: datetime
    document: str | None = None
    decided_by: Person | None = None
    decided_at: datetime | None = None
    said: str | None = None
    stopped_by: str | None = None


erasures = View("erasures", ErasureRow)


@erasures.on(ErasureRequested)
def requested(event: ErasureRequested, fact: Fact, rows: Rows[ErasureRow]) -> None:
    row = ErasureRow(
        erasure=event.erasure,
        status="requested",
        basis=event.basis,
        reason=event.reason,
        keys=tuple(KeyRow(one.key_id, one.purpose) for one in event.subject_keys),
        requested_by=event.by,
        requested_at=fact.known_at,
        until=event.until,
        document=event.document,
    )
    rows.put(event.erasure, row)


@erasures.on(ErasureApproved)
def approved(event: ErasureApproved, fact: Fact, rows: Rows[ErasureRow]) -> None:
    if (row := rows.get(event.erasure)) is not None:
        decided = replace(row, decided_by=event.by, decided_at=fact.known_at)
        rows.put(event.erasure, replace(decided, status="approved"))


@erasures.on(ErasureRejected)
def rejected(event: ErasureRejected, fact: Fact, rows: Rows[ErasureRow]) -> None:
    if (row := rows.get(event.erasure)) is not None:
        decided = replace(row, decided_by=event.by, decided_at=fact.known_at)
        rows.put(event.erasure, replace(decided, status="rejected", said=event.reason))


@erasures.on(ErasureExpired)
def expired(event: ErasureExpired, fact: Fact, rows: Rows[ErasureRow]) -> None:
    if (row := rows.get(event.erasure)) is not None:
        rows.put(
            event.erasure, replace(row, status="expired", decided_at=fact.known_at)
        )


@erasures.on(ErasureStopped)
def stopped(event: ErasureStopped, _: Fact, rows: Rows[ErasureRow]) -> None:
    if (row := rows.get(event.erasure)) is not None:
        rows.put(event.erasure, replace(row, status="stopped", stopped_by=event.hold))


@erasures.on(SubjectKeyDestroyed)
def destroyed(event: SubjectKeyDestroyed, fact: Fact, rows: Rows[ErasureRow]) -> None:
    if (row := rows.get(event.erasure)) is not None:
        keys = tuple(
            replace(one, destroyed_at=fact.known_at)
            if one.key_id == event.key_id
            else one
            for one in row.keys
        )
        rows.put(event.erasure, replace(row, keys=keys, status="destroyed"))


# --- which keys are spoken for -----------------------------------------------------


class OpenRow(NamedTuple):
    """`approved`: nothing can stop it any more."""

    erasure: str
    approved: bool = False


open_keys = View("open_keys", OpenRow)
"""Of each key that an erasure is under way of."""


@open_keys.on(ErasureRequested)
def opened(event: ErasureRequested, _: Fact, rows: Rows[OpenRow]) -> None:
    for one in event.subject_keys:
        rows.put(one.key_id, OpenRow(event.erasure))


@open_keys.on(ErasureApproved)
def committed(event: ErasureApproved, _: Fact, rows: Rows[OpenRow]) -> None:
    for one in event.subject_keys:
        rows.put(one.key_id, OpenRow(event.erasure, approved=True))


@open_keys.on(ErasureRejected)
def free_rejected(event: ErasureRejected, _: Fact, rows: Rows[OpenRow]) -> None:
    _free(event.subject_keys, rows)


@open_keys.on(ErasureExpired)
def free_expired(event: ErasureExpired, _: Fact, rows: Rows[OpenRow]) -> None:
    _free(event.subject_keys, rows)


@open_keys.on(ErasureStopped)
def free_stopped(event: ErasureStopped, _: Fact, rows: Rows[OpenRow]) -> None:
    _free(event.subject_keys, rows)


@open_keys.on(SubjectKeyDestroyed)
def free_destroyed(event: SubjectKeyDestroyed, _: Fact, rows: Rows[OpenRow]) -> None:
    rows.delete(event.key_id)


def _free(keys: Iterable[NamedKey], rows: Rows[OpenRow]) -> None:
    for one in keys:
        rows.delete(one.key_id)


# --- holds -------------------------------------------------------------------------


@dataclass(frozen=True)
class HoldRow:
    hold: str
    about: str | None
    purposes: tuple[str, ...]
    matter: str
    reason: str
    placed_by: Person
    placed_at: datetime
    released_by: Person | None = None
    released_at: datetime | None = None
    release_reason: str | None = None

    def forbids(self, about: str, purpose: str) -> bool:
        """Whether a key may not be destroyed. One for all purposes is for each."""
        theirs = self.about in {None, about}
        return theirs and (not self.purposes or purpose in {"", *self.purposes})


holds = View("holds", HoldRow)
standing = View("standing", HoldRow)
"""Those that were not released."""


@holds.on(HoldPlaced)
@standing.on(HoldPlaced)
def placed(event: HoldPlaced, fact: Fact, rows: Rows[HoldRow]) -> None:
    row = HoldRow(
        hold=event.hold,
        about=event.about,
        purposes=event.purposes,
        matter=event.matter,
        reason=event.reason,
        placed_by=event.by,
        placed_at=fact.known_at,
    )
    rows.put(event.hold, row)


@holds.on(HoldReleased)
def released(event: HoldReleased, fact: Fact, rows: Rows[HoldRow]) -> None:
    if (row := rows.get(event.hold)) is not None:
        over = replace(row, released_by=event.by, released_at=fact.known_at)
        rows.put(event.hold, replace(over, release_reason=event.reason))


@standing.on(HoldReleased)
def no_longer(event: HoldReleased, _: Fact, rows: Rows[HoldRow]) -> None:
    rows.delete(event.hold)


# --- where the log keeps what is personal --------------------------------------------


@dataclass(frozen=True)
class FieldRow:
    """A sealed field of an event, which is `stream`@`version`."""

    event_id: str
    event_name: str
    stream: str
    version: int
    known_at: datetime
    field: str
    purpose: str
    key_id: str


fields = View("fields", FieldRow)
"""By `key id/known at/event id/field`."""


@fields.on(RoleAssigned)
def contact_kept(event: RoleAssigned, fact: Fact, rows: Rows[FieldRow]) -> None:
    _keep(event.contact, "contact", "contact", fact, rows)


@fields.on(Approved)
def approval_kept(event: Approved, fact: Fact, rows: Rows[FieldRow]) -> None:
    _keep(event.comment, "comment", "approval", fact, rows)


@fields.on(DispositionRecorded)
def disposition_kept(
    event: DispositionRecorded, fact: Fact, rows: Rows[FieldRow]
) -> None:
    _keep(event.comment, "comment", "disposition", fact, rows)


def _keep(
    sealed: Sealed | None, name: str, purpose: str, fact: Fact, rows: Rows[FieldRow]
) -> None:
    if sealed is None:
        return
    row = FieldRow(
        event_id=str(fact.id),
        event_name=fact.event.event_name,
        stream=fact.stream,
        version=fact.version,
        known_at=fact.known_at,
        field=name,
        purpose=purpose,
        key_id=sealed.key_id,
    )
    key = f"{sealed.key_id}/{stamp(fact.known_at)}/{fact.id}/{name}"
    rows.put(key, row)


# --- until when it is kept -----------------------------------------------------------


@dataclass(frozen=True)
class KeptRow:
    """A key, and when what it seals is over: the latest of all its periods. `roles` are
    those its contact serves, as `model/role`; while there are any it is not due at all.
    """

    key_id: str
    purpose: str
    over_at: datetime | None = None
    roles: tuple[str, ...] = ()

    @property
    def due_at(self) -> datetime | None:
        return None if self.roles else self.over_at

    def until(self, at: datetime) -> KeptRow:
        return replace(self, over_at=max(at, self.over_at or at))


kept = View("kept", KeptRow, version=VERSION)
"""`key/<key id>` is how things stand, `due/<time>/<key id>` the same in order of time
for those that are due at all, `held/<model>/<role>/<issuer> <subject>` whose contact a
role has. A key's events are of many streams: their order makes no difference.
"""


@kept.on(RoleAssigned)
def contact_used(event: RoleAssigned, _: Fact, rows: Rows[KeptRow]) -> None:
    if event.contact is None:
        return
    row = _kept(rows, event.contact, "contact")
    roles = tuple(sorted({*row.roles, f"{event.model}/{event.role}"}))
    serving = replace(row, roles=roles)
    _move(row, serving, rows)
    rows.put(_office(event), serving)


@kept.on(RoleVacated)
def contact_idle(event: RoleVacated, fact: Fact, rows: Rows[KeptRow]) -> None:
    office = rows.get(_office(event))
    row = None if office is None else rows.get(f"key/{office.key_id}")
    rows.delete(_office(event))
    if row is None:
        return
    roles = tuple(one for one in row.roles if one != f"{event.model}/{event.role}")
    over = fact.known_at + RETENTION.of["contact"].keep
    _move(row, replace(row, roles=roles).until(over), rows)


def _office(event: RoleAssigned | RoleVacated) -> str:
    return f"held/{event.model}/{event.role}/{event.issuer} {event.subject}"


@kept.on(Approved)
def approval_used(event: Approved, fact: Fact, rows: Rows[KeptRow]) -> None:
    _said(event.comment, "approval", fact, rows)


@kept.on(DispositionRecorded)
def disposition_used(
    event: DispositionRecorded, fact: Fact, rows: Rows[KeptRow]
) -> None:
    _said(event.comment, "disposition", fact, rows)


def _said(sealed: Sealed | None, purpose: str, fact: Fact, rows: Rows[KeptRow]) -> None:
    if sealed is not None:
        row = _kept(rows, sealed, purpose)
        over = fact.known_at + RETENTION.of[purpose].keep
        _move(row, row.until(over), rows)


def _kept(rows: Rows[KeptRow], sealed: Sealed, purpose: str) -> KeptRow:
    return rows.get(f"key/{sealed.key_id}") or KeptRow(sealed.key_id, purpose)


def _move(row: KeptRow, to: KeptRow, rows: Rows[KeptRow]) -> None:
    if row.due_at is not None:
        rows.delete(_due(row.key_id, row.due_at))
    if to.due_at is not None:
        rows.put(_due(to.key_id, to.due_at), to)
    rows.put(f"key/{to.key_id}", to)


def _due(key_id: str, at: datetime) -> str:
    return f"due/{stamp(at)}/{key_id}"


def due_before(instant: datetime) -> str:
    """Sorts after all that is due at an instant, and before what is due later."""
    return f"due/{stamp(instant)}/\U0010ffff"


@kept.on(ErasureRejected)
def again_rejected(event: ErasureRejected, fact: Fact, rows: Rows[KeptRow]) -> None:
    _again(event.subject_keys, fact, rows)


@kept.on(ErasureExpired)
def again_expired(event: ErasureExpired, fact: Fact, rows: Rows[KeptRow]) -> None:
    _again(event.subject_keys, fact, rows)


@kept.on(ErasureStopped)
def again_stopped(event: ErasureStopped, fact: Fact, rows: Rows[KeptRow]) -> None:
    _again(event.subject_keys, fact, rows)


def _again(keys: Iterable[NamedKey], fact: Fact, rows: Rows[KeptRow]) -> None:
    """What was not erased when it was due is put forward again in a while."""
    for one in keys:
        row = rows.get(f"key/{one.key_id}")
        if row is not None and row.over_at is not None:
            _move(row, row.until(fact.known_at + RETENTION.again_after), rows)


@kept.on(SubjectKeyDestroyed)
def kept_no_more(event: SubjectKeyDestroyed, _: Fact, rows: Rows[KeptRow]) -> None:
    row = rows.get(f"key/{event.key_id}")
    if row is not None and row.due_at is not None:
        rows.delete(_due(row.key_id, row.due_at))
    rows.delete(f"key/{event.key_id}")


# --- when the clock is to look -----------------------------------------------------

due = due_view(version=VERSION)


def _look(at: datetime, rows: Rows[Due]) -> None:
    rows.put(due_key(look_at(at), RETENTION_DUE, ""), Due(RETENTION_DUE, ""))


@due.on(RoleVacated)
def look_at_contacts(_: RoleVacated, fact: Fact, rows: Rows[Due]) -> None:
    _look(fact.known_at + RETENTION.of["contact"].keep, rows)


@due.on(Approved)
def look_at_approvals(event: Approved, fact: Fact, rows: Rows[Due]) -> None:
    if event.comment is not None:
        _look(fact.known_at + RETENTION.of["approval"].keep, rows)


@due.on(DispositionRecorded)
def look_at_dispositions(
    event: DispositionRecorded, fact: Fact, rows: Rows[Due]
) -> None:
    if event.comment is not None:
        _look(fact.known_at + RETENTION.of["disposition"].keep, rows)


@due.on(HoldReleased)
def look_at_held(_: HoldReleased, fact: Fact, rows: Rows[Due]) -> None:
    _look(fact.known_at, rows)


@due.on(ErasureRequested)
def awaited(event: ErasureRequested, _: Fact, rows: Rows[Due]) -> None:
    rows.put(_expiry(event.until, event.erasure), Due(EXPIRY, event.erasure))


@due.on(ErasureApproved)
def no_longer_awaited(event: ErasureApproved, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(_expiry(event.until, event.erasure))


@due.on(ErasureRejected)
def look_at_rejected(event: ErasureRejected, fact: Fact, rows: Rows[Due]) -> None:
    rows.delete(_expiry(event.until, event.erasure))
    _look(fact.known_at + RETENTION.again_after, rows)


@due.on(ErasureExpired)
def look_at_expired(event: ErasureExpired, fact: Fact, rows: Rows[Due]) -> None:
    rows.delete(_expiry(event.until, event.erasure))
    _look(fact.known_at + RETENTION.again_after, rows)


@due.on(ErasureStopped)
def look_at_stopped(_: ErasureStopped, fact: Fact, rows: Rows[Due]) -> None:
    _look(fact.known_at + RETENTION.again_after, rows)


@due.on(RetentionSwept)
def looked_at(event: RetentionSwept, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, RETENTION_DUE, ""))


def _expiry(until: datetime, erasure: str) -> str:
    return due_key(until, EXPIRY, erasure)


VIEWS: Final = (erasures, open_keys, holds, standing, fields, kept, due)
