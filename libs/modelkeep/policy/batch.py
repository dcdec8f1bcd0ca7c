"""Many questions of one program: what each comes to, and no explanations.

A backtest asks the same rules of hundreds of thousands of stored facts, and explains
the few answers that differ. Questions of one plan that come out alike share a `Asked`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.approvals import Duty
from modelkeep.policy.decode import peeking
from modelkeep.policy.engine import Rejected
from modelkeep.policy.native import (
    TRUE,
    UNANSWERED,
    Answer,
    FlatAnswer,
    NoAnswer,
    Untranslated,
    conditional,
    write,
    write_flat,
)
from modelkeep.policy.program import Program
from modelkeep.policy.ruling import Owing, Plan, commands, denies, permitted, warns
from modelkeep.policy.verdict import Command, Outcome, RuleResult

SAID: Final = (Outcome.MISSING, Outcome.FALSE, Outcome.TRUE, Outcome.SKIPPED)
"""By the number of `native.py`. MISSING stands for empty and unusable too."""


Question: TypeAlias = tuple[str | None, int | None, str | None]
"""An action, a tier and an environment; None is not stated."""


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

    @cached_property
    def denied(self) -> bool:
        return bool(self.denying) or not self.complete or not self.covered


@dataclass
class Asking:
    """One plan, ready to be asked."""

    plan: Plan
    answer: Answer
    flat: FlatAnswer | None = None
    known: dict[tuple[int, ...], Asked] = field(default_factory=dict)

    def ask(self, given: Facts) -> Asked | None:
        """None where only the program itself can tell."""
        try:
            said = self.answer(given)
        except (ArithmeticError, NoAnswer):
            return None
        return self.known.get(said) or self._new(said)

    def ask_bytes(self, stored: bytes) -> tuple[Asked, int, str | None] | None:
        """The same of bytes, how many approvals are among them, and what the version's
        artifacts were found to be; None, too, for those that are not as facts are kept.
        """
        if self.flat is None:
            return None
        try:
            said, spoken, artifacts = self.flat(stored)
        except (ArithmeticError, NoAnswer):
            return None
        return self.known.get(said) or self._new(said), spoken, artifacts

    def _new(self, said: tuple[int, ...]) -> Asked:
        found = self.known[said] = _read(self.plan, said)
        return found


class Batch:
    """A program that is asked many times. Belongs to one thread."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._asking: dict[Question, Asking | None] = {}
        self._peek = peeking(program.built) if program.built is not None else None

    def asking_bytes(self, stored: bytes) -> Asking | None:
        """The plan of a question whose like was asked as a message before; None, too,
        where that takes reading all of it.
        """
        if self._peek is None:
            return None
        key = self._peek(stored)
        return None if key is None else self._asking.get(key)

    def asking(self, given: Facts) -> Asking | None:
        """The plan of a question; None when the bundle knows no such, or it cannot be
        written down.
        """
        tier, env = given.model.tier.value, given.env.value
        key = (
            given.action.value,
            tier if tier or given.model.HasField("tier") else None,
            env if env or given.HasField("env") else None,
        )
        try:
            return self._asking[key]
        except KeyError:
            found = self._asking[key] = self._made(given, env=key[2])
            return found

    def _made(self, given: Facts, env: str | None) -> Asking | None:
        # An environment without a name is no absent one.
        if env == "" or self.program.unknown(given) is not None:
            return None
        plan = self.program.plan((given.action.value, str(given.model.tier.value), env))
        bundle = self.program.bundle
        try:
            answer = write(bundle, plan)
        except (Rejected, Untranslated):
            return None
        flat = None
        if self.program.built is not None:
            with suppress(Untranslated):
                flat = write_flat(bundle, plan, self.program.built)
        return Asking(plan, answer, flat)


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
