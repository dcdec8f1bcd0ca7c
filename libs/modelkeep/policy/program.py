"""A bundle ready to decide: facts in, verdict out, and nothing else looked at.

Default deny: an action, tier or environment that the bundle does not name is denied.
Deny overrides: one rule that does not hold, is missing its evidence or fails is
enough. Then what is owed makes it PENDING, and only what is left is ALLOW.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from google.protobuf.message import Message

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import explain, facts
from modelkeep.policy.approvals import Count, Duty, Heard, Owed, count, duty
from modelkeep.policy.bundle import (
    ASSERTING,
    OWED,
    Bundle,
    Policy,
    Rule,
    Scalar,
    seconds,
)
from modelkeep.policy.decode import compiled, peeking
from modelkeep.policy.engine import ENGINE, Engine, Expression, Failed, Rejected
from modelkeep.policy.engine import Rule as Compiled
from modelkeep.policy.explain import Atom, Operand, Plain, View, plain
from modelkeep.policy.facts import DESCRIPTOR_DIGEST, Gap, Path
from modelkeep.policy.verdict import Command, Decision, Outcome, RuleResult, Verdict

if TYPE_CHECKING:
    from modelkeep.policy.quick import Quick


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


# Which facts are there varies little; whoever varies them is asked one by one.
MAX_TOGETHER = 32
SAID = {Outcome.TRUE, Outcome.FALSE}
Key = tuple[str, str, str | None]
Asked = tuple[str, int, str]
"""An action, a tier and an environment."""
NOT_TOLD: Final = ("", 0, "")
Answer = bool | None  # None: not asked yet
OFTEN: Final = 32
"""Questions to a plan before it is written as Python, which takes milliseconds."""
Head = tuple[str, int, str, str, str, str, str, str, bytes]
"""A verdict's fields from `action` to `facts`."""


