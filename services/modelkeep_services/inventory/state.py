"""A model as its own past made it: all that a decision about it may rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from modelkeep.events import inventory as e
from modelkeep.events.types import Person

ModelEvent = (
    e.ModelRegistered
    | e.ScopeDecided
    | e.UsesApproved
    | e.BoundariesSet
    | e.ModelClassified
    | e.OverrideExpired
    | e.RoleAssigned
    | e.RoleVacated
    | e.RolesOrphaned
    | e.VersionRegistered
    | e.CardAttached
    | e.VersionSigned
    | e.ValidationRecorded
    | e.VerdictReceived
    | e.VerdictRevoked
    | e.ChangeClassified
    | e.EnvelopeApproved
    | e.Deployed
    | e.TrafficSet
    | e.RolledBack
    | e.Suspended
    | e.Resumed
    | e.Retired
    | e.RetiredModelServed
    | e.ReviewScheduled
    | e.ReviewOverdue
    | e.ReviewCompleted
    | e.ReviewCancelled
    | e.FindingRaised
    | e.FindingResponded
    | e.FindingOverdue
    | e.FindingClosed
    | e.RiskAccepted
    | e.SlaProposed
    | e.SlaAccepted
    | e.SloDefined
    | e.KpiRecorded
)

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Version:
    said: e.VersionRegistered
    card_digest: str | None = None
    signatures: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """`void` says why it allows nothing any more."""

    said: e.VerdictReceived
    void: str = ""


@dataclass(frozen=True)
class Serving:
    """A version in an environment; `withdrawn` after it was rolled back from."""

    version: str
    environment: str
    digest: str
    share: float
    verdict: str
    withdrawn: bool = False


@dataclass(frozen=True)
class Review:
    kind: str
    due_at: datetime
    counts_from: datetime | None = None
    open: bool = True
    overdue: bool = False


@dataclass(frozen=True)
class Finding:
    """`awaited` is when the clock comes back to it; None once it is overdue."""

    said: e.FindingRaised
    awaited: datetime | None
    responders: tuple[Person, ...] = ()
    open: bool = True
    accepted_until: datetime | None = None


@dataclass(frozen=True)
class ModelState:
    """`serving` is in the order of the last deployment, the latest last."""

    registered: e.ModelRegistered | None = None
    scope: e.ScopeDecided | None = None
    uses: frozenset[str] = frozenset()
    boundaries: e.Boundaries = ()
    classified: e.ModelClassified | None = None
    roles: Mapping[e.Role, tuple[Person, ...]] = field(default_factory=dict)
    versions: Mapping[str, Version] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    serving: Mapping[tuple[str, str], Serving] = field(default_factory=dict)
    changes: frozenset[str] = frozenset()
    envelopes: Mapping[str, e.EnvelopeApproved] = field(default_factory=dict)
    suspended: bool = False
    retired: bool = False
    served_after: frozenset[str] = frozenset()
    reviews: Mapping[str, Review] = field(default_factory=dict)
    findings: Mapping[str, Finding] = field(default_factory=dict)
    slas: Mapping[str, e.SlaProposed | e.SlaAccepted] = field(default_factory=dict)
    slos: Mapping[str, e.SloDefined] = field(default_factory=dict)
    kpis: Mapping[tuple[str, datetime, datetime], e.KpiRecorded] = field(
        default_factory=dict
    )

    def holders(self, role: e.Role) -> tuple[Person, ...]:
        return self.roles.get(role, ())

    @property
    def tier(self) -> int | None:
        return None if self.classified is None else self.classified.tier

    def in_environment(self, environment: str) -> list[Serving]:
        return [s for s in self.serving.values() if s.environment == environment]


def evolve(state: ModelState, event: ModelEvent) -> ModelState:  # noqa: C901, PLR0911, PLR0912, PLR0915  # a case an event, in one place
    match event:
        case e.ModelRegistered():
            owner = Person(issuer=event.owner_issuer, subject=event.owner)
            return replace(
                state,
                registered=event,
                uses=frozenset(event.approved_uses),
                boundaries=event.boundaries,
                roles={"owner": (owner,)},
            )
        case e.ScopeDecided():
            return replace(state, scope=event)
        case e.UsesApproved():
            return replace(state, uses=frozenset(event.uses))
        case e.BoundariesSet():
            return replace(state, boundaries=event.boundaries)
        case e.ModelClassified():
            return replace(state, classified=event)
        case e.OverrideExpired():
            return _override_expired(state, event)
        case e.RoleAssigned():
            people = _without(state, event)
            return _roles(
                state, event.role, (*people, _person(event.issuer, event.subject))
            )
        case e.RoleVacated():
            return _roles(state, event.role, _without(state, event))
        case e.VersionRegistered():
            return replace(
                state, versions=_put(state.versions, event.version, Version(event))
            )
        case e.CardAttached():
            version = state.versions[event.version]
            carded = replace(version, card_digest=event.card_digest)
            return replace(state, versions=_put(state.versions, event.version, carded))
        case e.VersionSigned():
            version = state.versions[event.version]
            signatures = version.signatures | {event.signature_digest}
            signed = replace(version, signatures=signatures)
            return replace(state, versions=_put(state.versions, event.version, signed))
        case e.VerdictReceived():
            return replace(
                state, verdicts=_put(state.verdicts, event.source, Verdict(event))
            )
        case e.VerdictRevoked():
            return _void(state, frozenset(event.verdicts), event.reason)
        case e.ChangeClassified():
            return _changed(state, event)
        case e.EnvelopeApproved():
            return replace(
                state, envelopes=_put(state.envelopes, event.envelope, event)
            )
        case e.Deployed():
            return _serve(
                state,
                Serving(
                    event.version,
                    event.environment,
                    event.digest,
                    event.share,
                    event.verdict_source,
                ),
            )
        case e.TrafficSet():
            one = state.serving[event.environment, event.version]
            verdict = event.verdict_source or one.verdict
            return _share(state, replace(one, share=event.share, verdict=verdict))
        case e.RolledBack():
            left = state.serving[event.environment, event.from_version]
            again = state.serving[event.environment, event.to_version]
            state = _share(state, replace(left, share=0.0, withdrawn=True))
            return _serve(state, replace(again, share=event.share))
        case e.Suspended():
            return replace(state, suspended=True)
        case e.Resumed():
            return replace(state, suspended=False)
        case e.Retired():
            return replace(state, retired=True)
        case e.RetiredModelServed():
            return replace(state, served_after=state.served_after | {event.source})
        case e.ReviewScheduled():
            review = Review(event.kind, event.due_at, event.counts_from)
            return _review(state, event.review, review)
        case e.ReviewOverdue():
            review = replace(state.reviews[event.review], overdue=True)
            return _review(state, event.review, review)
        case e.ReviewCompleted() | e.ReviewCancelled():
            review = replace(state.reviews[event.review], open=False)
            return _review(state, event.review, review)
        case e.FindingRaised():
            return _finding(state, event.finding, Finding(event, event.due_at))
        case e.FindingResponded():
            finding = state.findings[event.finding]
            who = (*finding.responders, event.by)
            return _finding(state, event.finding, replace(finding, responders=who))
        case e.FindingOverdue():
            finding = state.findings[event.finding]
            return _finding(state, event.finding, replace(finding, awaited=None))
        case e.FindingClosed():
            finding = replace(state.findings[event.finding], open=False, awaited=None)
            return _finding(state, event.finding, finding)
        case e.RiskAccepted():
            finding = replace(
                state.findings[event.subject],
                accepted_until=event.until,
                awaited=event.awaits,
            )
            return _finding(state, event.subject, finding)
        case e.SlaProposed() | e.SlaAccepted():
            return replace(state, slas=_put(state.slas, event.sla, event))
        case e.SloDefined():
            return replace(state, slos=_put(state.slos, event.slo, event))
        case e.KpiRecorded():
            key = (event.kpi, event.period_start, event.period_end)
            return replace(state, kpis=_put(state.kpis, key, event))
        case e.RolesOrphaned() | e.ValidationRecorded():
            return state


def _put(known: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    return {**known, key: value}


def _person(issuer: str, subject: str) -> Person:
    return Person(issuer=issuer, subject=subject)


def _without(
    state: ModelState, event: e.RoleAssigned | e.RoleVacated
) -> tuple[Person, ...]:
    gone = _person(event.issuer, event.subject)
    return tuple(one for one in state.holders(event.role) if one != gone)


def _roles(state: ModelState, role: e.Role, people: tuple[Person, ...]) -> ModelState:
    return replace(state, roles=_put(state.roles, role, people))


def _override_expired(state: ModelState, event: e.OverrideExpired) -> ModelState:
    was = state.classified
    if was is None:
        return state
    return replace(
        state,
        classified=was.model_copy(
            update={
                "tier": event.tier,
                "source": "derived",
                "reason": None,
                "expires_at": None,
            }
        ),
    )


def _void(state: ModelState, sources: frozenset[str], why: str) -> ModelState:
    verdicts = {
        source: replace(one, void=one.void or why) if source in sources else one
        for source, one in state.verdicts.items()
    }
    return replace(state, verdicts=verdicts)


def _changed(state: ModelState, event: e.ChangeClassified) -> ModelState:
    state = replace(state, changes=state.changes | {event.change})
    return _void(state, frozenset(event.voids), f"material change {event.change}")


def _serve(state: ModelState, one: Serving) -> ModelState:
    """Put it last: it was deployed most recently."""
    key = (one.environment, one.version)
    others = {k: v for k, v in state.serving.items() if k != key}
    return replace(state, serving={**others, key: one})


def _share(state: ModelState, one: Serving) -> ModelState:
    key = (one.environment, one.version)
    return replace(state, serving=_put(state.serving, key, one))


def _review(state: ModelState, name: str, review: Review) -> ModelState:
    return replace(state, reviews=_put(state.reviews, name, review))


def _finding(state: ModelState, name: str, finding: Finding) -> ModelState:
    return replace(state, findings=_put(state.findings, name, finding))
