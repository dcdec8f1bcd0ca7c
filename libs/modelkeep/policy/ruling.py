"""What a plan's rules say of some facts, one by one, and what follows from that.

Deny overrides: one rule that does not hold, is missing its evidence or fails is
enough. Then what is owed makes it PENDING, and only what is left is ALLOW.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.message import Message

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import facts
from modelkeep.policy.approvals import Count, Duty, Heard, Owed, count
from modelkeep.policy.bundle import (
    ASSERTING,
    Policy,
    Rule,
    Scalar,
    seconds,
)
from modelkeep.policy.engine import Engine, Expression, Failed, Rejected
from modelkeep.policy.explain import Atom, Operand, Plain, View
from modelkeep.policy.facts import Gap, Path
from modelkeep.policy.verdict import Command, Decision, Outcome, RuleResult, Verdict


@dataclass(frozen=True)
class Half:
    """One compiled condition, with all that is needed to run and explain it."""

    source: str
    expression: Expression
    paths: tuple[Path, ...]
    lists: tuple[tuple[Path, int], ...]
    params: frozenset[str]
    atoms: tuple[Atom, ...]
    reads: frozenset[str]  # the texts of its paths and lists

    def roots(self) -> Iterator[str]:
        for path in (*self.paths, *(path for path, _ in self.lists)):
            yield path.hops[0].field


class Step(NamedTuple):
    """One rule as it is run: its `when`, then its `assert`, or one of them alone."""

    policy: Policy
    rule: Rule
    halves: tuple[Half, ...]
    references: tuple[str, ...]


class Told(NamedTuple):
    """What came of one condition."""

    outcome: Outcome
    missing: tuple[str, ...] = ()
    detail: str = ""


class Owing(NamedTuple):
    """One policy's obligations, and when they are owed: always without a condition."""

    duty: Duty
    when: Half | None
    references: tuple[str, ...] = ()

    def told(self, view: View) -> Told:
        return Told(Outcome.TRUE) if self.when is None else told(self.when, view, None)


@dataclass(frozen=True)
class Plan:
    """Everything that applies to one action in one tier and environment."""

    steps: tuple[Step, ...]
    owing: tuple[Owing, ...]
    require: tuple[Path, ...]
    unmatched: tuple[str, ...]
    paths: tuple[Path, ...]
    lists: tuple[tuple[Path, int], ...]
    roots: tuple[str, ...]
    params: Mapping[str, Message]
    stated: tuple[tuple[str, Scalar], ...]
    halves: tuple[Half, ...]
    limits: Mapping[str, Plain]
    # By which halves have their facts: one expression that asks all of these.
    together: dict[tuple[int, ...], Expression | None]
    most_together: int

    @property
    def duties(self) -> tuple[Duty, ...]:
        """All that people may owe, whether or not it is owed here."""
        return tuple(one.duty for one in self.owing)


SAID = {Outcome.TRUE, Outcome.FALSE}
Answer = bool | None  # None: not asked yet
Head = tuple[str, int, str, str, str, str, str, str, bytes]
"""A verdict's fields from `action` to `facts`."""


def seen(plan: Plan, given: Facts, engine: Engine) -> View:
    values = {path.text: path.read(given) for path in plan.paths}
    return View(values, plan.limits, engine.bind(given, plan.roots, plan.params))


def decide(plan: Plan, given: Facts, head: Head, engine: Engine) -> Verdict:
    view = seen(plan, given, engine)
    results = tuple(permitted(list(run(plan, view, engine))))
    owing = [(one.duty, one.told(view)) for one in plan.owing]
    counts = [count(d, given) for d, said in owing if said.outcome is Outcome.TRUE]
    untold = [(d, said) for d, said in owing if said.outcome not in SAID]
    needed = [path.text for path in plan.require if not stated(path.read(given))]
    return concluded(plan, head, results, noted(plan, results), needed, counts, untold)


class Noted(NamedTuple):
    """Of a plan's rules, by number: who denies, warns or escalates; and what some
    propose.
    """

    denying: tuple[int, ...]
    warning: tuple[int, ...]
    escalating: tuple[int, ...]
    commands: tuple[Command, ...]


