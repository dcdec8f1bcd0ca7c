"""The demo's own story, its first days, told once a run and asked about often."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from tests import commands

WIDE: Final = {"COLUMNS": "240"}
DAYS: Final = 8
"""The first Monday closes a week: there are windows and alerts."""


class Told(NamedTuple):
    """A home after the demo, and what was on the screen."""

    home: Path
    screen: str


def run(home: Path, *arguments: str) -> commands.Done:
    """Run `modelkeep` as a person would, with lines that do not wrap."""
    return commands.run(home, *arguments, "--home", str(home), env=WIDE)


def good(home: Path, *arguments: str) -> str:
    return commands.succeeded(run(home, *arguments))


def alone(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """In a process that shares nothing with others, not even their hash seed."""
    around = WIDE | dict(env or {})
    return commands.good_alone(home, *arguments, "--home", str(home), env=around)


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Played once a worker: to look at, not to change."""
    pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
    home = tmp_path_factory.mktemp("demo") / "home"
    return Told(home, alone(home, "demo", "--days", str(DAYS)))
