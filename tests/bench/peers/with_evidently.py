"""Evidently's own functions, called bare: no report, no rendering."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from tests.bench.peers.worker import Data, Task, serve

Pairs = list[tuple[pd.Series, pd.Series]]
NUMERIC = ("psi", "ks", "wasserstein", "jensenshannon")


def tasks(data: Data) -> Mapping[str, Task]:
    numbers = [
        (pd.Series(data.baseline.numbers[name]), pd.Series(column))
        for name, column in data.window.numbers.items()
    ]
    words = [
        (pd.Series(data.baseline.words(name)), pd.Series(data.window.words(name)))
        for name in data.window.codes
    ]

    def compare(
        pairs: list[tuple[pd.Series, pd.Series]],
        kind: ColumnType,
        names: tuple[str, ...],
    ) -> int:
        for before, after in pairs:
            for name in names:
                test = get_stattest(before, after, kind, name)
                test.func(before, after, kind, 0.05)
        return len(pairs)

    def report_numbers() -> int:
        return compare(numbers, ColumnType.Numerical, NUMERIC)

    def report() -> int:
        return report_numbers() + compare(words, ColumnType.Categorical, ("chisquare",))

    return {"report": Task(report), "report_numbers": Task(report_numbers)}


if __name__ == "__main__":
    serve(tasks)