def noted(plan: Plan, results: Sequence[RuleResult]) -> Noted:
    """What follows from outcomes alone."""
    numbered = [*enumerate(results)]
    return Noted(
        tuple([n for n, one in numbered if one.denies]),
        tuple([n for n, one in numbered if warns(one)]),
        tuple([n for n, one in numbered if escalates(one)]),
        tuple(commands(plan, results)),
    )


def concluded(
    plan: Plan,
    head: Head,
    results: tuple[RuleResult, ...],
    noted: Noted,
    needed: list[str],
    counts: list[Count],
    untold: list[tuple[Duty, Told]],
) -> Verdict:
    """Put together what rules and people said."""
    denying = [results[n] for n in noted.denying]
    reasons = denials(plan, denying, counts, needed)
    absent = [*needed, *[path for r in denying for path in r.missing]]
    for unsure, told in untold:
        reasons.append(unclear(unsure.policy, told))
        absent += told.missing
    owed: tuple[Owed, ...] = ()
    said: tuple[Heard, ...] = ()
    for one in counts:
        owed += one.owed
        said += one.heard + one.rejected
        absent += one.missing
    decision = Decision.PENDING if owed else Decision.ALLOW
    if reasons:
        decision = Decision.DENY
    reasons += [one.sentence() for one in owed]
    reasons += [f"warning: {results[n].sentence()}" for n in noted.warning]
    escalations = [results[n].sentence() for n in noted.escalating]
    found = (
        results, tuple(dict.fromkeys(absent)), owed, said, noted.commands,
        tuple(escalations), plan.stated, tuple(reasons),
    )  # fmt: skip
    return Verdict._make((decision, *head, *found))


def run(plan: Plan, view: View, engine: Engine) -> Iterator[RuleResult]:
    answers = iter(asked(plan, view, engine))
    for step in plan.steps:
        yield result(step, view, [next(answers) for _ in step.halves])


def asked(plan: Plan, view: View, engine: Engine) -> list[Answer]:
    """Ask every condition whose facts are there, all of them in one call.

    A call costs more than a comparison. One that fails says nothing of the others:
    then each is asked alone.
    """
    unfit = {text for text, value in view.values.items() if facts.gap(value)}
    unfit |= {p.text for p, least in plan.lists if short(view.values[p.text], least)}
    fit = [n for n, half in enumerate(plan.halves) if unfit.isdisjoint(half.reads)]
    together = at_once(plan, tuple(fit), engine)
    found = together.hold(view.bound) if together is not None else None
    answers: list[Answer] = [None] * len(plan.halves)
    for n, answer in zip(fit, found or (), strict=False):
        answers[n] = answer
    return answers


def at_once(plan: Plan, fit: tuple[int, ...], engine: Engine) -> Expression | None:
    """Make one list of the conditions; None when it cannot be made, or too often."""
    if fit in plan.together:
        return plan.together[fit]
    if not fit or len(plan.together) >= plan.most_together:
        return None
    listed = ",".join(f"({plan.halves[n].source}\n)" for n in fit)
    try:
        made = engine.compile(f"[{listed}]")
    except Rejected:  # too long for one expression
        made = None
    plan.together[fit] = made
    return made


def fits(half: Half, view: View) -> bool:
    """Whether all that a condition reads is there."""
    return not any(facts.gap(view.values[text]) for text in half.reads) and not any(
        short(view.values[path.text], least) for path, least in half.lists
    )


def short(value: facts.Value, least: int) -> bool:
    """Whether a list, or any of several, has fewer items than it must."""
    if not isinstance(value, list):
        return False
    if value and isinstance(value[0], list):
        return any(short(inner, least) for inner in value)
    return len(value) < least


def stated(value: facts.Value) -> bool:
    return facts.gap(value) is None and value != []


