"""The optional decoder reads what protobuf reads, or declines; it never guesses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.compiled import compiled
from tests.unit.disturbed import disturbed

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.decode import Compiled, Read, peeking
from modelkeep.policy.defaults import NAMES, text
from modelkeep.policy.facts import (
    LARGEST_DOUBLE,
    LEAVES,
    Kind,
    from_document,
    is_moment,
    most_items,
    stored_form,
)
from modelkeep.policy.layout import Layout, Names, Unreadable

WORDS = ("", "a", "é", "\x00", "\U0001f600", "x" * 200)
NUMBERS = (0.0, 0.25, -1.5, 1e30, -1e30, math.nan, math.inf, 1e31, -0.0, 5e-324)
WHOLE = (0, 1, -1, 127, 128, 2**31, 2**63 - 1, -(2**63))
SECONDS = (0, 1, -1, 1_772_269_200, -62_135_596_800, 253_402_300_799, 253_402_300_800)
NANOS = (0, 1, 999_999_999, 1_000_000_000, -1)
FIXTURES = [
    from_document(document)
    for name in NAMES
    for document in load_bundle(text(name)).document.fixtures.values()
]


class Slot(NamedTuple):
    """A slot, and the fields that lead to it; `within` those of a list's items."""

    number: int
    names: Names
    within: Names | None = None


def everything(of: Descriptor, layout: Layout, above: Names = ()) -> Iterator[Slot]:
    """Ask for all that facts may hold."""
    for one in of.fields:
        names, target = (*above, one.name), one.message_type
        if target is None:
            yield Slot(layout.texts(*names), names)
        elif target.GetOptions().map_entry:
            yield Slot(layout.doubles(*names), names)
        elif one.is_repeated:
            for within in leaves(target):
                yield Slot(layout.column(names, within), names, within)
        elif target.full_name in LEAVES:
            yield Slot(layout.value(*names), names)
        else:
            yield from everything(target, layout, names)


def leaves(of: Descriptor, above: Names = ()) -> Iterator[Names]:
    for one in of.fields:
        target = one.message_type
        if target is not None and target.full_name in LEAVES:
            yield (*above, one.name)
        elif target is not None:
            yield from leaves(target, (*above, one.name))


@lru_cache(maxsize=1)
def reader() -> tuple[Read, list[Slot]]:
    layout = Layout()
    slots = list(everything(Facts.DESCRIPTOR, layout))
    return compiled().reader(layout.made()), slots


def told(facts: Message, names: Names) -> object:
    """What protobuf has there; None for what is not there."""
    *before, last = names
    at = facts
    for name in before:
        at = getattr(at, name)
    field = at.DESCRIPTOR.fields_by_name[last]
    value = getattr(at, last)
    if field.is_repeated:
        if hasattr(value, "items"):
            return dict(sorted(value.items()))
        return list(value)
    return leaf(value) if at.HasField(last) else None


def leaf(value: Message) -> object:
    if LEAVES[value.DESCRIPTOR.full_name] is Kind.TIMESTAMP:
        seconds, nanos = getattr(value, "seconds"), getattr(value, "nanos")  # noqa: B009
        return seconds * 10**9 + nanos
    return getattr(value, "value")  # noqa: B009 - a wrapper has one


def column(facts: Message, slot: Slot) -> list[object] | None:
    items = told(facts, slot.names)
    assert isinstance(items, list)
    assert slot.within is not None
    values = [told(item, slot.within) for item in items]
    return None if None in values else values


def same(read: Read, slots: list[Slot], stored: bytes) -> bool:
    """Whether it was read; if so, it is what protobuf reads, in the stored form."""
    values = read(stored)
    if values is None:
        return False
    facts = Facts.FromString(stored)
    assert stored_form(facts) == stored
    for slot in slots:
        wanted = told(facts, slot.names) if slot.within is None else column(facts, slot)
        value = values[slot.number]
        if isinstance(value, dict):
            value = dict(sorted(value.items()))
        assert repr(value) == repr(wanted), slot
    return True


def usable(message: Message) -> bool:
    """Whether every number and moment is one, and zero is not below zero."""
    kind = LEAVES.get(message.DESCRIPTOR.full_name)
    if kind is Kind.TIMESTAMP:
        return is_moment(message)
    for field, value in message.ListFields():
        if kind is Kind.DOUBLE and not fine(value):
            return False
        if isinstance(value, Message):
            inner = [usable(value)]
        elif hasattr(value, "items"):
            inner = [abs(one) <= LARGEST_DOUBLE for one in value.values()]
        elif field.is_repeated and field.message_type is not None:
            inner = [usable(one) for one in value]
        else:
            continue
        if not all(inner):
            return False
    return True


def fine(value: float) -> bool:
    return abs(value) <= LARGEST_DOUBLE and str(value) != "-0.0"


