"""What may be said of a node: recorded once by its content, linked, never unlinked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, PrivateAttr, model_validator

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import Invalid, Refused
from modelkeep.events.lineage import (
    VERSIONS,
    Attributes,
    CompletenessAssessed,
    Evidence,
    Linked,
    ManifestRecorded,
    NodeId,
    NodeKind,
    NodeRecorded,
    TtlHours,
    manifest_id,
    node_id,
    version_node,
)
from modelkeep.events.types import Digest, Slug, Subject, Title, Value

NodeEvent = NodeRecorded | Linked | CompletenessAssessed
ManifestEvent = NodeRecorded | Linked | ManifestRecorded

DESCRIBES: Final = "describes"
COMPULSORY: Final[dict[NodeKind, tuple[str, ...]]] = {
    "dataset": ("digest",),
    "feature_view": ("owner", "digest", "ttl_hours"),
    "transform": ("digest",),
    "artifact": ("digest",),
    "consumer": ("owner",),
    "model_version": ("digest",),
}
"""Without these a node of the kind says too little to be held to it."""


# --- commands ----------------------------------------------------------------------


class Record(Command):
    """One node. `node` is the id its caller believes it has."""

    kind: ClassVar[NodeKind]

    node: NodeId | None = None
    namespace: Title
    name: Title
    digest: Digest | None = None
    owner: Subject | None = None
    ttl_hours: TtlHours | None = None
    attributes: Attributes = Field(default_factory=dict)

    @property
    def recorded(self) -> NodeRecorded:
        return _node_recorded(self.kind, self)


class RecordDataset(Record):
    kind = "dataset"
    digest: Digest


class RecordFeature(Record):
    kind = "feature_view"
    digest: Digest
    owner: Subject
    ttl_hours: TtlHours


class RecordTransform(Record):
    kind = "transform"
    digest: Digest


class RecordRun(Record):
    kind = "run"


class RecordArtifact(Record):
    kind = "artifact"
    digest: Digest


class RecordConsumer(Record):
    kind = "consumer"
    owner: Subject


class RecordVersion(Command):
    node: NodeId | None = None
    model: Slug
    version: Slug
    digest: Digest

    @property
    def recorded(self) -> NodeRecorded:
        return NodeRecorded(
            node=version_node(self.model, self.version, self.digest),
            kind="model_version",
            namespace=VERSIONS,
            name=f"{self.model}/{self.version}",
            digest=self.digest,
        )


class Link(Command):
    source: NodeId
    target: NodeId
    relation: Slug


class Assess(Command):
    """Reckoned by our own reactor; nobody else may say it."""

    node: NodeId
    model: Slug
    version: Slug
    digest: Digest
    standard: Slug
    present: tuple[Evidence, ...]
    missing: tuple[Evidence, ...]


class ManifestNode(Value):
    kind: NodeKind
    namespace: Title
    name: Title
    digest: Digest | None = None
    owner: Subject | None = None
    ttl_hours: TtlHours | None = None
    attributes: Attributes = Field(default_factory=dict)
    key: Title | None = None


class ManifestLink(Value):
    source: Title
    target: Title
    relation: Slug


class Contents:
    """What a manifest lists, each once, and the id that follows from it."""

    def __init__(
        self, nodes: Sequence[ManifestNode], links: Sequence[ManifestLink]
    ) -> None:
        self.nodes: dict[str, NodeRecorded] = {}
        keys: dict[str, str] = {}
        for at, one in enumerate(nodes):
            _check_node(f"nodes.{at}", one)
            event = _node_recorded(one.kind, one)
            self.nodes[event.node] = event
            if one.key is not None and keys.setdefault(one.key, event.node) != (
                event.node
            ):
                raise Invalid.field(f"nodes.{at}.key", f"{one.key} is another node's")
        self.links: dict[tuple[str, str, str], Linked] = {}
        for at, two in enumerate(links):
            self._link(f"links.{at}", two, keys)
        self.manifest = manifest_id(self.nodes, self.links)

    def _link(self, field: str, link: ManifestLink, keys: dict[str, str]) -> None:
        source = keys.get(link.source, link.source)
        target = keys.get(link.target, link.target)
        try:
            linked = Linked(
                source_node=source, target_node=target, relation=link.relation
            )
        except ValueError:
            raise Invalid.field(
                field, "joins two nodes, each a key of this call or a node's id"
            ) from None
        if source == target:
            raise Invalid.field(field, "leads from a node to itself")
        self.links[source, target, link.relation] = linked


class RecordManifest(Command):
    digest: Digest | None = None
    nodes: Annotated[tuple[ManifestNode, ...], Field(min_length=1, max_length=5_000)]
    links: Annotated[tuple[ManifestLink, ...], Field(max_length=10_000)] = ()
    _contents: Contents = PrivateAttr()

    @model_validator(mode="after")
    def _read(self) -> Self:
        self._contents = Contents(self.nodes, self.links)
        return self

    @property
    def contents(self) -> Contents:
        return self._contents

    @property
    def said_digest(self) -> str:
        return f"sha256:{self._contents.manifest.partition(':')[2]}"


NodeCommand = Record | RecordVersion | Link | Assess


def _node_recorded(kind: NodeKind, said: Record | ManifestNode) -> NodeRecorded:
    return NodeRecorded(
        node=node_id(
            kind,
            said.namespace,
            said.name,
            digest=said.digest,
            owner=said.owner,
            ttl_hours=said.ttl_hours,
            attributes=said.attributes,
        ),
        attributes=said.attributes,
        digest=said.digest,
        kind=kind,
        name=said.name,
        namespace=said.namespace,
        owner=said.owner,
        ttl_hours=said.ttl_hours,
    )


def _check_node(field: str, node: ManifestNode) -> None:
    for name in COMPULSORY.get(node.kind, ()):
        if getattr(node, name) is None:
            raise Invalid.field(f"{field}.{name}", f"is compulsory for a {node.kind}")
    if node.kind != "feature_view" and node.ttl_hours is not None:
        raise Invalid.field(f"{field}.ttl_hours", "is for feature views")
    if node.kind == "manifest":
        raise Invalid.field(f"{field}.kind", "a manifest is named by what it lists")
    if node.kind == "model_version":
        _check_version(field, node)


def _check_version(field: str, node: ManifestNode) -> None:
    # Whoever knows a version's digest must be able to name its node.
    if node.namespace != VERSIONS:
        raise Invalid.field(f"{field}.namespace", f"of a model_version is {VERSIONS}")
    if node.name.count("/") != 1:
        raise Invalid.field(f"{field}.name", "of a model_version is model/version")
    if node.owner is not None or node.attributes:
        raise Invalid.field(field, "a model_version has a name and a digest, no more")


# --- a node's stream ---------------------------------------------------------------


@dataclass(frozen=True)
class NodeState:
    recorded: bool = False
    links: frozenset[tuple[str, str]] = frozenset()
    assessed: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None


def decide_node(
    command: NodeCommand, state: NodeState, _: Context
) -> Sequence[NodeEvent]:
    match command:
        case Record() | RecordVersion():
            event = command.recorded
            _check_claim(command.node, event.node)
            return () if state.recorded else (event,)
        case Link():
            return _link(command, state)
        case Assess():
            return _assess(command, state)


def _check_claim(claimed: str | None, node: str) -> None:
    if claimed is not None and claimed != node:
        raise Refused(
            "lineage.content-addressed",
            f"this content is {node}, not {claimed}",
            subject=claimed,
        )


def _link(command: Link, state: NodeState) -> Sequence[Linked]:
    if command.source == command.target:
        raise Refused(
            "lineage.no-self-link",
            f"{command.source} cannot come from itself",
            subject=command.source,
        )
    if (command.source, command.relation) in state.links:
        return ()
    return (
        Linked(
            source_node=command.source,
            target_node=command.target,
            relation=command.relation,
        ),
    )


def _assess(command: Assess, state: NodeState) -> Sequence[CompletenessAssessed]:
    if state.assessed == (command.standard, command.present, command.missing):
        return ()
    return (
        CompletenessAssessed(
            **dict(command), share=share(command.present, command.missing)
        ),
    )


def share(present: Sequence[str], missing: Sequence[str]) -> float:
    """Of what is owed, to 4 decimals; what owes nothing has everything."""
    owed = len(present) + len(missing)
    return round(len(present) / owed, 4) if owed else 1.0


def evolve_node(state: NodeState, event: NodeEvent) -> NodeState:
    match event:
        case NodeRecorded():
            return replace(state, recorded=True)
        case Linked():
            link = (event.source_node, event.relation)
            return replace(state, links=state.links | {link})
        case CompletenessAssessed():
            known = (event.standard, event.present, event.missing)
            return replace(state, assessed=known)


# --- a manifest's stream -----------------------------------------------------------


@dataclass(frozen=True)
class ManifestState:
    recorded: bool = False


def decide_manifest(
    command: RecordManifest, state: ManifestState, _: Context
) -> Sequence[ManifestEvent]:
    _check_claim(command.digest, command.said_digest)
    if state.recorded:
        return ()
    contents = command.contents
    nodes, links = list(contents.nodes.values()), list(contents.links.values())
    versions = tuple(one.node for one in nodes if one.kind == "model_version")
    nodes.append(_manifest_node(command, nodes))
    links += [
        Linked(source_node=contents.manifest, target_node=one, relation=DESCRIBES)
        for one in versions
    ]
    return (
        *nodes,
        *links,
        ManifestRecorded(
            manifest=contents.manifest,
            nodes=len(contents.nodes),
            links=len(contents.links),
            versions=versions,
            roots=_roots(contents.links),
        ),
    )


def _roots(links: Iterable[tuple[str, str, str]]) -> tuple[str, ...]:
    """Where to start in order to come by every link; in a cycle, anywhere."""
    leads: dict[str, list[str]] = {}
    targets = set()
    for source, target, _ in links:
        leads.setdefault(source, []).append(target)
        targets.add(target)
    roots: list[str] = []
    seen: set[str] = set()
    for start in sorted(leads, key=lambda node: (node in targets, node)):
        if start not in seen:
            roots.append(start)
            waiting = [start]
            while waiting:
                node = waiting.pop()
                if node not in seen:
                    seen.add(node)
                    waiting += leads.get(node, ())
    return tuple(roots)


def _manifest_node(
    command: RecordManifest, nodes: Sequence[NodeRecorded]
) -> NodeRecorded:
    """It is called after the version it describes, when it describes one."""
    named = [one.name for one in nodes if one.kind == "model_version"]
    digest = command.said_digest
    return NodeRecorded(
        node=command.contents.manifest,
        kind="manifest",
        namespace="manifests",
        name=named[0] if len(named) == 1 else digest,
        digest=digest,
    )


def evolve_manifest(state: ManifestState, event: ManifestEvent) -> ManifestState:
    match event:
        case ManifestRecorded():
            return ManifestState(recorded=True)
        case NodeRecorded() | Linked():
            return state


NODE = decider(NodeState(), decide_node, evolve_node)
MANIFEST = decider(ManifestState(), decide_manifest, evolve_manifest)
