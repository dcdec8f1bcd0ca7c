"""Rows to messages: verdicts with their grounds, bundles, exceptions."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping
from datetime import datetime

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.events.policy import RuleSaid, VerdictGiven
from modelkeep.policy.explain import Plain, shown
from modelkeep.service import Asked
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.policy.views import (
    BundleRow,
    ExceptionRow,
    HeardRow,
    RequestRow,
    active_since,
)
from modelkeep_services.policy.views_ahead import DelegationRow, EnvelopeRow


def verdict(row: RequestRow, asked: Asked) -> pb.Verdict:
    found = fill(pb.Verdict(), row)
    found.approvals.extend(_heard(one, asked) for one in row.heard)
    return found


def _heard(row: HeardRow, asked: Asked) -> pb.Approval:
    found = fill(pb.Approval(), row.approval)
    if row.comment is not None:
        tenant = asked.read.tenant
        found.comment = asked.host.keystore.open(tenant, "comment", row.comment)
    return found


def grounds(given: VerdictGiven) -> pb.Grounds:
    found = fill(
        pb.Grounds(),
        {
            "engine": given.engine,
            "descriptor_digest": given.descriptor,
            "facts": b64decode(given.facts),
            "stood_at": given.stood_at,
            "missing": given.missing,
            "waivers": given.waivers,
            "stated": given.stated,
            "evidence": given.evidence,
            "parties": given.parties,
            "escalations": given.escalations,
            "proposals": [f"{one.rule}: {one.command}" for one in given.proposals],
            "size": given.size,
            "bundle_since": given.bundle_since,
            "ceiling": given.ceiling,
            "params": {name: said(value) for name, value in given.params.items()},
        },
    )
    found.rules.extend(_rule(one) for one in given.rules)
    return found


def _rule(one: RuleSaid) -> pb.RuleOutcome:
    found = pb.RuleOutcome(
        rule=one.rule,
        kind=one.kind,
        severity=one.severity,
        outcome=one.outcome,
        denies=one.denies,
        missing=one.missing,
        text=one.text,
        waived_by=one.waived_by or "",
    )
    found.operands.extend(_operands(one.operands))
    return found


def _operands(operands: Iterable[Mapping[str, object]]) -> Iterable[pb.Operand]:
    for one in operands:
        culprits = one.get("culprits", [])
        yield pb.Operand(
            text=str(one.get("text", "")),
            value=said(one.get("value")),
            op=str(one.get("op", "")),
            limit_text=str(one.get("limit_text", "")),
            limit=said(one["limit"]) if "limit" in one else "",
            culprits=[str(c) for c in culprits] if isinstance(culprits, list) else (),
        )


def said(value: object) -> str:
    """Write a value as explanations do; text without its quotes."""
    if isinstance(value, str):
        return value
    return shown(plain(value))


def plain(value: object) -> Plain:
    if isinstance(value, bool | int | float | str):
        return value
    return [plain(one) for one in value] if isinstance(value, list) else ""


def bundle(row: BundleRow, active: str | None, read: Reader) -> pb.Bundle:
    found = fill(pb.Bundle(), row)
    found.approved, found.active = row.approved, row.bundle == active
    found.approvers_needed = row.approvers_needed
    since = active_since(read, row)
    if since is not None:
        found.active_since = since
    return found


def delegation(row: DelegationRow, now: datetime) -> pb.Delegation:
    found = fill(pb.Delegation(), row)
    # Its date may have come before the clock says so.
    if row.status == "in_force" and row.until <= now:
        found.status = pb.DELEGATION_STATUS_EXPIRED
    return found


def envelope(row: EnvelopeRow) -> pb.Envelope:
    return fill(pb.Envelope(), row)


def exception(row: ExceptionRow) -> pb.PolicyException:
    return fill(pb.PolicyException(), row)
