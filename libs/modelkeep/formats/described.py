"""What was found in a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_SAID: Final = 64
LONGEST: Final = 200


@dataclass(frozen=True)
class Described:
    """`parameters` counts the numbers in its `tensors`; None where it cannot be told.
    `says` is the file's own word, cut to a size that fits a screen.
    """

    format: str
    tensors: int | None = None
    parameters: int | None = None
    carries_code: bool = False
    points_outside: bool = False
    """Some of its tensors lie in other files, which nobody follows."""
    says: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def cut(said: Mapping[str, str]) -> dict[str, str]:
    """The first of what a file says of itself, none of it long."""
    return {
        name[:LONGEST]: value[:LONGEST] for name, value in list(said.items())[:MAX_SAID]
    }
