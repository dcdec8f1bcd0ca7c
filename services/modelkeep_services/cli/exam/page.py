"""The archive's own page: what is in it, what is not, and how to check it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from modelkeep.static_page import template
from modelkeep_services.cli.exam.cells import Row, text
from modelkeep_services.cli.exam.sheet import REGIMES

SHOWN: Final = (
    "model",
    "title",
    "tier",
    "lifecycle",
    "owner",
    "serving",
    "validated_at",
    "next_review",
    "health_colour",
    "open_findings",
)


class Listing(NamedTuple):
    name: str
    title: str
    rows: int


class About(NamedTuple):
    """What the archive is: of which ledger, when, by which program, up to where."""

    origin: str
    as_of: str
    made_at: str
    version: str
    size: int
    with_log: bool


def render(
    about: About,
    tables: Sequence[Listing],
    inventory: Sequence[Row],
    gaps: Sequence[Row],
) -> bytes:
    page = template("modelkeep_services.cli.exam", "index.html.j2")
    missing = {regime: sum(bool(one[regime]) for one in gaps) for regime in REGIMES}
    return page.render(
        about=about,
        tables=tables,
        shown=SHOWN,
        lines=[[_shown(line[name]) for name in SHOWN] for line in inventory],
        missing=missing,
        gaps=len(gaps),
    ).encode()


def _shown(value: object) -> str:
    """For a page: a day is enough, and nothing there computes."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    return text(value).removeprefix("'").replace("_", " ")
