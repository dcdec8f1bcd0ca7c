"""Who speaks for whom, what was approved in advance, and whether it is a challenge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.conftest import Serve
from tests.integration.policy_desk import Desk, against, with_model
from tests.integration.policy_world import (
    DIGEST,
    MORNING,
    OTHER,
    built,
    person,
    promote,
    say,
    tick,
)

from modelkeep.api.common.v1.common_pb2 import AsOf, Person
from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.events import inventory as says
from modelkeep.events.insight import BudgetDefined, Document
from modelkeep.identity import LOCAL_ISSUER

ALLOWED = pb.REQUEST_STATUS_ALLOWED
PENDING = pb.REQUEST_STATUS_PENDING
REVOKED = pb.REQUEST_STATUS_REVOKED


@pytest.fixture
def desk(serve: Serve) -> Desk:
    served = serve("policy", scenario=True)
    tick(served, MORNING)
    found = Desk(served)
    with_model(found)
    return found


# --- delegation --------------------------------------------------------------------


def lend(
    desk: Desk,
    lender: str,
    to: str,
    role: str = "validator",
    *,
    roles: tuple[str, ...] = (),
    days: int = 7,
    **scope: Any,
) -> str:
    request = pb.DelegateRequest(
        delegation=f"{lender}-{to}",
        to=Person(issuer=LOCAL_ISSUER, subject=to),
        role=role,
        reason="on leave",
        **scope,
    )
    request.until.FromDatetime(MORNING + timedelta(days=days))
    desk.call("Delegate", request, *(roles or (role,)), subject=lender)
    return request.delegation


def test_a_delegate_speaks_for_who_is_away_and_the_verdict_says_so(desk: Desk) -> None:
    lend(desk, "rita", "vik", models=["credit"], actions=["promote"])
    request = desk.ask(promote("credit")).verdict.request
    verdict = desk.approve(request, "vik", "policy_author").verdict
    assert [one.role for one in verdict.owed] == ["risk_officer", "business_owner"]
    (lent,) = verdict.approvals[0].lent
    assert (lent.lender.subject, lent.role) == ("rita", "validator")
    text = desk.call("Explain", pb.ExplainRequest(request=request), "auditor").text
    assert "vik (policy_author, validator for rita until 2026-03-08 08:00)" in text


@pytest.mark.parametrize(
    "scope", [{"models": ["churn"]}, {"actions": ["retrain"]},
              {"business_lines": ["retail"]}], ids=lambda scope: next(iter(scope))
)  # fmt: skip
def test_a_delegation_is_good_for_what_it_names(
    desk: Desk, scope: dict[str, Any]
) -> None:
    lend(desk, "rita", "vik", **scope)
    request = desk.ask(promote("credit")).verdict.request
    against("policy.no-seat", lambda: desk.approve(request, "vik", "policy_author"))


def test_a_delegation_ends_on_its_date_and_when_it_is_revoked(desk: Desk) -> None:
    first = lend(desk, "rita", "vik")
    lend(desk, "vera", "vic", days=2)
    request = desk.ask(promote("credit")).verdict.request
    gone = pb.RevokeDelegationRequest(delegation=first, reason="back again")
    against(
        "policy.delegation-lender",
        lambda: desk.call("RevokeDelegation", gone, "validator", subject="val"),
    )
    desk.call("RevokeDelegation", gone, "validator", subject="rita")
    against("policy.no-seat", lambda: desk.approve(request, "vik", "policy_author"))
    tick(desk.served, MORNING + timedelta(days=2))
    against("policy.no-seat", lambda: desk.approve(request, "vic", "policy_author"))
    listed = desk.call("ListDelegations", pb.ListDelegationsRequest(), "auditor")
    assert [one.status for one in listed.delegations] == [
        pb.DELEGATION_STATUS_REVOKED,
        pb.DELEGATION_STATUS_EXPIRED,
    ]


def test_nobody_lends_on_what_was_lent_to_them(desk: Desk) -> None:
    lend(desk, "rita", "vik")
    against(
        "policy.delegation-held",
        lambda: lend(desk, "vik", "val", roles=("policy_author",)),
    )


def test_a_delegate_may_not_approve_what_the_lender_may_not(desk: Desk) -> None:
    lend(desk, "olga", "ben", "business_owner")
    request = desk.ask(promote("credit")).verdict.request
    against(
        "policy.separation-of-duties", lambda: desk.approve(request, "ben", "engineer")
    )


def test_a_delegate_counts_as_themselves_for_separation_of_duties(desk: Desk) -> None:
    lend(desk, "ben", "dev", "business_owner")
    request = desk.ask(promote("credit")).verdict.request
    against(
        "policy.separation-of-duties", lambda: desk.approve(request, "dev", "engineer")
    )


def test_who_lends_and_speaks_too_is_one_person(desk: Desk) -> None:
    lend(desk, "rita", "vik", roles=("validator", "risk_officer"))
    request = desk.ask(promote("credit")).verdict.request
    desk.approve(request, "vik", "policy_author")
    verdict = desk.approve(request, "rita", "validator", "risk_officer").verdict
    assert sum(one.count for one in verdict.owed) == 2


def test_a_role_is_not_lent_into_another_line_of_defence(desk: Desk) -> None:
    lend(desk, "rita", "eng")
    request = desk.ask(promote("credit")).verdict.request
    against("policy.no-seat", lambda: desk.approve(request, "eng", "engineer"))


# --- envelopes ---------------------------------------------------------------------


def envelope(desk: Desk, *, uses: int = 2, **more: Any) -> Any:
    terms = pb.EnvelopeTerms(
        model="credit",
        actions=["promote"],
        environment="prod",
        features=["income", "age"],
        performance_min=0.75,
        psi_max=0.05,
        uses=uses,
    )
    terms.until.FromDatetime(MORNING + timedelta(days=60))
    terms.MergeFrom(pb.EnvelopeTerms(**more))
    asking = pb.ProposeEnvelopeRequest(
        envelope="monthly", terms=terms, reason="the same model, on fresher data"
    )
    return desk.call("ProposeEnvelope", asking, "engineer", subject="eve").envelope


def grant(desk: Desk, digest: str) -> Any:
    yes = pb.ApproveEnvelopeRequest(envelope="monthly", digest=digest)
    people = (("risk_officer", "rob"), ("validator", "vera"), ("business_owner", "ben"))
    for role, subject in people:
        found = desk.call("ApproveEnvelope", yes, role, subject=subject).envelope
    return found


def standing(desk: Desk) -> Any:
    listed = desk.call("ListEnvelopes", pb.ListEnvelopesRequest(), "auditor")
    return listed.envelopes[0]


def test_what_is_inside_an_envelope_owes_no_approvals_so_often(desk: Desk) -> None:
    made = envelope(desk)
    assert desk.ask(promote("credit")).verdict.status == PENDING
    assert grant(desk, made.digest).status == pb.ENVELOPE_STATUS_IN_FORCE
    say(desk.served, "credit", *built("credit", "v2", OTHER))
    first = desk.ask(promote("credit", "v2")).verdict
    assert first.status == ALLOWED
    assert (first.envelope.use, first.envelope.uses) == (1, 2)
    assert first.reasons[0].startswith("envelope monthly covers it")
    replay = pb.ReplayVerdictRequest(request=first.request)
    assert desk.call("ReplayVerdict", replay, "auditor").same
    assert desk.ask(promote("credit", "v2")).verdict.status == ALLOWED
    assert standing(desk).status == pb.ENVELOPE_STATUS_SPENT
    assert desk.ask(promote("credit", "v2")).verdict.status == PENDING


def test_a_retry_takes_one_use_of_an_envelope(desk: Desk) -> None:
    grant(desk, envelope(desk).digest)
    request = promote("credit", request_id="20000000-0000-0000-0000-000000000001")
    for _ in range(3):
        assert desk.ask(request).verdict.envelope.use == 1
    assert standing(desk).used == 1


@pytest.mark.parametrize(
    "more",
    [
        {"performance_min": 0.79},
        {"psi_max": 0.019},
        {"environment": "staging"},
        {"performance_drop_max": 0.01},  # nothing serves: a drop cannot be told
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_is_outside_an_envelope_waits_as_always(
    desk: Desk, more: dict[str, Any]
) -> None:
    grant(desk, envelope(desk, **more).digest)
    assert desk.ask(promote("credit")).verdict.status == PENDING
    assert standing(desk).used == 0


@pytest.mark.parametrize("names", [["income", "shoe-size"], ["income"], []])
def test_another_feature_set_is_outside_an_envelope(
    desk: Desk, names: list[str]
) -> None:
    made = envelope(desk)
    grant(desk, made.digest)
    asked = promote("credit")
    del asked.evidence.features[:]
    for name in names:
        asked.evidence.features.add(name=name, psi=0.01)
    assert desk.ask(asked).verdict.status != ALLOWED


def test_an_envelope_allows_nothing_that_a_rule_denies(desk: Desk) -> None:
    grant(desk, envelope(desk, psi_max=1.0).digest)
    asked = promote("credit")
    asked.evidence.features[0].psi = 0.3
    assert desk.ask(asked).verdict.verdict == pb.VERDICT_KIND_DENY
    assert standing(desk).used == 0


def test_an_envelope_binds_the_traffic_it_lets_through(desk: Desk) -> None:
    grant(desk, envelope(desk, traffic_share_max=0.2).digest)
    verdict = desk.ask(promote("credit")).verdict
    assert verdict.max_traffic_share == pytest.approx(0.2)
    assert desk.ask(promote("credit", traffic_share=0.5)).verdict.status == PENDING


def test_who_proposes_an_envelope_or_owns_the_model_does_not_approve_it(
    desk: Desk,
) -> None:
    digest = envelope(desk).digest
    yes = pb.ApproveEnvelopeRequest(envelope="monthly", digest=digest)
    for subject in ("eve", "olga", "dev"):
        against(
            "policy.separation-of-duties",
            lambda who=subject: desk.call(  # type: ignore[misc]  # bound here
                "ApproveEnvelope", yes, "risk_officer", subject=who
            ),
        )
    yes.digest = OTHER
    against(
        "policy.stale-digest",
        lambda: desk.call("ApproveEnvelope", yes, "risk_officer", subject="rob"),
    )


@pytest.mark.parametrize("what", ["tier", "uses"])
def test_another_tier_or_use_voids_an_envelope(desk: Desk, what: str) -> None:
    grant(desk, envelope(desk).digest)
    if what == "tier":
        from tests.integration.policy_world import registered  # noqa: PLC0415

        event = registered("credit", tier=2)[-1]
    else:
        event = says.UsesApproved(
            model="credit", uses=("lending", "collections"), by=person("rob")
        )
    say(desk.served, "credit", event)
    desk.served.settle()
    assert standing(desk).status == pb.ENVELOPE_STATUS_VOID
    assert desk.ask(promote("credit")).verdict.status == PENDING


# --- conditions --------------------------------------------------------------------


def conditionally(desk: Desk, share: float = 0.1, days: int = 5) -> str:
    request: str = desk.ask(promote("credit")).verdict.request
    limit = pb.ApproveWithConditionsRequest(
        request=request, digest=DIGEST, max_traffic_share=share
    )
    limit.expires_at.FromDatetime(MORNING + timedelta(days=days))
    desk.call("ApproveWithConditions", limit, "risk_officer", subject="rob")
    desk.approve(request, "vera", "validator")
    desk.approve(request, "ben", "business_owner")
    say(desk.served, "credit", budget())
    return request


def budget() -> BudgetDefined:
    """Without one nobody knows whether more traffic can be borne."""
    return BudgetDefined(
        model="credit",
        budget="wrongs",
        kind="degradation",
        metric="false_positive_rate",
        p0=0.1,
        p1=0.2,
        expected_events=1000,
        period="month",
        period_end=datetime(2026, 4, 1, tzinfo=UTC),
        document=Document(version="budgets-1", digest=DIGEST),
    )


def more_traffic(desk: Desk, share: float) -> Any:
    asked = pb.EvaluateRequest(
        action="set_traffic",
        model="credit",
        version="v1",
        environment="prod",
        traffic_share=share,
        remedies_cause=True,
    )
    return desk.ask(asked).verdict


def test_a_limit_of_an_approval_binds_whoever_asks_for_more_traffic(
    desk: Desk,
) -> None:
    conditionally(desk, share=0.1)
    verdict = more_traffic(desk, 0.2)
    assert verdict.status == ALLOWED
    assert verdict.max_traffic_share == pytest.approx(0.1)


def test_a_conditional_approval_that_ends_takes_its_verdict_along(desk: Desk) -> None:
    request = conditionally(desk)
    tick(desk.served, MORNING + timedelta(days=5))
    verdict = desk.verdict(request)
    assert verdict.status == REVOKED
    assert "its conditional approval ended" in verdict.revoked_because
    after = more_traffic(desk, 0.2)
    assert after.status == ALLOWED
    assert after.HasField("max_traffic_share")
    assert after.max_traffic_share == 0


# --- effective challenge -----------------------------------------------------------


def challenge(desk: Desk, **asking: Any) -> Any:
    request = pb.GetChallengeRequest(**asking)
    return desk.call("GetChallenge", request, "auditor")


def test_who_never_refuses_and_how_long_they_took_is_told(desk: Desk) -> None:
    first = desk.ask(promote("credit")).verdict.request
    position = desk.approve(first, "rob", "risk_officer").written.position
    tick(desk.served, MORNING + timedelta(hours=2))
    desk.approve(first, "vera", "validator")
    no = pb.RejectRequest(request=first, digest=DIGEST, reason="not yet")
    desk.call("Reject", no, "business_owner", subject="ben")
    told = challenge(desk, threshold=1)
    found = {one.person.subject: one for one in told.reviewers}
    assert (found["rob"].approvals, found["rob"].median_seconds) == (1, 0)
    assert found["vera"].shortest_seconds == 7_200
    assert found["rob"].never_refuses
    assert not found["ben"].never_refuses
    assert (found["ben"].refusals, told.words) == (1, 3)
    assert told.fastest[0].by.subject == "rob"
    assert told.fastest[0].size.features == 2
    assert not any(one.never_refuses for one in challenge(desk).reviewers)
    assert challenge(desk, as_of=AsOf(position=position)).words == 1


def test_two_who_approve_each_others_are_told(desk: Desk) -> None:
    first = desk.ask(promote("credit"), "ann", "engineer", "risk_officer").verdict
    desk.approve(first.request, "amy", "risk_officer")
    # What amy said of it counts no more where she asks for it herself.
    second = desk.ask(promote("credit"), "amy", "engineer", "risk_officer").verdict
    desk.approve(second.request, "ann", "risk_officer")
    (pair,) = challenge(desk).reciprocals
    assert (pair.one.subject, pair.other.subject) == ("amy", "ann")
    assert (pair.by_one, pair.by_other) == (1, 1)
