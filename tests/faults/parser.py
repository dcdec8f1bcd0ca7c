"""A parser of others' bytes, as it is fed: what it reads, and what it may refuse by."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelkeep.errors import ModelkeepError
from modelkeep.proof.errors import ProofError
from modelkeep.proof.note import SigningKey

KEY = SigningKey("fuzz.example", bytes(range(32)))


class Parser(NamedTuple):
    """`read` raises one of `refuses`, or reads."""

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]
    refuses: tuple[type[BaseException], ...] = (ModelkeepError,)


def json_of(raw: bytes, refusal: type[ModelkeepError | ProofError]) -> object:
    """Read what a parser is given as JSON; what is none is refused for it."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise refusal("no JSON") from None
