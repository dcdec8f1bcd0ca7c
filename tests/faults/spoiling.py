"""How a good input is spoiled: bits, pieces, numbers, words that have hurt before."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

WORDS: Final = (
    b"",
    b"\0",
    b"\n\n",
    b"\r",
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"9" * 400,
    b"99999999999999999999",
    b"[" * 3_000,
    b'{"a":' * 3_000,
    b"&a [*a,*a,*a]",
    b"*a",
    b"<<: *a",
    b"!!python/object/apply:os.system ['true']",
    b"!!binary x",
    b"? ",
    b"- - - - - -",
    b"%YAML 9.9",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH JOINER}".encode(),
    "\N{EM DASH} ".encode(),
    b"=cmd|' /C calc'!A0",
    b'"' * 99,
    b"../../etc/passwd",
    b"2013-02-30",
    b"(a+)+$",
    b"\xff" * 9,
    b"\x0b" * 200,
)


REPLANTED: Final = 0.2
ODD: Final[tuple[object, ...]] = (
    None,
    True,
    -1,
    0,
    1 << 63,
    10**400,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "\ud800",
    "0" * 64,
    "1e400",
    "2013-06-30",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    [],
    {},
    [[[[[[]]]]]],
)
"""What may stand in JSON where something else was meant."""


def spoiled(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    found = chance.choice(seeds)
    if chance.random() < REPLANTED:
        found = replanted(chance, found)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        found = _once(chance, found, seeds)
    return found


def _once(chance: random.Random, raw: bytes, seeds: Sequence[bytes]) -> bytes:
    at, to = sorted(chance.randrange(len(raw) + 1) for _ in range(2))
    to = min(to, at + chance.choice((1, 4, 30, 3_000)))
    other = chance.choice(seeds)
    flipped = bytes([raw[at] ^ 1 << chance.randrange(8)]) if at < len(raw) else b""
    left, right = chance.choice(
        (
            (raw[:at] + flipped, raw[at + 1 :]),
            (raw[:at], raw[to:]),
            (raw[:to] + raw[at:to] * chance.choice((1, 2, 50)), raw[to:]),
            (raw[:at], other[chance.randrange(len(other) + 1) :]),
            (raw[:at] + chance.randbytes(chance.choice((1, 2, 8))), raw[to:]),
            (raw[:at], b""),
            (raw[:at] + chance.choice(WORDS), raw[to:]),
            (raw[:at] + chance.choice(WORDS), raw[to:]),
        )
    )
    return left + right


def replanted(chance: random.Random, raw: bytes) -> bytes:
    """Put another value at one place in JSON: an odd one, or one from elsewhere in it,
    or none. What is no JSON stays as it is.
    """
    try:
        whole = [json.loads(raw)]
    except (ValueError, RecursionError):
        return raw
    places = list(_places(whole))
    inside, key = chance.choice(places)
    other, from_there = chance.choice(places)
    said = inside[key]
    match chance.randrange(4):
        case 0 if inside is not whole:
            del inside[key]
        case 1:
            inside[key] = copy.deepcopy(other[from_there])
        case _ if isinstance(said, str) and said[:1] in {"{", "["}:
            inside[key] = replanted(chance, said.encode(errors="replace")).decode()
        case _:
            inside[key] = chance.choice(ODD)
    return json.dumps(whole[0]).encode()


def everywhere(raw: bytes, step: int = 1) -> Iterator[bytes]:
    """Put each odd value at each place of JSON, one at a time, and in the JSON that its
    texts hold; every `step`th of all that.
    """
    for number, spoilt in enumerate(_everywhere(raw)):
        if number % step == 0:
            yield spoilt()


def _everywhere(raw: bytes) -> Iterator[Callable[[], bytes]]:
    try:
        whole = [json.loads(raw)]
    except ValueError:
        return

    def planted(inside: Any, key: Any, value: object) -> bytes:
        kept, inside[key] = inside[key], value
        try:
            return json.dumps(whole[0]).encode()
        finally:
            inside[key] = kept

    def within(inside: Any, key: Any, inner: Callable[[], bytes]) -> bytes:
        return planted(inside, key, inner().decode())

    for inside, key in list(_places(whole)):
        said = inside[key]
        for odd in (*ODD, [said], {"a": said}):
            yield partial(planted, inside, key, odd)
        if isinstance(said, str) and said[:1] in {"{", "["}:
            for inner in _everywhere(said.encode()):
                yield partial(within, inside, key, inner)


def _places(whole: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Every place that holds a value: the list or the object it is in, and where."""
    waiting: list[Any] = [whole]
    while waiting:
        inside = waiting.pop()
        keys = range(len(inside)) if isinstance(inside, list) else list(inside)
        for key in keys:
            yield inside, key
            if isinstance(inside[key], list | dict):
                waiting.append(inside[key])
