"""Writes a little to a ledger, folds its log in, reads it back; says what was told.

Run it under strace, which spoils one system call. What is acknowledged is a line of
ids; anything else it prints is how it ended.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.faults.killed_writer import marked

from modelkeep.errors import ModelkeepError
from modelkeep.store import sqlite_write
from modelkeep.store.port import ANY
from modelkeep.store.sqlite import SqliteStore


def main() -> None:
    sqlite_write._CHECKPOINT_PAGES = 8  # type: ignore[misc]  # often folded in
    try:
        with SqliteStore(Path(sys.argv[1])) as store:
            for turn in range(12):
                some = marked((1, 5, 9)[turn % 3])
                store.append(f"swept-{turn % 3}.1", some, expected=ANY)
                os.write(1, f"{','.join(one.id.hex for one in some)}\n".encode())
            os.write(1, f"read {sum(1 for _ in store.read_all())}\n".encode())
    except ModelkeepError as error:
        os.write(1, f"refused {type(error).__name__}\n".encode())


if __name__ == "__main__":
    main()
