"""People, models and versions that the inventory's tests speak of."""

from __future__ import annotations

from datetime import datetime, timedelta

from modelkeep.events import inventory as e
from modelkeep.events.base import Event
from modelkeep.events.types import Person
from modelkeep.testing import actor
from modelkeep.testing.deciding import NOON, Past, given
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory.domain import MODEL

OWNER = actor("olga", "owner")
ENGINEER = actor("emil", "engineer")
OFFICER = actor("rosa", "risk_officer")
VALIDATOR = actor("vera", "validator")
SECOND_VALIDATOR = actor("viktor", "validator")
AUDITOR = actor("anna", "auditor")
REACTOR = actor("inventory.verdicts", human=False)

DAY = timedelta(days=1)


def days(count: float) -> datetime:
    return NOON + count * DAY


def digest(of: str) -> str:
    return "sha256:" + of * 64


def artifact(of: str = "a") -> e.Artifact:
    return e.Artifact(
        name="model.onnx", digest=digest(of), media_type="application/onnx", size=10
    )


V1 = e.version_digest([artifact("a")])
V2 = e.version_digest([artifact("b")])
V3 = e.version_digest([artifact("c")])

REGISTERED = e.ModelRegistered(
    model="fraud",
    title="Fraud",
    kind="trained",
    purpose="stop fraud",
    owner="olga",
    owner_issuer="tests",
)


def classify(**said: object) -> c.ClassifyRisk:
    values: dict[str, object] = {
        "model": "fraud",
        "exposure_share": 0.05,
        "purpose": 4,
        "harm": 2,
        "method": 2,
        "input_uncertainty": 2,
        "opacity": 2,
        "autonomy": 2,
    }
    return c.ClassifyRisk.model_validate(values | said)


def registered(version: str, of: str, by: str = "emil") -> e.VersionRegistered:
    return e.VersionRegistered(
        model="fraud",
        version=version,
        digest=e.version_digest([artifact(of)]),
        artifacts=(artifact(of),),
        registered_by=Person(issuer="tests", subject=by),
    )


def verdict(  # a verdict says this much
    source: str = "v-1",
    digest: str = V1,
    action: str = "promote",
    environment: str = "prod",
    *,
    allow: bool = True,
    expires_at: datetime | None = None,
    max_traffic_share: float | None = None,
    request: str | None = None,
) -> e.VerdictReceived:
    return e.VerdictReceived(
        model="fraud",
        digest=digest,
        action=action,
        environment=environment,
        verdict="allow" if allow else "deny",
        request=request or f"request-of-{source}",
        expires_at=expires_at,
        max_traffic_share=max_traffic_share,
        source=source,
    )


def deploy(**said: object) -> c.Deploy:
    values: dict[str, object] = {
        "model": "fraud",
        "version": "1",
        "digest": V1,
        "environment": "prod",
        "share": 1.0,
        "verdict_source": "v-1",
    }
    return c.Deploy.model_validate(values | said)


def fraud(*events: Event) -> Past:
    """The model, registered, with what is said to have happened to it."""
    return given(MODEL, REGISTERED, *events)
