"""Lineage over real sockets: recorded, linked, walked, as of any time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from tests.integration.conftest import Served

from modelkeep.api.common.v1.common_pb2 import AsOf, Page
from modelkeep.api.lineage.v1 import lineage_pb2 as pb
from modelkeep.api.lineage.v1 import lineage_pb2_grpc as api
from modelkeep.events.inventory import Artifact, VersionRegistered
from modelkeep.events.lineage import CompletenessAssessed, version_node
from modelkeep.events.types import Person
from modelkeep.store.port import ANY, NewEvent
from modelkeep.views import fact
from modelkeep.viewset import ViewSet

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
VERSION = version_node("credit", "v1", DIGEST)


class Lineage:
    """An engineer at work."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._stub = api.LineageServiceStub(served.channel)

    def __call__(self, rpc: str, *, tenant: str = "main", **fields: Any) -> Any:
        request = getattr(pb, f"{rpc}Request")(**fields)
        method = getattr(self._stub, rpc)
        answer = self.served.call(method, request, "engineer", tenant=tenant)
        self.served.settle()
        return answer

    def whole_year(self) -> Any:
        """A dataset, a view of it, a run, a model, and who decides with it."""
        return self(
            "RecordManifest",
            nodes=[
                node(pb.NODE_KIND_DATASET, "loans"),
                node(pb.NODE_KIND_FEATURE_VIEW, "income", owner="dana", ttl_hours=24),
                node(pb.NODE_KIND_TRANSFORM, "clean"),
                node(pb.NODE_KIND_RUN, "run-1"),
                node(pb.NODE_KIND_ARTIFACT, "model.onnx"),
                pb.ManifestNode(
                    kind=pb.NODE_KIND_MODEL_VERSION,
                    namespace="models",
                    name="credit/v1",
                    digest=DIGEST,
                    key="version",
                ),
                node(pb.NODE_KIND_CONSUMER, "gate", owner="olga"),
            ],
            links=[
                pb.ManifestLink(source=source, target=target, relation="feeds")
                for source, target in (
                    ("loans", "clean"),
                    ("clean", "income"),
                    ("income", "run-1"),
                    ("run-1", "model.onnx"),
                    ("model.onnx", "version"),
                    ("version", "gate"),
                )
            ],
        )

    def find(self, kind: int, name: str) -> str:
        (found,) = self("ListNodes", kind=kind, name_prefix=name).nodes
        return str(found.node)


def node(kind: int, name: str, **more: Any) -> pb.ManifestNode:
    return pb.ManifestNode(
        kind=kind,  # type: ignore[arg-type]  # an enum's number
        namespace="bank",
        name=name,
        digest=DIGEST,
        key=name,
        **more,
    )


@pytest.fixture
def lineage(serve: Callable[..., Served]) -> Lineage:
    return Lineage(serve("lineage"))


def test_the_same_content_recorded_twice_changes_nothing(lineage: Lineage) -> None:
    said = {"namespace": "s3", "name": "loans", "digest": DIGEST}
    first = lineage("RecordDataset", **said).written
    again = lineage("RecordDataset", **said).written
    assert (first.changed, again.changed, again.id) == (True, False, first.id)
    assert lineage("GetNode", node=first.id).node.name == "loans"


def test_a_node_told_twice_keeps_its_first_telling(lineage: Lineage) -> None:
    lineage("RecordDataset", namespace="bank", name="loans", digest=DIGEST)
    loans = lineage.find(pb.NODE_KIND_DATASET, "loans")
    first = lineage("GetNode", node=loans).node
    lineage.whole_year()
    assert lineage("GetNode", node=loans).node == first


def test_other_content_under_a_claimed_id_is_refused(lineage: Lineage) -> None:
    said = {"namespace": "s3", "name": "loans", "digest": DIGEST}
    node_ = lineage("RecordDataset", **said).written.id
    with pytest.raises(grpc.RpcError) as refused:
        lineage("RecordDataset", node=node_, **(said | {"digest": OTHER}))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_an_unversioned_feature_view_is_refused(lineage: Lineage) -> None:
    for missing in ("digest", "owner", "ttl_hours"):
        said: dict[str, Any] = {
            "namespace": "f",
            "name": "income",
            "digest": DIGEST,
            "owner": "dana",
            "ttl_hours": 24,
        }
        del said[missing]
        with pytest.raises(grpc.RpcError, match=missing) as refused:
            lineage("RecordFeature", **said)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_manifest_is_one_append_and_its_events_are_walked(lineage: Lineage) -> None:
    before = len(list(lineage.served.store.read_all()))
    written = lineage.whole_year().written
    events = list(lineage.served.store.read_all())[before:]
    assert written.revision == 7 + 1 + 6 + 1 + 1 - 1
    assert len({e.stream for e in events if e.stream.startswith("manifest-")}) == 1
    up = lineage("Upstream", node=VERSION)
    assert [reached.node.name for reached in up.nodes][-1] == "loans"
    assert not up.truncated
    down = lineage("Downstream", node=lineage.find(pb.NODE_KIND_DATASET, "loans"))
    assert [reached.node.name for reached in down.nodes] == [
        "clean",
        "income",
        "run-1",
        "model.onnx",
        "credit/v1",
        "gate",
    ]
    assert lineage("RecordManifest", nodes=[node(pb.NODE_KIND_RUN, "r")]).written.id


