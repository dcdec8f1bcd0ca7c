"""Where a version came from: nodes, and what leads to each."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from modelkeep.events.lineage import Linked, NodeRecorded, version_node
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


links = View("links", LinkRow)


@links.on(Linked)
def _linked(event: Linked, _: Fact, rows: Rows[LinkRow]) -> None:
    key = f"{event.target_node}/{event.source_node}/{event.relation}"
    rows.put(key, LinkRow(event.source_node, event.relation))


class Upstream(NamedTuple):
    """A node above another, and how it first bears on what is below it."""

    node: NodeRow
    relation: str
    distance: int


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
            found.append(Upstream(node, link.relation, distance + 1))
    return found


def counts(read: Reader) -> Counter[str]:
    """Count nodes by kind, and `edges`."""
    found = Counter(node.partition(":")[0] for node, _ in read.scan(nodes))
    found["edges"] = len(read.scan(links))
    return found


VIEWS: Final = (nodes, links)
