"""What became true of a decision, as callers say it: yes or no, a number, or never."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral
from typing import Literal, TypeAlias

from modelkeep.sdk.batches import NEVER, Outcome

OutcomeKind: TypeAlias = Literal["binary", "number"]
Truth: TypeAlias = bool | int | float | None
"""None: it will never be known."""


def of_numbers(kind: OutcomeKind | None, values: Iterable[Truth]) -> bool:
    """Whether these outcomes are numbers: as declared, else where one is a float beside
    0 and 1. A whole number alone says nothing: 7 may be a slip.
    """
    if kind is not None:
        return kind == "number"
    return any(_is_float(value) and value not in {0, 1} for value in values)


def outcome_of(key: bytes, value: Truth, known_at: int, *, number: bool) -> Outcome:
    """Raises ValueError for what cannot be recorded, and TypeError for what is nothing
    of the kind.
    """
    if value is None:
        return Outcome(key, NEVER, known_at, 0.0 if number else None)
    if number:
        if not math.isfinite(value):
            raise ValueError(f"{value} is no outcome: it is no number")
        return Outcome(key, 0, known_at, float(value))
    if value not in {0, 1}:
        raise ValueError(
            f"an outcome is 0, 1 or None, not {value}: where outcomes are numbers, "
            "declare outcome_kind"
        )
    return Outcome(key, int(value), known_at)


def truths(values: Iterable[Truth]) -> bytes:
    """Return a byte each of outcomes that are yes or no."""
    return bytes(NEVER if _missing(one) else int(one or 0) for one in values)


def _is_float(value: Truth) -> bool:
    if value is None or isinstance(value, Integral):
        return False
    try:
        return math.isfinite(value)
    except TypeError:  # text, which is refused alone
        return False


def _missing(value: Truth) -> bool:
    # NaN is the one value that differs from itself
    return value is None or value != value  # noqa: PLR0124
