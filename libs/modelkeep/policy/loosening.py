"""What a bundle loosens against another, for the tiers in which that takes two people.

Nothing here evaluates anything: two bundles are compared action by action, tier by tier
and environment by environment. What is not proven to be at least as strict counts as
looser, so that a change may be called looser that is not, and never the reverse: where
`loosened` is empty, whatever the new bundle allows the old one allowed, and whatever it
leaves pending the old one did not deny.

A rule is proven by its checked tree. `implies(p, q)` says that wherever p is true q is
true, and that wherever q is false p is false; an expression that fails is neither, and
`&&` and `||` absorb failures alike on both sides, so it holds with failures too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from modelkeep.policy import lint, tree
from modelkeep.policy.approvals import Duty
from modelkeep.policy.bundle import (
    ASSERTING,
    OWED,
    Bundle,
    Document,
    Permit,
    Scalar,
    Seats,
    seconds,
)
from modelkeep.policy.engine import Rule as Compiled
from modelkeep.policy.program import program_of
from modelkeep.policy.ruling import Plan, Step

TIERS: Final = ("1", "2")


class Loosening(NamedTuple):
    """One thing that is, or may be, less strict than before, and where first."""

    what: str
    action: str
    tier: str
    env: str | None

    def __str__(self) -> str:
        where = f" in {self.env}" if self.env else ""
        return f"{self.action}, tier {self.tier}{where}: {self.what}"


def loosened(old: Bundle, new: Bundle) -> tuple[Loosening, ...]:
    """Say what `new` loosens: each thing once, where it was found first."""
    found: dict[tuple[str, str], Loosening] = {}
    for one in _everywhere(old, new):
        found.setdefault((one.what, one.action), one)
    return tuple(found.values())


def _everywhere(old: Bundle, new: Bundle) -> Iterator[Loosening]:
    for tier in TIERS:
        if tier not in new.document.quorum:
            continue  # denied as unknown
        for what in _quorum(old.document, new.document, tier):
            yield Loosening(what, "quorum", tier, None)
        for action in new.document.actions:
            for env in (None, *new.document.environments):
                here = _Here(old, new, action, tier, env)
                for what in here.loosened():
                    yield Loosening(what, action, tier, env)


def _quorum(old: Document, new: Document, tier: str) -> Iterator[str]:
    """The quorum of a tier is also asked for where no policy names it: envelopes."""
    before = next((seats for t, seats in old.quorum.items() if t == tier), None)
    after = next(seats for t, seats in new.quorum.items() if t == tier)
    if before is None:
        yield f"tier {tier} was not known"
    elif not _seated(before, after):
        yield "fewer people are asked for"


def _seated(before: tuple[Seats, ...], after: tuple[Seats, ...]) -> bool:
    """Whether every seat of before is a seat of after."""
    had, has = _by_role(before), _by_role(after)
    return all(has.get(role, 0) >= number for role, number in had.items())


def _by_role(seats: tuple[Seats, ...]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for one in seats:
        found[one.role] = found.get(one.role, 0) + one.min
    return found


@dataclass(frozen=True)
class _Here:
    """Both bundles on one action, in one tier and environment."""

    old: Bundle
    new: Bundle
    action: str
    tier: str
    env: str | None

    def loosened(self) -> Iterator[str]:
        if self._never(self.new):
            return
        if self.action not in self.old.document.actions:
            yield "is a new action"
            return
        if self.env is not None and self.env not in self.old.document.environments:
            yield f"environment {self.env} was not known"
            return
        if self.tier not in self.old.document.quorum:
            return  # said of the quorum
        if self._never(self.old):
            yield "was always denied"
            return
        yield from self._action()
        yield from self._rules()
        yield from self._duties()

    def _never(self, bundle: Bundle) -> bool:
        """Whether a bundle denies this whatever the facts are."""
        document = bundle.document
        if self.action not in document.actions:
            return True
        if self.env is None and _needs_env(document, self.action):
            return True
        return bool(self._plan(bundle).unmatched)

    def _plan(self, bundle: Bundle) -> Plan:
        return program_of(bundle).plan((self.action, self.tier, self.env))

    def _action(self) -> Iterator[str]:
        had = self.old.document.actions[self.action]
        has = self.new.document.actions[self.action]
        for path in had.require:
            if path not in has.require:
                yield f"{path} is no longer required"
        for policy in had.all_of:
            if policy not in has.all_of:
                yield f"policy {policy} is no longer demanded"
        yield from self._permit(had.permit, has.permit)

    def _permit(self, had: Permit, has: Permit) -> Iterator[str]:
        """What an ALLOW gives to a serving stack, and for how long unasked."""
        tier = int(self.tier)
        if (had.unreachable(tier), has.unreachable(tier)) == ("closed", "open"):
            yield "goes on while nobody can be asked"
        for name in ("lasts", "refresh", "grace"):
            if seconds(getattr(has, name)) > seconds(getattr(had, name)):
                yield f"its permit's {name} is longer"

    def _rules(self) -> Iterator[str]:
        had, has = self._plan(self.old).steps, self._plan(self.new).steps
        known = {(step.policy.id, step.rule.id): step for step in has}
        for step in had:
            if step.policy.kind == "permit" or step.rule.severity == "warn":
                continue
            now = known.get((step.policy.id, step.rule.id))
            name = f"{step.policy.id}/{step.rule.id}"
            if now is None:
                yield f"rule {name} is gone"
            else:
                yield from (f"rule {name} {why}" for why in self._rule(step, now))
        yield from self._permits(had, has)
        yield from self._proposals(had, has)

    def _rule(self, step: Step, now: Step) -> Iterator[str]:
        if now.policy.kind != step.policy.kind:
            yield f"is of a {now.policy.kind}, and was of a {step.policy.kind}"
            return
        if now.rule.severity != step.rule.severity:
            yield "only warns"
            return
        was, is_ = self._sides(step, now)
        if step.policy.kind in ASSERTING:
            yield from _asserts(was, is_)
        elif step.policy.kind == "forbid":
            yield from _forbids(was, is_)
        elif _differs(was.when, is_.when, was.values, is_.values):
            yield "triggers on something else"

    def _sides(self, step: Step, now: Step) -> tuple[_Side, _Side]:
        return _side(self.old, step, self.tier), _side(self.new, now, self.tier)

    def _permits(self, had: tuple[Step, ...], has: tuple[Step, ...]) -> Iterator[str]:
        """A permit lets pass what any of its rules does: each must be covered."""
        for policy in _permitting(had):
            before = [s for s in had if s.policy.id == policy]
            after = [
                s for s in has if s.policy.id == policy and s.policy.kind == "permit"
            ]
            if not after:
                yield f"permit {policy} is gone"
            for now in after:
                if not any(self._covered(one, now) for one in before):
                    yield f"permit {policy}/{now.rule.id} lets more pass"

    def _covered(self, step: Step, now: Step) -> bool:
        was, is_ = self._sides(step, now)
        return (
            was.when is not None
            and is_.when is not None
            and _reads_all(was, is_)
            and implies(is_.when.root, was.when.root, is_.values, was.values)
        )

    def _proposals(self, had: tuple[Step, ...], has: tuple[Step, ...]) -> Iterator[str]:
        """What is proposed without being asked for is at most what was."""
        before = {s.policy.id: s.policy.then for s in had if s.policy.then}
        for step in has:
            then = step.policy.then
            if then is not None and before.get(step.policy.id) != then:
                yield f"trigger {step.policy.id} proposes something else"

    def _duties(self) -> Iterator[str]:
        known = {duty.policy: duty for duty in self._plan(self.new).duties}
        for duty in self._plan(self.old).duties:
            now = known.get(duty.policy)
            if not duty.seats:
                continue
            if now is None:
                yield f"the approvals of {duty.policy} are no longer asked for"
            else:
                found = (*_duty(duty, now), *self._owed(duty.policy))
                yield from (f"policy {duty.policy} {why}" for why in found)

    def _owed(self, policy: str) -> Iterator[str]:
        """Approval must be owed wherever it was, and what was missing must be still."""
        was, now = _condition(self.old, policy), _condition(self.new, policy)
        if was is None and now is not None:
            yield "asks for people in some cases only"
        elif was is not None and now is None:
            yield "no longer denies where it cannot be told whether approval is owed"
        elif was is not None and now is not None:
            reads = {*was.paths, *was.lists} <= {*now.paths, *now.lists}
            values = _values(self.old, self.tier), _values(self.new, self.tier)
            if not reads or not implies(was.checked.root, now.checked.root, *values):
                yield "asks for people in fewer cases, or in others"


def _condition(bundle: Bundle, policy: str) -> Compiled | None:
    found = bundle.rules.get((policy, OWED))
    return found.when if found is not None else None


def _needs_env(document: Document, action: str) -> bool:
    required = "env" in document.actions[action].require
    return required or any(
        p.match.env and action in p.match.action for p in document.policies
    )


def _permitting(steps: tuple[Step, ...]) -> Iterator[str]:
    yield from dict.fromkeys(s.policy.id for s in steps if s.policy.kind == "permit")


def _duty(was: Duty, now: Duty) -> Iterator[str]:
    if not _seated(was.seats, now.seats):
        yield "asks for fewer people"
    if now.max_age > was.max_age:
        yield "takes older approvals"
    if now.bound_to.text != was.bound_to.text:
        yield "binds approvals to something else"
    left = {(a.text, b.text) for a, b in now.excluding}
    if any((a.text, b.text) not in left for a, b in was.excluding):
        yield "lets more people approve"


# --- rules -------------------------------------------------------------------------

Values = Mapping[str, tuple[str, Scalar]]
"""A tier's parameters by name, with their `params.`: type and value."""


