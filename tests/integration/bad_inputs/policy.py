"""Good requests of policy; the bad ones follow from them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, cast

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.admission_world import made_of
from tests.integration.bad_inputs.cases import ABSENT, INVALID, Bad, Good
from tests.integration.conftest import Served
from tests.integration.policy_world import (
    DIGEST,
    MORNING,
    OTHER,
    built,
    promote,
    registered,
    say,
    tick,
)

from modelkeep.api.common.v1.common_pb2 import Person
from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.events.inventory import VersionRegistered
from modelkeep.events.policy import EnvelopeTerms
from modelkeep.identity import LOCAL_ISSUER
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.defaults import baseline
from modelkeep_services.policy.domain.envelope import digest_of

SERVICE: Final = "policy"
NEEDS: Final = ("policy",)
SCENARIO: Final = True
DESCRIPTOR: Final = pb.DESCRIPTOR.services_by_name["PolicyService"]

REFUSED: Final = frozenset({grpc.StatusCode.FAILED_PRECONDITION})
TEXT: Final = baseline().replace("version: 1.0.0", "version: 1.1.0")
NEXT: Final = baseline().replace("version: 1.0.0", "version: 1.2.0")
BUNDLE: Final = load_bundle(TEXT).digest
PACKAGED: Final = load_bundle(baseline()).digest
REASON: Final = "nothing else will do until tomorrow"

ADMITTED: Final = "10000000-0000-0000-0000-000000000009"
AGREED: Final = "10000000-0000-0000-0000-000000000001"
HELD: Final = "10000000-0000-0000-0000-000000000002"
LIMITED: Final = "10000000-0000-0000-0000-000000000003"
REJECTED: Final = "10000000-0000-0000-0000-000000000004"
REVOKED: Final = "10000000-0000-0000-0000-000000000005"
GLASS: Final = "10000000-0000-0000-0000-000000000006"
CONFIRMED: Final = "10000000-0000-0000-0000-000000000007"
BROKEN: Final = "10000000-0000-0000-0000-000000000008"
REQUESTS: Final = (
    AGREED,
    HELD,
    LIMITED,
    REJECTED,
    REVOKED,
    GLASS,
    CONFIRMED,
    BROKEN,
)

ENGINEER: Final = ("engineer",)
OFFICER: Final = ("risk_officer",)
VALIDATOR: Final = ("validator",)
AUDITOR: Final = ("auditor",)
SERVING: Final = ("serving",)

FILES: Final = made_of(Path(__file__), "credit1", "v2")
"""A version whose artifact is this very file."""
SERVES: Final = cast("VersionRegistered", FILES[0]).digest


def moment(days: int) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(MORNING + timedelta(days=days))
    return found


def owner() -> Person:
    return Person(issuer=LOCAL_ISSUER, subject="olga")


def exception(name: str) -> pb.GrantExceptionRequest:
    return pb.GrantExceptionRequest(
        exception=name,
        model="credit1",
        rule="evidence/lineage",
        reason=REASON,
        owner=owner(),
        until=moment(30),
    )


def limits(**more: object) -> pb.ApproveWithConditionsRequest:
    request = pb.ApproveWithConditionsRequest(
        request=LIMITED,
        digest=DIGEST,
        comment="for now",
        max_traffic_share=0.1,
        expires_at=moment(5),
    )
    request.MergeFrom(pb.ApproveWithConditionsRequest(**more))  # type: ignore[arg-type]  # fields by name
    return request


def breaking(request: str) -> pb.BreakGlassRequest:
    return pb.BreakGlassRequest(request=request, digest=DIGEST, reason=REASON)


def admission(**more: object) -> pb.AdmitRequest:
    request = pb.AdmitRequest(
        model="credit1",
        version="v2",
        digest=SERVES,
        environment="prod",
        use="lending",
        traffic_share=0.5,
        nonce="n",
    )
    request.MergeFrom(pb.AdmitRequest(**more))  # type: ignore[arg-type]  # fields by name
    return request


def terms(**more: object) -> pb.EnvelopeTerms:
    found = pb.EnvelopeTerms(
        model="credit1",
        actions=["promote"],
        features=["income", "age"],
        psi_max=0.05,
        until=moment(60),
        uses=3,
    )
    found.MergeFrom(pb.EnvelopeTerms(**more))  # type: ignore[arg-type]  # fields by name
    return found


def proposal(envelope: str, **more: object) -> pb.ProposeEnvelopeRequest:
    return pb.ProposeEnvelopeRequest(
        envelope=envelope, terms=terms(**more), reason=REASON
    )


def lending(delegation: str, **more: object) -> pb.DelegateRequest:
    request = pb.DelegateRequest(
        delegation=delegation,
        to=Person(issuer=LOCAL_ISSUER, subject="vik"),
        role="validator",
        models=["credit1"],
        until=moment(7),
        reason="on leave",
    )
    request.MergeFrom(pb.DelegateRequest(**more))  # type: ignore[arg-type]  # fields by name
    return request


TERMS: Final = digest_of(
    EnvelopeTerms(
        model="credit1",
        actions=("promote",),
        features=("income", "age"),
        psi_max=0.05,
        until=MORNING + timedelta(days=60),
        uses=3,
    )
)


def prepare(served: Served) -> None:
    tick(served, MORNING)
    say(served, "credit1", *registered("credit1"), *built("credit1"))
    say(served, "credit1", *FILES)
    stub = PolicyServiceStub(served.channel)

    def do(method: Callable[..., object], request: Message, *who: str) -> None:
        served.call(method, request, who[0], subject=who[1])

    ask = admission(request_id=ADMITTED)
    do(stub.Admit, ask, "serving", "scorer")
    for number in REQUESTS:
        request = promote("credit1", request_id=number, hold_approvals=number == HELD)
        do(stub.Evaluate, request, "engineer", "eve")
    for number in (CONFIRMED, BROKEN):
        do(stub.BreakGlass, breaking(number), "engineer", "eve")
    confirm = pb.ConfirmBreakGlassRequest(request=BROKEN, digest=DIGEST)
    do(stub.ConfirmBreakGlass, confirm, "risk_officer", "rob")
    text = pb.ProposeBundleRequest(name="baseline", text=TEXT)
    do(stub.ProposeBundle, text, "policy_author", "paul")
    for role, subject in (("risk_officer", "rob"), ("validator", "vera")):
        yes = pb.ApproveBundleRequest(name="baseline", bundle=BUNDLE)
        do(stub.ApproveBundle, yes, role, subject)
    shadow = pb.SetShadowRequest(name="baseline", bundle=BUNDLE)
    do(stub.SetShadow, shadow, "policy_author", "paul")
    for name in ("agreed1", "dropped1"):
        do(stub.GrantException, exception(name), "risk_officer", "rob")
    for name in ("agreed1", "dropped1"):
        do(stub.ProposeEnvelope, proposal(name), "engineer", "eve")
    do(stub.Delegate, lending("dropped1"), "validator", "rita")


GOOD: Final = (
    Good(
        "ProposeBundle",
        pb.ProposeBundleRequest(name="baseline", text=NEXT),
        ("policy_author",),
        required=("name", "text"),
    ),
    Good(
        "ApproveBundle",
        pb.ApproveBundleRequest(name="baseline", bundle=BUNDLE),
        OFFICER,
        about="bundle",
        required=("name", "bundle"),
    ),
    Good(
        "ActivateBundle",
        pb.ActivateBundleRequest(name="baseline", bundle=BUNDLE),
        ("policy_author",),
        about="bundle",
        required=("name", "bundle"),
    ),
    Good(
        "ReactivateBundle",
        pb.ReactivateBundleRequest(name="baseline", bundle=PACKAGED, reason=REASON),
        OFFICER,
        about="bundle",
        required=("name", "bundle", "reason"),
        subject="rob",
    ),
    Good(
        "ConfirmReactivation",
        pb.ConfirmReactivationRequest(name="baseline", bundle=PACKAGED),
        VALIDATOR,
        about="bundle",
        required=("name", "bundle"),
        subject="vera",
    ),
    Good("GetBundle", pb.GetBundleRequest(bundle=BUNDLE), AUDITOR, about="bundle"),
    Good("ListBundles", pb.ListBundlesRequest(), AUDITOR),
    Good(
        "Evaluate",
        promote("credit1", digest=DIGEST, traffic_share=0.5, target_version="v1"),
        ENGINEER,
        about="model",
        required=("action", "model"),
        subject="eve",
    ),
    Good(
        "SignVerdict",
        pb.SignVerdictRequest(request=ADMITTED),
        AUDITOR,
        about="request",
        required=("request",),
    ),
    Good(
        "Admit",
        admission(),
        SERVING,
        about="model",
        required=("model", "version", "digest", "environment"),
        subject="scorer",
    ),
    Good(
        "RenewPermit",
        pb.RenewPermitRequest(request=ADMITTED, nonce="n"),
        SERVING,
        about="request",
        required=("request",),
        subject="scorer",
    ),
    Good(
        "RequestApproval",
        pb.RequestApprovalRequest(request=HELD, approvals_due_at=moment(3)),
        ENGINEER,
        about="request",
        required=("request",),
    ),
    Good(
        "Approve",
        pb.ApproveRequest(request=AGREED, digest=DIGEST, comment="fine"),
        OFFICER,
        about="request",
        required=("request", "digest"),
    ),
    Good(
        "ApproveWithConditions",
        limits(),
        OFFICER,
        about="request",
        required=("request", "digest", "expires_at"),
    ),
    Good(
        "Reject",
        pb.RejectRequest(request=REJECTED, digest=DIGEST, reason="no"),
        OFFICER,
        about="request",
        required=("request", "digest", "reason"),
    ),
    Good(
        "RevokeVerdict",
        pb.RevokeVerdictRequest(request=REVOKED, reason="a mistake"),
        OFFICER,
        about="request",
        required=("request", "reason"),
    ),
    Good(
        "GetVerdict",
        pb.GetVerdictRequest(request=AGREED),
        AUDITOR,
        about="request",
        required=("request",),
    ),
    Good(
        "ListVerdicts",
        pb.ListVerdictsRequest(model="credit1", action="promote"),
        AUDITOR,
    ),
    Good(
        "ListRequests",
        pb.ListRequestsRequest(role="validator", person=owner()),
        AUDITOR,
    ),
    Good(
        "Explain",
        pb.ExplainRequest(request=AGREED),
        AUDITOR,
        about="request",
        required=("request",),
    ),
    Good(
        "ReplayVerdict",
        pb.ReplayVerdictRequest(request=AGREED),
        AUDITOR,
        about="request",
        required=("request",),
    ),
    Good(
        "BreakGlass",
        breaking(GLASS),
        ENGINEER,
        about="request",
        required=("request", "digest", "reason"),
        subject="eve",
    ),
    Good(
        "ConfirmBreakGlass",
        pb.ConfirmBreakGlassRequest(request=CONFIRMED, digest=DIGEST),
        OFFICER,
        about="request",
        required=("request", "digest"),
        subject="rob",
    ),
    Good(
        "ReviewBreakGlass",
        pb.ReviewBreakGlassRequest(request=BROKEN, justified=True, notes="it was"),
        VALIDATOR,
        about="request",
        required=("request", "justified", "notes"),
        subject="vera",
    ),
    Good(
        "GrantException",
        exception("granted1"),
        OFFICER,
        about="model",
        required=("exception", "model", "rule", "reason", "owner", "until"),
        subject="rob",
    ),
    Good(
        "ApproveException",
        pb.ApproveExceptionRequest(exception="agreed1"),
        VALIDATOR,
        about="exception",
        required=("exception",),
        subject="vera",
    ),
    Good(
        "WithdrawException",
        pb.WithdrawExceptionRequest(exception="dropped1", reason="it is traced now"),
        OFFICER,
        about="exception",
        required=("exception", "reason"),
    ),
    Good("ListExceptions", pb.ListExceptionsRequest(model="credit1"), AUDITOR),
    Good(
        "BacktestBundle",
        pb.BacktestBundleRequest(
            name="baseline", bundle=BUNDLE, start=moment(-1), minutes_per_approval=30
        ),
        ("policy_author",),
        about="bundle",
        required=("name", "bundle"),
    ),
    Good(
        "SetShadow",
        pb.SetShadowRequest(name="baseline", bundle=BUNDLE),
        ("policy_author",),
        about="bundle",
        required=("name", "bundle"),
    ),
    Good(
        "CompareShadow",
        pb.CompareShadowRequest(bundle=BUNDLE),
        AUDITOR,
        about="bundle",
    ),
    Good(
        "ListShadowVerdicts",
        pb.ListShadowVerdictsRequest(bundle=BUNDLE, differing=True),
        AUDITOR,
        about="bundle",
    ),
    Good(
        "ClearShadow",
        pb.ClearShadowRequest(bundle=BUNDLE),
        OFFICER,
        about="bundle",
        required=("bundle",),
    ),
    Good(
        "Delegate",
        lending("lent1"),
        VALIDATOR,
        required=("delegation", "to", "role", "until", "reason"),
        subject="rita",
    ),
    Good(
        "RevokeDelegation",
        pb.RevokeDelegationRequest(delegation="dropped1", reason="back again"),
        OFFICER,
        about="delegation",
        required=("delegation", "reason"),
    ),
    Good("ListDelegations", pb.ListDelegationsRequest(person=owner()), AUDITOR),
    Good(
        "ProposeEnvelope",
        proposal("monthly1"),
        ENGINEER,
        required=("envelope", "terms", "reason"),
        subject="eve",
    ),
    Good(
        "ApproveEnvelope",
        pb.ApproveEnvelopeRequest(envelope="agreed1", digest=TERMS),
        OFFICER,
        about="envelope",
        required=("envelope", "digest"),
        subject="rob",
    ),
    Good(
        "WithdrawEnvelope",
        pb.WithdrawEnvelopeRequest(envelope="dropped1", reason="not any more"),
        OFFICER,
        about="envelope",
        required=("envelope", "reason"),
    ),
    Good("ListEnvelopes", pb.ListEnvelopesRequest(model="credit1"), AUDITOR),
    Good(
        "GetChallenge",
        pb.GetChallengeRequest(since=moment(-1), until=moment(1), threshold=2),
        AUDITOR,
    ),
)


def changed(request: Message, **fields: object) -> Message:
    request = copy.deepcopy(request)
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def measured(**fields: float) -> Message:
    return promote("credit1", evidence=pb.StatedEvidence(**fields))  # type: ignore[arg-type]  # fields by name


def bad(
    rpc: str,
    what: str,
    request: Message,
    codes: frozenset[grpc.StatusCode],
    field: str = "",
) -> Bad:
    roles = next(good.roles for good in GOOD if good.rpc == rpc)
    return Bad(rpc, what, request, roles, codes, field, subject="eve-two")


MORE: Final = (
    bad("Evaluate", "stale digest", promote("credit1", digest=OTHER), REFUSED),
    bad("Evaluate", "a share beyond 1", promote("credit1", traffic_share=1.5), INVALID,
        "traffic_share"),
    bad("Evaluate", "NaN performance", measured(performance=float("nan")), INVALID,
        "performance"),
    bad("Evaluate", "infinite rival", measured(champion_performance=float("inf")),
        INVALID, "champion_performance"),
    bad("Evaluate", "due in the past",
        promote("credit1", approvals_due_at=moment(-1)), REFUSED),
    bad("Evaluate", "due beyond the verdict",
        promote("credit1", approvals_due_at=moment(90)), REFUSED),
    bad("Evaluate", "no such action", promote("credit1", action="No Verb"), INVALID,
        "action"),
    bad("Evaluate", "facts not seen", promote("credit1", not_before=1 << 40),
        frozenset({grpc.StatusCode.DEADLINE_EXCEEDED})),
    bad("Admit", "stale digest", changed(admission(), digest=OTHER), REFUSED),
    bad("Admit", "a share beyond 1", changed(admission(), traffic_share=1.5), INVALID,
        "traffic_share"),
    bad("Admit", "facts not seen", changed(admission(), not_before=1 << 40),
        frozenset({grpc.StatusCode.DEADLINE_EXCEEDED})),
    bad("RenewPermit", "of no admission",
        pb.RenewPermitRequest(request=AGREED), REFUSED),
    bad("RenewPermit", "another's",
        pb.RenewPermitRequest(request=ADMITTED), REFUSED),
    bad("SignVerdict", "artifacts that do not make its digest",
        pb.SignVerdictRequest(request=AGREED), REFUSED),
    bad("Approve", "stale digest",
        pb.ApproveRequest(request=AGREED, digest=OTHER), REFUSED),
    bad("ApproveWithConditions", "no condition",
        pb.ApproveWithConditionsRequest(
            request=LIMITED, digest=DIGEST, expires_at=moment(5)
        ), INVALID),
    bad("ApproveWithConditions", "ends before it begins",
        limits(expires_at=moment(-1)), REFUSED),
    bad("GrantException", "for too long",
        pb.GrantExceptionRequest(
            exception="x", model="credit1", rule="evidence/lineage", reason=REASON,
            owner=owner(), until=moment(91),
        ), REFUSED),
    bad("GrantException", "of an unknown rule",
        changed(exception("x"), rule="evidence/nothing"), REFUSED),
    bad("GrantException", "of no rule at all", changed(exception("x"), rule="all"),
        INVALID, "rule"),
    bad("BacktestBundle", "a period that ends before it begins",
        pb.BacktestBundleRequest(
            name="baseline", bundle=BUNDLE, start=moment(2), end=moment(1)
        ), INVALID, "start"),
    bad("BacktestBundle", "minutes below nothing",
        pb.BacktestBundleRequest(
            name="baseline", bundle=BUNDLE, minutes_per_approval=-1.0
        ), INVALID, "minutes_per_approval"),
    bad("BacktestBundle", "no such action",
        pb.BacktestBundleRequest(name="baseline", bundle=BUNDLE, actions=["No Verb"]),
        INVALID, "actions"),
    bad("SetShadow", "another's name",
        pb.SetShadowRequest(name="retail", bundle=BUNDLE), ABSENT),
    bad("Delegate", "to themselves",
        lending("x", to=Person(issuer=LOCAL_ISSUER, subject="eve-two")), REFUSED),
    bad("Delegate", "a role they do not hold", lending("x", role="risk_officer"),
        REFUSED),
    bad("Delegate", "a reason too long",
        changed(lending("x"), reason="x" * 4_001), INVALID, "reason"),
    bad("Delegate", "in the past", lending("x", until=moment(-1)), REFUSED),
    bad("Delegate", "no role at all", lending("x", role="No Role"), INVALID, "role"),
    bad("Delegate", "beyond 90 days", lending("x", until=moment(91)), REFUSED),
    bad("ProposeEnvelope", "of an unknown model", proposal("x", model="nobody1"),
        frozenset({grpc.StatusCode.NOT_FOUND})),
    bad("ProposeEnvelope", "without a bound",
        pb.ProposeEnvelopeRequest(
            envelope="x", reason=REASON,
            terms=pb.EnvelopeTerms(
                model="credit1", actions=["promote"], until=moment(60), uses=3
            ),
        ), INVALID, "terms"),
    bad("ProposeEnvelope", "never to be used",
        pb.ProposeEnvelopeRequest(
            envelope="x", reason=REASON,
            terms=pb.EnvelopeTerms(
                model="credit1", actions=["promote"], psi_max=0.1, until=moment(60)
            ),
        ), INVALID, "uses"),
    bad("ProposeEnvelope", "NaN drift", proposal("x", psi_max=float("nan")), INVALID,
        "psi_max"),
    bad("ProposeEnvelope", "for too long", proposal("x", until=moment(366)), REFUSED),
    bad("ProposeEnvelope", "a second time", proposal("agreed1"), REFUSED),
    bad("ApproveEnvelope", "other terms",
        pb.ApproveEnvelopeRequest(envelope="agreed1", digest=OTHER), REFUSED),
    bad("ReactivateBundle", "never in force",
        pb.ReactivateBundleRequest(name="baseline", bundle=BUNDLE, reason=REASON),
        REFUSED),
    bad("ReactivateBundle", "no reason to speak of",
        pb.ReactivateBundleRequest(name="baseline", bundle=PACKAGED, reason="because"),
        INVALID, "reason"),
    bad("ConfirmReactivation", "what was not brought back",
        pb.ConfirmReactivationRequest(name="baseline", bundle=PACKAGED), REFUSED),
    bad("ProposeBundle", "not YAML",
        pb.ProposeBundleRequest(name="baseline", text="a: [b"), INVALID, "text"),
    bad("ProposeBundle", "another's name",
        pb.ProposeBundleRequest(name="retail", text=NEXT), INVALID, "name"),
    bad("ProposeBundle", "a version used before",
        pb.ProposeBundleRequest(
            name="baseline",
            text=TEXT.replace("default: 0.55", "default: 0.551"),
        ), REFUSED),
)  # fmt: skip
