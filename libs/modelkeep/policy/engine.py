"""The rule engine: the only module that touches cel-expr-python.

What the engine does that a caller would not expect, and what is done about it here:
errors come back as values, so only a BOOL that is True holds; text is cut at NUL and
nested Python data can kill the process, so only protobuf goes in; a null result
under-counts a reference, so every expression is typed as something else and no
expression runs before its facts are known to be present.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

from cel_expr_python import cel
from google.protobuf.message import Message

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import lint, tree
from modelkeep.policy.facts import Path

ENGINE = f"cel-expr-python {version('cel-expr-python')}, modelkeep-policy 1"
MAX_SOURCE = 2_000

WRAPPERS = {
    "bool": "google.protobuf.BoolValue",
    "double": "google.protobuf.DoubleValue",
    "duration": "google.protobuf.Duration",
    "int": "google.protobuf.Int64Value",
    "string": "google.protobuf.StringValue",
}
LISTS = {field.name for field in Facts.DESCRIPTOR.fields if field.is_repeated}
COMPILE_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


class Fault(NamedTuple):
    """What is wrong with an expression; lines and columns count from 1."""

    line: int
    column: int
    message: str
    caret: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message}\n{self.caret}"


class Rejected(Exception):
    """An expression that will not run; raised by `Engine.rule`."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))


class Failed(NamedTuple):
    """An evaluation that gave no answer, in the engine's words."""

    message: str


class Bound(NamedTuple):
    """Facts and parameters as the engine takes them; shared by many expressions."""

    activation: object


@dataclass(frozen=True)
class Expression:
    """Compiled and checked; safe to share between threads."""

    source: str
    type: str
    compiled: cel.Expression

    def holds(self, bound: Bound) -> bool | Failed:
        value = self.compiled.eval(bound.activation)
        answer = value.value()
        if value.type() == cel.Type.BOOL and (answer is True or answer is False):
            return bool(answer)
        return Failed(str(answer))

    def hold(self, bound: Bound) -> list[bool] | None:
        """Answer a list of conditions at once; None when any of them has no answer."""
        value = self.compiled.eval(bound.activation)
        if value.type() == cel.Type.ERROR:
            return None
        answers = value.plain_value()
        if not isinstance(answers, list):
            return None
        return answers if all(a is True or a is False for a in answers) else None

    def value(self, bound: Bound) -> object:
        """Give a scalar: bool, int, float, str, datetime or timedelta; or Failed."""
        value = self.compiled.eval(bound.activation)
        if value.type() == cel.Type.ERROR:
            return Failed(str(value.value()))
        return value.value()


@dataclass(frozen=True)
class Rule:
    """A condition, what it reads, and its tree for whoever explains it."""

    expression: Expression
    checked: tree.Checked
    paths: Mapping[str, Path]
    lists: Mapping[str, Path]
    params: frozenset[str]


class Engine:
    """Compiles expressions over the facts and one bundle's parameters."""

    def __init__(self, params: Mapping[str, str]) -> None:
        """`params` gives each parameter's type: a key of WRAPPERS."""
        variables = {
            field.name: type_of(field.message_type.full_name, field.name)
            for field in Facts.DESCRIPTOR.fields
            if field.message_type is not None
        }
        for name, kind in params.items():
            variables[f"params.{name}"] = cel.Type(WRAPPERS[kind])
        self.env = cel.NewEnv(Facts.DESCRIPTOR.file.pool, variables=variables)

    def rule(self, source: str) -> Rule:
        """Compile a condition that somebody wrote; raise Rejected."""
        if len(source) > MAX_SOURCE:
            raise Rejected([fault(source, 0, f"is longer than {MAX_SOURCE}")])
        expression = self.compile(source)
        if expression.type != "BOOL":
            raise Rejected(
                [fault(source, 0, f"is {expression.type}; a rule is true or false")]
            )
        checked = tree.decode(expression.compiled.serialize())
        reading = lint.read(checked)
        objections = [*reading.objections, *self.unparsable(checked)]
        if objections:
            raise Rejected([fault(source, o.offset, o.message) for o in objections])
        names = {n.name for n in tree.nodes(checked.root) if isinstance(n, tree.Name)}
        params = {name for name in names if name.startswith("params.")}
        return Rule(
            expression, checked, reading.paths, reading.lists, frozenset(params)
        )

    def compile(self, source: str) -> Expression:
        """Compile without the lint: for expressions made from a linted rule."""
        try:
            compiled = self.env.compile(source)
        except RuntimeError as refused:
            raise Rejected(said(source, str(refused))) from None
        return Expression(source, str(compiled.return_type().name()), compiled)

    def unparsable(self, checked: tree.Checked) -> Iterable[lint.Objection]:
        """Try the constants of timestamp() and duration(), which fail only at run."""
        for node in tree.nodes(checked.root):
            match node:
                case tree.Call(function="timestamp" | "duration", args=(tree.Const(),)):
                    constant = self.compile(tree.written(node))
                    if isinstance(constant.value(Bound(None)), Failed):
                        offset = checked.offsets.get(node.id, 0)
                        yield lint.Objection(offset, f"{constant.source} has no value")
                case tree.Call(function="matches", args=(_, tree.Const() as pattern)):
                    tried = self.compile(f"''.matches({tree.written(pattern)})")
                    if isinstance(tried.holds(Bound(None)), Failed):
                        offset = checked.offsets.get(node.id, 0)
                        yield lint.Objection(offset, "is not a regular expression")

    def bind(
        self, facts: Facts, roots: Iterable[str], params: Mapping[str, Message]
    ) -> Bound:
        """Hand over the named facts; `params` go by name with their `params.`."""
        given: dict[str, object] = dict(params)
        for name in roots:
            value = getattr(facts, name)
            # A flat list of messages is the one thing that cannot go in as protobuf.
            given[name] = list(value) if name in LISTS else value
        return Bound(self.env.Activation(given))


def type_of(message: str, name: str) -> cel.Type:
    kind = cel.Type(message)
    return cel.Type.List(kind) if name in LISTS else kind


def said(source: str, message: str) -> list[Fault]:
    """Read the engine's complaint; it counts lines and columns as we do."""
    faults = [
        placed(source, int(line), int(column), text.removesuffix(" [INVALID_ARGUMENT]"))
        for line, column, text in COMPILE_ERROR.findall(message)
    ]
    return faults or [fault(source, 0, message.splitlines()[0])]


def fault(source: str, offset: int, message: str) -> Fault:
    before = source[:offset]
    line = before.count("\n") + 1
    return placed(source, line, offset - (before.rfind("\n") + 1) + 1, message)


def placed(source: str, line: int, column: int, message: str) -> Fault:
    lines = source.split("\n")
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    caret = f" | {shown[:200]}\n | {'.' * min(column - 1, 200)}^"
    return Fault(line, column, message, caret)
