"""What was said in advance: roles that are lent, and envelopes for changes to come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from modelkeep.events.policy import (
    Approval,
    Delegated,
    DelegationExpired,
    DelegationRevoked,
    EnvelopeApproved,
    EnvelopeExpired,
    EnvelopeGranted,
    EnvelopeProposed,
    EnvelopeTerms,
    EnvelopeUsed,
    EnvelopeVoided,
    Lent,
    Owed,
)
from modelkeep.events.types import Person
from modelkeep.timekeeper import Due, due_key
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep_services.policy.domain.envelope import word
from modelkeep_services.policy.domain.seats import last_words
from modelkeep_services.policy.views import due

# --- delegations -------------------------------------------------------------------


@dataclass(frozen=True)
class DelegationRow:
    delegation: str
    lender: Person
    to: Person
    role: str
    models: tuple[str, ...]
    business_lines: tuple[str, ...]
    actions: tuple[str, ...]
    since: datetime
    until: datetime
    reason: str
    status: Literal["in_force", "revoked", "expired"] = "in_force"

    def covers(self, model: str, line: str | None, action: str) -> bool:
        return (
            (not self.models or model in self.models)
            and (not self.business_lines or line in self.business_lines)
            and (not self.actions or action in self.actions)
        )


@dataclass(frozen=True)
class LentRow:
    """That a person holds a delegation: its key says who."""

    delegation: str


delegations = View("delegations", DelegationRow)
lent_to = View("lent_to", LentRow)


@delegations.on(Delegated)
def lent(event: Delegated, fact: Fact, rows: Rows[DelegationRow]) -> None:
    row = DelegationRow(
        delegation=event.delegation,
        lender=event.lender,
        to=event.to,
        role=event.role,
        models=event.models,
        business_lines=event.business_lines,
        actions=event.actions,
        since=fact.known_at,
        until=event.until,
        reason=event.reason,
    )
    rows.put(event.delegation, row)


@lent_to.on(Delegated)
def holds(event: Delegated, _: Fact, rows: Rows[LentRow]) -> None:
    rows.put(_held(event.to, event.delegation), LentRow(event.delegation))


@due.on(Delegated)
def lent_until(event: Delegated, _: Fact, rows: Rows[Due]) -> None:
    key = due_key(event.until, "delegation", event.delegation)
    rows.put(key, Due("delegation", event.delegation))


@delegations.on(DelegationRevoked)
def lent_no_more(event: DelegationRevoked, _: Fact, rows: Rows[DelegationRow]) -> None:
    _lending_ends(rows, event.delegation, "revoked")


@lent_to.on(DelegationRevoked)
def held_no_more(event: DelegationRevoked, _: Fact, rows: Rows[LentRow]) -> None:
    rows.delete(_held(event.to, event.delegation))


@due.on(DelegationRevoked)
def revoked_early(event: DelegationRevoked, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.until, "delegation", event.delegation))


@delegations.on(DelegationExpired)
def lending_expired(
    event: DelegationExpired, _: Fact, rows: Rows[DelegationRow]
) -> None:
    _lending_ends(rows, event.delegation, "expired")


@lent_to.on(DelegationExpired)
def held_until_now(event: DelegationExpired, _: Fact, rows: Rows[LentRow]) -> None:
    rows.delete(_held(event.to, event.delegation))


@due.on(DelegationExpired)
def expired_on_time(event: DelegationExpired, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.until, "delegation", event.delegation))


def _held(person: Person, delegation: str = "") -> str:
    return f"{person.issuer}\n{person.subject}\n{delegation}"


def _lending_ends(
    rows: Rows[DelegationRow], key: str, status: Literal["revoked", "expired"]
) -> None:
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, status=status))


def lent_roles(
    read: Reader,
    person: Person,
    model: str,
    line: str | None,
    action: str,
    now: datetime,
) -> tuple[Lent, ...]:
    """The roles in which a person may speak for others, of this and now."""
    held = [row.delegation for _, row in read.scan(lent_to, _held(person))]
    found = (read.get(delegations, one) for one in held)
    return tuple(
        Lent(
            delegation=row.delegation,
            lender=row.lender,
            role=row.role,
            until=row.until,
        )
        for row in found
        if row is not None and now < row.until and row.covers(model, line, action)
    )


# --- envelopes ---------------------------------------------------------------------


@dataclass(frozen=True)
class EnvelopeRow:
    envelope: str
    terms: EnvelopeTerms
    digest: str
    tier: int
    uses_said: str
    proposed_by: Person
    reason: str
    owed: tuple[Owed, ...]
    approvals: tuple[Approval, ...] = ()
    used: int = 0
    status: Literal["proposed", "in_force", "spent", "expired", "void"] = "proposed"
    void_because: str = ""


@dataclass(frozen=True)
class EnvelopeOfRow:
    """That an envelope is about a model: its key says so."""

    envelope: str


envelopes = View("envelopes", EnvelopeRow)
envelopes_of = View("envelopes_of_model", EnvelopeOfRow)


@envelopes.on(EnvelopeProposed)
def envelope_proposed(
    event: EnvelopeProposed, _: Fact, rows: Rows[EnvelopeRow]
) -> None:
    seats = event.duty.seats
    row = EnvelopeRow(
        envelope=event.envelope,
        terms=event.terms,
        digest=event.digest,
        tier=event.tier,
        uses_said=event.uses_said,
        proposed_by=event.by,
        reason=event.reason,
        owed=tuple(
            Owed(policy=event.duty.policy, role=s.role, count=s.count, of=s.count)
            for s in seats
        ),
    )
    rows.put(event.envelope, row)


@envelopes_of.on(EnvelopeProposed)
def envelope_of(event: EnvelopeProposed, _: Fact, rows: Rows[EnvelopeOfRow]) -> None:
    key = f"{event.terms.model}/{event.envelope}"
    rows.put(key, EnvelopeOfRow(event.envelope))


@due.on(EnvelopeProposed)
def approval_of_it_due(event: EnvelopeProposed, _: Fact, rows: Rows[Due]) -> None:
    key = due_key(event.due_at, "envelope", event.envelope)
    rows.put(key, Due("envelope", event.envelope))


@envelopes.on(EnvelopeApproved)
def envelope_approved(
    event: EnvelopeApproved, _: Fact, rows: Rows[EnvelopeRow]
) -> None:
    def heard(row: EnvelopeRow) -> EnvelopeRow:
        said = last_words(row.approvals, word(event))
        return replace(row, approvals=said, owed=event.owed)

    _change(rows, event.envelope, heard)


@envelopes.on(EnvelopeGranted)
def envelope_granted(event: EnvelopeGranted, _: Fact, rows: Rows[EnvelopeRow]) -> None:
    _change(rows, event.envelope, lambda row: replace(row, status="in_force"))


@due.on(EnvelopeGranted)
def granted_until(event: EnvelopeGranted, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, "envelope", event.envelope))
    key = due_key(event.until, "envelope", event.envelope)
    rows.put(key, Due("envelope", event.envelope))


@envelopes.on(EnvelopeUsed)
def envelope_used(event: EnvelopeUsed, _: Fact, rows: Rows[EnvelopeRow]) -> None:
    def spent(row: EnvelopeRow) -> EnvelopeRow:
        status = "spent" if event.use >= event.uses else row.status
        return replace(row, used=event.use, status=status)

    _change(rows, event.envelope, spent)


@envelopes.on(EnvelopeVoided)
def envelope_void(event: EnvelopeVoided, _: Fact, rows: Rows[EnvelopeRow]) -> None:
    _change(
        rows,
        event.envelope,
        lambda row: replace(row, status="void", void_because=event.reason),
    )


@due.on(EnvelopeVoided)
def void_early(event: EnvelopeVoided, _: Fact, rows: Rows[Due]) -> None:
    _due_no_more(event, rows)


@envelopes.on(EnvelopeExpired)
def envelope_expired(event: EnvelopeExpired, _: Fact, rows: Rows[EnvelopeRow]) -> None:
    _change(rows, event.envelope, lambda row: replace(row, status="expired"))


@due.on(EnvelopeExpired)
def envelope_ended(event: EnvelopeExpired, _: Fact, rows: Rows[Due]) -> None:
    _due_no_more(event, rows)


def _due_no_more(event: EnvelopeVoided | EnvelopeExpired, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, "envelope", event.envelope))
    rows.delete(due_key(event.until, "envelope", event.envelope))


def _change(
    rows: Rows[EnvelopeRow],
    envelope: str,
    change: Callable[[EnvelopeRow], EnvelopeRow],
) -> None:
    if (row := rows.get(envelope)) is not None:
        rows.put(envelope, change(row))


def of_model(read: Reader, model: str) -> list[EnvelopeRow]:
    """Every envelope of a model, whatever became of it."""
    keys = read.scan(envelopes_of, f"{model}/")
    found = (read.get(envelopes, row.envelope) for _, row in keys)
    return [row for row in found if row is not None]


VIEWS = (delegations, lent_to, envelopes, envelopes_of)
