"""`modelkeep export --exam` and `modelkeep-verify exam`, as people run them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.commands import TIMEOUT_S, good_alone, run
from tests.integration.audit_story import telling
from tests.integration.dossier_story import tell_dossier

from modelkeep.home import Home
from modelkeep.proof.exam import MANIFEST
from modelkeep.proof.exam_file import main as verify
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.cli.exam.cells import as_csv, text
from modelkeep_services.cli.exam.sheet import FIELDS, REGIMES, inventory, mapping
from modelkeep_services.cli.exam.tables import TABLES, names


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("told") / "home"
    made = Home(root).make()
    with SqliteStore(made.ledger) as store, telling(made, store) as story:
        tell_dossier(story)
    return root


@pytest.fixture(scope="module")
def pack(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    said = good_alone(home, "export", "--exam", "--out", str(folder / "exam.zip"))
    assert "check it: modelkeep-verify exam" in said
    shutil.copytree(home / "checkpoints", folder / "keys")
    return folder / "exam.zip"


def key(pack: Path) -> str:
    return str(pack.parent / "keys/exams.vkeys")


def table(pack: Path, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(pack) as archive:
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


# --- what is in it -------------------------------------------------------------------


def test_the_inventory_has_one_line_a_model_with_what_the_ledger_knows(
    pack: Path,
) -> None:
    (line,) = table(pack, "inventory.csv")
    assert list(line) == [one.name for one in FIELDS]
    assert line["model"] == "credit"
    assert line["version"] == "v1"
    assert line["serving"] == "v1 in prod, 100%"
    assert line["approved_by"]


def test_every_table_is_there_twice_and_says_the_same(pack: Path) -> None:
    with zipfile.ZipFile(pack) as archive:
        for one in TABLES:
            rows = table(pack, f"tables/{one.name}.csv")
            lines = archive.read(f"tables/{one.name}.jsonl").splitlines()
            assert len(rows) == len(lines), one.name
            header = archive.read(f"tables/{one.name}.csv").splitlines()[0].decode()
            assert header == ",".join(f'"{name}"' for name in names(one))
    assert table(pack, "tables/versions.csv")
    assert table(pack, "tables/verdicts.csv")
    assert table(pack, "tables/alerts.csv")


def test_what_a_regime_asks_for_and_nobody_said_is_a_gap(pack: Path) -> None:
    lacking = {one["field"] for one in table(pack, "gaps.csv")}
    (line,) = table(pack, "inventory.csv")
    owed = {one.name for one in FIELDS if one.asked and one.owed}
    assert lacking == {name for name in owed if not line[name]}
    assert "boundaries" in lacking


def test_the_page_says_how_to_check_it_and_runs_nothing(pack: Path) -> None:
    with zipfile.ZipFile(pack) as archive:
        page = archive.read("index.html").decode()
    assert "modelkeep-verify.pyz exam" in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    HTMLParser().feed(page)


def test_an_earlier_moment_knows_less(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "early.zip"
    said = good_alone(
        home,
        *("export", "--exam", "--as-of", "0", "--without-log", "--out", str(out)),
        "--json",
    )
    assert json.loads(said)["as_of"] == "position 0"
    assert len(table(out, "tables/versions.csv")) == 0
    with zipfile.ZipFile(out) as archive:
        assert "proofs/log.jsonl" not in archive.namelist()


# --- checking it ---------------------------------------------------------------------


def test_an_examiner_checks_the_archive_and_the_log_in_it(
    pack: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert verify([str(pack), "--key", key(pack)]) == 0
    assert "are those that were signed" in capsys.readouterr().out
    with zipfile.ZipFile(pack) as archive:
        checker = archive.extract("modelkeep-verify.pyz", tmp_path)
        log = archive.extract("proofs/log.jsonl", tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            checker,
            log,
            "--key",
            str(pack.parent / "keys/checkpoint.vkey"),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none changed, none missing" in done.stdout


def changed(
    pack: Path, out: Path, change: Callable[[str, bytes], bytes | None]
) -> Path:
    """The archive with each file as `change` makes it; None leaves it out."""
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out


def test_each_file_that_was_changed_is_named(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(pack) as archive:
        files = [name for name in archive.namelist() if name != MANIFEST]
    for number, name in enumerate(files):
        forged = changed(
            pack,
            tmp_path / f"{number}.zip",
            lambda one, raw, it=name: raw + b" " if one == it else raw,  # type: ignore[misc]
        )
        assert verify([str(forged), "--key", key(pack)]) == 1
        assert f"{name} was changed" in capsys.readouterr().out
        forged.unlink()


def test_a_file_that_is_missing_or_new_is_named(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    less = changed(
        pack,
        tmp_path / "less.zip",
        lambda name, raw: None if name == "gaps.csv" else raw,
    )
    assert verify([str(less), "--key", key(pack)]) == 1
    assert "gaps.csv is missing" in capsys.readouterr().out
    more = shutil.copy(pack, tmp_path / "more.zip")
    with zipfile.ZipFile(more, "a") as archive:
        archive.writestr("tables/more.csv", "x")
    assert verify([str(more), "--key", key(pack)]) == 1
    assert "tables/more.csv is not in the list" in capsys.readouterr().out


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_byte_that_is_another_is_refused_or_changes_no_file(
    pack: Path, tmp_path: Path, place: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """An archive says more than its files: when, and on what, they were packed."""
    raw = bytearray(pack.read_bytes())
    raw[int(len(raw) * place)] ^= 0x55
    rotten = tmp_path / "rotten.zip"
    rotten.write_bytes(raw)
    if verify([str(rotten), "--key", key(pack)]) == 0:
        assert contents(rotten) == contents(pack)
    capsys.readouterr()


def contents(pack: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(pack) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_is_no_pack_or_signed_by_others_is_refused(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.zip").write_bytes(b"hello")
    assert verify([str(tmp_path / "x.zip"), "--key", key(pack)]) == 2
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("a", "b")
    assert verify([str(tmp_path / "y.zip"), "--key", key(pack)]) == 2
    assert "no exam pack" in capsys.readouterr().err
    other = str(pack.parent / "keys/writers.vkeys")
    assert verify([str(pack), "--key", other]) == 1
    assert verify([str(pack), "--key", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (("--exam", "--log"), "say what to export"),
        ((), "say what to export"),
        (("--exam", "--as-of", "yesterday"), "yesterday"),
        (("--exam", "--from", "2013-01-01"), "are for --log"),
    ],
)
def test_bad_input_is_said_in_one_line(
    home: Path, tmp_path: Path, said: tuple[str, ...], why: str
) -> None:
    done = run(home, "export", *said, "--out", str(tmp_path / "x.zip"))
    assert done.returncode == 2
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(home: Path, pack: Path) -> None:
    done = run(home, "export", "--exam", "--out", str(pack))
    assert done.returncode == 2
    assert "is there already" in done.stderr


# --- cells ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hostile",
    [
        "=1+1",
        "+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\uff1d1",
        "=cmd|' /C calc'!A0",
    ],
)
def test_no_cell_computes_when_it_is_opened(hostile: str) -> None:
    assert text(hostile).startswith("'")
    assert text([hostile, "b"]).startswith("'")
    raw = as_csv(["a"], [{"a": hostile}]).decode()
    ((cell,),) = list(csv.reader(io.StringIO(raw)))[1:]
    assert cell == f"'{hostile}"


def test_a_name_that_computes_is_harmless_in_the_pack() -> None:
    (line,) = inventory({"models": [{"model": "m", "title": "=HYPERLINK(1)"}]})
    assert text(line["title"]) == "'=HYPERLINK(1)"


def test_numbers_stay_numbers_and_long_cells_are_cut() -> None:
    assert text(-1.5) == "-1.5"
    assert text(float("nan")) == ""
    assert text(value=True) == "yes"
    assert len(text("x" * 99_999)) < 32_767


# --- the mapping ---------------------------------------------------------------------


def test_every_regime_is_mapped_and_every_field_is_a_column() -> None:
    rows = mapping()
    assert {one["field"] for one in rows} == {one.name for one in FIELDS}
    for regime in REGIMES:
        assert sum(bool(one[regime]) for one in rows) >= 15, regime
    for one in FIELDS:
        assert one.asked.keys() <= set(REGIMES)
        assert one.about
