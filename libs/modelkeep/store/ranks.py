"""Positions as ranks: the rule of the engines that are ours from the ground up."""

from __future__ import annotations

from typing import Final

STRIDE: Final = 10
"""Positions are ranks times this: whoever adds one to a position is found out."""

PAGE_EVENTS: Final = 1024
PAGE_BYTES: Final = 4 << 20
"""A page is read at once; it has no more events, nor bytes but for the last's."""

WINDOW: Final = 8192 * STRIDE
"""A page through a filter looks at no more of the log than this."""
