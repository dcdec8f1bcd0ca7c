"""Which facts a decoder hands over, and in what order.

Every fact that is asked for gets a slot. A field of a list's items gets a column: the
values of all items, or None where one of them lacks it. A list whose items are wanted
whole gets rows besides. What is not asked for is checked and not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.facts import (
    LARGEST_DOUBLE,
    LEAVES,
    MAX_BYTES,
    most_items,
    stored_form,
)
from modelkeep.policy.facts import Kind as Leaf

Names: TypeAlias = tuple[str, ...]
"""Fields' names from a message down."""
Spec: TypeAlias = tuple["int | bytes | Spec", ...]
Made: TypeAlias = tuple[Spec, int, bytes, int, float, bool]
"""What a Decoder is made of: fields, slots, what stands in empty ones, the most bytes,
the largest number, and whether the longer of two keys that begin alike comes first.
"""


class Kind(IntEnum):
    """How a field is read: the numbers of `decode.c`."""

    OPAQUE = 1
    BOOL = 2
    INT = 3
    DOUBLE = 4
    TEXT = 5
    MOMENT = 6
    MESSAGE = 7
    TEXTS = 8
    MESSAGES = 9
    DOUBLES = 10


class Empty(IntEnum):
    """What stands where nothing is."""

    NONE = 0
    LIST = 1
    TUPLE = 2
    DICT = 3


SCALARS: Final = {
    Leaf.BOOL: Kind.BOOL,
    Leaf.INT: Kind.INT,
    Leaf.DOUBLE: Kind.DOUBLE,
    Leaf.STRING: Kind.TEXT,
    Leaf.TIMESTAMP: Kind.MOMENT,
}
UNKEPT: Final = -1
MOST_SLOTS: Final = 256


class Unreadable(Exception):
    """A schema, or so many facts, that a decoder cannot be made for."""


@dataclass
class Frame:
    """The slots of one message, or of one item of a list."""

    slots: dict[Names, int] = field(default_factory=dict)
    empty: list[Empty] = field(default_factory=list)
    lists: dict[Names, Listed] = field(default_factory=dict)

    def new(self, empty: Empty) -> int:
        if len(self.empty) == MOST_SLOTS:
            raise Unreadable("too many facts")
        self.empty.append(empty)
        return len(self.empty) - 1

    def take(self, names: Names, empty: Empty = Empty.NONE) -> int:
        """Return the slot of a field that is no list of messages."""
        if names not in self.slots:
            self.slots[names] = self.new(empty)
        return self.slots[names]

    def listed(self, names: Names) -> Listed:
        return self.lists.setdefault(names, Listed())


@dataclass
class Listed:
    """A list of messages, by the slots of whoever holds it."""

    frame: Frame = field(default_factory=Frame)
    columns: dict[int, int] = field(default_factory=dict)
    items: int = UNKEPT
    rows: int = UNKEPT
    width: int = 0


