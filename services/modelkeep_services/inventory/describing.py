"""What a model is: its registration, its uses, its tier, its people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from modelkeep.decider import Context
from modelkeep.errors import Invalid, NotFound
from modelkeep.events import inventory as e
from modelkeep.events.types import Person
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory import rubric
from modelkeep_services.inventory.months import add_months
from modelkeep_services.inventory.refusing import BUILDERS, CHALLENGERS, refuse
from modelkeep_services.inventory.state import ModelEvent, ModelState

PERIODIC = "periodic"


def register(
    command: c.RegisterModel, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    if state.registered is not None:
        refuse("registered-once", f"model {command.model} is registered", command.model)
    said = dict(command)
    said["owner_issuer"] = command.owner_issuer or context.actor.issuer
    owed = rubric.in_force().evidence_owed[command.kind]
    return [e.ModelRegistered(**said, evidence_owed=owed)]


def decide_scope(
    command: c.DecideScope, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    said = e.ScopeDecided(**dict(command), by=context.actor.person)
    return () if said == state.scope else (said,)


def approve_uses(
    command: c.ApproveUses, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    if frozenset(command.uses) == state.uses:
        return ()
    uses = tuple(sorted(set(command.uses)))
    return [e.UsesApproved(model=command.model, uses=uses, by=context.actor.person)]


def set_boundaries(
    command: c.SetBoundaries, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    if command.boundaries == state.boundaries:
        return ()
    return [e.BoundariesSet(**dict(command), by=context.actor.person)]


# --- the tier ----------------------------------------------------------------------


def classify(
    command: c.ClassifyRisk, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    found = rubric.drivers(
        rubric.in_force(),
        use=command.use or command.model,
        exposure_share=command.exposure_share,
        purpose=command.purpose,
        harm=command.harm,
        method=command.method,
        input_uncertainty=command.input_uncertainty,
        opacity=command.opacity,
        autonomy=command.autonomy,
        black_box=command.black_box,
        forced=tuple(dict.fromkeys(command.always_tier_one)),
    )
    flags = tuple(dict.fromkeys(command.regime_flags))
    return _classified(command.model, found, flags, state, context)


def follow_exposure(
    command: c.FollowExposure, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    was = state.classified
    if was is None or was.drivers.use != command.use:
        return ()
    drivers = was.drivers
    found = rubric.drivers(
        rubric.in_force(),
        use=drivers.use,
        exposure_share=command.exposure_share,
        purpose=drivers.purpose,
        harm=drivers.harm,
        method=drivers.method,
        input_uncertainty=drivers.input_uncertainty,
        opacity=drivers.opacity,
        autonomy=drivers.autonomy,
        black_box=drivers.black_box,
        forced=drivers.forced,
    )
    who = command.stated_for
    return _classified(command.model, found, was.regime_flags, state, context, who)


def _classified(
    model: str,
    found: e.Drivers,
    flags: tuple[str, ...],
    state: ModelState,
    context: Context,
    exposure_from: str | None = None,
) -> Sequence[ModelEvent]:
    document, was = rubric.in_force(), state.classified
    derived = rubric.tier(document, found)
    # An override stands until its end, whatever is computed meanwhile.
    kept = was if was is not None and _overridden(was, context.now) else None
    event = e.ModelClassified(
        model=model,
        tier=derived if kept is None else kept.tier,
        derived_tier=derived,
        source="derived" if kept is None else "override",
        drivers=found,
        rubric=document.title,
        rubric_digest=document.digest,
        reason=None if kept is None else kept.reason,
        expires_at=None if kept is None else kept.expires_at,
        previous_expires_at=None if was is None else was.expires_at,
        exposure_from=exposure_from,
        regime_flags=flags,
        by=context.actor.person,
    )
    if was is not None and _same(was, event):
        return ()
    return [event, *periodic_review(model, event.tier, state, context)]


def _overridden(was: e.ModelClassified, now: datetime) -> bool:
    return (
        was.source == "override" and was.expires_at is not None and now < was.expires_at
    )


def _same(was: e.ModelClassified, now: e.ModelClassified) -> bool:
    """Who says it again does not make it news."""
    volatile = ("by", "previous_expires_at", "exposure_from")
    return was.model_copy(update={name: getattr(now, name) for name in volatile}) == now


def override(
    command: c.OverrideTier, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    was = state.classified
    if was is None:
        refuse(
            "classified-first",
            f"model {command.model} has no tier to override",
            command.model,
        )
    longest = context.now + timedelta(days=rubric.in_force().override_days)
    if not context.now < command.expires_at <= longest:
        raise Invalid.field(
            "expires_at", f"must be later than now and not after {longest:%Y-%m-%d}"
        )
    if context.actor.person in state.holders("owner"):
        refuse(
            "override-not-own",
            f"{context.actor.subject} owns model {command.model}",
            command.model,
        )
    event = was.model_copy(
        update={
            "tier": command.tier,
            "source": "override",
            "reason": command.reason,
            "expires_at": command.expires_at,
            "previous_expires_at": was.expires_at,
            "by": context.actor.person,
        }
    )
    return [event, *periodic_review(command.model, event.tier, state, context)]


def expire_override(
    command: c.ExpireOverride, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    was = state.classified
    if was is None or was.expires_at is None or command.expired_at < was.expires_at:
        return ()
    return [
        e.OverrideExpired(
            model=command.model,
            tier=was.derived_tier,
            overridden_tier=was.tier,
            expired_at=was.expires_at,
        ),
        *periodic_review(command.model, was.derived_tier, state, context),
    ]


def periodic_review(
    model: str, tier: int, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    """Schedule the tier's review, or move the one that is scheduled to its cadence."""
    if state.retired:
        return ()
    months = rubric.in_force().review_months[tier]
    for name, review in state.reviews.items():
        if review.kind == PERIODIC and review.open and review.counts_from is not None:
            due_at = add_months(review.counts_from, months)
            if review.overdue or due_at == review.due_at:
                return ()
            return [
                e.ReviewScheduled(
                    model=model,
                    review=name,
                    kind=PERIODIC,
                    # What was due in the past is due at once.
                    due_at=max(due_at, context.now),
                    previous_due_at=review.due_at,
                    counts_from=review.counts_from,
                    reason=f"tier {tier}",
                )
            ]
    return [next_periodic(model, tier, state, context.now)]


