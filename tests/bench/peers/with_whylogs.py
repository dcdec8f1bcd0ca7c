"""Whylogs: profiles of frames, and drift scores from two of them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import whylogs
from tests.bench.peers.worker import Data, Side, Task, serve
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores


def frame(side: Side) -> pd.DataFrame:
    words = {name: side.words(name) for name in side.codes}
    return pd.DataFrame({**side.numbers, **words})


def tasks(data: Data) -> Mapping[str, Task]:
    million, thousand = frame(data.window), frame(data.window.head(1_000))
    few = frame(data.window.head(100_000))
    before = whylogs.log(frame(data.baseline.head(100_000))).view()
    after = whylogs.log(few).view()
    running = whylogs.log(thousand).profile()

    def ingest() -> int:
        running.track(thousand)
        return len(thousand)

    return {
        "profile": Task(lambda: len(whylogs.log(million).view().get_columns())),
        "ingest": Task(ingest),
        "close": Task(
            lambda: len(
                calculate_drift_scores(
                    target_view=after, reference_view=before, with_thresholds=True
                )
            )
        ),
    }


if __name__ == "__main__":
    serve(tasks)
