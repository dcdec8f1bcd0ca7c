"""Renewing: the same answer is no event, and another one ends what rested on it."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from tests.unit.judged import EVE, REQUEST_ID, ROB, asked, judgement

from modelkeep.decider import Actor
from modelkeep.events.policy import Judgement, VerdictRevoked
from modelkeep.testing.deciding import NOON, Past
from modelkeep_services.policy.domain.request import (
    ADMIT,
    RenewPermit,
    RevokeVerdict,
)


def said(verdict: Literal["allow", "deny", "pending"] = "allow") -> Judgement:
    return judgement(verdict, roles=()).model_copy(update={"action": ADMIT})


def renewed(past: Past, now: Judgement | None, by: Actor = EVE, days: int = 0) -> Past:
    command = RenewPermit(request=REQUEST_ID, judgement=now)
    return past.when(command, by=by, at=NOON + timedelta(days=days)).and_then()


def test_the_same_answer_is_no_event() -> None:
    past = asked(said())
    assert renewed(past, said()).state == past.state
    assert renewed(past, said(), days=60).state == past.state


def test_a_no_revokes_what_allowed_it_once_with_the_rules_reasons() -> None:
    past = asked(said())
    command = RenewPermit(request=REQUEST_ID, judgement=said("deny"))
    first = past.when(command, by=EVE)
    (event,) = first.events
    assert isinstance(event, VerdictRevoked)
    assert (event.reason, event.by) == ("the card is missing", EVE.person)
    again = first.and_then().when(command, by=EVE)
    assert list(again.events) == []


def test_people_who_are_owed_now_end_it_too() -> None:
    (event,) = (
        asked(said())
        .when(RenewPermit(request=REQUEST_ID, judgement=said("pending")), by=EVE)
        .events
    )
    assert isinstance(event, VerdictRevoked)
    assert event.reason == "the answer is pending now"


def test_what_was_revoked_is_not_brought_back() -> None:
    past = asked(said())
    gone = past.when(RevokeVerdict(request=REQUEST_ID, reason="no"), by=ROB).and_then()
    assert renewed(gone, said()).state == gone.state


def test_another_s_permit_and_another_action_s_are_refused() -> None:
    command = RenewPermit(request=REQUEST_ID, judgement=said())
    asked(said()).when(command, by=ROB).then_refused("policy.own-permit")
    promoted = asked(judgement("allow", roles=()))
    promoted.when(command, by=EVE).then_refused("policy.admission")
    bare = RenewPermit(request=REQUEST_ID)
    asked(said()).when(bare, by=EVE).then_refused("policy.admission")
