"""A policy bundle: what may be asked, what must hold, who must agree.

A bundle is one YAML document. Its digest is over its content as canonical JSON (so
that comments and layout do not matter), the schema of the facts and the engine: the
same digest gives the same verdicts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import (
    BoolValue,
    DoubleValue,
    Int64Value,
    StringValue,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelkeep.errors import Invalid, Violation
from modelkeep.policy import document, facts
from modelkeep.policy.document import Node, Place, Source, dotted
from modelkeep.policy.engine import ENGINE, Engine, Rejected
from modelkeep.policy.engine import Rule as Compiled
from modelkeep.policy.facts import DESCRIPTOR_DIGEST, LARGEST_DOUBLE, Kind

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=2_000)]
Clauses = Annotated[tuple[Line, ...], Field(max_length=32)]
"""What a rule serves, as people cite it: `EU AI Act art. 14`."""

SPAN = r"[1-9][0-9]{0,6}[dhms]|[1-9][0-9]{7,9}s"
Span = Annotated[str, Field(pattern=f"^({SPAN})$")]
Tier = Literal["1", "2", "3", "4"]
Scalar = bool | int | float | str
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
ASSERTING = {"gate", "invariant"}
LONGEST_PERMIT = "24h"
LONGEST_GRACE = "72h"
OWED = ""
"""Stands where a rule's name would: for the condition of a policy's obligations."""


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Metadata(Part):
    name: Id
    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
    owner: Line
    references: Annotated[tuple[Line, ...], Field(max_length=64)] = ()
    review_by: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] = ""


class Parameter(Part):
    type: Literal["bool", "double", "duration", "int", "string"]
    default: Scalar
    tier: dict[Tier, Scalar] = {}

    def value(self, tier: str) -> Scalar:
        return next((v for t, v in self.tier.items() if t == tier), self.default)

    def message(self, tier: str) -> Message:
        """Give the value for a tier as the engine takes it; raise ValueError."""
        return as_message(self.type, self.value(tier))


class Seats(Part):
    role: Word
    min: Annotated[int, Field(ge=1, le=8)] = 1


Unreachable = Literal["closed", "open"]


class Permit(Part):
    """What an ALLOW of this action gives to a serving stack: for how long, when to ask
    again, and what to do, by tier, while nobody can be asked: stop when it ends
    (closed, unless said), or go on for `grace` (open).
    """

    lasts: Span = "15m"
    refresh: Span = "5m"
    on_unreachable: dict[Tier, Unreachable] = {}
    grace: Span = "1h"

    def unreachable(self, tier: int | None) -> Unreachable:
        said = {str(one): word for one, word in self.on_unreachable.items()}
        return said.get(str(tier), "closed")


class Action(Part):
    """`all_of` must match, `require` must be present; anything else is unknown."""

    all_of: Annotated[tuple[Id, ...], Field(max_length=32)] = ()
    triggers: Annotated[tuple[Id, ...], Field(max_length=32)] = ()
    require: Annotated[tuple[Line, ...], Field(max_length=64)] = ()
    permit: Permit = Permit()


class Match(Part):
    """What is left out matches everything."""

    action: Annotated[tuple[Word, ...], Field(min_length=1, max_length=64)]
    tier: Annotated[tuple[int, ...], Field(max_length=4)] = ()
    env: Annotated[tuple[Word, ...], Field(max_length=16)] = ()

    def covers(self, action: str, tier: str, env: str | None) -> bool:
        return (
            action in self.action
            and (not self.tier or int(tier) in self.tier)
            and (not self.env or env in self.env)
        )


class Rule(Part):
    """A gate's rule asserts, where its `when` holds; the other kinds have `when`."""

    id: Id
    severity: Literal["block", "warn"] = "block"
    assertion: Annotated[Text | None, Field(alias="assert")] = None
    when: Text | None = None
    # A list that a rule reads must hold something, unless this says otherwise.
    min_items: dict[Line, Annotated[int, Field(ge=0, le=1_000)]] = {}
    message: Line | None = None
    references: Clauses = ()


class Obligations(Part):
    """`approvals` by the bundle's quorum or as listed, for the digest `bound_to`.

    With `when` they are owed where it holds; where that cannot be told, it denies.
    """

    approvals: Literal["by_tier"] | tuple[Seats, ...]
    max_age: Span = "336h"
    bound_to: Line = "version.digest"
    # Who wrote, owns or asks for a thing does not approve it.
    excluding: tuple[Line, ...] = (
        "actor",
        "model.owner",
        "model.developers[]",
        "version.registered_by",
    )
    when: Text | None = None


