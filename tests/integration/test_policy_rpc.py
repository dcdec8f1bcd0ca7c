"""Policy over real sockets: asked, approved, settled, voided, explained, replayed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from tests.integration.conftest import Serve, Served
from tests.integration.policy_desk import Desk, against, refused, with_model
from tests.integration.policy_world import (
    DIGEST,
    MORNING,
    OTHER,
    built,
    changed,
    classified,
    found,
    promote,
    registered,
    say,
    tick,
    validated,
)

from modelkeep.api.common.v1.common_pb2 import AsOf, Person
from modelkeep.api.inventory.v1 import inventory_pb2
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.decider import Actor, Context
from modelkeep.errors import Refused
from modelkeep.events import inventory
from modelkeep.events.base import decode
from modelkeep.events.inventory import ModelClassified
from modelkeep.events.policy import Judgement, VerdictGiven
from modelkeep.identity import LOCAL_ISSUER
from modelkeep.ledger import Order
from modelkeep.policy.defaults import baseline
from modelkeep.policy.trial import Trial
from modelkeep_services.policy import in_force
from modelkeep_services.policy.domain.request import REQUEST, Evaluate
from modelkeep_services.policy.in_force import install
from modelkeep_services.policy.service import service

ALLOWED = pb.REQUEST_STATUS_ALLOWED
DENIED = pb.REQUEST_STATUS_DENIED
PENDING = pb.REQUEST_STATUS_PENDING
REVOKED = pb.REQUEST_STATUS_REVOKED


def judged_late(served: Served, event: VerdictGiven) -> str:
    """Decide on the same judgement once more; return the new request."""
    said = event.model_dump(exclude={"request"})
    command = Evaluate(
        action=event.action,
        model=event.model,
        judgement=Judgement.model_validate(said),
    )
    late, now = str(uuid4()), served.node.host.clock.now()
    actor = Actor(LOCAL_ISSUER, "eve", frozenset({"engineer"}), "main")
    context = Context(actor, now, now, late)
    order = Order(f"request-main.{late}", REQUEST, command, context, "late")
    served.node.ledger.execute(order)
    return late


@pytest.fixture
def desk(serve: Serve) -> Desk:
    served = serve("policy", scenario=True)
    tick(served, MORNING)
    return Desk(served)


def test_a_bundle_is_in_force_from_the_first_start(desk: Desk) -> None:
    found = desk.call("GetBundle", pb.GetBundleRequest(), "auditor")
    assert found.bundle.name == "baseline"
    assert found.bundle.active
    assert found.text == baseline()


def test_tier_1_waits_for_three_people_and_then_is_allowed(desk: Desk) -> None:
    with_model(desk)
    asked = desk.ask(promote("credit"))
    assert asked.verdict.verdict == pb.VERDICT_KIND_PENDING
    assert [one.role for one in asked.verdict.owed] == [
        "risk_officer",
        "validator",
        "business_owner",
    ]
    verdict = desk.quorum(asked.verdict.request)
    assert verdict.status == ALLOWED
    assert [one.by.subject for one in verdict.approvals] == ["rob", "vera", "ben"]
    assert verdict.approvals[0].comment == "well done"


def test_tier_3_with_its_evidence_is_allowed_at_once(desk: Desk) -> None:
    with_model(desk, tier=3)
    verdict = desk.ask(promote("credit")).verdict
    assert verdict.status == ALLOWED
    assert verdict.digest == DIGEST


def test_missing_evidence_denies_and_is_named(desk: Desk) -> None:
    say(desk.served, "credit", *registered("credit", 3), *built("credit")[:1])
    verdict = desk.ask(promote("credit")).verdict
    assert verdict.status == DENIED
    said = desk.call(
        "GetVerdict", pb.GetVerdictRequest(request=verdict.request), "auditor"
    )
    assert "evidence.lineage_complete" in said.grounds.missing
    assert any("evidence/card" in why for why in verdict.reasons)


def test_an_unknown_action_is_denied_and_recorded(desk: Desk) -> None:
    with_model(desk)
    verdict = desk.ask(promote("credit", action="teleport")).verdict
    assert verdict.status == DENIED
    assert "'teleport'" in verdict.reasons[0]


def test_a_retry_is_told_the_first_verdict_whatever_changed_since(desk: Desk) -> None:
    with_model(desk)
    request = promote("credit", request_id=str(uuid4()))
    first = desk.ask(request)
    desk.quorum(first.verdict.request)
    say(desk.served, "credit", found("credit", "critical"))
    desk.served.settle()
    again = desk.ask(request)
    assert again.written.replayed
    assert again.verdict == first.verdict
    refused(
        lambda: desk.ask(
            promote("credit", "v1", "staging", request_id=request.request_id)
        ),
        grpc.StatusCode.ALREADY_EXISTS,
    )


@pytest.mark.parametrize(
    ("subject", "roles"),
    [
        ("eve", ("engineer", "risk_officer")),
        ("dev", ("engineer",)),
        ("dev", ("validator",)),
        ("olga", ("business_owner",)),
        ("reg", ("risk_officer",)),
    ],
)
def test_a_developer_is_refused_as_his_own_approver(
    desk: Desk, subject: str, roles: tuple[str, ...]
) -> None:
    with_model(desk)
    request = desk.ask(promote("credit")).verdict.request
    against(
        "policy.separation-of-duties", lambda: desk.approve(request, subject, *roles)
    )


def test_a_stale_digest_is_refused_when_asked_and_when_approved(desk: Desk) -> None:
    with_model(desk)
    against("policy.stale-digest", lambda: desk.ask(promote("credit", digest=OTHER)))
    request = desk.ask(promote("credit")).verdict.request
    against(
        "policy.stale-digest",
        lambda: desk.approve(request, "rob", "risk_officer", digest=OTHER),
    )


def test_another_tenant_knows_nothing_of_it(desk: Desk) -> None:
    with_model(desk)
    request = desk.ask(promote("credit")).verdict.request
    said = pb.ApproveRequest(request=request, digest=DIGEST)
    call, stub = desk.served.call, desk.stub
    refused(
        lambda: call(stub.Approve, said, "risk_officer", tenant="other"),
        grpc.StatusCode.NOT_FOUND,
    )
    asking = pb.GetVerdictRequest(request=request)
    refused(
        lambda: call(stub.GetVerdict, asking, "auditor", tenant="other"),
        grpc.StatusCode.NOT_FOUND,
    )


def test_a_new_tenant_gets_the_packaged_bundle_with_its_first_question(
    desk: Desk,
) -> None:
    say(desk.served, "churn", *registered("churn", 3), *built("churn"), tenant="other")
    verdict = desk.ask(promote("churn"), tenant="other").verdict
    assert verdict.status == ALLOWED
    assert verdict.bundle_version == "baseline 1.0.0"
    assert desk.ask(promote("churn"), tenant="other").verdict.status == ALLOWED


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (changed("credit"), "material"),
        (found("credit", "critical"), "critical finding"),
        (validated("credit", "v1", DIGEST, "rejected"), "withdrawn"),
    ],
)
def test_what_changes_voids_what_was_approved(
    desk: Desk, event: inventory.ChangeClassified, why: str
) -> None:
    with_model(desk)
    allowed = desk.ask(promote("credit")).verdict.request
    desk.quorum(allowed)
    waiting = desk.ask(promote("credit", "v1", "staging")).verdict.request
    before = say(desk.served, "credit", event)
    desk.served.settle()
    after = desk.verdict(allowed)
    assert after.status == REVOKED
    assert why in after.revoked_because
    assert desk.verdict(waiting).status == REVOKED
    then = AsOf(position=before - 1)
    assert desk.verdict(allowed, as_of=then).status == ALLOWED


def test_a_change_to_another_version_voids_nothing(desk: Desk) -> None:
    with_model(desk)
    say(desk.served, "credit", *built("credit", "v2", OTHER))
    request = desk.ask(promote("credit")).verdict.request
    desk.quorum(request)
    say(desk.served, "credit", changed("credit", "v2", OTHER))
    desk.served.settle()
    assert desk.verdict(request).status == ALLOWED


def test_a_riskier_tier_voids_what_a_safer_one_was_granted(desk: Desk) -> None:
    with_model(desk, tier=3)
    request = desk.ask(promote("credit")).verdict.request
    *_, tiered = registered("credit", 3)
    assert isinstance(tiered, ModelClassified)
    say(desk.served, "credit", classified("credit", 1, tiered.drivers))
    desk.served.settle()
    assert desk.verdict(request).status == REVOKED
    assert desk.ask(promote("credit")).verdict.status == PENDING


def test_a_verdict_that_a_change_has_overtaken_is_revoked(desk: Desk) -> None:
    with_model(desk, tier=3)
    allowed = desk.ask(promote("credit")).verdict.request
    asked = pb.GetVerdictRequest(request=allowed)
    text = desk.call("GetVerdict", asked, "auditor")
    assert not text.verdict.revoked_because
    say(desk.served, "credit", changed("credit"))
    desk.served.settle()
    given = next(
        one.data
        for one in desk.served.store.read_all()
        if one.name == "policy.verdict-given"
    )
    event = decode("policy.verdict-given", 1, given)
    assert isinstance(event, VerdictGiven)
    # The same answer, as one would be that was written a moment after the change.
    late = judged_late(desk.served, event)
    desk.served.settle()
    assert desk.verdict(late).status == REVOKED


def test_a_bundle_is_installed_once_however_many_start(desk: Desk) -> None:
    install(desk.served.node.host, "main")
    install(desk.served.node.host, "main")
    names = [one.name for one in desk.served.store.read_all()]
    assert names.count("policy.bundle-activated") == 1


def in_force_of(desk: Desk, tenant: str) -> list[str]:
    return [
        one.stream
        for one in desk.served.store.read_all()
        if one.name == "policy.bundle-activated" and f"-{tenant}." in one.stream
    ]


def test_a_tenant_begins_once_with_a_bundle_of_the_library(desk: Desk) -> None:
    host = desk.served.node.host
    install(host, "ward", "clinical", insist=True)
    install(host, "ward", "clinical", insist=True)
    install(host, "ward")  # another process was told nothing
    assert in_force_of(desk, "ward") == ["bundle-ward.clinical"]


def test_a_restart_does_not_change_the_rules(desk: Desk) -> None:
    host = desk.served.node.host
    with pytest.raises(Refused, match="main began with baseline"):
        service(host, "clinical")
    assert in_force_of(desk, "main") == ["bundle-main.baseline"]


def test_approvals_of_a_digest_count_when_it_is_asked_again(desk: Desk) -> None:
    with_model(desk)
    first = desk.ask(promote("credit")).verdict.request
    desk.approve(first, "rob", "risk_officer")
    second = desk.ask(promote("credit"))
    assert [one.role for one in second.verdict.owed] == ["validator", "business_owner"]
    elsewhere = desk.ask(promote("credit", "v1", "dev"))
    assert elsewhere.verdict.status == ALLOWED  # only prod asks for people
    desk.approve(second.verdict.request, "vera", "validator")
    done = desk.approve(second.verdict.request, "ben", "business_owner").verdict
    assert done.status == ALLOWED
    assert len(done.approvals) == 3


def test_a_rejection_is_remembered_when_it_is_asked_again(desk: Desk) -> None:
    with_model(desk)
    first = desk.ask(promote("credit")).verdict.request
    no = pb.RejectRequest(request=first, digest=DIGEST, reason="it is not explained")
    verdict = desk.call("Reject", no, "risk_officer", subject="rob").verdict
    assert verdict.status == DENIED
    again = desk.ask(promote("credit")).verdict
    assert again.status == DENIED
    assert "risk_officer rob rejected it" in again.reasons


def test_approvals_that_come_too_late_are_a_denial(desk: Desk) -> None:
    with_model(desk)
    due = MORNING + timedelta(days=3)
    request = promote("credit")
    request.approvals_due_at.FromDatetime(due)
    asked = desk.ask(request).verdict.request
    desk.approve(asked, "rob", "risk_officer")
    tick(desk.served, due)
    verdict = desk.verdict(asked)
    assert verdict.status == DENIED
    assert "had not approved" in verdict.reasons[0]
    assert not desk.call("ListRequests", pb.ListRequestsRequest(), "auditor").requests
    late = pb.ListRequestsRequest(overdue=True)
    (found,) = desk.call("ListRequests", late, "auditor").requests
    assert found.request == asked
    assert found.overdue_since.ToDatetime() == due.replace(tzinfo=None)
    assert [one.role for one in found.owed] == ["validator", "business_owner"]
    text = desk.call("Explain", pb.ExplainRequest(request=asked), "auditor").text
    assert "Approvals were overdue on 2026-03-04 08:00." in text
    desk.ask(promote("credit"))
    assert not desk.call("ListRequests", late, "auditor").requests


def test_a_conditional_approval_binds_the_verdict_and_expires(desk: Desk) -> None:
    with_model(desk)
    request = desk.ask(promote("credit")).verdict.request
    limit = pb.ApproveWithConditionsRequest(
        request=request,
        digest=DIGEST,
        conditions=["watch the thin files"],
        max_traffic_share=0.1,
    )
    limit.expires_at.FromDatetime(MORNING + timedelta(days=5))
    desk.call("ApproveWithConditions", limit, "risk_officer", subject="rob")
    desk.approve(request, "vera", "validator")
    verdict = desk.approve(request, "ben", "business_owner").verdict
    assert verdict.max_traffic_share == pytest.approx(0.1)
    assert list(verdict.conditions) == ["watch the thin files"]
    assert verdict.expires_at.ToDatetime() == (MORNING + timedelta(days=5)).replace(
        tzinfo=None
    )


def test_held_approvals_are_asked_for_later(desk: Desk) -> None:
    with_model(desk)
    request = desk.ask(promote("credit", hold_approvals=True)).verdict.request
    against(
        "policy.approval-requested",
        lambda: desk.approve(request, "rob", "risk_officer"),
    )
    desk.call("RequestApproval", pb.RequestApprovalRequest(request=request), "engineer")
    assert desk.quorum(request).status == ALLOWED


def test_requests_are_listed_for_those_who_can_fill_a_seat(desk: Desk) -> None:
    with_model(desk)
    request = desk.ask(promote("credit")).verdict.request
    desk.approve(request, "rob", "risk_officer")

    def listed(role: str, subject: str = "") -> list[str]:
        asking = pb.ListRequestsRequest(role=role)
        if subject:
            asking.person.CopyFrom(Person(issuer=LOCAL_ISSUER, subject=subject))
        found = desk.call("ListRequests", asking, "auditor").requests
        return [one.request for one in found]

    assert listed("validator") == [request]
    assert listed("risk_officer") == []
    assert listed("validator", "vera") == [request]
    assert listed("validator", "dev") == []
    assert listed("", "rob") == []


def test_a_verdict_explains_itself_and_can_be_asked_again(desk: Desk) -> None:
    with_model(desk)
    request = desk.ask(promote("credit")).verdict.request
    desk.quorum(request)
    text = desk.call("Explain", pb.ExplainRequest(request=request), "auditor").text
    assert text.startswith("PENDING: promote credit v1 in prod (tier 1), asked by eve")
    assert "rob (risk_officer) approved it" in text
    assert (
        "evidence.performance = 0.78, limit >= params.performance_floor = 0.65" in text
    )
    replay = pb.ReplayVerdictRequest(request=request)
    again = desk.call("ReplayVerdict", replay, "auditor")
    assert again.same
    assert again.same_engine
    assert not again.differences


def test_verdicts_are_listed_by_model_and_action(desk: Desk) -> None:
    with_model(desk, tier=3)
    with_model(desk, "churn", tier=3)
    first = desk.ask(promote("credit")).verdict.request
    desk.ask(promote("credit", action="teleport"))
    desk.ask(promote("churn"))

    def listed(**which: str) -> list[str]:
        asking = pb.ListVerdictsRequest(**which)  # type: ignore[arg-type]  # fields by name
        return [
            v.request for v in desk.call("ListVerdicts", asking, "auditor").verdicts
        ]

    assert listed(model="credit", action="promote") == [first]
    assert len(listed(model="credit")) == 2
    assert len(listed()) == 3


# --- breaking the glass ------------------------------------------------------------


def test_glass_is_broken_by_two_and_reviewed_by_a_third(desk: Desk) -> None:
    with_model(desk)
    request = desk.ask(promote("credit")).verdict.request
    ask = pb.BreakGlassRequest(
        request=request, digest=DIGEST, reason="the champion refuses everybody"
    )
    desk.call("BreakGlass", ask, "engineer", subject="eve")
    assert desk.verdict(request).status == PENDING
    confirm = pb.ConfirmBreakGlassRequest(request=request, digest=DIGEST)
    verdict = desk.call(
        "ConfirmBreakGlass", confirm, "risk_officer", subject="rob"
    ).verdict
    assert verdict.status == ALLOWED
    assert verdict.break_glass
    tick(desk.served, MORNING + timedelta(hours=72))
    names = [one.name for one in desk.served.store.read_all()]
    assert "policy.glass-review-overdue" in names
    look = pb.ReviewBreakGlassRequest(request=request, justified=True, notes="it was")
    against(
        "policy.separation-of-duties",
        lambda: desk.call("ReviewBreakGlass", look, "risk_officer", subject="rob"),
    )
    desk.call("ReviewBreakGlass", look, "validator", subject="vera")


# --- bundles -----------------------------------------------------------------------


def stricter(version: str = "1.1.0") -> str:
    """The packaged bundle, asking for a better tier 3."""
    return (
        baseline()
        .replace("version: 1.0.0", f"version: {version}")
        .replace(
            "type: double, default: 0.55, tier: {1: 0.65, 2: 0.60}",
            "type: double, default: 0.80, tier: {1: 0.65, 2: 0.60}",
        )
        .partition("\ntests:")[0]
        + """
