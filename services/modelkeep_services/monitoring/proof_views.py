"""What a model's decisions are proven by, and the tier that it may be chosen at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from modelkeep.decisions.rows import Proof
from modelkeep.events.inventory import ModelClassified, OverrideExpired
from modelkeep.events.monitoring import ProofChosen
from modelkeep.events.types import Tier
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep_services.monitoring import views
from modelkeep_services.monitoring.proving import owed


@dataclass(frozen=True)
class StandingRow:
    """How a model is classified. `tier` is the one in force."""

    tier: Tier
    regime_flags: tuple[str, ...]


standings = View("standings", StandingRow)
"""By model; one that nobody classified has none."""


@standings.on(ModelClassified)
def model_classified(event: ModelClassified, _: Fact, rows: Rows[StandingRow]) -> None:
    rows.put(event.model, StandingRow(event.tier, event.regime_flags))


@standings.on(OverrideExpired)
def override_expired(event: OverrideExpired, _: Fact, rows: Rows[StandingRow]) -> None:
    row = rows.get(event.model)
    if row is not None:
        rows.put(event.model, replace(row, tier=event.tier))


@dataclass(frozen=True)
class ProofRow:
    event: ProofChosen
    source: str


proofs = View("proofs", ProofRow)
"""The last choice, by model; rows where nobody chose."""


@proofs.on(ProofChosen)
def proof_chosen(event: ProofChosen, fact: Fact, rows: Rows[ProofRow]) -> None:
    rows.put(event.model, ProofRow(event, str(fact.id)))


VIEWS: Final = (standings, proofs)


def proof_of(read: Reader, model: str) -> Proof:
    """Return what is in force: what was chosen, while it may be chosen."""
    row = read.get(proofs, model)
    if row is None or row.event.proof == "rows" or rows_owed(read, model) is not None:
        return "rows"
    return "columns"


def rows_owed(read: Reader, model: str) -> str | None:
    """Return why single rows must be proven, as things stand."""
    standing, monitor = read.get(standings, model), read.get(views.monitors, model)
    return owed(
        standing.tier if standing else None,
        standing.regime_flags if standing else (),
        reasons=monitor is not None and monitor.event.reason_codes_compulsory,
    )
