"""What let a version through: verdicts with rules and people, bundles, exceptions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from modelkeep.events.policy import (
    Approval,
    ApprovalOverdue,
    Approved,
    BundleActivated,
    BundleApproved,
    BundleProposed,
    Covered,
    ExceptionExpired,
    ExceptionGranted,
    ExceptionWithdrawn,
    Lent,
    Rejected,
    RuleSaid,
    VerdictGiven,
    VerdictRevoked,
    VerdictSettled,
)
from modelkeep.events.types import Person
from modelkeep.views import Fact, Reader, Rows, View


@dataclass(frozen=True)
class Operand:
    """What was compared with what; values are JSON."""

    text: str
    value: str
    op: str
    limit_text: str
    limit: str


@dataclass(frozen=True)
class RuleRow:
    rule: str
    policy: str
    kind: str
    severity: str
    outcome: str
    denies: bool
    text: str
    operands: tuple[Operand, ...]
    missing: tuple[str, ...]
    waived_by: str


@dataclass(frozen=True)
class ApprovalRow:
    by: Person
    roles: tuple[str, ...]
    answer: str
    conditions: tuple[str, ...]
    reason: str
    at: datetime
    event_id: str


@dataclass(frozen=True)
class VerdictRow:
    """A question to policy, its answer, and who had a say in it."""

    request: str
    action: str
    model: str
    version: str
    digest: str
    environment: str
    verdict: str
    bundle: str
    bundle_name: str
    bundle_version: str
    engine: str
    facts_digest: str
    rules: tuple[RuleRow, ...]
    owed: tuple[str, ...]
    evidence: tuple[str, ...]
    requested_by: Person
    at: datetime
    expires_at: datetime | None
    event_id: str
    settled_by: str = ""
    approvals: tuple[ApprovalRow, ...] = ()
    conditions: tuple[str, ...] = ()
    break_glass: bool = False
    revoked: bool = False
    revoked_for: str = ""
    covered_by: str = ""
    overdue_since: datetime | None = None
    revoked_by: str = ""


verdicts = View("verdicts", VerdictRow, version=3)


@verdicts.on(VerdictGiven)
def _given(event: VerdictGiven, fact: Fact, rows: Rows[VerdictRow]) -> None:
    row = VerdictRow(
        request=event.request,
        action=event.action,
        model=event.model,
        version=event.version or "",
        digest=event.digest or "",
        environment=event.environment or "",
        verdict=event.verdict,
        bundle=event.bundle,
        bundle_name=event.bundle_name,
        bundle_version=event.bundle_version,
        engine=event.engine,
        facts_digest=event.facts_digest,
        rules=tuple(_rule(rule) for rule in event.rules),
        owed=tuple(f"{one.count} {one.role} ({one.policy})" for one in event.owed),
        evidence=event.evidence,
        requested_by=event.requested_by,
        at=fact.known_at,
        expires_at=event.expires_at,
        event_id=str(fact.id),
        approvals=tuple(_carried(one) for one in event.approvals),
        covered_by=_covered(event.envelope) if event.envelope is not None else "",
    )
    rows.put(_key(event), row)


@verdicts.on(Approved)
def _approved(event: Approved, fact: Fact, rows: Rows[VerdictRow]) -> None:
    answer = ApprovalRow(
        event.by,
        event.roles,
        "approved",
        event.conditions,
        _lent(event.lent),
        fact.known_at,
        str(fact.id),
    )
    _answered(event.request, answer, rows)


@verdicts.on(Rejected)
def _rejected(event: Rejected, fact: Fact, rows: Rows[VerdictRow]) -> None:
    answer = ApprovalRow(
        event.by,
        event.roles,
        "rejected",
        (),
        event.reason,
        fact.known_at,
        str(fact.id),
    )
    _answered(event.request, answer, rows)


@verdicts.on(ApprovalOverdue)
def _overdue(event: ApprovalOverdue, _: Fact, rows: Rows[VerdictRow]) -> None:
    row = rows.get(event.request)
    if row is not None:
        rows.put(event.request, replace(row, overdue_since=event.due_at))


@verdicts.on(VerdictSettled)
def _settled(event: VerdictSettled, fact: Fact, rows: Rows[VerdictRow]) -> None:
    row = rows.get(_key(event))
    if row is None:
        return
    here = {one.by for one in row.approvals}
    carried = tuple(_carried(a) for a in event.approvals if a.by not in here)
    settled = replace(
        row,
        verdict=event.verdict,
        approvals=row.approvals + carried,
        conditions=event.conditions,
        break_glass=event.break_glass,
        expires_at=event.expires_at,
        settled_by=str(fact.id),
    )
    rows.put(_key(event), settled)


@verdicts.on(VerdictRevoked)
def _revoked(event: VerdictRevoked, fact: Fact, rows: Rows[VerdictRow]) -> None:
    row = rows.get(_key(event))
    if row is not None:
        revoked = replace(
            row, revoked=True, revoked_for=event.reason, revoked_by=str(fact.id)
        )
        rows.put(_key(event), revoked)


def _key(event: VerdictGiven | VerdictSettled | VerdictRevoked) -> str:
    return event.request


def _answered(request: str, answer: ApprovalRow, rows: Rows[VerdictRow]) -> None:
    row = rows.get(request)
    if row is not None:
        rows.put(request, replace(row, approvals=(*row.approvals, answer)))


def _carried(approval: Approval) -> ApprovalRow:
    """An approval given in another request, which still counted in this one."""
    return ApprovalRow(
        approval.by,
        approval.roles,
        "approved" if approval.approved else "rejected",
        approval.conditions,
        "; ".join(
            part
            for part in (f"given in request {approval.request}", _lent(approval.lent))
            if part
        ),
        approval.at,
        "",
    )


def _lent(lent: Sequence[Lent]) -> str:
    """For whom somebody spoke: `validator for rita until 2026-03-08`."""
    return "; ".join(
        f"{one.role} for {one.lender.subject} until {one.until:%Y-%m-%d}"
        for one in lent
    )


def _covered(one: Covered) -> str:
    until = f"{one.until:%Y-%m-%d}"
    return f"{one.envelope} until {until}, use {one.use} of {one.uses}"


def _rule(said: RuleSaid) -> RuleRow:
    return RuleRow(
        rule=said.rule,
        policy=said.policy,
        kind=said.kind,
        severity=said.severity,
        outcome=said.outcome,
        denies=said.denies,
        text=said.text,
        operands=tuple(_operand(one) for one in said.operands),
        missing=said.missing,
        waived_by=said.waived_by or "",
    )


def _operand(found: Mapping[str, JsonValue]) -> Operand:
    return Operand(
        text=str(found.get("text", "")),
        value=_json(found.get("value")),
        op=str(found.get("op") or ""),
        limit_text=str(found.get("limit_text") or ""),
        limit=_json(found["limit"]) if "limit" in found else "",
    )


def _json(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class AskedRow:
    """That a request was about a version: its key says so."""

    request: str


asked = View("asked", AskedRow)


@asked.on(VerdictGiven)
def _asked(event: VerdictGiven, _: Fact, rows: Rows[AskedRow]) -> None:
    key = f"{event.model}/{event.version or ''}/{event.request}"
    rows.put(key, AskedRow(event.request))


def verdicts_of(read: Reader, model: str, version: str) -> list[VerdictRow]:
    """Return what was asked of a version, oldest first."""
    requests = [row.request for _, row in read.scan(asked, f"{model}/{version}/")]
    found = [read.get(verdicts, request) for request in requests]
    return sorted((v for v in found if v is not None), key=lambda v: (v.at, v.request))


@dataclass(frozen=True)
class BundleRow:
    name: str
    bundle: str
    version: str
    status: str
    author: Person
    since: datetime
    event_id: str


bundles = View("bundles", BundleRow)


@bundles.on(BundleProposed)
def _proposed(event: BundleProposed, fact: Fact, rows: Rows[BundleRow]) -> None:
    row = BundleRow(
        event.name,
        event.bundle,
        event.version,
        "proposed",
        event.author,
        fact.known_at,
        str(fact.id),
    )
    rows.put(f"{event.name}/{event.bundle}", row)


@bundles.on(BundleApproved)
def _agreed(event: BundleApproved, fact: Fact, rows: Rows[BundleRow]) -> None:
    _bundle_is(rows, f"{event.name}/{event.bundle}", "approved", fact)


@bundles.on(BundleActivated)
def _activated(event: BundleActivated, fact: Fact, rows: Rows[BundleRow]) -> None:
    _bundle_is(rows, f"{event.name}/{event.bundle}", "active", fact)
    if event.replaces is not None and event.replaces != event.bundle:
        _bundle_is(rows, f"{event.name}/{event.replaces}", "replaced", fact)


def _bundle_is(rows: Rows[BundleRow], key: str, status: str, fact: Fact) -> None:
    row = rows.get(key)
    if row is not None:
        said = replace(row, status=status, since=fact.known_at, event_id=str(fact.id))
        rows.put(key, said)


@dataclass(frozen=True)
class ExceptionRow:
    exception: str
    model: str
    rule: str
    reason: str
    owner: Person
    until: datetime
    granted_by: tuple[Person, ...]
    status: str
    event_id: str
    ended_by: str = ""


exceptions = View("exceptions", ExceptionRow, version=2)


@exceptions.on(ExceptionGranted)
def _granted(event: ExceptionGranted, fact: Fact, rows: Rows[ExceptionRow]) -> None:
    row = ExceptionRow(
        event.exception,
        event.model,
        event.rule,
        event.reason,
        event.owner,
        event.until,
        event.granted_by,
        "in force",
        str(fact.id),
    )
    rows.put(event.exception, row)


@exceptions.on(ExceptionWithdrawn)
def _withdrawn(event: ExceptionWithdrawn, fact: Fact, rows: Rows[ExceptionRow]) -> None:
    _exception_is(rows, event.exception, "withdrawn", fact)


@exceptions.on(ExceptionExpired)
def _expired(event: ExceptionExpired, fact: Fact, rows: Rows[ExceptionRow]) -> None:
    _exception_is(rows, event.exception, "expired", fact)


def _exception_is(rows: Rows[ExceptionRow], key: str, status: str, fact: Fact) -> None:
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, status=status, ended_by=str(fact.id)))


def bundles_of(read: Reader) -> list[BundleRow]:
    """Return every bundle. One is active: the last activated, whatever its name."""
    found = [row for _, row in read.scan(bundles)]
    active = [row for row in found if row.status == "active"]
    last = max(active, key=lambda row: (row.since, row.name), default=None)
    return [
        replace(row, status="replaced") if row in active and row is not last else row
        for row in found
    ]


VIEWS: Final = (verdicts, asked, bundles, exceptions)
