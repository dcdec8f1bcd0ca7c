"""A plan written as one Python function: a number for every rule's outcome.

The engine answers a condition in microseconds, most of them spent handing facts over;
whoever asks the same plan hundreds of thousands of times has it written in Python. Only
what the lint lets pass is translated, from the checked tree and never from text that
somebody wrote: names come from the schema, constants are `repr`s. What would need care
to be the same in both (whole division, patterns, calendars, loops in loops) is still
asked of the engine. A test holds both against each other.

A fact that is absent, not finite or out of the calendar leaves its rules unanswered, as
does a list with too few items: `program.py` tells these apart, here they are one.

Facts come as a message, or, where there is a decoder (`decode.py`), as the bytes that
they are kept in: then all of them are at hand at once, and None is what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import facts as reading
from modelkeep.policy import lint, tree
from modelkeep.policy.approvals import Duty
from modelkeep.policy.bundle import OWED, Bundle
from modelkeep.policy.decode import Compiled as Built
from modelkeep.policy.engine import Bound, Failed
from modelkeep.policy.engine import Rule as Compiled
from modelkeep.policy.facts import (
    FIRST_SECOND,
    LARGEST_DOUBLE,
    LAST_SECOND,
    Hop,
    Kind,
    Path,
)
from modelkeep.policy.layout import Layout, Unreadable
from modelkeep.policy.ruling import Half, Owing, Plan, Step

Answer: TypeAlias = "Callable[[Facts], tuple[int, ...]]"
"""A number a rule, in the plan's order, behind one that says whether all that the
action requires is there; then one for each conditional duty (TRUE: it is owed, and what
its seats are counted by is there). Raises what Python raises where an expression has no
value.
"""

FlatAnswer: TypeAlias = "Callable[[bytes], tuple[tuple[int, ...], int, str | None]]"
"""The same of stored facts, how many approvals are among them, and what the version's
artifacts were found to be. Raises NoAnswer for bytes that are not as facts are kept.
"""

UNANSWERED, FALSE, TRUE, SKIPPED = range(4)

NANOS: Final = 10**9
LARGEST_WHOLE: Final = 2**63 - 1
LONGEST: Final = LAST_SECOND * NANOS
THERE: Final = frozenset({Kind.BOOL, Kind.INT, Kind.STRING})
"""Whatever value these have, they have one."""

NOTHING: Final = {Kind.BOOL: False, Kind.INT: 0, Kind.DOUBLE: 0.0, Kind.STRING: ""}
"""What is read where nothing is stated."""

MAX_LOOPS: Final = 8
"""So many walks of a full list stay below the engine's own limit of steps."""
COMPARES: Final = {name: name.strip("_") for name in lint.ORDERED | lint.EQUAL}
TESTS: Final = {
    "startsWith": "({0}).startswith({1})",
    "endsWith": "({0}).endswith({1})",
    "contains": "({1} in {0})",
}


class Untranslated(Exception):
    """For the engine; or, of a plan's paths, for nobody."""


def whole(value: int) -> int:
    if not -LARGEST_WHOLE - 1 <= value <= LARGEST_WHOLE:
        raise OverflowError(value)
    return value


def moment(value: int) -> int:
    if not FIRST_SECOND * NANOS <= value < (LAST_SECOND + 1) * NANOS:
        raise OverflowError(value)
    return value


def span(value: int) -> int:
    if abs(value) > LONGEST:
        raise OverflowError(value)
    return value


def usable(column: Sequence[float]) -> bool:
    """Whether every one is a measure; with a NaN in it, a sum is no number."""
    total = sum(column)
    least, most = min(column, default=0.0), max(column, default=0.0)
    return total == total and least >= -LARGEST_DOUBLE and most <= LARGEST_DOUBLE  # noqa: PLR0124


class NoAnswer(Exception):
    """The engine's: an evaluation that failed; or the decoder's, of bytes that are not
    as facts are kept.
    """