def filled(message: Message, random: Random, most: int = 3) -> None:
    """Some of every kind of field, odd ones among them, one time in so many."""
    for field in message.DESCRIPTOR.fields:
        if random.random() < 0.4:
            continue
        value = getattr(message, field.name)
        target = field.message_type
        count = random.randint(0, most)
        if target is None:
            value.extend(random.choice(WORDS) for _ in range(count))
        elif target.GetOptions().map_entry:
            for _ in range(count):
                value[random.choice((*WORDS, "b", "ab"))] = number(random)
        elif field.is_repeated:
            for _ in range(count):
                filled(value.add(), random)
        else:
            value.SetInParent()
            if target.full_name in LEAVES:
                stated(value, LEAVES[target.full_name], random)
            else:
                filled(value, random)


def number(random: Random) -> float:
    return random.choice(NUMBERS if random.random() < 0.01 else NUMBERS[:5])


def stated(value: Message, kind: Kind, random: Random) -> None:
    odd = random.random() < 0.01
    if kind is Kind.TIMESTAMP:
        seconds = random.choice(SECONDS if odd else SECONDS[:-1])
        nanos = random.choice(NANOS if odd else NANOS[:3])
        setattr(value, "seconds", seconds)  # noqa: B010 - a Timestamp has both
        setattr(value, "nanos", nanos)  # noqa: B010
        return
    drawn: object = {
        Kind.BOOL: random.random() < 0.5,
        Kind.INT: random.choice(WHOLE),
        Kind.DOUBLE: number(random),
        Kind.STRING: random.choice(WORDS),
    }[kind]
    setattr(value, "value", drawn)  # noqa: B010 - a wrapper has one


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_facts_of_every_kind_are_read_as_protobuf_reads_them(seed: int) -> None:
    read, slots = reader()
    facts = Facts()
    filled(facts, Random(seed))  # noqa: S311  # as drawn
    assert same(read, slots, stored_form(facts)) is usable(facts)


def test_the_facts_of_the_library_are_read_however_they_are_disturbed() -> None:
    read, slots = reader()
    random, count = Random(3), 0  # noqa: S311  # the same facts each time
    for whole in FIXTURES:
        assert same(read, slots, stored_form(whole))
        for _ in range(3):
            facts = disturbed(whole, random)
            count += same(read, slots, stored_form(facts)) is usable(facts)
    assert count == 3 * len(FIXTURES)


@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, len(FIXTURES) - 1),
    at=st.floats(0, 1, exclude_max=True),
    cut=st.integers(0, 3),
    put=st.binary(max_size=3),
)
def test_bytes_that_were_tampered_with_are_read_as_protobuf_does_or_declined(
    which: int, at: float, cut: int, put: bytes
) -> None:
    read, slots = reader()
    stored = stored_form(FIXTURES[which])
    place = int(at * len(stored))
    same(read, slots, stored[:place] + put + stored[place + cut :])


@settings(deadline=None)
@given(stored=st.binary(max_size=60))
def test_any_bytes_are_read_as_protobuf_does_or_declined(stored: bytes) -> None:
    read, slots = reader()
    same(read, slots, stored)


ODD = {
    "a field that is not known": b"\xfa\x01\x00",
    "a field of another wire type": b"\x08\x01",
    "a fixed number where text is": b"\x0d\x00\x00\x00\x00",
    "a group": b"\x0b\x0c",
    "a field twice": b"\x0a\x03\x0a\x01a\x0a\x03\x0a\x01b",
    "a message in two parts": b"\x22\x05\x0a\x03\x0a\x01a\x22\x05\x12\x03\x0a\x01b",
    "fields out of order": b"\x12\x03\x0a\x01a\x0a\x03\x0a\x01b",
    "a length longer than need be": b"\x0a\x83\x00\x0a\x01a",
    "a tag longer than need be": b"\x8a\x00\x03\x0a\x01a",
    "a whole number longer than need be": b"\x2a\x05\x12\x03\x08\x81\x00",
    "a whole number of eleven bytes": b"\x2a\x0e\x12\x0c\x08" + b"\xff" * 10 + b"\x01",
    "a truth that is two": b"\x22\x04\x22\x02\x08\x02",
    "a default written out": b"\x0a\x02\x0a\x00",
    "a zero written out": b"\x2a\x04\x12\x02\x08\x00",
    "text that is none": b"\x0a\x04\x0a\x02\xc3\x28",
    "half a surrogate pair": b"\x0a\x05\x0a\x03\xed\xa0\x80",
    "text that is none, and nobody reads": b"\x22\x04\x1a\x02\xff\xff",
    "text that is cut off": b"\x0a\x04\x0a\x03ab",
    "a length beyond the end": b"\x0a\x7f\x0a\x01a",
    "a length beyond any end": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "a map out of order": b":\x20J\x0e\x0a\x01b\x11" + b"\0" * 8 + b"J\x0e\x0a\x01a\x11"
    + b"\0" * 8,
    "a map's key twice": b":\x20J\x0e\x0a\x01a\x11" + b"\0" * 8 + b"J\x0e\x0a\x01a\x11"
    + b"\0" * 8,
    "a map's entry without a value": b":\x05J\x03\x0a\x01a",
    "a moment after all days": b"\x1a\x07\x08\x80\xdc\xc5\xbf\xd7\x07",
    "a moment with too many nanoseconds": b"\x1a\x06\x10\x80\x94\xeb\xdc\x03",
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_as_facts_are_kept_is_declined(name: str) -> None:
    read, _ = reader()
    assert read(ODD[name]) is None
    layout = Layout()  # and where nobody asked for it
    assert compiled().reader(layout.made())(ODD[name]) is None


def test_only_bytes_are_read() -> None:
    read, _ = reader()
    stored = stored_form(FIXTURES[0])
    assert read(stored) is not None
    assert read(bytearray(stored)) is None  # type: ignore[arg-type]
    assert read(None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "one"), [("model.approved_uses", "x"), ("evidence.features", None)]
)
def test_a_list_may_be_as_long_as_facts_allow_and_no_longer(
    name: str, one: str | None
) -> None:
    read, slots = reader()
    facts, (of, field) = Facts(), name.split(".")
    items = getattr(getattr(facts, of), field)
    for _ in range(most_items(name)):
        items.add() if one is None else items.append(one)
    assert same(read, slots, stored_form(facts))
    items.add() if one is None else items.append("y")
    assert read(stored_form(facts)) is None


