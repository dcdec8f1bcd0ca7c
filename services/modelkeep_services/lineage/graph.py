"""Walks over the links: bounded in depth and size, and at home in cycles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from modelkeep.events.lineage import Evidence
from modelkeep.views import Reader
from modelkeep_services.lineage.standard import STANDARD, Standard
from modelkeep_services.lineage.views import (
    EdgeRow,
    NodeRow,
    downstream,
    kinds,
    nodes,
    upstream,
)

DEEPEST: Final = 100
LINKS_A_NODE: Final = 5
WIDEST: Final = 10_000
"""Nodes that a question about everything may reach."""

Links = Callable[[str, int], list[str]]
"""From a node, at most so many: each as node/other/relation."""


@dataclass
class Walk:
    """`depths` in order of arrival, the nearest first; the start is not among them.
    `links` as the walk came by them: from/to/relation.
    """

    depths: dict[str, int] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    truncated: bool = False


def ups(read: Reader) -> Links:
    return lambda node, most: [
        key for key, _ in read.scan(upstream, f"{node}/", limit=most)
    ]


def downs(read: Reader) -> Links:
    return lambda node, most: [
        key for key, _ in read.scan(downstream, f"{node}/", limit=most)
    ]


def edges(read: Reader, links: Iterable[str], *, down: bool) -> list[EdgeRow]:
    """Say more of the links of a walk; `down` if it went from upstream to down."""
    found = []
    for link in links:
        here, other, relation = link.split("/")
        key = f"{other}/{here}/{relation}" if down else link
        found.append(read.get(upstream, key))
    return [edge for edge in found if edge is not None]


def walk(
    starts: Iterable[str],
    links: Links,
    *,
    depth: int = DEEPEST,
    limit: int = WIDEST,
    passes: Callable[[str], bool] = lambda _: True,
) -> Walk:
    """Follow links breadth first; `passes` says through which nodes it goes on."""
    found = Walk()
    begun = dict.fromkeys(starts, 0)
    waiting = deque(begun.items())
    most_links = limit * LINKS_A_NODE
    while waiting:
        node, at = waiting.popleft()
        if node not in begun and not passes(node):
            continue
        for link in links(node, most_links + 1):
            other = link.split("/")[1]
            fresh = other not in begun and other not in found.depths
            if fresh and (at >= depth or len(found.depths) >= limit):
                found.truncated = True
            elif len(found.links) >= most_links:
                found.truncated = True
                return found
            else:
                found.links.append(link)
                if fresh:
                    found.depths[other] = at + 1
                    waiting.append((other, at + 1))
    return found


def kind_of(node: str) -> str:
    return node.partition(":")[0]


@dataclass(frozen=True)
class Completeness:
    standard: str
    present: tuple[Evidence, ...]
    missing: tuple[Evidence, ...]


def completeness(
    read: Reader, version: NodeRow, standard: Standard = STANDARD
) -> Completeness:
    """Say which kinds that a version owes were recorded upstream of it.

    A feeder model's evidence is its own: the walk goes to other versions, not through.
    """
    kind = read.get(kinds, version.name.partition("/")[0])
    owed = standard.owed(None if kind is None else kind.kind)
    has: set[str] = set()
    found = walk(
        [version.node], ups(read), passes=lambda one: kind_of(one) != "model_version"
    )
    for node in found.depths:
        kind_here = kind_of(node)
        if kind_here not in has and read.get(nodes, node) is not None:
            has.add(kind_here)
    return Completeness(
        standard.standard,
        tuple(one for one in owed if one in has),
        tuple(one for one in owed if one not in has),
    )
