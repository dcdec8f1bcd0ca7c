"""People at policy's window, each with a token of their own, and what refuses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import PreconditionFailure
from google.rpc.status_pb2 import Status
from tests.integration.conftest import Served
from tests.integration.policy_world import DIGEST, built, registered, say

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub


class Desk:
    """People at policy's window, each with a token of their own."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.stub = PolicyServiceStub(served.channel)

    def ask(
        self,
        request: pb.EvaluateRequest,
        subject: str = "eve",
        *roles: str,
        tenant: str = "main",
    ) -> Any:
        who = roles or ("engineer",)
        return self.served.call(
            self.stub.Evaluate, request, *who, subject=subject, tenant=tenant
        )

    def approve(
        self, request: str, subject: str, *roles: str, digest: str = DIGEST
    ) -> Any:
        said = pb.ApproveRequest(request=request, digest=digest, comment="well done")
        return self.served.call(self.stub.Approve, said, *roles, subject=subject)

    def quorum(self, request: str) -> Any:
        self.approve(request, "rob", "risk_officer")
        self.approve(request, "vera", "validator")
        return self.approve(request, "ben", "business_owner").verdict

    def call(self, name: str, request: Message, *roles: str, subject: str = "") -> Any:
        """Each call is a request of its own, whatever it has in common with others."""
        method: Callable[..., Any] = getattr(self.stub, name)
        fresh = type(request).FromString(request.SerializeToString())
        return self.served.call(method, fresh, *roles, subject=subject)

    def verdict(self, request: str, **when: Any) -> Any:
        asking = pb.GetVerdictRequest(request=request, **when)
        return self.call("GetVerdict", asking, "auditor").verdict


def with_model(desk: Desk, model: str = "credit", tier: int = 1) -> None:
    say(desk.served, model, *registered(model, tier), *built(model))


def refused(ask: Callable[[], object], code: grpc.StatusCode, rule: str = "") -> None:
    with pytest.raises(grpc.RpcError) as error:
        ask()
    assert error.value.code() is code, error.value.details()
    assert not rule or rule in rules(error.value)


def rules(error: Any) -> list[str]:
    named: list[str] = []
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                failure = PreconditionFailure()
                if detail.Unpack(failure):
                    named += [one.type for one in failure.violations]
    return named


def against(rule: str, ask: Callable[[], object]) -> None:
    refused(ask, grpc.StatusCode.FAILED_PRECONDITION, rule)