def test_rows_hold_what_each_item_states_and_columns_have_no_gaps() -> None:
    layout = Layout()
    rows = layout.rows(("approvals",), ("issuer", "roles", "approved"))
    approved = layout.column(("approvals",), ("approved",))
    digest = layout.column(("approvals",), ("digest",))
    items = layout.items("approvals")
    read = compiled().reader(layout.made())
    facts = Facts()
    for issuer in ("hr", None):
        one = facts.approvals.add()
        one.approved.value = False
        one.roles.append("validator")
        if issuer is not None:
            one.issuer.value = one.digest.value = issuer
    values = read(stored_form(facts))
    assert values is not None
    said = (("hr", ("validator",), False), (None, ("validator",), False))
    assert values[rows] == said
    assert values[approved] == [False, False]
    assert values[digest] is None
    assert values[items] == (None, None)


def test_what_is_asked_is_told_without_reading_the_rest() -> None:
    peek = peeking(compiled())
    facts = Facts()
    facts.action.value, facts.model.tier.value = "promote", 2
    facts.evidence.psi_max.value = 0.5
    assert peek(stored_form(facts)) == ("promote", 2, None)
    facts.env.value = "prod"
    assert peek(stored_form(facts)) == ("promote", 2, "prod")
    assert peek(stored_form(facts) + b"\x0a\x00") is None  # an action after all else


def test_more_facts_than_a_decoder_holds_are_refused() -> None:
    layout = Layout()
    for n in range(256):
        layout.value(f"field-{n}")
    with pytest.raises(Unreadable, match="too many"):
        layout.value("one more")
    late = Layout()
    late.column(("approvals",), ("approved",))
    with pytest.raises(Unreadable, match="before"):
        late.rows(("approvals",), ("issuer",))


class Pair(NamedTuple):
    left: object
    right: object = None


def test_a_record_is_made_of_all_its_fields() -> None:
    make = compiled().record(Pair)
    assert make(1, "a") == Pair(1, "a")
    assert type(make(1, 2)) is Pair
    for wrong in ((1,), (1, 2, 3)):
        with pytest.raises(TypeError):
            make(*wrong)
    with pytest.raises(TypeError):
        make(left=1, right=2)


def test_only_records_are_made() -> None:
    with pytest.raises(ValueError, match="NamedTuples"):
        compiled()._record(list, 2)
    with pytest.raises(ValueError, match="NamedTuples"):
        compiled()._record(type("Loose", (tuple,), {}), 2)


def test_what_was_not_built_or_is_no_library_is_not_used(tmp_path: Path) -> None:
    other = tmp_path / "_decode.so"
    assert Compiled.load(other) is None
    other.write_bytes(b"not a library")
    assert Compiled.load(other) is None


def test_what_disagrees_with_protobuf_is_not_used() -> None:
    class Lying:
        Record = staticmethod(tuple)

        class Decoder:
            def __init__(self, *_: object) -> None: ...

            def read(self, stored: bytes) -> tuple[object, ...] | None:
                return (None,) * 8 if stored else None

    assert not Compiled(Lying)._agrees()  # type: ignore[arg-type]


def test_protobuf_refuses_what_it_shall_and_the_decoder_reads_none_of_it() -> None:
    read, _ = reader()
    refused = 0
    for stored in ODD.values():
        try:
            Facts.FromString(stored)
        except DecodeError:
            refused += 1
            assert read(stored) is None
    assert refused > 5
