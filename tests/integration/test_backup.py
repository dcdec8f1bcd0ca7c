"""A backup is whole or none; a home made from one is the one that was backed up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from tests.commands import alone, run
from tests.integration.audit_story import tell_all, telling

from modelkeep.errors import Corrupt, Invalid, Refused
from modelkeep.home import Home
from modelkeep.node import Node
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.verify import verify
from modelkeep.store.port import ANY, NewEvent
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.audit.service import service as audit
from modelkeep_services.backup.restore import Outside, restore
from modelkeep_services.backup.take import take
from modelkeep_services.doctor.log import fork_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a life in it, all of it signed."""
    home = Home(tmp_path_factory.mktemp("told") / "home").make()
    with SqliteStore(home.ledger) as store, telling(home, store) as story:
        tell_all(story)
    sign(home)
    return home


@pytest.fixture(scope="module")
def taken(told: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("taken") / "backup"
    take(told, out, keys=True)
    return out


@pytest.fixture
def backup(taken: Path, tmp_path: Path) -> Path:
    """A copy, to be broken."""
    copy = tmp_path / "backup"
    shutil.copytree(taken, copy)
    return copy


def sign(home: Home) -> None:
    """Let the audit service live for a moment: it signs what there is as it leaves."""
    with SqliteStore(home.ledger) as store, Node(home, store, [audit]) as node:
        node.catch_up(20.0)


def said(home: Home) -> list[tuple[object, ...]]:
    with SqliteStore(home.ledger) as store:
        return [tuple(one) for one in store.read_all()]


def more(home: Home, many: int = 1) -> None:
    at = b'{"known_at":"2030-01-01T00:00:00.000000Z","schema_version":"1"}'
    with SqliteStore(home.ledger) as store:
        for _ in range(many):
            new = NewEvent(uuid4(), "tests.later", 1, bytes(5_000), at)
            store.append("later-main.1", [new], expected=ANY)


# --- what comes back ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_what_was_backed_up_comes_back(told: Home, tmp_path: Path, name: str) -> None:
    take(told, tmp_path / name)
    home = Home(tmp_path / "again")
    done = restore(tmp_path / name, home)
    assert said(home) == said(told)
    assert (done.fork_of, done.signed) == ("", done.events)
    objects = [p.relative_to(told.decisions) for p in told.decisions.rglob("*.parquet")]
    assert objects
    for one in objects:
        there = (home.decisions / one).read_bytes()
        assert there == (told.decisions / one).read_bytes()
    assert not home.keys.exists()


def test_keys_come_along_only_when_asked_for(taken: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "again")
    restore(taken, home)
    modes = {p.name: p.stat().st_mode & 0o777 for p in home.keys.iterdir()}
    assert {"writer.key", "checkpoint.key", "subjects.db"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    more(home)
    sign(home)  # the same signer goes on where it was


def test_a_backup_is_of_one_moment_while_others_write(
    told: Home, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(told.root, home.root)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            more(home)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [take(home, tmp_path / f"backup-{turn}") for turn in range(3)]
    finally:
        stop.set()
        writer.join()
    everything = said(home)
    for turn, manifest in enumerate(made):
        again = Home(tmp_path / f"again-{turn}")
        restore(tmp_path / f"backup-{turn}", again)
        assert said(again) == everything[: manifest.events]


def test_a_backup_killed_half_way_is_none_and_stands_in_nobodys_way(
    told: Home, tmp_path: Path
) -> None:
    out = tmp_path / "backup"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killed_backup", str(told.root), str(out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    left = out.with_name("backup.partial")
    assert not out.exists()
    with pytest.raises(Corrupt, match="half a backup"):
        restore(left, Home(tmp_path / "again"))
    take(told, out)
    assert not left.exists()
    assert said(told) == said(_restored(out, tmp_path))


def _restored(backup: Path, folder: Path) -> Home:
    home = Home(folder / "restored")
    restore(backup, home)
    return home


# --- what is refused ---------------------------------------------------------------


def test_a_backup_that_was_changed_is_refused_and_leaves_nothing(
    backup: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "again")
    manifest = json.loads((backup / "manifest.json").read_bytes())
    for one in manifest["files"]:
        path = backup / one["path"]
        whole = path.read_bytes()
        for broken in (
            whole[:-1] + b"\x07" if whole else b"x",
            whole[: len(whole) // 2],
        ):
            if broken != whole:
                path.write_bytes(broken)
                with pytest.raises(Corrupt):
                    restore(backup, home)
        path.write_bytes(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backup"]


def test_a_ledger_that_was_rewritten_with_its_manifest_is_refused(
    backup: Path, told: Home, tmp_path: Path
) -> None:
    """Whoever rewrites all of a backup cannot rewrite what was signed elsewhere."""
    other = Home(tmp_path / "other").make()
    shutil.copytree(told.root, other.root, dirs_exist_ok=True)
    more(other, 3)
    sign(other)
    home = Home(tmp_path / "again")
    outside = Outside(
        tuple(read_keys(str(told.published / "checkpoint.vkey"))), other.published
    )
    with pytest.raises(Refused, match="were signed and this backup holds"):
        restore(backup, home, outside=outside)
    done = restore(backup, home, until=1 << 62, outside=outside)
    assert done.fork_of


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "keys/../../escaped"])
def test_a_file_that_leads_out_of_the_backup_is_refused(
    backup: Path, tmp_path: Path, name: str
) -> None:
    manifest = json.loads((backup / "manifest.json").read_bytes())
    manifest["files"][0]["path"] = name
    (backup / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Corrupt, match="manifest"):
        restore(backup, Home(tmp_path / "again"))


def test_an_archive_with_something_else_in_it_is_refused(
    backup: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.tar"
    with tarfile.open(odd, "w") as tar:
        tar.add(backup / "manifest.json", "manifest.json")
        link = tarfile.TarInfo("ledger.db")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(Corrupt, match="missing in the backup"):
        restore(odd, Home(tmp_path / "again"))
    odd.write_bytes(os.urandom(5_000))
    with pytest.raises(Corrupt, match="no whole backup"):
        restore(odd, Home(tmp_path / "again"))


def test_a_home_that_is_there_is_never_written_over(taken: Path, told: Home) -> None:
    with pytest.raises(Refused, match="not empty"):
        restore(taken, told)


def test_a_damaged_ledger_is_not_backed_up(told: Home, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(told.root, home.root)
    next(home.decisions.rglob("*.parquet")).unlink()
    with pytest.raises(Corrupt, match="is gone"):
        take(home, tmp_path / "backup")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]


# --- a point in time ---------------------------------------------------------------


def test_up_to_a_position_it_is_a_fork_of_another_name(
    taken: Path, told: Home, tmp_path: Path
) -> None:
    home = Home(tmp_path / "fork")
    done = restore(taken, home, until=100)
    assert [one[:7] for one in said(home)] == [one[:7] for one in said(told)[:11]]
    with SqliteStore(told.ledger) as store:
        assert done.fork_of == store.origin
    mark = json.loads((home.root / "fork.json").read_bytes())
    assert (mark["of"], mark["until"]) == (done.fork_of, 100)
    assert done.origin.startswith(f"{done.fork_of}/fork-")
    [finding] = fork_of(home)
    assert finding.said == f"a fork of {done.fork_of}, from position 100 on"


def test_up_to_a_moment_it_holds_what_was_known_then(
    taken: Path, told: Home, tmp_path: Path
) -> None:
    moment = datetime(2013, 4, 2, 23, 59, tzinfo=UTC)
    home = Home(tmp_path / "fork")
    restore(taken, home, until=moment)
    with SqliteStore(home.ledger) as fork, SqliteStore(told.ledger) as whole:
        kept = [one.meta["known_at"] for one in fork.read_all()]
        everything = [one.meta["known_at"] for one in whole.read_all()]
    assert 0 < len(kept) < len(everything)
    assert all(datetime.fromisoformat(one) <= moment for one in kept)
    assert datetime.fromisoformat(everything[len(kept)]) > moment
    with pytest.raises(Invalid):
        restore(taken, Home(tmp_path / "none"), until=datetime(1990, 1, 1, tzinfo=UTC))


def test_a_fork_is_signed_as_itself_and_never_as_the_ledger_it_left(
    taken: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "fork")
    done = restore(taken, home, until=100)
    sign(home)
    evidence = gather(
        home.published, read_keys(str(home.published / "checkpoint.vkey"))
    )
    assert evidence.top.origin == done.origin
    with LedgerFile(home.ledger) as file:
        assert verify(file, evidence).exit_code == 0
    # With the first one's key and memory put there, nothing more is signed.
    for name in ("checkpoint.key", "checkpoint.state"):
        shutil.copy(taken / "keys" / name, home.keys / name)
    more(home)
    before = (home.published / "checkpoint").read_bytes()
    with pytest.raises(Corrupt):
        sign_loudly(home)
    assert (home.published / "checkpoint").read_bytes() == before


def sign_loudly(home: Home) -> None:
    from modelkeep.clock import SystemClock  # noqa: PLC0415
    from modelkeep_services.audit.notary import Notary  # noqa: PLC0415

    with SqliteStore(home.ledger) as store:
        Notary(home, store, home.published, SystemClock().now).sign()


# --- the command -------------------------------------------------------------------


def test_the_commands_say_what_they_did_and_what_they_refuse(
    told: Home, tmp_path: Path
) -> None:
    out, home = tmp_path / "b.tar", tmp_path / "again"
    made = alone(told.root, "backup", "--out", str(out), "--keys")
    assert (made.returncode, "private keys" in made.stderr) == (0, True)
    assert out.stat().st_mode & 0o077 == 0
    done = run(told.root, "restore", str(out), "--home", str(home), "--json")
    assert json.loads(done.stdout)["events"] == len(said(told))
    for arguments, code in ((("--until", "yesterday"), 2), ((), 1)):  # it is there
        refused = run(told.root, "restore", str(out), "--home", str(home), *arguments)
        assert (refused.returncode, refused.stderr.count("\n")) == (code, 1)
