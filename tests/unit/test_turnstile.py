"""The lock between processes: one at a time, and nobody starves."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from modelkeep.store.turnstile import Turnstile

PATIENCE = 30.0


def test_one_at_a_time(tmp_path: Path) -> None:
    one = Turnstile(tmp_path / "turn", tmp_path / "room")
    with one, (tmp_path / "room").open() as room, pytest.raises(BlockingIOError):
        fcntl.flock(room, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "room").open() as room, (tmp_path / "turn").open() as turn:
        for lock in (room, turn):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    one.close()


def test_whoever_waits_comes_next(tmp_path: Path) -> None:
    """A process that enters again and again lets another in each time it waits."""
    script = """
import sys, time
from pathlib import Path
from modelkeep.store.turnstile import Turnstile
folder = Path(sys.argv[1])
turnstile = Turnstile(folder / "turn", folder / "room")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(200):
    with turnstile:
        with (folder / "entered").open("a") as book:
            book.write(sys.argv[2])
        time.sleep(0.0005)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in "ab"
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=PATIENCE)
    book = (tmp_path / "entered").read_text()
    assert len(book) == 400
    together = book[max(book.index("a"), book.index("b")) :]
    together = together[: min(together.rindex("a"), together.rindex("b"))]
    assert max(len(list(run)) for _, run in groupby(together)) < 50
