"""YAML that people write to us, read into data whose types are its schema's to check.

It means what YAML 1.1 means: `no` is false and 2026-02-03 is a day. Two readers take
less, since what they read is signed or is another's: `policy/document.py` refuses what
could be read in two ways, and monitoring's `plain_yaml.py` takes it for text.
"""

from __future__ import annotations

from typing import Final

import yaml

from modelkeep.errors import Invalid

MAX_DEPTH: Final = 32
SHOWN: Final = 100
NUMBERS: Final = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
LONGEST_NUMBER: Final = 300
"""Characters. YAML 1.1 counts `1:30` in sixties, and half a million parts of that take
minutes.
"""


def read(field: str, text: bytes | str) -> dict[str, object]:
    """Raises Invalid of `field`, with the line, for what is not YAML, for a value that
    cannot be (the 30th of February), an alias, a document nested without end, and
    anything that is not one mapping by names.
    """
    try:
        found = _Loader(field, text).get_single_data()
    except yaml.YAMLError as wrong:
        raise Invalid.field(field, f"is not YAML: {said(wrong)}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise Invalid.field(field, "is not a mapping of fields")
    return found


def said(wrong: yaml.YAMLError) -> str:
    """Say in one line what is wrong, and in which line, where that is known."""
    if isinstance(wrong, yaml.MarkedYAMLError) and wrong.problem_mark is not None:
        return f"line {wrong.problem_mark.line + 1}: {wrong.problem or 'is not YAML'}"
    return str(wrong).splitlines()[0]


def line_of(event: yaml.Event) -> int:
    """Lines count from 1."""
    return event.start_mark.line + 1 if event.start_mark is not None else 1


class _Loader(yaml.SafeLoader):
    def __init__(self, field: str, text: bytes | str) -> None:
        super().__init__(text)
        self._field, self._depth = field, 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse what a few bytes of could cost: aliases, and nesting without end."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's
        if isinstance(event, yaml.AliasEvent):
            raise self._refused(event, "holds an alias: write the value out")
        if isinstance(event, yaml.CollectionStartEvent) and self._depth >= MAX_DEPTH:
            raise self._refused(event, f"is nested deeper than {MAX_DEPTH}")
        self._depth += 1
        found = super().compose_node(parent, index)
        self._depth -= 1
        return found

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:  # noqa: FBT001, FBT002 - as its base has it
        """PyYAML lets through whatever `int`, `datetime` and the like raise."""
        try:
            if node.tag in NUMBERS and len(node.value) > LONGEST_NUMBER:
                raise ValueError
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                problem=f"{str(node.value)[:SHOWN]!r} is no {kind}",
                problem_mark=node.start_mark,
            ) from None

    def _refused(self, event: yaml.Event, why: str) -> Invalid:
        return Invalid.field(self._field, f"line {line_of(event)} {why}")
