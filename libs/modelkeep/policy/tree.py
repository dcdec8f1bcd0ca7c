"""A checked expression as a tree: decoded from the engine's CheckedExpr bytes.

The engine expands `all`, `exists` and their kin into loops before it hands the tree
out; they are folded back here, because a rule is read, bounded and explained in the
words it was written in. The format is cel-spec's `cel/expr/checked.proto`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

# cel.expr.Type by field number: a primitive or the wrapper of one, a well-known type.
PRIMITIVES: Mapping[object, str] = {
    1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"
}  # fmt: skip
WELL_KNOWN: Mapping[object, str] = {1: "any", 2: "timestamp", 3: "duration"}
TYPES: Mapping[int, str | Mapping[object, str]] = {
    3: PRIMITIVES, 4: PRIMITIVES, 5: WELL_KNOWN, 6: "list", 7: "map", 9: "message"
}  # fmt: skip
SECOND_VARIABLE = 8  # of a loop


@dataclass(frozen=True, slots=True)
class Const:
    id: int
    value: Literal


@dataclass(frozen=True, slots=True)
class Name:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    id: int
    of: Node
    field: str


@dataclass(frozen=True, slots=True)
class Has:
    id: int
    of: Node
    field: str


@dataclass(frozen=True, slots=True)
class Call:
    """`args` begins with the target where the call is written as a method."""

    id: int
    function: str
    args: tuple[Node, ...]
    method: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    id: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Macro:
    """`over.kind(variable, body)`."""

    id: int
    kind: str
    over: Node
    variable: str
    body: Node


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something a rule has no use for; `what` says it in words."""

    id: int
    what: str


Literal: TypeAlias = "bool | int | float | str"
Node: TypeAlias = "Const | Name | Field | Has | Call | Items | Macro | Unknown"
Wire: TypeAlias = "int | bytes"
Fields: TypeAlias = Mapping[int, list[Wire]]


@dataclass(frozen=True, slots=True)
class Checked:
    """`types` and `offsets` (in code points) go by node id."""

    root: Node
    types: Mapping[int, str]
    offsets: Mapping[int, int]

    def type_of(self, node: Node) -> str:
        return self.types.get(node.id, "other")


def decode(serialized: bytes) -> Checked:
    """Read an Any that holds a cel.expr.CheckedExpr."""
    checked = fields(data(fields(serialized), 2))
    types = (fields(as_bytes(entry)) for entry in checked.get(3, []))
    source = fields(data(checked, 5))
    offsets = (fields(as_bytes(entry)) for entry in source.get(4, []))
    return Checked(
        node(fields(data(checked, 4))),
        {number(entry, 1): type_name(fields(data(entry, 2))) for entry in types},
        {number(entry, 1): number(entry, 2) for entry in offsets},
    )


def type_name(found: Fields) -> str:
    for number_, name in TYPES.items():
        if number_ in found:
            value = found[number_][-1]
            return name if isinstance(name, str) else name.get(value, "other")
    return "other"


def node(found: Fields) -> Node:
    id_ = number(found, 2)
    for kind, read in READERS.items():
        if kind in found:
            return read(id_, fields(data(found, kind)))
    return Unknown(id_, "an empty expression")


def children(found: Fields, key: int) -> tuple[Node, ...]:
    return tuple(node(fields(as_bytes(child))) for child in found.get(key, []))


def child(found: Fields, key: int) -> Node:
    return node(fields(data(found, key)))


def constant(id_: int, found: Fields) -> Node:
    for kind, read in CONSTANTS.items():
        if kind in found:
            value = read(found[kind][-1])
            return Unknown(id_, "null") if value is None else Const(id_, value)
    return Unknown(id_, "a constant of another type")


def name(id_: int, found: Fields) -> Node:
    return Name(id_, text(found, 1))


def select(id_: int, found: Fields) -> Node:
    kind = Has if number(found, 3) else Field
    return kind(id_, child(found, 1), text(found, 2))


def call(id_: int, found: Fields) -> Node:
    target = (child(found, 1),) if 1 in found else ()
    return Call(id_, text(found, 2), (*target, *children(found, 3)), bool(target))


def listed(id_: int, found: Fields) -> Node:
    optional = number(found, 2) > 0 or bool(data(found, 2))
    return Unknown(id_, "an optional") if optional else Items(id_, children(found, 1))


def made(id_: int, _: Fields) -> Node:
    return Unknown(id_, "a message or a map made on the spot")


def loop(id_: int, found: Fields) -> Node:
    """Fold the expansion of a macro back into the macro."""
    over, step = child(found, 2), child(found, 6)
    if SECOND_VARIABLE in found or not isinstance(step, Call):
        return Unknown(id_, "a loop")
    variable = text(found, 1)
    kind, body = folded(variable, child(found, 4), step, child(found, 7))
    if body is None:
        return Unknown(id_, kind)
    return Macro(id_, kind, over, variable, body)


