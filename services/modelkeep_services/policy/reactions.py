"""Where policy answers others: what changes voids, and what falls due ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelkeep.events.clock import Ticked
from modelkeep.events.inventory import (
    ChangeClassified,
    FindingRaised,
    ModelClassified,
    OverrideExpired,
    ValidationRecorded,
)
from modelkeep.events.policy import VerdictGiven
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.timekeeper import Due, fallen
from modelkeep.views import Fact, Reader
from modelkeep_services.policy import seen, views
from modelkeep_services.policy.domain.exception import EXCEPTION, ExpireException
from modelkeep_services.policy.domain.request import (
    REQUEST,
    ChaseReview,
    LapseApproval,
    RevokeVerdict,
)

voids = Reactor("policy.voids")
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
    since = _after(row.voids, event.changed_by) if row is not None else ()
    for void in since:
        if event.verdict != "deny" and void.digest in {None, event.digest}:
            yield _revocation(event.request, void, fact)
            return


def _after(voids: tuple[seen.Void, ...], known: str | None) -> tuple[seen.Void, ...]:
    sources = [one.source for one in voids]
    return voids[sources.index(known) + 1 :] if known in sources else voids


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
    if due.kind == "exception":
        command = ExpireException(exception=due.subject)
        stream = stream_name("exception", tenant, due.subject)
        return Reaction(stream, EXCEPTION, command, tenant=tenant)
    stream = stream_name("request", tenant, due.subject)
    if due.kind == "review":
        review = ChaseReview(request=due.subject)
        return Reaction(stream, REQUEST, review, tenant=tenant)
    lapse = LapseApproval(request=due.subject)
    return Reaction(stream, REQUEST, lapse, tenant=tenant)


REACTORS = (voids, deadlines)
