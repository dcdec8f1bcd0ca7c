"""Runs the benches and writes what they found, one record a figure.

A bench is a module here with `def figures(folder: Path) -> Iterable[Figure]`; the
folder is empty and on a real disk. Peers are measured in the same run, in turns, and
medians are compared: a noisy machine disturbs both alike.

    python -m tests.bench.harness [bench …]         all of them without a name
"""

from __future__ import annotations

import argparse
import importlib
import json
import operator
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

HERE: Final = Path(__file__).parent
OUT: Final = HERE.parents[1] / "build"


class Peer(NamedTuple):
    """Who was measured beside it; `value` in the figure's unit."""

    name: str
    value: float


class Goal(NamedTuple):
    of: Literal["value", "ratio"]
    sense: Literal["<=", ">="]
    bound: float

    def met(self, reached: float) -> bool:
        compare = operator.le if self.sense == "<=" else operator.ge
        return bool(compare(reached, self.bound))


@dataclass(frozen=True)
class Figure:
    """`name` is dotted, by room: `store.append_single`. Ratio is value by peer."""

    name: str
    value: float
    unit: str
    peer: Peer | None = None
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer.value if self.peer else None

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        reached = self.value if self.goal.of == "value" else self.ratio
        return reached is not None and self.goal.met(reached)

    def record(self) -> dict[str, object]:
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "peer": self.peer and round(self.peer.value, 3),
            "peer_name": self.peer and self.peer.name,
            "ratio": self.ratio and round(self.ratio, 3),
            "goal": self.goal
            and f"{self.goal.of} {self.goal.sense} {self.goal.bound:g}",
            "met": self.met,
        }

    def __str__(self) -> str:
        peer = f"  {self.ratio:.3g} x {self.peer.name}" if self.peer else ""
        goal = f"  goal {self.record()['goal']}" if self.goal else ""
        mark = {True: "ok  ", False: "MISS", None: "    "}[self.met]
        return f"{mark} {self.name:34} {self.value:>14,.1f} {self.unit}{peer}{goal}"


def in_turns(
    rounds: int, *measures: Callable[[], Iterable[float]]
) -> Sequence[list[float]]:
    """Run each measure once a round, in turns; return what each found, all rounds."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for samples, measure in zip(found, measures, strict=True):
            samples.extend(measure())
    return found


def percentile(samples: Iterable[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(samples)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def run(names: Sequence[str]) -> list[Figure]:
    found: list[Figure] = []
    OUT.mkdir(exist_ok=True)
    for name in names:
        bench = importlib.import_module(f"tests.bench.{name}")
        with tempfile.TemporaryDirectory(dir=OUT) as folder:
            for figure in bench.figures(Path(folder)):
                sys.stdout.write(f"{figure}\n")
                sys.stdout.flush()
                found.append(figure)
    return found


def benches() -> list[str]:
    return sorted(
        path.stem for path in HERE.glob("*.py") if "\ndef figures(" in path.read_text()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure, and write build/bench.json.")
    parser.add_argument("bench", nargs="*", help=", ".join(benches()))
    asked = parser.parse_args().bench
    sys.stdout.write(
        f"{platform.platform()}, {os.cpu_count()} cpus, CPython"
        f" {platform.python_version()}\n"
    )
    found = run(asked or benches())
    path = OUT / "bench.json"
    # A bench run alone renews its own figures and keeps the others'.
    kept = json.loads(path.read_text()) if asked and path.exists() else []
    fresh = {figure.name for figure in found}
    records = [one for one in kept if one["name"] not in fresh]
    records += [figure.record() for figure in found]
    path.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
