"""Counting, comparing and estimating, beside the libraries that people use for it.

Each peer lives in an environment of its own, with the pins in `peers/NAME.txt`, made by
`make bench-peers`, which measures beside all of them; run alone, this module skips one
that is not there by name. All are resident workers
that hold the same data, and one driver asks them in turns: imports, fits and loading
are not measured, neither theirs nor ours.

The window has a million rows: twenty numeric columns (f64) and five of categories. The
peers take pandas frames with strings, ours codes as the wire carries them;
`report_frame` has ours take the strings too. KLL sketches the twenty numeric columns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from tests.bench.harness import OUT, Figure, Goal, Peer
from tests.bench.stats import LEVELS, frame

from modelkeep.stats.categories import Coded

HERE: Final = Path(__file__).parent / "peers"
ROOT: Final = HERE.parents[2]
OURS: Final = "modelkeep"
PEERS: Final = ("evidently", "nannyml", "datasketches", "whylogs", "river")
ROUNDS: Final = int(os.environ.get("MODELKEEP_BENCH_ROUNDS", "5"))
LONG: Final = 2.0
ENOUGH: Final = 20.0
PATIENCE: Final = 600
"""Seconds that a worker has for one answer."""


class Question(NamedTuple):
    """`task` is asked of us and of `peer`; `faster` is the goal, how many times."""

    task: str
    peer: str
    faster: float | None = None
    ours: str | None = None
    """The task that we are asked, where it has another name."""


QUESTIONS: Final = (
    Question("ingest", "datasketches", 4),
    Question("ingest_numbers", "datasketches", 4),
    Question("ingest", "whylogs", 200),
    Question("estimate", "nannyml", 100),
    Question("close", "whylogs", 1_000),
    Question("profile", "datasketches", 5),
    Question("profile_numbers", "datasketches", 5),
    Question("profile", "datasketches", None, "profile_fine"),
    Question("profile", "whylogs", 150),
    Question("report", "nannyml", 20),
    Question("report_numbers", "nannyml", 10),
    Question("report", "nannyml", None, "report_frame"),
    Question("report", "evidently", 50),
    Question("report_numbers", "evidently", 40),
    Question("report", "evidently", None, "report_frame"),
)


class Worker:
    """A resident process that answers one task a line."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self._process, self._was_late = process, False
        self._line()

    def ask(self, task: str) -> Mapping[str, float] | None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        told: dict[str, float] = json.loads(self._line())
        return None if "absent" in told else told

    def _line(self) -> str:
        assert self._process.stdout is not None
        late = threading.Timer(PATIENCE, self._end)
        late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            late.cancel()
        if not line:
            why = f"was later than {PATIENCE} s" if self._was_late else "ended"
            raise RuntimeError(f"{self.name} {why} without an answer")
        return line

    def _end(self) -> None:
        self._was_late = True
        self._process.kill()


