"""What decisions are proven by: every row, or columns where that may be chosen.

Rows are the default. Columns are cheaper to prove by and prove no single decision, so
they are a choice on record, for models whose single decisions nobody is owed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelkeep.decider import Context
from modelkeep.errors import Refused
from modelkeep.events.monitoring import ProofChosen
from modelkeep.events.types import Tier
from modelkeep_services.monitoring.alerting import people_only
from modelkeep_services.monitoring.commands import ChooseProof
from modelkeep_services.monitoring.state import MonitorState

RULE: Final = "monitoring.rows-are-proven"
FREE: Final = 3
"""The first tier whose models may be proven by columns."""
COLUMNS_ONLY: Final = "this batch proves columns, not single rows"


def choose_proof(
    command: ChooseProof, state: MonitorState, context: Context
) -> Sequence[ProofChosen]:
    people_only(context, command.model)
    chosen = state.proof
    if command.proof == (chosen.proof if chosen else "rows"):
        return []
    if command.proof == "columns":
        compulsory = (
            state.configured is not None and state.configured.reason_codes_compulsory
        )
        why = owed(command.tier, command.regime_flags, reasons=compulsory)
        if why is not None:
            raise Refused(
                RULE,
                f"each decision of {command.model} must be proven alone: {why}",
                subject=command.model,
            )
    return [ProofChosen(**dict(command), by=context.actor.person)]


def owed(
    tier: Tier | None, regime_flags: Sequence[str], *, reasons: bool
) -> str | None:
    """Return why single rows must be proven; None where columns may do. `reasons`:
    reason codes are compulsory.
    """
    if tier is None:
        return "it has no tier yet"
    if tier < FREE:
        return f"it is tier {tier}"
    if regime_flags:
        return f"it is flagged {', '.join(regime_flags)}"
    if reasons:
        return "its reason codes are compulsory"
    return None
