"""Reviews of a model, period by period: which findings are discoveries. Pure decisions.

Every group that a detector watches is one hypothesis a period, of each version in each
environment. They are tested one after another through a model's whole life at e-LOND's
levels, which hold under any dependence: between features, between periods that share a
baseline, between versions that share traffic. What a review found is never taken back:
later truth about a reviewed period is in the windows it restates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from modelkeep.decider import Command, Context, Decider, decider
from modelkeep.events.false_alarms import Rate, WatchKind
from modelkeep.events.findings import MAX_FINDINGS, Finding, FindingsReviewed
from modelkeep.events.monitoring import Name
from modelkeep.events.types import Count, Finite, Instant, Slug, Value
from modelkeep.stats.e_lond import ELond, ELondState

METHOD: Final = "e-lond/1"
HIGHEST: Final = 700.0
"""Nats: what is beyond is infinite to a float, and to any level."""


class Hypothesis(Value):
    """What is to be tested: see `Finding`."""

    monitor: WatchKind
    group: Name
    n: Count
    log_e: Finite


class ReviewFindings(Command):
    """A reaction's: a later period has begun. `hypotheses` are in a fixed order."""

    model: Slug
    version: Slug
    environment: Slug
    start: Instant
    end: Instant
    rate: Rate
    windows: Count
    baseline: Slug | None = None
    hypotheses: Annotated[tuple[Hypothesis, ...], Field(max_length=MAX_FINDINGS)] = ()


@dataclass(frozen=True)
class FindingsState:
    """How far e-LOND is, and until when each version in an environment was reviewed."""

    lond: ELondState = field(default_factory=ELondState)
    through: Mapping[tuple[str, str], datetime] = field(default_factory=dict)


def decide(
    command: ReviewFindings, state: FindingsState, _: Context
) -> Sequence[FindingsReviewed]:
    lane = command.version, command.environment
    if lane in state.through and command.start < state.through[lane]:
        return []
    rule, lond = ELond(command.rate), state.lond
    findings = []
    for one in command.hypotheses:
        lond, ruling = rule.test(lond, math.exp(min(one.log_e, HIGHEST)))
        findings.append(
            Finding(
                **dict(one),
                number=ruling.number,
                level=ruling.level,
                discovery=ruling.rejected,
            )
        )
    said = dict(command)
    del said["hypotheses"]
    return [FindingsReviewed(**said, findings=tuple(findings), method=METHOD)]


def evolve(state: FindingsState, event: FindingsReviewed) -> FindingsState:
    found = sum(one.discovery for one in event.findings)
    return FindingsState(
        ELondState(
            state.lond.tested + len(event.findings), state.lond.rejected + found
        ),
        {**state.through, (event.version, event.environment): event.end},
    )


FINDINGS: Final[Decider] = decider(FindingsState(), decide, evolve)
