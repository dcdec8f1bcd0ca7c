"""The doctor finds each thing that is broken, and says what to do about it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from tests.commands import alone, run
from tests.integration.audit_story import tell_all, telling

from modelkeep.errors import Corrupt
from modelkeep.events import load_all
from modelkeep.home import Home
from modelkeep.keystore import Keystore
from modelkeep.node import Node
from modelkeep.store.port import ANY, NewEvent
from modelkeep.store.sqlite import SqliteStore, turnstile_of
from modelkeep_services.audit.service import service as audit
from modelkeep_services.cli.doctor import examined
from modelkeep_services.doctor import machine, start
from modelkeep_services.doctor.finding import Finding
from modelkeep_services.doctor.start import hold
from modelkeep_services.wiring import views as views_of


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a life in it, all of it signed, its audit views made."""
    root = tmp_path_factory.mktemp("told") / "home"
    home = Home(root).make()
    with SqliteStore(home.ledger) as store, telling(home, store) as story:
        tell_all(story)
    sign(home)
    return root


def sign(home: Home) -> None:
    """Let the audit service live for a moment: it signs what there is as it leaves."""
    with SqliteStore(home.ledger) as store, Node(home, store, [audit]) as node:
        node.catch_up(20.0)


@pytest.fixture
def home(told: Path, tmp_path: Path) -> Home:
    """A copy, to be broken."""
    copy = tmp_path / "home"
    shutil.copytree(told, copy)
    return Home(copy)


def found(home: Home, *, full: bool = False) -> Mapping[str, Finding]:
    load_all()
    audit = {"audit": partial(views_of, "audit")}
    return {one.check: one for one in examined(home, audit, full=full)}


def failing(home: Home, *, full: bool = False) -> set[str]:
    failed = [one for one in found(home, full=full).values() if one.verdict == "fail"]
    assert all(one.todo for one in failed)
    return {one.check for one in failed}


