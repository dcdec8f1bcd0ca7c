"""A bundle broken on purpose, one small way at a time: tests worth having notice.

A mutant that no embedded test tells from the bundle is a survivor: somebody could make
that very mistake and every test would still pass. Not tried are a trigger's budget and
destination and an action's permit, which no embedded test sees, and `all_of`, which
guards against mistakes that are tried: a match that grew too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple, cast

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import facts, tree
from modelkeep.policy.bundle import (
    OWED,
    Action,
    Bundle,
    Conditions,
    Document,
    Match,
    Obligations,
    Parameter,
    Policy,
    Rule,
    Scalar,
    Seats,
    Test,
    Tier,
    seconds,
)
from modelkeep.policy.check import changed, disagreements
from modelkeep.policy.engine import Rejected
from modelkeep.policy.engine import Rule as Compiled
from modelkeep.policy.program import Program, program_of
from modelkeep.policy.ruling import Half
from modelkeep.policy.tree import Call, Const, Field, Items, Macro, Name, Node

NUMBERS = {"int", "double"}
AT_ITS_EDGE = {"_<_": "_<=_", "_<=_": "_<_", "_>_": "_>=_", "_>=_": "_>_"}
OPPOSITE = {
    "_<_": "_>=_",
    "_<=_": "_>_",
    "_>_": "_<=_",
    "_>=_": "_<_",
    "_==_": "_!=_",
    "_!=_": "_==_",
}
JOINED = {"_&&_": "_||_", "_||_": "_&&_"}
OTHERWISE = {"_+_": "_-_", "_-_": "_+_"}
WALKED = {"all": "exists", "exists": "all"}
NOTHING = "DoNothing"


@dataclass(frozen=True)
class Mutant:
    """`actions` are those whose verdicts the change can bear on."""

    place: str
    change: str
    document: Document
    actions: frozenset[str]

    def __str__(self) -> str:
        return f"{self.place}: {self.change}"


class Score(NamedTuple):
    """How many mutants were tried, and those that no test noticed."""

    tried: int
    survivors: tuple[Mutant, ...]

    @property
    def killed(self) -> float:
        """The share that some test noticed, 0 to 1; 1 when none was tried."""
        return 1 - len(self.survivors) / self.tried if self.tried else 1.0


def score(
    bundle: Bundle,
    *,
    every: int = 1,
    first: int = 0,
    tell: Callable[[int, int], None] = lambda _, __: None,
) -> Score:
    """Try every mutant, or every n-th from a first one on, against the embedded tests.

    `tell` is told how many are done of how many. Seconds for a short bundle, a minute
    for a long one.
    """
    chosen = list(islice(mutants(bundle), first, None, every))
    court, tried = Court(bundle), 0
    survivors: list[Mutant] = []
    for done, mutant in enumerate(chosen, 1):
        noticed = court.notices(mutant)
        if noticed is not None:
            tried += 1
            survivors += [] if noticed else [mutant]
        tell(done, len(chosen))
    return Score(tried, tuple(survivors))


class Court:
    """The embedded tests, read once, before which mutants are brought."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.halves = program_of(bundle).halves
        self.tests: dict[str, list[tuple[Test, Facts]]] = {}
        for test in bundle.document.tests:
            fixture = bundle.document.fixtures[test.facts]
            given = facts.from_document(changed(fixture, test.set, test.unset))
            self.tests.setdefault(given.action.value, []).append((test, given))

    def notices(self, mutant: Mutant) -> bool | None:
        """Say whether a test tells a mutant from the bundle; None: it is no bundle."""
        try:
            program = self.program(mutant.document)
        except Rejected:
            return None
        return any(
            True
            for action in sorted(mutant.actions)
            for test, given in self.tests.get(action, ())
            for _ in disagreements(test, program.evaluate(given))
        )

    def program(self, document: Document) -> Program:
        """Compile what a mutant changed, and no more."""
        before = {policy.id: policy for policy in self.bundle.document.policies}
        rules = dict(self.bundle.rules)
        known: dict[tuple[str, str], tuple[Half, ...]] = dict(self.halves)
        for policy in document.policies:
            if policy is before.get(policy.id):
                continue
            for key in [key for key in rules if key[0] == policy.id]:
                del rules[key], known[key]
            for key, when, asserts in texts(policy):
                rules[key] = Conditions(self.compiled(when), self.compiled(asserts))
        made = replace(self.bundle, document=document, rules=rules)
        return Program(made, known, most_together=0)

    def compiled(self, text: str | None) -> Compiled | None:
        return self.bundle.engine.rule(text) if text is not None else None


