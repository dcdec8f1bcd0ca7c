"""The demo's model files are like anybody's: `modelkeep.artifacts`, under this name."""

from __future__ import annotations

from modelkeep.artifacts import (
    LANES,
    TOLERANCE,
    Artifact,
    Rerun,
    digest_of,
    load,
    one_row,
    opened,
    rerun,
    save,
)

__all__ = [
    "LANES",
    "TOLERANCE",
    "Artifact",
    "Rerun",
    "digest_of",
    "load",
    "one_row",
    "opened",
    "rerun",
    "save",
]
