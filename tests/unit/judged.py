"""A judgement to try the request's decider with: tier 1, three seats, four parties."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

from modelkeep.decider import Actor
from modelkeep.events.policy import (
    Barred,
    Duty,
    Judgement,
    Owed,
    RuleSaid,
    Seats,
)
from modelkeep.events.types import Person
from modelkeep.testing.deciding import NOON, Past, actor, given
from modelkeep_services.policy.domain.request import REQUEST, Evaluate

DIGEST: Final = "sha256:" + "a" * 64
OTHER: Final = "sha256:" + "b" * 64
REQUEST_ID: Final = "00000000-0000-0000-0000-000000000001"
ROLES: Final = ("risk_officer", "validator", "business_owner")

EVE: Final = actor("eve", "engineer", "risk_officer")
DEV: Final = actor("dev", "engineer", "validator")
OLGA: Final = actor("olga", "owner", "business_owner")
REG: Final = actor("reg", "risk_officer")
ROB: Final = actor("rob", "risk_officer")
VERA: Final = actor("vera", "validator")
BEN: Final = actor("ben", "business_owner")
BOTH: Final = actor("pat", "risk_officer", "validator")
PARTIES: Final = {
    EVE: "the requester",
    DEV: "a developer",
    OLGA: "the owner",
    REG: "who registered the version",
}
MAX_AGE: Final = timedelta(hours=336)


def person(who: Actor) -> Person:
    return who.person


def duty(*roles: str) -> Duty:
    asked = dict.fromkeys(roles)
    seats = tuple(Seats(role=one, count=roles.count(one)) for one in asked)
    return Duty(policy="quorum", seats=seats, max_age_s=int(MAX_AGE.total_seconds()))


def judgement(
    verdict: Literal["allow", "deny", "pending"] = "pending",
    *,
    roles: tuple[str, ...] = ROLES,
    share: float | None = None,
) -> Judgement:
    owed = tuple(Owed(policy="quorum", role=one, count=1, of=1) for one in roles)
    holds = RuleSaid(
        rule="evidence/card",
        policy="evidence",
        kind="gate",
        severity="block",
        outcome="true",
        denies=False,
    )
    return Judgement(
        action="promote",
        model="credit",
        version="v1",
        digest=DIGEST,
        environment="prod",
        traffic_share=share,
        tier=1,
        verdict=verdict,
        bundle=OTHER,
        bundle_name="baseline",
        bundle_version="1.0.0",
        engine="an engine",
        descriptor=OTHER,
        facts="",
        facts_digest=OTHER,
        stood_at=1,
        rules=(holds,),
        reasons=("the card is missing",) if verdict == "deny" else (),
        owed=owed if verdict == "pending" else (),
        duties=(duty(*roles),) if roles else (),
        parties=tuple(
            Barred(person=who.person, why=why) for who, why in PARTIES.items()
        ),
        requested_by=EVE.person,
        human=True,
        expires_at=NOON + timedelta(days=30),
    )


def evaluate(said: Judgement, *, hold: bool = False) -> Evaluate:
    return Evaluate(
        action=said.action,
        model=said.model,
        version=said.version,
        environment=said.environment,
        hold_approvals=hold,
        judgement=said,
    )


def asked(said: Judgement | None = None, *, hold: bool = False) -> Past:
    """A request that was given this verdict: a pending one unless told."""
    command = evaluate(said or judgement(), hold=hold)
    return given(REQUEST).when(command, by=EVE, command_id=REQUEST_ID).and_then()
