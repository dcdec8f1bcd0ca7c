"""A bundle ready to decide: facts in, verdict out, and nothing else looked at.

Default deny: an action, tier or environment that the bundle does not name is denied.
Deny overrides: one rule that does not hold, is missing its evidence or fails is
enough. Then what is owed makes it PENDING, and only what is left is ALLOW.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import explain, facts
from modelkeep.policy.approvals import Duty, duty
from modelkeep.policy.bundle import (
    OWED,
    Bundle,
    Policy,
)
from modelkeep.policy.decode import compiled, peeking
from modelkeep.policy.engine import ENGINE, Rejected
from modelkeep.policy.engine import Rule as Compiled
from modelkeep.policy.explain import plain
from modelkeep.policy.facts import DESCRIPTOR_DIGEST
from modelkeep.policy.ruling import Half, Head, Owing, Plan, Step, decide, seen
from modelkeep.policy.verdict import Decision, Outcome, Verdict

if TYPE_CHECKING:
    from modelkeep.policy.quick import Quick

# Which facts are there varies little; whoever varies them is asked one by one.
MAX_TOGETHER = 32
Key = tuple[str, str, str | None]
Asked = tuple[str, int, str]
"""An action, a tier and an environment."""
NOT_TOLD: Final = ("", 0, "")
OFTEN: Final = 32
"""Questions to a plan before it is written as Python, which takes milliseconds."""


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


@lru_cache(maxsize=64)
def program_of(bundle: Bundle) -> Program:
    """Give the program that evaluates facts by a bundle; the same one for a while."""
    return Program(bundle)
