"""Power cuts, simulated: whatever the disk had not been told to keep may be gone.

A file system of ours remembers, beside what is written, what was synced. At a cut each
file keeps that, and of the later writes any, none or some, the last torn at a sector.
No store survives a disk that says it has synced and has not: see `test_disk_lies.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import apsw
import pytest

from modelkeep.proof.merkle import root_of
from modelkeep.store import sqlite_write
from modelkeep.store.port import ANY, Appended, NewEvent
from modelkeep.store.sqlite import SqliteStore

SECTOR = 512
LEDGER, LOG = "ledger.db", "ledger.db-wal"


@dataclass
class Kept:
    """A file: what was synced, and what was written since (or cut to, as None)."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for at, data in self.since:
            put(self.synced, at, data)
        self.since.clear()

    def cut(self, chance: random.Random) -> bytes:
        content = bytearray(self.synced)
        for at, data in self.since:
            fate = chance.random()
            if fate < 0.4 or data is None:
                put(content, at, data)
            elif fate < 0.6:
                put(
                    content,
                    at,
                    data[: SECTOR * chance.randrange(len(data) // SECTOR + 1)],
                )
        return bytes(content)


def put(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
    elif data:
        content.extend(bytes(max(0, at - len(content))))
        content[at : at + len(data)] = data


class Disk(apsw.VFS):
    """Cuts the power, in thought, at one write or sync in so many."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.files: dict[str, Kept] = {}
        self.acknowledged: dict[bytes, Appended] = {}
        self.cuts: list[tuple[dict[str, bytes], dict[bytes, Appended]]] = []
        super().__init__("cut", "unix", makedefault=True)

    def xOpen(  # noqa: N802, SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        # A log's URI names its database, so the flags must tell them apart.
        known = LOG if flags[0] & apsw.SQLITE_OPEN_WAL else LEDGER
        return DiskFile(self, known, name, flags)

    def maybe_cut(self) -> None:
        if self.chance.random() < 0.02:
            files = {name: kept.cut(self.chance) for name, kept in self.files.items()}
            self.cuts.append((files, dict(self.acknowledged)))


class DiskFile(apsw.VFSFile):
    def __init__(
        self,
        disk: Disk,
        known: str,
        name: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        self._disk = disk
        self._kept = disk.files.setdefault(known, Kept())
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._kept.since.append((offset, bytes(data)))
        self._disk.maybe_cut()

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._kept.since.append((newsize, None))
        self._disk.maybe_cut()

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.maybe_cut()
        super().xSync(flags)
        self._kept.sync()


@contextmanager
def disk(seed: int) -> Iterator[Disk]:
    disk = Disk(random.Random(seed))  # noqa: S311, a seed to repeat it with
    try:
        yield disk
    finally:
        disk.unregister()


def new(many: int) -> list[NewEvent]:
    return [
        NewEvent(uuid4(), "faults.written", 1, bytes(300), b'{"schema_version":"1"}')
        for _ in range(many)
    ]


def write(disk: Disk, ledger: Path, appends: int) -> None:
    with SqliteStore(ledger) as store:
        for turn in range(appends):
            some = new((1, 4, 30)[turn % 3])
            done = store.append(f"cut-{turn % 7}.1", some, expected=ANY)
            disk.acknowledged[some[-1].id.bytes] = done


def survives(
    folder: Path, files: dict[str, bytes], acknowledged: dict[bytes, Appended]
) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with SqliteStore(folder / LEDGER) as store:
        stored = {one.id: one for one in store.read_all()}
        for id_, done in acknowledged.items():
            assert (stored[id_].position, stored[id_].version) == done
        size, root = store.tree()
        assert (size, root) == (len(stored), root_of(store.leaves(0, size)))
        store.append("cut-0.1", new(1), expected=ANY)
        assert store.tree()[0] == size + 1


def cut_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: int, seed: int
) -> None:
    # Often folded in, so that cuts also fall into that.
    monkeypatch.setattr(sqlite_write, "_CHECKPOINT_PAGES", 40)
    survived = 0
    while survived < cuts:
        seed += 1
        folder = tmp_path / str(seed)
        folder.mkdir()
        SqliteStore(folder / LEDGER).close()
        with disk(seed) as planted:
            planted.files[LEDGER] = Kept(bytearray((folder / LEDGER).read_bytes()))
            write(planted, folder / LEDGER, 60)
        for number, (files, acknowledged) in enumerate(planted.cuts):
            after = folder / str(number)
            after.mkdir()
            survives(after, files, acknowledged)
        survived += len(planted.cuts)


def test_a_hundred_power_cuts_lose_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_often(tmp_path, monkeypatch, cuts=100, seed=0)


@pytest.mark.slow
def test_ten_thousand_power_cuts_lose_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_often(tmp_path, monkeypatch, cuts=10_000, seed=1000)