@dataclass(frozen=True)
class _Side:
    """One bundle's reading of a rule."""

    when: tree.Checked | None
    assertion: tree.Checked | None
    values: Values
    paths: frozenset[str]
    lists: Mapping[str, int]


def _side(bundle: Bundle, step: Step, tier: str) -> _Side:
    conditions = bundle.rules[step.policy.id, step.rule.id]
    halves = conditions.both
    return _Side(
        _checked(conditions.when),
        _checked(conditions.assertion),
        _values(bundle, tier),
        frozenset(path for half in halves for path in half.paths),
        {
            name: step.rule.min_items.get(name, 1)
            for half in halves
            for name in half.lists
        },
    )


def _values(bundle: Bundle, tier: str) -> Values:
    return {
        f"params.{name}": (param.type, param.value(tier))
        for name, param in bundle.document.params.items()
    }


def _checked(compiled: Compiled | None) -> tree.Checked | None:
    return compiled.checked if compiled is not None else None


def _reads_all(was: _Side, now: _Side) -> bool:
    """Whether what was missing for the old rule is missing for the new one."""
    lists = all(now.lists.get(name, -1) >= least for name, least in was.lists.items())
    return was.paths <= now.paths and lists


def _asserts(was: _Side, now: _Side) -> Iterator[str]:
    if not _reads_all(was, now):
        yield "reads less"
    elif _differs(was.when, now.when, was.values, now.values):
        yield "holds on another condition"
    elif (
        was.assertion is None
        or now.assertion is None
        or not implies(now.assertion.root, was.assertion.root, now.values, was.values)
    ):
        yield "asserts less, or something else"


