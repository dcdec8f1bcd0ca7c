"""River: ADWIN, a detector that looks at one value at a time."""

from __future__ import annotations

from collections.abc import Mapping

from river.drift import ADWIN
from tests.bench.peers.worker import Data, Task, serve

ROWS = 20_000
"""Of one column; the driver counts by value."""


def tasks(data: Data) -> Mapping[str, Task]:
    values = next(iter(data.window.numbers.values()))[:ROWS].tolist()

    def watch() -> int:
        detector = ADWIN()
        for value in values:
            detector.update(value)
        return len(values)

    return {"watch": Task(watch)}


if __name__ == "__main__":
    serve(tasks)
