"""The leaf: what it commits to, and that nothing in it can be moved about."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.proof import leaf as leaves
from modelkeep.proof.errors import Malformed
from modelkeep.proof.leaf import FORMAT, Leafer, event_leaf


class Event(NamedTuple):
    stream: str = "model-acme.fraud"
    version: int = 3
    id: bytes = bytes(range(16))
    name: str = "inventory.model-registered"
    schema_version: int = 2
    data: bytes = b'{"model":"fraud"}'
    metadata: bytes = b'{"tenant":"acme"}'


def by_hand(origin: str, event: Event) -> bytes:
    """Follow the description in `leaf.py`, field by field."""
    fields = (
        FORMAT,
        origin.encode(),
        event.stream.encode(),
        event.name.encode(),
        event.schema_version.to_bytes(8, "big"),
        event.version.to_bytes(8, "big"),
        event.id,
        sha256(event.data).digest(),
        sha256(event.metadata).digest(),
    )
    commitment = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return sha256(b"\0" + commitment).digest()


def test_the_format_does_not_change_unnoticed() -> None:
    wanted = "505c836aeb2103120da5016e3131b7bd453ad6549f390a3edce321a9fae710ee"
    assert event_leaf("bank.example/ledger", *Event()).hex() == wanted


events = st.builds(
    Event,
    stream=st.text(max_size=30),
    version=st.integers(0, (1 << 63) - 1),
    id=st.binary(min_size=16, max_size=16),
    name=st.text(max_size=30),
    schema_version=st.integers(0, (1 << 63) - 1),
    data=st.binary(max_size=50),
    metadata=st.binary(max_size=50),
)


@given(origin=st.text(max_size=30), event=events)
def test_a_leaf_is_as_described(origin: str, event: Event) -> None:
    assert event_leaf(origin, *event) == by_hand(origin, event)


@given(first=events, second=events)
def test_two_events_have_two_leaves(first: Event, second: Event) -> None:
    made = Leafer("bank")
    assert (made.leaf(*first) == made.leaf(*second)) == (first == second)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", "model-acme.fraud2"),
        ("version", 4),
        ("id", bytes(16)),
        ("name", "inventory.model-retired"),
        ("schema_version", 1),
        ("data", b'{"model":"fraud"} '),
        ("metadata", b'{"tenant":"acmf"}'),
    ],
)
def test_every_field_counts(field: str, value: object) -> None:
    changed = Event()._replace(**{field: value})  # type: ignore[arg-type]  # by name
    assert event_leaf("bank", *changed) != event_leaf("bank", *Event())


def test_the_ledger_counts() -> None:
    assert event_leaf("bank", *Event()) != event_leaf("bank2", *Event())


def test_letters_do_not_move_between_fields() -> None:
    one = event_leaf("bank", *Event(stream="ab", name="c"))
    other = event_leaf("bank", *Event(stream="a", name="bc"))
    assert one != other


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", None),
        ("stream", "\ud800"),
        ("stream", b"bytes"),
        ("version", -1),
        ("version", 1 << 64),
        ("version", None),
        ("version", 1.0),
        ("version", "1"),
        ("id", b"short"),
        ("id", None),
        ("id", "sixteen letters!"),
        ("name", None),
        ("name", "\udcff"),
        ("name", 7),
        ("schema_version", -1),
        ("schema_version", None),
        ("schema_version", 2.5),
        ("data", None),
        ("data", "text"),
        ("metadata", 12),
    ],
)
def test_what_is_no_event_has_no_leaf(field: str, value: object) -> None:
    broken = Event()._replace(**{field: value})  # type: ignore[arg-type]  # by name
    with pytest.raises(Malformed):
        event_leaf("bank", *broken)


def test_a_leafer_forgets_rather_than_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "_CACHED", 4)
    made = Leafer("bank")
    for n in range(50):
        event = Event(stream=f"s{n}", name=f"n{n}", schema_version=n)
        assert made.leaf(*event) == by_hand("bank", event)
    assert len(made._streams) <= 4
    assert len(made._names) <= 4
