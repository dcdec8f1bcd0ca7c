"""What the inventory answers from. Every key is fed by one model's stream."""

from __future__ import annotations

from modelkeep_services.inventory.views.challenges import findings, reviews
from modelkeep_services.inventory.views.deadlines import due
from modelkeep_services.inventory.views.facts import facts
from modelkeep_services.inventory.views.models import appetites, models, roles, uses
from modelkeep_services.inventory.views.promises import kpis, slas, slos
from modelkeep_services.inventory.views.serving import deployments, verdicts
from modelkeep_services.inventory.views.versions import changes, versions

OF_A_MODEL = (
    models,
    roles,
    uses,
    versions,
    changes,
    deployments,
    verdicts,
    reviews,
    findings,
    slas,
    slos,
    kpis,
)
"""Those that a model's facts alone can make again."""

VIEWS = (*OF_A_MODEL, appetites, facts, due)

__all__ = [
    "OF_A_MODEL",
    "VIEWS",
    "appetites",
    "changes",
    "deployments",
    "due",
    "facts",
    "findings",
    "kpis",
    "models",
    "reviews",
    "roles",
    "slas",
    "slos",
    "uses",
    "verdicts",
    "versions",
]
