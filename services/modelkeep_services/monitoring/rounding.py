"""How figures are rounded before they become facts."""

from __future__ import annotations

from typing import Final

DIGITS: Final = 6


def rounded(value: float) -> float:
    return round(value, DIGITS)
