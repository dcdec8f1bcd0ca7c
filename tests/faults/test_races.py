"""Writers in several processes: one winner a version, and an order that time agrees to.

A stream is a register whose value only grows, so whether a history is linearizable can
be said in one pass. An operation that ended before another began must not have seen, or
made, a later version; what is read, and what a loser is told, lies between what had
certainly been written when it began and what may have been when it ended.
"""

from __future__ import annotations

import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from tests.faults.test_store_kill import check_whole

from modelkeep.store.sqlite import SqliteStore

ROOT: Final = Path(__file__).parents[2]
PROCESSES: Final = 3


class Operation(NamedTuple):
    """`seen` is the version read, or the one a loser was told; `made` a winner's."""

    kind: str
    began: int
    ended: int
    expected: int
    seen: int
    made: int
    position: int


def raced(ledger: Path, many: int) -> dict[str, list[Operation]]:
    program = [sys.executable, "-m", "tests.faults.raced_writer", str(ledger)]
    writers = [
        subprocess.Popen(
            [*program, str(many // PROCESSES), str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(PROCESSES)
    ]
    history: dict[str, list[Operation]] = defaultdict(list)
    for writer in writers:
        said, _ = writer.communicate()
        assert writer.returncode == 0
        for line in said.splitlines():
            stream, operation = parsed(line.split())
            history[stream].append(operation)
    return history


def parsed(said: Sequence[str]) -> tuple[str, Operation]:
    kind, stream = said[:2]
    began, ended, first = (int(one) for one in said[2:5])
    match kind:
        case "read":
            return stream, Operation(kind, began, ended, -9, first, -9, -9)
        case "lost":
            return stream, Operation(kind, began, ended, first, int(said[5]), -9, -9)
    made, position = int(said[5]), int(said[6])
    return stream, Operation(kind, began, ended, first, -9, made, position)


def check_linear(history: Sequence[Operation]) -> None:
    """Raises AssertionError where no order of these operations explains them."""
    won = sorted((one for one in history if one.kind == "won"), key=lambda o: o.made)
    # One winner a version, no gap: each began where the one before it ended.
    assert [one.expected for one in won] == [-1, *(one.made for one in won[:-1])]
    assert [o.position for o in won] == sorted(o.position for o in won)
    # A later version was not finished before an earlier one began.
    soonest = float("inf")
    for one in reversed(won):
        assert one.began <= soonest
        soonest = min(soonest, one.ended)
    by_end = sorted((one.ended, one.made) for one in won)
    ends, surely = [e for e, _ in by_end], _running_max([m for _, m in by_end])
    by_begin = sorted((one.began, one.made) for one in won)
    begins, maybe = [b for b, _ in by_begin], _running_max([m for _, m in by_begin])
    for one in history:
        if one.kind == "won":
            continue
        before = bisect_left(ends, one.began)
        least = surely[before - 1] if before else -1
        under_way = bisect_right(begins, one.ended)
        most = maybe[under_way - 1] if under_way else -1
        assert least <= one.seen <= most, one
        if one.kind == "lost":
            assert one.seen != one.expected


def _running_max(values: Sequence[int]) -> list[int]:
    found: list[int] = []
    for one in values:
        found.append(max(one, found[-1]) if found else one)
    return found


def race(ledger: Path, many: int) -> int:
    history = raced(ledger, many)
    for operations in history.values():
        check_linear(operations)
    with SqliteStore(ledger) as store:
        check_whole(store)
        for stream, operations in history.items():
            made = {one.made: one.position for one in operations if one.kind == "won"}
            stored = {one.version: one.position for one in store.read_stream(stream)}
            assert made.items() <= stored.items()
            assert max(made) == max(stored)
    return sum(map(len, history.values()))


def test_of_several_writers_one_wins_each_version(tmp_path: Path) -> None:
    assert race(tmp_path / "ledger.db", 600) == 600


@pytest.mark.slow
def test_a_million_operations_at_once_have_an_order(tmp_path: Path) -> None:
    assert race(tmp_path / "ledger.db", 999_996) > 990_000


@pytest.mark.parametrize(
    "impossible",
    [
        # Two winners of one version.
        [("won", 0, 9, -1, -9, 0, 0), ("won", 0, 9, -1, -9, 0, 10)],
        # A version that nobody made.
        [("won", 0, 9, -1, -9, 0, 0), ("won", 0, 9, 1, -9, 2, 20)],
        # Read before it can have been written.
        [("read", 0, 1, -9, 0, -9, -9), ("won", 2, 3, -1, -9, 0, 0)],
        # Not read after it was written.
        [("won", 0, 1, -1, -9, 0, 0), ("read", 2, 3, -9, -1, -9, -9)],
        # The second was finished before the first began.
        [("won", 5, 6, -1, -9, 0, 0), ("won", 1, 2, 0, -9, 1, 10)],
        # Lost to nobody.
        [("won", 0, 1, -1, -9, 0, 0), ("lost", 2, 3, 0, 0, -9, -9)],
    ],
)
def test_an_impossible_history_is_known_as_such(
    impossible: list[tuple[str, int, int, int, int, int, int]],
) -> None:
    with pytest.raises(AssertionError):
        check_linear([Operation(*one) for one in impossible])
