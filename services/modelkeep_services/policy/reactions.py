"""Where policy answers others: what changes voids, and what falls due ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelkeep.decider import Command, Decider
from modelkeep.events.clock import Ticked
from modelkeep.events.inventory import (
    ChangeClassified,
    FindingRaised,
    ModelClassified,
    OverrideExpired,
    Retired,
    UsesApproved,
    ValidationRecorded,
)
from modelkeep.events.policy import Approved, EnvelopeApproved, Lent, VerdictGiven
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.timekeeper import Due, fallen
from modelkeep.views import Fact, Reader
from modelkeep_services.policy import seen, views, views_ahead
from modelkeep_services.policy.domain.bundle import BUNDLE, ChaseReactivation
from modelkeep_services.policy.domain.delegation import DELEGATION, ExpireDelegation
from modelkeep_services.policy.domain.envelope import (
    ENVELOPE,
    ExpireEnvelope,
    VoidEnvelope,
)
from modelkeep_services.policy.domain.exception import EXCEPTION, ExpireException
from modelkeep_services.policy.domain.request import (
    REQUEST,
    ChaseReview,
    EndCondition,
    LapseApproval,
    RevokeVerdict,
)
from modelkeep_services.policy.envelopes import rests

OPEN = frozenset({"proposed", "in_force"})

voids = Reactor("policy.voids")
ahead = Reactor("policy.ahead")
deadlines = Reactor("policy.deadlines")


@voids.on(ChangeClassified)
def changed(event: ChangeClassified, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return _void(event.model, fact, read)


@voids.on(ValidationRecorded)
def withdrawn(
    event: ValidationRecorded, fact: Fact, read: Reader
) -> Iterable[Reaction]:
    return _void(event.model, fact, read)


@voids.on(FindingRaised)
def found(event: FindingRaised, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return _void(event.model, fact, read)


@voids.on(ModelClassified)
def tiered(event: ModelClassified, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return _void(event.model, fact, read)


@voids.on(OverrideExpired)
def override_ended(
    event: OverrideExpired, fact: Fact, read: Reader
) -> Iterable[Reaction]:
    return _void(event.model, fact, read)


def _void(model: str, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """Revoke what still allows, or may come to allow, what this event has changed."""
    row = read.get(seen.models, model)
    void = row.voids[-1] if row is not None and row.voids else None
    if void is None or void.source != str(fact.id):
        return
    for _, one in read.scan(views.live, f"{model}/"):
        ended = one.expires_at is not None and one.expires_at <= fact.known_at
        if void.digest in {None, one.digest} and not ended:
            yield _revocation(one.request, void, fact)


@voids.on(VerdictGiven)
def overtaken(event: VerdictGiven, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """Something changed between the look at the facts and the verdict: it is void."""
    row = read.get(seen.models, event.model)
    since = seen.voids_after(row, event.changed_by) if row is not None else ()
    for void in since:
        if event.verdict != "deny" and void.digest in {None, event.digest}:
            yield _revocation(event.request, void, fact)
            return


def _revocation(request: str, void: seen.Void, fact: Fact) -> Reaction:
    command = RevokeVerdict(request=request, reason=void.reason, cause=void.source)
    stream = stream_name("request", fact.tenant, request)
    return Reaction(stream, REQUEST, command)


@deadlines.on(Ticked)
def ticked(event: Ticked, _: Fact, read: Reader) -> Iterator[Reaction]:
    for tenant in read.tenants(views.due):
        for one in fallen(read.other(tenant), views.due, event.instant):
            yield _ending(one, tenant)


def _ending(due: Due, tenant: str) -> Reaction:
    category, decider, command = _ended(due.kind, due.subject)
    stream = stream_name(category, tenant, due.subject)
    return Reaction(stream, decider, command, tenant=tenant)


def _ended(kind: str, subject: str) -> tuple[str, Decider, Command]:  # noqa: PLR0911  # one answer a kind
    match kind:
        case "exception":
            return "exception", EXCEPTION, ExpireException(exception=subject)
        case "delegation":
            return "delegation", DELEGATION, ExpireDelegation(delegation=subject)
        case "envelope":
            return "envelope", ENVELOPE, ExpireEnvelope(envelope=subject)
        case "reactivation":
            return "bundle", BUNDLE, ChaseReactivation(name=subject)
        case "review":
            return "request", REQUEST, ChaseReview(request=subject)
        case "condition":
            return "request", REQUEST, EndCondition(request=subject)
    return "request", REQUEST, LapseApproval(request=subject)


# --- what was said in advance ------------------------------------------------------


@ahead.on(ModelClassified)
def reclassified(
    event: ModelClassified, fact: Fact, read: Reader
) -> Iterator[Reaction]:
    return _unfounded(event.model, fact, read)


@ahead.on(OverrideExpired)
def reclassified_by_time(
    event: OverrideExpired, fact: Fact, read: Reader
) -> Iterator[Reaction]:
    return _unfounded(event.model, fact, read)


@ahead.on(UsesApproved)
def used_otherwise(event: UsesApproved, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _unfounded(event.model, fact, read)


def _unfounded(model: str, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """Void the envelopes that were approved with another tier, or other uses."""
    row = read.get(seen.models, model)
    for one in views_ahead.of_model(read, model):
        if row is None or one.status not in OPEN or rests(one, row):
            continue
        why = f"the approved uses of {model} changed"
        if one.tier != row.tier:
            why = f"{model} moved from tier {one.tier} to tier {row.tier}"
        yield _voiding(one.envelope, why, fact)


@ahead.on(FindingRaised)
def critical(event: FindingRaised, fact: Fact, read: Reader) -> Iterator[Reaction]:
    if event.severity == "critical":
        why = f"critical finding {event.finding} was raised"
        yield from _all_void(event.model, why, fact, read)


@ahead.on(Retired)
def retired(event: Retired, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _all_void(event.model, f"{event.model} was retired", fact, read)


def _all_void(model: str, why: str, fact: Fact, read: Reader) -> Iterator[Reaction]:
    for one in views_ahead.of_model(read, model):
        if one.status in OPEN:
            yield _voiding(one.envelope, why, fact)


def _voiding(envelope: str, why: str, fact: Fact) -> Reaction:
    command = VoidEnvelope(envelope=envelope, reason=why, cause=str(fact.id))
    return Reaction(stream_name("envelope", fact.tenant, envelope), ENVELOPE, command)


@ahead.on(Approved)
def spoken_for(event: Approved, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """A delegation ended between the look at it and the approval: that is void."""
    gone = _gone(event.lent, read)
    if gone is not None:
        why = f"delegation {gone.delegation} had ended before it was used"
        command = RevokeVerdict(request=event.request, reason=why, cause=str(fact.id))
        stream = stream_name("request", fact.tenant, event.request)
        yield Reaction(stream, REQUEST, command)


@ahead.on(EnvelopeApproved)
def agreed_for(event: EnvelopeApproved, fact: Fact, read: Reader) -> Iterator[Reaction]:
    gone = _gone(event.lent, read)
    if gone is not None:
        why = f"delegation {gone.delegation} had ended before it was used"
        yield _voiding(event.envelope, why, fact)


def _gone(lent: Iterable[Lent], read: Reader) -> Lent | None:
    for one in lent:
        row = read.get(views_ahead.delegations, one.delegation)
        if row is None or row.status != "in_force":
            return one
    return None


REACTORS = (voids, ahead, deadlines)
