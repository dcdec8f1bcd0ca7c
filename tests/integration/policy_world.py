"""A model as policy sees it, said by the events of the services that own them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from tests.integration.conftest import Served

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.clock import CLOCK, CLOCK_STREAM, Tick
from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.events import inventory as says
from modelkeep.events.base import Event
from modelkeep.events.lineage import CompletenessAssessed
from modelkeep.events.types import Person
from modelkeep.identity import LOCAL_ISSUER
from modelkeep.ledger import Order, body_hash, stream_name

DIGEST: Final = "sha256:" + "a" * 64
OTHER: Final = "sha256:" + "b" * 64
MORNING: Final = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Say(Command):
    what: int


def person(subject: str) -> Person:
    return Person(issuer=LOCAL_ISSUER, subject=subject)


def say(served: Served, model: str, *events: Event, tenant: str = "main") -> int:
    """Write events as another service would; return their position."""
    now = served.node.host.clock.now()
    actor = Actor(LOCAL_ISSUER, "world", frozenset({"owner"}), tenant)
    order = Order(
        stream_name("model", tenant, model),
        decider(None, lambda _, __, ___: events, lambda _, __: None),
        Say(what=len(events)),
        Context(actor, now, now, str(uuid4())),
        "world",
    )
    return served.node.ledger.execute(order).position


def tick(served: Served, instant: datetime) -> None:
    command = Tick(instant=instant)
    actor = Actor(LOCAL_ISSUER, "world", frozenset({"operator"}), "main", human=False)
    context = Context(actor, instant, instant, str(uuid4()))
    served.node.ledger.execute(
        Order(CLOCK_STREAM, CLOCK, command, context, body_hash(command))
    )
    served.settle()


def registered(model: str, tier: int = 1) -> tuple[Event, ...]:
    """A trained model with an owner and a developer."""
    drivers = says.Drivers(
        use="lending",
        exposure_share=0.01,
        exposure=2,
        purpose=2,
        harm=2,
        materiality=2,
        method=2,
        input_uncertainty=2,
        opacity=2,
        autonomy=2,
        complexity=2,
    )
    return (
        says.ModelRegistered(
            model=model,
            title="Who pays back",
            kind="trained",
            purpose="to lend",
            owner="olga",
            owner_issuer=LOCAL_ISSUER,
            approved_uses=("lending",),
        ),
        says.RoleAssigned(
            model=model, role="engineer", subject="dev", issuer=LOCAL_ISSUER
        ),
        classified(model, tier, drivers),
    )


def classified(model: str, tier: int, drivers: says.Drivers) -> says.ModelClassified:
    return says.ModelClassified(
        model=model,
        tier=tier,
        derived_tier=tier,
        source="derived",
        drivers=drivers,
        rubric="tiers 1",
        rubric_digest=DIGEST,
        by=person("rob"),
    )


def built(model: str, version: str = "v1", digest: str = DIGEST) -> tuple[Event, ...]:
    """A version that was validated, with its card and its lineage."""
    artifact = says.Artifact(name="m", digest=digest, media_type="onnx", size=1)
    return (
        says.VersionRegistered(
            model=model,
            version=version,
            digest=digest,
            artifacts=(artifact,),
            feature_count=2,
            registered_by=person("reg"),
        ),
        says.CardAttached(
            model=model, version=version, digest=digest, card_digest=OTHER, size=1
        ),
        validated(model, version, digest, "approved"),
        CompletenessAssessed(
            node="model_version:" + "c" * 64,
            model=model,
            version=version,
            digest=digest,
            standard="lineage-1",
            share=1.0,
            present=(),
            missing=(),
        ),
    )


def validated(
    model: str, version: str, digest: str, outcome: str
) -> says.ValidationRecorded:
    return says.ValidationRecorded.model_validate(
        {
            "model": model,
            "version": version,
            "digest": digest,
            "outcome": outcome,
            "validator": person("val"),
            "metrics": {"auc": 0.78, "sample_size": 1000},
        }
    )


def changed(model: str, version: str = "v1", digest: str = DIGEST) -> Event:
    return says.ChangeClassified(
        model=model,
        change="new-feed",
        version=version,
        digest=digest,
        kinds=("data",),
        material=True,
        rationale="the bureau changed",
        by=person("rob"),
    )


def found(model: str, severity: str) -> Event:
    return says.FindingRaised.model_validate(
        {
            "model": model,
            "finding": f"f-{severity}",
            "title": "It leaks",
            "severity": severity,
            "vector": "data_drift",
            "owner": "olga",
            "due_at": MORNING + timedelta(days=30),
            "raised_by": person("val"),
        }
    )


def promote(
    model: str, version: str = "v1", environment: str = "prod", **more: object
) -> pb.EvaluateRequest:
    """May this version serve? With the drift that only its builder can state."""
    evidence = pb.StatedEvidence(
        features=[
            pb.FeatureFigure(name="income", psi=0.01),
            pb.FeatureFigure(name="age", psi=0.02),
        ]
    )
    request = pb.EvaluateRequest(
        action="promote",
        model=model,
        version=version,
        environment=environment,
        use="lending",
        evidence=evidence,
    )
    request.MergeFrom(pb.EvaluateRequest(**more))  # type: ignore[arg-type]  # fields by name
    return request