CHECKS: Final = {
    "int": "whole({})",
    "double": "({})",
    "timestamp": "moment({})",
    "duration": "span({})",
}


def write(bundle: Bundle, plan: Plan) -> Answer:
    """Raises Untranslated for a plan whose facts this cannot read."""
    return cast("Answer", Writer(bundle, plan).answer())


def write_flat(bundle: Bundle, plan: Plan, built: Built) -> FlatAnswer:
    """The same of bytes; raises Untranslated as `write`."""
    writer = Writer(bundle, plan, built, Layout())
    return cast("FlatAnswer", writer.answer())


@dataclass
class Writer:
    """One function's text, and what its names stand for."""

    bundle: Bundle
    plan: Plan
    built: Built | None = None
    layout: Layout | None = None
    """Where facts come as bytes: what of them is handed over."""
    lines: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    there: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    walked: set[str] = field(default_factory=set)
    """What the walk that is being written takes of each item."""
    given: dict[str, object] = field(default_factory=dict)
    asked: list[Half] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    """What a rule reads; of the others it is enough that they are there."""

    def answer(self) -> object:
        self.read = {path.text for path in self.plan.paths}
        told = "".join(f"({one}), " for one in self._numbers())
        if self.layout is None:
            self.lines.append(f"return ({told})")
        else:
            spoken = slot(self.layout.items("approvals"))
            artifacts = slot(self.layout.value("version", "artifacts"))
            self.lines.append(f"return ({told}), len({spoken}), {artifacts}")
        return self._made()

    def _numbers(self) -> list[str]:
        for path in self._paths():
            self._read(path)
        told = [self._needed(), *map(self._rule, self.plan.steps)]
        return [*told, *map(self._owed, conditional(self.plan))]

    def _made(self) -> object:
        lazy = ["lazy = []"] if self.asked else []
        body = "\n    ".join([*self._handed(), *lazy, *self.lines])
        names: dict[str, object] = {
            "whole": whole,
            "moment": moment,
            "span": span,
            "usable": usable,
            "engine": self._engine,
            **self.given,
        }
        # Nothing in it was written by anybody but `Writer`: see the module's words.
        exec(compile(f"def answer(g):\n    {body}\n", "<plan>", "exec"), names)  # noqa: S102
        return names["answer"]

    def _handed(self) -> list[str]:
        """Every fact by the name of its slot."""
        if self.layout is None or self.built is None:
            return []
        try:
            self.given["decode"] = self.built.reader(self.layout.made())
        except Unreadable as refused:
            raise Untranslated(str(refused)) from None
        self.given["NoAnswer"] = NoAnswer
        lines = ["flat = decode(g)", "if flat is None: raise NoAnswer('not as kept')"]
        if names := "".join(f"{slot(n)}, " for n in range(self.layout.width)):
            lines.append(f"{names} = flat")
        return lines

    def _engine(self, facts: Facts | bytes, lazy: list[Bound], number: int) -> bool:
        if not lazy:
            engine, given = self.bundle.engine, message(facts)
            lazy.append(engine.bind(given, self.plan.roots, self.plan.params))
        found = self.asked[number].expression.holds(lazy[0])
        if isinstance(found, Failed):
            raise NoAnswer(found.message)
        return found

    # --- facts ---------------------------------------------------------------------

    def _paths(self) -> Iterator[Path]:
        seated = [one.duty for one in self.plan.owing if one.duty.seats]
        every = [*self.plan.paths, *self.plan.require, *counted(seated)]
        every += [path for path, _ in self.plan.lists]
        yield from {path.text: path for path in every}.values()

    def _read(self, path: Path) -> None:
        if self.layout is not None:
            self._take(path, self.layout)
            return
        n = len(self.there)
        there, value = f"p{n}", f"x{n}"
        self.there[path.text], self.values[path.text] = there, value
        said = self.lines.append
        if any(hop.each for hop in path.hops):
            self._read_each(path, there, value)
            return
        at, last = self._message(path.hops[:-1]), path.hops[-1]
        if last.key is not None:
            key = repr(last.key)
            said(f"{there} = {key} in {at}.{last.field}")
            said(f"{value} = {at}.{last.field}[{key}] if {there} else 0.0")
            said(f"{there} = {there} and {finite(value)}")
        elif path.kind is Kind.LIST:
            self.values[path.text] = self._list(at, last.field)
            said(f"{there} = True")
        elif path.kind in {Kind.MAP, Kind.MESSAGE}:
            raise Untranslated(path.text)
        elif path.text in self.read or path.kind not in THERE:
            has = f"{at}.HasField({last.field!r})"
            self._scalar(path.kind, f"{at}.{last.field}", (there, value), has)
        else:
            said(f"{there} = {at}.HasField({last.field!r})")

    def _take(self, path: Path, layout: Layout) -> None:
        """A name for what is handed over."""
        names, text = tuple(hop.field for hop in path.hops), path.text
        if any(hop.each for hop in path.hops):
            self._take_each(path, names, layout)
        elif (key := path.hops[-1].key) is not None:
            value = self.values[text] = f"y{len(self.there)}"
            self.lines.append(f"{value} = {slot(layout.doubles(*names))}.get({key!r})")
            self.there[text] = f"{value} is not None"
        elif path.kind is Kind.LIST:
            self.values[text] = slot(layout.many(*names))
            self.there[text] = "True"
        elif path.kind in {Kind.MAP, Kind.MESSAGE}:
            raise Untranslated(text)
        else:
            value = self.values[text] = slot(layout.value(*names))
            self.there[text] = f"{value} is not None"

    def _take_each(self, path: Path, names: Sequence[str], layout: Layout) -> None:
        first, *rest = [n + 1 for n, hop in enumerate(path.hops) if hop.each]
        if rest or path.kind in {Kind.LIST, Kind.MAP}:
            raise Untranslated(path.text)
        within = tuple(names[first:])
        if not within:
            self.values[path.text] = slot(layout.many(*names[:first]))
            self.there[path.text] = "True"
        elif path.kind is Kind.MESSAGE:
            raise Untranslated(path.text)
        else:
            column = slot(layout.column(tuple(names[:first]), within))
            self.values[path.text] = self.columns[path.text] = column
            self.there[path.text] = f"{column} is not None"

    def _list(self, at: str, field: str) -> str:
        """A list, fetched once."""
        name = f"l_{at}_{field}"
        if name not in self.values:
            self.values[name] = name
            self.lines.append(f"{name} = {at}.{field}")
        return name

    def _scalar(self, kind: Kind, at: str, names: tuple[str, str], has: str) -> None:
        """Asking for presence costs as much as reading: a value other than the
        default is there without asking.
        """
        there, value = names
        said = self.lines.append
        if kind is Kind.TIMESTAMP:
            said(f"t = {at}; s = t.seconds; n = t.nanos")
            said(f"{there} = (s or {has}) and {in_calendar('s', 'n')}")
            said(f"{value} = s * {NANOS} + n")
            return
        said(f"{value} = {at}.value")
        guard = f"{finite(value)} and " if kind is Kind.DOUBLE else ""
        said(f"{there} = {guard}({value} or {has})")

    def _read_each(self, path: Path, there: str, value: str) -> None:
        """A list, or a column of one; deeper ones are for nobody."""
        first, *rest = [n for n, hop in enumerate(path.hops) if hop.each]
        if rest or len(path.hops) > first + 3 or path.kind in {Kind.LIST, Kind.MAP}:
            raise Untranslated(path.text)
        before = Hop(path.hops[first].field)
        at = self._message(path.hops[:first])
        items = self.values[path.text] = self._list(at, before.field)
        hops = path.hops[first + 1 :]
        if path.kind in NOTHING and len(hops) == 1 and path.text in self.read:
            self.columns[path.text] = f"c{value[1:]}"
            self._column(path, hops[0].field, there, items)
        else:
            self.lines.append(f"{there} = {self._each_there(hops, path.kind, items)}")

    def _column(self, path: Path, field: str, there: str, items: str) -> None:
        """One value an item; without a default among them, all are there."""
        column = self.columns[path.text]
        self.lines.append(f"{column} = [i.{field}.value for i in {items}]")
        each = f"all([i.HasField({field!r}) for i in {items}])"
        guard = f"usable({column}) and " if path.kind is Kind.DOUBLE else ""
        nothing = NOTHING[path.kind]
        self.lines.append(f"{there} = {guard}({nothing!r} not in {column} or {each})")

    def _each_there(self, hops: Sequence[Hop], kind: Kind, items: str) -> str:
        if not hops or kind is Kind.MESSAGE:
            return "True"
        at = ".".join(["i", *(hop.field for hop in hops[:-1])])
        has = f"{at}.HasField({hops[-1].field!r})"
        one = f"{at}.{hops[-1].field}"
        if kind is Kind.DOUBLE:
            has = f"({has} and {finite(f'{one}.value')})"
        elif kind is Kind.TIMESTAMP:
            has = f"({has} and {in_calendar(f'{one}.seconds', f'{one}.nanos')})"
        return f"all([{has} for i in {items}])"

    def _message(self, hops: Sequence[Hop]) -> str:
        """The message that these fields lead to, fetched once."""
        if not hops:
            return "g"
        name = "m_" + "_".join(hop.field for hop in hops)
        if name not in self.values:
            self.values[name] = name
            self.lines.append(f"{name} = {self._message(hops[:-1])}.{hops[-1].field}")
        return name

    # --- rules ---------------------------------------------------------------------

    def _needed(self) -> str:
        tests = [self.there[path.text] for path in self.plan.require]
        tests += [
            f"len({self.values[path.text]}) > 0"
            for path in self.plan.require
            if path.kind is Kind.LIST or any(hop.each for hop in path.hops)
        ]
        for one in self.plan.owing:
            if one.when is None:
                tests += self._countable(one.duty)
        wanted = " and ".join(dict.fromkeys(tests)) or "True"
        return f"{TRUE} if {wanted} else {FALSE}"

    def _countable(self, duty: Duty) -> Iterator[str]:
        for path in counted([duty] if duty.seats else []):
            if path.kind is not Kind.STRING:
                raise Untranslated(path.text)
            yield self.there[path.text]
            if any(hop.each for hop in path.hops):
                yield f"len({self.values[path.text]}) > 0"

    def _owed(self, one: Owing) -> str:
        if one.when is None:
            return str(TRUE)
        (compiled,) = self.bundle.rules[one.duty.policy, OWED].both
        wanted = " and ".join(dict.fromkeys(self._countable(one.duty)))
        owed = f"{TRUE} if {wanted} else {UNANSWERED}" if wanted else str(TRUE)
        return self._half(one.when, compiled, owed, str(FALSE))

    def _rule(self, step: Step) -> str:
        both = self.bundle.rules[step.policy.id, step.rule.id].both
        *whens, (half, compiled) = zip(step.halves, both, strict=True)
        said = self._half(half, compiled, str(TRUE), str(FALSE))
        for when, tested in whens:
            said = self._half(when, tested, said, str(SKIPPED))
        return said

    def _half(self, half: Half, compiled: Compiled, holds: str, fails: str) -> str:
        tests = [self.there[text] for text in sorted(half.reads)]
        tests += [
            f"len({self.values[path.text]}) >= {least}"
            for path, least in half.lists
            if least
        ]
        condition = self._condition(half, compiled)
        said = f"(({holds}) if {condition} else {fails})"
        wanted = " and ".join(dict.fromkeys(tests))
        return f"({said} if {wanted} else {UNANSWERED})" if wanted else said

    def _condition(self, half: Half, compiled: Compiled) -> str:
        walks = [
            n for n in tree.nodes(compiled.checked.root) if isinstance(n, tree.Macro)
        ]
        try:
            if len(walks) > MAX_LOOPS:
                raise Untranslated(half.source)
            return self._node(compiled.checked.root, {}, compiled.checked)
        except Untranslated:
            self.asked.append(half)
            return f"engine(g, lazy, {len(self.asked) - 1})"

    def _node(  # noqa: PLR0911 - one answer for each kind of node
        self, node: tree.Node, scope: Mapping[str, str], checked: tree.Checked
    ) -> str:
        if (text := lint.path_text(node, scope)) is not None:
            return self._fact(text)
        match node:
            case tree.Const(value=value):
                return repr(value)
            case tree.Name(name=name):
                return self._param(name)
            case tree.Macro():
                return self._walk(node, scope, checked)
            case tree.Call(function="size", args=(tree.Macro() as walk,)):
                return f"sum({self._each(walk, scope, checked)})"
            case tree.Call(function="size", args=(of,)):
                return f"len({self._node(of, scope, checked)})"
            case tree.Call(function="timestamp" | "duration", args=(tree.Const(),)):
                return self._constant(node)
            case tree.Call():
                return self._call(node, scope, checked)
        raise Untranslated(tree.written(node))

    def _fact(self, text: str) -> str:
        if text in self.values and "[]" not in text:
            return self.values[text]
        if (column := self.columns.get(text)) is not None:
            self.walked.add(column)
            return f"v{column}"
        self.walked.add("")
        path = reading.path(text)
        hops = path.hops[next(n for n, hop in enumerate(path.hops) if hop.each) + 1 :]
        at = ".".join(["v", *(hop.field for hop in hops)])
        if not hops:
            return at
        if self.layout is not None:
            raise Untranslated(text)
        if path.kind is Kind.TIMESTAMP:
            return f"({at}.seconds * {NANOS} + {at}.nanos)"
        if path.kind not in reading.PLAIN:
            raise Untranslated(text)
        return f"{at}.value"

    def _param(self, name: str) -> str:
        message = self.plan.params.get(name)
        if message is None:
            raise Untranslated(name)
        known = name.replace(".", "_")
        self.given[known] = param(message)
        return known

    def _constant(self, node: tree.Node) -> str:
        found = self.bundle.engine.compile(tree.written(node)).value(Bound(None))
        if isinstance(found, timedelta):
            micros = found // timedelta(microseconds=1)
        elif isinstance(found, datetime):
            micros = (found - EPOCH) // timedelta(microseconds=1)
        else:
            raise Untranslated(tree.written(node))
        if "." in tree.written(node):  # finer than Python's clock, perhaps
            raise Untranslated(tree.written(node))
        return repr(micros * 1_000)

    def _walk(
        self, node: tree.Macro, scope: Mapping[str, str], checked: tree.Checked
    ) -> str:
        if (extreme := self._extreme(node, scope, checked)) is not None:
            return extreme
        each = self._each(node, scope, checked)
        if node.kind == "exists_one":
            return f"(sum({each}) == 1)"
        name = {"all": "all", "exists": "any"}.get(node.kind)
        if name is None:
            raise Untranslated(node.kind)
        return f"{name}({each})"

    def _extreme(
        self, node: tree.Macro, scope: Mapping[str, str], checked: tree.Checked
    ) -> str | None:
        """One number of each item, all of them on one side of the same limit: then the
        greatest is, or the least. None where it is not that; a NaN never comes here.
        """
        over, body = lint.path_text(node.over, scope), node.body
        if not isinstance(body, tree.Call) or body.function not in lint.ORDERED:
            return None
        left, right = body.args
        text = lint.path_text(left, {node.variable: f"{over}[]"})
        column = self.columns.get(text or "")
        limit = isinstance(right, (tree.Const, tree.Name))
        number = checked.type_of(left) in {"int", "double"}
        if scope or column is None or not limit or not number:
            return None
        sign = COMPARES[body.function]
        said = self._node(right, scope, checked)
        most = "max" if (sign[0] == "<") == (node.kind == "all") else "min"
        tested = f"{most}({column}) {sign} {said}"
        if node.kind == "all":
            return f"(not {column} or {tested})"
        return f"({column} != [] and {tested})" if node.kind == "exists" else None

    def _each(
        self, node: tree.Macro, scope: Mapping[str, str], checked: tree.Checked
    ) -> str:
        over = lint.path_text(node.over, scope)
        if scope or over is None:
            raise Untranslated(tree.written(node))
        inner = {node.variable: f"{over}[]"}
        self.walked.clear()
        body = self._node(node.body, inner, checked)
        columns = sorted(self.walked) or [""]
        names = ", ".join(f"v{one}" for one in columns)
        lists = ", ".join(one or self.values[over] for one in columns)
        lists = f"zip({lists})" if len(columns) > 1 else lists
        return f"[{body} for {names} in {lists}]"

    def _call(  # noqa: C901, PLR0911 - one answer for each function
        self, node: tree.Call, scope: Mapping[str, str], checked: tree.Checked
    ) -> str:
        function, kind = node.function, checked.type_of(node)
        if function == "@in" and isinstance(node.args[1], tree.Items):
            listed = [i.value for i in node.args[1].items if isinstance(i, tree.Const)]
            return f"({self._node(node.args[0], scope, checked)} in {tuple(listed)!r})"
        args = [self._node(arg, scope, checked) for arg in node.args]
        if function in COMPARES:
            return f"({args[0]} {COMPARES[function]} {args[1]})"
        if function in {"_&&_", "_||_"}:
            word = " and " if function == "_&&_" else " or "
            return f"({word.join(args)})"
        if function in TESTS:
            return TESTS[function].format(*args)
        match function, args:
            case "!_", [one]:
                return f"(not {one})"
            case "_?_:_", [test, yes, no]:
                return f"({yes} if {test} else {no})"
            case "@in", [one, many]:
                return f"({one} in {many})"
            case "-_", [one] if kind in CHECKS:
                return CHECKS[kind].format(f"-{one}")
            case "_+_" | "_-_" | "_*_", [left, right] if kind in CHECKS:
                return CHECKS[kind].format(f"({left} {function.strip('_')} {right})")
            case "_/_", [left, right] if kind == "double":
                return f"({left} / {right})"
            case "double", [one]:
                return f"float({one})"
        raise Untranslated(function)


EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def slot(number: int) -> str:
    return f"f{number}"


def message(given: Facts | bytes) -> Facts:
    """Read facts where only bytes are at hand: they have been checked."""
    return Facts.FromString(given) if isinstance(given, bytes) else given


def conditional(plan: Plan) -> tuple[Owing, ...]:
    """The duties that an `Answer` has numbers for, in its order."""
    return tuple(one for one in plan.owing if one.when is not None)


def counted(duties: Sequence[Duty]) -> Iterator[Path]:
    """What seats are counted by: the digest they are for, and who may not fill them."""
    for duty in duties:
        yield duty.bound_to
        for pair in duty.excluding:
            yield from pair


def finite(text: str) -> str:
    return f"-{LARGEST_DOUBLE} <= {text} <= {LARGEST_DOUBLE}"


def in_calendar(seconds: str, nanos: str) -> str:
    return f"{FIRST_SECOND} <= {seconds} <= {LAST_SECOND} and 0 <= {nanos} < {NANOS}"


def param(message: Message) -> bool | int | float | str:
    if isinstance(message, Duration):
        return message.seconds * NANOS + message.nanos
    return cast("bool | int | float | str", message.value)  # type: ignore[attr-defined] # a wrapper has one
