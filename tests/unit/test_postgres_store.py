"""What the engine for PostgreSQL promises beyond the port, on a real server."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.contract.some import event, events, stream
from tests.servers import postgresql
from tests.servers.cable import Cable

from modelkeep.errors import Corrupt, DiskFull, Invalid, Unavailable, WrongVersion
from modelkeep.proof.leaf import event_leaf
from modelkeep.proof.merkle import inclusion_proof, root_at, verify_inclusion
from modelkeep.store import open_store
from modelkeep.store.group_commit import Pending
from modelkeep.store.port import ANY, NO_STREAM, Filter, Recognised
from modelkeep.store.ranks import PAGE_BYTES, PAGE_EVENTS
from modelkeep.store.sqlite import SqliteStore

ABSENT = postgresql.absent()
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT or "-")
if not ABSENT:
    import psycopg

    from modelkeep.store import postgres_link, postgres_write
    from modelkeep.store.postgres import PostgresStore
    from modelkeep.store.postgres_link import Address, Connection
    from modelkeep.store.postgres_schema import GRANTS

PATIENCE = 30.0


@pytest.fixture
def schema() -> str:
    return f"unit_{uuid4().hex[:16]}"


@pytest.fixture
def url(schema: str) -> str:
    return postgresql.shared().uri(schema=schema)


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with PostgresStore(url, origin="bank.example/unit") as opened:
        yield opened


@pytest.fixture
def owner(schema: str) -> Iterator[psycopg.Connection[Any]]:
    uri = postgresql.shared().uri()
    with psycopg.connect(uri, autocommit=True) as db:
        db.execute(f"set search_path = {schema}".encode())
        yield db


class TestOpening:
    def test_services_that_start_at_once_make_one_ledger(self, url: str) -> None:
        together = threading.Barrier(6)

        def origin() -> str:
            together.wait()
            with PostgresStore(url) as store:
                store.append(stream(), events(1), expected=NO_STREAM)
                return store.origin

        with ThreadPoolExecutor(6) as pool:
            origins = {run.result() for run in [pool.submit(origin) for _ in range(6)]}
        assert len(origins) == 1
        with PostgresStore(url) as store:
            assert store.tree()[0] == 6

    def test_a_ledger_keeps_the_name_it_began_with(
        self, store: PostgresStore, url: str
    ) -> None:
        with PostgresStore(url) as again:
            assert again.origin == store.origin == "bank.example/unit"
        with pytest.raises(Invalid, match=r"is bank\.example/unit, not another"):
            PostgresStore(url, origin="another")

    def test_another_format_is_refused(
        self,
        store: PostgresStore,
        owner: psycopg.Connection[Any],
        url: str,
    ) -> None:
        owner.execute("alter table ledger disable trigger all")
        owner.execute("update ledger set format = 2")
        with pytest.raises(Invalid, match="has format 2, not 1"):
            PostgresStore(url)
        assert store.head() == -1

    @pytest.mark.parametrize("name", ["", "Risk", "a-b", 'a"b', "1a", "a" * 41, "é"])
    def test_a_bad_name_of_a_schema_is_invalid(self, name: str) -> None:
        with pytest.raises(Invalid, match="is no schema"):
            open_store(f"postgresql://nowhere.invalid/db?schema={name}")

    def test_what_is_no_uri_is_invalid_and_not_repeated(self) -> None:
        with pytest.raises(Invalid) as refused:
            open_store("postgresql://me:s3cret@host/db?no_such_option=1")
        assert "not a connection URI" in str(refused.value)
        assert "s3cret" not in str(refused.value)

    def test_a_password_is_shown_nowhere(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        url = "postgresql://me:s3cret@127.0.0.1:1/db?connect_timeout=2"
        with pytest.raises(Unavailable) as refused:
            open_store(url)
        address = Address.parse(url)
        for shown in (str(refused.value), str(address), repr(address), caplog.text):
            assert "s3cret" not in shown
        assert refused.value.__cause__ is None

    def test_an_old_server_is_refused(self) -> None:
        class Old:
            class info:  # noqa: N801, as psycopg names it
                server_version = 130_018

        with pytest.raises(Unavailable, match="version 13 is too old"):
            postgres_link.check_server(
                Old(),  # type: ignore[arg-type]  # all that is asked of it
                Address.parse("postgresql://host/db"),
            )

    def test_a_server_that_does_not_wait_for_the_disk_is_refused(
        self, store: PostgresStore, owner: psycopg.Connection[Any], url: str
    ) -> None:
        assert store.head() == -1
        owner.execute("alter system set fsync = off")
        owner.execute("select pg_reload_conf()")
        try:
            _await(lambda: owner.execute("show fsync").fetchone() == ("off",))
            with pytest.raises(Unavailable, match="fsync off"):
                PostgresStore(url)
        finally:
            owner.execute("alter system reset fsync")
            owner.execute("select pg_reload_conf()")
            _await(lambda: owner.execute("show fsync").fetchone() == ("on",))

    def test_a_session_that_would_not_wait_for_the_disk_is_told_to(
        self, url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with PostgresStore(f"{url}&options=-csynchronous_commit%3Doff") as store:
            assert "synchronous_commit off" in caplog.text
            assert store._writer._db is not None
            shown = store._writer._db.execute("show synchronous_commit").fetchone()
            assert shown == ("on",)

    def test_a_database_that_cannot_say_everything_is_refused(
        self, owner: psycopg.Connection[Any]
    ) -> None:
        name = f"ascii_{uuid4().hex[:8]}"
        owner.execute(
            f"create database {name} encoding 'SQL_ASCII' template template0".encode()
        )
        with pytest.raises(Unavailable, match="SQL_ASCII"):
            PostgresStore(postgresql.shared().uri(name))


class TestKeeping:
    @pytest.mark.parametrize("role", ["origin", "replica"])
    @pytest.mark.parametrize(
        "sql",
        [
            "update event set data = 'x'",
            "delete from event",
            "truncate event",
            "update node set hash = 'x'",
            "delete from node",
            "truncate node",
            "truncate ledger",
            "truncate head",
            "update head set size = size",
            "update head set size = 0",
        ],
    )
    def test_even_the_owner_is_refused_a_change(
        self, store: PostgresStore, owner: psycopg.Connection[Any], role: str, sql: str
    ) -> None:
        store.append(stream(), events(300), expected=NO_STREAM)
        owner.execute(f"set session_replication_role = {role}".encode())
        with pytest.raises(psycopg.Error, match="a ledger only grows"):
            owner.execute(sql.encode())
        assert len(list(store.read_all())) == 300

    @pytest.mark.parametrize(
        "sql",
        [
            "update ledger set origin = 'mine'",
            "delete from ledger",
            "insert into ledger values (1, 'mine')",
            "delete from head",
            "insert into head values (0, 0, '')",
        ],
    )
    def test_a_ledger_has_one_name_and_one_head(
        self, store: PostgresStore, owner: psycopg.Connection[Any], sql: str
    ) -> None:
        with pytest.raises(psycopg.Error, match="a ledger only grows"):
            owner.execute(sql.encode())
        assert store.head() == -1

    def test_a_service_needs_to_own_nothing(
        self,
        store: PostgresStore,
        owner: psycopg.Connection[Any],
        schema: str,
        url: str,
    ) -> None:
        role = f"service_{uuid4().hex[:8]}"
        owner.execute(f"create role {role} login".encode())
        owner.execute(GRANTS.format(schema=schema, role=role).encode())
        name = stream()
        with PostgresStore(url.replace("postgres@", f"{role}@")) as service:
            service.append(name, events(300), expected=NO_STREAM)
            with service.subscribe() as subscription:
                assert len(subscription.poll(PATIENCE).events) == 300
            assert service.tree() == store.tree()
        uri = postgresql.shared().uri().replace("postgres@", f"{role}@")
        with psycopg.connect(uri, autocommit=True) as db:
            db.execute(f"set search_path = {schema}".encode())
            for sql in (
                "update event set data = 'x'",
                "delete from event",
                "truncate event",
                "delete from node",
                "insert into ledger values (1, 'mine')",
                "delete from head",
                "alter table event disable trigger all",
                "drop trigger event_stays on event",
                "set session_replication_role = replica",
            ):
                with pytest.raises(psycopg.Error, match=r"denied|must be owner"):
                    db.execute(sql.encode())
        assert len(list(store.read_stream(name))) == 300

    def test_its_tree_is_the_one_that_sqlite_grows(
        self, store: PostgresStore, tmp_path: Path
    ) -> None:
        with SqliteStore(tmp_path / "ledger.db", origin=store.origin) as other:
            for at in range(3):
                new = [event(data=bytes([at]) * n) for n in range(250)]
                for one in (store, other):
                    one.append("model-main.m1", new, expected=at * 250 - 1)
            assert store.tree() == other.tree()
            nodes = store.frozen_tree()
            assert root_at(nodes, 750) == store.tree()[1]
            assert store.node(8, 1) == other.node(8, 1) is not None
        recorded = store.event_at(700)
        assert store.leaf_index(recorded.position) == 700
        leaf = event_leaf(
            store.origin,
            recorded.stream,
            recorded.version,
            recorded.id,
            recorded.name,
            recorded.schema_version,
            recorded.data,
            recorded.metadata,
        )
        proof = inclusion_proof(nodes, 700, 750)
        assert verify_inclusion(leaf, 700, 750, proof, store.tree()[1])

    def test_a_dump_keeps_the_tree(self, store: PostgresStore, schema: str) -> None:
        store.append(stream(), events(300), expected=NO_STREAM)
        server = postgresql.shared()
        dump = server.run("pg_dump", "--schema", schema, "postgres")
        name = f"restored_{uuid4().hex[:8]}"
        server.run("createdb", name)
        server.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", name, stdin=dump)
        with PostgresStore(server.uri(name, schema=schema)) as restored:
            assert restored.tree() == store.tree()
            assert list(restored.read_all()) == list(store.read_all())
            restored.append(stream(), events(1), expected=NO_STREAM)

    def test_an_event_that_is_gone_is_missed(
        self, store: PostgresStore, owner: psycopg.Connection[Any]
    ) -> None:
        store.append(stream(), events(5), expected=NO_STREAM)
        owner.execute("alter table event disable trigger all")
        owner.execute("delete from event where position = 20")
        with pytest.raises(Corrupt, match="an event is missing"):
            list(store.read_all())

    def test_what_another_wrote_into_the_tables_is_not_overwritten(
        self, store: PostgresStore, owner: psycopg.Connection[Any]
    ) -> None:
        name = stream()
        store.append(name, events(1), expected=NO_STREAM)
        owner.execute(
            """
            insert into event
            select 10, 1, 1, 0, 0, gen_random_uuid(), stream, 'forged', '', '', ''
            from event
            """
        )
        with pytest.raises(Corrupt):
            store.append(name, events(1), expected=0)
        assert store.tree()[0] == 1


class TestReading:
    def test_a_page_has_a_largest_size(self, store: PostgresStore) -> None:
        name = stream()
        for version in range(NO_STREAM, 11):
            large = event(data=bytes((1 << 20) - 64))
            store.append(name, [large], expected=version)
        reader = store._reader
        for page in (
            reader.page(-1, store.head(), only=None)[0],
            reader.page(-1, store.head(), only=Filter("stream", (name,)))[0],
            reader.stream_page(name, after=-1, backwards=False, most=PAGE_EVENTS),
            reader.stream_page(name, after=99, backwards=True, most=PAGE_EVENTS),
        ):
            size = sum(len(one.data) for one in page)
            assert 0 < size < PAGE_BYTES + (1 << 20)
        assert len(list(store.read_all())) == 12
        assert len(list(store.read_all(only=Filter("stream", (name,))))) == 12
        assert [one.version for one in store.read_stream(name)] == [*range(12)]

    def test_a_filter_looks_at_so_much_of_the_log_at_a_time(
        self, store: PostgresStore
    ) -> None:
        for version in range(NO_STREAM, 8_999, 1_000):
            store.append("dull-main.1", events(1_000), expected=version)
        store.append("keen-main.1", events(1), expected=NO_STREAM)
        only = Filter("stream", ("keen",))
        first, upto = store._reader.page(-1, store.head(), only=only)
        assert first == []
        assert 0 < upto < store.head()
        assert len(list(store.read_all(only=only))) == 1

    def test_a_prefix_that_no_text_can_have_admits_nothing(
        self, store: PostgresStore
    ) -> None:
        store.append(stream(), events(1), expected=NO_STREAM)
        only = Filter("name", ("\ud800", "a\0"))
        assert list(store.read_all(only=only)) == []
        assert list(store.read_stream("a\0b")) == []
        assert store.stream_version("\ud800") == NO_STREAM

    def test_a_subscription_goes_on_when_its_session_is_cut(
        self, store: PostgresStore, url: str, owner: psycopg.Connection[Any]
    ) -> None:
        with PostgresStore(url) as other, store.subscribe() as subscription:
            name = stream()
            for version in range(NO_STREAM, 3):
                new = event()
                other.append(name, [new], expected=version)
                got = subscription.poll(PATIENCE).events
                assert [one.id for one in got] == [new.id.bytes]
                owner.execute(
                    """
                    select pg_terminate_backend(pid) from pg_stat_activity
                    where query ilike 'listen%'
                    """
                )


class TestDoubt:
    """The connection is cut at the worst moment: after the commit, or before it."""

    @pytest.fixture(params=["before it arrived", "after it was done"])
    def cut(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> list[int]:
        """Cut the connection once the list is emptied."""
        armed = [1]
        real = Connection.execute

        def execute(self: Connection, query: Any, *more: Any, **named: Any) -> Any:
            if query is not postgres_write._ADD or armed:
                return real(self, query, *more, **named)
            armed.append(1)
            if request.param == "after it was done":
                real(self, query, *more, **named)
            self.close()
            raise psycopg.OperationalError("the cable was pulled")

        monkeypatch.setattr(Connection, "execute", execute)
        return armed

    @staticmethod
    def warm(store: PostgresStore, name: str) -> int:
        """Append until the writer trusts that it is alone."""
        for version in range(NO_STREAM, 2):
            store.append(name, events(1), expected=version)
        assert store._writer._alone
        return 2

    def test_an_append_is_made_once_and_told_as_new(
        self, store: PostgresStore, cut: list[int]
    ) -> None:
        name = stream()
        version = self.warm(store, name)
        cut.clear()
        done = store.append(name, events(2), expected=version)
        assert cut
        assert done.version == version + 2
        assert not isinstance(done, Recognised)
        assert len(list(store.read_stream(name))) == version + 3

    def test_of_a_large_group_nothing_is_written_twice(
        self, store: PostgresStore, cut: list[int]
    ) -> None:
        """Far more than what ANY would recognise lies between first and last."""
        name = stream()
        self.warm(store, name)
        cut.clear()
        group = [Pending(name, events(5), ANY) for _ in range(60)]
        group.append(Pending(name, events(1), 0))
        store._writer.write(lambda: group)
        assert [one.outcome().version for one in group[:-1]] == [*range(7, 303, 5)]
        with pytest.raises(WrongVersion):
            group[-1].outcome()
        assert len(list(store.read_stream(name))) == 303

    def test_when_the_server_stays_away_the_outcome_is_unknown(
        self, url: str, cut: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with PostgresStore(url, patience=0.05) as store:
            name, new = stream(), events(1)
            version = self.warm(store, name)
            cut.clear()
            with monkeypatch.context() as away:
                away.setattr(postgres_write, "connect", _nobody_answers)
                with pytest.raises(Unavailable, match="the outcome is unknown"):
                    store.append(name, new, expected=version)
            # The same ids decide, whatever became of the first try.
            again = store.append(name, new, expected=version)
            assert again.version == version + 1
            assert len(list(store.read_stream(name))) == version + 2


class TestTrouble:
    def test_a_server_that_does_not_answer_is_given_up(
        self, store: PostgresStore, schema: str
    ) -> None:
        """And when it does after all, what it wrote for nobody is not written twice."""
        name, new = stream(), events(1)
        where = f"schema={schema}&connect_timeout=2"
        with (
            Cable(postgresql.shared().socket) as cable,
            PostgresStore(
                f"postgresql://postgres@127.0.0.1:{cable.port}/postgres?{where}",
                timeout=1,
                patience=0.1,
            ) as far,
        ):
            far.append(name, events(1), expected=NO_STREAM)
            cable.silence()
            with pytest.raises(Unavailable):
                far.append(name, new, expected=0)
            with pytest.raises(Unavailable):
                far.head()
            cable.restore()
            _await(lambda: _appends(far, name, new))
        assert len(list(store.read_stream(name))) == 2

    def test_a_head_that_another_holds_is_not_waited_for_long(
        self, store: PostgresStore, url: str, owner: psycopg.Connection[Any]
    ) -> None:
        name, new = stream(), events(1)
        with PostgresStore(url, timeout=0.5, patience=0.1) as hasty:
            with owner.transaction():
                owner.execute("select from head for update")
                with pytest.raises(Unavailable, match=r"(lock|statement) timeout"):
                    hasty.append(name, new, expected=NO_STREAM)
            assert hasty.append(name, new, expected=NO_STREAM).version == 0
        assert len(list(store.read_stream(name))) == 1

    def test_a_name_that_no_column_takes_is_invalid_and_alone_in_it(
        self, store: PostgresStore
    ) -> None:
        good, bad = stream(), stream()
        group = [
            Pending(bad, [event("a\0b")], NO_STREAM),
            Pending(good, events(1), NO_STREAM),
        ]
        store._writer.write(lambda: group)
        with pytest.raises(Invalid, match="has a zero in it"):
            group[0].outcome()
        assert group[1].outcome().version == 0
        assert store.stream_version(bad) == NO_STREAM

    def test_each_trouble_is_told_in_our_words(self) -> None:
        address = Address.parse("postgresql://host/db")
        for error, ours in (
            (psycopg.errors.DiskFull("could not extend file"), DiskFull),
            (psycopg.errors.UniqueViolation("duplicate key"), Corrupt),
            (psycopg.errors.DataCorrupted("invalid page"), Corrupt),
            (psycopg.errors.UndefinedTable("no event"), Corrupt),
            (psycopg.errors.QueryCanceled("timeout"), Unavailable),
            (psycopg.OperationalError("server closed"), Unavailable),
        ):
            assert type(postgres_link.told(error, address)) is ours

    def test_without_the_client_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [*sys.modules]:
            if name.startswith("modelkeep.store.postgres"):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(Unavailable, match=r"pip install 'modelkeep\[postgres\]'"):
            open_store("postgresql://host/db")


def _nobody_answers(*_: object, **__: object) -> Connection:
    raise psycopg.OperationalError("nobody answers")


def _appends(store: PostgresStore, name: str, new: Any) -> bool:
    try:
        return store.append(name, new, expected=0).version == 1
    except Unavailable:
        return False


def _await(what: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)
