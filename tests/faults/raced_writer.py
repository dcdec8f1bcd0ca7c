"""Writes to and reads from shared streams, and says when each operation was under way.

Each line is one operation: kind, stream, began, ended (nanoseconds of the machine's
monotonic clock, which all processes share), and what it came to.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path

from tests.faults.killed_writer import marked

from modelkeep.errors import WrongVersion
from modelkeep.store.sqlite import SqliteStore


def operate(store: SqliteStore, many: int, seed: int, lines: list[str]) -> None:
    chance = random.Random(seed)  # noqa: S311, a seed to repeat it with
    known = [-1, -1, -1, -1]
    for _ in range(many):
        at = chance.randrange(len(known))
        stream, began = f"raced-{at}.1", time.monotonic_ns()
        if chance.random() < 0.3:
            known[at] = store.stream_version(stream)
            said = f"read {stream} {began} {time.monotonic_ns()} {known[at]}"
        else:
            some = marked(chance.choice((1, 1, 2)))
            try:
                done = store.append(stream, some, expected=known[at])
                ended = time.monotonic_ns()
                said = f"won {stream} {began} {ended} {known[at]} {done.version}"
                said += f" {done.position} {some[0].id.hex}"
                known[at] = done.version
            except WrongVersion as lost:
                ended = time.monotonic_ns()
                said = f"lost {stream} {began} {ended} {known[at]} {lost.current}"
                known[at] = lost.current
        lines.append(said)


def main() -> None:
    ledger, many, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    lines: list[str] = []
    with SqliteStore(ledger) as store:
        threads = [
            threading.Thread(
                target=operate, args=(store, many // 2, 2 * seed + one, lines)
            )
            for one in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # At the end: a pipe takes long writes of two threads in pieces.
    sys.stdout.writelines(f"{one}\n" for one in lines)


if __name__ == "__main__":
    main()
