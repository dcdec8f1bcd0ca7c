"""How long one decision took to score: measured once, replayed row by row.

A demo that measured itself would never give the same year twice. So the latencies are
data: single-row scorings of the flights model, timed on one machine and shipped. Run by
a developer: `python -m modelkeep_services.demo.latency` measures them again.
"""

from __future__ import annotations

import sys
import time
from importlib import resources
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from modelkeep_services.demo import artifacts, flights, training
from modelkeep_services.demo.decisions import Numbers, Rows

FILE: Final = "latency.parquet"
SAMPLES: Final = 4096
WARM_UP: Final = 200


def load() -> Numbers:
    """Return the samples, in milliseconds and in the order in which they were taken."""
    with resources.as_file(resources.files(__package__) / "data" / FILE) as path:
        taken = parquet.read_table(path)["microseconds"].to_numpy()
    samples: Numbers = taken.astype(np.float64) / 1000
    return samples


def of(rows: Rows, samples: Numbers) -> Numbers:
    """Row i takes sample i modulo their number."""
    return samples[rows % len(samples)]


def measure() -> Numbers:
    """Time `SAMPLES` scorings of one flight each, in milliseconds."""
    year = flights.load()
    until = flights.midnight("2013-04-01")
    graph, _ = training.fit_known(flights.RECIPE, year, flights.JANUARY, until)
    model = artifacts.opened(graph, artifacts.digest_of(graph))
    first = int(year.between(until, until + np.timedelta64(1, "D"))[0])
    taken = []
    for row in range(first, first + WARM_UP + SAMPLES):
        case = artifacts.one_row(year.columns, row)
        begun = time.perf_counter()
        model.score(case)
        taken.append(time.perf_counter() - begun)
    return np.array(taken[WARM_UP:]) * 1000


def main() -> None:
    taken = measure()
    table = pa.table({"microseconds": np.round(taken * 1000).astype(np.int32)})
    with resources.as_file(resources.files(__package__) / "data" / FILE) as path:
        parquet.write_table(table, path, compression="zstd")
    sys.stdout.write(f"{FILE}: median {np.median(taken):.3f} ms\n")


if __name__ == "__main__":
    main()