def sql(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        for trigger in ("event_stays", "event_lasts"):
            db.execute(f"drop trigger if exists {trigger}")
        for statement in statements:
            db.execute(statement)


def written(name: str = "tests.unknown", schema_version: int = 1) -> NewEvent:
    at = "2013-06-01T00:00:00.000000Z"
    meta = {"known_at": at, "schema_version": str(schema_version)}
    return NewEvent(uuid4(), name, schema_version, b"{}", json.dumps(meta).encode())


def test_a_home_that_is_well_is_said_to_be(home: Home) -> None:
    assert {one.verdict for one in found(home, full=True).values()} == {"ok"}


def test_the_exit_code_tells_well_from_ill_and_from_nothing(
    home: Home, tmp_path: Path
) -> None:
    with SqliteStore(home.ledger) as store:
        store.append("odd-main.1", [written() for _ in range(1_001)], expected=ANY)
    strict = run(home.root, "doctor", "--strict", "--json")
    answer = json.loads(strict.stdout)
    assert (strict.returncode, answer["counts"].get("fail", 0)) == (1, 0)
    assert {"check", "verdict", "said", "todo"} == answer["findings"][0].keys()
    (home.keys / "writer.key").unlink()
    ill = alone(home.root, "doctor", "--full")
    assert (ill.returncode, "FAIL keys.present" in ill.stdout) == (1, True)
    assert "  ok   log.contiguity: " in ill.stdout
    assert ", 1 failed" in ill.stdout
    nothing = run(tmp_path / "nowhere", "doctor")
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert nothing.stderr.startswith("modelkeep: no ledger in ")


class TestTheMachine:
    @pytest.mark.parametrize(
        ("kind", "verdict"),
        [
            ("ext4", "ok"),
            ("xfs", "ok"),
            ("tmpfs", "warn"),
            ("overlay", "warn"),
            ("nfs4", "fail"),
            ("fuse.sshfs", "fail"),
        ],
    )
    def test_the_file_system_is_judged_by_its_kind(
        self, tmp_path: Path, kind: str, verdict: str
    ) -> None:
        mounts = tmp_path / "mountinfo"
        mounts.write_text(
            "22 1 254:0 / / rw shared:1 - btrfs /dev/vda rw\n"
            f"40 22 0:35 / {tmp_path} rw - {kind} server:/x rw\n"
        )
        mount = machine.mount_of(tmp_path / "home", mounts)
        assert mount == (str(tmp_path), kind)
        assert machine.file_system(mount).verdict == verdict

    def test_where_the_system_tells_nothing_that_is_said(self, tmp_path: Path) -> None:
        assert machine.mount_of(tmp_path, tmp_path / "none") is None
        assert machine.file_system(None).verdict == "warn"

    @pytest.mark.parametrize(
        ("each_s", "verdict"), [(1e-6, "warn"), (5e-4, "ok"), (0.2, "warn")]
    )
    def test_a_sync_takes_what_a_disk_takes(
        self, tmp_path: Path, each_s: float, verdict: str
    ) -> None:
        ticks = count()
        finding = machine.honest_sync(tmp_path, clock=lambda: next(ticks) * each_s)
        assert finding.verdict == verdict

    def test_a_folder_that_cannot_be_written_to_fails(self, tmp_path: Path) -> None:
        assert machine.honest_sync(tmp_path / "none").verdict == "fail"

    def test_space_runs_out_loudly(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for mib, verdict in (("0", "ok"), ("999999999", "fail")):
            monkeypatch.setenv("MODELKEEP_RESERVE_MIB", mib)
            assert machine.free_space(tmp_path).verdict == verdict

    def test_a_clock_that_went_back_fails(self) -> None:
        now = datetime(2026, 3, 1, tzinfo=UTC)
        stamp = int(now.timestamp() * 1e6)
        assert machine.clock(now, stamp + 59_000_000).verdict == "ok"
        assert machine.clock(now, stamp + 3_600_000_000).verdict == "fail"
        assert machine.clock(datetime(2000, 1, 1, tzinfo=UTC), None).verdict == "fail"

    def test_old_libraries_fail(self) -> None:
        assert machine.sqlite_version("3.40.1").verdict == "fail"
        assert machine.sqlite_version("3.51.3").verdict == "ok"
        here = {"grpcio": "1.83.0", "apsw": "3.54.1.0"}
        wanted = ["grpcio<2,>=1.84", "apsw>=3.51.3; extra == 'server'", "numpy>=2"]
        assert machine.too_old(wanted, here.get) == ["grpcio 1.83.0 is older than 1.84"]


Break = Callable[[Home], object]


def lose_a_key(home: Home) -> None:
    (home.keys / "writer.key").unlink()


def open_a_key(home: Home) -> None:
    (home.keys / "writer.key").chmod(0o644)


def open_a_token(home: Home) -> None:
    (home.tokens / "owner.token").chmod(0o640)


def leave_wal(home: Home) -> None:
    sql(home.ledger, "pragma journal_mode = delete")


def skip_a_version(home: Home) -> None:
    sql(home.ledger, "update event set version = 99 where position = 240")


def rewrite_an_event(home: Home) -> None:
    sql(home.ledger, "update event set data = cast('{}' as blob) where position = 10")


def rewrite_the_tree(home: Home) -> None:
    sql(home.ledger, "update tree set frontier = zeroblob(length(frontier))")


def hide_an_event(home: Home) -> None:
    with closing(sqlite3.connect(home.ledger)) as db, db:
        db.execute("pragma writable_schema = on")
        db.execute(
            """
            update sqlite_schema set sql = sql || ' where sid < 0'
            where name = 'event_in_stream'
            """
        )


def date_an_event_later(home: Home) -> None:
    sql(
        home.ledger,
        """
        update event set recorded_at = recorded_at + 3600000000
        where position = (select max(position) from event)
        """,
    )


def forget_what_was_signed(home: Home) -> None:
    (home.keys / "checkpoint.state").unlink()


def scribble_over_the_checkpoint(home: Home) -> None:
    (home.published / "checkpoint").write_text("nothing\n")


def lose_the_epochs(home: Home) -> None:
    with Keystore(home.subjects) as keystore:
        keystore.seal("main", "erin", "contact", "contact", "erin@bank.example")
    shutil.rmtree(home.epochs)


def lose_an_object(home: Home) -> None:
    next(home.decisions.rglob("*.parquet")).unlink()


def change_an_object(home: Home) -> None:
    victim = next(home.decisions.rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"\0")


def change_a_row(home: Home) -> None:
    changed = "update history set body = cast('{}' as blob) where body is not null"
    sql(home.views("audit"), changed, "update keys set body = cast('{}' as blob)")


def tear_a_row(home: Home) -> None:
    sql(home.views("audit"), "update keys set body = null")


def see_the_future(home: Home) -> None:
    sql(home.views("audit"), "update meta set value = 990 where name = 'position'")


def write_what_none_can_read(home: Home) -> None:
    with SqliteStore(home.ledger) as store:
        name = next(iter(store.read_all(limit=1))).name
        store.append("odd-main.1", [written(name, 99)], expected=ANY)


@pytest.mark.parametrize(
    ("broken", "told_of"),
    [
        (lose_a_key, {"keys.present"}),
        (open_a_key, {"keys.private"}),
        (open_a_token, {"keys.private"}),
        (lose_the_epochs, {"keys.epochs"}),
        (leave_wal, {"log.settings"}),
        (skip_a_version, {"log.contiguity", "log.content", "proof.root"}),
        (rewrite_an_event, {"log.content", "proof.root"}),
        (rewrite_the_tree, {"log.content"}),
        (hide_an_event, {"log.file"}),
        (date_an_event_later, {"machine.clock"}),
        (forget_what_was_signed, {"proof.signer"}),
        (scribble_over_the_checkpoint, {"proof.root"}),
        (lose_an_object, {"objects.decisions"}),
        (change_an_object, {"objects.decisions"}),
        (change_a_row, {"views.audit.rows"}),
        (tear_a_row, {"views.audit.rows"}),
        (see_the_future, {"views.audit.lag"}),
        (write_what_none_can_read, {"views.audit.next"}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_is_broken_is_found(home: Home, broken: Break, told_of: set[str]) -> None:
    broken(home)
    failed = failing(home)
    assert failed >= told_of
    assert failed - told_of <= {"views.audit.rows"}


def test_an_old_ledger_put_back_is_found(home: Home, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    shutil.copy(home.ledger, old)
    with SqliteStore(home.ledger) as store:
        store.append("odd-main.1", [written() for _ in range(3)], expected=ANY)
    sign(home)
    for suffix in ("", "-wal", "-shm"):
        home.ledger.with_name(f"ledger.db{suffix}").unlink(missing_ok=True)
    shutil.copy(old, home.ledger)
    assert failing(home) >= {"proof.signer", "proof.root"}
    with pytest.raises(Corrupt, match="were signed and"):
        hold(home, ())
    served = run(home.root, "serve", "inventory")
    assert (served.returncode, served.stderr.count("\n")) == (1, 1)
    assert "nothing is served from it" in served.stderr


def test_a_ledger_that_is_well_is_served_whoever_ended_how(home: Home) -> None:
    hold(home, ())
    crashed = home.ledger.with_name("ledger.db-wal")
    with SqliteStore(home.ledger) as store:
        store.append("odd-main.1", [written()], expected=ANY)
        shutil.copy(home.ledger, home.root / "left.db")
        shutil.copy(crashed, home.root / "left.db-wal")
    (home.root / "left.db").replace(home.ledger)
    (home.root / "left.db-wal").replace(crashed)
    assert start.crashed(home, ())
    hold(home, ())


def test_after_an_unclean_end_every_event_is_read(home: Home) -> None:
    rewrite_an_event(home)
    hold(home, ())  # the root is of what was signed: the leaf column is
    with closing(sqlite3.connect(home.ledger)) as db:
        db.execute("update event set recorded_at = 1 where position = 0")
        db.commit()
        with pytest.raises(Corrupt, match="not what was written"):
            hold(home, ())


def test_a_ledger_beside_the_checkpoints_of_another_is_not_served(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Home(tmp_path / "other").make()
    SqliteStore(other.ledger).close()
    monkeypatch.setenv("MODELKEEP_CHECKPOINTS", str(home.checkpoints))
    with pytest.raises(Corrupt, match="MODELKEEP_CHECKPOINTS"):
        hold(other, ())


def test_a_ledger_that_ends_in_the_middle_is_found(home: Home) -> None:
    whole = home.ledger.read_bytes()
    home.ledger.write_bytes(whole[: len(whole) // 2 // 8192 * 8192])
    assert {one for one in failing(home) if one.startswith("log.")}


def test_a_ledger_that_another_is_making_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services of a new home start together: at first a file is there, and empty."""
    home, failed = Home(tmp_path / "home").make(), list[object]()
    monkeypatch.setattr(threading, "excepthook", failed.append)
    left = home.ledger.with_name(f"{home.ledger.name}-wal")
    waiting = threading.Thread(target=hold, args=(home, ()))
    with closing(turnstile_of(home.ledger)) as turnstile:
        with turnstile:
            home.ledger.touch()
            left.write_bytes(bytes(32))
            waiting.start()
            waiting.join(0.2)
            assert waiting.is_alive()
            left.unlink()  # made, and closed again
            home.ledger.unlink()
            shutil.copy(_made(tmp_path), home.ledger)
        waiting.join(20)
    assert not waiting.is_alive()
    assert not failed


def _made(folder: Path) -> Path:
    path = folder / "made.db"
    SqliteStore(path).close()
    return path