def _forbids(was: _Side, now: _Side) -> Iterator[str]:
    if not _reads_all(was, now):
        yield "reads less"
    elif (
        was.when is None
        or now.when is None
        or not implies(was.when.root, now.when.root, was.values, now.values)
    ):
        yield "forbids less, or something else"


def _differs(
    one: tree.Checked | None, other: tree.Checked | None, mine: Values, theirs: Values
) -> bool:
    """Whether two conditions are not the very same, with the same values."""
    if one is None or other is None:
        return one is not other
    return not _same(one.root, other.root, mine, theirs)


# --- what implies what -------------------------------------------------------------

RAISES: Final = {"_>_", "_>=_"}
"""`x > limit` asks for more where the limit is higher; `<` where it is lower."""


def implies(  # noqa: PLR0911  # one answer a shape
    p: tree.Node, q: tree.Node, mine: Values, theirs: Values
) -> bool:
    """Prove that p implies q, by their shapes; False where that cannot be shown.

    `mine` are the parameters p is read with, `theirs` q's.
    """

    def shown(a: tree.Node, b: tree.Node) -> bool:
        return implies(a, b, mine, theirs)

    if _same(p, q, mine, theirs):
        return True
    split = _split(p, q, shown)
    if split is not None:
        return split
    match p, q:
        case tree.Call(function="!_", args=(a,)), tree.Call(function="!_", args=(b,)):
            return implies(b, a, theirs, mine)
        case tree.Macro(kind=kind), tree.Macro() if kind in {"all", "exists"}:
            alike = (p.kind, p.variable) == (q.kind, q.variable)
            return (
                alike and _same(p.over, q.over, mine, theirs) and shown(p.body, q.body)
            )
        case tree.Call(function="@in", args=(a, some)), tree.Call(
            function="@in", args=(b, more)
        ):
            return _same(a, b, mine, theirs) and _among(some, more)
        case tree.Call(args=(_, _)), tree.Call(args=(_, _)):
            return _compares(p, q, mine, theirs)
    return False


