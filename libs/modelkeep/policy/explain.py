"""What a rule compared: its operands with their values, and which items broke it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.policy import facts, lint, tree
from modelkeep.policy.engine import Bound, Engine, Expression, Failed, Rule
from modelkeep.policy.facts import Gap

MAX_CULPRITS = 5
MAX_SHOWN = 20
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
# Fields that name an item to a reader, the best first.
LABELS = ("name", "subject", "id")

Plain: TypeAlias = "bool | int | float | str | list[Plain]"


class Operand(NamedTuple):
    """`text` had `value`; where it was compared, by `op` with `limit`."""

    text: str
    value: Plain
    op: str = ""
    limit_text: str = ""
    limit: Plain | None = None
    culprits: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.op in lint.MACROS:
            return self.walked()
        text, value, op, limit_text, limit, _ = self
        said = f"{text} = {shown(value)}"
        if limit is None:
            return said
        most = shown(limit)
        if limit_text == most:
            return f"{said}, limit {op} {most}"
        return f"{said}, limit {op} {limit_text} = {most}"

    def walked(self) -> str:
        said = f"{shown(self.value)} items, {self.op} {self.limit_text}"
        if self.limit is not None:
            said += f", {self.limit}"
        if self.culprits:
            return f"{'; '.join(self.culprits)} ({said})"
        return f"{self.text}: {said}"

    def as_dict(self) -> dict[str, object]:
        found: dict[str, object] = {"text": self.text, "value": self.value}
        if self.op:
            found |= {"op": self.op, "limit_text": self.limit_text}
        if self.limit is not None:
            found["limit"] = self.limit
        if self.culprits:
            found["culprits"] = list(self.culprits)
        return found


class View(NamedTuple):
    """One evaluation as explanations see it: values by path, parameters by name."""

    values: Mapping[str, facts.Value]
    params: Mapping[str, Plain]
    bound: Bound


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a path, a parameter, a constant or a computation."""

    text: str
    const: Plain | None = None
    computed: Expression | None = None
    node: tree.Node | None = None

    def read(self, view: View) -> Plain:
        if self.const is not None:
            return self.const
        if self.computed is not None:
            return plain(self.computed.value(view.bound))
        if self.text in view.params:
            return view.params[self.text]
        value = view.values[self.text]
        return value if isinstance(value, (float, str, int)) else plain(value)


@dataclass(frozen=True)
class Comparison:
    left: Side
    op: str = ""
    right: Side | None = None

    def operand(self, view: View, *, holds: bool) -> Operand:  # noqa: ARG002 - as Walk
        value = self.left.read(view)
        if self.right is None:
            return Operand(self.left.text, value)
        return Operand(
            self.left.text, value, self.op, self.right.text, self.right.read(view)
        )


@dataclass(frozen=True)
class Walk:
    """A walk over a list: how many items, and which of them decided it."""

    over: str
    kind: str
    body: str
    answers: Expression
    read: tuple[str, ...]
    params: tuple[str, ...]

    def operand(self, view: View, *, holds: bool) -> Operand:
        """Name the items that broke an `all`, or that made an `exists` true."""
        items = view.values[self.over]
        count = len(items) if isinstance(items, list) else 0
        wanted = self.kind != "all"
        culprits: tuple[str, ...] = ()
        if holds is wanted:
            answers = self.answers.hold(view.bound) or []
            hits = [n for n, answer in enumerate(answers) if answer is wanted]
            culprits = tuple(self.culprit(view, n) for n in hits[:MAX_CULPRITS])
            if len(hits) > MAX_CULPRITS:
                culprits += (f"and {len(hits) - MAX_CULPRITS} more",)
        limits = [f"{name} = {shown(view.params[name])}" for name in self.params]
        limit = ", ".join(limits) or None
        return Operand(self.over, count, self.kind, self.body, limit, culprits)

    def culprit(self, view: View, number: int) -> str:
        items = view.values[self.over]
        item = items[number] if isinstance(items, list) else None
        name = label(item) if isinstance(item, Message) else str(item)
        said = [f"{self.over}[{number}] {name}".rstrip()]
        for path in self.read:
            column = view.values[path]
            if isinstance(column, list) and not isinstance(column[number], Gap):
                field = path.removeprefix(f"{self.over}[].")
                said.append(f"{field} {shown(plain(column[number]))}")
        return ", ".join(said)


