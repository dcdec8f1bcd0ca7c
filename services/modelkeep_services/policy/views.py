"""What policy answers from: bundles, requests with their approvals, exceptions.

What was lent and what was approved in advance is in `views_ahead.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from modelkeep.events.policy import (
    Approval,
    ApprovalOverdue,
    ApprovalRequested,
    Approved,
    BrokeGlass,
    BundleActivated,
    BundleActivationFailed,
    BundleApproved,
    BundleBacktested,
    BundleProposed,
    Covered,
    ExceptionExpired,
    ExceptionGranted,
    ExceptionProposed,
    ExceptionWithdrawn,
    GlassReviewed,
    GlassReviewOverdue,
    Owed,
    ReactivationConfirmed,
    ReactivationOverdue,
    Rejected,
    VerdictGiven,
    VerdictRevoked,
    VerdictSettled,
)
from modelkeep.events.types import Person, Sealed
from modelkeep.ledger import stamp
from modelkeep.timekeeper import Due, due_key, due_view
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep_services.policy.domain.bundle import ALONE, APPROVERS, agreed
from modelkeep_services.policy.domain.request import ADMIT, conditional_until, word
from modelkeep_services.policy.domain.seats import last_words

MOST_BACKTESTS = 20
"""So many are told of a bundle; the log has all."""

due = due_view(version=2)

# --- bundles -----------------------------------------------------------------------


@dataclass(frozen=True)
class BundleApprovalRow:
    by: Person
    roles: tuple[str, ...]


@dataclass(frozen=True)
class BacktestRow:
    report: str
    start: datetime | None
    end: datetime | None
    verdicts: int
    flips: int
    loosened: int
    tightened: int
    not_evaluable: int
    by: Person
    at: datetime


@dataclass(frozen=True)
class BundleRow:
    bundle: str
    name: str
    version: str
    author: Person
    proposed_at: datetime
    tests: int
    packaged: bool
    approvals: tuple[BundleApprovalRow, ...] = ()
    activated_at: datetime | None = None
    backtests: tuple[BacktestRow, ...] = ()
    against: str | None = None
    loosens: tuple[str, ...] = ()
    second_due_at: datetime | None = None
    second_overdue: bool = False
    failure: str = ""

    @property
    def approved(self) -> bool:
        return agreed([one.roles for one in self.approvals], self.loosens)

    @property
    def approvers_needed(self) -> int:
        return APPROVERS if self.loosens else ALONE


@dataclass(frozen=True)
class TextRow:
    name: str
    text: str


@dataclass(frozen=True)
class ActiveRow:
    """The last activation of one name, by its event."""

    bundle: str
    version: str
    source: str


bundles = View("bundles", BundleRow, version=2)
texts = View("bundle_texts", TextRow)
activations = View("activations", ActiveRow)


@bundles.on(BundleProposed)
def proposed(event: BundleProposed, fact: Fact, rows: Rows[BundleRow]) -> None:
    said = event.model_dump(exclude={"text", "author", "lines_changed"})
    row = BundleRow(**said, author=event.author, proposed_at=fact.known_at)
    rows.put(event.bundle, row)


@texts.on(BundleProposed)
def text(event: BundleProposed, _: Fact, rows: Rows[TextRow]) -> None:
    rows.put(event.bundle, TextRow(event.name, event.text))


@bundles.on(BundleApproved)
def bundle_approved(event: BundleApproved, _: Fact, rows: Rows[BundleRow]) -> None:
    row = rows.get(event.bundle)
    if row is not None:
        new = BundleApprovalRow(event.by, event.roles)
        rows.put(event.bundle, replace(row, approvals=(*row.approvals, new)))


@bundles.on(BundleBacktested)
def backtested(event: BundleBacktested, fact: Fact, rows: Rows[BundleRow]) -> None:
    row = rows.get(event.bundle)
    if row is None:
        return
    said = event.model_dump(exclude={"bundle", "name", "by"})
    new = BacktestRow(**said, by=event.by, at=fact.known_at)
    kept = (*row.backtests, new)[-MOST_BACKTESTS:]
    rows.put(event.bundle, replace(row, backtests=kept))


@bundles.on(BundleActivated)
def activated(event: BundleActivated, fact: Fact, rows: Rows[BundleRow]) -> None:
    row = rows.get(event.bundle)
    if row is None:
        return
    after = replace(
        row,
        activated_at=fact.known_at,
        second_due_at=event.second_due_at,
        second_overdue=False,
        failure="",
    )
    rows.put(event.bundle, after)


@bundles.on(BundleActivationFailed)
def failed(event: BundleActivationFailed, _: Fact, rows: Rows[BundleRow]) -> None:
    row = rows.get(event.bundle)
    if row is not None:
        rows.put(event.bundle, replace(row, failure=event.reason))


@bundles.on(ReactivationConfirmed)
def confirmed(event: ReactivationConfirmed, _: Fact, rows: Rows[BundleRow]) -> None:
    row = rows.get(event.bundle)
    if row is not None:
        after = replace(row, second_due_at=None, second_overdue=False)
        rows.put(event.bundle, after)


@bundles.on(ReactivationOverdue)
def unconfirmed(event: ReactivationOverdue, _: Fact, rows: Rows[BundleRow]) -> None:
    row = rows.get(event.bundle)
    if row is not None:
        rows.put(event.bundle, replace(row, second_overdue=True))


@due.on(BundleActivated)
def second_owed(event: BundleActivated, _: Fact, rows: Rows[Due]) -> None:
    if event.second_due_at is not None:
        key = due_key(event.second_due_at, "reactivation", event.name)
        rows.put(key, Due("reactivation", event.name))


@due.on(ReactivationConfirmed)
def second_given(event: ReactivationConfirmed, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, "reactivation", event.name))


@due.on(ReactivationOverdue)
def second_late(event: ReactivationOverdue, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, "reactivation", event.name))


@activations.on(BundleActivated)
def in_force(event: BundleActivated, fact: Fact, rows: Rows[ActiveRow]) -> None:
    rows.put(event.name, ActiveRow(event.bundle, event.version, str(fact.id)))


def active(read: Reader) -> ActiveRow | None:
    """The bundle in force: the latest activated, whatever its name."""
    found = standing(read)
    return found[1] if found is not None else None


def standing(read: Reader) -> tuple[int, ActiveRow] | None:
    """The bundle in force, and the position from which on it is."""
    # Which activation came last is said by the log, and by no row: names are streams.
    found = [
        (read.history(activations, name)[-1][0], row)
        for name, row in read.scan(activations)
    ]
    return max(found, key=lambda pair: pair[0], default=None)


def active_since(read: Reader, row: BundleRow) -> int | None:
    """The position at which a bundle was last put in force."""
    past = read.history(activations, row.name)
    return max(
        (at for at, one in past if one is not None and one.bundle == row.bundle),
        default=None,
    )


# --- requests ----------------------------------------------------------------------


@dataclass(frozen=True)
class HeardRow:
    """A person's word in a request, and a comment that only its keystore can open."""

    approval: Approval
    comment: Sealed | None = None


