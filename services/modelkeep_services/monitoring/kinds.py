"""Whether outcomes are what their model's are: yes or no, or numbers. Never both.

A model's monitor declares it (`ConfigureMonitor.outcome_kind`; binary where nobody
did), and the first outcomes that are recorded settle it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelkeep.errors import Refused
from modelkeep.events.monitoring import OutcomeKind

RULE: Final = "monitoring.outcome-kind"
WORDS: Final[Mapping[OutcomeKind, str]] = {
    "binary": "binary (0 or 1)",
    "number": "numbers",
}


def keep_declared(model: str, declared: OutcomeKind, given: OutcomeKind) -> None:
    """Raises Refused where the monitor declares the other kind."""
    if declared != given:
        raise Refused(
            RULE,
            f"outcomes of {model} are declared {WORDS[declared]}, and these are "
            f"{WORDS[given]}: see ConfigureMonitor.outcome_kind",
            subject=model,
        )


def keep_recorded(
    model: str, recorded: OutcomeKind | None, given: OutcomeKind | None
) -> None:
    """Raises Refused where the other kind is recorded; None: nothing is."""
    if recorded is not None and given is not None and recorded != given:
        raise Refused(
            RULE,
            f"outcomes of {model} are recorded as {WORDS[recorded]}, so they cannot "
            f"be {WORDS[given]}",
            subject=model,
        )
