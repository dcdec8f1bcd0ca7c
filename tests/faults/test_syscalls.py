"""One system call on the ledger's files fails, or is the last: nothing is half-done.

strace spoils the n-th call of a kind on the ledger and what lies beside it, with an
error or with a signal that kills. What was acknowledged must be there afterwards.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from tests.faults.killed_writer import marked
from tests.faults.test_store_kill import check_whole

from modelkeep.store.port import ANY
from modelkeep.store.sqlite import SqliteStore

ROOT: Final = Path(__file__).parents[2]
CALLS: Final = (
    "pwrite64",
    "fdatasync",
    "fsync",
    "ftruncate",
    "pread64",
    "openat",
    "fcntl",
    "flock",
    "unlink",
)
WRONG: Final = ("error=EIO", "error=ENOSPC", "signal=KILL")
WHEN: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55)

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="spoiled system calls: strace is not here"
)


def swept(folder: Path, call: str, wrong: str, when: int) -> str:
    """Let a writer meet one spoiled call; say how it ended. Checks what it left."""
    ledger = folder / f"{call}-{wrong.partition('=')[2]}-{when}.db"
    SqliteStore(ledger).close()
    files = [ledger, *(ledger.with_name(ledger.name + one) for one in ("-wal", "-shm"))]
    files += [ledger.with_name(f"{ledger.name}-{one}") for one in ("turn", "room")]
    command = ["strace", "-f", "-qq", "-o", "/dev/null"]
    command += [part for one in files for part in ("-P", str(one))]
    command += ["-e", f"inject={call}:{wrong}:when={when}"]
    command += [sys.executable, "-m", "tests.faults.swept_writer", str(ledger)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    lines = done.stdout.splitlines()
    said = [one for one in lines if " " not in one]
    ended = [one for one in lines if " " in one]
    with SqliteStore(ledger) as store:
        stored = {one.id.hex() for one in store.read_all()}
        for line in said:
            assert set(line.split(",")) <= stored, (call, wrong, when, done.stderr)
        check_whole(store)
        store.append("after-the-sweep.1", marked(1), expected=ANY)
    if ended:
        return ended[0].split()[0] if ended[0].startswith("read") else ended[0]
    return "killed" if done.returncode else "ended"


@needs_strace
@pytest.mark.parametrize(
    ("call", "wrong", "when", "ends"),
    [
        ("fdatasync", "error=EIO", 3, "refused Unavailable"),
        ("pwrite64", "error=ENOSPC", 20, "refused DiskFull"),
        ("pwrite64", "signal=KILL", 30, "killed"),
    ],
)
def test_a_spoiled_call_leaves_nothing_half_done(
    tmp_path: Path, call: str, wrong: str, when: int, ends: str
) -> None:
    assert swept(tmp_path, call, wrong, when) == ends


@needs_strace
@pytest.mark.slow
def test_whichever_call_is_spoiled_nothing_is_left_half_done(tmp_path: Path) -> None:
    ended = Counter(
        swept(tmp_path, call, wrong, when)
        for call in CALLS
        for wrong in WRONG
        for when in WHEN
    )
    print(f"{ended.total()} runs: {dict(ended)}")  # noqa: T201
    assert ended["killed"] > 0
