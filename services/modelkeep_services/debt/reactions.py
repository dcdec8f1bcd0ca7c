"""What becomes a debt by itself, what ends it, and what the clock makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Final

from modelkeep.decider import Command
from modelkeep.events.clock import Ticked
from modelkeep.events.debt import DebtKind
from modelkeep.events.inventory import (
    CardAttached,
    Deployed,
    FindingClosed,
    FindingRaised,
    ModelClassified,
    OverrideExpired,
    ReviewCompleted,
    ReviewOverdue,
    RiskAccepted,
)
from modelkeep.events.monitoring import AlertOverdue, AlertRaised, AlertResolved
from modelkeep.events.policy import ExceptionGranted, ExceptionWithdrawn
from modelkeep.events.types import RiskVector, Severity
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.timekeeper import fallen
from modelkeep.views import Fact, Reader
from modelkeep_services.debt import domain, views
from modelkeep_services.debt.domain import LIABILITY
from modelkeep_services.debt.rates import CARD, Caused

owed = Reactor("debt.owed")
ended = Reactor("debt.ended")
changed = Reactor("debt.changed")
charged = Reactor("debt.charged")

NOT_LIVE: Final = frozenset({"dev", "test", "qa", "staging", "sandbox"})
"""Where a version without a card decides nothing yet."""

NAME: Final = 60


def liability_of(origin: Caused, model: str, thing: str) -> str:
    """Name a liability by what caused it, short enough and like no other."""
    digest = sha256(f"{origin}/{model}/{thing}".encode()).hexdigest()[:12]
    return f"{origin}-{model[:NAME]}-{digest}"


# --- what is owed ------------------------------------------------------------------


@owed.on(ReviewOverdue)
def review(event: ReviewOverdue, fact: Fact, read: Reader) -> Iterable[Reaction]:
    yield _incur(
        fact,
        read,
        "review",
        event.model,
        event.review,
        f"Review {event.review} is overdue",
        "governance_lapse",
    )


@owed.on(FindingRaised)
def finding(event: FindingRaised, fact: Fact, read: Reader) -> Iterable[Reaction]:
    yield _incur(
        fact,
        read,
        "finding",
        event.model,
        event.finding,
        f"Finding: {event.title}",
        event.vector,
        severity=event.severity,
        owner=event.owner,
        due_at=event.due_at,
    )


@owed.on(ExceptionGranted)
def exception(event: ExceptionGranted, fact: Fact, read: Reader) -> Iterable[Reaction]:
    yield _incur(
        fact,
        read,
        "exception",
        event.model,
        event.exception,
        f"Exception from {event.rule}",
        "governance_lapse",
        owner=event.owner.subject,
        due_at=event.until,
    )


@owed.on(AlertOverdue)
def alert(event: AlertOverdue, fact: Fact, read: Reader) -> Iterable[Reaction]:
    yield _incur(
        fact,
        read,
        "alert",
        event.model,
        event.alert,
        f"Alert {event.alert} is unresolved",
        event.vector,
        severity=event.severity,
        owner=event.owner,
    )


@owed.on(Deployed)
def card(event: Deployed, fact: Fact, read: Reader) -> Iterable[Reaction]:
    version = f"{event.model}/{event.version}"
    if event.environment in NOT_LIVE or read.get(views.cards, version) is not None:
        return
    yield _incur(
        fact,
        read,
        "card",
        event.model,
        event.version,
        f"Version {event.version} is live without a model card",
        "governance_lapse",
        kind="explainability",
    )


def _incur(
    fact: Fact,
    read: Reader,
    origin: Caused,
    model: str,
    thing: str,
    title: str,
    vector: RiskVector,
    *,
    kind: DebtKind | None = None,
    severity: Severity | None = None,
    owner: str | None = None,
    due_at: datetime | None = None,
) -> Reaction:
    """Priced by the card: what the cause does not say, the card does."""
    known = read.get(views.models, model)
    tier = CARD.tier_when_unclassified if known is None else known.charged_as
    terms = CARD.terms(
        origin, tier, fact.effective_at, severity=severity, due_at=due_at
    )
    command = domain.IncurByCause(
        liability=liability_of(origin, model, thing),
        model=model,
        kind=kind or CARD.kinds[vector],
        vector=vector,
        title=title[:200],
        severity=terms.severity,
        minutes=terms.minutes,
        money=terms.money,
        owner=owner or ("nobody" if known is None else known.owner),
        due_at=terms.due_at,
        tier=tier,
        origin=origin,
        source=str(fact.id),
    )
    return _on(fact, command.liability, command)


# --- what ends it ------------------------------------------------------------------


@ended.on(ReviewCompleted)
def reviewed(event: ReviewCompleted, fact: Fact, _: Reader) -> Iterable[Reaction]:
    yield _cure(fact, "review", event.model, event.review, "the review was completed")


@ended.on(FindingClosed)
def closed(event: FindingClosed, fact: Fact, _: Reader) -> Iterable[Reaction]:
    yield _cure(fact, "finding", event.model, event.finding, event.evidence)


@ended.on(ExceptionWithdrawn)
def withdrawn(event: ExceptionWithdrawn, fact: Fact, _: Reader) -> Iterable[Reaction]:
    yield _cure(fact, "exception", event.model, event.exception, event.reason)


@ended.on(AlertResolved)
def resolved(event: AlertResolved, fact: Fact, _: Reader) -> Iterable[Reaction]:
    yield _cure(fact, "alert", event.model, event.alert, event.reason)


@ended.on(CardAttached)
def documented(event: CardAttached, fact: Fact, _: Reader) -> Iterable[Reaction]:
    evidence = f"card {event.card_digest}"
    yield _cure(fact, "card", event.model, event.version, evidence)


@ended.on(RiskAccepted)
def accepted(event: RiskAccepted, fact: Fact, _: Reader) -> Iterable[Reaction]:
    """A finding's acceptance is its debt's."""
    command = domain.AcceptByCause(
        until=event.until, reason=event.reason, by=event.accepted_by
    )
    yield _on(fact, liability_of("finding", event.model, event.subject), command)


def _cure(
    fact: Fact, origin: Caused, model: str, thing: str, evidence: str
) -> Reaction:
    command = domain.CureByCause(evidence=evidence, source=str(fact.id))
    return _on(fact, liability_of(origin, model, thing), command)


# --- what changes it ---------------------------------------------------------------


@changed.on(ModelClassified)
def classified(event: ModelClassified, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return _retier(fact, read, event.model, event.tier, "the model was classified")


@changed.on(OverrideExpired)
def expired(event: OverrideExpired, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return _retier(fact, read, event.model, event.tier, "an override has expired")


def _retier(
    fact: Fact, read: Reader, model: str, tier: int, reason: str
) -> Iterable[Reaction]:
    command = domain.Retier(tier=tier, reason=reason)
    for liability in views.open_of(read, model):
        yield _on(fact, liability.liability, command)


@changed.on(AlertRaised)
def incident(event: AlertRaised, fact: Fact, read: Reader) -> Iterable[Reaction]:
    """An alert is an incident of what the model already owed on the same vector."""
    for liability in views.open_of(read, event.model):
        if liability.vector == event.vector:
            command = domain.LinkIncidentByCause(group=event.alert)
            yield _on(fact, liability.liability, command)


# --- the clock ---------------------------------------------------------------------


@charged.on(Ticked)
def tick(event: Ticked, _: Fact, read: Reader) -> Iterable[Reaction]:
    command = domain.FallDue(instant=event.instant)
    for tenant in read.tenants(views.due):
        for one in fallen(read.other(tenant), views.due, event.instant):
            stream = stream_name("debt", tenant, one.subject)
            yield Reaction(stream, LIABILITY, command, tenant=tenant)


def _on(fact: Fact, liability: str, command: Command) -> Reaction:
    stream = stream_name("debt", fact.tenant, liability)
    return Reaction(stream, LIABILITY, command)
