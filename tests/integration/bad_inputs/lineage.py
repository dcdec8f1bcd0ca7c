"""A good request for every RPC of lineage."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.bad_inputs.cases import ABSENT, INVALID, Bad, Good
from tests.integration.conftest import Served

from modelkeep.api.lineage.v1 import lineage_pb2 as pb
from modelkeep.api.lineage.v1 import lineage_pb2_grpc as api
from modelkeep.events.lineage import node_id, version_node

SERVICE = "lineage"
NEEDS = ("lineage",)
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["LineageService"]

DIGEST = "sha256:" + "1" * 64
DATASET = node_id("dataset", "s3", "loans", digest=DIGEST)
VERSION = version_node("credit", "v1", DIGEST)
WHO = ("engineer",)


def a_manifest(**more: object) -> pb.RecordManifestRequest:
    return pb.RecordManifestRequest(
        nodes=[
            pb.ManifestNode(
                kind=pb.NODE_KIND_DATASET,
                namespace="s3",
                name="loans",
                digest=DIGEST,
                key="loans",
            ),
            pb.ManifestNode(
                kind=pb.NODE_KIND_MODEL_VERSION,
                namespace="models",
                name="credit/v1",
                digest=DIGEST,
                key="version",
            ),
        ],
        links=[pb.ManifestLink(source="loans", target="version", relation="trains")],
        **more,  # type: ignore[arg-type]  # a test's fields
    )


def prepare(served: Served) -> None:
    stub = api.LineageServiceStub(served.channel)
    served.call(stub.RecordManifest, a_manifest(), *WHO)


def recording(rpc: str, *required: str, **more: object) -> Good:
    request = getattr(pb, f"{rpc}Request")(
        namespace="here", name=f"of {rpc}", digest=DIGEST, owner="dana", **more
    )
    return Good(rpc, request, WHO, required=("namespace", "name", *required))


GOOD: Sequence[Good] = (
    recording("RecordDataset", "digest"),
    recording("RecordFeature", "digest", "owner", "ttl_hours", ttl_hours=24),
    recording("RecordTransform", "digest"),
    recording("RecordRun"),
    recording("RecordArtifact", "digest"),
    recording("RecordConsumer", "owner"),
    Good(
        "RecordVersion",
        pb.RecordVersionRequest(model="credit", version="v2", digest=DIGEST),
        WHO,
        required=("model", "version", "digest"),
    ),
    Good("RecordManifest", a_manifest(), WHO, required=("nodes",)),
    Good(
        "Link",
        pb.LinkRequest(source=DATASET, target=VERSION, relation="tests"),
        WHO,
        required=("source", "target", "relation"),
    ),
    Good("GetNode", pb.GetNodeRequest(node=DATASET), WHO, about="node"),
    Good(
        "ListNodes",
        pb.ListNodesRequest(kind=pb.NODE_KIND_DATASET, name_prefix="l"),
        WHO,
        required=("kind",),
    ),
    Good("Upstream", pb.UpstreamRequest(node=VERSION), WHO, about="node"),
    Good("Downstream", pb.DownstreamRequest(node=DATASET), WHO, about="node"),
    Good("BlastRadius", pb.BlastRadiusRequest(node=DATASET), WHO, about="node"),
    Good(
        "Completeness",
        pb.CompletenessRequest(model="credit"),
        WHO,
        about="model",
        required=("model",),
    ),
    Good(
        "ManifestFor",
        pb.ManifestForRequest(model="credit", version="v1"),
        WHO,
        about="model",
        required=("model", "version"),
    ),
)


def bad(rpc: str, what: str, request: object, field: str) -> Bad:
    return Bad(rpc, what, request, WHO, INVALID, field)  # type: ignore[arg-type]  # a message


def a_node(**said: object) -> pb.RecordManifestRequest:
    fields = {"kind": pb.NODE_KIND_DATASET, "namespace": "s3", "name": "n"} | said
    return pb.RecordManifestRequest(nodes=[pb.ManifestNode(**fields)])  # type: ignore[arg-type]  # a test's fields


MORE: Sequence[Bad] = (
    Bad(
        "Link",
        "an unknown source",
        pb.LinkRequest(source=f"run:{'0' * 64}", target=VERSION, relation="x"),
        WHO,
        ABSENT,
    ),
    Bad(
        "Link",
        "another tenant's nodes",
        pb.LinkRequest(source=DATASET, target=VERSION, relation="x"),
        WHO,
        ABSENT,
        tenant="other",
    ),
    bad("RecordManifest", "a node without digest", a_node(), "digest"),
    bad("RecordManifest", "an unknown kind", a_node(kind=99), "kind"),
    bad(
        "RecordManifest",
        "too many nodes",
        pb.RecordManifestRequest(nodes=[pb.ManifestNode(key="x")] * 5_001),
        "nodes",
    ),
    bad("RecordManifest", "control characters", a_node(name="a\nb"), "name"),
    bad(
        "RecordFeature",
        "no time to live",
        pb.RecordFeatureRequest(
            namespace="f", name="f", digest=DIGEST, owner="dana", ttl_hours=0
        ),
        "ttl_hours",
    ),
    bad(
        "RecordDataset",
        "a digest of another kind",
        pb.RecordDatasetRequest(namespace="s", name="n", digest="md5:00"),
        "digest",
    ),
    bad(
        "RecordDataset",
        "too many attributes",
        pb.RecordDatasetRequest(
            namespace="s",
            name="n",
            digest=DIGEST,
            attributes={f"a{at}": "x" for at in range(21)},
        ),
        "attributes",
    ),
    bad("Upstream", "no depth", pb.UpstreamRequest(node=VERSION, depth=0), "depth"),
    bad(
        "Downstream",
        "a limit beyond",
        pb.DownstreamRequest(node=DATASET, limit=2_001),
        "limit",
    ),
)
