"""What lineage answers from: nodes, and links from either end.

The same node may be told in its own stream and in many manifests, so a row keeps the
earliest telling and does not mind their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modelkeep.events.inventory import ModelRegistered
from modelkeep.events.lineage import Linked, NodeKind, NodeRecorded
from modelkeep.views import Fact, Reader, Rows, View


@dataclass(frozen=True)
class NodeRow:
    node: str
    kind: NodeKind
    namespace: str
    name: str
    digest: str | None
    owner: str | None
    ttl_hours: int | None
    attributes: Mapping[str, str]
    known_at: datetime
    recorded_at: datetime
    event_id: str


@dataclass(frozen=True)
class Mark:
    """All that is to be known is in the key."""


MARK = Mark()


@dataclass(frozen=True)
class EdgeRow:
    source: str
    target: str
    relation: str
    known_at: datetime
    linked_at: datetime
    event_id: str


@dataclass(frozen=True)
class KindRow:
    kind: str


nodes = View("nodes", NodeRow)
names = View("names", Mark)
"""Keyed kind/name/node."""

upstream = View("upstream", EdgeRow)
"""Keyed target/source/relation."""

downstream = View("downstream", Mark)
"""Keyed source/target/relation: the link itself is in `upstream`."""

artifacts = View("artifacts", Mark)
"""Artifact nodes by the digest of their bytes: digest/node."""

kinds = View("kinds", KindRow)
"""The kind of each registered model."""


@nodes.on(NodeRecorded)
def recorded(event: NodeRecorded, fact: Fact, rows: Rows[NodeRow]) -> None:
    known = rows.get(event.node)
    if known is not None and _first(known, fact):
        return
    rows.put(
        event.node,
        NodeRow(
            event.node,
            event.kind,
            event.namespace,
            event.name,
            event.digest,
            event.owner,
            event.ttl_hours,
            event.attributes,
            fact.known_at,
            fact.effective_at,
            str(fact.id),
        ),
    )


@names.on(NodeRecorded)
def named(event: NodeRecorded, _: Fact, rows: Rows[Mark]) -> None:
    rows.put(name_key(event.kind, event.name) + f"/{event.node}", MARK)


@artifacts.on(NodeRecorded)
def made(event: NodeRecorded, _: Fact, rows: Rows[Mark]) -> None:
    if event.kind == "artifact":
        rows.put(f"{event.digest}/{event.node}", MARK)


@upstream.on(Linked)
def linked_up(event: Linked, fact: Fact, rows: Rows[EdgeRow]) -> None:
    key = f"{event.target_node}/{event.source_node}/{event.relation}"
    known = rows.get(key)
    if known is not None and _first(known, fact):
        return
    rows.put(
        key,
        EdgeRow(
            event.source_node,
            event.target_node,
            event.relation,
            fact.known_at,
            fact.effective_at,
            str(fact.id),
        ),
    )


@downstream.on(Linked)
def linked_down(event: Linked, _: Fact, rows: Rows[Mark]) -> None:
    rows.put(f"{event.source_node}/{event.target_node}/{event.relation}", MARK)


@kinds.on(ModelRegistered)
def registered(event: ModelRegistered, _: Fact, rows: Rows[KindRow]) -> None:
    rows.put(event.model, KindRow(event.kind))


def _first(known: NodeRow | EdgeRow, fact: Fact) -> bool:
    return (known.known_at, known.event_id) <= (fact.known_at, str(fact.id))


def name_key(kind: str, name: str) -> str:
    return f"{kind}/{name}"


def last(key: str) -> str:
    """Return the node at the end of a key: ids have no slash in them."""
    return key.rpartition("/")[2]


def versions(read: Reader, model: str, version: str | None = None) -> list[NodeRow]:
    """Return the nodes of a model's versions, or of one: more where digests differ."""
    name = f"{model}/" if version is None else f"{model}/{version}/"
    found = read.scan(names, name_key("model_version", name))
    rows = [read.get(nodes, last(key)) for key, _ in found]
    return [row for row in rows if row is not None]


def manifests(read: Reader, model: str, version: str) -> list[NodeRow]:
    """Return the recorded manifests of a version, the latest first."""
    found = [
        read.get(nodes, edge.source)
        for one in versions(read, model, version)
        for _, edge in read.scan(upstream, f"{one.node}/manifest:")
    ]
    rows = {row.node: row for row in found if row is not None}
    order = sorted(rows.values(), key=lambda row: (row.known_at, row.node))
    return order[::-1]


VIEWS: Final = (nodes, names, upstream, downstream, artifacts, kinds)
