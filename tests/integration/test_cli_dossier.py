"""`modelkeep dossier` and `modelkeep-verify dossier`, as people run them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import TIMEOUT_S, good, good_alone, run
from tests.integration.audit_story import ASKED, telling
from tests.integration.dossier_story import tell_dossier

from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.proof.__main__ import main
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.cli.dossier import Wanted

NOBODY = "01890000-0000-7000-8000-000000000000"

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("told") / "home"
    home = Home(root).make()
    with SqliteStore(home.ledger) as store, telling(home, store) as story:
        tell_dossier(story)
    return root, story.decision


@pytest.fixture(scope="module")
def written(
    told: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A folder with the signed file, its page, and the keys an examiner has."""
    home, decision = told
    folder = tmp_path_factory.mktemp("desk")
    file, page = folder / "d.json", folder / "d.html"
    said = good_alone(
        home, "dossier", decision, "--out", str(file), "--html", str(page)
    )
    assert "not so" not in said
    shutil.copytree(home / "checkpoints", folder / "keys")
    return folder, said


class Examiner:
    """Runs the verifier here; one test runs it as a program of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        code = main(["dossier", *arguments])
        said = self._capsys.readouterr()
        return Done(arguments, code, said.out, said.err)


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Examiner:
    return Examiner(capsys)


def test_a_dossier_is_written_and_says_what_is_not_in_it(
    written: tuple[Path, str], told: tuple[Path, str]
) -> None:
    folder, said = written
    assert f"decision {told[1]}: credit v1" in said
    assert f"the signed dossier is in {folder / 'd.json'}" in said
    page = (folder / "d.html").read_text()
    assert "Known then against known now" in page
    assert told[1] in page


def test_an_examiner_checks_it_with_the_file_and_a_key(
    written: tuple[Path, str], told: tuple[Path, str], verify: Examiner
) -> None:
    folder, _ = written
    file, key = str(folder / "d.json"), str(folder / "keys/checkpoint.vkey")
    done = subprocess.run(
        [sys.executable, "-m", "modelkeep.proof", "dossier", file, "--key", key],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    screen = done.stdout
    assert len(screen.splitlines()) < 40
    for words in (
        f"Decision    {told[1]}",
        "PROVEN",
        "events cited are in it",
        f"the decision is row {ASKED + 1} of 30",
        "the outcome is row 2 of 3",
        "policy allowed it in request r1, with 1 approval",
        "NOT PROVEN",
        "that nothing was left out",
    ):
        assert words in screen
    plain = verify(file, "--key", key, "--checkpoint", str(folder / "keys"), "--json")
    answer = json.loads(plain.stdout)
    assert answer["verdict"] == "proven"
    assert answer["decision"] == told[1]
    assert all(check["holds"] for check in answer["checks"])


def test_a_changed_file_is_refused_and_the_part_is_named(
    written: tuple[Path, str], verify: Examiner, tmp_path: Path
) -> None:
    folder, _ = written
    raw = bytearray((folder / "d.json").read_bytes())
    raw[len(raw) // 2] ^= 1
    forged = tmp_path / "forged.json"
    forged.write_bytes(raw)
    done = verify(str(forged), "--key", str(folder / "keys/checkpoint.vkey"))
    assert done.returncode == 1
    assert "not so: the envelope" in done.stdout
    assert done.stdout.endswith("\n")
    assert "REFUSED" in done.stdout


def test_what_cannot_be_checked_is_said_in_one_line(
    written: tuple[Path, str], verify: Examiner, tmp_path: Path
) -> None:
    folder, _ = written
    key, file = str(folder / "keys/checkpoint.vkey"), str(folder / "d.json")
    alone = tmp_path / "checkpoint.vkey"
    shutil.copy(key, alone)
    for done, words in (
        (verify(str(tmp_path / "none.json"), "--key", key), "No such file"),
        (verify(file, "--key", str(tmp_path / "none")), "No such file"),
        (verify(file, "--key", "no+key"), "modelkeep-verify"),
        (verify(file, "--key", str(alone)), "no key that dossiers are signed with"),
    ):
        assert done.returncode == 2, done.stdout
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_pages_are_made_again_without_any_service(
    written: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = written
    again = tmp_path / "again.html"
    good(
        tmp_path / "nowhere",
        "dossier",
        "--from",
        str(folder / "d.json"),
        "--key",
        str(folder / "keys/checkpoint.vkey"),
        "--html",
        str(again),
    )
    assert again.read_bytes() == (folder / "d.html").read_bytes()


def test_the_caller_s_own_id_finds_it(told: tuple[Path, str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(told[0], home)
    file = tmp_path / "d.json"
    said = good(
        home,
        "dossier",
        "--model",
        "credit",
        "--reference",
        str(ASKED),
        "--out",
        str(file),
    )
    assert f"decision {told[1]}" in said
    assert file.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((NOBODY,), 1, NOBODY),
        (("the-other-day",), 2, "must be a UUID"),
        ((), 2, "--reference"),
        ((NOBODY, "--model", "m", "--reference", "7"), 2, "--reference"),
        (("--reference", "7"), 2, "which model"),
        ((NOBODY, "--html", "/nowhere/at/all.html"), 2, "there is no folder"),
        ((NOBODY, "--as-of", "yesterday"), 2, "yesterday"),
        (("--from", "/nowhere.json"), 2, "No such file"),
        ((NOBODY, "--from", "/nowhere.json"), 2, "which decision"),
    ],
)
def test_bad_input_is_said_in_one_line(
    told: tuple[Path, str],
    arguments: tuple[str, ...],
    code: int,
    words: str,
    tmp_path: Path,
) -> None:
    out = () if "--from" in arguments else ("--out", str(tmp_path / "d.json"))
    done = run(told[0], "dossier", *arguments, *out)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not (tmp_path / "d.json").exists()


def test_paper_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    wanted = Wanted(tmp_path / "d.json", None, tmp_path / "d.pdf")
    with pytest.raises(Unavailable, match=r"pip install 'modelkeep\[pdf\]'"):
        wanted.check()
