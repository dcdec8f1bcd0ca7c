"""No sequence of commands lets tier 1 through without its quorum."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import permutations

from hypothesis import given as supposing
from hypothesis import settings
from hypothesis import strategies as some
from tests.unit.judged import (
    BEN,
    BOTH,
    DEV,
    DIGEST,
    EVE,
    MAX_AGE,
    OLGA,
    OTHER,
    REG,
    REQUEST_ID,
    ROB,
    ROLES,
    VERA,
    asked,
    judgement,
)

from modelkeep.decider import Actor, Command
from modelkeep.errors import Refused
from modelkeep.events.base import Event
from modelkeep.events.policy import (
    Approved,
    BrokeGlass,
    VerdictRevoked,
    VerdictSettled,
)
from modelkeep.events.types import Person
from modelkeep.testing.deciding import NOON, Past, actor
from modelkeep_services.policy.domain.request import (
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

PARTY = {who.person for who in (EVE, DEV, OLGA, REG)}
TRIO = actor("sam", *ROLES)
ROBOT = actor("robot", *ROLES, human=False)
NAMESAKE = Actor("elsewhere", "rob", frozenset({"risk_officer"}), "main")
ENTITLED = [ROB, VERA, BEN, BOTH, TRIO]
CROWD = [*ENTITLED, *ENTITLED, EVE, DEV, OLGA, REG, ROBOT, NAMESAKE]

digests = some.sampled_from([DIGEST, DIGEST, DIGEST, OTHER])


def limited(digest: str, hours: int, share: float | None) -> Command:
    return ApproveWithConditions(
        request=REQUEST_ID,
        digest=digest,
        conditions=("be careful",),
        max_traffic_share=share,
        expires_at=NOON + timedelta(hours=hours),
    )


approvals = some.one_of(
    some.builds(Approve, request=some.just(REQUEST_ID), digest=digests),
    some.builds(
        limited,
        digests,
        some.sampled_from([1, 3, 50, 500]),
        some.sampled_from([None, 0.1, 1.0]),
    ),
)
commands = some.one_of(
    approvals,
    approvals,
    some.sampled_from(
        [
            Reject(request=REQUEST_ID, digest=DIGEST, reason="no"),
            RevokeVerdict(request=REQUEST_ID, reason="it changed"),
            RequestApproval(request=REQUEST_ID),
            LapseApproval(request=REQUEST_ID),
            BreakGlass(
                request=REQUEST_ID, digest=DIGEST, reason="nothing else will do"
            ),
            ConfirmBreakGlass(request=REQUEST_ID, digest=DIGEST),
            ReviewBreakGlass(request=REQUEST_ID, justified=False, notes="no need"),
            ChaseReview(request=REQUEST_ID),
        ]
    ),
)
steps = some.lists(
    some.tuples(
        commands, some.sampled_from(CROWD), some.sampled_from([0, 0, 1, 2, 60])
    ),
    min_size=3,
    max_size=25,
)


@supposing(steps=steps, past=some.sampled_from([asked(), asked(hold=True)]))
@settings(max_examples=400, deadline=None)
def test_tier_1_is_never_allowed_without_its_quorum(
    steps: Sequence[tuple[Command, Actor, int]], past: Past
) -> None:
    follow(past, steps)


@supposing(
    steps=some.lists(
        some.tuples(
            approvals, some.sampled_from(ENTITLED), some.sampled_from([0, 2, 60])
        ),
        min_size=3,
        max_size=10,
    )
)
@settings(max_examples=400, deadline=None)
def test_approvals_that_have_ended_fill_no_seat(
    steps: Sequence[tuple[Command, Actor, int]],
) -> None:
    follow(asked(), steps)


@supposing(order=some.permutations([ROB, VERA, BEN, EVE, DEV, OLGA, REG]))
@settings(max_examples=100, deadline=None)
def test_the_quorum_suffices_in_any_order(order: Sequence[Actor]) -> None:
    past, settled = asked(judgement()), list[Event]()
    for who in order:
        approve = Approve(request=REQUEST_ID, digest=DIGEST)
        past, events = tried(past, approve, who, NOON)
        settled += [event for event in events if isinstance(event, VerdictSettled)]
    assert len(settled) == 1


def follow(past: Past, steps: Sequence[tuple[Command, Actor, int]]) -> None:
    now, said = NOON, list[tuple[datetime, Event]]()
    for command, who, hours in steps:
        now += timedelta(hours=hours)
        for _ in range(2):  # everything is tried again
            past, events = tried(past, command, who, now)
            said += [(now, event) for event in events]
            judge(said, events, now)


def tried(
    past: Past, command: Command, who: Actor, now: datetime
) -> tuple[Past, tuple[Event, ...]]:
    outcome = past.when(command, by=who, at=now)
    if outcome.error is not None:
        assert isinstance(outcome.error, Refused)
        return past, ()
    return outcome.and_then(), tuple(outcome.events)


def judge(
    said: Sequence[tuple[datetime, Event]], fresh: Sequence[Event], now: datetime
) -> None:
    for event in fresh:
        if not isinstance(event, VerdictSettled) or event.verdict == "deny":
            continue
        earlier = [one for _, one in said]
        assert not any(isinstance(one, VerdictRevoked) for one in earlier)
        if event.break_glass:
            broke = next(one for one in earlier if isinstance(one, BrokeGlass))
            assert broke.by != broke.second_approver
            assert broke.second_approver not in PARTY
        else:
            assert complete(said, now), "allowed without its quorum"


def complete(said: Sequence[tuple[datetime, Event]], now: datetime) -> bool:
    """Look for three people for three seats, by trying them all."""
    last: dict[Person, tuple[datetime, Approved]] = {}
    for at, event in said:
        if isinstance(event, Approved):
            assert event.digest == DIGEST
            last[event.by] = (at, event)
    roles = {
        who: set(event.roles)
        for who, (at, event) in last.items()
        if who not in PARTY
        and who != ROBOT.person
        and now < at + MAX_AGE
        and (event.expires_at is None or now < event.expires_at)
    }
    return any(
        all(role in roles[who] for role, who in zip(ROLES, chosen, strict=True))
        for chosen in permutations(roles, len(ROLES))
    )