@dataclass(frozen=True)
class RequestRow:
    request: str
    action: str
    model: str
    version: str | None
    digest: str | None
    environment: str | None
    tier: int | None
    verdict: str
    status: Literal["pending", "allowed", "denied", "revoked"]
    reasons: tuple[str, ...]
    owed: tuple[Owed, ...]
    given_at: datetime
    expires_at: datetime | None
    requested_by: Person
    bundle: str
    bundle_version: str
    facts_digest: str
    event_id: str
    heard: tuple[HeardRow, ...] = ()
    settled_at: datetime | None = None
    settled_by: str | None = None
    approvals_due_at: datetime | None = None
    conditions: tuple[str, ...] = ()
    max_traffic_share: float | None = None
    break_glass: bool = False
    revoked_because: str = ""
    asked_at: datetime | None = None
    overdue_since: datetime | None = None
    envelope: Covered | None = None


@dataclass(frozen=True)
class LimitRow:
    """How far an approval lets a digest go in an environment, now or once."""

    request: str
    share: float
    expires_at: datetime | None
    conditional: bool
    revoked: bool = False


@dataclass(frozen=True)
class LiveRow:
    """A request that still waits for approval or allows something."""

    request: str
    action: str
    digest: str | None
    environment: str | None
    tier: int | None
    allowed: bool = False
    expires_at: datetime | None = None
    source: str = ""


@dataclass(frozen=True)
class WordsRow:
    """What people said in one request, while it is not void. `changed_by` is the last
    event known to the verdict that voids what came before it: a later one voids this.
    """

    action: str
    digest: str
    environment: str | None
    approvals: tuple[Approval, ...]
    changed_by: str | None = None


@dataclass(frozen=True)
class IndexRow:
    request: str
    action: str


requests = View("requests", RequestRow, version=2)
verdicts = View("verdicts", VerdictGiven)
of_model = View("verdicts_of_model", IndexRow)
waiting = View("waiting", IndexRow)
late = View("overdue", IndexRow)
"""Those whose approvals did not come in time, until it is asked again."""
limits = View("limits", LimitRow)
live = View("live", LiveRow, version=2)
words = View("words", WordsRow, version=2)


