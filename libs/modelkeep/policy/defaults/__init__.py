"""Bundles to start from, as text; a bundle becomes one's own by being edited."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from modelkeep.errors import Invalid

NAMES: Final = ("baseline", "retail-credit", "clinical", "telecom", "third-party")
"""The starter library; a ledger that is told nothing else begins with the first."""


def text(name: str) -> str:
    """Give a bundle of the library as it is written; raise Invalid for another name."""
    if name not in NAMES:
        raise Invalid.field("policy", f"{name} is none of {', '.join(NAMES)}")
    return (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")


def baseline() -> str:
    return text("baseline")
