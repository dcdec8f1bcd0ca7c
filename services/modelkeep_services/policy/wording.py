"""A verdict as a text that reads from top to bottom: what, why, who, and on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from modelkeep.events.policy import Approval, Lent, Owed, RuleSaid, VerdictGiven
from modelkeep.policy.explain import Operand
from modelkeep_services.policy.views import RequestRow

STATUS = {
    "pending": "It waits for approval.",
    "allowed": "It is allowed.",
    "denied": "It is denied.",
    "revoked": "It was revoked.",
}


def explain(row: RequestRow, given: VerdictGiven) -> str:
    return "\n".join(_lines(row, given)) + "\n"


def _lines(row: RequestRow, given: VerdictGiven) -> Iterator[str]:
    yield _headline(row)
    yield _standing(row)
    yield from _listed("Because", row.reasons)
    yield from _listed("Still owed", [_owed(one) for one in row.owed])
    yield from _listed("Heard", [_heard(one.approval) for one in row.heard])
    yield from _listed("On condition", _conditions(row))
    for title, outcomes in RULES.items():
        rules = [one for one in given.rules if _group(one) == outcomes]
        yield from _listed(title, [_rule(one) for one in rules])
    yield from _listed("Stated by the requester", [one.fact for one in given.stated])
    since = f"since position {given.bundle_since}" if given.bundle_since else "then"
    yield (
        f"Bundle {row.bundle_version} ({row.bundle}), in force {since}; "
        f"facts {row.facts_digest} as of position {given.stood_at}, "
        f"from {len(given.evidence)} events."
    )


RULES = {
    "These rules stop it": "stops",
    "These were set aside by an exception": "waived",
    "These only warn": "warns",
    "These are satisfied": "fine",
    "These ask nothing here": "silent",
}
SATISFIED = {"gate": "true", "invariant": "true", "permit": "true", "forbid": "false"}


def _group(rule: RuleSaid) -> str:
    if rule.waived_by is not None:
        return "waived"
    if rule.denies:
        return "stops"
    if rule.outcome == SATISFIED.get(rule.kind):
        return "fine"
    failed = rule.severity == "warn" and rule.outcome != "skipped"
    return "warns" if failed else "silent"


def _headline(row: RequestRow) -> str:
    what = " ".join(part for part in (row.model, row.version) if part)
    where = f" in {row.environment}" if row.environment else ""
    tier = f" (tier {row.tier})" if row.tier else ""
    who = row.requested_by.subject
    when = f"{row.given_at:%Y-%m-%d %H:%M}"
    return (
        f"{row.verdict.upper()}: {row.action} {what}{where}{tier}, "
        f"asked by {who} on {when}."
    )


def _standing(row: RequestRow) -> str:
    said = STATUS[row.status]
    if row.status == "revoked":
        return f"{said} {row.revoked_because}"
    if row.break_glass:
        said = "It is allowed because two people broke the glass."
    if row.status == "allowed" and row.expires_at is not None:
        said += f" It ends on {row.expires_at:%Y-%m-%d %H:%M}."
    if row.overdue_since is not None:
        said += f" Approvals were overdue on {row.overdue_since:%Y-%m-%d %H:%M}."
    if row.status == "pending" and row.approvals_due_at is not None:
        said += f" Approvals are due by {row.approvals_due_at:%Y-%m-%d %H:%M}."
    return said


def _listed(title: str, items: list[str] | tuple[str, ...]) -> Iterator[str]:
    if items:
        yield f"{title}:"
        yield from (f"  - {item}" for item in items)


def _owed(one: Owed) -> str:
    return f"{one.count} of {one.of} {one.role} ({one.policy})"


def _heard(one: Approval) -> str:
    word = "approved" if one.approved else "rejected"
    roles = ", ".join([*one.roles, *(lent(by) for by in one.lent)])
    return f"{one.by.subject} ({roles}) {word} it on {one.at:%Y-%m-%d %H:%M}"


def lent(one: Lent) -> str:
    return f"{one.role} for {one.lender.subject} until {one.until:%Y-%m-%d %H:%M}"


def _conditions(row: RequestRow) -> list[str]:
    said = list(row.conditions)
    if row.max_traffic_share is not None:
        said.append(f"a traffic share of at most {row.max_traffic_share:g}")
    return said


def _rule(one: RuleSaid) -> str:
    if _group(one) not in {"fine", "silent"}:
        return one.text
    # A message says what is wrong; here nothing is.
    seen = [str(Operand(**_operand(operand))) for operand in one.operands]
    return f"{one.rule}: {'; '.join(seen)}" if seen else one.rule


def _operand(found: Mapping[str, JsonValue]) -> dict[str, Any]:
    culprits = found.get("culprits")
    listed = tuple(culprits) if isinstance(culprits, list) else ()
    return {**found, "culprits": listed}