class Budget(Part):
    max: Annotated[int, Field(ge=1, le=1_000)]
    per: Span


class Then(Part):
    """The command a trigger proposes; it comes back as an action of its own."""

    command: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]{0,63}$")]
    to: Line | None = None
    budget: Budget | None = None


class Policy(Part):
    id: Id
    kind: Literal["gate", "forbid", "permit", "trigger", "invariant"]
    match: Match
    rules: Annotated[tuple[Rule, ...], Field(max_length=64)] = ()
    obligations: Obligations | None = None
    then: Then | None = None
    on_missing: Literal["escalate"] = "escalate"
    references: Clauses = ()


class Test(Part):
    """A fixture, changed in one place, and the verdict with the rules behind it.

    What is stated must be so, and all of it: `commands: []` says that none is proposed.
    """

    __test__ = False  # not pytest's

    name: Line
    facts: Id
    set: dict[Line, Scalar] = {}
    unset: tuple[Line, ...] = ()
    expect: Literal["ALLOW", "DENY", "PENDING"]
    because: tuple[Line, ...] = ()
    missing: tuple[Line, ...] = ()
    outstanding: tuple[Word, ...] = ()
    commands: tuple[Line, ...] = ()
    warnings: tuple[Line, ...] = ()


class Document(Part):
    api_version: Annotated[Literal["modelkeep.policy/v1"], Field(alias="apiVersion")]
    kind: Literal["PolicyBundle"]
    metadata: Metadata
    environments: Annotated[tuple[Word, ...], Field(min_length=1, max_length=16)]
    params: Annotated[dict[Word, Parameter], Field(max_length=128)] = {}
    quorum: dict[Tier, tuple[Seats, ...]]
    actions: Annotated[dict[Word, Action], Field(min_length=1, max_length=64)]
    policies: Annotated[tuple[Policy, ...], Field(min_length=1, max_length=64)]
    fixtures: dict[Id, dict[str, object]] = {}
    tests: Annotated[tuple[Test, ...], Field(max_length=500)] = ()


@dataclass(frozen=True)
class Conditions:
    """A rule's two expressions, compiled."""

    when: Compiled | None
    assertion: Compiled | None

    @property
    def both(self) -> tuple[Compiled, ...]:
        return tuple(c for c in (self.when, self.assertion) if c is not None)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A checked document; made by `load_bundle`."""

    document: Document
    digest: str
    text: str = field(repr=False)
    engine: Engine = field(repr=False)
    rules: Mapping[tuple[str, str], Conditions] = field(repr=False)

    @property
    def name(self) -> str:
        return self.document.metadata.name

    @property
    def version(self) -> str:
        return self.document.metadata.version

    def quorum(self, tier: int) -> tuple[Seats, ...]:
        """Say who must approve in a tier; raise Invalid for a tier it has none for."""
        seats = self.document.quorum.get(str(tier))  # type: ignore[call-overload] # unknown ones give None
        if seats is None:
            raise Invalid.field("tier", f"{tier} is not a tier of bundle {self.name}")
        return tuple(seats)

    def references(self, policy: str, rule: str = OWED) -> tuple[str, ...]:
        """Say which clauses a rule serves: its own, then its policy's."""
        (of,) = (one for one in self.document.policies if one.id == policy)
        own = next((one.references for one in of.rules if one.id == rule), ())
        return tuple(dict.fromkeys((*own, *of.references)))


def load_bundle(text: str) -> Bundle:
    """Read, check and compile a bundle; raise Invalid with every violation found."""
    source = document.read(text)
    parsed = parse(source)
    engine = Engine({name: param.type for name, param in parsed.params.items()})
    rules, faults = compile_rules(parsed, engine)
    checks = [*broken_references(parsed), *broken_policies(parsed), *faults]
    checks += unread_lists(parsed, rules)
    if checks:
        raise Invalid(*(violation(source, place, why) for place, why in checks))
    return Bundle(parsed, identity(source.data), text, engine, rules)


