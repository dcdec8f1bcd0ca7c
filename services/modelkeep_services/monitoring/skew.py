"""Training against serving: the feature views a model learned from, and today's.

A feature view is a node of lineage, named by its content: another version of it has
another node and another digest. How far the values themselves have moved is the
profile's to say, against the baseline; here it is decided whether they are the same
features at all, and whether they are fresh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import numpy as np

from modelkeep.decisions.matrix import Decisions
from modelkeep.errors import NotFound, Refused
from modelkeep.events.monitoring import Rule, ServedView, ViewContract
from modelkeep.views import Reader
from modelkeep_services.monitoring import views
from modelkeep_services.monitoring.arrays import instant
from modelkeep_services.monitoring.contract import EXAMPLES, Breach, examples


def view_contract(read: Reader, node: str) -> ViewContract:
    """Raises NotFound for what lineage does not know, Refused for a view that has no
    version.
    """
    row = read.get(views.data_nodes, node)
    if row is None or row.event.kind != "feature_view":
        raise NotFound("feature view", node[:100])
    event = row.event
    if event.digest is None or event.ttl_hours is None:
        raise Refused(
            "monitoring.view-versioned",
            f"feature view {event.name} has no digest or no TTL",
            subject=node,
        )
    return ViewContract(
        node=event.node,
        name=event.name,
        namespace=event.namespace,
        digest=event.digest,
        owner=event.owner,
        ttl_hours=event.ttl_hours,
    )


def served_views(read: Reader, served: Sequence[ServedView]) -> dict[str, ViewContract]:
    """Return what lineage says of the views that served a batch, by node."""
    return {one.node: view_contract(read, one.node) for one in served}


def skew(
    rows: Decisions,
    promised: Sequence[ViewContract],
    served: Sequence[ServedView],
    known: Mapping[str, ViewContract],
) -> Iterator[Breach]:
    """Compare what served a batch with what its model learned from. Raises Refused for
    a batch that does not say, where a contract asks.
    """
    if promised and not served:
        raise Refused(
            "monitoring.view-versioned",
            "the batch does not say which feature views served it",
            subject=promised[0].node,
        )
    last_at = instant(int(rows.times.max()))
    by_node = {one.node: one for one in served}
    for view in promised:
        found = by_node.get(view.node)
        if found is None:
            yield _all(rows, view.name, "feature_view")
    for one in served:
        view = known[one.node]
        if last_at - one.materialized_at > timedelta(hours=view.ttl_hours):
            yield _all(rows, view.name, "stale_view")


def _all(rows: Decisions, view: str, rule: Rule) -> Breach:
    every = np.ones(len(rows), dtype=np.bool_)
    named = examples(rows, every, EXAMPLES)
    return Breach(view[:100], rule, len(rows), len(rows), named)


def oldest(served: Sequence[ServedView]) -> tuple[ServedView, ...]:
    """Return each view once, as old as it was."""
    found: dict[str, ServedView] = {}
    for one in served:
        known = found.get(one.node)
        if known is None or one.materialized_at < known.materialized_at:
            found[one.node] = one
    return tuple(found[node] for node in sorted(found))
