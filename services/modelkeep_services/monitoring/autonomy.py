"""How far a model may decide alone: shadow, advise, confirm, act. Pure decisions, by
use.

A level is raised one step at a time on evidence that the service gathers, and lowered
at once by what happens. What is missing is named in the refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events.attention import (
    AutonomyEvidence,
    AutonomyLowered,
    AutonomyProposalRejected,
    AutonomyProposed,
    AutonomyRaised,
    Level,
)
from modelkeep.events.monitoring import Uuid
from modelkeep.events.types import Count, Share, Slug, Text, Tier, Value
from modelkeep_services.monitoring.documents import Rules, load

AutonomyEvent = (
    AutonomyProposed | AutonomyRaised | AutonomyLowered | AutonomyProposalRejected
)
Because = Literal["budget_slowed", "budget_exhausted", "override_drift"]

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
LOWEST: Final[Level] = LEVELS[0]
ANY_USE: Final = "any"


class LevelRules(Value):
    """What a level asks. Of the rate of overrides its upper 95 % bound counts."""

    least_decisions: Count
    least_dispositions: Count
    most_override_upper: Share
    least_budgets: Count


class AutonomyRules(Rules):
    window_days: Annotated[int, Field(ge=1, le=1_000)]
    levels: dict[Level, LevelRules]
    approval_tiers: frozenset[Tier]
    tier_when_unclassified: Tier
    ceilings: dict[Because, Level]


RULES, DOCUMENT = load("autonomy.v1.json", AutonomyRules)


def missing(
    to: Level, evidence: AutonomyEvidence, rules: AutonomyRules = RULES
) -> Iterator[str]:
    """Name everything that the level asks and the evidence does not show."""
    asks = rules.levels[to]
    if evidence.decisions < asks.least_decisions:
        yield f"{evidence.decisions:,} of {asks.least_decisions:,} decisions"
    if evidence.dispositions < asks.least_dispositions:
        yield (
            f"{evidence.dispositions:,} of {asks.least_dispositions:,} dispositions in "
            f"{rules.window_days} days"
        )
    upper = evidence.override_upper
    if upper is not None and upper > asks.most_override_upper:
        yield (
            f"overrides may be as many as {upper:.1%}, at most "
            f"{asks.most_override_upper:.1%} allowed"
        )
    if evidence.drift:
        yield "an alert on people's overrides is open"
    if evidence.budgets < asks.least_budgets:
        yield f"{evidence.budgets} of {asks.least_budgets} risk budgets defined"
    if evidence.strained:
        yield f"no budget left in {', '.join(evidence.strained)}"


def needs_approval(evidence: AutonomyEvidence, rules: AutonomyRules = RULES) -> bool:
    tier = evidence.tier or rules.tier_when_unclassified
    return tier in rules.approval_tiers


def rank(level: Level) -> int:
    return LEVELS.index(level)


# --- commands ----------------------------------------------------------------------


class ProposeAutonomy(Command):
    """`evidence` is added by the service, never by the caller."""

    model: Slug
    use: Slug = ANY_USE
    level: Level
    reason: Text
    evidence: AutonomyEvidence | None = None


class ApproveAutonomy(Command):
    """Of the open proposal. `evidence` as it is now, added by the service."""

    model: Slug
    use: Slug = ANY_USE
    proposal: Slug
    evidence: AutonomyEvidence | None = None


class RejectAutonomy(Command):
    model: Slug
    use: Slug = ANY_USE
    proposal: Slug
    reason: Text


class LowerAutonomy(Command):
    """A person's: at once, to any lower level."""

    model: Slug
    use: Slug = ANY_USE
    level: Level
    reason: Text


class LimitAutonomy(Command):
    """A reaction's: no use may stand above the ceiling of what happened."""

    model: Slug
    because: Because
    reason: Text
    source: Uuid


AutonomyCommand = (
    ProposeAutonomy | ApproveAutonomy | RejectAutonomy | LowerAutonomy | LimitAutonomy
)

# --- state -------------------------------------------------------------------------


@dataclass(frozen=True)
class UseState:
    """`proposed` is the proposal that waits for approval."""

    level: Level = LOWEST
    proposals: int = 0
    proposed: AutonomyProposed | None = None


@dataclass(frozen=True)
class AutonomyState:
    uses: Mapping[str, UseState] = field(default_factory=dict)

    def of(self, use: str) -> UseState:
        return self.uses.get(use, UseState())


# --- decide ------------------------------------------------------------------------


def decide(
    command: AutonomyCommand, state: AutonomyState, context: Context
) -> Sequence[AutonomyEvent]:
    match command:
        case ProposeAutonomy():
            return _propose(command, state.of(command.use), context)
        case ApproveAutonomy():
            return _approve(command, state.of(command.use), context)
        case RejectAutonomy():
            return _reject(command, state.of(command.use), context)
        case LowerAutonomy():
            return _lower(command, state.of(command.use), context)
        case LimitAutonomy():
            return list(_limit(command, state, context))