@contextmanager
def worker(name: str, python: Path, folder: Path) -> Iterator[Worker]:
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}"
        if name == OURS
        else str(ROOT),
        # one thread each: the driver asks them in turns, and CPUs are shared
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "WHYLOGS_NO_ANALYTICS": "True",
        "DO_NOT_TRACK": "1",
        "NML_DISABLE_USAGE_LOGGING": "1",
    }
    with (
        (folder / f"{name}.log").open("w") as log,
        subprocess.Popen(
            [str(python), str(HERE / f"with_{name}.py"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            yield Worker(name, process)
        finally:
            process.kill()


def environments() -> Mapping[str, Path]:
    """Return the peers that are here, and the Python of each."""
    home = Path(os.environ.get("MODELKEEP_BENCH_PEERS", OUT / "peers"))
    found = {name: home / name / "bin" / "python" for name in PEERS}
    return {name: python for name, python in found.items() if python.exists()}


def figures(folder: Path) -> Iterator[Figure]:
    present = environments()
    for name in PEERS:
        if name not in present:
            sys.stdout.write(f"     {name} is not here: make bench-peers\n")
    if not present:
        return
    _write(folder)
    with ExitStack() as stack:
        workers = _start(stack, present, folder)
        told: dict[str, Mapping[str, float]] = {}
        for question in QUESTIONS:
            if question.peer in workers:
                for task in filter(None, (question.task, question.ours)):
                    told[task] = told.get(task) or _in_turns(task, workers)
                if question.peer in told[question.task]:
                    yield _figure(question, told)
            if question.task == "estimate" and question.peer in workers:
                yield _agreement(workers)  # while the peer is there
        yield from _alone(workers)
        watched = _in_turns("watch", workers) if "river" in workers else {}
        if "river" in watched:
            yield _watching(watched)


def _start(
    stack: ExitStack, present: Mapping[str, Path], folder: Path
) -> dict[str, Worker]:
    """Start all that can be; one that cannot is told, with the last that it said."""
    workers: dict[str, Worker] = {}
    for name, python in {OURS: Path(sys.executable), **present}.items():
        try:
            workers[name] = stack.enter_context(worker(name, python, folder))
        except RuntimeError as problem:
            last = (folder / f"{name}.log").read_text().strip().splitlines()[-1:]
            sys.stdout.write(f"     {problem}: {''.join(last)}\n")
    return workers


def _in_turns(task: str, workers: dict[str, Worker]) -> Mapping[str, float]:
    """Return the median seconds of each that has an answer. A peer that ends without
    one, or is later than `PATIENCE`, is told, and asked nothing more.

    The first answer is a warm-up, unless it took so long that warmth cannot matter;
    who has taken `ENOUGH` seconds is not asked again.
    """
    found: dict[str, list[float]] = {}
    for turn in range(ROUNDS + 1):
        for name, one in list(workers.items()):
            if turn and (name not in found or sum(found[name]) > ENOUGH):
                continue
            try:
                answer = one.ask(task)
            except RuntimeError as problem:
                if name == OURS:
                    raise
                sys.stdout.write(f"     {problem}: {task}\n")
                del workers[name]
                found.pop(name, None)
                continue
            if answer is not None:
                samples = found.setdefault(name, [])
                if turn == 1 and samples[0] < LONG:
                    samples.clear()
                samples.append(answer["seconds"])
    return {name: median(samples) for name, samples in found.items()}


def _figure(question: Question, told: Mapping[str, Mapping[str, float]]) -> Figure:
    asked = question.ours or question.task
    return Figure(
        f"monitoring.{asked}_beside_{question.peer}",
        1e3 * told[asked][OURS],
        "ms",
        Peer(question.peer, 1e3 * told[question.task][question.peer]),
        Goal("ratio", "<=", 1 / question.faster) if question.faster else None,
    )


def _alone(workers: Mapping[str, Worker]) -> Iterator[Figure]:
    goal = Goal("value", "<=", 250)
    for task in ("close", "close_psi"):
        seconds = _in_turns(task, {OURS: workers[OURS]})[OURS]
        yield Figure(f"monitoring.{task}_25_features", 1e6 * seconds, "us", goal=goal)


def _watching(told: Mapping[str, float]) -> Figure:
    return Figure(
        "monitoring.watch_a_value",
        1e9 * told[OURS] / (20 * 1_000_000),
        "ns",
        Peer("river ADWIN", 1e9 * told["river"] / 20_000),
    )


def _agreement(workers: Mapping[str, Worker]) -> Figure:
    ours, theirs = (workers[name].ask("estimate") for name in (OURS, "nannyml"))
    assert ours is not None
    assert theirs is not None
    return Figure(
        "monitoring.estimate_auc_apart_from_nannyml",
        1e6 * abs(ours["told"] - theirs["told"]),
        "in a million",
        goal=Goal("value", "<=", 500),
    )


def _write(folder: Path) -> None:
    for name, seed, rows in (("baseline", 1, 100_000), ("window", 2, 1_000_000)):
        side = folder / name
        side.mkdir()
        for key, column in frame(seed, rows).items():
            values = column.codes if isinstance(column, Coded) else column
            np.save(side / f"{key}.npy", values)
    levels = {f"c{at}": many for at, many in enumerate(LEVELS)}
    (folder / "levels.json").write_text(json.dumps(levels))
    chance = np.random.default_rng(3)
    said, now = chance.beta(2, 3, 100_000), chance.beta(2.5, 3, 100_000)
    true = (chance.random(100_000) < said**1.2).astype(np.float64)
    scored = folder / "scored"
    scored.mkdir()
    np.save(scored / "baseline_score.npy", said)
    np.save(scored / "baseline_outcome.npy", true)
    np.save(scored / "window_score.npy", now)
