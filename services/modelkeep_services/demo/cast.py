"""Who plays: people in three lines, each with a token, and the desks they call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message

from modelkeep.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from modelkeep.api.debt.v1.debt_pb2_grpc import DebtServiceStub
from modelkeep.api.insight.v1.insight_pb2_grpc import InsightServiceStub
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.api.lineage.v1.lineage_pb2_grpc import LineageServiceStub
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep_services.demo.stage import CALL_S, Person, Stage

A = TypeVar("A", bound=Message)


def ask(person: Person, method: Callable[..., A], request: Message) -> A:
    """Call as this person, with an id of the story's own where it is a write."""
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        given = cast("_Write", request)
        given.request_id = given.request_id or person.next_id()
    return method(request, timeout=CALL_S, metadata=person.metadata)


class _Write(Protocol):
    request_id: str


@dataclass(frozen=True)
class Desks:
    """Every service, by its stub."""

    inventory: InventoryServiceStub
    lineage: LineageServiceStub
    policy: PolicyServiceStub
    monitoring: MonitoringServiceStub
    debt: DebtServiceStub
    insight: InsightServiceStub
    audit: AuditServiceStub

    @classmethod
    def on(cls, stage: Stage) -> Desks:
        return cls(
            stage.stub("inventory", InventoryServiceStub),
            stage.stub("lineage", LineageServiceStub),
            stage.stub("policy", PolicyServiceStub),
            stage.stub("monitoring", MonitoringServiceStub),
            stage.stub("debt", DebtServiceStub),
            stage.stub("insight", InsightServiceStub),
            stage.stub("audit", AuditServiceStub),
        )


@dataclass(frozen=True)
class Cast:
    """First line: Dana, Omar, Bea. Second: Rita, Vik. Third: Axel."""

    dana: Person
    omar: Person
    bea: Person
    rita: Person
    vik: Person
    axel: Person

    @classmethod
    def on(cls, stage: Stage) -> Cast:
        return cls(
            dana=stage.person("dana", "engineer"),
            omar=stage.person("omar", "owner"),
            bea=stage.person("bea", "business_owner"),
            rita=stage.person("rita", "risk_officer"),
            vik=stage.person("vik", "validator"),
            axel=stage.person("axel", "auditor"),
        )