def _split(
    p: tree.Node, q: tree.Node, shown: Callable[[tree.Node, tree.Node], bool]
) -> bool | None:
    """`&&` and `||`: all of what q demands and of what p may be; any of the rest."""
    if isinstance(q, tree.Call) and q.function == "_&&_":
        return all(shown(p, part) for part in q.args)
    if isinstance(p, tree.Call) and p.function == "_||_":
        return all(shown(part, q) for part in p.args)
    holds = p.args if isinstance(p, tree.Call) and p.function == "_&&_" else ()
    either = q.args if isinstance(q, tree.Call) and q.function == "_||_" else ()
    if not holds and not either:
        return None
    return any(shown(part, q) for part in holds) or any(
        shown(p, part) for part in either
    )


def _among(some: tree.Node, more: tree.Node) -> bool:
    if not isinstance(some, tree.Items) or not isinstance(more, tree.Items):
        return False
    values = [one.value for one in more.items if isinstance(one, tree.Const)]
    return all(
        isinstance(one, tree.Const) and one.value in values for one in some.items
    )


def _compares(p: tree.Call, q: tree.Call, mine: Values, theirs: Values) -> bool:
    """The same figure against a limit that moved, to the stricter side."""
    one, other = _limited(p, mine), _limited(q, theirs)
    if one is None or other is None or one.op[:2] != other.op[:2]:
        return False
    if not _same(one.figure, other.figure, mine, theirs):
        return False
    if type(one.limit) is not type(other.limit) or isinstance(one.limit, bool | str):
        return False
    strict, was_strict = "=" not in one.op, "=" not in other.op
    order = [other.limit, one.limit] if one.op in RAISES else [one.limit, other.limit]
    low, high = order
    # `<=` is not `<`, unless the limit moved too.
    return low < high or (low == high and (strict or not was_strict))


@dataclass(frozen=True)
class _Limited:
    figure: tree.Node
    op: str
    limit: int | float


def _limited(call: tree.Call, values: Values) -> _Limited | None:
    """Read `figure op limit`, the limit a constant or a parameter on either side."""
    if call.function not in lint.ORDERED:
        return None
    left, right = call.args
    if (limit := _number(right, values)) is not None:
        return _Limited(left, call.function, limit)
    if (limit := _number(left, values)) is not None:
        return _Limited(right, FLIPPED[call.function], limit)
    return None


FLIPPED: Final = {"_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_"}


def _number(node: tree.Node, values: Values) -> int | float | None:
    match node:
        case tree.Const(value=bool() | str()):
            return None
        case tree.Const(value=value):
            return value  # type: ignore[return-value] # the others are above
        case tree.Name(name=name) if name in values:
            return _figure(*values[name])
        case tree.Call(function="duration", args=(tree.Const(value=str(text)),)):
            return _span(text)
    return None


def _figure(kind: str, value: Scalar) -> int | float | None:
    match kind, value:
        case "duration", str():
            return seconds(value)
        case "double", int() | float():
            return float(value)
        case "int", int():
            return value
    return None


def _span(text: str) -> int | None:
    try:
        return seconds(text)
    except ValueError:
        return None


def _same(p: tree.Node, q: tree.Node, mine: Values, theirs: Values) -> bool:
    """Whether two trees are one, with parameters of the same values."""
    if isinstance(p, tree.Name) and isinstance(q, tree.Name):
        return p.name == q.name and mine.get(p.name) == theirs.get(q.name)
    if _shape(p) != _shape(q):
        return False
    inside = zip(tree.below(p), tree.below(q), strict=True)
    return all(_same(a, b, mine, theirs) for a, b in inside)


def _shape(node: tree.Node) -> tuple[object, ...]:  # noqa: PLR0911  # one a kind
    """A node without what is below it and without where it stands."""
    match node:
        case tree.Const(value=value):
            return "const", type(value), value
        case tree.Field(field=field):
            return "field", field
        case tree.Has(field=field):
            return "has", field
        case tree.Call(function=function, args=args, method=method):
            return "call", function, len(args), method
        case tree.Items(items=items):
            return "items", len(items)
        case tree.Macro(kind=kind, variable=variable):
            return "macro", kind, variable
        case tree.Unknown(id=number):
            return "unknown", object(), number  # like nothing else
    return ("name",)