def test_a_manifest_beyond_one_append_is_refused_as_a_whole(lineage: Lineage) -> None:
    head = lineage.served.store.head()
    nodes = [node(pb.NODE_KIND_DATASET, f"{at:04d}-{'x' * 150}") for at in range(1_500)]
    with pytest.raises(grpc.RpcError) as refused:
        lineage("RecordManifest", nodes=nodes)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert lineage.served.store.head() == head


def test_a_blast_radius_names_versions_models_and_consumers(lineage: Lineage) -> None:
    lineage.whole_year()
    feeder_of = lineage("RecordVersion", model="limits", version="v7", digest=OTHER)
    lineage("Link", source=VERSION, target=feeder_of.written.id, relation="feeds")
    found = lineage("BlastRadius", node=lineage.find(pb.NODE_KIND_DATASET, "loans"))
    assert [model.model for model in found.models] == ["credit", "limits"]
    assert [one.node.name for one in found.versions] == ["credit/v1", "limits/v7"]
    assert [one.node.name for one in found.consumers] == ["gate"]
    assert found.kinds["run"] == 1


def test_a_version_says_what_it_owes(lineage: Lineage) -> None:
    lineage("RecordVersion", model="credit", version="v1", digest=DIGEST)
    (bare,) = lineage("Completeness", model="credit", version="v1").versions
    assert (bare.share, len(bare.missing)) == (0.0, 6)
    lineage.whole_year()
    (whole,) = lineage("Completeness", model="credit").versions
    assert (whole.share, list(whole.missing)) == (1.0, [])


def test_evidence_of_a_feeder_is_not_its_consumers(lineage: Lineage) -> None:
    lineage.whole_year()
    fed = lineage("RecordVersion", model="limits", version="v1", digest=OTHER)
    lineage("Link", source=VERSION, target=fed.written.id, relation="feeds")
    (poor,) = lineage("Completeness", model="limits").versions
    assert poor.share == 0.0


def test_as_of_a_time_before_nothing_was_linked(lineage: Lineage) -> None:
    before = lineage.whole_year().written.position
    tested = lineage("RecordDataset", namespace="s3", name="tests", digest=OTHER)
    lineage("Link", source=tested.written.id, target=VERSION, relation="tests")
    now = lineage("Upstream", node=VERSION)
    then = lineage("Upstream", node=VERSION, as_of=AsOf(position=before))
    assert len(now.nodes) == len(then.nodes) + 1
    with pytest.raises(grpc.RpcError) as refused:
        lineage("GetNode", node=tested.written.id, as_of=AsOf(position=before))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_nodes_are_for_their_tenant_alone(lineage: Lineage) -> None:
    lineage.whole_year()
    for rpc in ("GetNode", "Upstream", "Downstream", "BlastRadius"):
        with pytest.raises(grpc.RpcError) as refused:
            lineage(rpc, node=VERSION, tenant="other")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert not lineage("ListNodes", tenant="other").nodes


def test_lists_come_in_pages(lineage: Lineage) -> None:
    lineage.whole_year()
    names: list[str] = []
    token = ""
    while token or not names:
        answer = lineage("ListNodes", page=Page(size=3, token=token))
        names += [one.node for one in answer.nodes]
        token = answer.next_token
    assert len(names) == len(set(names)) == 8


def test_the_manifest_of_a_version_lists_what_was_told(lineage: Lineage) -> None:
    first = lineage.whole_year().written.id
    found = lineage("ManifestFor", model="credit", version="v1")
    assert (found.manifest.digest, len(found.nodes), len(found.edges)) == (first, 7, 7)
    later = lineage(
        "RecordManifest",
        nodes=[
            pb.ManifestNode(
                kind=pb.NODE_KIND_MODEL_VERSION,
                namespace="models",
                name="credit/v1",
                digest=DIGEST,
            )
        ],
    )
    found = lineage("ManifestFor", model="credit", version="v1")
    assert found.manifest.digest == later.written.id
    assert len(found.earlier) == 1