@requests.on(VerdictGiven)
def given(event: VerdictGiven, fact: Fact, rows: Rows[RequestRow]) -> None:
    row = RequestRow(
        request=event.request,
        action=event.action,
        model=event.model,
        version=event.version,
        digest=event.digest,
        environment=event.environment,
        tier=event.tier,
        verdict=event.verdict,
        status="pending",
        reasons=event.reasons,
        owed=event.owed,
        given_at=fact.known_at,
        expires_at=event.expires_at,
        requested_by=event.requested_by,
        bundle=event.bundle,
        bundle_version=f"{event.bundle_name} {event.bundle_version}",
        facts_digest=event.facts_digest,
        event_id=str(fact.id),
        heard=tuple(HeardRow(one) for one in event.approvals),
        envelope=event.envelope,
    )
    rows.put(event.request, row)


@verdicts.on(VerdictGiven)
def kept(event: VerdictGiven, _: Fact, rows: Rows[VerdictGiven]) -> None:
    rows.put(event.request, event)


@of_model.on(VerdictGiven)
def listed(event: VerdictGiven, fact: Fact, rows: Rows[IndexRow]) -> None:
    key = f"{event.model}/{stamp(fact.known_at)}/{event.request}"
    rows.put(key, IndexRow(event.request, event.action))


@live.on(VerdictGiven)
def alive(event: VerdictGiven, _: Fact, rows: Rows[LiveRow]) -> None:
    if event.action == ADMIT:
        return  # asked again within minutes: nothing else may rest on it
    row = LiveRow(
        event.request, event.action, event.digest, event.environment, event.tier
    )
    rows.put(f"{event.model}/{event.request}", row)


@requests.on(ApprovalRequested)
def asked_for(event: ApprovalRequested, fact: Fact, rows: Rows[RequestRow]) -> None:
    row = rows.get(event.request)
    if row is not None:
        said = replace(row, approvals_due_at=event.due_at, asked_at=fact.known_at)
        rows.put(event.request, said)


@requests.on(ApprovalOverdue)
def overdue(event: ApprovalOverdue, _: Fact, rows: Rows[RequestRow]) -> None:
    row = rows.get(event.request)
    if row is not None:
        rows.put(event.request, replace(row, overdue_since=event.due_at))


@late.on(ApprovalOverdue)
def came_late(event: ApprovalOverdue, _: Fact, rows: Rows[IndexRow]) -> None:
    rows.put(_question(event), IndexRow(event.request, event.action))


@late.on(VerdictGiven)
def asked_again(event: VerdictGiven, _: Fact, rows: Rows[IndexRow]) -> None:
    rows.delete(_question(event))


def _question(event: ApprovalOverdue | VerdictGiven) -> str:
    """What is asked, whoever asks and how often."""
    about = (event.model, event.action, event.environment or "", event.digest or "")
    return "/".join(about)


@waiting.on(ApprovalRequested)
def waits(event: ApprovalRequested, _: Fact, rows: Rows[IndexRow]) -> None:
    rows.put(event.request, IndexRow(event.request, event.action))


@due.on(ApprovalRequested)
def falls_due(event: ApprovalRequested, _: Fact, rows: Rows[Due]) -> None:
    key = due_key(event.due_at, "approval", event.request)
    rows.put(key, Due("approval", event.request))


@requests.on(Approved)
def heard(event: Approved, _: Fact, rows: Rows[RequestRow]) -> None:
    row = rows.get(event.request)
    if row is not None:
        others = tuple(one for one in row.heard if one.approval.by != event.by)
        said = (*others, HeardRow(word(event), event.comment))
        rows.put(event.request, replace(row, heard=said, owed=event.owed))


@words.on(VerdictGiven)
def heard_from_here(event: VerdictGiven, _: Fact, rows: Rows[WordsRow]) -> None:
    if event.verdict == "pending" and event.digest is not None:
        row = WordsRow(
            event.action, event.digest, event.environment, (), event.changed_by
        )
        rows.put(f"{event.model}/{event.request}", row)


@words.on(Approved)
def said_yes(event: Approved, _: Fact, rows: Rows[WordsRow]) -> None:
    _hear(rows, event, word(event))


@requests.on(Rejected)
def rejected(event: Rejected, _: Fact, rows: Rows[RequestRow]) -> None:
    row = rows.get(event.request)
    if row is not None:
        others = tuple(one for one in row.heard if one.approval.by != event.by)
        said = (*others, HeardRow(_no(event)))
        rows.put(event.request, replace(row, heard=said))


