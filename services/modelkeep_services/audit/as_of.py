"""Everything that was true at a moment, and what changed between two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.errors import Invalid, NotFound
from modelkeep.service import Asked
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.audit import moments
from modelkeep_services.audit.changes import Keyed, changes
from modelkeep_services.audit.known import (
    debt,
    insight,
    inventory,
    lineage,
    monitoring,
    policy,
)

MAX_NAME: Final = 100


class Section(NamedTuple):
    """One kind of thing: a field of the answer, and its rows. `over` says which
    statuses mean that it no longer stands: they are counted and not listed.
    """

    field: str
    kind: str
    rows: Callable[[Reader], Keyed]
    over: frozenset[str] = frozenset()


def _bundles(read: Reader) -> Keyed:
    return {f"{row.name}/{row.bundle}": row for row in policy.bundles_of(read)}


SECTIONS: Final = (
    Section("models", "model", lambda read: dict(read.scan(inventory.models))),
    Section("versions", "version", lambda read: dict(read.scan(inventory.versions))),
    Section("deployments", "deployment", inventory.live),
    Section(
        "reviews",
        "review",
        lambda read: dict(read.scan(inventory.reviews)),
        frozenset({"completed", "cancelled"}),
    ),
    Section(
        "findings",
        "finding",
        lambda read: dict(read.scan(inventory.findings)),
        frozenset({"closed"}),
    ),
    Section("bundles", "bundle", _bundles),
    Section(
        "exceptions",
        "exception",
        lambda read: dict(read.scan(policy.exceptions)),
        frozenset({"withdrawn", "expired"}),
    ),
    Section(
        "alerts",
        "alert",
        lambda read: dict(read.scan(monitoring.alerts)),
        frozenset({"resolved"}),
    ),
    Section(
        "liabilities",
        "liability",
        lambda read: dict(read.scan(debt.liabilities)),
        frozenset({"cured"}),
    ),
    Section("health", "health", lambda read: dict(read.scan(insight.health))),
    Section("budgets", "budget", lambda read: dict(read.scan(insight.budgets))),
)


def as_of(request: pb.AsOfRequest, asked: Asked) -> pb.AsOfResponse:
    if len(request.model) > MAX_NAME:
        raise Invalid.field("model", f"is longer than {MAX_NAME} characters")
    here = moments.moment_of(asked, request.as_of)
    state = _state(asked.read, request.model)
    if request.model and request.model not in state["models"]:
        raise NotFound("model", request.model)
    answer = pb.AsOfResponse(moment=moments.told(asked, request.as_of, here))
    for section in SECTIONS:
        rows = state[section.field]
        answer.counts[section.field] = len(rows)
        target = getattr(answer, section.field)
        for key in sorted(rows):
            if getattr(rows[key], "status", "") not in section.over:
                fill(target.add(), rows[key])
    if request.HasField("against"):
        there = moments.moment_of(asked, request.against, "against")
        answer.against.CopyFrom(moments.told(asked, request.against, there))
        other = asked.read.at(there)
        answer.changes.extend(differences(asked.read, other, request.model))
    answer.lineage.update(lineage.counts(asked.read))
    return answer


def differences(before: Reader, after: Reader, model: str = "") -> Iterator[pb.Change]:
    """Yield what `after` says otherwise than `before`, of one model if it is named."""
    old, new = _state(before, model), _state(after, model)
    for section in SECTIONS:
        if model and section.kind == "bundle":
            continue  # of no model's own
        yield from changes(section.kind, old[section.field], new[section.field])


def _state(read: Reader, model: str) -> Mapping[str, Keyed]:
    """Read every section; of one model alone, if it is named."""
    return {
        section.field: {
            key: row
            for key, row in section.rows(read).items()
            if not model or getattr(row, "model", model) == model
        }
        for section in SECTIONS
    }
