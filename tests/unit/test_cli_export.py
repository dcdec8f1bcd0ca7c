"""`modelkeep export --log`: a piece of the log that proves itself elsewhere."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.homes import Command, command, signed_home

from modelkeep.home import Home
from modelkeep.proof.__main__ import main as modelkeep_verify

SIZE = 6


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return signed_home(tmp_path / "home")


@pytest.fixture
def run(home: Home, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command(home, monkeypatch)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "piece"


def verified(home: Home, out: Path, *arguments: str) -> int:
    key = str(home.checkpoints / "checkpoint.vkey")
    return modelkeep_verify([str(out), "--key", key, *arguments])


def test_the_whole_log_leaves_the_home_and_proves_itself(
    home: Home, run: Command, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "--log", "--out", out) == 0
    assert f"{SIZE} of the {SIZE} events that were signed" in capsys.readouterr().out
    assert verified(home, out, "--assert", "all") == 1  # no bundle was in force
    assert "none left out" in capsys.readouterr().out
    assert verified(home, out, "--assert", "promotions-had-quorum") == 0
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert verified(home, out) == 1


@pytest.mark.parametrize(
    ("bounds", "first", "end"),
    [
        (("--from", "2"), 2, SIZE),
        (("--from", "2", "--to", "3"), 2, 3),
        (("--from", "2013-04-01", "--to", "2013-04-01"), 0, SIZE),
        (("--to", "2033-01-01"), 0, SIZE),
    ],
)
def test_a_piece_is_told_by_numbers_or_days(
    home: Home,
    run: Command,
    out: Path,
    bounds: tuple[str, ...],
    first: int,
    end: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("export", "--log", "--out", out, *bounds, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["first"], told["end"], told["size"]) == (first, end, SIZE)
    assert told["bytes"] == out.stat().st_size
    assert verified(home, out) == 0


@pytest.mark.parametrize(
    ("asked", "code", "why"),
    [
        ((), 2, "say what to export"),
        (("--log", "--from", "yesterday"), 2, "from: yesterday is no day"),
        (("--log", "--to", "7"), 2, "6 events were signed, not 7"),
        (("--log", "--from", "2013-04-02"), 1, "event "),
        (("--log", "--from", "3", "--to", "3"), 1, "event "),
        (("--log", "--checkpoint", "nowhere"), 1, "nowhere"),
        (("--log", "--checkpoint", __file__), 2, "is none"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    run: Command,
    out: Path,
    asked: tuple[str, ...],
    code: int,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("export", "--out", out, *asked) == code
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1
    assert not list(out.parent.glob("piece*"))


def test_nothing_is_replaced(run: Command, out: Path) -> None:
    out.write_text("mine")
    assert run("export", "--log", "--out", out) == 2
    assert out.read_text() == "mine"


def test_only_the_log_that_was_signed_is_exported(
    home: Home, run: Command, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(home.ledger)) as db, db:
        db.execute("drop trigger event_stays")
        db.execute("update event set leaf = ? where position = 20", (bytes(32),))
    assert run("export", "--log", "--out", out) == 1
    assert "is not the log that was signed at 6 events" in capsys.readouterr().err
    assert not out.exists()


def test_a_home_without_a_ledger_has_nothing_to_export(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(Home(tmp_path), monkeypatch)("export", "--log", "--out", out) == 1
    assert not (tmp_path / "ledger.db").exists()


def test_verify_asserts_too(
    home: Home, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    quorum = ("--assert", "promotions-had-quorum", "--tier", "1", "--to", "2013-04-30")
    assert run("verify", *quorum, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["assertions"]["each"][0]["judged"] == 1
    assert run("verify", "--assert", "verdicts-by-activated-bundles") == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out
    assert run("verify", "--assert", "nothing") == 2
    assert run("verify", "--tier", "1") == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert home.ledger.exists()