@words.on(Rejected)
def said_no(event: Rejected, _: Fact, rows: Rows[WordsRow]) -> None:
    _hear(rows, event, _no(event))


def _no(event: Rejected) -> Approval:
    return Approval(
        by=event.by,
        roles=event.roles,
        at=event.at,
        approved=False,
        request=event.request,
        lent=event.lent,
    )


def _hear(rows: Rows[WordsRow], event: Approved | Rejected, approval: Approval) -> None:
    key = f"{event.model}/{event.request}"
    row = rows.get(key)
    if row is not None:
        said = last_words(row.approvals, approval)
        rows.put(key, replace(row, approvals=said))


@requests.on(VerdictSettled)
def settled(event: VerdictSettled, fact: Fact, rows: Rows[RequestRow]) -> None:
    row = rows.get(event.request)
    if row is None:
        return
    allows = event.verdict == "allow"
    after = replace(
        row,
        status="allowed" if allows else "denied",
        reasons=event.reasons,
        owed=() if allows else row.owed,
        settled_at=fact.known_at,
        settled_by=str(fact.id),
        expires_at=event.expires_at,
        conditions=event.conditions,
        max_traffic_share=event.max_traffic_share,
        break_glass=event.break_glass,
    )
    rows.put(event.request, after)


@waiting.on(VerdictSettled)
def waits_no_more(event: VerdictSettled, _: Fact, rows: Rows[IndexRow]) -> None:
    rows.delete(event.request)


@due.on(VerdictSettled)
def settled_in_time(event: VerdictSettled, _: Fact, rows: Rows[Due]) -> None:
    if event.approvals_due_at is not None:
        rows.delete(due_key(event.approvals_due_at, "approval", event.request))
    until = conditional_until(event)
    if until is not None:
        key = due_key(until, "condition", event.request)
        rows.put(key, Due("condition", event.request))


@live.on(VerdictSettled)
def allows(event: VerdictSettled, fact: Fact, rows: Rows[LiveRow]) -> None:
    key = f"{event.model}/{event.request}"
    if event.verdict == "deny" or event.action == ADMIT:
        rows.delete(key)
        return
    row = LiveRow(
        event.request,
        event.action,
        event.digest,
        event.environment,
        event.tier,
        allowed=True,
        expires_at=event.expires_at,
        source=str(fact.id),
    )
    rows.put(key, row)


@limits.on(VerdictSettled)
def limited(event: VerdictSettled, _: Fact, rows: Rows[LimitRow]) -> None:
    """Glass that was broken lifts no limit of an approval."""
    if event.verdict != "allow" or event.action != "promote" or event.break_glass:
        return
    share = event.max_traffic_share
    row = LimitRow(
        event.request,
        1.0 if share is None else share,
        event.expires_at,
        conditional_until(event) is not None,
    )
    rows.put(_place(event), row)


@limits.on(VerdictRevoked)
def unlimited(event: VerdictRevoked, _: Fact, rows: Rows[LimitRow]) -> None:
    row = rows.get(_place(event))
    if row is not None:
        rows.put(_place(event), replace(row, revoked=True))


def _place(event: VerdictSettled | VerdictRevoked) -> str:
    where = f"{event.model}/{event.digest}/{event.environment}"
    return f"{where}/{event.request}"


@requests.on(VerdictRevoked)
def revoked(event: VerdictRevoked, _: Fact, rows: Rows[RequestRow]) -> None:
    row = rows.get(event.request)
    if row is not None:
        after = replace(row, status="revoked", revoked_because=event.reason)
        rows.put(event.request, after)


@waiting.on(VerdictRevoked)
def waits_in_vain(event: VerdictRevoked, _: Fact, rows: Rows[IndexRow]) -> None:
    rows.delete(event.request)


@live.on(VerdictRevoked)
def allows_no_more(event: VerdictRevoked, _: Fact, rows: Rows[LiveRow]) -> None:
    rows.delete(f"{event.model}/{event.request}")


@words.on(VerdictRevoked)
def void(event: VerdictRevoked, _: Fact, rows: Rows[WordsRow]) -> None:
    rows.delete(f"{event.model}/{event.request}")


@due.on(VerdictRevoked)
def revoked_in_time(event: VerdictRevoked, _: Fact, rows: Rows[Due]) -> None:
    if event.approvals_due_at is not None:
        rows.delete(due_key(event.approvals_due_at, "approval", event.request))
    if event.condition_until is not None:
        rows.delete(due_key(event.condition_until, "condition", event.request))


