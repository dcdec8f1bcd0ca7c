"""Whether approvals are a challenge: time against size, yes-sayers, mutual favours.

Figures, not verdicts on people: each answer stands beside how long it took and how much
it was about, and who reads it judges. Only words are counted, and one once: an approval
that still holds in a later request was said in the first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Final

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.events.policy import (
    ApprovalRequested,
    Approved,
    BundleApproved,
    BundleProposed,
    ChangeSize,
    Rejected,
    VerdictGiven,
)
from modelkeep.events.types import Person
from modelkeep.ledger import stamp
from modelkeep.service import Asked
from modelkeep.views import Fact, Rows, View
from modelkeep.wire import fill

THRESHOLD: Final = 10
"""So many approvals without a refusal are worth a question."""

LISTED: Final = 100


@dataclass(frozen=True)
class WordRow:
    """One person's answer. With `asked_at` None it is what was asked, unanswered."""

    subject: str
    model: str
    tier: int | None
    by: Person | None
    asked_by: Person
    approved: bool
    asked_at: datetime | None
    at: datetime
    size: ChangeSize | None = None
    lines_changed: int | None = None

    @property
    def seconds(self) -> int:
        return round((self.at - (self.asked_at or self.at)).total_seconds())


said = View("challenge", WordRow)
"""What was asked by `asked/subject`, and what was answered by
`said/time/subject/person`.
"""


@said.on(VerdictGiven)
def given(event: VerdictGiven, fact: Fact, rows: Rows[WordRow]) -> None:
    if event.verdict == "pending":
        row = WordRow(
            event.request,
            event.model,
            event.tier,
            None,
            event.requested_by,
            approved=False,
            asked_at=None,
            at=fact.known_at,
            size=event.size,
        )
        rows.put(f"asked/{event.request}", row)


@said.on(ApprovalRequested)
def requested(event: ApprovalRequested, fact: Fact, rows: Rows[WordRow]) -> None:
    """The time runs from here: a verdict may have waited for the asking."""
    key = f"asked/{event.request}"
    row = rows.get(key)
    if row is not None:
        rows.put(key, _since(row, fact.known_at))


@said.on(Approved)
def approved(event: Approved, fact: Fact, rows: Rows[WordRow]) -> None:
    _answered(rows, event.request, event.by, fact, approved=True)


@said.on(Rejected)
def rejected(event: Rejected, fact: Fact, rows: Rows[WordRow]) -> None:
    _answered(rows, event.request, event.by, fact, approved=False)


@said.on(BundleProposed)
def bundle_proposed(event: BundleProposed, fact: Fact, rows: Rows[WordRow]) -> None:
    row = WordRow(
        event.bundle,
        "",
        None,
        None,
        event.author,
        approved=False,
        asked_at=None,
        at=fact.known_at,
        lines_changed=event.lines_changed,
    )
    rows.put(f"asked/{event.bundle}", row)


@said.on(BundleApproved)
def bundle_approved(event: BundleApproved, fact: Fact, rows: Rows[WordRow]) -> None:
    _answered(rows, event.bundle, event.by, fact, approved=True)


def _since(row: WordRow, at: datetime) -> WordRow:
    return WordRow(
        row.subject,
        row.model,
        row.tier,
        None,
        row.asked_by,
        approved=False,
        asked_at=None,
        at=at,
        size=row.size,
        lines_changed=row.lines_changed,
    )


def _answered(
    rows: Rows[WordRow], subject: str, by: Person, fact: Fact, *, approved: bool
) -> None:
    asked = rows.get(f"asked/{subject}")
    if asked is None:
        return
    row = WordRow(
        subject,
        asked.model,
        asked.tier,
        by,
        asked.asked_by,
        approved=approved,
        asked_at=asked.at,
        at=fact.known_at,
        size=asked.size,
        lines_changed=asked.lines_changed,
    )
    person = f"{by.issuer}/{by.subject}"
    rows.put(f"said/{stamp(fact.known_at)}/{subject}/{person}", row)


VIEWS = (said,)


# --- the query ---------------------------------------------------------------------


def get_challenge(
    asking: pb.GetChallengeRequest, asked: Asked
) -> pb.GetChallengeResponse:
    words = [
        row
        for _, row in asked.read.scan(said, "said/")
        if row.by is not None and _within(asking, row.at)
    ]
    threshold = asking.threshold or THRESHOLD
    fastest = sorted(words, key=lambda row: (_pace(row), row.at, row.subject))
    return pb.GetChallengeResponse(
        reviewers=[*_reviewers(words, threshold)],
        reciprocals=[*_reciprocals(words)],
        fastest=[_told(row) for row in fastest[:LISTED]],
        words=len(words),
        threshold=threshold,
    )


def _within(asking: pb.GetChallengeRequest, at: datetime) -> bool:
    since, until = asking.since, asking.until
    after = not asking.HasField("since") or since.ToDatetime(tzinfo=UTC) <= at
    return after and (not asking.HasField("until") or at < until.ToDatetime(tzinfo=UTC))


def _pace(row: WordRow) -> float:
    """Seconds for each part of the change: a feature that moved, or a changed line.

    A change whose size is not known, or is nothing, counts as one part.
    """
    parts = row.lines_changed
    if row.size is not None:
        parts = row.size.features_changed or row.size.features
    return row.seconds / (parts or 1)


def _reviewers(words: Iterable[WordRow], threshold: int) -> Iterator[pb.Reviewer]:
    by_person: dict[Person, list[WordRow]] = defaultdict(list)
    for row in words:
        if row.by is not None:
            by_person[row.by].append(row)
    for person, rows in sorted(by_person.items(), key=lambda pair: _name(pair[0])):
        approvals = sum(row.approved for row in rows)
        refusals = len(rows) - approvals
        spent = [row.seconds for row in rows]
        yield fill(
            pb.Reviewer(),
            {
                "person": person,
                "approvals": approvals,
                "refusals": refusals,
                "shortest_seconds": min(spent),
                "median_seconds": round(median(spent)),
                "never_refuses": approvals >= threshold and not refusals,
            },
        )


def _reciprocals(words: Iterable[WordRow]) -> Iterator[pb.Reciprocal]:
    """Pairs in which each approved what the other asked for."""
    yes = Counter(
        (row.by, row.asked_by) for row in words if row.approved and row.by is not None
    )
    for (one, other), count in sorted(
        yes.items(), key=lambda pair: (_name(pair[0][0]), _name(pair[0][1]))
    ):
        if _name(one) < _name(other) and (other, one) in yes:
            found = {"one": one, "other": other, "by_one": count}
            yield fill(pb.Reciprocal(), {**found, "by_other": yes[other, one]})


def _name(person: Person) -> tuple[str, str]:
    return person.issuer, person.subject


def _told(row: WordRow) -> pb.Challenge:
    found = fill(pb.Challenge(), row)
    found.seconds = row.seconds
    return found