def result(step: Step, view: View, answers: list[Answer]) -> RuleResult:
    policy, rule = step.policy, step.rule
    last, half = Told(Outcome.TRUE), step.halves[0]
    for half, answer in zip(step.halves, answers, strict=True):
        last = told(half, view, answer)
        if last.outcome is not Outcome.TRUE:
            break
    skipped = half is not step.halves[-1] and last.outcome is Outcome.FALSE
    outcome = Outcome.SKIPPED if skipped else last.outcome
    return RuleResult(
        policy.id,
        rule.id,
        policy.kind,
        rule.severity,
        outcome,
        denies(policy, rule, outcome),
        operands(half, view, last.outcome),
        last.missing,
        rule.message or "",
        last.detail,
        step.references,
    )


def told(half: Half, view: View, answer: Answer) -> Told:
    if answer is not None:
        return Told(Outcome.TRUE if answer else Outcome.FALSE)
    gaps = {text: facts.gap(view.values[text]) for text in sorted(half.reads)}
    if missing := tuple(t for t, found in gaps.items() if found is Gap.MISSING):
        return Told(Outcome.MISSING, missing)
    if bad := [text for text, found in gaps.items() if found is not None]:
        return Told(Outcome.ERROR, detail=f"{', '.join(bad)} is not a usable value")
    for path, least in half.lists:
        if short(view.values[path.text], least):
            said = f"{path.text} has fewer than {least} items"
            return Told(Outcome.EMPTY, (path.text,), said)
    holds = half.expression.holds(view.bound)
    if isinstance(holds, Failed):
        return Told(Outcome.ERROR, detail=holds.message)
    return Told(Outcome.TRUE if holds else Outcome.FALSE)


def denies(policy: Policy, rule: Rule, outcome: Outcome) -> bool:
    if policy.kind in ASSERTING:
        fine = outcome is Outcome.TRUE or outcome is Outcome.SKIPPED
        return not fine and rule.severity == "block"
    if policy.kind == "trigger":
        return outcome not in {Outcome.TRUE, Outcome.FALSE}
    if policy.kind == "forbid":
        return outcome is not Outcome.FALSE
    return outcome is not Outcome.TRUE  # until a neighbour permits: see `permitted`


def permitted(results: list[RuleResult]) -> Iterator[RuleResult]:
    """Let one rule that permits speak for all of its policy."""
    granted = {
        r.policy for r in results if r.kind == "permit" and r.outcome is Outcome.TRUE
    }
    for one in results:
        spoken = one.kind == "permit" and one.policy in granted
        yield one._replace(denies=False) if spoken and one.denies else one


def operands(half: Half, view: View, outcome: Outcome) -> tuple[Operand, ...]:
    holds = outcome is Outcome.TRUE
    if not holds and outcome is not Outcome.FALSE:
        return ()
    return tuple(atom.operand(view, holds=holds) for atom in half.atoms)


def denials(
    plan: Plan,
    denying: Sequence[RuleResult],
    counts: list[Count],
    needed: list[str],
) -> list[str]:
    said = [f"{text} is missing" for text in needed]
    said += [f"policy {id_} does not cover this" for id_ in plan.unmatched]
    said += [r.sentence() for r in denying]
    for one in counts:
        said += [f"{path} is missing" for path in one.missing if path not in needed]
        said += [f"{no.role} {no.subject} rejected it" for no in one.rejected]
    return said


def unclear(policy: str, said: Told) -> str:
    why = f"{', '.join(said.missing)} is missing" if said.missing else said.detail
    return f"{policy}: whether approval is owed cannot be told: {why}"


def warns(result: RuleResult) -> bool:
    said = result.outcome
    fine = said is Outcome.TRUE or said is Outcome.SKIPPED
    return result.severity == "warn" and not fine


def escalates(result: RuleResult) -> bool:
    return result.kind == "trigger" and result.denies


def commands(plan: Plan, results: Sequence[RuleResult]) -> Iterator[Command]:
    for step, one in zip(plan.steps, results, strict=True):
        then = step.policy.then
        if then is None or one.outcome is not Outcome.TRUE:
            continue
        most = then.budget.max if then.budget else 0
        per = seconds(then.budget.per) if then.budget else 0
        yield Command(one.policy, one.rule, then.command, then.to or "", most, per)
