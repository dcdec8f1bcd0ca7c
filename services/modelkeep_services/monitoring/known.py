"""What surrounds a batch or a window: monitor, baseline, contract, owner, limits."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep.decisions.rows import Proof
from modelkeep.errors import NotFound
from modelkeep.events.inventory import Boundary
from modelkeep.events.monitoring import (
    ContractRegistered,
    MonitorConfigured,
    Thresholds,
)
from modelkeep.views import Reader
from modelkeep_services.monitoring import views
from modelkeep_services.monitoring.proof_views import proof_of
from modelkeep_services.monitoring.rules import Slo
from modelkeep_services.monitoring.windows import Reference


@dataclass(frozen=True)
class Known:
    """`deployed`: the version has had a share of the environment's traffic."""

    deployed: bool
    uses: tuple[str, ...]
    boundaries: tuple[Boundary, ...]
    contract: ContractRegistered | None
    reference: Reference | None
    monitor: MonitorConfigured
    proof: Proof = "rows"

    def approved(self, use: str) -> bool | None:
        """None where no use was ever approved, so that nothing is known."""
        if not self.uses:
            return None
        return use in self.uses


def of_version(read: Reader, model: str, version: str, environment: str) -> Known:
    """Raises NotFound when the inventory has no such version."""
    found = read.get(views.versions, f"{model}/{version}")
    if found is None:
        raise NotFound("version", f"{model}/{version}")
    about = read.get(views.models, model)
    contract = read.get(views.contracts, model)
    return Known(
        deployed=environment in found.shares,
        uses=about.uses if about else (),
        boundaries=about.boundaries if about else (),
        contract=contract.event if contract else None,
        reference=reference(read, model, version),
        monitor=monitor(read, model),
        proof=proof_of(read, model),
    )


def reference(read: Reader, model: str, version: str) -> Reference | None:
    row = read.get(views.baselines, f"{model}/{version}")
    if row is None:
        return None
    event = row.event
    # moments cost more than all else that is counted: who states a limit has them
    together = monitor(read, model).thresholds.misfit_rise is not None
    return Reference(
        event.baseline,
        event.profile,
        event.threshold,
        event.performance,
        event.fine,
        event.components if together else None,
        event.score_outcomes,
        event.brier_cells,
    )


def monitor(read: Reader, model: str) -> MonitorConfigured:
    """Return how a model is watched; by the defaults, where nobody said."""
    row = read.get(views.monitors, model)
    return MonitorConfigured(model=model) if row is None else row.event


def limits(read: Reader, model: str) -> Thresholds:
    """Return the thresholds, with what an accepted SLA asks of explanations."""
    found = monitor(read, model).thresholds
    sla = read.get(views.slas, f"{model}/explainability")
    if sla is None:
        return found
    terms = sla.event.terms
    promised = {
        "explanation_coverage": terms.coverage,
        "explanation_p95_ms": terms.explanation_p95_ms,
    }
    # what the monitor states itself goes first
    unsaid = {k: v for k, v in promised.items() if getattr(found, k) is None}
    return found.model_copy(update=unsaid)


def slos(read: Reader, model: str) -> tuple[Slo, ...]:
    return tuple(
        _slo(row, read.get(views.money_checks, key))
        for key, row in read.scan(views.slos, f"{model}/")
    )


def owner(read: Reader, model: str) -> str | None:
    row = read.get(views.models, model)
    return None if row is None else row.owner


def _slo(row: views.SloRow, check: views.MoneyRow | None) -> Slo:
    event = row.event
    slo = Slo(
        slo=event.slo,
        metric=event.metric,
        warning=event.warning,
        hard=event.hard,
        direction=event.direction,
        money_per_hour=event.money_per_hour,
        play=event.play,
    )
    # A check of what was declared before says nothing of what is declared now.
    if check is None or check.event.slo_defined != row.source:
        return slo
    if check.event.verdict == "not_yet":
        return slo
    basis = {"money_basis": check.event.verdict, "money_check": check.source}
    return slo.model_copy(update=basis)
