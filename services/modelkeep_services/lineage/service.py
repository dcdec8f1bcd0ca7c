"""Lineage's table: request to command, row to response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from modelkeep.api.lineage.v1 import lineage_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Invalid, NotFound
from modelkeep.events.base import decode
from modelkeep.events.lineage import Linked, NodeRecorded
from modelkeep.identity import FIRST_LINE, MACHINES, ROLES
from modelkeep.ledger import stream_name
from modelkeep.paging import page
from modelkeep.service import Asked, Host, Service, Target, read, write
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.lineage import domain, graph, reactions, views

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["LineageService"]
WRITERS = FIRST_LINE | MACHINES
DEPTH, LIMIT, MOST = 20, 500, 2_000

NodeKind = pb.NodeKind


# --- writes ------------------------------------------------------------------------


def node_stream(command: domain.Record | domain.RecordVersion, _: Context) -> Target:
    return Target("node", command.recorded.node)


def target_stream(command: domain.Link, _: Context) -> Target:
    return Target("node", command.target)


def manifest_stream(command: domain.RecordManifest, _: Context) -> Target:
    return Target("manifest", command.said_digest)


def both_exist(command: domain.Link, asked: Asked) -> domain.Link:
    """Nodes are never taken away, so one that was seen is still there."""
    for node in (command.source, command.target):
        _node(asked.read, node)
    return command


# --- nodes -------------------------------------------------------------------------


def _node(read: Reader, node: str) -> views.NodeRow:
    row = read.get(views.nodes, node)
    if row is None:
        raise NotFound("node", node)
    return row


def _shown(read: Reader, node: str) -> pb.Node:
    """A node that was only linked to has an id and a kind."""
    row = read.get(views.nodes, node)
    if row is not None:
        return fill(pb.Node(), row)
    return pb.Node(node=node, kind=_kind(graph.kind_of(node)))


def _kind(word: str) -> pb.NodeKind.ValueType:
    return NodeKind.Value(f"NODE_KIND_{word.upper()}")


def get_node(request: pb.GetNodeRequest, asked: Asked) -> pb.GetNodeResponse:
    row = _node(asked.read, request.node)
    return pb.GetNodeResponse(node=fill(pb.Node(), row))


def list_nodes(request: pb.ListNodesRequest, asked: Asked) -> pb.ListNodesResponse:
    prefix = _name_prefix(request)
    rows, token = page(asked.read, views.names, request.page, prefix)
    return pb.ListNodesResponse(
        nodes=[_shown(asked.read, views.last(key)) for key, _ in rows],
        next_token=token,
    )


def _name_prefix(request: pb.ListNodesRequest) -> str:
    if request.kind == pb.NODE_KIND_UNSPECIFIED:
        if request.name_prefix:
            raise Invalid.field("kind", "is needed to look for a name")
        return ""
    if request.kind not in NodeKind.values():
        raise Invalid.field("kind", f"{request.kind} is not one of its values")
    word = NodeKind.Name(request.kind).removeprefix("NODE_KIND_").lower()
    return views.name_key(word, request.name_prefix)


# --- walks -------------------------------------------------------------------------


def up(request: pb.UpstreamRequest, asked: Asked) -> pb.UpstreamResponse:
    found = _walked(request, asked, graph.ups(asked.read))
    edges = graph.edges(asked.read, found.links, down=False)
    return pb.UpstreamResponse(
        nodes=_reached(asked.read, found.depths.items()),
        edges=[fill(pb.Edge(), edge) for edge in edges],
        truncated=found.truncated,
    )


def down(request: pb.DownstreamRequest, asked: Asked) -> pb.DownstreamResponse:
    found = _walked(request, asked, graph.downs(asked.read))
    edges = graph.edges(asked.read, found.links, down=True)
    return pb.DownstreamResponse(
        nodes=_reached(asked.read, found.depths.items()),
        edges=[fill(pb.Edge(), edge) for edge in edges],
        truncated=found.truncated,
    )


def _walked(
    request: pb.UpstreamRequest | pb.DownstreamRequest, asked: Asked, links: graph.Links
) -> graph.Walk:
    start = _node(asked.read, request.node).node
    depth = request.depth if request.HasField("depth") else DEPTH
    limit = request.limit if request.HasField("limit") else LIMIT
    if not 1 <= depth <= graph.DEEPEST:
        raise Invalid.field("depth", f"is not 1 to {graph.DEEPEST}")
    if not 1 <= limit <= MOST:
        raise Invalid.field("limit", f"is not 1 to {MOST}")
    return graph.walk([start], links, depth=depth, limit=limit)


def _reached(read: Reader, depths: Iterable[tuple[str, int]]) -> list[pb.Reached]:
    return [pb.Reached(node=_shown(read, one), depth=at) for one, at in depths]


def blast(request: pb.BlastRadiusRequest, asked: Asked) -> pb.BlastRadiusResponse:
    start = _node(asked.read, request.node).node
    found = graph.walk([start], graph.downs(asked.read))
    by_kind: dict[str, list[tuple[str, int]]] = {}
    for node, depth in found.depths.items():
        by_kind.setdefault(graph.kind_of(node), []).append((node, depth))
    versions = _reached(asked.read, by_kind.get("model_version", ()))
    return pb.BlastRadiusResponse(
        versions=versions,
        models=_models(versions),
        consumers=_reached(asked.read, by_kind.get("consumer", ())),
        kinds={kind: len(some) for kind, some in sorted(by_kind.items())},
        truncated=found.truncated,
    )


def _models(versions: Iterable[pb.Reached]) -> list[pb.ReachedModel]:
    """One a model, the nearest first; a version nobody recorded has no name."""
    models: dict[str, pb.ReachedModel] = {}
    for one in versions:
        if one.node.name:
            model, _, version = one.node.name.partition("/")
            known = models.setdefault(
                model, pb.ReachedModel(model=model, depth=one.depth)
            )
            known.versions.append(version)
    return list(models.values())


# --- versions ----------------------------------------------------------------------


def complete(request: pb.CompletenessRequest, asked: Asked) -> pb.CompletenessResponse:
    if not request.model:
        raise Invalid.field("model", "is required")
    name = f"{request.model}/" + (f"{request.version}/" if request.version else "")
    prefix = views.name_key("model_version", name)
    rows, token = page(asked.read, views.names, request.page, prefix)
    if not rows:
        raise NotFound("version in lineage", name.rstrip("/"))
    return pb.CompletenessResponse(
        versions=[_complete(asked.read, views.last(key)) for key, _ in rows],
        next_token=token,
    )


def _complete(read: Reader, node: str) -> pb.VersionCompleteness:
    row = _node(read, node)
    found = graph.completeness(read, row)
    model, _, version = row.name.partition("/")
    return pb.VersionCompleteness(
        node=node,
        model=model,
        version=version,
        digest=row.digest or "",
        present=[_kind(word) for word in found.present],
        missing=[_kind(word) for word in found.missing],
        share=domain.share(found.present, found.missing),
        standard=found.standard,
    )


def manifest_for(
    request: pb.ManifestForRequest, asked: Asked
) -> pb.ManifestForResponse:
    for field in ("model", "version"):
        if not getattr(request, field):
            raise Invalid.field(field, "is required")
    name = f"{request.model}/{request.version}"
    found = views.manifests(asked.read, request.model, request.version)
    if not found:
        raise NotFound("manifest of version", name)
    latest, *earlier = found
    answer = pb.ManifestForResponse(
        manifest=fill(pb.Node(), latest), earlier=[row.node for row in earlier]
    )
    _list_contents(answer, latest, asked)
    return answer


def _list_contents(
    answer: pb.ManifestForResponse, manifest: views.NodeRow, asked: Asked
) -> None:
    """From the manifest's own stream: appended as a whole, so it is all there."""
    stream = stream_name("manifest", asked.actor.tenant, manifest.digest or "")
    for recorded in asked.host.store.read_stream(stream):
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        match event:
            case NodeRecorded() if event.node != manifest.node:
                answer.nodes.append(_shown(asked.read, event.node))
            case Linked():
                answer.edges.add(
                    source=event.source_node,
                    target=event.target_node,
                    relation=event.relation,
                    linked_at=manifest.recorded_at,
                    event_id=str(recorded.uuid),
                )
            case _:
                pass


