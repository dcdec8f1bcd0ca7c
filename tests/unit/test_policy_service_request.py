"""A request's stream: who may approve what, until when, and what settles it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError
from tests.unit.judged import (
    BEN,
    BOTH,
    DEV,
    DIGEST,
    EVE,
    MAX_AGE,
    OLGA,
    OTHER,
    PARTIES,
    REG,
    REQUEST_ID,
    ROB,
    VERA,
    asked,
    evaluate,
    judgement,
)

from modelkeep.decider import Actor, Command
from modelkeep.errors import NotFound
from modelkeep.events.base import Event
from modelkeep.events.policy import (
    ApprovalRequested,
    Approved,
    BrokeGlass,
    GlassBreakAsked,
    GlassReviewed,
    GlassReviewOverdue,
    Rejected,
    VerdictGiven,
    VerdictRevoked,
    VerdictSettled,
)
from modelkeep.testing.deciding import NOON, Outcome, Past, actor, given
from modelkeep_services.policy.domain.request import (
    REQUEST,
    Approve,
    ApproveWithConditions,
    BreakGlass,
    ChaseReview,
    ConfirmBreakGlass,
    LapseApproval,
    Reject,
    RequestApproval,
    ReviewBreakGlass,
    RevokeVerdict,
)

APPROVE = Approve(request=REQUEST_ID, digest=DIGEST)
REVOKE = RevokeVerdict(request=REQUEST_ID, reason="it changed")
BREAK = BreakGlass(
    request=REQUEST_ID, digest=DIGEST, reason="the champion scores everybody zero"
)
CONFIRM = ConfirmBreakGlass(request=REQUEST_ID, digest=DIGEST)
LATER = NOON + timedelta(hours=1)


def names(events: object) -> list[type[Event]]:
    assert isinstance(events, tuple)
    return [type(event) for event in events]


def settled(outcome: Outcome) -> VerdictSettled:
    last = outcome.events[-1]
    assert isinstance(last, VerdictSettled)
    return last


def approved(past: Past, *people: Actor) -> Past:
    for who in people:
        past = past.when(APPROVE, by=who).and_then()
    return past


def test_a_pending_verdict_asks_for_approvals_in_the_same_append() -> None:
    outcome = given(REQUEST).when(evaluate(judgement()), by=EVE)
    assert names(outcome.events) == [VerdictGiven, ApprovalRequested]


def test_an_allow_that_nobody_must_approve_is_settled_at_once() -> None:
    outcome = given(REQUEST).when(evaluate(judgement("allow", roles=())), by=EVE)
    assert names(outcome.events) == [VerdictGiven, VerdictSettled]
    assert settled(outcome).verdict == "allow"
    assert settled(outcome).expires_at == NOON + timedelta(days=30)


def test_more_traffic_is_allowed_up_to_what_was_asked_and_no_further() -> None:
    said = judgement("allow", roles=(), share=0.25)
    more = said.model_copy(update={"action": "set_traffic"})
    outcome = given(REQUEST).when(evaluate(more), by=EVE)
    assert settled(outcome).max_traffic_share == 0.25
    promoted = given(REQUEST).when(evaluate(said), by=EVE)
    assert settled(promoted).max_traffic_share is None


def test_a_denial_is_settled_at_once_with_its_reasons() -> None:
    outcome = given(REQUEST).when(evaluate(judgement("deny")), by=EVE)
    assert settled(outcome).verdict == "deny"
    assert settled(outcome).reasons == ("the card is missing",)


def test_a_request_is_judged_once() -> None:
    asked().when(evaluate(judgement("allow")), by=EVE).then_refused(
        "policy.judged-once"
    )


def test_the_last_empty_seat_settles_the_verdict_in_the_same_append() -> None:
    outcome = approved(asked(), ROB, VERA).when(APPROVE, by=BEN)
    assert names(outcome.events) == [Approved, VerdictSettled]
    assert settled(outcome).verdict == "allow"
    assert len(settled(outcome).approvals) == 3


def test_an_approval_says_what_is_still_owed() -> None:
    outcome = asked().when(APPROVE, by=ROB)
    assert names(outcome.events) == [Approved]
    assert isinstance(outcome.events[0], Approved)
    assert [one.role for one in outcome.events[0].owed] == [
        "validator",
        "business_owner",
    ]


@pytest.mark.parametrize("who", PARTIES, ids=lambda who: who.subject)
def test_who_wrote_owns_or_asks_for_it_cannot_approve_it(who: Actor) -> None:
    asked().when(APPROVE, by=who).then_refused("policy.separation-of-duties")


def test_the_same_name_from_another_issuer_is_another_person() -> None:
    stranger = Actor("elsewhere", "olga", frozenset({"business_owner"}), "main")
    asked().when(APPROVE, by=stranger).and_then()


def test_two_approvals_by_one_person_count_once() -> None:
    past = approved(asked(), ROB)
    past.when(APPROVE, by=ROB, at=LATER).then_nothing()
    with_more_roles = actor("rob", "risk_officer", "validator", "business_owner")
    outcome = past.when(APPROVE, by=with_more_roles)
    assert names(outcome.events) == [Approved]
    assert len(outcome.events[0].owed) == 2  # type: ignore[attr-defined]  # an Approved


def test_a_person_with_two_roles_sits_where_nobody_else_can() -> None:
    outcome = approved(asked(), BOTH, BEN).when(APPROVE, by=VERA)
    assert settled(outcome).verdict == "allow"


def test_a_program_approves_nothing() -> None:
    robot = actor("bot", "risk_officer", human=False)
    asked().when(APPROVE, by=robot).then_refused("policy.person")


def test_whoever_holds_no_role_that_is_asked_for_fills_no_seat() -> None:
    author = actor("paul", "policy_author")
    asked().when(APPROVE, by=author).then_refused("policy.no-seat")


def test_a_stale_digest_is_refused() -> None:
    stale = Approve(request=REQUEST_ID, digest=OTHER)
    asked().when(stale, by=ROB).then_refused("policy.stale-digest")


def test_nothing_is_approved_before_it_is_asked_for() -> None:
    held = asked(hold=True)
    held.when(APPROVE, by=ROB).then_refused("policy.approval-requested")
    asking = held.when(RequestApproval(request=REQUEST_ID), by=EVE).and_then()
    approved(asking, ROB, VERA).when(APPROVE, by=BEN).and_then()
    asking.when(RequestApproval(request=REQUEST_ID), by=EVE).then_nothing()


def test_an_unknown_request_is_not_found() -> None:
    given(REQUEST).when(APPROVE, by=ROB).then_raises(NotFound)


def test_an_approval_after_its_due_time_is_refused() -> None:
    late = NOON + timedelta(days=14)
    asked().when(APPROVE, by=ROB, at=late).then_refused("policy.approval-overdue")


def test_a_request_whose_time_is_over_is_denied() -> None:
    past = approved(asked(), ROB)
    past.when(LapseApproval(request=REQUEST_ID), at=LATER).then_nothing()
    late = NOON + timedelta(days=14)
    outcome = past.when(LapseApproval(request=REQUEST_ID), at=late)
    assert settled(outcome).verdict == "deny"
    assert any("validator had not approved" in why for why in settled(outcome).reasons)


def test_an_approval_that_has_expired_no_longer_counts() -> None:
    brief = ApproveWithConditions(
        request=REQUEST_ID,
        digest=DIGEST,
        conditions=("watch the false positives",),
        expires_at=NOON + timedelta(days=1),
    )
    past = approved(asked().when(brief, by=ROB).and_then(), VERA)
    outcome = past.when(APPROVE, by=BEN, at=NOON + timedelta(days=2))
    assert names(outcome.events) == [Approved]


def test_an_approval_cannot_end_before_it_begins() -> None:
    past = ApproveWithConditions(
        request=REQUEST_ID, digest=DIGEST, conditions=("x",), expires_at=NOON
    )
    asked().when(past, by=ROB).then_refused("policy.expired-approval")


def test_a_conditional_approval_states_its_condition() -> None:
    with pytest.raises(ValidationError, match="state at least one"):
        ApproveWithConditions(request=REQUEST_ID, digest=DIGEST, expires_at=LATER)


def test_the_narrowest_condition_binds_the_verdict() -> None:
    past = asked()
    for who, share in ((ROB, 0.5), (VERA, 0.2)):
        limit = ApproveWithConditions(
            request=REQUEST_ID,
            digest=DIGEST,
            max_traffic_share=share,
            expires_at=NOON + timedelta(days=7),
        )
        past = past.when(limit, by=who).and_then()
    verdict = settled(past.when(APPROVE, by=BEN))
    assert verdict.max_traffic_share == 0.2
    assert verdict.expires_at == NOON + timedelta(days=7)


def test_a_condition_below_what_is_asked_for_is_refused() -> None:
    limit = ApproveWithConditions(
        request=REQUEST_ID, digest=DIGEST, max_traffic_share=0.2, expires_at=LATER
    )
    past = asked(judgement(share=0.5))
    past.when(limit, by=ROB).then_refused("policy.beyond-condition")


def test_an_allow_ends_when_its_first_approval_does() -> None:
    verdict = settled(approved(asked(), ROB, VERA).when(APPROVE, by=BEN, at=LATER))
    assert verdict.expires_at == NOON + MAX_AGE


def test_one_rejection_denies() -> None:
    no = Reject(request=REQUEST_ID, digest=DIGEST, reason="not explained")
    outcome = approved(asked(), ROB, VERA).when(no, by=BEN)
    assert names(outcome.events) == [Rejected, VerdictSettled]
    assert settled(outcome).verdict == "deny"
    outcome.and_then().when(APPROVE, by=BEN).then_refused("policy.settled")


def test_an_owner_may_reject_what_he_may_not_approve() -> None:
    no = Reject(request=REQUEST_ID, digest=DIGEST, reason="I was not told")
    asked().when(no, by=OLGA).and_then()


def test_a_rejection_needs_a_role_and_the_digest() -> None:
    no = Reject(request=REQUEST_ID, digest=DIGEST, reason="no")
    asked().when(no, by=actor("paul", "auditor")).then_refused("policy.no-seat")
    stale = Reject(request=REQUEST_ID, digest=OTHER, reason="no")
    asked().when(stale, by=ROB).then_refused("policy.stale-digest")


def test_a_change_voids_what_was_approved() -> None:
    allowed = approved(asked(), ROB, VERA, BEN)
    outcome = allowed.when(REVOKE, by=actor("policy.voids", "reactor", human=False))
    assert names(outcome.events) == [VerdictRevoked]
    revoked = outcome.and_then()
    revoked.when(REVOKE).then_nothing()
    revoked.when(APPROVE, by=ROB).then_refused("policy.settled")


def test_a_change_voids_what_waits_for_approval() -> None:
    revoked = approved(asked(), ROB, VERA).when(REVOKE).and_then()
    revoked.when(APPROVE, by=BEN).then_refused("policy.settled")


def test_a_denial_is_not_revoked() -> None:
    asked(judgement("deny")).when(REVOKE).then_nothing()


# --- breaking the glass ------------------------------------------------------------


def test_glass_breaks_for_two_and_for_hours() -> None:
    past = asked(judgement("deny"))
    outcome = past.when(BREAK, by=EVE)
    assert names(outcome.events) == [GlassBreakAsked]
    outcome = outcome.and_then().when(CONFIRM, by=ROB, at=NOON + timedelta(minutes=5))
    assert names(outcome.events) == [BrokeGlass, VerdictSettled]
    verdict = settled(outcome)
    assert verdict.break_glass
    assert verdict.expires_at == NOON + timedelta(hours=4, minutes=5)


def test_nobody_breaks_the_glass_alone() -> None:
    past = asked(judgement("deny"))
    past.when(CONFIRM, by=ROB).then_refused("policy.glass-asked")
    alone = past.when(BREAK, by=ROB).and_then()
    alone.when(CONFIRM, by=ROB).then_refused("policy.separation-of-duties")
    alone.when(CONFIRM, by=REG).then_refused("policy.separation-of-duties")
    alone.when(BREAK, by=VERA).then_refused("policy.glass-asked")


def test_the_second_person_must_come_in_time() -> None:
    past = asked(judgement("deny")).when(BREAK, by=EVE).and_then()
    past.when(CONFIRM, by=ROB, at=LATER).then_refused("policy.glass-asked")
    past.when(BREAK, by=EVE, at=LATER).and_then()


def test_glass_is_not_broken_for_what_no_bundle_knows_or_allows_already() -> None:
    unknown = judgement("deny").model_copy(update={"rules": ()})
    asked(unknown).when(BREAK, by=EVE).then_refused("policy.glass-breakable")
    allowed = asked(judgement("allow", roles=()))
    allowed.when(BREAK, by=EVE).then_refused("policy.glass-breakable")
    stale = BREAK.model_copy(update={"digest": OTHER})
    asked(judgement("deny")).when(stale, by=EVE).then_refused("policy.stale-digest")


def test_glass_lasts_four_hours_at_most() -> None:
    with pytest.raises(ValidationError):
        BreakGlass(**{**BREAK.model_dump(), "lasts": timedelta(hours=5)})


def test_broken_glass_is_reviewed_by_a_third_person() -> None:
    broken = (
        asked(judgement("deny"))
        .when(BREAK, by=EVE)
        .and_then()
        .when(CONFIRM, by=ROB)
        .and_then()
    )
    look = ReviewBreakGlass(request=REQUEST_ID, justified=True, notes="it was needed")
    broken.when(look, by=ROB).then_refused("policy.separation-of-duties")
    outcome = broken.when(look, by=VERA)
    assert names(outcome.events) == [GlassReviewed]
    done = outcome.and_then()
    done.when(look, by=VERA).then_nothing()
    late = NOON + timedelta(hours=73)
    done.when(ChaseReview(request=REQUEST_ID), at=late).then_nothing()
    outcome = broken.when(ChaseReview(request=REQUEST_ID), at=late)
    assert names(outcome.events) == [GlassReviewOverdue]
    outcome.and_then().when(look, by=VERA).and_then()


def test_only_broken_glass_is_reviewed() -> None:
    look = ReviewBreakGlass(request=REQUEST_ID, justified=True, notes="x")
    asked().when(look, by=VERA).then_refused("policy.glass-broken")


def test_every_command_is_answered_for_an_unknown_request() -> None:
    commands: list[Command] = [
        APPROVE,
        REVOKE,
        BREAK,
        CONFIRM,
        LapseApproval(request=REQUEST_ID),
        ChaseReview(request=REQUEST_ID),
        RequestApproval(request=REQUEST_ID),
    ]
    for command in commands:
        given(REQUEST).when(command, by=DEV).then_raises(NotFound)