class Layout:
    """Facts by number. Ask first, then make."""

    def __init__(self) -> None:
        self._frame = Frame()

    @property
    def width(self) -> int:
        return len(self._frame.empty)

    def value(self, *names: str) -> int:
        """A scalar's slot; moments are nanoseconds since 1970."""
        return self._frame.take(names)

    def texts(self, *names: str) -> int:
        """A list of words, as a list."""
        return self._frame.take(names, Empty.LIST)

    def doubles(self, *names: str) -> int:
        """A map to numbers."""
        return self._frame.take(names, Empty.DICT)

    def many(self, *names: str) -> int:
        """A list of either kind."""
        words = _descend(names[:-1]).fields_by_name[names[-1]].message_type is None
        return self.texts(*names) if words else self.items(*names)

    def items(self, *names: str) -> int:
        """A tuple as long as the list, of nothing."""
        listed = self._frame.listed(names)
        if listed.items == UNKEPT:
            listed.items = self._frame.new(Empty.TUPLE)
        return listed.items

    def column(self, names: Names, within: Names) -> int:
        listed = self._frame.listed(names)
        leaf = listed.frame.take(within)
        if leaf not in listed.columns:
            listed.columns[leaf] = self._frame.new(Empty.LIST)
        return listed.columns[leaf]

    def rows(self, names: Names, within: Sequence[str]) -> int:
        """A tuple an item, with these of its fields; before any column of them."""
        listed = self._frame.listed(names)
        if listed.frame.empty:
            raise Unreadable("rows come before columns")
        item = _descend(names).fields_by_name
        for name in within:
            texts = item[name].is_repeated
            listed.frame.take((name,), Empty.TUPLE if texts else Empty.NONE)
        listed.width = len(within)
        listed.rows = self._frame.new(Empty.TUPLE)
        return listed.rows

    def made(self) -> Made:
        """All that is asked for, and a check of all that is not."""
        return self._made(tuple(_fields(Facts.DESCRIPTOR, self._frame, (), "")))

    def peeking(self) -> Made:
        """What is asked for, with no look at messages that hold nothing of it."""
        asked = {names[0] for names in self._frame.slots}
        fields = tuple(
            (one.number, Kind.OPAQUE, UNKEPT, ())
            if one.name not in asked
            else _field(one, self._frame, (), "")
            for one in Facts.DESCRIPTOR.fields
        )
        return self._made(fields)

    def _made(self, fields: Spec) -> Made:
        empty = bytes(self._frame.empty)
        return fields, self.width, empty, MAX_BYTES, LARGEST_DOUBLE, longer_first()


@cache
def longer_first() -> bool:
    """How protobuf sorts a map's keys where one begins with the other: asked of it,
    since it promises nothing.
    """
    facts = Facts()
    facts.evidence.metrics["a"] = facts.evidence.metrics["ab"] = 1.0
    stored = stored_form(facts)
    return stored.index(b"ab") < stored.index(b"\x01a")


def _descend(names: Names) -> Descriptor:
    at = Facts.DESCRIPTOR
    for name in names:
        found = at.fields_by_name[name].message_type
        if found is None:
            raise Unreadable(".".join(names))
        at = found
    return at


def _fields(of: Descriptor, frame: Frame, above: Names, path: str) -> Iterator[Spec]:
    for one in of.fields:
        yield _field(one, frame, above, path)


def _field(one: FieldDescriptor, frame: Frame, above: Names, path: str) -> Spec:
    names, text = (*above, one.name), f"{path}.{one.name}" if path else one.name
    target, most = one.message_type, most_items(text)
    slot = frame.slots.get(names, UNKEPT)
    if target is None:
        if not one.is_repeated or one.type != FieldDescriptor.TYPE_STRING:
            raise Unreadable(text)
        tuples = slot != UNKEPT and frame.empty[slot] is Empty.TUPLE
        return one.number, Kind.TEXTS, slot, (most, int(tuples))
    if target.GetOptions().map_entry:
        kinds = [field.type for field in target.fields]
        if kinds != [FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_DOUBLE]:
            raise Unreadable(text)
        return one.number, Kind.DOUBLES, slot, (most,)
    if one.is_repeated:
        return _list(one, target, frame.lists.get(names) or Listed(), text)
    leaf = LEAVES.get(target.full_name)
    if leaf is not None:
        return one.number, SCALARS[leaf], slot, ()
    inner = tuple(_fields(target, frame, names, text))
    return one.number, Kind.MESSAGE, UNKEPT, inner


def _list(one: FieldDescriptor, target: Descriptor, listed: Listed, text: str) -> Spec:
    own = listed.frame
    more = (
        most_items(text),
        listed.items,
        tuple(_fields(target, own, (), f"{text}[]")),
        len(own.empty),
        bytes(own.empty),
        tuple(listed.columns.items()),
        listed.width,
    )
    return one.number, Kind.MESSAGES, listed.rows, more