@due.on(BrokeGlass)
def review_owed(event: BrokeGlass, _: Fact, rows: Rows[Due]) -> None:
    key = due_key(event.review_due_at, "review", event.request)
    rows.put(key, Due("review", event.request))


@due.on(GlassReviewed)
def review_done(event: GlassReviewed, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, "review", event.request))


@due.on(GlassReviewOverdue)
def review_late(event: GlassReviewOverdue, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.due_at, "review", event.request))


# --- exceptions --------------------------------------------------------------------


@dataclass(frozen=True)
class ExceptionRow:
    exception: str
    model: str
    tier: int
    rule: str
    reason: str
    owner: Person
    until: datetime
    status: Literal["proposed", "granted", "expired", "withdrawn"]
    granted_by: tuple[Person, ...] = ()


exceptions = View("exceptions", ExceptionRow)
exceptions_of = View("exceptions_of_model", ExceptionRow)


@exceptions.on(ExceptionProposed)
def exception_proposed(
    event: ExceptionProposed, _: Fact, rows: Rows[ExceptionRow]
) -> None:
    rows.put(event.exception, _proposed(event))


@exceptions_of.on(ExceptionProposed)
def proposed_of(event: ExceptionProposed, _: Fact, rows: Rows[ExceptionRow]) -> None:
    rows.put(f"{event.model}/{event.exception}", _proposed(event))


@due.on(ExceptionProposed)
def proposal_ends(event: ExceptionProposed, _: Fact, rows: Rows[Due]) -> None:
    key = due_key(event.until, "exception", event.exception)
    rows.put(key, Due("exception", event.exception))


@exceptions.on(ExceptionGranted)
def exception_granted(
    event: ExceptionGranted, _: Fact, rows: Rows[ExceptionRow]
) -> None:
    rows.put(event.exception, _granted(event))


@exceptions_of.on(ExceptionGranted)
def granted_of(event: ExceptionGranted, _: Fact, rows: Rows[ExceptionRow]) -> None:
    rows.put(f"{event.model}/{event.exception}", _granted(event))


@due.on(ExceptionGranted)
def exception_ends(event: ExceptionGranted, _: Fact, rows: Rows[Due]) -> None:
    key = due_key(event.until, "exception", event.exception)
    rows.put(key, Due("exception", event.exception))


@exceptions.on(ExceptionExpired)
def exception_expired(
    event: ExceptionExpired, _: Fact, rows: Rows[ExceptionRow]
) -> None:
    _end(rows, event.exception, "expired")


@exceptions_of.on(ExceptionExpired)
def expired_of(event: ExceptionExpired, _: Fact, rows: Rows[ExceptionRow]) -> None:
    _end(rows, f"{event.model}/{event.exception}", "expired")


@due.on(ExceptionExpired)
def expired_on_time(event: ExceptionExpired, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.until, "exception", event.exception))


@exceptions.on(ExceptionWithdrawn)
def exception_withdrawn(
    event: ExceptionWithdrawn, _: Fact, rows: Rows[ExceptionRow]
) -> None:
    _end(rows, event.exception, "withdrawn")


@exceptions_of.on(ExceptionWithdrawn)
def withdrawn_of(event: ExceptionWithdrawn, _: Fact, rows: Rows[ExceptionRow]) -> None:
    _end(rows, f"{event.model}/{event.exception}", "withdrawn")


@due.on(ExceptionWithdrawn)
def withdrawn_early(event: ExceptionWithdrawn, _: Fact, rows: Rows[Due]) -> None:
    rows.delete(due_key(event.until, "exception", event.exception))


def _proposed(event: ExceptionProposed) -> ExceptionRow:
    said = event.model_dump(exclude={"by", "owner", "parties"})
    return ExceptionRow(
        **said, owner=event.owner, status="proposed", granted_by=(event.by,)
    )


def _granted(event: ExceptionGranted) -> ExceptionRow:
    said = event.model_dump(exclude={"granted_by", "owner"})
    return ExceptionRow(
        **said, owner=event.owner, status="granted", granted_by=event.granted_by
    )


def _end(
    rows: Rows[ExceptionRow], key: str, status: Literal["expired", "withdrawn"]
) -> None:
    row = rows.get(key)
    if row is not None:
        rows.put(key, replace(row, status=status))


VIEWS = (
    bundles,
    texts,
    activations,
    requests,
    verdicts,
    of_model,
    waiting,
    late,
    limits,
    live,
    words,
    exceptions,
    exceptions_of,
    due,
)
