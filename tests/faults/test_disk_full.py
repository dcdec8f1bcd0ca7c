"""A full disk, a real one: appends are refused, reads go on, and it resumes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from tests.faults.killed_writer import marked
from tests.faults.test_store_kill import check_whole

from modelkeep.errors import DiskFull
from modelkeep.store.port import NO_STREAM
from modelkeep.store.reserve import MIB, reserved
from modelkeep.store.sqlite import SqliteStore

APPENDS: Final = 50_000
"""Far more than any of these disks has room for."""


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of so many bytes, where this process may mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk: mounting one is for root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all that is left of a disk."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(64 << 10))
        except OSError:
            return ballast


def append_until_full(store: SqliteStore) -> int:
    for done in range(APPENDS):
        try:
            store.append(f"full-{uuid4().hex}.1", marked(9), expected=NO_STREAM)
        except DiskFull:
            return done
    raise AssertionError("the disk never filled")


def fill_and_free(folder: Path, cycles: int) -> int:
    """Return how many appends were acknowledged, all of which must be there."""
    acknowledged = 0
    with SqliteStore(folder / "ledger.db") as store:
        for _ in range(cycles):
            ballast = fill(folder)
            acknowledged += append_until_full(store)
            with pytest.raises(DiskFull):
                store.append(f"full-{uuid4().hex}.1", marked(9), expected=NO_STREAM)
            assert sum(1 for _ in store.read_all()) == 9 * acknowledged
            ballast.unlink()
            for _ in range(20):
                store.append(f"free-{uuid4().hex}.1", marked(9), expected=NO_STREAM)
            acknowledged += 20
    with SqliteStore(folder / "ledger.db") as store:
        check_whole(store)
        assert store.tree()[0] == 9 * acknowledged
    return acknowledged


def test_a_full_disk_refuses_appends_and_answers_reads_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELKEEP_RESERVE_MIB", "0")
    with small_disk(tmp_path / "disk", "4m") as folder:
        fill_and_free(folder, 2)


@pytest.mark.slow
def test_twenty_times_full_and_free_again_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELKEEP_RESERVE_MIB", "0")
    with small_disk(tmp_path / "disk", "64m") as folder:
        fill_and_free(folder, 20)


def test_appends_are_refused_while_there_is_still_room_to_free_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELKEEP_RESERVE_MIB", raising=False)
    assert reserved() == 256 * MIB
    with small_disk(tmp_path / "disk", "259m") as folder:
        with SqliteStore(folder / "ledger.db") as store:
            assert append_until_full(store) > 0
            found = (folder / "ledger.db-wal").stat().st_size
            assert found < 4 * MIB  # all the rest is still free
            assert sum(1 for _ in store.read_all()) > 0
        with SqliteStore(folder / "ledger.db") as store:
            check_whole(store)
