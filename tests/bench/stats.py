"""Counting, comparing and closing windows of 25 features, beside plain numpy.

Twenty numeric columns (f64) and five of categories (int32 codes), as the wire carries
them; the baseline has 100,000 rows. The peer answers the same question for the numeric
columns with `np.searchsorted` and `np.bincount`, as one would write it first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from tests.bench.harness import Figure, Peer, in_turns

from modelkeep.stats.categories import Coded
from modelkeep.stats.drift import feature_drift
from modelkeep.stats.profile import Baseline, Numeric
from modelkeep.stats.psi import PsiDocument

Floats = NDArray[np.float64]
Columns = Mapping[str, Floats | Coded]

SHAPES: tuple[Callable[[Generator, int], Floats], ...] = (
    lambda chance, rows: chance.normal(size=rows),
    lambda chance, rows: chance.lognormal(size=rows),
    lambda chance, rows: chance.gamma(2, size=rows),
    lambda chance, rows: chance.random(rows),
    lambda chance, rows: np.maximum(0, chance.normal(-0.5, size=rows)),
    lambda chance, rows: chance.poisson(3, rows).astype(np.float64),
    lambda chance, rows: chance.normal(size=rows) + 5 * (chance.random(rows) < 0.5),
)
LEVELS = (3, 8, 20, 50, 100)


def frame(seed: int, rows: int) -> Columns:
    chance = np.random.default_rng(seed)
    columns: dict[str, Floats | Coded] = {
        f"n{number:02}": SHAPES[number % len(SHAPES)](chance, rows)
        for number in range(20)
    }
    for number, levels in enumerate(LEVELS):
        codes = chance.integers(0, levels, rows).astype(np.int32)
        columns[f"c{number}"] = Coded(codes, tuple(map(str, range(levels))))
    return columns


def head(columns: Columns, rows: int) -> Columns:
    return {
        name: column._replace(codes=column.codes[:rows])
        if isinstance(column, Coded)
        else column[:rows]
        for name, column in columns.items()
    }


def plainly(baseline: Baseline, columns: Columns) -> list[NDArray[np.int64]]:
    """Count the numeric columns as one would write it first."""
    found = []
    for feature in baseline.layout.features:
        column = columns[feature.name]
        if isinstance(feature, Numeric) and not isinstance(column, Coded):
            bins = np.searchsorted(np.array(feature.edges), column, side="right")
            found.append(np.bincount(bins, minlength=feature.size))
    return found


def seconds(
    work: Callable[[], object], times: int = 1
) -> Callable[[], Iterable[float]]:
    def measure() -> Iterator[float]:
        start = time.perf_counter()
        for _ in range(times):
            work()
        yield (time.perf_counter() - start) / times

    return measure


def figures(_: Path) -> Iterator[Figure]:
    document = PsiDocument("bench")
    baseline = Baseline.fit(frame(1, 100_000))
    million = frame(2, 1_000_000)
    thousand = head(million, 1_000)
    window = baseline.profile(million)

    def report() -> object:
        return feature_drift(baseline, baseline.profile(million), document)

    report()
    ours, theirs = in_turns(
        5, seconds(report), seconds(lambda: plainly(baseline, million))
    )
    yield Figure(
        "monitoring.drift_report_1m_x_25",
        1e3 * median(ours),
        "ms",
        Peer("numpy searchsorted, 20 columns", 1e3 * median(theirs)),
    )
    ours, theirs = in_turns(
        9,
        seconds(lambda: baseline.profile(thousand), 100),
        seconds(lambda: plainly(baseline, thousand), 100),
    )
    yield Figure(
        "monitoring.profile_1k_x_25",
        1e6 * median(ours),
        "us",
        Peer("numpy searchsorted, 20 columns", 1e6 * median(theirs)),
    )
    close, merge, write = in_turns(
        9,
        seconds(lambda: feature_drift(baseline, window, document), 100),
        seconds(lambda: window + window, 1_000),
        seconds(window.to_json, 100),
    )
    yield Figure("monitoring.psi_25_features", 1e6 * median(close), "us")
    yield Figure("monitoring.profile_merge", 1e6 * median(merge), "us")
    yield Figure("monitoring.profile_json", 1e6 * median(write), "us")
    yield Figure("monitoring.profile_size", len(window.to_json()), "bytes")
