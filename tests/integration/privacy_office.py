"""A privacy officer at work, on a home where people have left their names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.conftest import Served
from tests.integration.policy_world import tick

from modelkeep.api.inventory.v1 import inventory_pb2 as inventory
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.api.privacy.v1 import privacy_pb2 as pb
from modelkeep.api.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

MORNING: Final = datetime(2026, 3, 1, 8, tzinfo=UTC)
DAY: Final = timedelta(days=1)
PAT: Final = ("privacy_officer", "pat")
PAM: Final = ("privacy_officer", "pam")
ROB: Final = ("risk_officer", "rob")


class Office:
    """Who asks is (role, subject)."""

    def __init__(self, served: Served, tenant: str = "main") -> None:
        self.served, self.tenant = served, tenant
        self.stub = PrivacyServiceStub(served.channel)
        self._inventory = InventoryServiceStub(served.channel)

    def ask(self, request: Any, who: tuple[str, str] = PAT) -> Any:
        rpc = type(request).__name__.removesuffix("Request")
        method = getattr(self.stub, rpc)
        role, subject = who
        return self.served.call(
            method, request, role, subject=subject, tenant=self.tenant
        )

    def model(self, model: str = "fraud") -> None:
        request = inventory.RegisterModelRequest(
            model=model,
            title="Fraud",
            kind=inventory.MODEL_KIND_TRAINED,
            purpose="to find fraud",
            owner="olga",
        )
        self.tell(request, "owner")

    def contact(self, subject: str, text: str, model: str = "fraud") -> int:
        """Give an engineer's contact; return the position."""
        request = inventory.AssignRoleRequest(
            model=model, role=inventory.ROLE_ENGINEER, subject=subject, contact=text
        )
        return int(self.tell(request, "owner").written.position)

    def leave(self, subject: str, model: str = "fraud") -> None:
        request = inventory.VacateRoleRequest(
            model=model, role=inventory.ROLE_ENGINEER, subject=subject
        )
        self.tell(request, "owner")

    def tell(self, request: Any, role: str) -> Any:
        rpc = type(request).__name__.removesuffix("Request")
        method = getattr(self._inventory, rpc)
        return self.served.call(
            method, request, role, subject="olga", tenant=self.tenant
        )

    def request(self, subject: str, *purposes: str, **more: Any) -> Any:
        asked = pb.RequestErasureRequest(
            subject=subject,
            purposes=purposes,
            basis=pb.BASIS_OBJECTION,
            reason="ticket 12",
            **more,
        )
        return self.ask(asked).erasure

    def approve(self, erasure: str, who: tuple[str, str] = ROB) -> Any:
        self.ask(pb.ApproveErasureRequest(erasure=erasure), who)
        self.settle()
        return self.get(erasure)

    def get(self, erasure: str) -> Any:
        return self.ask(pb.GetErasureRequest(erasure=erasure)).erasure

    def erase(self, subject: str) -> Any:
        return self.approve(self.request(subject).erasure)

    def personal(self, **of: Any) -> list[str]:
        asked = pb.ListPersonalRequest(**of)
        return [one.text for one in self.ask(asked).fields]

    def hold(self, hold: str, subject: str = "", *purposes: str) -> Any:
        asked = pb.PlaceHoldRequest(
            hold=hold,
            subject=subject,
            purposes=purposes,
            matter="Smith v. Bank",
            reason="a letter of the court",
        )
        answer = self.ask(asked)
        self.settle()
        return answer

    def release(self, hold: str) -> None:
        self.ask(pb.ReleaseHoldRequest(hold=hold, reason="settled"))
        self.settle()

    def tick(self, instant: datetime) -> None:
        tick(self.served, instant)

    def settle(self) -> None:
        self.served.settle()

    def key_of(self, subject: str) -> str:
        keystore = self.served.node.host.keystore
        (key,) = keystore.keys_of(self.tenant, subject)
        return key.key_id


def stamp(instant: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(instant)
    return found
