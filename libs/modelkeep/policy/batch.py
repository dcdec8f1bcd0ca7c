"""Many questions of one program: what each comes to, and no explanations.

A backtest asks the same rules of hundreds of thousands of stored facts, and explains
the few answers that differ. Questions of one plan that come out alike share a `Asked`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.approvals import Duty
from modelkeep.policy.engine import Rejected
from modelkeep.policy.native import (
    TRUE,
    UNANSWERED,
    Answer,
    NoAnswer,
    Untranslated,
    conditional,
    write,
)
from modelkeep.policy.program import (
    Owing,
    Plan,
    Program,
    commands,
    denies,
    permitted,
    warns,
)
from modelkeep.policy.verdict import Command, Outcome, RuleResult

SAID: Final = (Outcome.MISSING, Outcome.FALSE, Outcome.TRUE, Outcome.SKIPPED)
"""By the number of `native.py`. MISSING stands for empty and unusable too."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What every rule of a plan said, and what follows from it but for people.

    `lacks` are the plan's steps without an answer, `owed` the duties that people have.
    `complete` is false where what the action requires, what tells whether a duty is
    owed, or what its seats are counted by, is not all there; `untold` are such duties.
    """

    outcomes: tuple[Outcome, ...]
    rules: tuple[str, ...]
    denying: frozenset[str]
    lacks: tuple[int, ...]
    complete: bool
    covered: bool
    commands: tuple[Command, ...]
    escalating: frozenset[str]
    warning: frozenset[str]
    owed: tuple[Duty, ...]
    untold: tuple[Owing, ...]

    @cached_property
    def seats(self) -> int:
        return sum(seat.min for duty in self.owed for seat in duty.seats)

    @property
    def denied(self) -> bool:
        return bool(self.denying) or not self.complete or not self.covered


@dataclass
class Asking:
    """One plan, ready to be asked."""

    plan: Plan
    answer: Answer
    known: dict[tuple[int, ...], Asked] = field(default_factory=dict)

    def ask(self, given: Facts) -> Asked | None:
        """None where only the program itself can tell."""
        try:
            said = self.answer(given)
        except (ArithmeticError, NoAnswer):
            return None
        found = self.known.get(said)
        if found is None:
            found = self.known[said] = _read(self.plan, said)
        return found


class Batch:
    """A program that is asked many times. Belongs to one thread."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._asking: dict[tuple[str, int, str], Asking | None] = {}

    def asking(self, given: Facts) -> Asking | None:
        """The plan of a question; None when the bundle knows no such, or it cannot be
        written down.
        """
        env = given.env.value
        key = (given.action.value, given.model.tier.value, env)
        try:
            found = self._asking[key]
        except KeyError:
            found = self._asking[key] = self._made(given)
        if env or found is None or not given.HasField("env"):
            return found
        return None  # an environment without a name is no absent one

    def _made(self, given: Facts) -> Asking | None:
        if self.program.unknown(given) is not None:
            return None
        env = given.env.value if given.HasField("env") else None
        plan = self.program.plan((given.action.value, str(given.model.tier.value), env))
        try:
            return Asking(plan, write(self.program.bundle, plan))
        except (Rejected, Untranslated):
            return None


def _read(plan: Plan, said: tuple[int, ...]) -> Asked:
    of_rules, of_duties = said[1 : len(plan.steps) + 1], said[len(plan.steps) + 1 :]
    results = [
        RuleResult(
            step.policy.id,
            step.rule.id,
            step.policy.kind,
            step.rule.severity,
            SAID[one],
            denies(step.policy, step.rule, SAID[one]),
        )
        for step, one in zip(plan.steps, of_rules, strict=True)
    ]
    told = list(zip(conditional(plan), of_duties, strict=True))
    spared = {one.duty.policy for one, number in told if number != TRUE}
    untold = tuple(one for one, number in told if number == UNANSWERED)
    settled = tuple(permitted(results))
    return Asked(
        tuple(one.outcome for one in settled),
        tuple(one.id for one in settled),
        frozenset(one.id for one in settled if one.denies),
        tuple(n for n, one in enumerate(of_rules) if one == UNANSWERED),
        complete=said[0] == TRUE and not untold,
        covered=not plan.unmatched,
        commands=tuple(commands(plan, settled)),
        escalating=frozenset(
            one.id for one in settled if one.kind == "trigger" and one.denies
        ),
        warning=frozenset(one.id for one in settled if warns(one)),
        owed=tuple(
            one.duty
            for one in plan.owing
            if one.duty.seats and one.duty.policy not in spared
        ),
        untold=untold,
    )
