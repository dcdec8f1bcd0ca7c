"""What a bundle answers to one question, with everything it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from modelkeep.policy.approvals import Heard, Owed
from modelkeep.policy.explain import Operand


class Decision(Enum):
    ALLOW = "ALLOW"
    DENY = "DENY"
    PENDING = "PENDING"


class Outcome(Enum):
    """What came of a rule. SKIPPED: its `when` does not hold, so it asks nothing."""

    TRUE = "TRUE"
    FALSE = "FALSE"
    MISSING = "MISSING"
    EMPTY = "EMPTY"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


class RuleResult(NamedTuple):
    """`denies` says whether this outcome alone forbids an ALLOW."""

    policy: str
    rule: str
    kind: str
    severity: str
    outcome: Outcome
    denies: bool
    operands: tuple[Operand, ...] = ()
    missing: tuple[str, ...] = ()
    message: str = ""
    detail: str = ""
    references: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.policy}/{self.rule}"

    def sentence(self) -> str:
        """Say what happened, for a person.

        >>> psi = Operand("evidence.psi_max", 0.15, "<", "params.psi_max", 0.1)
        >>> RuleResult(
        ...     "promote", "drift", "gate", "block", Outcome.FALSE, True, (psi,)
        ... ).sentence()
        'promote/drift does not hold: evidence.psi_max = 0.15, limit < params.psi_max = 0.1'
        """  # noqa: E501 - a sentence is as long as it is
        said = self.message or self.held()
        reasons = [*map(str, self.operands)]
        if self.outcome is Outcome.MISSING:
            reasons = [f"{', '.join(self.missing)} is missing"]
        elif self.detail:
            reasons = [self.detail, *reasons]
        return f"{self.id} {said}" + (f": {'; '.join(reasons)}" if reasons else "")

    def held(self) -> str:
        if self.outcome is Outcome.TRUE:
            return "forbids it" if self.kind == "forbid" else "holds"
        return "does not hold" if self.outcome is Outcome.FALSE else "cannot be told"

    def cited(self) -> str:
        """Say what happened, and which clauses that serves."""
        said = f" (serves {'; '.join(self.references)})" if self.references else ""
        return self.sentence() + said

    def as_dict(self) -> dict[str, object]:
        found: dict[str, object] = {
            "policy": self.policy,
            "rule": self.rule,
            "kind": self.kind,
            "severity": self.severity,
            "outcome": self.outcome.value,
            "denies": self.denies,
            "operands": [operand.as_dict() for operand in self.operands],
        }
        if self.missing:
            found["missing"] = list(self.missing)
        if self.detail:
            found["detail"] = self.detail
        if self.references:
            found["references"] = list(self.references)
        return found


@dataclass(frozen=True)
class Command:
    """What a trigger proposes. It is an action to be judged, never a permission."""

    policy: str
    rule: str
    command: str
    to: str = ""
    budget_max: int = 0
    budget_seconds: int = 0

    def as_dict(self) -> dict[str, object]:
        return {
            "policy": self.policy,
            "rule": self.rule,
            "command": self.command,
            "to": self.to,
            "budget_max": self.budget_max,
            "budget_seconds": self.budget_seconds,
        }


class Verdict(NamedTuple):
    """`facts` are the bytes as evaluated: enough to ask the same question for ever.

    `missing` holds every path that was needed and not there; `reasons` says, in
    sentences, why this is not an ALLOW, and is empty for one without warnings.
    """

    decision: Decision
    action: str
    tier: int
    env: str
    bundle: str
    bundle_digest: str
    descriptor_digest: str
    engine: str
    facts_digest: str
    facts: bytes
    rules: tuple[RuleResult, ...] = ()
    missing: tuple[str, ...] = ()
    obligations: tuple[Owed, ...] = ()
    approvals: tuple[Heard, ...] = ()
    commands: tuple[Command, ...] = ()
    escalations: tuple[str, ...] = ()
    params: tuple[tuple[str, bool | int | float | str], ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def blocking(self) -> tuple[str, ...]:
        """The rules that deny, as policy/rule."""
        return tuple(result.id for result in self.rules if result.denies)

    def as_dict(self) -> dict[str, object]:
        """Give plain JSON data for an event; the facts' bytes travel beside it."""
        return {
            "decision": self.decision.value,
            "action": self.action,
            "tier": self.tier,
            "env": self.env,
            "bundle": self.bundle,
            "bundle_digest": self.bundle_digest,
            "descriptor_digest": self.descriptor_digest,
            "engine": self.engine,
            "facts_digest": self.facts_digest,
            "rules": [result.as_dict() for result in self.rules],
            "missing": list(self.missing),
            "obligations": [owed.as_dict() for owed in self.obligations],
            "approvals": [heard.as_dict() for heard in self.approvals],
            "commands": [command.as_dict() for command in self.commands],
            "escalations": list(self.escalations),
            "params": dict(self.params),
            "reasons": list(self.reasons),
        }