def next_periodic(
    model: str, tier: int, state: ModelState, since: datetime
) -> e.ReviewScheduled:
    held = sum(review.kind == PERIODIC for review in state.reviews.values())
    return e.ReviewScheduled(
        model=model,
        review=f"{PERIODIC}-{held + 1}",
        kind=PERIODIC,
        due_at=add_months(since, rubric.in_force().review_months[tier]),
        counts_from=since,
        reason=f"tier {tier}",
    )


# --- people ------------------------------------------------------------------------


def assign(
    command: c.AssignRole, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    """An owner is one; other roles may be several people's."""
    issuer = command.issuer or context.actor.issuer
    who = Person(issuer=issuer, subject=command.subject)
    _one_line(command.model, command.role, who, state)
    events: list[ModelEvent] = []
    if command.role == "owner":
        events += [
            e.RoleVacated(
                model=command.model,
                role="owner",
                subject=left.subject,
                issuer=left.issuer,
            )
            for left in state.holders("owner")
            if left != who
        ]
    elif who in state.holders(command.role) and command.contact is None:
        return ()
    if command.role == "owner" and not events and command.contact is None:
        return ()
    said = e.RoleAssigned(
        model=command.model,
        role=command.role,
        subject=command.subject,
        issuer=issuer,
        contact=command.contact,
    )
    return [*events, said]


def _one_line(model: str, role: str, who: Person, state: ModelState) -> None:
    """Nobody challenges what they build."""
    auditors: tuple[e.Role, ...] = ("auditor",)
    lines = (BUILDERS, CHALLENGERS, auditors)
    mine = next(line for line in lines if role in line)
    for line in lines:
        for other in line:
            if line is not mine and who in state.holders(other):
                refuse(
                    "three-lines",
                    f"{who.subject} is {other} of model {model}, not also {role}",
                    model,
                )


def vacate(
    command: c.VacateRole, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    issuer = command.issuer or context.actor.issuer
    who = Person(issuer=issuer, subject=command.subject)
    held = state.holders(command.role)
    if who not in held:
        raise NotFound(command.role, f"{command.subject} of {command.model}")
    left = e.RoleVacated(
        model=command.model, role=command.role, subject=command.subject, issuer=issuer
    )
    if len(held) > 1 or command.role not in compulsory(state.tier) or state.retired:
        return [left]
    missing = [command.role, *(r for r in gaps(state) if r != command.role)]
    return [
        left,
        e.RolesOrphaned(
            model=command.model, missing=tuple(sorted(missing)), tier=state.tier
        ),
    ]


def compulsory(tier: int | None) -> tuple[e.Role, ...]:
    return rubric.in_force().compulsory_roles[tier or rubric.UNKNOWN_TIER]


def gaps(state: ModelState) -> list[e.Role]:
    """Compulsory roles that nobody fills."""
    return [role for role in compulsory(state.tier) if not state.holders(role)]