class Program:
    """Safe to share between threads: a plan made twice is made the same."""

    def __init__(
        self,
        bundle: Bundle,
        known: Mapping[tuple[str, str], tuple[Half, ...]] | None = None,
        *,
        most_together: int = MAX_TOGETHER,
        flat: bool = True,
    ) -> None:
        """`known` are conditions compiled before; with `most_together` 0 each is asked
        alone, which is slower to ask and takes no compiling. Without `flat` protobuf
        reads all facts, whatever was built.
        """
        self.bundle = bundle
        self.document = bundle.document
        self.most_together = most_together
        self.halves = {
            key: known[key] if known and key in known else self.compiled(key)
            for key in bundle.rules
        }
        self.plans: dict[Key, Plan] = {}
        self.named = f"{bundle.name} {bundle.version}"
        # How often a question was asked; then what answers it.
        self._quick: dict[Asked, int | Quick | None] = {}
        self.built = compiled() if flat else None
        self._peek = peeking(self.built) if self.built is not None else None

    def compiled(self, key: tuple[str, str]) -> tuple[Half, ...]:
        least = next(
            (
                rule.min_items
                for policy in self.document.policies if policy.id == key[0]
                for rule in policy.rules if rule.id == key[1]
            ),
            {},
        )  # fmt: skip
        return tuple(self.half(one, least) for one in self.bundle.rules[key].both)

    def half(self, compiled: Compiled, least: Mapping[str, int]) -> Half:
        lists = tuple(
            (path, least.get(name, 1)) for name, path in compiled.lists.items()
        )
        atoms = explain.atoms(self.bundle.engine, compiled)
        source, paths = compiled.expression.source, tuple(compiled.paths.values())
        reads = frozenset([*compiled.paths, *compiled.lists])
        return Half(
            source, compiled.expression, paths, lists, compiled.params, atoms, reads
        )

    def evaluate(self, given: Facts) -> Verdict:
        """Answer the question that facts ask; raise Invalid for oversize facts."""
        return self._evaluate(facts.bounded(given))

    def evaluate_bytes(self, stored: bytes) -> Verdict:
        """The same of facts as they are kept; raise Invalid for what are no facts."""
        key, quick = self._peeked(stored)
        if quick is not None:
            # Only bytes that are as they are kept are answered so.
            verdict = quick.explain_bytes(stored, self.head(*key, stored))
            if verdict is not None:
                return verdict
        return self._evaluate(facts.from_bytes(stored))

    def decide(self, stored: bytes) -> Decision:
        """The decision alone, without a word why; raise Invalid as `evaluate_bytes`."""
        _, quick = self._peeked(stored)
        decision = quick.decide_bytes(stored) if quick is not None else None
        return self._decided(stored) if decision is None else decision

    def _peeked(self, stored: bytes) -> tuple[Asked, Quick | None]:
        """What is asked, and what answers bytes; None where a message is needed."""
        key = self._peek(stored) if self._peek is not None else None
        if key is None:
            return NOT_TOLD, None
        asked = cast("Asked", key)  # one with a gap in it has no quick answer
        found = self._quick.get(asked)
        return asked, None if isinstance(found, int) else found

    def head(self, action: str, tier: int, env: str, stored: bytes) -> Head:
        """What a verdict begins with."""
        return (
            action,
            tier,
            env,
            self.named,
            self.bundle.digest,
            DESCRIPTOR_DIGEST,
            ENGINE,
            facts.digest(stored),
            stored,
        )

    def _decided(self, stored: bytes) -> Decision:
        given = facts.from_bytes(stored)
        quick = self.quick(given)
        decision = quick.decide(given) if quick is not None else None
        return self._evaluate(given).decision if decision is None else decision

    def _evaluate(self, given: Facts) -> Verdict:
        stored = facts.stored_form(given)
        asked = given.action.value, given.model.tier.value, given.env.value
        head = self.head(*asked, stored)
        quick = self.quick(given)
        verdict = quick.explain(given, head) if quick is not None else None
        return self.reference(given, head) if verdict is None else verdict

    def reference(self, given: Facts, head: Head) -> Verdict:
        """Answer by asking the engine: what any other way must agree with."""
        refused = self.unknown(given)
        if refused is not None:
            path, sentence = refused
            missing = (path,) if path else ()
            return Verdict(Decision.DENY, *head, missing=missing, reasons=(sentence,))
        return decide(self.planned(given), given, head, self.bundle.engine)

    def quick(self, given: Facts) -> Quick | None:
        """Give the short way of a plan that is asked often, if it has one."""
        asked = (given.action.value, given.model.tier.value, given.env.value)
        if not all(asked):
            return None  # absent, or without a name
        found = self._quick.get(asked, 0)
        if not isinstance(found, int):
            return found
        if not self.most_together or self.unknown(given) is not None:
            return None
        if found < OFTEN:
            self._quick[asked] = found + 1
            return None
        made = self._quick[asked] = self._written(given)
        return made

    def _written(self, given: Facts) -> Quick | None:
        from modelkeep.policy.native import Untranslated  # noqa: PLC0415 - they need us
        from modelkeep.policy.quick import Quick  # noqa: PLC0415

        try:
            return Quick(self.bundle, self.planned(given), self.built)
        except (Rejected, Untranslated):
            return None

    def planned(self, given: Facts) -> Plan:
        """Give what applies to a question whose action, tier and env are known."""
        env = given.env.value if given.HasField("env") else None
        return self.plan((given.action.value, str(given.model.tier.value), env))

    def duties(self, given: Facts) -> tuple[Duty, ...]:
        """Say what people owe, whatever the rules say of it."""
        if self.unknown(given) is not None:
            return ()
        plan = self.planned(given)
        view = seen(plan, given, self.bundle.engine)
        owing = ((one.duty, one.told(view).outcome) for one in plan.owing)
        return tuple(duty for duty, said in owing if said is not Outcome.FALSE)

    def unknown(self, given: Facts) -> tuple[str, str] | None:  # noqa: PLR0911 - one answer for each unknown
        """Say what the bundle has no rules for: a missing path, and a sentence."""
        if not given.HasField("action"):
            return "action", "action is missing"
        action, name = given.action.value, self.bundle.name
        if action not in self.document.actions:
            return "", f"action {action!r} is not one that {name} knows"
        if not given.model.HasField("tier"):
            return "model.tier", "model.tier is missing"
        if str(given.model.tier.value) not in self.document.quorum:
            return "", f"tier {given.model.tier.value} is not one that {name} knows"
        if given.HasField("env"):
            if given.env.value not in self.document.environments:
                return "", f"env {given.env.value!r} is not one that {name} knows"
        elif any(p.match.env and action in p.match.action for p in self.policies()):
            return "env", "env is missing"
        return None

    def policies(self) -> tuple[Policy, ...]:
        return self.document.policies

    def plan(self, key: Key) -> Plan:
        plan = self.plans.get(key)
        if plan is None:
            plan = self.plans[key] = self.made(*key)
        return plan

    def made(self, action: str, tier: str, env: str | None) -> Plan:
        spec = self.document.actions[action]
        matching = [p for p in self.policies() if p.match.covers(action, tier, env)]
        applying = [p for p in matching if p.kind != "trigger" or p.id in spec.triggers]
        steps = tuple(
            Step(p, rule, self.halves[p.id, rule.id],
                 self.bundle.references(p.id, rule.id))
            for p in applying for rule in p.rules
        )  # fmt: skip
        quorum = self.bundle.quorum(int(tier))
        duties = tuple(
            Owing(
                duty(p.id, p.obligations, quorum),
                next(iter(self.halves.get((p.id, OWED), ())), None),
                self.bundle.references(p.id),
            )
            for p in applying if p.obligations is not None
        )  # fmt: skip
        halves = tuple(half for step in steps for half in step.halves)
        reading = (*halves, *(one.when for one in duties if one.when is not None))
        require = tuple(facts.path(text) for text in spec.require)
        paths = {path.text: path for half in reading for path in half.paths}
        paths |= {path.text: path for half in reading for path, _ in half.lists}
        names = {root for half in reading for root in half.roots()}
        used = sorted({name for half in reading for name in half.params})
        params = {name: self.document.params[name.removeprefix("params.")]
                  for name in used}  # fmt: skip
        matched = {policy.id for policy in applying}
        messages = {name: param.message(tier) for name, param in params.items()}
        return Plan(
            steps,
            duties,
            require,
            tuple(id_ for id_ in spec.all_of if id_ not in matched),
            tuple(paths.values()),
            tuple({pair: None for half in reading for pair in half.lists}),
            tuple(sorted(names)),
            messages,
            tuple(
                (name.removeprefix("params."), param.value(tier))
                for name, param in params.items()
            ),
            halves,
            {name: plain(message) for name, message in messages.items()},
            {},
            self.most_together,
        )


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