def identity(data: Mapping[str, Node]) -> str:
    """Hash what decides a verdict: the content, the facts' schema and the engine."""
    whole = {"bundle": data, "descriptor": DESCRIPTOR_DIGEST, "engine": ENGINE}
    return "sha256:" + hashlib.sha256(canonical(whole).encode()).hexdigest()


def canonical(data: object) -> str:
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def parse(source: Source) -> Document:
    try:
        return Document.model_validate_json(canonical(source.data))
    except ValidationError as refused:
        raise Invalid(
            *(
                violation(source, real(source.data, error["loc"]), error["msg"])
                for error in refused.errors(include_url=False)[:50]
            )
        ) from None


def real(data: Node, loc: tuple[int | str, ...]) -> Place:
    """Drop the steps of an error's place that name a type and not a part."""
    place: list[int | str] = []
    at: Node = data
    for step in loc:
        if isinstance(at, list) and isinstance(step, int) and step < len(at):
            at = at[step]
        elif isinstance(at, dict) and step in at:
            at = at[str(step)]
        elif not isinstance(at, dict) or step is not loc[-1]:
            continue
        place.append(step)
    return tuple(place)


def violation(source: Source, place: Place, why: str) -> Violation:
    return Violation(dotted(place), f"line {source.line(place)}: {why}")


Complaint = tuple[Place, str]


def compile_rules(
    parsed: Document, engine: Engine
) -> tuple[dict[tuple[str, str], Conditions], list[Complaint]]:
    compiled: dict[tuple[str, str], Conditions] = {}
    complaints: list[Complaint] = []

    def half(text: str | None, place: Place) -> Compiled | None:
        try:
            return engine.rule(text) if text is not None else None
        except Rejected as rejected:
            complaints.extend((place, str(fault)) for fault in rejected.faults)
            return None

    for p, policy in enumerate(parsed.policies):
        for r, rule in enumerate(policy.rules):
            place = ("policies", p, "rules", r)
            when = half(rule.when, (*place, "when"))
            asserts = half(rule.assertion, (*place, "assert"))
            compiled[policy.id, rule.id] = Conditions(when, asserts)
        if policy.obligations is not None and policy.obligations.when is not None:
            owed = half(policy.obligations.when, ("policies", p, "obligations", "when"))
            compiled[policy.id, OWED] = Conditions(owed, None)
    return compiled, complaints


def broken_references(parsed: Document) -> Iterator[Complaint]:
    kinds = {policy.id: policy.kind for policy in parsed.policies}
    for name, action in parsed.actions.items():
        place = ("actions", name)
        if not action.all_of and not action.triggers:
            yield place, "has no all_of and no triggers; it could never be decided"
        for n, id_ in enumerate(action.all_of):
            if kinds.get(id_, "trigger") == "trigger":
                yield (*place, "all_of", n), f"{id_} is not a policy that permits"
        for n, id_ in enumerate(action.triggers):
            if kinds.get(id_) != "trigger":
                yield (*place, "triggers", n), f"{id_} is not a trigger"
        for n, path in enumerate(action.require):
            yield from unreadable((*place, "require", n), path)
        yield from broken_permit(action.permit, (*place, "permit"))
    yield from broken_params(parsed)
    yield from broken_tests(parsed)


def broken_permit(permit: Permit, place: Place) -> Iterator[Complaint]:
    if seconds(permit.refresh) >= seconds(permit.lasts):
        yield (*place, "refresh"), "comes no sooner than the permit's end"
    for name, most in (("lasts", LONGEST_PERMIT), ("grace", LONGEST_GRACE)):
        if seconds(getattr(permit, name)) > seconds(most):
            yield (*place, name), f"is longer than {most}"


def unreadable(place: Place, text: str, *kinds: Kind) -> Iterator[Complaint]:
    try:
        found = facts.path(text)
    except KeyError as unknown:
        yield place, str(unknown.args[0])
        return
    if kinds and found.kind not in kinds:
        yield place, f"{text} is a {found.kind.value}"


def broken_params(parsed: Document) -> Iterator[Complaint]:
    for name, param in parsed.params.items():
        values = {("default",): param.default} | {
            ("tier", tier): value for tier, value in param.tier.items()
        }
        for where, value in values.items():
            try:
                as_message(param.type, value)
            except ValueError as wrong:
                yield ("params", name, *where), str(wrong)


