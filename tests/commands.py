"""The command as people run it: a process each, on a home of the test's own.

`run` forks it from a process that has read the libraries (`warm.py`). `alone` starts
one that has to read for itself what it needs: each command is tried so once.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

COMMAND: Final = (sys.executable, "-m", "modelkeep_services")
WARM: Final = (sys.executable, "-P", str(Path(__file__).with_name("warm.py")))
TIMEOUT_S: Final = 300.0

Done = subprocess.CompletedProcess[str]


def around(home: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a home; whoever runs the tests may have another."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("MODELKEEP_")}
    return others | {"MODELKEEP_HOME": str(home)} | dict(env or {})


def alone(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=around(home, env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def run(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        asked = {"arguments": arguments, "env": around(home, env)}
        code = _asked(asked | {"out": str(out), "err": str(err)})
        return Done(arguments, code, out.read_text(), err.read_text())


def good(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    return succeeded(run(home, *arguments, env=env))


def good_alone(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> str:
    return succeeded(alone(home, *arguments, env=env))


def succeeded(done: Done) -> str:
    """What a command that succeeded wrote."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _asked(asked: Mapping[str, object]) -> int:
    warm = _warm()
    assert warm.stdin is not None
    assert warm.stdout is not None
    warm.stdin.write(f"{json.dumps(asked)}\n")
    warm.stdin.flush()
    return int(warm.stdout.readline())


@cache
def _warm() -> subprocess.Popen[str]:
    """One a test process; it ends with it."""
    warm = subprocess.Popen(
        WARM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(warm.communicate)
    return warm
