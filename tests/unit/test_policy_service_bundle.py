"""Rules change under dual control, and exceptions to them end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from modelkeep.decider import Actor
from modelkeep.errors import Invalid, NotFound, Refused
from modelkeep.events.policy import (
    Barred,
    BundleActivated,
    BundleActivationFailed,
    BundleApproved,
    ExceptionExpired,
    ExceptionGranted,
    ExceptionProposed,
    ExceptionWithdrawn,
    ReactivationConfirmed,
    ReactivationOverdue,
)
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.check import run_tests
from modelkeep.policy.defaults import baseline
from modelkeep.testing.deciding import NOON, Past, actor, given
from modelkeep_services.policy.domain.bundle import (
    BUNDLE,
    ActivateBundle,
    ApproveBundle,
    Backtested,
    ChaseReactivation,
    Checked,
    ConfirmReactivation,
    ProposeBundle,
    ReactivateBundle,
    RecordBacktest,
    Standing,
)
from modelkeep_services.policy.domain.exception import (
    EXCEPTION,
    ApproveException,
    ExpireException,
    GrantException,
    WithdrawException,
)
from modelkeep_services.policy.in_force import check, package

FIRST = "sha256:" + "1" * 64
SECOND = "sha256:" + "2" * 64
PAUL = actor("paul", "policy_author")
ROB = actor("rob", "risk_officer")
VERA = actor("vera", "validator")
VAL = actor("val", "validator")
OLGA = actor("olga", "owner", "risk_officer")


def propose(bundle: str = FIRST, version: str = "1.0.0") -> ProposeBundle:
    checked = Checked(bundle=bundle, version=version, tests=3)
    return ProposeBundle(name="retail", text="a: bundle", checked=checked)


def approve(bundle: str = FIRST) -> ApproveBundle:
    return ApproveBundle(name="retail", bundle=bundle)


LOOSER = ("promote, tier 1: rule drift/worst is gone",)


def beside(
    current: str | None = None, loosens: tuple[str, ...] = LOOSER, failure: str = ""
) -> Standing:
    return Standing(current=current, stood_at=9, loosens=loosens, failure=failure)


def activate(bundle: str = FIRST, current: str | None = None) -> ActivateBundle:
    return ActivateBundle(name="retail", bundle=bundle, beside=beside(current))


def proposed() -> Past:
    return given(BUNDLE).when(propose(), by=PAUL).and_then()


def agreed(*people: Actor) -> Past:
    past = proposed()
    for who in people:
        past = past.when(approve(), by=who).and_then()
    return tried(past)


def tried(past: Past, bundle: str = FIRST) -> Past:
    found = Backtested(
        report=SECOND,
        verdicts=9,
        flips=1,
        loosened=1,
        tightened=0,
        not_evaluable=0,
    )
    backtest = RecordBacktest(name="retail", bundle=bundle, found=found)
    return past.when(backtest, by=PAUL).and_then()


def test_a_bundle_is_proposed_once_and_a_version_used_once() -> None:
    past = proposed()
    past.when(propose(), by=ROB).then_nothing()
    past.when(propose(SECOND), by=PAUL).then_refused("policy.bundle-version-once")
    past.when(propose(SECOND, "1.0.1"), by=PAUL).and_then()


def test_nobody_approves_a_bundle_they_wrote() -> None:
    author = actor("paul", "risk_officer")
    proposed().when(approve(), by=author).then_refused("policy.separation-of-duties")


def test_a_bundle_is_approved_by_people() -> None:
    robot = actor("bot", "risk_officer", human=False)
    proposed().when(approve(), by=robot).then_refused("policy.person")


@pytest.mark.parametrize(
    "people",
    [(), (ROB,), (VERA, VAL), (ROB, ROB)],
    ids=["none", "one", "no officer", "twice"],
)
def test_a_bundle_without_two_approvals_one_a_risk_officers_stays_out(
    people: tuple[Actor, ...],
) -> None:
    agreed(*people).when(activate(), by=PAUL).then_refused("policy.dual-control")


def test_two_approvals_put_a_bundle_in_force() -> None:
    agreed(ROB, VERA).when(activate(current=SECOND), by=PAUL).then(
        BundleActivated(
            bundle=FIRST,
            name="retail",
            version="1.0.0",
            by=PAUL.person,
            replaces=SECOND,
            stood_at=9,
            loosens=LOOSER,
        )
    )


def test_what_loosens_is_tried_on_history_first() -> None:
    past = proposed()
    for who in (ROB, VERA):
        past = past.when(approve(), by=who).and_then()
    past.when(activate(), by=PAUL).then_refused("policy.bundle-backtested")
    past.when(activating(loosens=()), by=PAUL).and_then()
    tried(past).when(activate(), by=PAUL).and_then()


def test_an_approval_is_for_one_digest() -> None:
    past = agreed(ROB, VERA).when(propose(SECOND, "1.0.1"), by=PAUL).and_then()
    past.when(activate(SECOND), by=PAUL).then_refused("policy.dual-control")


def test_a_second_approval_by_one_person_changes_nothing() -> None:
    agreed(ROB).when(approve(), by=ROB).then_nothing()


def test_what_is_in_force_is_not_activated_again() -> None:
    active = agreed(ROB, VERA).when(activate(), by=PAUL).and_then()
    active.when(activate(current=FIRST), by=PAUL).then_nothing()
    # Another name took its place since: it can come back.
    active.when(activate(current=SECOND), by=PAUL).and_then()


def test_an_unknown_bundle_is_neither_approved_nor_activated() -> None:
    proposed().when(approve(SECOND), by=ROB).then_raises(NotFound)
    proposed().when(activate(SECOND), by=ROB).then_raises(NotFound)


def test_an_unchecked_bundle_is_not_proposed() -> None:
    bare = ProposeBundle(name="retail", text="a: bundle")
    given(BUNDLE).when(bare, by=PAUL).then_refused("policy.bundle-checked")


def test_the_packaged_bundle_is_installed_once_and_passes_its_tests() -> None:
    outcome = given(BUNDLE).when(package(), by=actor("policy", human=False))
    assert [type(e).event_name for e in outcome.events] == [
        "policy.bundle-proposed",
        "policy.bundle-activated",
    ]
    outcome.and_then().when(package()).then_nothing()
    assert all(one.passed for one in run_tests(load_bundle(baseline())))


def test_a_packaged_bundle_comes_back_only_by_approval() -> None:
    past = given(BUNDLE).when(package()).and_then()
    again = ActivateBundle(
        name="baseline", bundle=package().checked.bundle, beside=beside(SECOND)
    )
    past.when(again, by=ROB).then_refused("policy.dual-control")


def test_a_bundle_that_does_not_read_is_invalid_and_says_where() -> None:
    with pytest.raises(Invalid, match="line 1") as refused:
        check("baseline", "a: b\n")
    assert all(one.field.startswith("text") for one in refused.value.violations)


def test_a_bundle_is_proposed_under_its_own_name() -> None:
    with pytest.raises(Invalid, match="calls itself baseline"):
        check("retail", baseline())


def test_a_bundle_whose_tests_fail_is_refused_with_their_names() -> None:
    loose = baseline().replace(
        "exhausted: true}, expect: DENY", "exhausted: true}, expect: ALLOW"
    )
    assert loose != baseline()
    with pytest.raises(Refused, match="traffic/budget fails") as refused:
        check("baseline", loose)
    assert refused.value.rule == "policy.bundle-tests-pass"


def test_a_bundle_without_tests_is_refused() -> None:
    bare = baseline().partition("\ntests:")[0] + "\n"
    with pytest.raises(Refused, match="has no tests"):
        check("baseline", bare)


# --- exceptions --------------------------------------------------------------------


def grant(tier: int = 3, days: int = 30) -> GrantException:
    return GrantException(
        exception="no-lineage",
        model="churn",
        rule="evidence/lineage",
        reason="the feed's owner cannot name its source yet",
        owner=OLGA.person,
        until=NOON + timedelta(days=days),
        tier=tier,
        parties=(Barred(person=actor("dev").person, why="a developer"),),
    )


def test_in_tiers_3_and_4_one_officer_grants_an_exception() -> None:
    outcome = given(EXCEPTION).when(grant(), by=ROB)
    (event,) = outcome.events
    assert isinstance(event, ExceptionGranted)
    assert event.granted_by == (ROB.person,)


def test_in_tiers_1_and_2_a_second_officer_must_agree() -> None:
    outcome = given(EXCEPTION).when(grant(tier=2), by=ROB)
    assert [type(e) for e in outcome.events] == [ExceptionProposed]
    past, second = outcome.and_then(), ApproveException(exception="no-lineage")
    past.when(second, by=ROB).then_refused("policy.separation-of-duties")
    outcome = past.when(second, by=VERA)
    (event,) = outcome.events
    assert isinstance(event, ExceptionGranted)
    assert event.granted_by == (ROB.person, VERA.person)
    outcome.and_then().when(second, by=VAL).then_nothing()


@pytest.mark.parametrize("who", [OLGA, actor("dev", "risk_officer")])
def test_nobody_grants_an_exception_to_themselves(who: Actor) -> None:
    given(EXCEPTION).when(grant(), by=who).then_refused("policy.separation-of-duties")


@pytest.mark.parametrize("days", [0, -1, 91])
def test_an_exception_ends_within_ninety_days(days: int) -> None:
    past = given(EXCEPTION)
    past.when(grant(days=days), by=ROB).then_refused("policy.exception-dated")


def test_an_exception_has_a_reason() -> None:
    with pytest.raises(ValidationError):
        GrantException(**{**grant().model_dump(), "reason": "because"})


def test_an_exception_is_granted_once() -> None:
    past = given(EXCEPTION).when(grant(), by=ROB).and_then()
    past.when(grant(), by=ROB).then_refused("policy.exception-once")


def test_an_exception_expires_on_its_date_and_not_before() -> None:
    past = given(EXCEPTION).when(grant(), by=ROB).and_then()
    expire = ExpireException(exception="no-lineage")
    past.when(expire).then_nothing()
    outcome = past.when(expire, at=NOON + timedelta(days=30))
    assert [type(e) for e in outcome.events] == [ExceptionExpired]
    outcome.and_then().when(expire, at=NOON + timedelta(days=31)).then_nothing()


def test_an_exception_is_withdrawn_before_its_date() -> None:
    past = given(EXCEPTION).when(grant(), by=ROB).and_then()
    withdraw = WithdrawException(exception="no-lineage", reason="the source is known")
    outcome = past.when(withdraw, by=VERA)
    assert [type(e) for e in outcome.events] == [ExceptionWithdrawn]
    outcome.and_then().when(withdraw, by=VERA).then_nothing()


def test_an_unknown_exception_is_not_found() -> None:
    unknown = WithdrawException(exception="no-lineage", reason="x")
    given(EXCEPTION).when(unknown).then_raises(NotFound)
    given(EXCEPTION).when(ApproveException(exception="x")).then_raises(NotFound)


def test_approvals_of_a_bundle_are_events() -> None:
    outcome = proposed().when(approve(), by=ROB)
    assert [type(e) for e in outcome.events] == [BundleApproved]


# --- what loosens, fails and comes back --------------------------------------------


def activating(name: str = "retail", **said: object) -> ActivateBundle:
    return ActivateBundle(
        name=name,
        bundle=FIRST,
        beside=beside(**said),  # type: ignore[arg-type]  # fields by name
    )


def test_what_loosens_nothing_takes_one_risk_officer() -> None:
    agreed(VERA).when(activating(loosens=()), by=PAUL).then_refused(
        "policy.dual-control"
    )
    outcome = agreed(ROB).when(activating(loosens=()), by=PAUL)
    assert [type(e) for e in outcome.events] == [BundleActivated]


def test_what_nobody_compared_counts_as_looser() -> None:
    bare = ActivateBundle(name="retail", bundle=FIRST)
    agreed(ROB).when(bare, by=PAUL).then_refused("policy.dual-control")


def test_a_bundle_that_fails_is_said_and_what_was_in_force_stays() -> None:
    before = agreed(ROB, VERA).when(activating(), by=PAUL).and_then()
    second = before.when(propose(SECOND, "1.0.1"), by=PAUL).and_then()
    for who in (ROB, VERA):
        second = second.when(approve(SECOND), by=who).and_then()
    second = tried(second, SECOND)
    broken = ActivateBundle(
        name="retail", bundle=SECOND, beside=beside(FIRST, failure="2 of 3 tests fail")
    )
    outcome = second.when(broken, by=PAUL)
    (event,) = outcome.events
    assert isinstance(event, BundleActivationFailed)
    assert (event.stays, event.reason) == (FIRST, "2 of 3 tests fail")
    # So it may be tried again, and what stays is not put in force anew.
    outcome.and_then().when(activate(current=FIRST), by=PAUL).then_nothing()


def back(bundle: str = FIRST, current: str | None = SECOND) -> ReactivateBundle:
    return ReactivateBundle(
        name="retail",
        bundle=bundle,
        reason="it refuses what it should let pass",
        beside=beside(current),
    )


def test_only_what_was_in_force_is_brought_back_and_a_second_confirms() -> None:
    agreed(ROB, VERA).when(back(), by=ROB).then_refused("policy.bundle-was-active")
    past = agreed(ROB, VERA).when(activating(), by=PAUL).and_then()
    outcome = past.when(back(), by=ROB)
    (event,) = outcome.events
    assert isinstance(event, BundleActivated)
    assert event.emergency
    assert event.second_due_at == NOON + timedelta(hours=24)
    owed = outcome.and_then()
    second = ConfirmReactivation(name="retail", bundle=FIRST)
    owed.when(second, by=ROB).then_refused("policy.separation-of-duties")
    done = owed.when(second, by=VERA)
    assert [type(e) for e in done.events] == [ReactivationConfirmed]
    done.and_then().when(second, by=VAL).then_refused("policy.reactivation-unconfirmed")


def test_an_unconfirmed_reactivation_is_overdue_once_and_still_owed() -> None:
    past = agreed(ROB, VERA).when(activating(), by=PAUL).and_then()
    owed = past.when(back(), by=ROB).and_then()
    chase = ChaseReactivation(name="retail")
    day = NOON + timedelta(hours=24)
    owed.when(chase, at=day - timedelta(seconds=1)).then_nothing()
    late = owed.when(chase, at=day)
    assert [type(e) for e in late.events] == [ReactivationOverdue]
    after = late.and_then()
    after.when(chase, at=day + timedelta(days=1)).then_nothing()
    second = ConfirmReactivation(name="retail", bundle=FIRST)
    after.when(second, by=VERA, at=day + timedelta(days=1)).and_then()


def test_a_program_brings_nothing_back() -> None:
    past = agreed(ROB, VERA).when(activating(), by=PAUL).and_then()
    robot = actor("bot", "risk_officer", human=False)
    past.when(back(), by=robot).then_refused("policy.person")
