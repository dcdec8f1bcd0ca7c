"""The demo's own story, its first days, told once a run and asked about often."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from fcntl import LOCK_EX, flock
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
def told(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Told:
    """Played once a run, and copied for each worker: to look at, not to change."""
    pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "demo"
    shared.mkdir(exist_ok=True)
    screen = shared / "screen"
    with (shared / "turn").open("w") as turn:
        flock(turn, LOCK_EX)
        if not screen.exists():
            said = alone(shared / "home", "demo", "--days", str(DAYS))
            screen.write_text(said)
    home = tmp_path_factory.mktemp("demo") / "home"
    shutil.copytree(shared / "home", home)
    return Told(home, screen.read_text().replace(str(shared / "home"), str(home)))
