"""A disk that fails to sync, and one that says it has synced and has not."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw
import grpc
import pytest
from grpc_health.v1 import health_pb2
from tests.faults.test_store_power import LEDGER, Disk, DiskFile, Kept, new
from tests.unit.test_kernel_rpc import health, serving

from modelkeep import node
from modelkeep.errors import Corrupt, ModelkeepError, Unavailable
from modelkeep.home import Home
from modelkeep.proof.note import SigningKey
from modelkeep.proof.signer import Signer
from modelkeep.store import sqlite_write
from modelkeep.store.port import ANY, Appended, NewEvent
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.doctor.start import hold

APPENDS: Final = 60
ORIGIN: Final = "tests.example/lies"
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


# --- an error at a sync ------------------------------------------------------------


class FailingDisk(apsw.VFS):
    """Its n-th sync of a file called so fails, once; what it then keeps is its own
    affair.
    """

    def __init__(self, fails_at: int, called: str) -> None:
        self.left, self.called = fails_at, called
        self.failed = False
        super().__init__("failing", "unix", makedefault=True)

    def xOpen(  # noqa: N802, SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return FailingFile(self, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(
        self,
        disk: FailingDisk,
        name: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._meant = disk.called in str(path)
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.left -= self._meant
        if self._disk.left == 0 and not self._disk.failed:
            self._disk.failed = True
            raise apsw.IOError("the disk says no")
        super().xSync(flags)


@contextmanager
def failing(fails_at: int, called: str = "") -> Iterator[FailingDisk]:
    disk = FailingDisk(fails_at, called)
    try:
        yield disk
    finally:
        disk.unregister()


def fail_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syncs: range
) -> Counter[str]:
    """Fail each of some syncs; say how often the append in question was there after."""
    monkeypatch.setattr(sqlite_write, "_CHECKPOINT_PAGES", 40)
    found: Counter[str] = Counter()
    for number in syncs:
        ledger = tmp_path / f"{number}.db"
        SqliteStore(ledger).close()
        acknowledged: dict[bytes, Appended] = {}
        doubtful: NewEvent | None = None
        with failing(number) as disk, SqliteStore(ledger) as store:
            for turn in range(APPENDS):
                some = new((1, 4, 30)[turn % 3])
                try:
                    done = store.append(f"cut-{turn % 7}.1", some, expected=ANY)
                except Unavailable:
                    doubtful = doubtful or some[0]
                    assert store.broken
                    continue
                # Not one is acknowledged after the first that was not.
                assert doubtful is None
                acknowledged[some[-1].id.bytes] = done
            assert disk.failed
        with SqliteStore(ledger) as store:
            stored = {one.id: one for one in store.read_all()}
        for id_, done in acknowledged.items():
            assert (stored[id_].position, stored[id_].version) == done
        there = doubtful is not None and doubtful.id.bytes in stored
        found["there" if there else "not there"] += 1
    return found


def test_after_a_sync_that_failed_nothing_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fail_often(tmp_path, monkeypatch, range(2, 20, 2)).total() == 9


@pytest.mark.parametrize("number", range(1, 9))
def test_a_sync_that_fails_at_the_beginning_leaves_no_ledger_half_made(
    tmp_path: Path, number: int
) -> None:
    """SQLite says nothing of an error while it makes the file a write-ahead one."""
    ledger, acknowledged = tmp_path / LEDGER, list[NewEvent]()
    with failing(number) as disk:
        with suppress(Unavailable), SqliteStore(ledger) as store:
            some = new(3)
            store.append("cut-0.1", some, expected=ANY)
            acknowledged += some
        assert disk.failed
    with SqliteStore(ledger) as store:
        stored = [one.id for one in store.read_all()]
        assert stored[: len(acknowledged)] == [one.id.bytes for one in acknowledged]
        store.append("cut-1.1", new(1), expected=ANY)


def test_a_server_whose_disk_failed_says_that_it_is_not_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever supervises it restarts it; until then it answers what is known."""
    monkeypatch.setattr(node, "HEALTH_S", 0.01)
    with failing(40, LEDGER) as disk, serving(tmp_path) as served:
        owner = served.token("owner")
        told: list[grpc.StatusCode] = []
        for number in range(60):
            try:
                served.put(f"jar{number}", owner)
                assert not told, "acknowledged after the first that was not"
            except grpc.RpcError as error:
                told.append(error.code())
        assert disk.failed
        assert set(told) == {grpc.StatusCode.UNAVAILABLE}
        wait_until(lambda: health(served, "") == NOT_SERVING)
        assert served.get("jar0", owner).marbles == 1


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_whichever_sync_fails_nothing_is_acknowledged_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fail_often(tmp_path, monkeypatch, range(1, 61))
    print(f"of the appends whose sync failed: {dict(found)}")  # noqa: T201


