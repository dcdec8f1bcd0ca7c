"""Whatever reads bytes of others, fed with bytes that are nearly right.

    python -m tests.faults.fuzz                        a second for each parser
    python -m tests.faults.fuzz --seconds 3600 note    an hour of one

Each input is a good one, spoiled in a few places: bits, pieces cut, doubled, moved or
spliced with another, numbers made extreme, and words that have hurt parsers before. A
parser may refuse it in the words it promises, or read it; anything else it raises, and
anything that takes a second of processor time, is a failure and is printed with its
seed. A line of JSON tells of each parser.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.parser import Parser
from tests.faults.parsers import parsers
from tests.faults.spoiling import spoiled

MOST_S: Final = 1.0
HANGS_S: Final = 30
SHOWN: Final = 5


@dataclass
class Told:
    """What became of one parser. `wrong` names the first failures."""

    parser: str
    runs: int = 0
    read: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    wrong: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


@contextmanager
def unless_it_hangs() -> Iterator[None]:
    """Of processor time: on a busy machine an honest reader may wait for its turn."""

    def over(*_: object) -> None:
        raise TimeoutError(f"hangs for {HANGS_S} s")

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, HANGS_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def fuzz(
    name: str,
    parser: Parser,
    *,
    seed: int,
    seconds: float = 0.0,
    runs: int = 0,
) -> Told:
    """Run for so much processor time, or so many runs, whichever is given."""
    with suppress(*parser.refuses):
        parser.read(parser.seeds[0])  # what is loaded once is not counted
    told, started = Told(name), time.process_time()
    while told.runs < runs or time.process_time() - started < seconds:
        chance = random.Random(f"{name}-{seed}-{told.runs}")  # noqa: S311, to repeat it
        raw = spoiled(chance, parser.seeds)
        began = time.process_time()
        try:
            with unless_it_hangs():
                parser.read(raw)
            told.read += 1
        except parser.refuses:
            told.refused += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            _fail(told, f"{type(error).__name__}: {error}", seed)
        took = time.process_time() - began
        told.slowest_ms = max(told.slowest_ms, round(took * 1e3, 1))
        if took > MOST_S:
            _fail(told, f"took {took:.1f} s", seed)
        told.runs += 1
    return told


def _fail(told: Told, what: str, seed: int) -> None:
    kind = what.partition(":")[0]
    told.failures[kind] += 1
    if told.failures[kind] <= SHOWN:
        told.wrong.append(f"seed {seed}, run {told.runs}: {what[:300]}")


# --- the command -------------------------------------------------------------------


def main() -> int:
    given = argparse.ArgumentParser(description="Feed parsers what is nearly right.")
    given.add_argument("names", nargs="*", help="which [all]")
    given.add_argument("--seconds", type=float, default=1.0, help="of each, of CPU")
    given.add_argument("--seed", type=int, default=1)
    asked = given.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        known = parsers(Path(folder))
        for name in asked.names or known:
            told = fuzz(name, known[name], seed=asked.seed, seconds=asked.seconds)
            bad += told.failures.total()
            print(json.dumps(vars(told)), flush=True)  # noqa: T201  # an answer
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
