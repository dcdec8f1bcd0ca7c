"""The demo's own story, its first days, told once a run and asked about often."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

TIMEOUT_S = 300.0
DAYS = 8
"""The first Monday closes a week: there are windows and alerts."""


class Told(NamedTuple):
    """A home after the demo, and what was on the screen."""

    home: Path
    screen: str


def run(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `modelkeep` as a person would, with lines that do not wrap."""
    around = {k: v for k, v in os.environ.items() if not k.startswith("MODELKEEP_")}
    return subprocess.run(
        [sys.executable, "-m", "modelkeep_services", *arguments, "--home", str(home)],
        env=around | {"COLUMNS": "240"} | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def good(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    done = run(home, *arguments, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Played once a worker: to look at, not to change."""
    pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
    home = tmp_path_factory.mktemp("demo") / "home"
    return Told(home, good(home, "demo", "--days", str(DAYS)))