# --- a disk that lies --------------------------------------------------------------


class LyingDisk(Disk):
    """Says that it has synced, and mostly has not."""

    def xOpen(  # noqa: N802
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        known = f"{LEDGER}-wal" if flags[0] & apsw.SQLITE_OPEN_WAL else LEDGER
        return LyingFile(self, known, name, flags)


class LyingFile(DiskFile):
    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.chance.random() < 0.1:
            return super().xSync(flags)
        return self._disk.maybe_cut()


@contextmanager
def lying(seed: int) -> Iterator[LyingDisk]:
    disk = LyingDisk(random.Random(seed))  # noqa: S311, a seed to repeat it with
    try:
        yield disk
    finally:
        disk.unregister()


def signer_for(home: Home) -> Signer:
    """One whose memory lies elsewhere, on a disk that does not lie."""
    return Signer(
        SigningKey.generate(ORIGIN),
        ORIGIN,
        state=home.root / "elsewhere.state",
        published=home.checkpoints,
    )


def lied_to(home: Home, seed: int) -> Iterator[tuple[dict[str, bytes], int, bytes]]:
    """Yield what a disk holds after each of some cuts, with the checkpoint that was
    published by then and how many events that is of.
    """
    SqliteStore(home.make().ledger, origin=ORIGIN).close()
    signer = signer_for(home)
    signed = 0, b""
    with lying(seed) as disk:
        disk.files[LEDGER] = Kept(bytearray(home.ledger.read_bytes()))
        with SqliteStore(home.ledger) as store:
            for turn in range(APPENDS):
                store.append(
                    f"cut-{turn % 7}.1", new((1, 4, 30)[turn % 3]), expected=ANY
                )
                for files, _ in disk.cuts:
                    yield files, *signed
                disk.cuts.clear()
                if turn % 5 == 4:
                    note = signer.sign(store.frozen_tree())
                    signed = store.tree()[0], note
            everything = [one.id for one in store.read_all()]
    (home.root / "ids").write_bytes(b"".join(everything))


def judged(home: Home, files: dict[str, bytes], size: int, note: bytes) -> str:
    """Start on what is left; say how it was found out, or that all signed is there."""
    for suffix in ("", "-wal", "-shm"):
        home.ledger.with_name(f"{LEDGER}{suffix}").unlink(missing_ok=True)
    for name, content in files.items():
        (home.root / name).write_bytes(content)
    home.checkpoints.mkdir(exist_ok=True)
    if note:
        (home.checkpoints / "checkpoint").write_bytes(note)
    try:
        hold(home, ())
        with SqliteStore(home.ledger, origin=ORIGIN) as store:
            served = [one.id for one in store.read_all()]
    except Corrupt:
        return "refused at the start"
    except (ModelkeepError, apsw.Error):
        return "refused by SQLite"
    return "served" if len(served) >= size else "SERVED LESS THAN WAS SIGNED"


def lie_often(tmp_path: Path, cuts: int, seed: int) -> Counter[str]:
    found: Counter[str] = Counter()
    while found.total() < cuts:
        seed += 1
        source = Home(tmp_path / f"lies-{seed}")
        left = list(lied_to(source, seed))
        truth = (source.root / "ids").read_bytes()
        after = Home(tmp_path / f"after-{seed}").make()
        for files, size, note in left:
            verdict = judged(after, files, size, note)
            found[verdict] += 1
            if verdict == "served":
                with SqliteStore(after.ledger) as store:
                    first = b"".join(one.id for one in store.read_all(limit=size or 1))
                assert truth.startswith(first) or not size
    return found


def test_a_disk_that_lied_is_found_out_before_anybody_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_write, "_CHECKPOINT_PAGES", 40)
    found = lie_often(tmp_path, 40, 0)
    assert "SERVED LESS THAN WAS SIGNED" not in found
    assert found["refused at the start"] > 0


@pytest.mark.slow
def test_a_disk_that_lied_two_thousand_times_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_write, "_CHECKPOINT_PAGES", 40)
    found = lie_often(tmp_path, 2_000, 5_000)
    print(dict(found))  # noqa: T201
    assert "SERVED LESS THAN WAS SIGNED" not in found