def texts(policy: Policy) -> Iterator[tuple[tuple[str, str], str | None, str | None]]:
    for rule in policy.rules:
        yield (policy.id, rule.id), rule.when, rule.assertion
    if policy.obligations is not None and policy.obligations.when is not None:
        yield (policy.id, OWED), policy.obligations.when, None


def mutants(bundle: Bundle) -> Iterator[Mutant]:
    """Every small mistake that somebody could make in a bundle, in its order."""
    document = bundle.document
    for number, policy in enumerate(document.policies):
        for place, change, instead in of_policy(bundle, policy):
            policies = list(document.policies)
            policies[number : number + 1] = [instead] if instead is not None else []
            touched = {*policy.match.action, *(instead.match.action if instead else ())}
            yield Mutant(
                place,
                change,
                document.model_copy(update={"policies": tuple(policies)}),
                frozenset(touched),
            )
    yield from of_params(bundle)
    yield from of_quorum(document)
    yield from of_actions(document)


# --- policies ----------------------------------------------------------------------

Change = tuple[str, str, Policy | None]


def of_policy(bundle: Bundle, policy: Policy) -> Iterator[Change]:
    for number, rule in enumerate(policy.rules):
        place = f"{policy.id}/{rule.id}"
        for change, instead in of_rule(bundle, policy, rule):
            rules = list(policy.rules)
            rules[number : number + 1] = [instead] if instead is not None else []
            yield place, change, policy.model_copy(update={"rules": tuple(rules)})
    for change, match in of_match(bundle.document, policy.match):
        if policy.kind == "trigger" and set(match.action) - set(policy.match.action):
            continue  # an action names its triggers: a wider match pulls none
        yield policy.id, change, policy.model_copy(update={"match": match})
    if policy.obligations is not None:
        for change, owed in of_obligations(bundle, policy, policy.obligations):
            yield policy.id, change, policy.model_copy(update={"obligations": owed})
    if policy.then is not None:
        then = policy.then.model_copy(update={"command": NOTHING})
        yield policy.id, f"then {NOTHING}", policy.model_copy(update={"then": then})


def of_rule(
    bundle: Bundle, policy: Policy, rule: Rule
) -> Iterator[tuple[str, Rule | None]]:
    yield "dropped", None
    if rule.severity == "block" and policy.kind == "gate":
        yield "only warns", rule.model_copy(update={"severity": "warn"})
    if rule.severity == "warn":
        yield "blocks", rule.model_copy(update={"severity": "block"})
    conditions = bundle.rules[policy.id, rule.id]
    if rule.when is not None and rule.assertion is not None:
        yield "whatever `when` says", rule.model_copy(update={"when": None})
    for name, half in (("when", conditions.when), ("assertion", conditions.assertion)):
        if half is not None:
            for text in rewritten(bundle, half):
                yield f"`{text}`", rule.model_copy(update={name: text})
    lists = {name for half in conditions.both for name in half.lists}
    for name in sorted(lists):
        least = rule.min_items.get(name, 1)
        # An empty list permits nobody, unless all of nothing are asked for.
        lower = policy.kind != "permit" or any(map(walks_all, conditions.both))
        for other in {max(0, least - 1) if lower else least, least + 1} - {least}:
            asked = {**rule.min_items, name: other}
            yield (
                f"min_items {name}: {other}",
                rule.model_copy(update={"min_items": asked}),
            )


def walks_all(half: Compiled) -> bool:
    found = tree.nodes(half.checked.root)
    return any(isinstance(node, Macro) and node.kind == "all" for node in found)


