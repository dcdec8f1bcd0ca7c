"""Reads the libraries once and forks a process a command: 1 to 2 s less for each.

A line of JSON on standard input says what to run, a line with its exit code answers:

    {"arguments": ["status"], "env": {...}, "out": "/a/file", "err": "/another"}

It ends with its input. What the command itself wires, `__main__` and `cli`, is read by
each process anew: the screen looks at the environment as it is read.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import sys
from importlib import import_module
from typing import Any, Final

READ: Final = (
    "rich.progress",
    "rich.table",
    "typer.rich_utils",
    "pyarrow.parquet",
    "modelkeep.node",
    "modelkeep.proof.verify",
    "modelkeep_services.inventory.importing",
    "modelkeep_services.insight.report.sections",
    "modelkeep_services.inventory.service",
    "modelkeep_services.lineage.service",
    "modelkeep_services.policy.service",
    "modelkeep_services.monitoring.service",
    "modelkeep_services.debt.service",
    "modelkeep_services.insight.service",
    "modelkeep_services.audit.service",
)
TIMEOUT_S: Final = 120


def main() -> None:
    for name in READ:
        import_module(name)
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            # Its end is that of any program: what it raises ends it as it would.
            return become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  # an answer
    return None


def become(asked: dict[str, Any]) -> None:
    """Be `modelkeep` with these arguments, in this environment, and nothing else."""
    signal.alarm(TIMEOUT_S)
    for number, path in enumerate((os.devnull, asked["out"], asked["err"])):
        mode = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["modelkeep", *asked["arguments"]]
    runpy.run_module("modelkeep_services", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
