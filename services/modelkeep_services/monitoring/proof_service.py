"""Choosing what decisions are proven by: request to command, row to answer."""

from __future__ import annotations

from typing import Final

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.service import Asked
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.monitoring.asking import require_model
from modelkeep_services.monitoring.commands import ChooseProof
from modelkeep_services.monitoring.proof_views import (
    proof_of,
    proofs,
    rows_owed,
    standings,
)

CHOOSERS: Final = frozenset({"risk_officer"})


def prepare_proof(command: ChooseProof, asked: Asked) -> ChooseProof:
    """Add how the model is classified. Raises NotFound for one nobody registered."""
    standing = asked.read.get(standings, require_model(asked.read, command.model))
    if standing is None:
        return command
    found = {"tier": standing.tier, "regime_flags": standing.regime_flags}
    return command.model_copy(update=found)


def tell_proof(answer: pb.GetMonitorResponse, read: Reader, model: str) -> None:
    """Say what is in force, and what was chosen where that is something else."""
    fill(answer.proof, {"in_force": proof_of(read, model)})
    row = read.get(proofs, model)
    if row is None:
        return
    chosen = row.event
    told = {
        "chosen": chosen.proof,
        "reason": chosen.reason,
        "by": chosen.by,
        "source": row.source,
    }
    fill(answer.proof, told)
    if chosen.proof == "columns":
        answer.proof.rows_owed = rows_owed(read, model) or ""
