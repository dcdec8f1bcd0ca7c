"""How figures are rounded before they become facts."""

from __future__ import annotations

from typing import Final

DIGITS: Final = 6
"""Of what is recorded."""
SHOWN: Final = 4
"""Of what is computed for an answer and recorded nowhere."""

SIGNIFICANT: Final = 9


def rounded(value: float) -> float:
    return round(value, DIGITS)


def significant(value: float) -> float:
    """Round what is told in a unit of its own, however small or large.

    >>> significant(1234567.8912), significant(1.23456789012e-9)
    (1234567.89, 1.23456789e-09)
    """
    return float(f"{value:.{SIGNIFICANT}g}")