def of_match(document: Document, match: Match) -> Iterator[tuple[str, Match]]:
    tiers = tuple(int(tier) for tier in document.quorum)
    everything: Mapping[str, tuple[Sequence[object], Sequence[object]]] = {
        "action": (match.action, tuple(document.actions)),
        "tier": (match.tier, tiers),
        "env": (match.env, document.environments),
    }
    for name, (given, possible) in everything.items():
        for one in given:
            fewer = tuple(other for other in given if other != one)
            if fewer or name != "action":
                said = f"{name} {list(fewer) or 'any'}"
                yield said, match.model_copy(update={name: fewer})
        others = [one for one in possible if one not in given] if given else []
        # One action more is mistake enough; the others would be the same one.
        for one in others[:1] if name == "action" else others:
            more = (*given, one)
            yield f"{name} {list(more)}", match.model_copy(update={name: more})
        if not given:
            for one in possible:
                fewer = tuple(other for other in possible if other != one)
                if fewer:
                    yield (
                        f"{name} {list(fewer)}",
                        match.model_copy(update={name: fewer}),
                    )


def of_obligations(
    bundle: Bundle, policy: Policy, owed: Obligations
) -> Iterator[tuple[str, Obligations | None]]:
    if policy.rules:
        yield "nothing is owed", None
    if owed.approvals != "by_tier" and not isinstance(owed.approvals, str):
        for change, seats in of_seats(bundle.document, owed.approvals):
            yield change, owed.model_copy(update={"approvals": seats})
    age = seconds(owed.max_age)
    for other in (age - 1, age + 1):
        yield f"max_age {other}s", owed.model_copy(update={"max_age": f"{other}s"})
    for one in owed.excluding:
        fewer = tuple(other for other in owed.excluding if other != one)
        yield f"{one} may approve", owed.model_copy(update={"excluding": fewer})
    if owed.when is None:
        return
    yield "owed always", owed.model_copy(update={"when": None})
    half = bundle.rules[policy.id, OWED].when
    for text in rewritten(bundle, half) if half is not None else ():
        yield f"owed when `{text}`", owed.model_copy(update={"when": text})


def of_seats(
    document: Document, seats: Sequence[Seats]
) -> Iterator[tuple[str, tuple[Seats, ...]]]:
    roles = sorted({one.role for of in document.quorum.values() for one in of})
    for number, seat in enumerate(seats):
        before, after = tuple(seats[:number]), tuple(seats[number + 1 :])
        yield f"no {seat.role}", (*before, *after)
        more = seat.model_copy(update={"min": seat.min + 1})
        yield f"{more.min} {seat.role}", (*before, more, *after)
        if seat.min > 1:
            less = seat.model_copy(update={"min": seat.min - 1})
            yield f"{less.min} {seat.role}", (*before, less, *after)
        for role in [role for role in roles if role != seat.role][:1]:
            other = seat.model_copy(update={"role": role})
            yield f"{role} for {seat.role}", (*before, other, *after)


# --- what surrounds them -----------------------------------------------------------


def of_params(bundle: Bundle) -> Iterator[Mutant]:
    document = bundle.document
    for name, param in document.params.items():
        readers = [
            policy
            for policy in document.policies
            for _, when, asserts in texts(policy)
            if reads(bundle, policy, name) and (when or asserts)
        ]
        actions = frozenset(a for policy in readers for a in policy.match.action)
        read = {
            tier for tier in document.quorum if any(covers(p, tier) for p in readers)
        }
        for change, instead in of_param(param, read):
            params = {**document.params, name: instead}
            whole = document.model_copy(update={"params": params})
            yield Mutant(f"params.{name}", change, whole, actions)


def reads(bundle: Bundle, policy: Policy, name: str) -> bool:
    return any(
        f"params.{name}" in half.params
        for key, _, __ in texts(policy)
        for half in bundle.rules[key].both
    )


def covers(policy: Policy, tier: str) -> bool:
    return not policy.match.tier or int(tier) in policy.match.tier


def of_param(param: Parameter, read: set[Tier]) -> Iterator[tuple[str, Parameter]]:
    """Values that no rule can read are no mutants: nothing could tell them apart."""
    for tier in sorted(read & param.tier.keys()):
        fewer = {t: value for t, value in param.tier.items() if t != tier}
        yield f"tier {tier} as the others", param.model_copy(update={"tier": fewer})
        for value in beside(param.type, param.tier[tier]):
            tiers = {**param.tier, tier: value}
            yield f"tier {tier} {value}", param.model_copy(update={"tier": tiers})
    if read - param.tier.keys():
        for value in beside(param.type, param.default):
            yield f"default {value}", param.model_copy(update={"default": value})