def _propose(
    command: ProposeAutonomy, at: UseState, context: Context
) -> Sequence[AutonomyEvent]:
    _people_only(context, command.model)
    evidence = _given(command.evidence, command.model)
    if rank(command.level) != rank(at.level) + 1:
        raise Refused(
            "monitoring.autonomy-one-step",
            f"{command.model} stands at {at.level}: it rises one level at a time, and "
            f"{command.level} is not the next",
            subject=command.model,
        )
    _suffices(command.model, command.level, evidence)
    waiting = at.proposed
    if waiting is not None and waiting.to_level == command.level:
        return []
    proposed = AutonomyProposed(
        model=command.model,
        use=command.use,
        proposal=f"{command.use[:80]}-{at.proposals + 1}",
        from_level=at.level,
        to_level=command.level,
        evidence=evidence,
        needs_approval=needs_approval(evidence),
        reason=command.reason,
        by=context.actor.person,
        document=DOCUMENT,
    )
    if proposed.needs_approval:
        return [proposed]
    return [proposed, _raised(proposed)]


def _raised(
    proposed: AutonomyProposed, context: Context | None = None
) -> AutonomyRaised:
    return AutonomyRaised(
        model=proposed.model,
        use=proposed.use,
        proposal=proposed.proposal,
        from_level=proposed.from_level,
        to_level=proposed.to_level,
        by=proposed.by,
        approved_by=None if context is None else context.actor.person,
    )


def _approve(
    command: ApproveAutonomy, at: UseState, context: Context
) -> Sequence[AutonomyEvent]:
    proposed = _waiting(command, at)
    _people_only(context, command.model)
    if context.actor.person == proposed.by:
        raise Refused(
            "monitoring.autonomy-four-eyes",
            f"{context.actor.subject} proposed it: somebody else approves",
            subject=command.model,
        )
    evidence = _given(command.evidence, command.model)
    _suffices(command.model, proposed.to_level, evidence)
    return [_raised(proposed, context)]


def _reject(
    command: RejectAutonomy, at: UseState, context: Context
) -> Sequence[AutonomyEvent]:
    _waiting(command, at)
    _people_only(context, command.model)
    return [AutonomyProposalRejected(**dict(command), by=context.actor.person)]


def _lower(
    command: LowerAutonomy, at: UseState, context: Context
) -> Sequence[AutonomyEvent]:
    _people_only(context, command.model)
    if rank(command.level) > rank(at.level):
        raise Refused(
            "monitoring.autonomy-lower",
            f"{command.model} stands at {at.level}, below {command.level}: propose it",
            subject=command.model,
        )
    if command.level == at.level:
        return []
    return [
        AutonomyLowered(
            model=command.model,
            use=command.use,
            from_level=at.level,
            to_level=command.level,
            because="person",
            reason=command.reason,
            by=context.actor.person,
        )
    ]


def _limit(
    command: LimitAutonomy, state: AutonomyState, context: Context
) -> Iterator[AutonomyLowered]:
    ceiling = RULES.ceilings[command.because]
    for use, at in sorted(state.uses.items()):
        if rank(at.level) > rank(ceiling):
            yield AutonomyLowered(
                model=command.model,
                use=use,
                from_level=at.level,
                to_level=ceiling,
                because=command.because,
                reason=command.reason,
                source=command.source,
                by=context.actor.person,
            )


def _suffices(model: str, to: Level, evidence: AutonomyEvidence) -> None:
    lacking = list(missing(to, evidence))
    if lacking:
        raise Refused(
            "monitoring.autonomy-evidence",
            f"{model} may not rise to {to}: {'; '.join(lacking)}",
            subject=model,
        )


def _given(evidence: AutonomyEvidence | None, model: str) -> AutonomyEvidence:
    if evidence is None:
        raise Refused(
            "monitoring.autonomy-evidence", "a level rises on evidence", subject=model
        )
    return evidence


def _waiting(
    command: ApproveAutonomy | RejectAutonomy, at: UseState
) -> AutonomyProposed:
    if at.proposed is None or at.proposed.proposal != command.proposal:
        raise NotFound("open proposal", f"{command.model}/{command.proposal}")
    return at.proposed


def _people_only(context: Context, subject: str) -> None:
    if not context.actor.human:
        raise Refused(
            "monitoring.people-judge",
            f"{context.actor.subject} is not a person",
            subject=subject,
        )


# --- evolve ------------------------------------------------------------------------


def evolve(state: AutonomyState, event: AutonomyEvent) -> AutonomyState:
    at = state.of(event.use)
    match event:
        case AutonomyProposed():
            now = replace(at, proposals=at.proposals + 1, proposed=event)
        case AutonomyRaised() | AutonomyLowered():
            now = replace(at, level=event.to_level, proposed=None)
        case AutonomyProposalRejected():
            now = replace(at, proposed=None)
    return AutonomyState({**state.uses, event.use: now})


AUTONOMY: Final = decider(AutonomyState(), decide, evolve)