def test_a_walk_says_when_there_is_more(lineage: Lineage) -> None:
    lineage.whole_year()
    assert lineage("Upstream", node=VERSION, depth=1).truncated
    assert lineage("Upstream", node=VERSION, limit=2).truncated
    assert not lineage("Upstream", node=VERSION, depth=5).truncated


# --- what lineage does of itself ---------------------------------------------------


def register(served: Served, *, manifest: str | None = None) -> None:
    """What the inventory says when a version is registered."""
    event = VersionRegistered(
        model="credit",
        version="v1",
        digest=DIGEST,
        artifacts=(
            Artifact(
                name="model.onnx",
                digest=DIGEST,
                media_type="application/octet-stream",
                size=1,
            ),
        ),
        manifest=manifest,
        registered_by=Person(issuer="tests", subject="dana"),
    )
    metadata = (
        b'{"known_at":"2026-01-05T00:00:00.000000Z","tenant":"main",'
        b'"schema_version":"1"}'
    )
    new = NewEvent(
        uuid4(),
        event.event_name,
        event.event_version,
        event.model_dump_json().encode(),
        metadata,
    )
    served.store.append("model-main.credit", [new], expected=ANY)
    served.settle()


def assessments(served: Served) -> list[CompletenessAssessed]:
    events = [fact(recorded).event for recorded in served.store.read_all()]
    return [one for one in events if isinstance(one, CompletenessAssessed)]


def test_a_registered_version_is_a_node_with_its_artifacts(lineage: Lineage) -> None:
    register(lineage.served)
    up = lineage("Upstream", node=VERSION)
    assert [one.node.kind for one in up.nodes] == [pb.NODE_KIND_ARTIFACT]
    assert assessments(lineage.served)[-1].present == ("artifact",)


def test_a_registered_version_joins_the_artifact_already_known(
    lineage: Lineage,
) -> None:
    lineage(
        "RecordManifest",
        nodes=[
            node(pb.NODE_KIND_DATASET, "loans"),
            node(pb.NODE_KIND_ARTIFACT, "whatever.onnx"),
        ],
        links=[
            pb.ManifestLink(source="loans", target="whatever.onnx", relation="trains")
        ],
    )
    register(lineage.served)
    up = lineage("Upstream", node=VERSION)
    assert [one.node.name for one in up.nodes] == ["whatever.onnx", "loans"]


def test_a_registered_version_is_described_by_the_manifest_it_names(
    lineage: Lineage,
) -> None:
    told = lineage("RecordManifest", nodes=[node(pb.NODE_KIND_DATASET, "loans")])
    register(lineage.served, manifest=told.written.id)
    found = lineage("ManifestFor", model="credit", version="v1")
    assert found.manifest.digest == told.written.id


def test_what_is_known_of_a_version_is_assessed_when_it_changes(
    lineage: Lineage,
) -> None:
    register(lineage.served)
    lineage.whole_year()
    run = lineage("RecordRun", namespace="bank", name="another").written.id
    lineage("Link", source=run, target=VERSION, relation="tests")
    shares = [one.share for one in assessments(lineage.served)]
    assert shares == [0.0, 0.1667, 1.0]


def test_a_manifest_that_ends_above_a_known_version_counts_for_it(
    lineage: Lineage,
) -> None:
    register(lineage.served)
    artifact = lineage.find(pb.NODE_KIND_ARTIFACT, "model.onnx")
    lineage(
        "RecordManifest",
        nodes=[node(pb.NODE_KIND_DATASET, "loans"), node(pb.NODE_KIND_RUN, "run")],
        links=[
            pb.ManifestLink(source="loans", target="run", relation="feeds"),
            pb.ManifestLink(source="run", target=artifact, relation="produces"),
        ],
    )
    assert assessments(lineage.served)[-1].present == ("dataset", "run", "artifact")


def test_a_replay_gives_the_same_rows(lineage: Lineage, tmp_path: Path) -> None:
    register(lineage.served)
    lineage.whole_year()
    served = lineage.served
    views = served.node.running["lineage"].views
    service_ = served.node.running["lineage"].service
    with ViewSet("again", service_.views, served.store, tmp_path / "again.db") as again:
        again.catch_up()
        assert again.digests() == views.digests()
