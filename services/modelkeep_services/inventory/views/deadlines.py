"""What falls due: reviews, findings, overrides. A row is gone once it has fallen."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from modelkeep.events import inventory as e
from modelkeep.timekeeper import Due, due_key, due_view
from modelkeep.views import Fact, Rows

REVIEW: Final = "review"
FINDING: Final = "finding"
OVERRIDE: Final = "override"

due = due_view()


def _await(rows: Rows[Due], at: datetime, kind: str, subject: str) -> None:
    rows.put(due_key(at, kind, subject), Due(kind, subject))


def _forget(rows: Rows[Due], at: datetime | None, kind: str, subject: str) -> None:
    if at is not None:
        rows.delete(due_key(at, kind, subject))


@due.on(e.ReviewScheduled)
def scheduled(event: e.ReviewScheduled, _: Fact, rows: Rows[Due]) -> None:
    subject = f"{event.model}/{event.review}"
    _forget(rows, event.previous_due_at, REVIEW, subject)
    _await(rows, event.due_at, REVIEW, subject)


@due.on(e.ReviewOverdue)
def review_overdue(event: e.ReviewOverdue, _: Fact, rows: Rows[Due]) -> None:
    _forget(rows, event.due_at, REVIEW, f"{event.model}/{event.review}")


@due.on(e.ReviewCompleted)
def completed(event: e.ReviewCompleted, _: Fact, rows: Rows[Due]) -> None:
    _forget(rows, event.due_at, REVIEW, f"{event.model}/{event.review}")


@due.on(e.ReviewCancelled)
def cancelled(event: e.ReviewCancelled, _: Fact, rows: Rows[Due]) -> None:
    _forget(rows, event.due_at, REVIEW, f"{event.model}/{event.review}")


@due.on(e.FindingRaised)
def raised(event: e.FindingRaised, _: Fact, rows: Rows[Due]) -> None:
    _await(rows, event.due_at, FINDING, f"{event.model}/{event.finding}")


@due.on(e.FindingOverdue)
def finding_overdue(event: e.FindingOverdue, _: Fact, rows: Rows[Due]) -> None:
    _forget(rows, event.due_at, FINDING, f"{event.model}/{event.finding}")


@due.on(e.RiskAccepted)
def accepted(event: e.RiskAccepted, _: Fact, rows: Rows[Due]) -> None:
    subject = f"{event.model}/{event.subject}"
    _forget(rows, event.awaited, FINDING, subject)
    _await(rows, event.awaits, FINDING, subject)


@due.on(e.FindingClosed)
def closed(event: e.FindingClosed, _: Fact, rows: Rows[Due]) -> None:
    _forget(rows, event.awaited, FINDING, f"{event.model}/{event.finding}")


@due.on(e.ModelClassified)
def classified(event: e.ModelClassified, _: Fact, rows: Rows[Due]) -> None:
    _forget(rows, event.previous_expires_at, OVERRIDE, event.model)
    if event.expires_at is not None:
        _await(rows, event.expires_at, OVERRIDE, event.model)


@due.on(e.OverrideExpired)
def override_expired(event: e.OverrideExpired, _: Fact, rows: Rows[Due]) -> None:
    _forget(rows, event.expired_at, OVERRIDE, event.model)