def beside(kind: str, value: Scalar) -> Iterator[Scalar]:
    """Give the values next to one: an ulp, a unit or a second away."""
    if kind == "bool":
        yield not value
    elif kind == "int":
        yield from (cast("int", value) - 1, cast("int", value) + 1)
    elif kind == "double":
        for end in (-math.inf, math.inf):
            yield math.nextafter(float(value), end)
    elif kind == "duration":
        for step in (-1, 1):
            yield f"{seconds(str(value)) + step}s"


def of_quorum(document: Document) -> Iterator[Mutant]:
    actions = frozenset(document.actions)
    for tier, seats in document.quorum.items():
        instead = [*of_seats(document, seats)]
        if not seats:
            instead.append(("one more", (Seats(role="risk_officer"),)))
        for change, other in instead:
            quorum = {**document.quorum, tier: other}
            whole = document.model_copy(update={"quorum": quorum})
            yield Mutant(f"quorum.{tier}", change, whole, actions)


def of_actions(document: Document) -> Iterator[Mutant]:
    for name, action in document.actions.items():
        for field in ("require", "triggers"):
            given: tuple[str, ...] = getattr(action, field)
            for one in given:
                fewer = tuple(other for other in given if other != one)
                instead: Action = action.model_copy(update={field: fewer})
                actions = {**document.actions, name: instead}
                whole = document.model_copy(update={"actions": actions})
                place = f"actions.{name}"
                yield Mutant(place, f"{one} out of {field}", whole, frozenset([name]))


# --- expressions -------------------------------------------------------------------


def rewritten(bundle: Bundle, half: Compiled) -> Iterator[str]:
    """Write an expression in every way that differs from it in one place."""
    root = half.checked.root
    params = {name: param.type for name, param in bundle.document.params.items()}
    seen = {tree.written(root)}
    for node in (*differing(root, half.checked, params), opposite(root)):
        text = tree.written(node)
        if text not in seen:
            seen.add(text)
            yield text


def differing(
    node: Node, checked: tree.Checked, params: Mapping[str, str]
) -> Iterator[Node]:
    yield from otherwise(node, checked, params)
    match node:
        case Call(args=args):
            for number, arg in enumerate(args):
                for other in differing(arg, checked, params):
                    inside = (*args[:number], other, *args[number + 1 :])
                    yield replace(node, args=inside)
        case Macro(body=body):
            for other in differing(body, checked, params):
                yield replace(node, body=other)
        case Field() | Items() | Const() | Name():
            pass


def otherwise(
    node: Node, checked: tree.Checked, params: Mapping[str, str]
) -> Iterator[Node]:
    """Give what could stand in the place of one node by mistake."""
    match node:
        case Call():
            yield from called(node, checked)
        case Const(value=value):
            kind = type(value).__name__
            for other in beside({"float": "double"}.get(kind, kind), value):
                yield replace(node, value=other)
        case Items(items=items):
            for number in range(len(items)):
                yield replace(node, items=(*items[:number], *items[number + 1 :]))
        case Macro(kind=kind) if kind in WALKED:
            yield replace(node, kind=WALKED[kind])
        case Name(name=name) if name.startswith("params."):
            own = name.removeprefix("params.")
            same = [p for p, kind in params.items() if kind == params[own] and p != own]
            yield from (replace(node, name=f"params.{other}") for other in same[:1])
        case _:
            pass


def called(node: Call, checked: tree.Checked) -> Iterator[Node]:
    name, args = node.function, node.args
    if name in JOINED:
        yield from args
    if name == "!_":
        yield args[0]
    others = [table.get(name) for table in (AT_ITS_EDGE, OPPOSITE, JOINED)]
    if {checked.type_of(arg) for arg in args} <= NUMBERS:
        others.append(OTHERWISE.get(name))
    yield from (replace(node, function=other) for other in others if other)


def opposite(node: Node) -> Node:
    """Turn a condition around: comparisons too, for a rule may not negate them."""
    match node:
        case Call(function=name, args=args) if name in JOINED:
            turned = tuple(opposite(arg) for arg in args)
            return replace(node, function=JOINED[name], args=turned)
        case Call(function=name) if name in OPPOSITE:
            return replace(node, function=OPPOSITE[name])
        case Call(function="!_", args=args):
            return args[0]
        case Macro(kind=kind, body=body) if kind in WALKED:
            return replace(node, kind=WALKED[kind], body=opposite(body))
    return Call(-1, "!_", (node,))
