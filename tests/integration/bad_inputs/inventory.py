"""A good request for every RPC of the inventory, and what no descriptor knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.bad_inputs.cases import INVALID, Bad, Good
from tests.integration.conftest import Served
from tests.unit.signed_models import listing, public, signed

from modelkeep.api.common.v1 import common_pb2 as common
from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.decider import Actor, Context
from modelkeep.events import inventory as e
from modelkeep.ledger import Order, body_hash, stream_name
from modelkeep_services.inventory.commands import RecordVerdict
from modelkeep_services.inventory.domain import MODEL

SERVICE = "inventory"
NEEDS = ("inventory",)
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["InventoryService"]

OWNER, ENGINEER = ("owner",), ("engineer",)
OFFICER, VALIDATOR, AUDITOR = ("risk_officer",), ("validator",), ("auditor",)
REFUSED = frozenset({grpc.StatusCode.FAILED_PRECONDITION})


def ahead(days: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    return stamp


def artifact(of: str) -> pb.Artifact:
    return pb.Artifact(
        name="model.onnx",
        digest="sha256:" + of * 64,
        media_type="application/onnx",
        size=10,
    )


def digest(of: str) -> str:
    one = e.Artifact(
        name="m", digest="sha256:" + of * 64, media_type="application/onnx", size=10
    )
    return e.version_digest([one])


def card(of: str = "a", **said: object) -> bytes:
    component = {
        "type": "machine-learning-model",
        "name": "fraud",
        "hashes": [{"alg": "SHA-256", "content": of * 64}],
        "modelCard": {"considerations": {"useCases": ["stop fraud"]}},
    }
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [component],
    }
    return json.dumps(document | said).encode()


def receive(
    served: Served, model: str, source: str, said: Mapping[str, object]
) -> None:
    """Put a verdict where the reaction to policy would put it."""
    base = {
        "model": model,
        "version": None,
        "action": "promote",
        "environment": "prod",
        "verdict": "allow",
        "request": f"request-{source}",
        "conditions": (),
        "max_traffic_share": None,
        "expires_at": None,
        "source": source,
    }
    command = RecordVerdict.model_validate({**base, **said})
    host = served.node.host
    actor = Actor("modelkeep", "tests", frozenset(), "main", human=False)
    now = host.clock.now()
    context = Context(actor, now, now, f"verdict-{model}-{source}")
    stream = stream_name("model", "main", model)
    host.ledger.execute(Order(stream, MODEL, command, context, body_hash(command)))


def money(minor: int, currency: str = "EUR") -> common.Money:
    return common.Money(minor=minor, currency=currency)


def slo(model: str = "fraud", **said: Any) -> pb.DefineSloRequest:
    """An SLO on latency whose money is checked against revenue."""
    given: dict[str, Any] = {
        "slo": "prompt",
        "metric": "latency_p95_ms",
        "nominal": 20.0,
        "warning": 100.0,
        "hard": 200.0,
        "direction": pb.DIRECTION_RISES,
        "money_per_hour": money(5_000),
        "kpi": "revenue",
        "kpi_direction": pb.DIRECTION_FALLS,
        "kpi_money": money(100),
    }
    return pb.DefineSloRequest(model=model, **(given | said))


def register(model: str) -> pb.RegisterModelRequest:
    return pb.RegisterModelRequest(
        model=model,
        title="Fraud",
        kind=pb.MODEL_KIND_TRAINED,
        purpose="stop fraud",
        owner="a-owner",
    )


def deploy(version: str, of: str, source: str, **said: object) -> pb.DeployRequest:
    values: dict[str, object] = {"environment": "prod", "share": 0.5}
    return pb.DeployRequest(
        model="fraud",
        version=version,
        digest=digest(of),
        verdict_source=source,
        **(values | said),  # type: ignore[arg-type]  # a test's fields
    )


CLASSIFY = pb.ClassifyRiskRequest(
    model="fraud",
    exposure_share=0.02,
    purpose=3,
    harm=3,
    method=2,
    input_uncertainty=2,
    opacity=2,
    autonomy=2,
)


def finding(name: str) -> pb.RaiseFindingRequest:
    return pb.RaiseFindingRequest(
        model="fraud",
        finding=name,
        title="No challenger",
        severity=common.SEVERITY_HIGH,
        vector=common.RISK_VECTOR_GOVERNANCE_LAPSE,
        owner="a-owner",
        due_at=ahead(30),
    )


SIGNER = ec.generate_private_key(ec.SECP256R1())


def signature(version: str, content: bytes) -> pb.AttachSignatureRequest:
    return pb.AttachSignatureRequest(
        model="fraud", version=version, digest=V1, signature=content
    )


def prepare(served: Served) -> None:
    stub = InventoryServiceStub(served.channel)
    served.node.home.publishers.mkdir(parents=True)
    (served.node.home.publishers / "acme.pub").write_bytes(public(SIGNER))
    for model in ("fraud", "old"):
        served.call(stub.RegisterModel, register(model), *OWNER)
    served.call(stub.ClassifyRisk, CLASSIFY, *OWNER)
    for version, of in (("1", "a"), ("2", "b"), ("3", "c")):
        request = pb.RegisterVersionRequest(
            model="fraud", version=version, artifacts=[artifact(of)]
        )
        served.call(stub.RegisterVersion, request, *ENGINEER)
    receive(served, "fraud", "v-1", {"digest": digest("a")})
    receive(served, "fraud", "v-2", {"digest": digest("b")})
    staging = {"digest": digest("a"), "environment": "staging"}
    receive(served, "fraud", "v-s", staging)
    served.call(stub.Deploy, deploy("1", "a", "v-1"), *ENGINEER)
    served.call(stub.Deploy, deploy("2", "b", "v-2"), *ENGINEER)
    attach = pb.AttachCardRequest(
        model="fraud", version="2", digest=digest("b"), card=card("b")
    )
    served.call(stub.AttachCard, attach, *ENGINEER)
    engineer = pb.AssignRoleRequest(
        model="fraud", role=pb.ROLE_ENGINEER, subject="emil", contact="emil@bank"
    )
    served.call(stub.AssignRole, engineer, *OWNER)
    for name in ("f-1", "f-2"):
        served.call(stub.RaiseFinding, finding(name), *AUDITOR)
    answer = pb.RespondToFindingRequest(model="fraud", finding="f-1", response="soon")
    served.call(stub.RespondToFinding, answer, *OWNER)
    review = pb.ScheduleReviewRequest(
        model="fraud", review="after-outage", kind="event", due_at=ahead(9)
    )
    served.call(stub.ScheduleReview, review, *AUDITOR)
    served.call(stub.ProposeSla, sla("reasons"), *OWNER)
    appetite = pb.SetAppetiteRequest(business_line="retail", text="little", share=0.2)
    served.call(stub.SetAppetite, appetite, *OFFICER)


def sla(name: str) -> pb.ProposeSlaRequest:
    return pb.ProposeSlaRequest(
        model="fraud",
        sla=name,
        kind=pb.SLA_KIND_EXPLAINABILITY,
        terms=pb.SlaTerms(coverage=0.99, reason_codes=True),
    )


def of_fraud(rpc: str, roles: tuple[str, ...], *required: str, **said: object) -> Good:
    """A write about the model; `required` beside the model."""
    request = getattr(pb, f"{rpc}Request")(model="fraud", **said)
    return Good(rpc, request, roles, "model", ("model", *required))


def listed(rpc: str, **said: object) -> Good:
    return Good(
        rpc, getattr(pb, f"{rpc}Request")(model="fraud", **said), AUDITOR, "model"
    )


V1, V2, V3 = digest("a"), digest("b"), digest("c")

GOOD: Sequence[Good] = (
    Good(
        "RegisterModel",
        register("another"),
        OWNER,
        required=("model", "title", "kind", "purpose", "owner"),
    ),
    of_fraud(
        "DecideScope",
        OFFICER,
        "is_model",
        "rationale",
        is_model=True,
        rationale="it decides",
    ),
    of_fraud("ApproveUses", OFFICER, "uses", uses=["cards"]),
    of_fraud(
        "SetBoundaries",
        OWNER,
        boundaries=[
            pb.Boundary(
                name="amount", statement="up to 10k", column="amount", maximum=1
            )
        ],
    ),
    Good(
        "ClassifyRisk",
        CLASSIFY,
        OWNER,
        "model",
        (
            "model",
            "exposure_share",
            "purpose",
            "harm",
            "method",
            "input_uncertainty",
            "opacity",
            "autonomy",
        ),
    ),
    of_fraud(
        "OverrideTier",
        OFFICER,
        "tier",
        "reason",
        "expires_at",
        tier=3,
        reason="a pilot",
        expires_at=ahead(30),
    ),
    of_fraud(
        "AssignRole",
        OWNER,
        "role",
        "subject",
        role=pb.ROLE_VALIDATOR,
        subject="vera",
        contact="vera@bank",
    ),
    of_fraud(
        "VacateRole", OWNER, "role", "subject", role=pb.ROLE_ENGINEER, subject="emil"
    ),
    of_fraud(
        "RegisterVersion",
        ENGINEER,
        "version",
        "artifacts",
        version="4",
        artifacts=[artifact("d")],
        digest=digest("d"),
    ),
    of_fraud(
        "AttachCard",
        ENGINEER,
        "version",
        "digest",
        "card",
        version="1",
        digest=V1,
        card=card(),
    ),
    of_fraud(
        "AttachSignature",
        ENGINEER,
        "version",
        "digest",
        "signature",
        version="1",
        digest=V1,
        signature=signed(SIGNER, listing("a" * 64)),
    ),
    of_fraud(
        "RecordValidation",
        VALIDATOR,
        "version",
        "digest",
        "outcome",
        version="1",
        digest=V1,
        outcome=pb.VALIDATION_OUTCOME_APPROVED,
    ),
    of_fraud(
        "ClassifyChange",
        VALIDATOR,
        "change",
        "version",
        "kinds",
        "material",
        "rationale",
        change="c-1",
        version="3",
        kinds=[pb.CHANGE_KIND_METHOD],
        material=True,
        rationale="another method",
    ),
    of_fraud(
        "ApproveEnvelope",
        OFFICER,
        "envelope",
        "kinds",
        "limits",
        "until",
        envelope="daily",
        kinds=[pb.CHANGE_KIND_RECALIBRATION],
        limits="intercept within 0.2",
        until=ahead(90),
    ),
    of_fraud(
        "Deploy",
        ENGINEER,
        "version",
        "digest",
        "environment",
        "share",
        "verdict_source",
        version="1",
        digest=V1,
        environment="staging",
        share=1.0,
        verdict_source="v-s",
    ),
    of_fraud(
        "SetTraffic",
        ENGINEER,
        "version",
        "digest",
        "environment",
        "share",
        version="1",
        digest=V1,
        environment="prod",
        share=0.4,
    ),
    of_fraud(
        "Rollback",
        ENGINEER,
        "environment",
        "reason",
        environment="prod",
        reason="worse",
    ),
    of_fraud("Suspend", OFFICER, "reason", reason="a drill"),
    of_fraud("Resume", OFFICER, "reason", reason="over"),
    Good(
        "Retire",
        pb.RetireRequest(model="old", reason="replaced"),
        OWNER,
        "model",
        ("model", "reason"),
    ),
    of_fraud(
        "ScheduleReview", AUDITOR, "kind", "due_at", kind="event", due_at=ahead(5)
    ),
    of_fraud(
        "CompleteReview",
        AUDITOR,
        "review",
        "outcome",
        "notes",
        review="after-outage",
        outcome=pb.REVIEW_OUTCOME_SATISFACTORY,
        notes="nothing",
    ),
    Good("ProposeSla", sla("again"), OWNER, "model", ("model", "sla", "kind", "terms")),
    of_fraud("AcceptSla", AUDITOR, "sla", sla="reasons"),
    of_fraud(
        "DefineSlo",
        OWNER,
        "slo",
        "metric",
        "nominal",
        "warning",
        "hard",
        "direction",
        "money_per_hour",
        "kpi",
        "kpi_direction",
        "kpi_money",
        slo="fpr",
        metric="false-positive-rate",
        nominal=0.02,
        warning=0.03,
        hard=0.05,
        direction=pb.DIRECTION_RISES,
        money_per_hour=common.Money(minor=1_000, currency="EUR"),
        kpi="loss",
        kpi_direction=pb.DIRECTION_RISES,
        kpi_money=common.Money(minor=100, currency="EUR"),
        kpi_tolerance=0.25,
    ),
    of_fraud(
        "RecordKpi",
        OWNER,
        "kpi",
        "value",
        "period_start",
        "period_end",
        kpi="loss",
        value=1.0,
        period_start=ahead(-30),
        period_end=ahead(0),
    ),
    Good(
        "RaiseFinding",
        finding("f-3"),
        AUDITOR,
        "model",
        ("model", "title", "severity", "vector", "owner", "due_at"),
    ),
    of_fraud(
        "RespondToFinding", OWNER, "finding", "response", finding="f-2", response="soon"
    ),
    of_fraud(
        "CloseFinding", VALIDATOR, "finding", "evidence", finding="f-1", evidence="seen"
    ),
    of_fraud(
        "AcceptRisk",
        OFFICER,
        "subject",
        "until",
        "reason",
        subject="f-2",
        until=ahead(60),
        reason="until it is replaced",
    ),
    Good(
        "SetAppetite",
        pb.SetAppetiteRequest(business_line="cards", text="half", share=0.5),
        OFFICER,
        required=("business_line", "text"),
    ),
    Good("GetModel", pb.GetModelRequest(model="fraud"), AUDITOR, "model", ("model",)),
    Good("ListModels", pb.ListModelsRequest(owner="a-owner"), AUDITOR),
    Good(
        "ListHistory",
        pb.ListHistoryRequest(model="fraud"),
        AUDITOR,
        "model",
        ("model",),
    ),
    Good(
        "GetVersion",
        pb.GetVersionRequest(model="fraud", version="1"),
        AUDITOR,
        "model",
        ("model", "version"),
    ),
    listed("ListVersions"),
    Good(
        "GetCard",
        pb.GetCardRequest(model="fraud", version="2"),
        AUDITOR,
        "model",
        ("model", "version"),
    ),
    listed("ListDeployments", environment="prod"),
    listed("ListVerdicts"),
    listed("ListFindings", status=pb.FINDING_STATUS_OPEN),
    listed("ListReviews", status=pb.REVIEW_STATUS_SCHEDULED),
    listed("ListSlas"),
    listed("ListSlos"),
    listed("ListKpis"),
    listed("ListRoles"),
    Good("ListUses", pb.ListUsesRequest(use="fraud"), AUDITOR),
    Good(
        "GetAppetite",
        pb.GetAppetiteRequest(business_line="retail"),
        AUDITOR,
        "business_line",
        ("business_line",),
    ),
    Good(
        "Resolve",
        pb.ResolveRequest(model="fraud", environment="prod", version="1"),
        ("serving",),
        "model",
        ("model", "environment"),
    ),
)


def bad(
    rpc: str,
    what: str,
    request: object,
    roles: tuple[str, ...],
    field: str = "",
    codes: frozenset[grpc.StatusCode] = INVALID,
    subject: str = "",
) -> Bad:
    return Bad(rpc, what, request, roles, codes, field, subject=subject)  # type: ignore[arg-type]  # a message


def attached(content: bytes) -> pb.AttachCardRequest:
    return pb.AttachCardRequest(model="fraud", version="1", digest=V1, card=content)


MORE: Sequence[Bad] = (
    bad(
        "RegisterModel",
        "a vendor's model without vendor",
        pb.RegisterModelRequest(
            model="x", title="X", kind=pb.MODEL_KIND_VENDOR, purpose="x", owner="x"
        ),
        OWNER,
        "vendor",
    ),
    bad(
        "RegisterModel",
        "a name in capitals",
        pb.RegisterModelRequest(
            model="Fraud", title="X", kind=pb.MODEL_KIND_TRAINED, purpose="x", owner="x"
        ),
        OWNER,
        "model",
    ),
    bad("RegisterModel", "registered before", register("fraud"), OWNER, "", REFUSED),
    bad("Deploy", "a stale digest", deploy("1", "b", "v-1"), ENGINEER, "", REFUSED),
    bad(
        "Deploy",
        "another digest's verdict",
        deploy("3", "c", "v-1"),
        ENGINEER,
        "",
        REFUSED,
    ),
    bad(
        "Deploy",
        "a share beyond the whole",
        deploy("1", "a", "v-1", share=1.5),
        ENGINEER,
        "share",
    ),
    bad(
        "RegisterVersion",
        "an artifact without digest",
        pb.RegisterVersionRequest(
            model="fraud", version="9", artifacts=[pb.Artifact(name="x")]
        ),
        ENGINEER,
        "digest",
    ),
    bad(
        "RegisterVersion",
        "a digest that is not the artifacts'",
        pb.RegisterVersionRequest(
            model="fraud", version="9", artifacts=[artifact("d")], digest=V1
        ),
        ENGINEER,
        "digest",
    ),
    bad(
        "RegisterVersion",
        "other artifacts for a known version",
        pb.RegisterVersionRequest(
            model="fraud", version="1", artifacts=[artifact("d")]
        ),
        ENGINEER,
        "",
        REFUSED,
    ),
    bad(
        "RecordValidation",
        "a metric that is not a number",
        pb.RecordValidationRequest(
            model="fraud",
            version="1",
            digest=V1,
            outcome=pb.VALIDATION_OUTCOME_APPROVED,
            metrics={"auc": float("nan")},
        ),
        VALIDATOR,
        "auc",
    ),
    bad(
        "RecordValidation",
        "by its owner",
        pb.RecordValidationRequest(
            model="fraud",
            version="1",
            digest=V1,
            outcome=pb.VALIDATION_OUTCOME_APPROVED,
        ),
        VALIDATOR,
        "",
        REFUSED,
        subject="a-owner",
    ),
    bad("AttachSignature", "no JSON", signature("1", b"\xff"), ENGINEER, "signature"),
    bad("AttachSignature", "no bundle", signature("1", b"{}"), ENGINEER, "signature"),
    bad(
        "AttachSignature",
        "nested deep",
        signature("1", b"[" * 400_000),
        ENGINEER,
        "signature",
    ),
    bad("AttachCard", "no JSON", attached(b"\xff\xfe"), ENGINEER, "card"),
    bad("AttachCard", "no BOM", attached(b"{}"), ENGINEER, "card"),
    bad("AttachCard", "not an object", attached(b"[1]"), ENGINEER, "card"),
    bad("AttachCard", "NaN", attached(b'{"a": NaN}'), ENGINEER, "card"),
    bad("AttachCard", "nested deep", attached(b"[" * 400_000), ENGINEER, "card"),
    bad(
        "AttachCard",
        "an old specification",
        attached(card(specVersion="1.4")),
        ENGINEER,
        "card",
    ),
    bad("AttachCard", "no model", attached(card(components=[])), ENGINEER, "card"),
    bad(
        "AttachCard",
        "no model card",
        attached(
            card(components=[{"type": "machine-learning-model", "name": "fraud"}])
        ),
        ENGINEER,
        "card",
    ),
    bad(
        "AttachCard",
        "larger than half a MiB",
        attached(card(note="x" * 530_000)),
        ENGINEER,
        "card",
    ),
    bad(
        "AttachCard",
        "another artifact's card",
        attached(card("e")),
        ENGINEER,
        "",
        REFUSED,
    ),
    bad(
        "ListModels",
        "an unknown lifecycle",
        pb.ListModelsRequest(lifecycle=77),  # type: ignore[arg-type]  # that is the point
        AUDITOR,
        "lifecycle",
    ),
    bad(
        "ListModels",
        "a page beyond",
        pb.ListModelsRequest(page=common.Page(size=1_001)),
        AUDITOR,
        "size",
    ),
    bad(
        "ListModels",
        "a token of somebody else's",
        pb.ListModelsRequest(page=common.Page(token="%%%")),  # noqa: S106  # of a page
        AUDITOR,
        "token",
    ),
    bad(
        "ListFindings",
        "an unknown model",
        pb.ListFindingsRequest(model="nobody"),
        AUDITOR,
        "",
        frozenset({grpc.StatusCode.NOT_FOUND}),
    ),
    bad(
        "DefineSlo",
        "limits in the wrong order",
        pb.DefineSloRequest(
            model="fraud",
            slo="x",
            metric="auc",
            nominal=0.8,
            warning=0.9,
            hard=0.6,
            direction=pb.DIRECTION_FALLS,
        ),
        OWNER,
        "warning",
    ),
    *(
        bad("DefineSlo", what, slo(**wrong), OWNER, field)
        for what, field, wrong in (
            ("a KPI in another currency", "kpi_money", {"kpi_money": money(1, "USD")}),
            ("a KPI worth nothing", "kpi_money", {"kpi_money": money(0)}),
            ("a cost that is none", "money_per_hour", {"money_per_hour": money(-1)}),
            ("a tolerance of nothing", "kpi_tolerance", {"kpi_tolerance": 0.0}),
            ("a tolerance beyond all", "kpi_tolerance", {"kpi_tolerance": 1.5}),
        )
    ),
    bad(
        "CloseFinding",
        "before it was answered",
        pb.CloseFindingRequest(model="fraud", finding="f-2", evidence="x"),
        VALIDATOR,
        "",
        REFUSED,
    ),
)
