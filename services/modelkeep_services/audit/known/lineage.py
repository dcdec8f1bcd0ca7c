"""Where a version came from: nodes, and what leads to each."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from modelkeep.events.lineage import (
    Linked,
    ManifestRecorded,
    NodeRecorded,
    version_node,
)
from modelkeep.views import Fact, Reader, Rows, View

MOST: Final = 500
"""Nodes that are told of one version; its lineage may be larger."""


@dataclass(frozen=True)
class NodeRow:
    node: str
    kind: str
    name: str
    namespace: str
    digest: str
    owner: str
    event_id: str


nodes = View("nodes", NodeRow)


@nodes.on(NodeRecorded)
def _recorded(event: NodeRecorded, fact: Fact, rows: Rows[NodeRow]) -> None:
    # The same node may be told in several streams; it is the same whoever tells it, so
    # of several events the one with the smallest id speaks, whichever came first.
    row = NodeRow(
        node=event.node,
        kind=event.kind,
        name=event.name,
        namespace=event.namespace,
        digest=event.digest or "",
        owner=event.owner or "",
        event_id=str(fact.id),
    )
    before = rows.get(event.node)
    if before is None or row.event_id < before.event_id:
        rows.put(event.node, row)


@dataclass(frozen=True)
class LinkRow:
    source: str
    relation: str
    event_id: str


links = View("links", LinkRow, version=2)


@links.on(Linked)
def _linked(event: Linked, fact: Fact, rows: Rows[LinkRow]) -> None:
    key = f"{event.target_node}/{event.source_node}/{event.relation}"
    row = LinkRow(event.source_node, event.relation, str(fact.id))
    before = rows.get(key)
    if before is None or row.event_id < before.event_id:  # as with nodes
        rows.put(key, row)


@dataclass(frozen=True)
class ManifestRow:
    event_id: str


manifests = View("manifests", ManifestRow)
"""By manifest and version node; one that is told again is the same."""


@manifests.on(ManifestRecorded)
def _manifest(event: ManifestRecorded, fact: Fact, rows: Rows[ManifestRow]) -> None:
    for node in event.versions:
        key = f"{node}/{event.manifest}"
        before = rows.get(key)
        if before is None or str(fact.id) < before.event_id:
            rows.put(key, ManifestRow(str(fact.id)))


class Upstream(NamedTuple):
    """A node above another, and how it first bears on what is below it."""

    node: NodeRow
    relation: str
    distance: int
    link: str
    """The event that tied it to what is below it."""


def upstream(read: Reader, model: str, version: str, digest: str) -> list[Upstream]:
    """Return what a version came from, nearest first."""
    start = version_node(model, version, digest)
    seen, waiting = {start}, deque([(start, 0)])
    found: list[Upstream] = []
    while waiting and len(found) < MOST:
        below, distance = waiting.popleft()
        for _, link in read.scan(links, f"{below}/"):
            node = read.get(nodes, link.source)
            if link.source in seen or node is None:
                continue
            seen.add(link.source)
            waiting.append((link.source, distance + 1))
            found.append(Upstream(node, link.relation, distance + 1, link.event_id))
    return found


def counts(read: Reader) -> Counter[str]:
    """Count nodes by kind, and `edges`."""
    found = Counter(node.partition(":")[0] for node, _ in read.scan(nodes))
    found["edges"] = len(read.scan(links))
    return found


VIEWS: Final = (nodes, links, manifests)
