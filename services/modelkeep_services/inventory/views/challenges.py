"""Reviews and findings, open and done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from modelkeep.events import inventory as e
from modelkeep.events.types import Person
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class ReviewRow:
    model: str
    review: str
    kind: str
    due_at: datetime
    event_id: str
    status: str = "scheduled"
    outcome: str | None = None
    notes: str | None = None
    completed_at: datetime | None = None


reviews = View("reviews", ReviewRow)
"""By `model/review`."""


@reviews.on(e.ReviewScheduled)
def scheduled(event: e.ReviewScheduled, fact: Fact, rows: Rows[ReviewRow]) -> None:
    rows.put(
        f"{event.model}/{event.review}",
        ReviewRow(event.model, event.review, event.kind, event.due_at, str(fact.id)),
    )


@reviews.on(e.ReviewOverdue)
def review_overdue(event: e.ReviewOverdue, fact: Fact, rows: Rows[ReviewRow]) -> None:
    key = f"{event.model}/{event.review}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, status="overdue", event_id=str(fact.id)))


@reviews.on(e.ReviewCompleted)
def completed(event: e.ReviewCompleted, fact: Fact, rows: Rows[ReviewRow]) -> None:
    key = f"{event.model}/{event.review}"
    row = rows.get(key)
    if row is not None:
        done = replace(
            row,
            status="completed",
            outcome=event.outcome,
            notes=event.notes,
            completed_at=fact.effective_at,
            event_id=str(fact.id),
        )
        rows.put(key, done)


@reviews.on(e.ReviewCancelled)
def cancelled(event: e.ReviewCancelled, fact: Fact, rows: Rows[ReviewRow]) -> None:
    key = f"{event.model}/{event.review}"
    row = rows.get(key)
    if row is not None:
        gone = replace(row, status="cancelled", notes=event.reason)
        rows.put(key, replace(gone, event_id=str(fact.id)))


@dataclass(frozen=True)
class ResponseRow:
    response: str
    by: Person
    at: datetime


@dataclass(frozen=True)
class FindingRow:
    """`overdue` outlives an answer; a closure ends it."""

    model: str
    finding: str
    title: str
    detail: str | None
    severity: str
    vector: str
    owner: str
    due_at: datetime
    version: str | None
    raised_by: Person
    raised_at: datetime
    event_id: str
    responses: tuple[ResponseRow, ...] = ()
    overdue: bool = False
    accepted_until: datetime | None = None
    closed_by: Person | None = None
    closed_at: datetime | None = None
    evidence: str | None = None

    @property
    def status(self) -> str:
        if self.closed_at is not None:
            return "closed"
        if self.overdue:
            return "overdue"
        return "responded" if self.responses else "open"


findings = View("findings", FindingRow)
"""By `model/finding`."""


@findings.on(e.FindingRaised)
def raised(event: e.FindingRaised, fact: Fact, rows: Rows[FindingRow]) -> None:
    rows.put(
        f"{event.model}/{event.finding}",
        FindingRow(**dict(event), raised_at=fact.effective_at, event_id=str(fact.id)),
    )


def _change(
    rows: Rows[FindingRow], model: str, finding: str, fact: Fact, **said: object
) -> None:
    key = f"{model}/{finding}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, event_id=str(fact.id), **said))  # type: ignore[arg-type]  # fields of the row, by name


@findings.on(e.FindingResponded)
def responded(event: e.FindingResponded, fact: Fact, rows: Rows[FindingRow]) -> None:
    row = rows.get(f"{event.model}/{event.finding}")
    if row is not None:
        said = ResponseRow(event.response, event.by, fact.effective_at)
        said_so_far = (*row.responses, said)
        _change(rows, event.model, event.finding, fact, responses=said_so_far)


@findings.on(e.FindingOverdue)
def finding_overdue(
    event: e.FindingOverdue, fact: Fact, rows: Rows[FindingRow]
) -> None:
    _change(rows, event.model, event.finding, fact, overdue=True)


@findings.on(e.RiskAccepted)
def accepted(event: e.RiskAccepted, fact: Fact, rows: Rows[FindingRow]) -> None:
    said = {"accepted_until": event.until, "overdue": False}
    _change(rows, event.model, event.subject, fact, **said)


@findings.on(e.FindingClosed)
def closed(event: e.FindingClosed, fact: Fact, rows: Rows[FindingRow]) -> None:
    _change(
        rows,
        event.model,
        event.finding,
        fact,
        closed_by=event.closed_by,
        closed_at=fact.effective_at,
        evidence=event.evidence,
    )