def broken_tests(parsed: Document) -> Iterator[Complaint]:
    for n, test in enumerate(parsed.tests):
        place = ("tests", n)
        if test.facts not in parsed.fixtures:
            yield (*place, "facts"), f"there is no fixture {test.facts}"
        if test.expect == "DENY" and not test.because and not test.missing:
            yield place, "expects DENY and does not say because of which rule"
        if test.expect == "PENDING" and not test.outstanding:
            yield place, "expects PENDING and does not say who is outstanding"


def broken_policies(parsed: Document) -> Iterator[Complaint]:
    seen: set[str] = set()
    for p, policy in enumerate(parsed.policies):
        place = ("policies", p)
        if policy.id in seen:
            yield (*place, "id"), f"{policy.id} is used twice"
        seen.add(policy.id)
        yield from broken_match(parsed, policy.match, (*place, "match"))
        yield from broken_rules(policy, place)
        if (policy.then is None) == (policy.kind == "trigger"):
            yield place, "a trigger, and nothing else, has `then`"
        if policy.obligations is not None:
            yield from broken_obligations(policy.obligations, (*place, "obligations"))


def broken_match(parsed: Document, match: Match, place: Place) -> Iterator[Complaint]:
    known: dict[str, tuple[tuple[object, ...], set[object]]] = {
        "action": (match.action, set(parsed.actions)),
        "tier": (match.tier, {int(tier) for tier in parsed.quorum}),
        "env": (match.env, set(parsed.environments)),
    }
    for name, (wanted, allowed) in known.items():
        for n, value in enumerate(wanted):
            if value not in allowed:
                yield (*place, name, n), f"{value} is not a known {name}"


def broken_rules(policy: Policy, place: Place) -> Iterator[Complaint]:
    if not policy.rules and policy.obligations is None:
        yield place, "has no rules and no obligations"
    if policy.kind == "permit" and not policy.rules:
        yield place, "permits nobody"
    seen: set[str] = set()
    for r, rule in enumerate(policy.rules):
        here = (*place, "rules", r)
        if rule.id in seen:
            yield (*here, "id"), f"{rule.id} is used twice"
        seen.add(rule.id)
        if policy.kind in ASSERTING and rule.assertion is None:
            yield here, f"a rule of a {policy.kind} has `assert`"
        if policy.kind not in ASSERTING and (rule.assertion or rule.when is None):
            yield here, f"a rule of a {policy.kind} has `when` and nothing else"
        if rule.severity == "warn" and policy.kind != "gate":
            yield (*here, "severity"), f"a rule of a {policy.kind} cannot only warn"


def broken_obligations(owed: Obligations, place: Place) -> Iterator[Complaint]:
    yield from unreadable((*place, "bound_to"), owed.bound_to, Kind.STRING)
    for n, text in enumerate(owed.excluding):
        yield from unreadable((*place, "excluding", n), f"{text}.issuer", Kind.STRING)
        yield from unreadable((*place, "excluding", n), f"{text}.subject", Kind.STRING)


def unread_lists(
    parsed: Document, rules: Mapping[tuple[str, str], Conditions]
) -> Iterator[Complaint]:
    for p, policy in enumerate(parsed.policies):
        for r, rule in enumerate(policy.rules):
            conditions = rules[policy.id, rule.id]
            read = {name for half in conditions.both for name in half.lists}
            for name in rule.min_items:
                if name not in read:
                    place = ("policies", p, "rules", r, "min_items", name)
                    yield place, f"the rule does not read a list {name}"


def as_message(kind: str, value: Scalar) -> Message:
    """Give a parameter as protobuf, which is all the engine is ever given."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "bool" and isinstance(value, bool):
        return BoolValue(value=value)
    if kind == "int" and number and isinstance(value, int):
        return Int64Value(value=value)
    if kind == "double" and number and abs(float(value)) <= LARGEST_DOUBLE:
        return DoubleValue(value=float(value))
    if kind == "duration" and isinstance(value, str):
        return Duration(seconds=seconds(value))
    if kind == "string" and isinstance(value, str):
        return StringValue(value=value)
    raise ValueError(f"{value!r} is not a {kind}")


def seconds(span: str) -> int:
    """Read a span such as 336h; days are 24 hours.

    >>> seconds("90d") == seconds("2160h") == 7_776_000
    True
    """
    if not re.fullmatch(SPAN, span):
        raise ValueError(f"{span!r} is not a duration; write 90d, 336h, 15m or 30s")
    return int(span[:-1]) * UNITS[span[-1]]
