"""What policy answered, a row a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from modelkeep.events.policy import (
    ApprovalRequested,
    Approved,
    Rejected,
    VerdictGiven,
    VerdictRevoked,
    VerdictSettled,
)
from modelkeep.views import Fact, Rows, View


class Block(NamedTuple):
    """A rule that forbade, with its operands in words."""

    rule: str
    text: str


@dataclass(frozen=True)
class RequestRow:
    """`verdict` is the latest: as given, or as settled by approvals."""

    model: str
    request: str
    action: str
    version: str | None
    digest: str | None
    environment: str | None
    verdict: str
    given_at: datetime
    event: str
    blocks: tuple[Block, ...] = ()
    owed: int = 0
    due_at: datetime | None = None
    approvals: tuple[str, ...] = ()
    """Events in which a person said yes, or that carry such a yes over."""
    rejected_event: str | None = None
    settled_at: datetime | None = None
    settled_event: str | None = None
    revoked_event: str | None = None


requests = View("requests", RequestRow, version=2)
"""By `model/request`."""


ADMIT = "admit"
"""What serves asks it again and again: it is no step on the way to production."""


@requests.on(VerdictGiven)
def given(event: VerdictGiven, fact: Fact, rows: Rows[RequestRow]) -> None:
    if event.action == ADMIT:
        return
    blocks = tuple(Block(r.rule, r.text) for r in event.rules if r.denies)
    if event.verdict != "allow" and not blocks:
        blocks = tuple(Block("evidence-missing", name) for name in event.missing)
    rows.put(
        f"{event.model}/{event.request}",
        RequestRow(
            model=event.model,
            request=event.request,
            action=event.action,
            version=event.version,
            digest=event.digest,
            environment=event.environment,
            verdict=event.verdict,
            given_at=fact.effective_at,
            event=str(fact.id),
            blocks=() if event.verdict == "allow" else blocks,
            owed=sum(owed.count for owed in event.owed),
            approvals=(str(fact.id),) if event.approvals else (),
        ),
    )


def _change(
    model: str,
    request: str,
    rows: Rows[RequestRow],
    change: Callable[[RequestRow], RequestRow],
) -> None:
    key = f"{model}/{request}"
    if (row := rows.get(key)) is not None:
        rows.put(key, change(row))


@requests.on(ApprovalRequested)
def asked(event: ApprovalRequested, _: Fact, rows: Rows[RequestRow]) -> None:
    owed = sum(one.count for one in event.quorum)
    _change(
        event.model,
        event.request,
        rows,
        lambda row: replace(row, owed=owed, due_at=event.due_at),
    )


@requests.on(Approved)
def approved(event: Approved, fact: Fact, rows: Rows[RequestRow]) -> None:
    owed = sum(one.count for one in event.owed)
    _change(
        event.model,
        event.request,
        rows,
        lambda row: replace(row, owed=owed, approvals=(*row.approvals, str(fact.id))),
    )


@requests.on(Rejected)
def rejected(event: Rejected, fact: Fact, rows: Rows[RequestRow]) -> None:
    said = (Block("approval-rejected", event.reason[:300]),)
    _change(
        event.model,
        event.request,
        rows,
        lambda row: replace(row, rejected_event=str(fact.id), blocks=row.blocks + said),
    )


@requests.on(VerdictSettled)
def settled(event: VerdictSettled, fact: Fact, rows: Rows[RequestRow]) -> None:
    _change(
        event.model,
        event.request,
        rows,
        lambda row: replace(
            row,
            verdict=event.verdict,
            settled_at=fact.effective_at,
            settled_event=str(fact.id),
            approvals=row.approvals or _carried(event, fact),
            blocks=() if event.verdict == "allow" else row.blocks,
        ),
    )


def _carried(event: VerdictSettled, fact: Fact) -> tuple[str, ...]:
    """Approvals that were given in an earlier request are told by the verdict alone."""
    return (str(fact.id),) if event.approvals else ()


@requests.on(VerdictRevoked)
def revoked(event: VerdictRevoked, fact: Fact, rows: Rows[RequestRow]) -> None:
    _change(
        event.model,
        event.request,
        rows,
        lambda row: replace(row, revoked_event=str(fact.id)),
    )


VIEWS = (requests,)
