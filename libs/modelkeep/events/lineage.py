"""What happens in lineage: nodes are recorded, and linked from upstream to downstream.

Streams: `node-<tenant>.<node>` for a node and the links that lead to it;
`manifest-<tenant>.<hex>` for many nodes and links that were told in one call.

A node's id is `<kind>:<sha256>` of its content: the canonical JSON (keys sorted, no
spaces, UTF-8, what is absent left out) of attributes, digest, kind, name, namespace,
owner and ttl_hours. A manifest's is that of what it lists: see `manifest_id`. So nobody
can record other content under an id, and the same content twice is the same node.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from json.encoder import encode_basestring as quoted
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from modelkeep.events.base import Event
from modelkeep.events.types import Count, Digest, Share, Slug, Subject, Title

NodeKind = Literal[
    "dataset",
    "feature_view",
    "transform",
    "run",
    "artifact",
    "manifest",
    "consumer",
    "model_version",
    "column",
]
"""A consumer is a downstream decision engine; a feeder model is a model_version."""

NodeId = Annotated[
    str,
    StringConstraints(
        pattern=r"^(dataset|feature_view|transform|run|artifact|manifest|consumer"
        r"|model_version|column):[0-9a-f]{64}$"
    ),
]

Evidence = Literal[
    "dataset", "feature_view", "transform", "run", "artifact", "manifest"
]
"""What a model version may owe: a recorded node of this kind, upstream of it."""

Attributes = Annotated[dict[Slug, Title], Field(max_length=20)]
TtlHours = Annotated[int, Field(ge=1, le=24 * 366)]

VERSIONS: Final = "models"
"""The namespace of every model_version: they are ours to name."""


class NodeRecorded(Event, name="lineage.node-recorded"):
    """`digest` is that of what the node stands for, where it has bytes."""

    node: NodeId
    attributes: Attributes = Field(default_factory=dict)
    digest: Digest | None = None
    kind: NodeKind
    name: Title
    namespace: Title
    owner: Subject | None = None
    ttl_hours: TtlHours | None = None


class Linked(Event, name="lineage.linked"):
    """What is so about `source_node` bears on `target_node`: upstream, downstream."""

    source_node: NodeId
    target_node: NodeId
    relation: Slug


class ManifestRecorded(Event, name="lineage.manifest-recorded"):
    """Ends the append of a manifest.

    `versions` are the model versions it describes; from `roots` its links lead to
    every node that something in it leads to.
    """

    manifest: NodeId
    nodes: Count
    links: Count
    versions: tuple[NodeId, ...] = ()
    roots: tuple[NodeId, ...] = ()


class CompletenessAssessed(Event, name="lineage.completeness-assessed"):
    """How much of what a version owes is upstream of it now; said when it changes."""

    node: NodeId
    model: Slug
    version: Slug
    digest: Digest
    standard: Slug
    share: Share
    present: tuple[Evidence, ...]
    missing: tuple[Evidence, ...]


def node_id(
    kind: str,
    namespace: str,
    name: str,
    *,
    digest: str | None = None,
    owner: str | None = None,
    ttl_hours: int | None = None,
    attributes: Mapping[str, str] | None = None,
) -> str:
    """Name a node by its content.

    >>> node_id("dataset", "s3://bank", "loans")[:20]
    'dataset:3546f967c537'
    """
    # The canonical JSON by hand: an import of a warehouse names nodes by the million.
    said = []
    if attributes:
        pairs = (
            f"{quoted(key)}:{quoted(attributes[key])}" for key in sorted(attributes)
        )
        said.append(f'"attributes":{{{",".join(pairs)}}}')
    if digest is not None:
        said.append(f'"digest":{quoted(digest)}')
    said.append(
        f'"kind":"{kind}","name":{quoted(name)},"namespace":{quoted(namespace)}'
    )
    if owner is not None:
        said.append(f'"owner":{quoted(owner)}')
    if ttl_hours is not None:
        said.append(f'"ttl_hours":{ttl_hours}')
    content = "{" + ",".join(said) + "}"
    return f"{kind}:{sha256(content.encode()).hexdigest()}"


def version_node(model: str, version: str, digest: str) -> str:
    """Name the node of a model version: whoever knows its digest knows its node."""
    return node_id("model_version", VERSIONS, f"{model}/{version}", digest=digest)


def manifest_id(nodes: Iterable[str], links: Iterable[tuple[str, str, str]]) -> str:
    """Name a manifest by what it lists, in whatever order: node ids, and links as
    (source, target, relation).
    """
    listed = json.dumps(
        {"links": sorted(links), "nodes": sorted(nodes)},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return f"manifest:{sha256(listed.encode()).hexdigest()}"