WRITES = [
    write("RecordDataset", domain.RecordDataset, domain.NODE, node_stream, WRITERS),
    write("RecordFeature", domain.RecordFeature, domain.NODE, node_stream, WRITERS),
    write("RecordTransform", domain.RecordTransform, domain.NODE, node_stream, WRITERS),
    write("RecordRun", domain.RecordRun, domain.NODE, node_stream, WRITERS),
    write("RecordArtifact", domain.RecordArtifact, domain.NODE, node_stream, WRITERS),
    write("RecordConsumer", domain.RecordConsumer, domain.NODE, node_stream, WRITERS),
    write("RecordVersion", domain.RecordVersion, domain.NODE, node_stream, WRITERS),
    write(
        "RecordManifest",
        domain.RecordManifest,
        domain.MANIFEST,
        manifest_stream,
        WRITERS,
    ),
    write("Link", domain.Link, domain.NODE, target_stream, WRITERS, prepare=both_exist),
]
READS = [
    read("GetNode", get_node, ROLES),
    read("ListNodes", list_nodes, ROLES),
    read("Upstream", up, ROLES),
    read("Downstream", down, ROLES),
    read("BlastRadius", blast, ROLES),
    read("Completeness", complete, ROLES),
    read("ManifestFor", manifest_for, ROLES),
]


VIEWS: Final = views.VIEWS


def service(_: Host) -> Service:
    return Service(
        name="lineage",
        descriptor=DESCRIPTOR,
        writes=WRITES,
        reads=READS,
        views=VIEWS,
        reactors=[reactions.registered, reactions.assessed],
    )
