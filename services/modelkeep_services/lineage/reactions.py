"""What lineage does of itself: registered versions become nodes, and what is known of
a version is assessed again whenever something is linked above it.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelkeep.decider import Command
from modelkeep.events.inventory import Artifact, VersionRegistered
from modelkeep.events.lineage import (
    Linked,
    ManifestRecorded,
    NodeRecorded,
    version_node,
)
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.views import Fact, Reader
from modelkeep_services.lineage import domain, graph, views

PART_OF = "part-of"

registered = Reactor("lineage.registered")
assessed = Reactor("lineage.assessed")


# --- the inventory's versions ------------------------------------------------------


@registered.on(VersionRegistered)
def record(event: VersionRegistered, fact: Fact, read: Reader) -> Iterable[Reaction]:
    version = version_node(event.model, event.version, event.digest)
    said = domain.RecordVersion(
        model=event.model, version=event.version, digest=event.digest
    )
    yield _on(fact, version, said)
    for artifact in event.artifacts:
        for node in _artifact_nodes(artifact, read):
            if isinstance(node, domain.RecordArtifact):
                yield _on(fact, node.recorded.node, node)
            source = node if isinstance(node, str) else node.recorded.node
            yield _link(fact, source, version, PART_OF)
    if event.manifest is not None:
        manifest = f"manifest:{event.manifest.partition(':')[2]}"
        yield _link(fact, manifest, version, domain.DESCRIBES)


def _artifact_nodes(
    artifact: Artifact, read: Reader
) -> Iterable[str | domain.RecordArtifact]:
    """The nodes already recorded for these bytes, or the order to record one."""
    known = read.scan(views.artifacts, f"{artifact.digest}/")
    if known:
        return [views.last(key) for key, _ in known]
    return [
        domain.RecordArtifact(
            namespace="artifacts", name=artifact.name, digest=artifact.digest
        )
    ]


# --- completeness ------------------------------------------------------------------


# What a manifest lists is assessed once, at its end.
@assessed.on(Linked, streams="node-")
def linked(event: Linked, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return _assess(fact, read, [event.target_node])


@assessed.on(NodeRecorded, streams="node-")
def recorded(event: NodeRecorded, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return _assess(fact, read, [event.node])


@assessed.on(ManifestRecorded)
def described(event: ManifestRecorded, fact: Fact, read: Reader) -> Iterable[Reaction]:
    return _assess(fact, read, [*event.roots, *event.versions])


def _assess(fact: Fact, read: Reader, changed: list[str]) -> Iterable[Reaction]:
    below = graph.walk(
        changed,
        graph.downs(read),
        passes=lambda node: graph.kind_of(node) != "model_version",
    )
    for node in dict.fromkeys([*changed, *below.depths]):
        row = read.get(views.nodes, node)
        if row is None or row.kind != "model_version" or row.digest is None:
            continue
        found = graph.completeness(read, row)
        model, _, version = row.name.partition("/")
        command = domain.Assess(
            node=node,
            model=model,
            version=version,
            digest=row.digest,
            standard=found.standard,
            present=found.present,
            missing=found.missing,
        )
        yield _on(fact, node, command)


def _link(fact: Fact, source: str, target: str, relation: str) -> Reaction:
    said = domain.Link(source=source, target=target, relation=relation)
    return _on(fact, target, said, part=f"/{source}/{relation}")


def _on(fact: Fact, node: str, command: Command, *, part: str = "") -> Reaction:
    stream = stream_name("node", fact.tenant, node)
    return Reaction(stream, domain.NODE, command, part=part)
