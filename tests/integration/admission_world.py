"""A version that serves by the book: registered, validated, promoted, deployed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.integration.conftest import Served
from tests.integration.policy_world import (
    MORNING,
    OTHER,
    person,
    promote,
    registered,
    say,
    tick,
    validated,
)

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.events import inventory as says
from modelkeep.events.base import Event
from modelkeep.events.lineage import CompletenessAssessed
from modelkeep.proof.verdict import KEYS
from modelkeep.proof.verdict_file import digest_of

USE: Final = "lending"


def made_of(file: Path, model: str, version: str = "v1") -> tuple[Event, ...]:
    """A version of one file, with all that its promotion asks for."""
    artifact = says.Artifact(
        name=file.name, digest=digest_of(file), media_type="onnx", size=1
    )
    digest = says.version_digest([artifact])
    about = {"model": model, "version": version, "digest": digest}
    return (
        says.VersionRegistered(
            **about,
            artifacts=(artifact,),
            feature_count=2,
            registered_by=person("reg"),
        ),
        says.CardAttached(**about, card_digest=OTHER, size=1),
        validated(model, version, digest, "approved"),
        CompletenessAssessed(
            **about,
            node="model_version:" + "c" * 64,
            standard="lineage-1",
            share=1.0,
            present=(),
            missing=(),
        ),
    )


class World:
    """One model whose only version is one file. Its people act over real sockets."""

    def __init__(self, served: Served, folder: Path, tier: int) -> None:
        self.served, self.file = served, folder / "model.onnx"
        self.file.write_bytes(b"the weights")
        self.stub = PolicyServiceStub(served.channel)
        self.events = made_of(self.file, "credit")
        built = self.events[0]
        assert isinstance(built, says.VersionRegistered)
        self.digest = built.digest
        tick(served, MORNING)
        say(served, "credit", *registered("credit", tier), *self.events)

    @property
    def keys(self) -> Path:
        return self.served.node.home.published / KEYS

    def promote(self) -> pb.Verdict:
        request = promote("credit")
        found: pb.Verdict = self.served.call(
            self.stub.Evaluate, request, "engineer", subject="eve"
        ).verdict
        if found.status == pb.REQUEST_STATUS_ALLOWED:
            return found
        for role in ("risk_officer", "validator", "business_owner"):
            yes = pb.ApproveRequest(request=found.request, digest=self.digest)
            found = self.served.call(self.stub.Approve, yes, role).verdict
        assert found.status == pb.REQUEST_STATUS_ALLOWED
        return found

    def deploy(self, share: float = 0.5) -> None:
        said = says.Deployed(
            model="credit",
            version="v1",
            digest=self.digest,
            environment="prod",
            share=share,
            verdict_source=OTHER[7:43],
            by=person("ops"),
        )
        say(self.served, "credit", said)

    def say(self, *events: Event) -> None:
        say(self.served, "credit", *events)
        self.served.settle()

    def after(self, **moved: float) -> None:
        tick(self.served, self.served.node.host.clock.now() + timedelta(**moved))

    def revoke(self, request: str) -> None:
        no = pb.RevokeVerdictRequest(request=request, reason="a mistake was found")
        self.served.call(self.stub.RevokeVerdict, no, "risk_officer", subject="rob")

    def names(self) -> list[str]:
        return [one.name for one in self.served.store.read_all()]
