"""What a resident worker does: load the data once, answer a task a line, time it.

Runs in a peer's own environment, so it needs numpy and the standard library alone.
A line in is a task's name; a line out is JSON, {"seconds": ..., "told": ...}, or
{"absent": true} for a task that this peer has no answer to.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """Numbers by column name, and codes of categories whose names are their digits."""

    numbers: Mapping[str, Floats]
    codes: Mapping[str, NDArray[np.int32]]
    levels: Mapping[str, int]

    def head(self, rows: int) -> Side:
        return Side(
            {name: column[:rows] for name, column in self.numbers.items()},
            {name: column[:rows] for name, column in self.codes.items()},
            self.levels,
        )

    def words(self, name: str) -> NDArray[np.object_]:
        """Return a column of categories as a frame has it."""
        names = np.array([f"c{at}" for at in range(self.levels[name])], dtype=object)
        found: NDArray[np.object_] = names[self.codes[name]]
        return found


@dataclass(frozen=True)
class Data:
    baseline: Side
    window: Side
    scored: Mapping[str, Floats]


@dataclass(frozen=True)
class Task:
    """`work` is timed, `times` in a row, and what it returns is told."""

    work: Callable[[], object]
    times: int = 1


def load(folder: Path) -> Data:
    levels = json.loads((folder / "levels.json").read_text())

    def side(name: str) -> Side:
        columns = arrays(folder / name)
        return Side(
            {key: one for key, one in columns.items() if key not in levels},
            {key: one for key, one in columns.items() if key in levels},
            levels,
        )

    return Data(side("baseline"), side("window"), arrays(folder / "scored"))


def arrays(folder: Path) -> dict[str, Any]:
    return {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}


def serve(tasks: Callable[[Data], Mapping[str, Task]]) -> None:
    answer(lambda folder: tasks(load(folder)))


def answer(tasks: Callable[[Path], Mapping[str, Task]]) -> None:
    """Answer until the input closes. What a peer prints goes to the error stream."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    known = tasks(Path(sys.argv[1]))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(_answer(known.get(line.strip()))) + "\n")
        answers.flush()


def _answer(task: Task | None) -> dict[str, object]:
    if task is None:
        return {"absent": True}
    start = time.perf_counter()
    told: object = None
    for _ in range(task.times):
        told = task.work()
    return {"seconds": (time.perf_counter() - start) / task.times, "told": told}
