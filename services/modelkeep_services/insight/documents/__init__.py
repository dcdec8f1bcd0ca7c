"""The versioned documents by which insight computes: loaded once, with their digest."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from modelkeep import yaml_document
from modelkeep.events.insight import Document
from modelkeep.stats.budget import BudgetDocument
from modelkeep.stats.health import HealthDocument, Scale

HEALTH: Final = "health-v2"
BUDGET: Final = "budget-v1"
QUEUE: Final = "queue-v1"
KPIS: Final = "kpis-v1"

D = TypeVar("D")
B = TypeVar("B", bound=BaseModel)
Number = Annotated[float, Field(allow_inf_nan=False)]


class Loaded(NamedTuple, Generic[D]):
    """What a document says, and the stamp that figures made by it carry."""

    says: D
    stamp: Document


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Band(Closed):
    """How far from its baseline a metric may be: its warning and its hard limit.

    `direction` says which way is worse.
    """

    direction: str = Field(pattern="^(falls|rises)$")
    warning: Number = Field(gt=0)
    hard: Number = Field(gt=0)
    relative: bool = False
    """The limits are shares of the baseline's figure, not distances from it."""

    def scale(self, baseline: float) -> Scale:
        step = abs(baseline) if self.relative else 1.0
        step = step if self.direction == "rises" else -step
        return Scale(
            baseline, baseline + step * self.warning, baseline + step * self.hard
        )


class HealthRules(Closed):
    """The index's own document, and how its evidence is gathered."""

    version: str
    index: HealthDocument
    bands: dict[str, Band]
    ignored_environments: frozenset[str]
    outcomes_grace_hours: Number = Field(ge=0)
    outcomes_due_share: Number = Field(ge=0, le=1)


class BudgetRules(Closed):
    version: str
    budget: BudgetDocument
    metrics: dict[str, str]
    provisional_least: int = Field(ge=1)


class QueueRules(Closed):
    """`cure_hours` is by kind of item; a debt's own cost to cure goes before."""

    version: str
    severity_points: dict[str, Number]
    tier_factors: dict[int, Number]
    overdue_factor: Number = Field(ge=1)
    unclassified_tier: int = Field(ge=1, le=4)
    cure_hours: dict[str, Number]


class KpiRules(Closed):
    version: str
    high_risk_tiers: frozenset[int]
    governing_roles: tuple[str, ...]
    lineage_share: Number = Field(ge=0, le=1)
    drift_kinds: tuple[str, ...]


@cache
def health_rules() -> Loaded[HealthRules]:
    return _load(HEALTH, HealthRules)


@cache
def budget_rules() -> Loaded[BudgetRules]:
    return _load(BUDGET, BudgetRules)


@cache
def queue_rules() -> Loaded[QueueRules]:
    return _load(QUEUE, QueueRules)


@cache
def kpi_rules() -> Loaded[KpiRules]:
    return _load(KPIS, KpiRules)


def read_health(text: bytes) -> Loaded[HealthRules]:
    """A document that is not in force. Raises pydantic's ValidationError or Invalid."""
    found = _read(text, HealthRules)
    return Loaded(found, Document(version=found.version, digest=_digest(text)))


def _load(name: str, model: type[B]) -> Loaded[B]:
    text = files(__package__).joinpath(f"{name}.yaml").read_bytes()
    return Loaded(_read(text, model), Document(version=name, digest=_digest(text)))


def _read(text: bytes, model: type[B]) -> B:
    return model.model_validate(yaml_document.read("document", text))


def _digest(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
