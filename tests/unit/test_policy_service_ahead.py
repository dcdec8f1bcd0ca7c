"""What is said in advance: roles that are lent, and changes that are agreed on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.judged import BEN, DEV, DIGEST, EVE, OLGA, OTHER, ROB, VERA, duty

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.decider import Actor
from modelkeep.errors import NotFound
from modelkeep.events.policy import (
    Approval,
    Barred,
    Delegated,
    DelegationExpired,
    DelegationRevoked,
    EnvelopeApproved,
    EnvelopeExpired,
    EnvelopeGranted,
    EnvelopeTerms,
    EnvelopeUsed,
    EnvelopeVoided,
    Lent,
)
from modelkeep.policy.facts import from_document
from modelkeep.testing.deciding import NOON, Past, actor, given
from modelkeep_services.policy.domain import seats
from modelkeep_services.policy.domain.delegation import (
    DELEGATION,
    Delegate,
    ExpireDelegation,
    RevokeDelegation,
)
from modelkeep_services.policy.domain.envelope import (
    ENVELOPE,
    ApproveEnvelope,
    BoundedTerms,
    ExpireEnvelope,
    ProposeEnvelope,
    UseEnvelope,
    VoidEnvelope,
    WithdrawEnvelope,
    digest_of,
)
from modelkeep_services.policy.envelopes import outside

RITA = actor("rita", "risk_officer", "validator")
VIK = actor("vik", "policy_author")
WEEK = NOON + timedelta(days=7)
EVENT = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a"


def lend(**more: Any) -> Delegate:
    said = {
        "delegation": "rita-vik",
        "to": VIK.person,
        "role": "validator",
        "until": WEEK,
        "reason": "on leave",
        **more,
    }
    return Delegate.model_validate(said)


def lent(role: str = "validator", by: Actor = RITA) -> Lent:
    return Lent(delegation="d", lender=by.person, role=role, until=WEEK)


def approval(who: Actor, *given_by: Lent) -> Approval:
    roles = tuple(sorted(who.roles))
    return Approval(by=who.person, roles=roles, at=NOON, request="r", lent=given_by)


# --- delegations -------------------------------------------------------------------


def test_a_role_is_lent_once_and_by_who_holds_it() -> None:
    outcome = given(DELEGATION).when(lend(), by=RITA)
    assert [type(e) for e in outcome.events] == [Delegated]
    past = outcome.and_then()
    past.when(lend(), by=RITA).then_refused("policy.delegation-once")
    fresh = given(DELEGATION)
    fresh.when(lend(), by=VIK).then_refused("policy.delegation-held")
    fresh.when(lend(to=RITA.person), by=RITA).then_refused("policy.delegation-apart")
    robot = actor("bot", "validator", human=False)
    fresh.when(lend(), by=robot).then_refused("policy.person")


@pytest.mark.parametrize("days", [-1, 0, 91])
def test_a_delegation_ends_within_ninety_days(days: int) -> None:
    late = lend(until=NOON + timedelta(days=days))
    given(DELEGATION).when(late, by=RITA).then_refused("policy.delegation-dated")


def test_a_delegation_is_its_lenders_to_end_or_an_officers() -> None:
    past = given(DELEGATION).when(lend(), by=RITA).and_then()
    end = RevokeDelegation(delegation="rita-vik", reason="back again")
    past.when(end, by=VERA).then_refused("policy.delegation-lender")
    for who in (RITA, ROB):
        outcome = past.when(end, by=who)
        assert [type(e) for e in outcome.events] == [DelegationRevoked]
    outcome.and_then().when(end, by=RITA).then_nothing()
    given(DELEGATION).when(end, by=RITA).then_raises(NotFound)


def test_a_delegation_expires_on_its_date_and_not_before() -> None:
    past = given(DELEGATION).when(lend(), by=RITA).and_then()
    expire = ExpireDelegation(delegation="rita-vik")
    past.when(expire).then_nothing()
    outcome = past.when(expire, at=WEEK)
    assert [type(e) for e in outcome.events] == [DelegationExpired]
    outcome.and_then().when(expire, at=WEEK).then_nothing()


def owed(*approvals: Approval, out: tuple[Actor, ...] = ()) -> list[str]:
    barred = tuple(Barred(person=who.person, why="the owner") for who in out)
    duties = [duty("risk_officer", "validator")]
    return [one.role for one in seats.owed(duties, barred, approvals, NOON)]


def test_a_lent_role_fills_a_seat_of_another_person() -> None:
    assert owed(approval(VIK, lent())) == ["risk_officer"]
    assert owed(approval(VIK, lent()), approval(ROB)) == []


def test_a_lender_who_speaks_too_speaks_alone() -> None:
    assert len(owed(approval(VIK, lent()), approval(RITA))) == 1


def test_two_who_speak_for_one_lender_are_one() -> None:
    vic = actor("vic", "policy_author")
    both = approval(VIK, lent()), approval(vic, lent("risk_officer"))
    assert len(owed(*both)) == 1


def test_who_may_not_approve_lends_nothing() -> None:
    assert len(owed(approval(VIK, lent()), out=(RITA,))) == 2
    duties = [duty("validator")]
    out = (Barred(person=RITA.person, why="the owner"),)
    why = seats.why_not(VIK.person, VIK.roles, duties, out, [lent()])
    assert why == "is there for rita, who is the owner"


# --- envelopes ---------------------------------------------------------------------


def terms(**more: Any) -> BoundedTerms:
    said = {
        "model": "credit",
        "actions": ("promote",),
        "features": ("age", "income"),
        "until": NOON + timedelta(days=60),
        "uses": 2,
        **more,
    }
    return BoundedTerms.model_validate(said)


def propose(**more: Any) -> ProposeEnvelope:
    return ProposeEnvelope(
        envelope="monthly",
        terms=terms(**more),
        reason="the same model, on fresher data",
        tier=1,
        uses_said=EVENT,
        duty=duty("risk_officer", "validator", "business_owner"),
        parties=tuple(
            Barred(person=who.person, why=why)
            for who, why in ((EVE, "who proposed it"), (OLGA, "the owner"))
        ),
    )


YES = ApproveEnvelope(envelope="monthly", digest=digest_of(terms()))


def proposed() -> Past:
    return given(ENVELOPE).when(propose(), by=EVE).and_then()


def granted() -> Past:
    past = proposed()
    for who in (ROB, VERA, BEN):
        past = past.when(YES, by=who).and_then()
    return past


def use(request: str, digest: str = YES.digest) -> UseEnvelope:
    return UseEnvelope(
        envelope="monthly", digest=digest, request=request, action="promote"
    )


def test_an_envelope_holds_once_its_quorum_agreed() -> None:
    past = proposed()
    past.when(use("r1")).then_refused("policy.envelope-in-force")
    for who in (ROB, VERA):
        outcome = past.when(YES, by=who)
        assert [type(e) for e in outcome.events] == [EnvelopeApproved]
        past = outcome.and_then()
    outcome = past.when(YES, by=BEN)
    assert [type(e) for e in outcome.events] == [EnvelopeApproved, EnvelopeGranted]


@pytest.mark.parametrize("who", [EVE, OLGA], ids=lambda who: who.subject)
def test_a_party_approves_no_envelope(who: Actor) -> None:
    officer = who._replace(roles=frozenset({"risk_officer"}))
    proposed().when(YES, by=officer).then_refused("policy.separation-of-duties")


def test_an_envelope_is_approved_by_its_terms_and_in_time() -> None:
    other = ApproveEnvelope(envelope="monthly", digest=OTHER)
    proposed().when(other, by=ROB).then_refused("policy.stale-digest")
    late = NOON + timedelta(days=14)
    proposed().when(YES, by=ROB, at=late).then_refused("policy.envelope-open")
    expire = ExpireEnvelope(envelope="monthly")
    outcome = proposed().when(expire, at=late)
    assert [type(e) for e in outcome.events] == [EnvelopeExpired]


def test_any_edit_of_the_terms_is_another_digest() -> None:
    assert digest_of(terms()) == digest_of(terms())
    assert digest_of(terms(uses=3)) != digest_of(terms())
    assert digest_of(terms(psi_max=0.1)) != digest_of(terms())


def test_an_envelope_is_used_so_often_and_once_a_request() -> None:
    past = granted()
    outcome = past.when(use("r1"))
    (event,) = outcome.events
    assert isinstance(event, EnvelopeUsed)
    assert (event.use, event.uses) == (1, 2)
    past = outcome.and_then()
    past.when(use("r1")).then_nothing()
    past = past.when(use("r2")).and_then()
    past.when(use("r3")).then_refused("policy.envelope-in-force")
    past.when(use("r2")).then_nothing()


def test_an_envelope_covers_nothing_after_its_date_or_once_void() -> None:
    late = NOON + timedelta(days=60)
    granted().when(use("r1"), at=late).then_refused("policy.envelope-in-force")
    void = VoidEnvelope(envelope="monthly", reason="tier 2 now", cause=EVENT)
    outcome = granted().when(void)
    assert [type(e) for e in outcome.events] == [EnvelopeVoided]
    outcome.and_then().when(void).then_nothing()
    outcome.and_then().when(use("r1")).then_refused("policy.envelope-in-force")
    drop = WithdrawEnvelope(envelope="monthly", reason="not any more")
    assert [type(e) for e in granted().when(drop, by=DEV).events] == [EnvelopeVoided]


def test_an_envelope_bounds_something() -> None:
    with pytest.raises(ValidationError, match="state at least one"):
        terms(features=())


@pytest.mark.parametrize("days", [-1, 0, 366])
def test_an_envelope_ends_within_a_year(days: int) -> None:
    late = propose(until=NOON + timedelta(days=days))
    given(ENVELOPE).when(late, by=EVE).then_refused("policy.envelope-dated")


def change(**more: Any) -> Facts:
    return from_document(
        {
            "action": "promote",
            "env": "prod",
            "model": {"id": "credit"},
            "version": {"digest": DIGEST, "feature_count": 2},
            "evidence": {
                "performance": 0.78,
                "champion_performance": 0.79,
                "psi_max": 0.05,
                "features": [{"name": "age"}, {"name": "income"}],
            },
            **more,
        }
    )


WIDE = {
    "performance_min": 0.78,
    "performance_drop_max": 0.02,
    "psi_max": 0.05,
    "traffic_share_max": 0.5,
    "environment": "prod",
}


def test_a_change_within_every_bound_is_inside() -> None:
    stated = EnvelopeTerms.model_validate(terms(**WIDE).model_dump())
    assert outside(stated, change()) == ()
    assert outside(stated, change(deployment={"traffic_share": 0.5})) == ()


@pytest.mark.parametrize(
    ("bound", "facts"),
    [
        ({"performance_min": 0.781}, {}),
        ({"performance_drop_max": 0.005}, {}),
        ({"psi_max": 0.04}, {}),
        ({"environment": "staging"}, {}),
        ({"features": ("age",)}, {}),
        ({"actions": ("retrain",)}, {}),
        ({"model": "churn"}, {}),
        ({}, {"deployment": {"traffic_share": 0.6}}),
        ({}, {"evidence": {}}),
        ({}, {"version": {"feature_count": 3}}),
        ({}, {"version": {}}),
    ],
)
def test_a_change_beyond_a_bound_or_unknown_is_outside(
    bound: dict[str, Any], facts: dict[str, Any]
) -> None:
    assert outside(terms(**{**WIDE, **bound}), change(**facts))
