"""Ours, as a resident worker like the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from tests.bench.peers.worker import Data, Side, Task, serve

from modelkeep.stats.bins import Column
from modelkeep.stats.categories import Coded
from modelkeep.stats.cbpe import calibrate, estimate_performance
from modelkeep.stats.comparison import compare
from modelkeep.stats.fine import FineBaseline
from modelkeep.stats.profile import Baseline
from modelkeep.stats.psi import PsiDocument
from modelkeep.stats.scores import CELLS, count_scores, outcome_table

DOCUMENT = PsiDocument("bench")


def columns_of(side: Side) -> dict[str, Column | Coded]:
    """Return columns as the wire carries them."""
    coded = {
        name: Coded(codes, tuple(f"c{at}" for at in range(side.levels[name])))
        for name, codes in side.codes.items()
    }
    return {**side.numbers, **coded}


def words_of(side: Side) -> dict[str, Column | Coded]:
    """Return columns as a frame has them: categories are Python strings."""
    return {**side.numbers, **{name: side.words(name) for name in side.codes}}


def tasks(data: Data) -> Mapping[str, Task]:
    reference = columns_of(data.baseline)
    baseline, fine = Baseline.fit(reference), FineBaseline.fit(reference)
    million, words = columns_of(data.window), words_of(data.window)
    thousand, numbers = columns_of(data.window.head(1_000)), dict(data.window.numbers)
    few = {name: column[:1_000] for name, column in numbers.items()}
    plain = Baseline.fit(dict(data.baseline.numbers))
    window, far = baseline.profile(million), fine.profile(million)
    scored = data.scored
    calibration = calibrate(
        outcome_table(scored["baseline_score"], scored["baseline_outcome"])
    )
    assert calibration is not None

    def report(columns: Mapping[str, Column | Coded]) -> int:
        counted = baseline.profile(columns), fine.profile(columns)
        return len(compare(baseline, counted[0], DOCUMENT, (fine, counted[1])))

    def close() -> int:
        # a copy has nothing summed up yet
        again = (fine, dataclasses.replace(far))
        return len(compare(baseline, window, DOCUMENT, again))

    def estimate() -> float:
        counts = count_scores(scored["window_score"])[:CELLS]
        seen = estimate_performance(calibration, counts, 32)
        assert seen.auc is not None
        return seen.auc.value

    return {
        "report": Task(lambda: report(million)),
        "report_numbers": Task(lambda: report(numbers)),
        "report_frame": Task(lambda: report(words)),
        "profile": Task(lambda: baseline.profile(million).rows),
        "profile_numbers": Task(lambda: plain.profile(numbers).rows),
        "profile_fine": Task(lambda: fine.profile(million).rows),
        "ingest": Task(lambda: baseline.profile(thousand).rows, 200),
        "ingest_numbers": Task(lambda: plain.profile(few).rows, 200),
        "close": Task(close, 100),
        "close_psi": Task(lambda: len(compare(baseline, window, DOCUMENT)), 100),
        "estimate": Task(estimate, 10),
        "watch": Task(lambda: int(np.sum(plain.profile(numbers).rows))),
    }


if __name__ == "__main__":
    serve(tasks)
