"""A parser with a defect behind five bytes, where blind changes do not come."""

from __future__ import annotations

from typing import Final

from tests.faults.parser import Parser

NAME: Final = "planted"


def crashes(raw: bytes) -> None:
    for place, byte in enumerate(b"MODEL"):
        if place >= len(raw) or raw[place] != byte:
            return
    raise LookupError("found")


def planted() -> Parser:
    return Parser(crashes, [b"{}"], ())
