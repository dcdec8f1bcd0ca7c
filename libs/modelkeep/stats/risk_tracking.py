"""Risk tracking: a deployed loss above its baseline's, shown by labels that come late.

Podkopaev & Ramdas, "Tracking the risk of a deployed model and detecting harmful
distribution shifts", ICLR 2022: alarm once

    lower bound of the deployed loss > upper bound of the baseline's + tolerance.

The upper bound is of a fixed sample and fails with alpha_S, the lower one is a
confidence sequence that fails *ever* with alpha_T (both: `empirical_bernstein`): a
false alarm comes once in the model's life with a probability of alpha_S + alpha_T at
most. Labels may come in batches of any size and long after their decisions; they count
when they come, and when they come may not depend on what they will say.

The sequence speaks of the mean since the start. A loss that was low for a year hides a
bad month; `outcome_watch` is the detector of *changes*, with the budget of alarms a
quarter. This is the standing claim: "worse than validated, by so much at least".
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final, NamedTuple

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.empirical_bernstein import (
    LossSum,
    LowerSequence,
    SequenceState,
    upper_bound,
)

RISK_FORMAT: Final = "modelkeep.risk/1"


class RiskStep(NamedTuple):
    """What a batch did. `mean` is its own loss, None of an empty one."""

    state: SequenceState
    mean: float | None
    lower: float
    ceiling: float
    risen: bool


@dataclass(frozen=True, slots=True)
class RiskTracker:
    """`ceiling` is the upper bound and the tolerance, to 6 decimals, rounded up."""

    ceiling: float
    sequence: LowerSequence

    def __post_init__(self) -> None:
        if self.ceiling < 0:
            raise Invalid.field("ceiling", "is a loss")

    @classmethod
    def against(
        cls, baseline: LossSum, *, tolerance: float, alpha: float, share: float = 0.5
    ) -> RiskTracker:
        """Return the tracker whose false alarm is due with `alpha` at most.

        `share` of alpha is left to the baseline's bound.
        """
        if not (0 < alpha < 1 and 0 < share < 1 and tolerance >= 0):
            raise Invalid.field("alpha", "alpha and share lie between 0 and 1")
        ceiling = upper_bound(baseline, alpha * share) + tolerance
        return cls(round(ceiling + 5e-7, 6), LowerSequence(alpha * (1 - share)))

    def update(self, state: SequenceState, batch: LossSum) -> RiskStep:
        """Return what a batch of labels does; once risen, it stays so."""
        after = self.sequence.update(state, batch)
        return RiskStep(
            after, batch.mean, after.lower, self.ceiling, after.lower > self.ceiling
        )

    @property
    def digest(self) -> str:
        told = [RISK_FORMAT, self.ceiling, self.sequence.alpha, self.sequence.most]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]

    def to_json(self, state: SequenceState) -> bytes:
        """Return the state, for an event; 6 decimals are all it has."""
        told = {"format": RISK_FORMAT, "tracker": self.digest, **state._asdict()}
        return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()

    def from_json(self, data: bytes | str) -> SequenceState:
        """Raise Invalid for another tracker's state, Corrupt for none at all."""
        try:
            told = json.loads(data)
            if told.pop("format") != RISK_FORMAT:
                raise Corrupt(f"this is not {RISK_FORMAT}")
            if told.pop("tracker") != self.digest:
                raise Invalid.field("state", "belongs to another tracker")
            rows = int(told.pop("rows"))
            return SequenceState(rows, **{key: float(told[key]) for key in told})
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise Corrupt(f"this is no risk state: {problem!r}") from problem
