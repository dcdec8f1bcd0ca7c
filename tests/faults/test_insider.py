"""The insider matrix: what is found by whom, and the exposure of the tail in words."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from pyarrow import compute, parquet
from tests.attacks import KEY, ORIGIN, SIGNED, WRITER, write
from tests.faults.insider import (
    ACTS,
    TAIL,
    copy_of,
    found_by,
    found_by_itself,
)
from tests.unit.homes import command, signed_home

from modelkeep.decisions.matrix import Decisions, Words, leaves, root, row_matrix
from modelkeep.decisions.rows import Schema
from modelkeep.home import Home
from modelkeep.proof.__main__ import main
from modelkeep.proof.signer import Signer
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.audit import decision_log
from modelkeep_services.audit.known.monitoring import BatchRow
from modelkeep_services.monitoring.objects import store_decisions

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "verifier.md"
HEAD: Final = (
    "| what is done | | the file itself | one checkpoint | and writers' keys |",
    "|---|---|---|---|---|",
)
WAYS: Final = {False: "naively", True: "hashes made to fit"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 events, of which 690 were signed; and what the auditor holds."""
    folder = tmp_path_factory.mktemp("insider") / "original"
    folder.mkdir()
    write(folder / "ledger.db")
    signer = Signer(
        KEY, ORIGIN, state=folder / "signer", published=folder / "published"
    )
    with SqliteStore(folder / "ledger.db") as store:
        for size in SIGNED:
            signer.sign(store.frozen_tree(size), time="2013-04-01T00:00:00Z")
    (folder.parent / "held").write_bytes(
        (folder / "published" / "checkpoint").read_bytes()
    )
    return folder


@pytest.fixture(scope="module")
def matrix(
    original: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, bool], tuple[bool, bool, bool]]:
    """What was found of each act, done each way: by the file alone, with a checkpoint
    that is held outside, and with the writers' keys too.
    """
    held = original.parent / "held"
    found: dict[tuple[str, bool], tuple[bool, bool, bool]] = {}
    for act in ACTS:
        for covered in WAYS:
            folder = copy_of(original, tmp_path_factory.mktemp("act") / "ledger")
            act.do(folder, covered)
            found[act.name, covered] = (
                found_by_itself(folder),
                found_by(folder, held),
                found_by(folder, held, writers=[WRITER.verifier]),
            )
            shutil.rmtree(folder)
    return found


Matrix = dict[tuple[str, bool], tuple[bool, bool, bool]]


def test_an_honest_ledger_is_accused_by_nobody(original: Path, tmp_path: Path) -> None:
    folder = copy_of(original, tmp_path / "ledger")
    held = original.parent / "held"
    assert not found_by_itself(folder)
    assert not found_by(folder, held)
    assert not found_by(folder, held, writers=[WRITER.verifier])


def test_every_act_is_found_with_what_is_held_outside(matrix: Matrix) -> None:
    assert len(ACTS) >= 12
    assert all(with_keys for _, _, with_keys in matrix.values())


def test_one_checkpoint_finds_all_but_what_is_added_after_it(matrix: Matrix) -> None:
    missed = {
        name for (name, covered), (_, one, _) in matrix.items() if covered and not one
    }
    assert missed == {act.name for act in ACTS if act.tail}


def test_a_file_alone_finds_nothing_that_was_made_to_fit(matrix: Matrix) -> None:
    """Why checkpoints leave the machine."""
    assert not any(alone for (_, covered), (alone, _, _) in matrix.items() if covered)


def test_the_document_shows_the_matrix_as_it_is(matrix: Matrix) -> None:
    told = DOCUMENT.read_text()
    for line in table(matrix):
        assert line in told, "\n".join(table(matrix))


def table(matrix: Matrix) -> list[str]:
    rows = [
        f"| {name} | {WAYS[covered]} | {' | '.join(map(said, found))} |"
        for (name, covered), found in matrix.items()
    ]
    return [*HEAD, *rows]


def said(found: bool) -> str:  # noqa: FBT001, a cell
    return "found" if found else "**not found**"


def test_the_verifier_states_how_exposed_the_tail_is(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_of(original, tmp_path / "ledger")
    held = str(original.parent / "held")
    asked = [str(folder / "ledger.db"), "--checkpoint", held, "--key"]
    assert main([*asked, str(KEY.verifier)]) == 0
    told = capsys.readouterr().out
    assert f"{TAIL} events after the checkpoint: nothing outside vouches for" in told
    assert " by now (since 20" in told
    assert "that nobody was shown another history: no witnesses were given" in told
    writers = tmp_path / "writers"
    writers.write_text(f"{WRITER.verifier}\n")
    assert main([*asked, str(KEY.verifier), "--writers", str(writers)]) == 0
    assert "only their writers vouch for them" in capsys.readouterr().out


# --- what lies beside the ledger


@pytest.mark.parametrize("covered", WAYS)
def test_views_that_were_edited_are_found_by_replay(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    covered: bool,
) -> None:
    """Naively: the rows that are shown. Else their history too."""
    home = signed_home(tmp_path / "home")
    run = command(home, monkeypatch)
    said_ = tmp_path / "attest.json"
    attest = ("attest", "--service", "policy", "--out", said_)
    assert run(*attest) == 0
    with closing(sqlite3.connect(home.views("policy"))) as db, db:
        db.execute("update keys set body = '{}' where key = 'r1'")
        if covered:
            db.execute(
                "update history set body = '{}' where kid in"
                " (select kid from keys where key = 'r1')"
            )
    if not covered:
        assert run(*attest) == 1
        return
    assert run(*attest) == 0
    elsewhere = Home(tmp_path / "elsewhere").make()
    shutil.copyfile(home.ledger, elsewhere.ledger)
    key = home.checkpoints / "views.vkeys"
    check = ("attest", "--check", said_, "--key", key)
    assert command(elsewhere, monkeypatch)(*check) == 1


def test_a_row_of_the_decision_log_that_was_edited_is_found(tmp_path: Path) -> None:
    """The object's own digest can be made to fit; the root in the event cannot."""
    n = 20
    rows = Decisions(
        schema=Schema("fraud", "v1", "prod", "", ()),
        ids=np.arange(16 * n, dtype=np.uint8).reshape(n, 16),
        times=np.arange(n, dtype=np.int64),
        scores=np.linspace(0, 1, n),
        latency_ms=np.full(n, np.nan),
        explained=np.zeros(n, np.uint8),
        reason_codes=np.zeros(n, np.uint8),
        references=Words(np.full(n, -1, np.int32), ()),
        columns=(),
    )
    stored = store_decisions(tmp_path, "main", rows)
    path = tmp_path / stored.address
    signed = f"sha256:{root(leaves(row_matrix(rows))).hex()}"
    batch = BatchRow(
        "fraud",
        "v1",
        "prod",
        "b",
        n,
        signed,
        stored.address,
        first_id="",
        last_id="",
        event_id="",
        proof="rows",
        parts=(),
    )
    assert decision_log._logged(path, batch, 7).intact
    table = parquet.read_table(path)
    place = table.schema.get_field_index("score")
    forged = compute.add(table["score"], 0.1)
    parquet.write_table(table.set_column(place, "score", forged), path)
    assert not decision_log._logged(path, batch, 7).intact
