"""The command as people run it: real processes on a real home (see `commands.py`)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.commands import COMMAND, TIMEOUT_S, good, good_alone, run
from tests.integration.audit_story import tell_all, telling

from modelkeep.home import Home
from modelkeep.proof.__main__ import main as modelkeep_verify
from modelkeep.store.sqlite import SqliteStore

EXPORT = ("export", "--log", "--out")
NOBODY = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with a whole life in it, and a decision in the middle of that."""
    root = tmp_path_factory.mktemp("told") / "home"
    home = Home(root).make()
    with SqliteStore(home.ledger) as store, telling(home, store) as story:
        tell_all(story)
    return root, story.decision


@pytest.fixture
def home(told: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy, to do with as one likes."""
    copy = tmp_path / "home"
    shutil.copytree(told[0], copy)
    return copy


@pytest.fixture
def decision(told: tuple[Path, str]) -> str:
    return told[1]


def tamper(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as db, db:
        db.execute("drop trigger event_stays")
        db.execute(
            'update event set data = cast(\'{"model":"other"}\' as blob)'
            " where position = 10"
        )


# --- what was true -----------------------------------------------------------------


def test_as_of_shows_one_screen_that_later_edits_do_not_change(home: Path) -> None:
    april = good(home, "as-of", "2013-04-02")
    assert "As of 2013-04-02 23:59:59 UTC" in april
    assert re.search(r"credit +- +active +dana +green 94 +v1 in prod", april)
    assert "Open alerts" not in april
    may = good(home, "as-of", "2013-05-03", "--diff", "now")
    assert "AUC fell to 0.60" in may
    assert re.search(r"model +credit +status +active +retired", may)


def test_as_of_speaks_json(home: Path) -> None:
    answer = json.loads(good_alone(home, "as-of", "2013-05-03T12:00", "--json"))
    assert [one["model"] for one in answer["models"]] == ["credit"]
    assert answer["moment"]["time"] == "2013-05-03T12:00:00Z"


def test_a_moment_that_is_none_is_a_wrong_command_line(home: Path) -> None:
    done = run(home, "as-of", "yesterday")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "yesterday" in done.stderr


def test_a_narrow_terminal_gets_all_of_it(home: Path, decision: str) -> None:
    for question in (("as-of", "2013-05-03"), ("why", decision), ("status",)):
        told = good(home, *question, env={"COLUMNS": "40"})
        assert "\x1b" not in told
    assert decision in good(home, "why", decision, env={"COLUMNS": "40"})


# --- why ---------------------------------------------------------------------------


def test_why_says_who_what_and_on_what_grounds(home: Path, decision: str) -> None:
    said = good(home, "why", decision, "--rescore")
    for words in (
        f"Decision {decision}",
        "credit v1 in prod",
        "evidence.auc = 0.71 >= 0.7",
        "approved by vera (https://id.bank) as validator",
        "green 93.5: outcomes are green",
        "errors: within",
        "the row is number 7 of 30",
        "that log was signed on",
    ):
        assert words in said
    assert re.search(r"result +equal", said)
    assert "not so" not in said


def test_why_speaks_json(home: Path, decision: str) -> None:
    answer = json.loads(good_alone(home, "why", decision, "--json"))
    assert answer["decision"]["model"] == "credit"
    assert answer["then"]["verdicts"][0]["approvals"][0]["by"]["subject"] == "vera"


def test_why_of_nothing_is_one_line(home: Path) -> None:
    unknown = run(home, "why", NOBODY)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == f"modelkeep: no decision {NOBODY}\n"
    garbled = run(home, "why", "the-other-day")
    assert garbled.returncode == 2
    assert garbled.stderr == "modelkeep: decision: must be a UUID\n"


def test_why_of_a_forged_row_fails(home: Path, decision: str) -> None:
    from pyarrow import compute, parquet  # noqa: PLC0415  # the forger's tools

    (path,) = (home / "decisions").rglob("*.parquet")
    table = parquet.read_table(path)
    place = table.schema.get_field_index("score")
    forged = compute.add(table["score"], 0.1)
    parquet.write_table(table.set_column(place, "score", forged), path)
    done = run(home, "why", decision, "--rescore")
    assert done.returncode == 1
    assert "not so: the row is number 7 of 30" in done.stdout
    assert "the object was changed" in done.stdout.replace("\n", " ")


# --- proof -------------------------------------------------------------------------


def log_of(home: Path) -> tuple[int, int]:
    """How many events there are, and where the last one stands."""
    with SqliteStore(Home(home).ledger) as store:
        return store.tree()[0], store.head()


def test_verify_proves_what_was_signed(home: Path) -> None:
    signed = good_alone(home, "checkpoint")
    size, _ = log_of(home)
    assert signed.startswith(f"signed: {size} events")
    said = good(home, "verify")
    assert f"the first {size} events are those that were signed" in said
    assert "every append was signed by one of the writers given" in said
    answer = json.loads(good_alone(home, "verify", "--json"))
    assert answer["verdict"] == "proven"


def test_verify_names_the_altered_event(home: Path, tmp_path: Path) -> None:
    good(home, "checkpoint")
    copy = tmp_path / "copy.db"
    shutil.copyfile(home / "ledger.db", copy)
    tamper(copy)
    done = run(home, "verify", "--ledger", str(copy))
    assert done.returncode == 1
    assert "event 1 (model-main.credit@1 inventory.role-assigned)" in done.stdout
    assert "is not the one that was signed" in done.stdout
    assert good(home, "verify")


def test_checkpoints_go_where_they_are_sent(home: Path, tmp_path: Path) -> None:
    away = tmp_path / "witness"
    env = {"MODELKEEP_CHECKPOINTS": str(away)}
    good(home, "checkpoint", env=env)
    assert (away / "checkpoint").exists()
    assert not (home / "checkpoints").exists()
    assert "PROVEN" in good(home, "verify", env=env)
    key = (away / "checkpoint.vkey").read_text().strip()
    good(home, "verify", "--checkpoint", str(away), "--key", key)


def test_a_ledger_nobody_signed_has_no_verdict(home: Path) -> None:
    done = run(home, "verify")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert run(home / "nowhere", "verify").returncode == 2


@pytest.mark.slow  # in one process: tests/unit/test_cli_export.py and test_cli_attest
def test_what_leaves_the_home_proves_itself_elsewhere(
    home: Path, tmp_path: Path
) -> None:
    good(home, "checkpoint")
    size, _ = log_of(home)
    keys = home / "checkpoints"
    whole, said = tmp_path / "whole", tmp_path / "attest.json"
    assert f"{size:,} of the {size:,} events" in good_alone(home, *EXPORT, str(whole))
    quorum = ("--assert", "promotions-had-quorum")
    key = str(keys / "checkpoint.vkey")
    assert modelkeep_verify([str(whole), "--key", key, *quorum]) == 0
    with serving(home, "audit"):
        good_alone(home, "attest", "--out", str(said))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(home / "ledger.db", elsewhere / "ledger.db")
    check = ("attest", "--check", str(said), "--key", str(keys / "views.vkeys"))
    told = json.loads(good_alone(elsewhere, *check, "--json"))
    assert len(told["attested"]) > 100
    assert told["equal"]


# --- the home ----------------------------------------------------------------------


def test_a_home_without_a_ledger_is_not_asked(tmp_path: Path) -> None:
    for question in (("as-of", "now"), ("status",), ("replay",), ("checkpoint",)):
        done = run(tmp_path, *question)
        assert done.returncode == 1
        assert "no ledger in" in done.stderr
    assert not (tmp_path / "ledger.db").exists()


@contextmanager
def serving(home: Path, *services: str) -> Iterator[str]:
    """Run services in a process of their own; yield their address."""
    around = os.environ | {"MODELKEEP_HOME": str(home)}
    process = subprocess.Popen(
        [*COMMAND, "serve", *services], env=around, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        yield ready.strip().rpartition(" ")[2]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)


def test_questions_are_the_same_whether_services_run_or_not(
    home: Path, decision: str
) -> None:
    resting = good(home, "as-of", "2013-05-03")
    with serving(home, "audit") as address:
        assert good(home, "as-of", "2013-05-03") == resting
        assert address in good(home, "status")
        good(home, "why", decision)
        refused = run(home, "replay")
    assert refused.returncode == 1
    assert "audit" in refused.stderr
    assert address in refused.stderr


def test_a_port_that_is_taken_is_said_and_nothing_after_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = run(tmp_path, "serve", "inventory", "--listen", address)
    assert refused.returncode == 1
    last = refused.stderr.splitlines()[-1]
    assert last.endswith(f"{address} is taken: is another Modelkeep running?")


def test_status_says_how_far_it_is(home: Path) -> None:
    good(home, "checkpoint")
    said = json.loads(good_alone(home, "status", "--json"))
    size, head = log_of(home)
    assert (said["head"], said["signed"]) == (head, size)
    assert {
        "name": "audit/views",
        "position": head,
        "address": "",
        "halted": "",
    } in said["followers"]


def test_a_replay_gives_every_view_back_byte_for_byte(home: Path) -> None:
    said = json.loads(good_alone(home, "replay", "--json"))
    assert said["equal"]
    assert said["before"] == said["after"]
    assert "audit/models" in said["after"]
    with closing(sqlite3.connect(home / "views" / "audit.db")) as db, db:
        db.execute("update history set body = null where body is not null")
    done = run(home, "replay")
    assert done.returncode == 1
    assert re.search(r"audit/models .* DIFFERENT", done.stdout)
    assert json.loads(good(home, "replay", "--json"))["after"] == said["after"]
    good(home, "checkpoint")
    assert "every append was signed" in good(home, "verify")


def test_challenge_says_who_answered_how_fast(home: Path) -> None:
    answer = json.loads(good(home, "challenge", "--threshold", "1", "--json"))
    people = {one["person"]["subject"] for one in answer["reviewers"]}
    said = good(home, "challenge", "--threshold", "1")
    assert "never refuses" in said
    assert all(one in said for one in people)
    assert "Nobody has approved" in good(home, "challenge", "--as-of", "0")


def test_the_boards_page_is_one_file(home: Path, tmp_path: Path) -> None:
    page = tmp_path / "board.html"
    good_alone(home, "board", "--out", str(page), "--as-of", "2013-05-03")
    written = page.read_text()
    assert written.startswith("<!doctype html>") or "<html" in written
    assert "credit" in written
    assert "<script" not in written


def test_where_nobody_stated_a_budget_of_false_alarms_none_is_told(home: Path) -> None:
    assert "no model has a budget" in good(home, "false-alarms")
    assert json.loads(good(home, "false-alarms", "--json")) == {}


MAPPING = """
register:
  model: {column: Name, slug: true}
  title: {column: Name}
  kind: {column: Kind, map: {ML: trained, Sheet: spreadsheet}}
  purpose: {column: Purpose}
  owner: {column: Owner}
"""
MODELS = """Name,Kind,Purpose,Owner
Small loans,ML,Decides on small loans,dana
Limits,Sheet,Sets card limits,vera
"""


def test_an_inventory_is_imported_once(tmp_path: Path) -> None:
    table, mapping = tmp_path / "models.csv", tmp_path / "map.yaml"
    table.write_text(MODELS)
    mapping.write_text(MAPPING)
    command = ("import", "csv", str(table), "--map", str(mapping))
    home = tmp_path / "home"
    assert "nothing was sent" in good(home, *command, "--dry-run")
    assert not home.exists()
    assert "2 written" in good_alone(home, *command)
    head = json.loads(good(home, "status", "--json"))["head"]
    good(home, *command)
    assert json.loads(good(home, "status", "--json"))["head"] == head
    assert "small-loans" in good(home, "as-of", "now")


def test_every_problem_of_a_table_is_listed_and_nothing_sent(tmp_path: Path) -> None:
    table, mapping = tmp_path / "models.csv", tmp_path / "map.yaml"
    table.write_text(MODELS + "Limits,Magic,,\n")
    mapping.write_text(MAPPING)
    home = tmp_path / "home"
    done = run(home, "import", "csv", str(table), "--map", str(mapping), "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["written"] == 0
    assert {one["row"] for one in found["problems"]} == {4}
    assert not home.exists()
    mapping.write_text("register: 7")
    assert run(home, "import", "csv", str(table), "--map", str(mapping)).returncode == 2


def test_help_names_every_question(tmp_path: Path) -> None:
    said = good_alone(tmp_path, "--help")
    for command in (
        "why",
        "as-of",
        "verify",
        "export",
        "attest",
        "checkpoint",
        "replay",
        "status",
        "board",
        "challenge",
    ):
        assert re.search(rf"\b{command}\b", said)
