"""Where the inventory answers others: verdicts copied, deadlines noted, ghosts seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from modelkeep.events.clock import Ticked
from modelkeep.events.inventory import ModelClassified
from modelkeep.events.monitoring import BatchRecorded
from modelkeep.events.policy import VerdictRevoked, VerdictSettled
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.timekeeper import Due, fallen
from modelkeep.views import Fact, Reader
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory import views
from modelkeep_services.inventory.domain import MODEL
from modelkeep_services.inventory.views.deadlines import FINDING, REVIEW

verdicts = Reactor("inventory.verdicts", from_start=True)
deadlines = Reactor("inventory.deadlines")
ghosts = Reactor("inventory.ghosts")
exposure = Reactor("inventory.exposure")


def _stream(fact: Fact, model: str) -> str:
    return stream_name("model", fact.tenant, model)


# --- policy's verdicts -------------------------------------------------------------


ADMIT: Final = "admit"
"""Lets a process serve what is deployed already: nothing here rests on it."""


@verdicts.on(VerdictSettled)
def settled(event: VerdictSettled, fact: Fact, _: Reader) -> Iterable[Reaction]:
    if event.action == ADMIT:
        return
    command = c.RecordVerdict(
        model=event.model,
        version=event.version,
        digest=event.digest,
        action=event.action,
        environment=event.environment,
        verdict=event.verdict,
        request=event.request,
        conditions=event.conditions,
        max_traffic_share=event.max_traffic_share,
        expires_at=event.expires_at,
        source=str(fact.id),
    )
    yield Reaction(_stream(fact, event.model), MODEL, command)


@verdicts.on(VerdictRevoked)
def revoked(event: VerdictRevoked, fact: Fact, _: Reader) -> Iterable[Reaction]:
    command = c.RecordRevocation(
        model=event.model,
        request=event.request,
        reason=event.reason,
        source=str(fact.id),
    )
    yield Reaction(_stream(fact, event.model), MODEL, command)


# --- the clock ---------------------------------------------------------------------


@deadlines.on(Ticked)
def passed(event: Ticked, _: Fact, read: Reader) -> Iterator[Reaction]:
    for tenant in read.tenants(views.due):
        for one in fallen(read.other(tenant), views.due, event.instant):
            command = _overdue(one, event)
            yield Reaction(
                stream_name("model", tenant, command.model),
                MODEL,
                command,
                tenant=tenant,
                effective_at=event.instant,
                part=f"/{one.subject}",
            )


def _overdue(one: Due, event: Ticked) -> c.ModelCommand:
    model, _, about = one.subject.partition("/")
    if one.kind == REVIEW:
        return c.NoteReviewOverdue(model=model, review=about, instant=event.instant)
    if one.kind == FINDING:
        return c.NoteFindingOverdue(model=model, finding=about, instant=event.instant)
    return c.ExpireOverride(model=model, expired_at=event.instant)


# --- what serves though it should not ----------------------------------------------


@ghosts.on(BatchRecorded)
def served(event: BatchRecorded, fact: Fact, read: Reader) -> Iterator[Reaction]:
    row = read.get(views.models, event.model)
    # Decisions made before it was retired may arrive late, and are no matter.
    if row is None or row.retired_at is None or event.last_at <= row.retired_at:
        return
    command = c.RecordServedAfterRetirement(
        model=event.model,
        version=event.version,
        environment=event.environment,
        decisions=event.rows,
        last_at=event.last_at,
        source=str(fact.id),
    )
    yield Reaction(_stream(fact, event.model), MODEL, command)


# --- one use, one exposure ---------------------------------------------------------


@exposure.on(ModelClassified)
def stated(event: ModelClassified, fact: Fact, read: Reader) -> Iterator[Reaction]:
    """The exposure of a use was stated: all models that serve it share it, this one
    too, since a reaction to an earlier statement may have come in between. Reactions
    follow the order of statements, so the last one holds for all.
    """
    if event.exposure_from is not None:
        return
    use, share = event.drivers.use, event.drivers.exposure_share
    for _, row in read.scan(views.uses, f"{use}/"):
        command = c.FollowExposure(
            model=row.model, use=use, exposure_share=share, stated_for=event.model
        )
        yield Reaction(_stream(fact, row.model), MODEL, command)


REACTORS: Final = (verdicts, deadlines, ghosts, exposure)
