"""What an alert is taken to be caused by: lineage walked upstream from its version.

The rules, in order:

1. *named-input*. An alert about an input names it. Where a column, feature view or
   dataset of that name lies upstream of the version, the nearest is the cause.
2. *only-view*. Where nothing has that name but one feature view alone feeds the
   version, that is the cause.
3. *own*. Otherwise the model explains itself, its inputs, its outcomes, its operation
   and its governance apart.

A cause found in lineage climbs to what it is made from, as long as that is one thing:
a column to its view, a view to its only dataset. So one bad dataset is one cause,
however many views, columns and models show it. A dataset is the end of the climb.

The answer depends on the alert and on what lineage says, never on other alerts: alerts
may come in any order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final, Literal, NamedTuple, Protocol, cast

from modelkeep.events.attention import Cause, CauseKind, GroupedAlert

ABOUT_INPUTS: Final = frozenset(
    {
        "feature_drift",
        "missing_values",
        "contract",
        "stale_input",
        "multivariate_drift",
        "unseen_categories",
        "range_drift",
    }
)
"""Rules that name the input they speak of."""
PEOPLE: Final = frozenset({"override_drift", "rubber_stamping"})
WIDEST: Final = 10_000
"""Nodes that a walk may reach."""
HOLDS_DATA: Final = frozenset({"column", "feature_view", "dataset"})
CLIMBS: Final = frozenset({"column", "feature_view"})
LONGEST: Final = 200
"""Characters of a cause's name: a title's."""

Family = Literal["inputs", "consequence", "operations", "governance", "people"]


class Origin(NamedTuple):
    """A node as monitoring knows it from lineage."""

    kind: str
    name: str
    owner: str | None


class Upstream(Protocol):
    """What lineage says, at one moment."""

    def origin(self, node: str) -> Origin | None: ...
    def above(self, node: str) -> list[str]:
        """The nodes that link to `node`, in the order of their ids."""


def cause_of(
    alert: GroupedAlert, feature: str | None, version: str | None, known: Upstream
) -> Cause:
    """Name the cause; `version` is the node of the alert's version, if it has one."""
    if alert.kind in ABOUT_INPUTS and version is not None:
        above = _reached([version], known.above, through=_not_a_model)
        named = _named(above, feature, known)
        if named is not None:
            return _cause(_climb(named, known), "named-input", known)
        only = _only_view(version, known)
        if only is not None:
            return _cause(_climb(only, known), "only-view", known)
    return Cause(
        kind="model",
        node=version,
        name=_model_name(alert),
        rule="own",
        family=family_of(alert),
    )


def cause_key(cause: Cause) -> str:
    """Equal for alerts of one cause, and for no others."""
    if cause.rule != "own" and cause.node is not None:
        return cause.node
    return f"{cause.name}/{cause.family}"


def family_of(alert: GroupedAlert) -> Family:
    if alert.kind in PEOPLE:
        return "people"
    if alert.vector == "governance_lapse":
        return "governance"
    if alert.vector == "operational_regression":
        return "operations"
    return "inputs" if alert.kind in ABOUT_INPUTS else "consequence"


def _model_name(alert: GroupedAlert) -> str:
    parts = (alert.model, alert.version, alert.environment)
    name = "/".join(part for part in parts if part)
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 17]}-{sha256(name.encode()).hexdigest()[:16]}"


def downstream(
    nodes: Iterable[str], below: Callable[[str], list[str]]
) -> tuple[list[str], bool]:
    """Return everything downstream, and whether the walk was cut short."""
    found = _reached(nodes, below, through=lambda _: True)
    return list(found), len(found) >= WIDEST


def _reached(
    starts: Iterable[str],
    links: Callable[[str], list[str]],
    *,
    through: Callable[[str], bool],
) -> dict[str, int]:
    """Nodes by distance, breadth first; at home in cycles, bounded by WIDEST."""
    depths: dict[str, int] = {}
    begun = dict.fromkeys(starts, 0)
    waiting = deque(begun.items())
    while waiting:
        node, at = waiting.popleft()
        if node not in begun and not through(node):
            continue
        for other in links(node):
            if other in begun or other in depths:
                continue
            if len(depths) >= WIDEST:
                return depths
            depths[other] = at + 1
            waiting.append((other, at + 1))
    return depths


def kind_of(node: str) -> str:
    return node.partition(":")[0]


def _not_a_model(node: str) -> bool:
    # A feeder model's inputs are its own: it has alerts of its own.
    return kind_of(node) != "model_version"


def _no_data(node: str) -> bool:
    return kind_of(node) not in HOLDS_DATA and _not_a_model(node)


def _named(above: dict[str, int], feature: str | None, known: Upstream) -> str | None:
    """Return the nearest holder of data that is called so, ties by id."""
    if feature is None:
        return None
    found = [
        (depth, node)
        for node, depth in above.items()
        if kind_of(node) in HOLDS_DATA and _is_called(known.origin(node), feature)
    ]
    return min(found)[1] if found else None


def _is_called(origin: Origin | None, feature: str) -> bool:
    if origin is None:
        return False
    last = origin.name.rpartition("/")[2].rpartition(".")[2]
    return feature in {origin.name, last}


def _only_view(version: str, known: Upstream) -> str | None:
    near = _reached([version], known.above, through=_no_data)
    views = [node for node in near if kind_of(node) == "feature_view"]
    return views[0] if len(views) == 1 else None


def _climb(node: str, known: Upstream) -> str:
    seen = {node}
    while kind_of(node) in CLIMBS:
        near = _reached([node], known.above, through=_no_data)
        made_of = [other for other in near if kind_of(other) in HOLDS_DATA]
        if len(made_of) != 1 or made_of[0] in seen:
            break
        node = made_of[0]
        seen.add(node)
    return node


def _cause(
    node: str, rule: Literal["named-input", "only-view"], known: Upstream
) -> Cause:
    origin = known.origin(node)
    return Cause(
        kind=cast("CauseKind", kind_of(node)),
        node=node,
        name=node if origin is None else origin.name,
        owner=None if origin is None else origin.owner,
        rule=rule,
    )
