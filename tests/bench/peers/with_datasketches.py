"""KLL sketches of Apache DataSketches, one a numeric column."""

from __future__ import annotations

from collections.abc import Mapping

import datasketches
from tests.bench.peers.worker import Data, Floats, Task, serve


def tasks(data: Data) -> Mapping[str, Task]:
    million = list(data.window.numbers.values())
    thousand = [column[:1_000].copy() for column in million]
    open_ones = [datasketches.kll_doubles_sketch(200) for _ in million]

    def profile(columns: list[Floats]) -> int:
        sketches = [datasketches.kll_doubles_sketch(200) for _ in columns]
        for sketch, column in zip(sketches, columns, strict=True):
            sketch.update(column)
        return len(sketches)

    def ingest() -> int:
        for sketch, column in zip(open_ones, thousand, strict=True):
            sketch.update(column)
        return len(open_ones)

    return {
        "profile": Task(lambda: profile(million)),
        "profile_numbers": Task(lambda: profile(million)),
        "ingest": Task(ingest, 100),
        "ingest_numbers": Task(ingest, 100),
    }


if __name__ == "__main__":
    serve(tasks)
