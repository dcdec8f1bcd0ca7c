"""Whether a change is inside what was approved in advance, and the use it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final
from uuid import uuid5

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.decider import Actor, Context
from modelkeep.errors import Conflict, NotFound, Refused
from modelkeep.events.base import decode
from modelkeep.events.policy import (
    Barred,
    Covered,
    Duty,
    EnvelopeTerms,
    EnvelopeUsed,
    Seats,
)
from modelkeep.ledger import COMMAND_IDS, Order, stream_name
from modelkeep.policy import facts as paths
from modelkeep.policy.program import Program
from modelkeep.service import Asked
from modelkeep_services.policy import evidence, seen, views, views_ahead
from modelkeep_services.policy.domain.envelope import (
    APPROVED_WITHIN,
    ENVELOPE,
    ProposeEnvelope,
    UseEnvelope,
)
from modelkeep_services.policy.domain.request import Evaluate

ALONE: Final = (Seats(role="risk_officer", count=1),)
"""Who approves an envelope in a tier for which the bundle asks nobody."""

PERFORMANCE: Final = {
    "retrain": ("retraining.challenger_performance", "retraining.champion_performance"),
}
"""Where an action says how well the new and the old do, if not as promotions do."""
PROMOTED: Final = ("evidence.performance", "evidence.champion_performance")


def outside(terms: EnvelopeTerms, facts: Facts) -> tuple[str, ...]:
    """Say what of a change is not inside; a fact that is missing is not.

    Nothing is looked at but the facts of the question, so that it can be asked again.
    """
    return tuple(_outside(terms, facts))


def _outside(terms: EnvelopeTerms, facts: Facts) -> Iterator[str]:
    action = facts.action.value
    if facts.model.id.value != terms.model:
        yield f"is for {terms.model}"
    if action not in terms.actions:
        yield f"does not cover {action}"
    if terms.environment is not None and facts.env.value != terms.environment:
        yield f"is for {terms.environment}"
    yield from _features(terms, facts)
    ours, theirs = (_number(facts, p) for p in PERFORMANCE.get(action, PROMOTED))
    least, most = terms.performance_min, terms.performance_drop_max
    if least is not None and (ours is None or ours < least):
        yield f"asks for a performance of {least:g}"
    if most is not None and (ours is None or theirs is None or theirs - ours > most):
        yield f"lets performance drop by {most:g}"
    psi = _number(facts, "evidence.psi_max")
    if terms.psi_max is not None and (psi is None or psi > terms.psi_max):
        yield f"is for drift up to {terms.psi_max:g}"
    share = _number(facts, "deployment.traffic_share")
    limit = terms.traffic_share_max
    if limit is not None and share is not None and share > limit:
        yield f"is for a traffic share up to {limit:g}"


def _features(terms: EnvelopeTerms, facts: Facts) -> Iterator[str]:
    if not terms.features:
        return
    names = {one.name.value for one in facts.evidence.features}
    others = names - set(terms.features)
    if not names or others:
        yield f"knows no feature {', '.join(sorted(others)[:5])}".rstrip()
    count = paths.path("version.feature_count").read(facts)
    if count != len(names):
        yield "does not see every feature"


def _number(facts: Facts, path: str) -> float | None:
    value = paths.path(path).read(facts)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number else None  # type: ignore[arg-type]  # so it is one


def rests(row: views_ahead.EnvelopeRow, model: seen.ModelRow) -> bool:
    """Whether the model still has the tier and the uses it was approved with."""
    return row.tier == model.tier and row.uses_said == model.uses_said


def cover(command: Evaluate, known: evidence.Gathered, asked: Asked) -> Covered | None:
    """Take a use of the first envelope that this change is inside; None: there is none.

    The use is taken before the verdict is given: two questions at once cannot both
    have the last one. A retry is told of the use it took.
    """
    if asked.read.get(views.requests, asked.command_id) is not None:
        return None
    facts = known.facts(())
    for row in views_ahead.of_model(asked.read, command.model):
        good = row.status == "in_force" and asked.now < row.terms.until
        if good and rests(row, known.model) and not outside(row.terms, facts):
            taken = _take(row, command, asked)
            if taken is not None:
                return taken
    return None


def _take(
    row: views_ahead.EnvelopeRow,
    command: Evaluate,
    asked: Asked,
) -> Covered | None:
    tenant, request = asked.read.tenant, asked.command_id
    stream = stream_name("envelope", tenant, row.envelope)
    actor = Actor("modelkeep", "policy", frozenset({"reactor"}), tenant, human=False)
    use = UseEnvelope(
        envelope=row.envelope,
        digest=row.digest,
        request=request,
        action=command.action,
        version=command.version,
    )
    # One use a request, however often it is asked.
    number = str(uuid5(COMMAND_IDS, f"{stream}/use/{request}"))
    whole = hashlib.sha256(f"use {row.envelope} for {request}".encode()).hexdigest()
    context = Context(actor, asked.now, asked.now, number)
    try:
        asked.host.ledger.execute(Order(stream, ENVELOPE, use, context, whole))
    except (Refused, NotFound, Conflict):
        return None  # somebody had the last use, or it has just ended
    return _taken(row, stream, request, asked)


def _taken(
    row: views_ahead.EnvelopeRow, stream: str, request: str, asked: Asked
) -> Covered | None:
    for one in asked.host.store.read_stream(stream):
        event = decode(one.name, one.schema_version, one.data)
        if isinstance(event, EnvelopeUsed) and event.request == request:
            return Covered(
                envelope=row.envelope,
                digest=row.digest,
                use=event.use,
                uses=event.uses,
                until=event.until,
                max_traffic_share=row.terms.traffic_share_max,
            )
    return None


def weighed(
    program: Program, command: ProposeEnvelope, asked: Asked
) -> ProposeEnvelope:
    """Add what the ledger knows of the model, and whom the bundle asks in its tier."""
    model = asked.read.get(seen.models, command.terms.model)
    if model is None:
        raise NotFound("model", command.terms.model)
    # One whose tier nobody knows is treated as the riskiest.
    tier = model.tier or 1
    asks = program.bundle.document.quorum
    seats = next((seats for name, seats in asks.items() if name == str(tier)), ())
    asked_for = tuple(Seats(role=one.role, count=one.min) for one in seats)
    proposer = Barred(person=asked.actor.person, why="who proposed it")
    known = {
        "tier": tier,
        "uses_said": model.uses_said,
        "duty": Duty(
            policy="envelope",
            seats=asked_for or ALONE,
            max_age_s=int(APPROVED_WITHIN.total_seconds()),
        ),
        "parties": (proposer, *evidence.model_parties(model)),
    }
    return command.model_copy(update=known)