tests:
- {name: it is better, facts: promote-tier-1, expect: ALLOW}
"""
    )


def looser(version: str = "1.1.0") -> str:
    """The same, and less lineage will do in tier 1."""
    return stricter(version).replace(
        "tier: {1: 0.90, 2: 0.80}", "tier: {1: 0.5, 2: 0.8}"
    )


def proposed(desk: Desk, text: str) -> Any:
    request = pb.ProposeBundleRequest(name="baseline", text=text)
    return desk.call("ProposeBundle", request, "policy_author", subject="paul").bundle


def test_a_rule_is_loosened_for_tier_1_when_two_agree_and_verdicts_cite_it(
    desk: Desk,
) -> None:
    with_model(desk, tier=3)
    before = desk.ask(promote("credit")).verdict
    bundle = proposed(desk, looser())
    assert bundle.approvers_needed == 2
    assert list(bundle.loosens) == [
        "promote, tier 1 in dev: rule evidence/lineage asserts less, or something else"
    ]
    yes = pb.ApproveBundleRequest(name="baseline", bundle=bundle.bundle)
    go = pb.ActivateBundleRequest(name="baseline", bundle=bundle.bundle)
    against(
        "policy.separation-of-duties",
        lambda: desk.call("ApproveBundle", yes, "risk_officer", subject="paul"),
    )
    desk.call("ApproveBundle", yes, "risk_officer", subject="rob")
    against(
        "policy.dual-control", lambda: desk.call("ActivateBundle", go, "policy_author")
    )
    assert desk.ask(promote("credit")).verdict.status == ALLOWED
    desk.call("ApproveBundle", yes, "validator", subject="vera")
    against(
        "policy.bundle-backtested",
        lambda: desk.call("ActivateBundle", go, "policy_author"),
    )
    trial = pb.BacktestBundleRequest(name="baseline", bundle=bundle.bundle)
    assert desk.call("BacktestBundle", trial, "policy_author").backtest.verdicts
    done = desk.call("ActivateBundle", go, "policy_author")
    assert done.bundle.active
    after = desk.ask(promote("credit")).verdict
    assert after.status == DENIED
    assert after.bundle == bundle.bundle != before.bundle
    asking = pb.GetVerdictRequest(request=after.request)
    grounds = desk.call("GetVerdict", asking, "auditor").grounds
    assert grounds.bundle_since == done.written.position == done.bundle.active_since
    replay = pb.ReplayVerdictRequest(request=before.request)
    assert desk.call("ReplayVerdict", replay, "auditor").same


def test_what_loosens_nothing_for_tiers_1_and_2_takes_one_risk_officer(
    desk: Desk,
) -> None:
    bundle = proposed(desk, stricter())
    assert not bundle.loosens
    yes = pb.ApproveBundleRequest(name="baseline", bundle=bundle.bundle)
    go = pb.ActivateBundleRequest(name="baseline", bundle=bundle.bundle)
    desk.call("ApproveBundle", yes, "validator", subject="vera")
    against(
        "policy.dual-control", lambda: desk.call("ActivateBundle", go, "policy_author")
    )
    desk.call("ApproveBundle", yes, "risk_officer", subject="rob")
    assert desk.call("ActivateBundle", go, "policy_author").bundle.active


def test_an_edit_voids_the_approvals_of_a_bundle(desk: Desk) -> None:
    bundle = proposed(desk, looser())
    yes = pb.ApproveBundleRequest(name="baseline", bundle=bundle.bundle)
    for role, subject in (("risk_officer", "rob"), ("validator", "vera")):
        desk.call("ApproveBundle", yes, role, subject=subject)
    edited = proposed(desk, looser("1.1.1"))
    assert not edited.approvals
    go = pb.ActivateBundleRequest(name="baseline", bundle=edited.bundle)
    against(
        "policy.dual-control", lambda: desk.call("ActivateBundle", go, "policy_author")
    )


def test_a_bundle_that_cannot_be_put_in_force_leaves_the_last_good_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_model(desk, tier=3)
    bundle = proposed(desk, stricter())
    yes = pb.ApproveBundleRequest(name="baseline", bundle=bundle.bundle)
    desk.call("ApproveBundle", yes, "risk_officer", subject="rob")
    trial = Trial("baseline", "1.1.0", OTHER, 1, ())
    # As a program with another engine reads it.
    monkeypatch.setattr(in_force, "tried", lambda _: trial)
    go = pb.ActivateBundleRequest(name="baseline", bundle=bundle.bundle)
    done = desk.call("ActivateBundle", go, "policy_author")
    assert "its engine is another" in done.failure
    assert not done.bundle.active
    names = [one.name for one in desk.served.store.read_all()]
    assert names[-1] == "policy.bundle-activation-failed"
    verdict = desk.ask(promote("credit")).verdict
    assert verdict.bundle_version == "baseline 1.0.0"


def test_one_person_brings_a_bundle_back_and_a_second_confirms_it(desk: Desk) -> None:
    first = desk.call("GetBundle", pb.GetBundleRequest(), "auditor").bundle.bundle
    bundle = proposed(desk, stricter()).bundle
    back = pb.ReactivateBundleRequest(
        name="baseline", bundle=bundle, reason="it refuses what it should let pass"
    )
    against(
        "policy.bundle-was-active",
        lambda: desk.call("ReactivateBundle", back, "risk_officer", subject="rob"),
    )
    yes = pb.ApproveBundleRequest(name="baseline", bundle=bundle)
    desk.call("ApproveBundle", yes, "risk_officer", subject="rob")
    go = pb.ActivateBundleRequest(name="baseline", bundle=bundle)
    desk.call("ActivateBundle", go, "policy_author")
    back.bundle = first
    done = desk.call("ReactivateBundle", back, "risk_officer", subject="rob")
    assert done.bundle.active
    day = MORNING + timedelta(hours=24)
    assert done.bundle.second_due_at.ToDatetime() == day.replace(tzinfo=None)
    second = pb.ConfirmReactivationRequest(name="baseline", bundle=first)
    against(
        "policy.separation-of-duties",
        lambda: desk.call("ConfirmReactivation", second, "risk_officer", subject="rob"),
    )
    tick(desk.served, day)
    names = [one.name for one in desk.served.store.read_all()]
    assert "policy.reactivation-overdue" in names
    asking = pb.GetBundleRequest()
    assert desk.call("GetBundle", asking, "auditor").bundle.second_overdue
    desk.call("ConfirmReactivation", second, "validator", subject="vera")
    found = desk.call("GetBundle", asking, "auditor").bundle
    assert not found.second_overdue
    assert not found.HasField("second_due_at")


def test_a_bundle_that_fails_its_tests_stays_out(desk: Desk) -> None:
    text = stricter().replace(
        "expect: ALLOW}\n", "expect: PENDING, outstanding: [x]}\n"
    )
    ask = pb.ProposeBundleRequest(name="baseline", text=text)
    against(
        "policy.bundle-tests-pass",
        lambda: desk.call("ProposeBundle", ask, "policy_author"),
    )
    found = desk.call("ListBundles", pb.ListBundlesRequest(), "auditor").bundles
    assert [one.version for one in found] == ["1.0.0"]


# --- exceptions --------------------------------------------------------------------


def lineage_exception(days: int = 30) -> pb.GrantExceptionRequest:
    request = pb.GrantExceptionRequest(
        exception="no-lineage",
        model="credit",
        rule="evidence/lineage",
        reason="the bureau does not say where it comes from",
        owner=Person(issuer=LOCAL_ISSUER, subject="olga"),
    )
    request.until.FromDatetime(MORNING + timedelta(days=days))
    return request


def untraced(desk: Desk, tier: int) -> None:
    say(desk.served, "credit", *registered("credit", tier), *built("credit")[:3])


def test_an_exception_sets_a_rule_aside_until_it_expires(desk: Desk) -> None:
    untraced(desk, tier=3)
    assert desk.ask(promote("credit")).verdict.status == DENIED
    granted = desk.call(
        "GrantException", lineage_exception(), "risk_officer", subject="rob"
    ).exception
    assert granted.status == pb.EXCEPTION_STATUS_GRANTED
    verdict = desk.ask(promote("credit")).verdict
    assert verdict.status == ALLOWED
    assert "exception no-lineage until 2026-03-31 sets aside" in verdict.reasons[0]
    tick(desk.served, MORNING + timedelta(days=30))
    listed = desk.call(
        "ListExceptions", pb.ListExceptionsRequest(model="credit"), "auditor"
    )
    assert listed.exceptions[0].status == pb.EXCEPTION_STATUS_EXPIRED
    assert desk.ask(promote("credit")).verdict.status == DENIED


def test_in_tier_1_an_exception_needs_a_second_officer(desk: Desk) -> None:
    untraced(desk, tier=1)
    proposed = desk.call(
        "GrantException", lineage_exception(), "risk_officer", subject="rob"
    ).exception
    assert proposed.status == pb.EXCEPTION_STATUS_PROPOSED
    assert desk.ask(promote("credit")).verdict.status == DENIED
    agree = pb.ApproveExceptionRequest(exception="no-lineage")
    against(
        "policy.separation-of-duties",
        lambda: desk.call("ApproveException", agree, "risk_officer", subject="rob"),
    )
    desk.call("ApproveException", agree, "validator", subject="vera")
    assert desk.ask(promote("credit")).verdict.status == PENDING


def test_no_exception_is_granted_to_a_prohibition(desk: Desk) -> None:
    with_model(desk)
    request = lineage_exception()
    request.rule = "standing/retired"
    against(
        "policy.rule-waivable",
        lambda: desk.call("GrantException", request, "risk_officer", subject="rob"),
    )


# --- beside the inventory ----------------------------------------------------------


def test_what_policy_allows_the_inventory_deploys_and_nothing_else(
    serve: Serve,
) -> None:
    served = serve("inventory", "policy", scenario=True)
    tick(served, MORNING)
    desk, stub = Desk(served), InventoryServiceStub(served.channel)
    owner = ("owner",)
    served.call(
        stub.RegisterModel,
        inventory_pb2.RegisterModelRequest(
            model="rules",
            title="Who waits",
            kind=inventory_pb2.MODEL_KIND_RULEBOOK,
            purpose="to call back",
            owner="olga",
            approved_uses=["lending"],
        ),
        *owner,
        subject="olga",
    )
    served.call(
        stub.ClassifyRisk,
        inventory_pb2.ClassifyRiskRequest(
            model="rules",
            use="lending",
            exposure_share=0.0001,
            purpose=1,
            harm=1,
            method=1,
            input_uncertainty=1,
            opacity=1,
            autonomy=1,
        ),
        "risk_officer",
        subject="rob",
    )
    artifact = inventory_pb2.Artifact(
        name="rules", digest=DIGEST, media_type="text/yaml", size=1
    )
    version = inventory_pb2.RegisterVersionRequest(
        model="rules", version="v1", artifacts=[artifact]
    )
    served.call(stub.RegisterVersion, version, "engineer", subject="dev")
    served.settle()
    denied = desk.ask(promote("rules", environment="dev"), "olga", "owner").verdict
    assert denied.status == DENIED
    for rule in ("evidence/card", "evidence/lineage"):
        request = lineage_exception()
        request.model, request.rule = "rules", rule
        request.exception = rule.replace("/", "-")
        desk.call("GrantException", request, "risk_officer", subject="rob")
    measured = promote("rules", environment="dev")
    allowed = desk.ask(measured, "pat", "owner").verdict
    assert allowed.status == ALLOWED, allowed.reasons
    served.settle()

    def deploy(source: str) -> None:
        served.call(
            stub.Deploy,
            inventory_pb2.DeployRequest(
                model="rules",
                version="v1",
                digest=allowed.digest,
                environment="dev",
                share=1.0,
                verdict_source=source,
            ),
            "engineer",
            subject="dev",
        )

    refused(lambda: deploy(denied.settled_by), grpc.StatusCode.FAILED_PRECONDITION)
    deploy(allowed.settled_by)
    revoke = pb.RevokeVerdictRequest(request=allowed.request, reason="a mistake")
    desk.call("RevokeVerdict", revoke, "risk_officer")
    served.settle()
    refused(lambda: deploy(allowed.settled_by), grpc.StatusCode.FAILED_PRECONDITION)
