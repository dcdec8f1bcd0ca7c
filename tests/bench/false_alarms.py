"""False alarms of the sequential detector beside the usual rules, and what it costs.

The simulation is the one of `modelkeep simulate-alarms`: 110,400 hourly windows without
drift (50 models, a quarter each), baselines an hour estimated and a daily swing of .3
sigma; then one of 25 features shifts, in 200 models each. Goals: no more false alarms
than the budget, a hundred times fewer than Benjamini-Hochberg in each window, and a
shift of .25 sigma seen within 3 windows.

    python -m tests.bench.false_alarms [quarters] [models]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
from tests.bench.harness import Figure, Goal, Peer, in_turns

from modelkeep.stats.alarm_simulation import (
    BH,
    LOND,
    LOND_DAILY,
    OURS,
    Scenario,
    run,
)
from modelkeep.stats.e_detector import Detector
from modelkeep_services.cli import simulating

FEATURES, BINS, ROWS = 25, 10, 1_000
BESIDE = {
    "chi2": "chi2 p < .05, any feature",
    "bh": BH,
    "psi_10": "PSI > .10, any feature",
    "psi_25": "PSI > .25, any feature",
    "pooled": "e-SR, one baseline for all hours",
    "trusted": "e-SR, baselines taken for the truth",
    "e_lond": LOND,
    "e_lond_daily": LOND_DAILY,
}


def detector() -> Detector:
    """Return the default one of 25 features with ten bins each."""
    share = np.full((1, FEATURES * BINS), 1 / BINS)
    return Detector.between(
        [(str(feature), BINS) for feature in range(FEATURES)],
        0.9 * share,
        1.1 * share,
        threshold=4_416,
        odds=Scenario().document.odds,
    )


def update() -> tuple[float, int]:
    """Return microseconds of CPU an update, and the state's bytes after 200."""
    watch, chance = detector(), np.random.default_rng(1)
    seen = chance.multinomial(ROWS, np.full(BINS, 1 / BINS), size=(200, FEATURES))
    windows = list(seen.reshape(200, -1))
    trials = np.full(FEATURES * BINS, ROWS)
    evidence = watch.start()

    def measure() -> Iterable[float]:
        nonlocal evidence
        evidence = watch.start()
        start = process_time()
        for window in windows:
            evidence = watch.update(evidence, window, trials).evidence
        yield (process_time() - start) / len(windows)

    (times,) = in_turns(15, measure)
    return 1e6 * median(times), len(evidence.to_json())


def figures(_: Path) -> Iterator[Figure]:
    each, size = update()
    yield Figure("alarms.update_25_x_10", each, "us", goal=Goal("value", "<=", 50))
    yield Figure("alarms.state_25_x_10", size, "bytes")
    scenario = Scenario()
    found = run(scenario)
    ours, theirs = found.quiet_of(OURS), found.quiet_of(BH)
    yield Figure("alarms.null_windows", ours.windows, "windows")
    yield Figure(
        "alarms.false_a_period",
        ours.per_period,
        "alarms",
        goal=Goal("value", "<=", found.budget.false_alarms),
    )
    yield Figure(
        "alarms.false_per_1000",
        ours.per_thousand,
        "alarms",
        Peer("Benjamini-Hochberg in each window", theirs.per_thousand),
        Goal("ratio", "<=", 0.01),
    )
    yield Figure("alarms.false_per_1000_upper_95", ours.per_thousand_upper, "alarms")
    for name, rule in BESIDE.items():
        beside = found.quiet_of(rule)
        yield Figure(f"alarms.false_per_1000_{name}", beside.per_thousand, "alarms")
    for shift in scenario.shifts:
        delay = found.delay_of(OURS, shift)
        goal = Goal("value", "<=", 3) if shift == 0.25 else None
        value = float("inf") if delay.median is None else delay.median
        yield Figure(f"alarms.delay_{shift:g}_sigma", value, "windows", goal=goal)


def main() -> int:
    asked = [int(word) for word in sys.argv[1:3]]
    quarters, models = [*asked, *(50, 200)[len(asked) :]]
    scenario = Scenario(replicas=quarters, drift_replicas=models)
    each, size = update()
    sys.stdout.write(
        f"{each:.1f} us of CPU an update of 25 x 10, {size:,} bytes of state\n"
    )
    return simulating.simulate(scenario, as_json=False)


if __name__ == "__main__":
    sys.exit(main())
