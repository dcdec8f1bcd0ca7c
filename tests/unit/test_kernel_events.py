"""Events: frozen, named, versioned, and readable in every shape ever written."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tests.unit.jars import MarblePut

from modelkeep.errors import Corrupt
from modelkeep.events.base import (
    Data,
    Event,
    decode,
    encode,
    known_events,
    known_upcasters,
    upcaster,
)


class LidFitted(Event, name="tests.lid-fitted", version=3):
    lid: str
    turns: int
    tight: bool = False


@upcaster("tests.lid-fitted", 1)
def with_turns(data: Data) -> Data:
    return {**data, "turns": 1}


@upcaster("tests.lid-fitted", 2)
def with_a_better_name(data: Data) -> Data:
    return {"lid": data["cover"], "turns": data["turns"]}


class GapLeft(Event, name="tests.gap-left", version=2):
    """Nobody said how its first version becomes the second."""


def test_an_event_is_read_as_it_was_written() -> None:
    event = LidFitted(lid="é", turns=2)
    assert decode("tests.lid-fitted", 3, encode(event)) == event


def test_equal_events_are_equal_bytes() -> None:
    one, two = (LidFitted(turns=2, lid="a"), LidFitted(lid="a", turns=2))
    assert encode(one) == encode(two) == b'{"lid":"a","turns":2,"tight":false}'


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        LidFitted(lid="a", turns=2).turns = 3  # type: ignore[misc]  # that is the point


def test_every_older_shape_is_read() -> None:
    now = LidFitted(lid="a", turns=1)
    assert decode("tests.lid-fitted", 1, b'{"cover":"a"}') == now
    assert decode("tests.lid-fitted", 2, b'{"cover":"a","turns":1}') == now


def test_a_field_added_with_a_default_needs_no_version() -> None:
    read = decode("tests.lid-fitted", 3, b'{"lid":"a","turns":1}')
    assert read == LidFitted(lid="a", turns=1)


@pytest.mark.parametrize(
    ("name", "version", "data", "says"),
    [
        ("tests.unheard-of", 1, b"{}", "nothing here knows"),
        ("tests.lid-fitted", 4, b"{}", "newer than this program"),
        ("tests.gap-left", 1, b"{}", "has no upcaster"),
        ("tests.lid-fitted", 3, b"{}", "cannot be read"),
        ("tests.lid-fitted", 3, b'{"lid":"a","turns":1,"x":1}', "cannot be read"),
        ("tests.lid-fitted", 3, b"not json", "cannot be read"),
        ("tests.lid-fitted", 3, b"", "cannot be read"),
        ("tests.lid-fitted", 1, b"not json", "cannot be read"),
        ("tests.lid-fitted", 1, b"[]", "cannot be read"),
        ("tests.lid-fitted", 1, b'{"lid":"a"}', "cannot be read"),
    ],
)
def test_what_cannot_be_understood_stops_the_reader(
    name: str, version: int, data: bytes, says: str
) -> None:
    with pytest.raises(Corrupt, match=says):
        decode(name, version, data)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(TypeError, match="two events are called"):

        class Again(Event, name=MarblePut.event_name):
            pass

    with pytest.raises(TypeError, match="two upcasters"):
        upcaster("tests.lid-fitted", 1)(lambda data: data)


def test_what_is_known_is_told() -> None:
    assert known_events()["tests.lid-fitted"] is LidFitted
    assert ("tests.lid-fitted", 2) in known_upcasters()
