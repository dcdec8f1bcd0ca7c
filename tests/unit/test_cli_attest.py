"""`modelkeep attest`: what the views said, signed here and replayed elsewhere."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.asserted import Log, agreed, deployed
from tests.unit.homes import Command, command, signed_home

from modelkeep.home import Home
from modelkeep.proof import attested, dsse
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import SigningKey
from modelkeep.running import claim
from modelkeep.store.sqlite import SqliteStore

SERVICE = "policy"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return signed_home(tmp_path / "home")


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "attest.json"


@pytest.fixture
def run(home: Home, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command(home, monkeypatch)


@pytest.fixture
def elsewhere(
    home: Home, tmp_path: Path, said: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Another machine: it has the ledger, and nothing else of this home."""
    there = Home(tmp_path / "elsewhere").make()
    shutil.copyfile(home.ledger, there.ledger)
    run = command(there, monkeypatch)
    key = home.checkpoints / attested.KEYS
    return lambda *more: run("attest", "--check", said, "--key", key, *more)


def attest(run: Command, said: Path) -> None:
    assert run("attest", "--service", SERVICE, "--out", said) == 0


def test_what_the_views_said_comes_out_of_the_log_elsewhere(
    run: Command,
    elsewhere: Command,
    said: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    attest(run, said)
    assert "views after 6 events" in capsys.readouterr().out
    ledger = tmp_path / "elsewhere" / "ledger.db"
    more = Log()
    agreed(more, "r9")
    with SqliteStore(ledger) as store:  # it has moved on since
        for n, (stream, event) in enumerate(more.events):
            store.append(stream, [event], expected=n - 1)
    assert elsewhere("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["different"], told["events"]) == (True, [], 6)
    assert "policy/requests" in told["attested"]
    assert run("attest", "--check", said) == 0  # by the home's own key


def edit(home: Home) -> None:
    """Change a view's rows and their history alike."""
    these = """
        (select kid from keys join views using (vid) where name = 'requests')
        """
    with closing(sqlite3.connect(home.views(SERVICE))) as db, db:
        for table in ("history", "keys"):
            db.execute(f"update {table} set body = null where kid in {these}")  # noqa: S608, ours


def test_a_current_row_that_is_not_its_historys_is_not_attested(
    home: Home, run: Command, said: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attest(run, said)
    with closing(sqlite3.connect(home.views(SERVICE))) as db, db:
        db.execute("update keys set body = null where key = 'r1'")
    assert run("attest", "--service", SERVICE, "--out", said) == 1
    told = capsys.readouterr().err
    assert "the current rows of policy/requests are not its history's" in told


def test_a_view_that_was_edited_is_signed_as_it_is_served_and_named_elsewhere(
    home: Home,
    run: Command,
    elsewhere: Command,
    said: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    attest(run, said)
    edit(home)
    with claim(home, SERVICE) as held:  # as while the service runs
        held.answers_on("127.0.0.1:1")
        attest(run, said)
    capsys.readouterr()
    assert elsewhere() == 1
    out = capsys.readouterr().out
    assert "policy/requests is different here" in out
    assert out.count("different here") == 1


def test_views_that_are_behind_are_not_attested(
    home: Home, run: Command, said: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attest(run, said)
    with closing(sqlite3.connect(home.views(SERVICE))) as db, db:
        db.execute("update meta set value = 10 where name = 'position'")
    with claim(home, SERVICE) as held:
        held.answers_on("127.0.0.1:1")
        assert run("attest", "--service", SERVICE, "--out", said) == 1
    assert "the views of policy are at 10" in capsys.readouterr().err


def test_another_log_is_not_the_one_that_was_attested(
    home: Home,
    run: Command,
    said: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attest(run, said)
    log = Log()
    log.add("model.fraud", deployed("x"))
    other = signed_home(tmp_path / "other", log)
    key = home.checkpoints / attested.KEYS
    there = command(other, monkeypatch)
    assert there("attest", "--check", said, "--key", key) == 1


def test_what_cannot_be_checked_is_told_in_one_line(
    home: Home, run: Command, said: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attest(run, said)
    capsys.readouterr()
    key = home.checkpoints / "checkpoint.vkey"
    for asked in (
        ("--check", said, "--key", key),  # a key of another purpose
        ("--check", "nowhere"),
        ("--check", home.checkpoints / "checkpoint"),
        ("--out", said, "--check", said),
        ("--out", said, "--service", "none"),
        (),
    ):
        assert run("attest", *asked) == 2
        assert capsys.readouterr().err.count("\n") == 1


KEY = SigningKey(attested.KEYS, bytes(32))
ATTESTED = attested.Attested(
    "bank.example/ledger",
    6,
    bytes(32),
    "note\n",
    {"policy/requests": "a" * 64},
    {"policy": "f"},
    "0.1.0",
    "2013-05-01T00:00:00Z",
)


def test_an_attestation_comes_back_as_it_was_signed() -> None:
    raw = attested.seal(ATTESTED, KEY)
    found = attested.open_sealed(raw, [KEY.verifier])
    assert found == ATTESTED._replace(signed_by=(KEY.verifier,))


@pytest.mark.parametrize(
    "none",
    [
        ATTESTED._replace(views={}),
        ATTESTED._replace(views={"policy/requests": "A" * 64}),
        ATTESTED._replace(root=bytes(31)),
        ATTESTED._replace(events=-1),
    ],
)
def test_an_attestation_that_is_none_is_refused(none: attested.Attested) -> None:
    raw = attested.seal(none, KEY)
    with pytest.raises(Malformed):
        attested.open_sealed(raw, [KEY.verifier])


def test_another_statement_is_no_attestation() -> None:
    body = json.dumps({"_type": "x", "predicateType": "y", "subject": []}).encode()
    with pytest.raises(Malformed, match="is a 'y'"):
        attested.open_sealed(dsse.seal(dsse.IN_TOTO, body, KEY), [KEY.verifier])
