"""What a rule may not say, so that no rule can run away, guess or fail open.

The engine's own limits bound neither memory nor time: chained string doubling passes
6 GB, equality of nested lists runs for a minute. So a rule is checked as a tree before
it ever runs: ranges are facts, equality is between scalars, arithmetic can reach
neither infinity nor NaN, and the cost is known from the declared maxima.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import facts
from modelkeep.policy.facts import Kind, Path
from modelkeep.policy.tree import (
    Call,
    Checked,
    Const,
    Field,
    Has,
    Items,
    Macro,
    Name,
    Node,
    Unknown,
    nodes,
)

MAX_COST = 100_000
MAX_NESTED = 2
MAX_LISTED = 64
MAX_PRODUCTS = 8
MAX_PATTERN = 200
# The engine compiles a pattern anew each time: 43 us where a comparison takes 0.2.
REGEX_COST = 200

SCALARS = {"bool", "int", "double", "string", "timestamp", "duration"}
ORDERED = {"_<_", "_<=_", "_>_", "_>=_"}
EQUAL = {"_==_", "_!=_"}
LOGIC = {"_&&_", "_||_", "!_", "_?_:_"}
SUMS = {"_+_": "add", "_-_": "subtract", "-_": "negate"}
PRODUCTS = {"_*_", "_/_", "_%_"}
TEXT_TESTS = {"startsWith", "endsWith", "contains", "matches"}
CALENDAR = {"getFullYear", "getMonth", "getDayOfMonth", "getDayOfWeek", "getHours"}
MOMENTS = {"timestamp", "duration"}
CASTS = {"int": {"int", "timestamp"}, "double": {"int", "double"}}
ALLOWED = (
    {"@in", "_[_]", "size", *CASTS}
    | ORDERED | EQUAL | LOGIC | SUMS.keys() | PRODUCTS | TEXT_TESTS | CALENDAR | MOMENTS
)  # fmt: skip
MACROS = {"all", "exists", "exists_one", "filter"}
ROOTS = frozenset(Facts.DESCRIPTOR.fields_by_name)
# A loop variable may not hide what a reader takes it for.
RESERVED = ROOTS | {"params", "duration", "timestamp", "size", "int", "double"}


@dataclass(frozen=True)
class Objection:
    """`offset` counts code points from the start of the expression."""

    offset: int
    message: str


@dataclass
class Reading:
    """What a rule reads: paths to scalars, lists it walks, and how much it costs."""

    objections: list[Objection] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    lists: dict[str, Path] = field(default_factory=dict)
    cost: int = 0


def read(checked: Checked) -> Reading:
    linter = Linter(checked)
    linter.reading.cost = linter.walk(checked.root, {})
    if linter.reading.cost > MAX_COST:
        linter.object(
            checked.root,
            f"could take {linter.reading.cost} steps; {MAX_COST} are allowed",
        )
    return linter.reading


Scope = Mapping[str, str]  # loop variable -> path of the items it takes


def path_text(node: Node, scope: Scope) -> str | None:
    """Give the path a node spells, if it spells one and nothing else."""
    match node:
        case Name(name=name) if name in scope:
            return scope[name]
        case Name(name=name) if name in ROOTS:
            return name
        case Field(of=of, field=name):
            base = path_text(of, scope)
            return None if base is None else f"{base}.{name}"
        case Call(function="_[_]", args=(of, Const(value=str(key)))):
            base = path_text(of, scope)
            return None if base is None else f"{base}['{key}']"
    return None


@dataclass
class Linter:
    checked: Checked
    reading: Reading = field(default_factory=Reading)
    products: int = 0

    def object(self, node: Node, message: str) -> None:
        offset = self.checked.offsets.get(node.id, 0)
        self.reading.objections.append(Objection(offset, message))

    def walk(self, node: Node, scope: Scope) -> int:
        """Object to what is wrong at and below a node; return its cost in steps."""
        if (text := path_text(node, scope)) is not None:
            return self.fact(node, text)
        match node:
            case Name(name=name) if not name.startswith("params."):
                self.object(node, f"{name} is not a fact")
            case Const(value=float(value)) if abs(value) > facts.LARGEST_DOUBLE:
                self.object(node, f"{value} is beyond any measure")
            case Has():
                self.object(node, "has() would let missing evidence pass; use `when`")
            case Items():
                self.object(node, "a list is only for `in`")
            case Unknown(what=what):
                self.object(node, f"{what} is not for rules")
            case Macro():
                return self.macro(node, scope)
            case Call():
                return self.call(node, scope)
            case Field(of=of):
                self.object(node, "is a field of something that is not a fact")
                return 1 + self.walk(of, scope)
        return 1

    def fact(self, node: Node, text: str) -> int:
        path = self.path(node, text)
        if path is None:
            return 1
        if path.kind in (Kind.MESSAGE, Kind.LIST, Kind.MAP):
            self.object(node, f"{text} is a {path.kind.value}; name a scalar in it")
        self.reading.paths[text] = path
        return 1 + text.count(".")

    def path(self, node: Node, text: str) -> Path | None:
        try:
            return facts.path(text)
        except KeyError as unknown:
            self.object(node, str(unknown.args[0]))
            return None

    def range(self, node: Node, scope: Scope) -> Path | None:
        """Read a list that a rule walks: a fact, never something made on the way."""
        text = path_text(node, scope)
        path = None if text is None else self.path(node, text)
        if path is None or path.kind is not Kind.LIST:
            self.object(node, "only a list among the facts can be walked")
            return None
        self.reading.lists[path.text] = path
        return path

    def macro(self, node: Macro, scope: Scope) -> int:
        if node.kind not in MACROS:
            self.object(node, f"{node.kind} is not for rules")
        if node.variable in RESERVED or node.variable in scope:
            self.object(node, f"{node.variable} hides another {node.variable}")
        if len(scope) == MAX_NESTED:
            self.object(node, f"loops nest deeper than {MAX_NESTED}")
            return 1
        if (path := self.range(node.over, scope)) is None:
            return 1
        inner = {**scope, node.variable: f"{path.text}[]"}
        return 2 + facts.most_items(path.text) * (1 + self.walk(node.body, inner))

    def call(self, node: Call, scope: Scope) -> int:
        function, args = node.function, node.args
        if function not in ALLOWED:
            self.object(node, f"{function.strip('_')} is not for rules")
            return 1
        for objection in self.operands(node):
            self.object(node, objection)
        if function == "size":
            return 1 + self.sized(args[0], scope)
        if function == "@in":
            return self.member(node, scope)
        if function == "_[_]":
            self.object(node, "only a map among the facts has entries, by a text key")
            return 1
        if function == "matches":
            return REGEX_COST + self.walk(args[0], scope)
        return 1 + sum(self.walk(arg, scope) for arg in args)

    def sized(self, of: Node, scope: Scope) -> int:
        if isinstance(of, Macro) and of.kind == "filter":
            return self.macro(of, scope)
        if self.checked.type_of(of) == "string":
            return self.walk(of, scope)
        self.range(of, scope)
        return 1

    def member(self, node: Call, scope: Scope) -> int:
        one, many = node.args
        cost = 1 + self.walk(one, scope)
        if isinstance(many, Items):
            if len(many.items) > MAX_LISTED:
                self.object(many, f"lists more than {MAX_LISTED}")
            if not all(isinstance(item, Const) for item in many.items):
                self.object(many, "a list holds constants only")
            return cost + len(many.items)
        if (path := self.range(many, scope)) is not None:
            cost += facts.most_items(path.text)
        return cost

    def operands(self, node: Call) -> Iterator[str]:
        """Say what is wrong with what a function is given."""
        function, args = node.function, node.args
        kinds = [self.checked.type_of(arg) for arg in args]
        if function in EQUAL:
            yield from unequal(kinds)
        elif function in ORDERED and not set(kinds) <= SCALARS:
            yield "orders scalars only"
        elif function in SUMS and not set(kinds) <= SCALARS - {"bool", "string"}:
            yield f"can {SUMS[function]} numbers and times only"
        elif function in PRODUCTS:
            yield from self.product(node, kinds)
        elif function == "!_":
            yield from self.negated(args[0])
        elif function in CASTS and kinds[0] not in CASTS[function]:
            yield f"{function}() does not take a {kinds[0]}"
        elif function in MOMENTS and not isinstance(args[0], Const):
            yield f"{function}() takes a constant; make a parameter of it"
        elif function in CALENDAR and len(args) > 1:
            yield "calendars are UTC; leave the time zone out"
        elif function in TEXT_TESTS:
            yield from constant_text(args[-1], MAX_PATTERN)

    def product(self, node: Call, kinds: list[str]) -> Iterator[str]:
        self.products += 1
        if self.products > MAX_PRODUCTS:
            yield f"a rule multiplies and divides at most {MAX_PRODUCTS} times"
        if not set(kinds) <= {"int", "double"}:
            yield "multiplies and divides numbers only"
        if node.function == "_*_":
            return
        by = node.args[1]
        smallest = 1 / facts.LARGEST_DOUBLE
        if not isinstance(by, Const) or abs(float(by.value)) < smallest:
            yield "divides by a constant only, and never by zero"

    def negated(self, of: Node) -> Iterator[str]:
        for node in nodes(of):
            if isinstance(node, Call) and node.function in ORDERED:
                yield "turn the comparison around instead of negating it"
                return


def unequal(kinds: list[str]) -> Iterator[str]:
    if not set(kinds) <= SCALARS:
        yield "compares scalars only; name a field"
    elif "double" in kinds:
        yield "compare doubles with <, <=, > or >=; equality of fractions is luck"


def constant_text(node: Node, longest: int) -> Iterator[str]:
    if not isinstance(node, Const):
        yield "takes a constant text"
    elif len(str(node.value)) > longest:
        yield f"takes at most {longest} characters"
