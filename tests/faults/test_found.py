"""What fuzzing found, input by input: each ended in another error than is promised, or
took for ever. Each is refused now, or read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

import pytest
from tests.faults.fuzz import unless_it_hangs
from tests.faults.parser import Parser
from tests.faults.parsers import parsers

EARLY: Final = b"0001-01-01T00:00:00+23:00"
"""A time of the year 0, in UTC."""

SIXTIES: Final = b":1" * 500_000
"""YAML 1.1 counts `1:30` in sixties: so many take minutes."""

Spoil = Callable[[bytes], bytes]


def instead(old: str, new: str, place: int | None = None) -> Spoil:
    """Put something else into a good input, everywhere or at one place."""

    def spoil(good: bytes) -> bytes:
        parts = good.split(old.encode())
        assert len(parts) > 1
        if place is None:
            return new.encode().join(parts)
        first, rest = parts[: place + 1], parts[place + 1 :]
        return old.encode().join(first) + new.encode() + old.encode().join(rest)

    return spoil


def both(first: Spoil, second: Spoil) -> Spoil:
    return lambda good: second(first(good))


def ending(change: Callable[[int], object]) -> Spoil:
    """Change a token's end."""

    def spoil(good: bytes) -> bytes:
        said = json.loads(good)
        return json.dumps(said | {"exp": change(said["exp"])}).encode()

    return spoil


def onnx(dimensions: bytes) -> bytes:
    """A model with a tensor of these."""
    for number in (1, 5, 7):
        dimensions = bytes([number << 3 | 2]) + varint(len(dimensions)) + dimensions
    return b"\x08\x07" + dimensions


def varint(value: int) -> bytes:
    more, least = divmod(value, 128)
    return bytes([least | 128]) + varint(more) if more else bytes([least])


def only(raw: bytes) -> Spoil:
    return lambda _: raw


SHAPE: Final = b"\xff" * 8 + b"\x7f"
"""The largest of an ONNX tensor's sizes."""

FOUND: Final[Mapping[str, tuple[str, Spoil]]] = {
    "a number in so many sixties": ("mapping", only(b"a: 1" + SIXTIES)),
    "a fraction of so many sixties": ("mapping", only(b"a: 1" + SIXTIES[:800] + b".5")),
    "a time of the year 0": ("moment", only(EARLY)),
    "an event of the year 0": (
        "event",
        only(b'["clock.ticked", 1, {"instant": "%s"}]' % EARLY),
    ),
    "a share no float holds": ("verdict", instead("0.5", "1" + "0" * 400)),
    "a permit to be renewed in the end of days": ("permit", instead("600", "1e300")),
    "a verdict's source that is a list": (
        "dossier",
        both(
            instead('"let_it_serve":true', '"let_it_serve":false'),
            instead(r"\"verdict_source\": \"r\"", r"\"verdict_source\": []"),
        ),
    ),
    "a card's digest that is an object": (
        "dossier",
        instead(
            r"\"card_digest\": \"sha256:" + "d" * 64 + r"\"", r"\"card_digest\": {}"
        ),
    ),
    "half a character in the digest of a dossier's version": (
        "dossier",
        instead(r"\"digest\": \"sha256:" + "d" * 64, r"\"digest\": \"\\ud800"),
    ),
    "approvals that are good beyond the last of days": (
        "told",
        instead(
            '"known_at": "2013-04-01T09:00:00.000000Z"',
            '"known_at": "9999-12-31T23:59:59Z"',
            place=4,
        ),
    ),
    "a quorum of as many people as there are atoms": (
        "told",
        instead('"count": 1', '"count": 1' + "0" * 80),
    ),
    "approvals that ended infinitely long ago": (
        "told",
        instead('"max_age_s": 1209600', '"max_age_s": -1e300'),
    ),
    "an end that is text": ("claims", ending(str)),
    "half a character for a name": ("claims", instead('"dana"', r'"\ud800"')),
    "a secret without its bytes for a key": (
        "jwks",
        only(b'{"keys": [{"kty": "oct"}]}'),
    ),
    "keys in lists without end": ("jwks", only(b"[" * 3_000)),
    "a tensor of so many dimensions": ("onnx", only(onnx(SHAPE * 20_000))),
}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Parser]:
    return parsers(tmp_path_factory.mktemp("found"))


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_is_refused_or_read(
    known: Mapping[str, Parser], what: str
) -> None:
    name, spoil = FOUND[what]
    parser = known[name]
    with unless_it_hangs():
        try:
            parser.read(spoil(parser.seeds[0]))
        except parser.refuses:
            return