def folded(
    variable: str, start: Node, step: Call, result: Node
) -> tuple[str, Node | None]:
    if isinstance(result, Call):
        return "exists_one", step.args[0] if step.function == "_?_:_" else None
    if isinstance(start, Const) and step.function == "_&&_":
        return "all", step.args[1]
    if isinstance(start, Const) and step.function == "_||_":
        return "exists", step.args[1]
    if isinstance(start, Items) and step.function == "_?_:_":
        grown = step.args[1]
        if isinstance(grown, Call) and isinstance(grown.args[1], Items):
            (item,) = grown.args[1].items
            if isinstance(item, Name) and item.name == variable:
                return "filter", step.args[0]
    return "map()", None


def nodes(root: Node) -> Iterator[Node]:
    """Every node, the outer before the inner."""
    yield root
    for inner in below(root):
        yield from nodes(inner)


def below(root: Node) -> tuple[Node, ...]:
    match root:
        case Field(of=of) | Has(of=of):
            return (of,)
        case Call(args=args):
            return args
        case Items(items=items):
            return items
        case Macro(over=over, body=body):
            return (over, body)
    return ()


def written(root: Node) -> str:  # noqa: PLR0911 - one answer for each kind of node
    """Write a tree as CEL, each inner operation in brackets.

    >>> now, at = Name(1, "now"), Field(2, Name(3, "evidence"), "validated_at")
    >>> written(Call(4, "_<_", (Call(5, "_-_", (now, at)), Name(6, "params.age"))))
    '(now - evidence.validated_at) < params.age'
    """
    match root:
        case Const(value=value):
            return literal(value)
        case Name(name=name):
            return name
        case Field(of=of, field=field):
            return f"{inner(of)}.{field}"
        case Has(of=of, field=field):
            return f"has({inner(of)}.{field})"
        case Items(items=items):
            return f"[{', '.join(written(item) for item in items)}]"
        case Macro(kind=kind, over=over, variable=variable, body=body):
            return f"{inner(over)}.{kind}({variable}, {written(body)})"
        case Call():
            return called(root)
    return "?"


def called(root: Call) -> str:
    function, args = root.function, root.args
    if function == "_?_:_":
        return " ".join((inner(args[0]), "?", inner(args[1]), ":", inner(args[2])))
    if function == "_[_]":
        return f"{inner(args[0])}[{written(args[1])}]"
    if function == "@in":
        return f"{inner(args[0])} in {inner(args[1])}"
    if function.startswith("_"):
        return f"{inner(args[0])} {function.strip('_')} {inner(args[1])}"
    if function.endswith("_"):
        return f"{function[0]}{inner(args[0])}"
    listed = ", ".join(written(arg) for arg in args[root.method :])
    return (
        f"{inner(args[0])}.{function}({listed})"
        if root.method
        else (f"{function}({listed})")
    )


def inner(root: Node) -> str:
    text_ = written(root)
    operation = isinstance(root, Call) and not root.function[0].isalpha()
    negative = isinstance(root, Const) and text_.startswith("-")
    indexed = isinstance(root, Call) and root.function == "_[_]"
    return f"({text_})" if (operation and not indexed) or negative else text_


def literal(value: Literal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        json.dumps(value, ensure_ascii=False)
        if isinstance(value, str)
        else (repr(value))
    )


def null(_: Wire) -> None:
    return None


def whole(value: Wire) -> int:
    return signed(value) if isinstance(value, int) else 0


def fraction(value: Wire) -> float:
    return float(struct.unpack("<d", as_bytes(value))[0])


def string(value: Wire) -> str:
    return as_bytes(value).decode()


CONSTANTS: Mapping[int, Callable[[Wire], Literal | None]] = {
    1: null, 2: bool, 3: whole, 5: fraction, 6: string
}  # fmt: skip
READERS: Mapping[int, Callable[[int, Fields], Node]] = {
    3: constant, 4: name, 5: select, 6: call, 7: listed, 8: made, 9: loop
}  # fmt: skip


def fields(message: bytes) -> dict[int, list[Wire]]:
    """Read one protobuf message into its fields' raw values, by number."""
    found: dict[int, list[Wire]] = {}
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        kind = key & 7
        if kind == 0:
            value: Wire
            value, at = varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                size, at = varint(message, at)
            value, at = message[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at


def signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def number(found: Fields, key: int) -> int:
    value = found.get(key, [0])[-1]
    return value if isinstance(value, int) else 0


def data(found: Fields, key: int) -> bytes:
    return as_bytes(found.get(key, [b""])[-1])


def text(found: Fields, key: int) -> str:
    return data(found, key).decode()


def as_bytes(value: Wire) -> bytes:
    return value if isinstance(value, bytes) else b""
