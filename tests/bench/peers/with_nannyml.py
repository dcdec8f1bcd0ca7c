"""NannyML's own methods, fitted beforehand: KS, Jensen-Shannon, Wasserstein, CBPE."""

from __future__ import annotations

from collections.abc import Mapping

import nannyml
import pandas as pd
from nannyml.chunk import DefaultChunker
from nannyml.drift.univariate import methods
from nannyml.thresholds import ConstantThreshold
from tests.bench.peers.worker import Data, Task, serve

NUMERIC = (
    methods.KolmogorovSmirnovStatistic,
    methods.ContinuousJensenShannonDistance,
    methods.WassersteinDistance,
)
WORDS = (methods.Chi2Statistic, methods.CategoricalJensenShannonDistance)
Fitted = list[tuple[methods.Method, pd.Series]]


def tasks(data: Data) -> Mapping[str, Task]:
    numbers: Fitted = []
    for name, column in data.window.numbers.items():
        numbers += fit(NUMERIC, name, data.baseline.numbers[name], column)
    words: Fitted = []
    for name in data.window.codes:
        sides = data.baseline.words(name), data.window.words(name)
        words += fit(WORDS, name, *sides)

    def calculate(fitted: Fitted) -> int:
        for method, column in fitted:
            method.calculate(column)
        return len(fitted)

    scored = data.scored
    rows = len(scored["window_score"])
    estimator = nannyml.CBPE(
        y_pred_proba="p",
        y_pred="said",
        y_true="true",
        problem_type="classification_binary",
        metrics=["roc_auc"],
        chunk_size=rows,
    )
    before = frame(scored["baseline_score"])
    before["true"] = scored["baseline_outcome"].astype(int)
    estimator.fit(before)
    after = frame(scored["window_score"])

    def estimate() -> float:
        found = estimator.estimate(after).filter(period="analysis").to_df()
        return float(found[("roc_auc", "value")].iloc[0])

    return {
        "report": Task(lambda: calculate(numbers) + calculate(words)),
        "report_numbers": Task(lambda: calculate(numbers)),
        "estimate": Task(estimate),
    }


def fit(
    kinds: tuple[type[methods.Method], ...], name: str, before: object, after: object
) -> Fitted:
    found: Fitted = []
    for kind in kinds:
        method = kind(chunker=DefaultChunker(), threshold=ConstantThreshold(upper=1.0))
        method.fit(pd.Series(before, name=name))
        found.append((method, pd.Series(after, name=name)))
    return found


def frame(scores: object) -> pd.DataFrame:
    found = pd.DataFrame({"p": scores})
    found["said"] = (found["p"] >= 0.5).astype(int)
    return found


if __name__ == "__main__":
    serve(tasks)
