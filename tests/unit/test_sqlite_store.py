"""What the embedded store promises beyond the port: durability, tree, faults, audit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import apsw
import pytest

from modelkeep.errors import (
    Corrupt,
    DiskFull,
    Invalid,
    NotFound,
    Unavailable,
    WrongVersion,
)
from modelkeep.proof.leaf import event_leaf
from modelkeep.proof.merkle import (
    EMPTY_ROOT,
    TILE,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from modelkeep.store import open_store, sqlite_write
from modelkeep.store.group_commit import Pending
from modelkeep.store.port import ANY, NO_STREAM, Filter, NewEvent
from modelkeep.store.ranks import PAGE_BYTES, PAGE_EVENTS, STRIDE
from modelkeep.store.sqlite import SqliteStore
from modelkeep.store.sqlite_file import check_sqlite

METADATA = b'{"schema_version":"1"}'


def events(many: int, size: int = 20) -> list[NewEvent]:
    data = b"x" * size
    return [NewEvent(uuid4(), "unit.tested", 1, data, METADATA) for _ in range(many)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path) as store:
        yield store


class TestTheFile:
    def test_a_commit_is_synced_before_it_is_told(self, store: SqliteStore) -> None:
        db = store._writer._db
        assert db.pragma("journal_mode") == "wal"
        assert db.pragma("synchronous") == 2
        # All of them, not only those before the first that answers with a row.
        assert db.pragma("fullfsync") == db.pragma("checkpoint_fullfsync") == 1
        assert db.pragma("wal_autocheckpoint") == 0
        assert db.pragma("journal_size_limit") == 64 << 20
        assert db.pragma("page_size") == 8192

    def test_a_sqlite_that_may_corrupt_it_is_refused(self) -> None:
        for version in ("3.51.2", "3.40.1"):
            with pytest.raises(Unavailable, match=version):
                check_sqlite(version)
        check_sqlite("3.51.3")
        check_sqlite("3.100.0")

    def test_nothing_in_it_can_be_changed_or_deleted(
        self, path: Path, store: SqliteStore
    ) -> None:
        store.append("unit-a.1", events(300), expected=NO_STREAM)
        changes = [
            "delete from event",
            "delete from stream",
            "delete from name",
            "delete from node",
            "update event set data = x''",
            "update stream set name = 'unit-b.1'",
            "update name set name = 'unit.other'",
            "update node set hash = x''",
        ]
        with closing(sqlite3.connect(path)) as db:
            for change in changes:
                with pytest.raises(sqlite3.IntegrityError, match="never"):
                    db.execute(change)

    def test_it_has_an_origin_for_ever(self, path: Path) -> None:
        with SqliteStore(path) as store:
            origin = store.origin
            assert origin.startswith("modelkeep.local/")
        with SqliteStore(path) as again, SqliteStore(path, origin=origin) as named:
            assert again.origin == named.origin == origin
        with pytest.raises(Invalid, match="origin"):
            SqliteStore(path, origin="bank.example/ledger")

    def test_an_origin_may_be_chosen_at_the_beginning(self, path: Path) -> None:
        with SqliteStore(path, origin="bank.example/ledger") as store:
            assert store.origin == "bank.example/ledger"

    def test_another_database_is_not_taken_for_a_ledger(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("create table something (else_ text)")
        with pytest.raises(Invalid, match="no ledger"):
            SqliteStore(path)

    def test_a_ledger_of_another_format_is_refused(self, path: Path) -> None:
        SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as db:
            db.execute("pragma user_version = 2")
        with pytest.raises(Invalid, match="format"):
            SqliteStore(path)

    def test_what_is_no_database_is_corrupt(self, path: Path) -> None:
        path.write_bytes(b"not a database, not at all\n" * 400)
        with pytest.raises(Corrupt):
            SqliteStore(path)

    def test_a_folder_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable):
            SqliteStore(tmp_path / "nowhere" / "ledger.db")

    def test_damage_is_told_as_damage(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.append("unit-a.1", events(200, 300), expected=NO_STREAM)
        with path.open("r+b") as file:
            for page in range(path.stat().st_size // 8192 // 2, 20):
                file.seek(page * 8192)
                file.write(b"\xff" * 100)
        with SqliteStore(path) as store, pytest.raises(Corrupt):
            list(store.read_all())

    def test_the_log_beside_it_is_folded_in_even_while_somebody_reads(
        self, path: Path, store: SqliteStore
    ) -> None:
        store.append("unit-a.1", events(2000), expected=NO_STREAM)
        slow = store.read_all()
        next(slow)
        for _ in range(80):
            store.append("unit-b.1", events(10, 50_000), expected=ANY)
        assert (path.parent / "ledger.db-wal").stat().st_size < 16 << 20
        assert sum(1 for _ in slow) == 1999

    @pytest.mark.parametrize("url", ["sqlite:{}", "sqlite://{}", "{}"])
    def test_a_url_opens_it(self, path: Path, url: str) -> None:
        with open_store(url.format(path)) as store:
            assert isinstance(store, SqliteStore)
            assert store.path == path

    @pytest.mark.parametrize("url", ["mysql://somewhere", "sqlite:", ""])
    def test_what_names_no_store_is_invalid(self, url: str) -> None:
        with pytest.raises(Invalid):
            open_store(url)


class TestTheTree:
    def test_it_grows_with_each_append(self, store: SqliteStore) -> None:
        assert store.tree() == (0, EMPTY_ROOT)
        leaves = []
        for version in range(NO_STREAM, 40):
            store.append("unit-a.1", events(1), expected=version)
            *_, one = store.read_stream("unit-a.1")
            leaves.append(
                event_leaf(
                    store.origin,
                    one.stream,
                    one.version,
                    one.id,
                    one.name,
                    one.schema_version,
                    one.data,
                    one.metadata,
                )
            )
            assert store.tree() == (len(leaves), root_of(leaves))
        assert list(store.leaves(0, 99)) == leaves
        assert list(store.leaves(3, 5)) == leaves[3:5]

    def test_a_refused_append_leaves_it_alone(self, store: SqliteStore) -> None:
        store.append("unit-a.1", events(3), expected=NO_STREAM)
        before = store.tree()
        with pytest.raises(WrongVersion):
            store.append("unit-a.1", events(3), expected=7)
        assert store.tree() == before

    def test_only_complete_nodes_of_each_eighth_level_are_stored(
        self, store: SqliteStore
    ) -> None:
        many = 71 * 930
        for _ in range(71):
            store.append("unit-a.1", events(930, 1), expected=ANY)
        leaves = list(store.leaves(0, many))
        assert TILE * TILE < len(leaves) == many
        for at in (0, 1, 255, many // TILE - 1):
            assert store.node(8, at) == root_of(leaves[at * TILE : (at + 1) * TILE])
        assert store.node(8, many // TILE) is None
        assert store.node(16, 0) == root_of(leaves[: TILE * TILE])
        assert store.node(16, 1) is store.node(1, 0) is None

    def test_it_proves_inclusion_and_consistency(self, store: SqliteStore) -> None:
        sizes = []
        for _ in range(5):
            store.append("unit-a.1", events(217), expected=ANY)
            sizes.append(store.tree())
        now, root = sizes[-1]
        tree = store.frozen_tree()
        for at in (0, 1, 255, 256, 700, now - 1):
            (leaf,) = store.leaves(at, at + 1)
            proof = inclusion_proof(tree, at, now)
            assert verify_inclusion(leaf, at, now, proof, root)
        for size, then in sizes:
            assert verify_consistency(
                size, then, now, root, consistency_proof(tree, size, now)
            )
            old = store.frozen_tree(size)
            (leaf,) = store.leaves(5, 6)
            assert verify_inclusion(leaf, 5, size, inclusion_proof(old, 5, size), then)

    def test_positions_and_leaves_name_the_same_events(
        self, store: SqliteStore
    ) -> None:
        store.append("unit-a.1", events(2), expected=NO_STREAM)
        store.append("unit-b.1", events(2), expected=NO_STREAM)
        everything = list(store.read_all())
        for rank, one in enumerate(everything):
            assert store.leaf_index(one.position) == rank
            assert store.event_at(rank) == one
        for position in (-1, 1, STRIDE - 1, store.head() + STRIDE, -STRIDE):
            with pytest.raises(NotFound):
                store.leaf_index(position)
        for rank in (-1, 4):
            with pytest.raises(NotFound):
                store.event_at(rank)


class TestGroups:
    def test_one_that_fails_disturbs_no_other(self, store: SqliteStore) -> None:
        known = events(1)
        group = [
            Pending("unit-a.1", known, NO_STREAM),
            Pending("unit-a.1", events(1), NO_STREAM),
            Pending("unit-a.1", known, NO_STREAM),
            Pending("unit-b.1", events(2), 4),
            Pending("unit-a.1", events(2), 0),
            Pending("unit-c.1", [events(1)[0]._replace(schema_version=-1)], NO_STREAM),
            Pending(
                "unit-c.1", [events(1)[0]._replace(schema_version=2**63)], NO_STREAM
            ),
            Pending("unit-c.1", [events(1)[0]._replace(name="\udc00")], NO_STREAM),
            Pending("unit-c.1", events(1), NO_STREAM),
        ]
        store._writer.write(lambda: group)
        errors = [type(one.error) for one in group]
        fine = type(None)
        assert errors == [
            *(fine, WrongVersion, fine, WrongVersion, fine),
            *(Invalid, Invalid, Invalid, fine),
        ]
        assert group[0].appended == group[2].appended
        assert [store.stream_version(f"unit-{one}.1") for one in "abc"] == [2, -1, 0]
        size, root = store.tree()
        assert (size, root) == (4, root_of(store.leaves(0, 4)))

    def test_what_is_submitted_in_a_row_is_written_in_that_order(
        self, store: SqliteStore
    ) -> None:
        told = [
            store.submit("unit-a.1", events(1), expected=version)
            for version in range(NO_STREAM, 700)
        ]
        assert [one.result().version for one in told] == [*range(702 - 1)]

    def test_what_others_added_is_seen(self, path: Path, store: SqliteStore) -> None:
        with SqliteStore(path) as other:
            for at in range(20):
                one, two = (store, other) if at % 2 else (other, store)
                named = [events(1)[0]._replace(name=f"unit.name-{at}")]
                one.append(f"unit-{at}.1", named, expected=NO_STREAM)
                two.append(f"unit-{at}.1", named, expected=0)
                with pytest.raises(WrongVersion):
                    one.append(f"unit-{at}.1", events(1), expected=0)
        names = [one.name for one in store.read_all()]
        assert names == [f"unit.name-{at // 2}" for at in range(40)]

    def test_what_it_remembers_of_streams_is_bounded(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_write, "_CACHED", 10)
        for at in range(50):
            store.append(f"unit-{at}.1", events(1), expected=NO_STREAM)
        assert len(store._writer._streams) <= 11
        for at in range(50):
            store.append(f"unit-{at}.1", events(1), expected=0)


class TestPages:
    def test_a_page_has_few_events_and_few_bytes(self, store: SqliteStore) -> None:
        store.append("unit-a.1", events(3000), expected=NO_STREAM)
        with store.subscribe() as subscription:
            assert len(subscription.poll(0).events) == PAGE_EVENTS
        at = store.head()
        for _ in range(12):
            store.append("unit-b.1", events(2, 500_000), expected=ANY)
        with store.subscribe(after=at) as subscription:
            sizes = []
            while (batch := subscription.poll(0)).events:
                sizes.append(sum(len(one.data) for one in batch.events))
        assert sum(sizes) == 12_000_000
        assert max(sizes) <= PAGE_BYTES + 16 * 500_000

    def test_a_filter_may_have_thousands_of_prefixes(self, store: SqliteStore) -> None:
        for at in range(20):
            store.append(f"unit-{at}.1", events(1), expected=NO_STREAM)
        many = Filter("stream", tuple(f"unit-{at}." for at in range(10, 5000)))
        assert len(list(store.read_all(only=many))) == 10
        assert len(list(store.read_all(only=many, limit=3))) == 3

    def test_a_filter_that_admits_nothing_still_moves_on(
        self, store: SqliteStore
    ) -> None:
        for _ in range(10):
            store.append("unit-a.1", events(2000, 1), expected=ANY)
        with store.subscribe(only=Filter("name", ("none.",))) as subscription:
            first = subscription.poll(0)
            assert not first.events
            assert not first.caught_up
            assert store.event_at(store.leaf_index(first.position))
            last = subscription.poll(0.05)
            assert (last.position, last.caught_up) == (store.head(), True)

    def test_closing_the_store_wakes_who_follows(self, path: Path) -> None:
        store = SqliteStore(path)
        subscription = store.subscribe()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(subscription.poll, 30)
            store.close()
            with pytest.raises(Unavailable):
                waiting.result(15)


class Faulty(apsw.VFS):
    """A file system that runs full or breaks when told."""

    def __init__(self) -> None:
        self.says: dict[str, type[apsw.Error]] = {}
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(  # noqa: N802, SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(
        self, vfs: Faulty, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._says = vfs.says
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._fail("sync")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._fail("write")
        super().xWrite(data, offset)

    def _fail(self, what: str) -> None:
        if what in self._says:
            raise self._says[what](f"planted: {what}")


@pytest.fixture
def disk() -> Iterator[Faulty]:
    disk = Faulty()
    yield disk
    disk.says.clear()
    disk.unregister()


class TestFaults:
    def test_a_full_disk_is_told_and_reads_go_on(
        self, disk: Faulty, path: Path
    ) -> None:
        with SqliteStore(path) as store:
            store.append("unit-a.1", events(3), expected=NO_STREAM)
            before = store.tree()
            disk.says["write"] = apsw.FullError
            for _ in range(2):
                with pytest.raises(DiskFull):
                    store.append("unit-a.1", events(1), expected=2)
                assert len(list(store.read_all())) == 3
            assert store.tree() == before
            disk.says.clear()
            assert store.append("unit-a.1", events(1), expected=2).version == 3
            assert store.tree() == (4, root_of(store.leaves(0, 4)))

    @pytest.mark.parametrize("what", ["sync", "write"])
    def test_after_an_error_of_the_disk_nothing_is_written_until_opened_anew(
        self, disk: Faulty, path: Path, what: str
    ) -> None:
        with SqliteStore(path) as store:
            store.append("unit-a.1", events(3), expected=NO_STREAM)
            disk.says[what] = apsw.IOError
            with pytest.raises(Unavailable, match="outcome is unknown"):
                store.append("unit-a.1", events(1), expected=2)
            disk.says.clear()
            for _ in range(2):
                with pytest.raises(Unavailable, match="open it again"):
                    store.append("unit-b.1", events(1), expected=NO_STREAM)
            assert len(list(store.read_all())) == 3
        with SqliteStore(path) as again:
            known = again.stream_version("unit-a.1")
            assert known in {2, 3}
            again.append("unit-a.1", events(1), expected=known)
            size, root = again.tree()
            assert root == root_of(again.leaves(0, size))

    def test_a_log_that_cannot_be_folded_in_breaks_it_after_what_was_told(
        self,
        disk: Faulty,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sqlite_write, "_CHECKPOINT_PAGES", 10**9)
        with SqliteStore(path) as store:
            store.append("unit-a.1", events(3), expected=NO_STREAM)
            disk.says["write"] = apsw.IOError
            monkeypatch.setattr(sqlite_write, "_CHECKPOINT_PAGES", 0)
            store._writer._checkpoint()
            disk.says.clear()
            with pytest.raises(Unavailable, match="open it again"):
                store.append("unit-a.1", events(1), expected=2)
        with SqliteStore(path) as again:
            assert again.append("unit-a.1", events(1), expected=2).version == 3

    def test_a_stranger_who_holds_the_file_is_waited_for_and_then_told(
        self, path: Path, store: SqliteStore
    ) -> None:
        store._writer._db.set_busy_timeout(10)
        with closing(apsw.Connection(str(path))) as stranger:
            stranger.execute("begin immediate")
            with pytest.raises(Unavailable, match="another program"):
                store.append("unit-a.1", events(1), expected=NO_STREAM)
        assert store.append("unit-a.1", events(1), expected=NO_STREAM).version == 0