Atom: TypeAlias = "Comparison | Walk"


def atoms(engine: Engine, rule: Rule) -> tuple[Atom, ...]:
    """Compile what it takes to explain a rule, once."""
    made = (atom(engine, node) for node in conditions(rule.checked.root))
    return tuple(one for one in made if one is not None)


def conditions(node: tree.Node) -> Iterator[tree.Node]:
    """What `&&`, `||`, `!` and `?:` join, in the order written."""
    if isinstance(node, tree.Call) and node.function in lint.LOGIC:
        for arg in node.args:
            yield from conditions(arg)
    else:
        yield node


def atom(engine: Engine, node: tree.Node) -> Atom | None:
    match node:
        case tree.Const():
            return None
        case tree.Macro():
            return walk(engine, node)
        case tree.Call(function=function, args=(left, right)) if (
            function in lint.ORDERED | lint.EQUAL | lint.TEXT_TESTS | {"@in"}
        ):
            op = function.strip("_@")
            if op in FLIPPED and fixed(left) and not fixed(right):
                left, right, op = right, left, FLIPPED[op]
            return Comparison(side(engine, left), op, side(engine, right))
    return Comparison(side(engine, node))


def fixed(node: tree.Node) -> bool:
    return isinstance(node, tree.Const) or (
        isinstance(node, tree.Name) and node.name.startswith("params.")
    )


def side(engine: Engine, node: tree.Node) -> Side:
    match node:
        case tree.Const(value=value):
            return Side(tree.written(node), const=value)
        case tree.Items(items=items):
            values: list[Plain] = [i.value for i in items if isinstance(i, tree.Const)]
            return Side(tree.written(node), const=values)
        case tree.Name(name=name):
            return Side(name)
    if (path := lint.path_text(node, {})) is not None:
        return Side(path)
    text = tree.written(node)
    return Side(text, computed=engine.compile(text), node=node)


def walk(engine: Engine, node: tree.Macro) -> Walk:
    over = lint.path_text(node.over, {}) or tree.written(node.over)
    body = tree.written(node.body)
    scope = {node.variable: f"{over}[]"}
    read = {lint.path_text(inner, scope): None for inner in tree.nodes(node.body)}
    paths = [text for text in read if text and text.startswith(f"{over}[].")]
    answers = engine.compile(f"{over}.map({node.variable}, {body})")
    single = [text for text in paths if is_scalar(text)]
    names = [n.name for n in tree.nodes(node.body) if isinstance(n, tree.Name)]
    params = tuple(dict.fromkeys(n for n in names if n.startswith("params.")))
    said = f"{node.variable}: {body}"
    return Walk(over, node.kind, said, answers, tuple(single), params)


def is_scalar(text: str) -> bool:
    kind = facts.path(text).kind
    return kind not in {facts.Kind.LIST, facts.Kind.MESSAGE} and text.count("[]") == 1


def label(item: Message) -> str:
    for name in LABELS:
        if name in item.DESCRIPTOR.fields_by_name and item.HasField(name):
            return str(getattr(item, name).value)
    return ""


def plain(value: object) -> Plain:  # noqa: PLR0911 - one answer for each type
    """Turn a value into what JSON can carry."""
    match value:
        case bool() | int() | float() | str():
            return value
        case list():
            return [plain(item) for item in value[:MAX_SHOWN]]
        case Timestamp():
            return value.ToJsonString()
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Duration():
            return elapsed(value.seconds)
        case timedelta():
            return elapsed(value.total_seconds())
        case Failed(message=message):
            return f"no value: {message}"
        case Message():
            return plain(getattr(value, "value", ""))
    return str(value)


def elapsed(seconds: float) -> str:
    """Write a span in the unit a policy would use.

    >>> elapsed(7_776_000), elapsed(5400), elapsed(90), elapsed(0.25)
    ('90d', '90m', '90s', '0.25s')
    """
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def shown(value: Plain) -> str:
    if type(value) is float:  # most are
        return repr(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(shown(item) for item in value)}]"
    if isinstance(value, str):
        return f'"{value[:80]}"' if len(value) > 80 else f'"{value}"'  # noqa: PLR2004
    return repr(value)
