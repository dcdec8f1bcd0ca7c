"""The verifier says who else vouches, and believes nobody it was not told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.attacks import KEY
from tests.unit.test_proof_verify import original, run

from modelkeep.proof.checkpoint import Checkpoint, split_notes
from modelkeep.proof.cosignature import WitnessKey, cosign
from modelkeep.proof.note import SigningKey, parse
from modelkeep.proof.rotation import endorse

__all__ = ["original"]

WITNESSES = [SigningKey(f"w{n}.example", bytes([n]) * 32) for n in range(1, 4)]
AT = 1679315147


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:  # pytest's way
    (tmp_path / "ledger.db").write_bytes((original / "ledger.db").read_bytes())
    (tmp_path / "published").mkdir()
    for path in (original / "published").iterdir():
        (tmp_path / "published" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def notes(folder: Path) -> dict[int, bytes]:
    lines = (folder / "published" / "checkpoints").read_bytes()
    found = split_notes(lines.splitlines(keepends=True))
    return {Checkpoint.parse(parse(raw).text).size: raw for raw in found}


def cosigned(folder: Path, size: int, *by: int) -> None:
    raw = notes(folder)[size]
    text = parse(raw).text
    lines = "".join(cosign(WITNESSES[n], text, AT + n) for n in by)
    with (folder / "published" / "cosigned").open("ab") as file:
        file.write(raw + lines.encode())


def policy(folder: Path, quorum: str = "2", *more: str) -> Path:
    path = folder / "policy"
    lines = [f"witness w{n} {WitnessKey.of(key)}" for n, key in enumerate(WITNESSES, 1)]
    group = f"group all-of-them {quorum} w1 w2 w3"
    path.write_text("\n".join([*lines, *more, group, "quorum all-of-them", ""]))
    return path


def test_cosignatures_are_said_and_the_tail_after_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cosigned(folder, 450, 0, 2)
    cosigned(folder, 690, 1)
    assert run(folder, "--witnesses", policy(folder)) == 0
    out, _ = capsys.readouterr()
    assert (
        "the first 450 events were cosigned by w1.example, w3.example by"
        " 2023-03-20T12:25:49Z" in out
    )
    assert "250 events after what was cosigned" in out
    assert "3 of 3 checkpoints agree" in out  # what came twice counts once
    assert run(folder, "--witnesses", policy(folder, "any"), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["vouching"]["cosigned"] == 690
    assert said["vouching"]["witnesses"] == ["w2.example"]


def test_too_few_are_no_proof(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cosigned(folder, 690, 1)
    assert run(folder, "--witnesses", policy(folder)) == 2
    out, _ = capsys.readouterr()
    assert "too few witnesses cosigned" in out
    assert "NOT VERIFIED" in out


def test_nobody_was_asked_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cosigned(folder, 690, 0, 1, 2)
    assert run(folder) == 0
    assert "no witnesses were given (--witnesses)" in capsys.readouterr().out


def test_a_cosignature_that_does_not_fit_spoils_its_note(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cosigned(folder, 450, 0, 1)
    raw = notes(folder)[690]
    forged = cosign(WITNESSES[0], parse(notes(folder)[450]).text, AT)
    good = cosign(WITNESSES[1], parse(raw).text, AT)
    with (folder / "published" / "cosigned").open("ab") as file:
        file.write(raw + (forged + good).encode())
    assert run(folder, "--witnesses", policy(folder), "--json") == 0
    assert json.loads(capsys.readouterr().out)["vouching"]["cosigned"] == 450


def test_the_log_does_not_witness_itself(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = SigningKey("w9.example", KEY.seed)
    raw = notes(folder)[690]
    line = cosign(own, parse(raw).text, AT)
    (folder / "published" / "cosigned").write_bytes(raw + line.encode())
    path = folder / "policy"
    path.write_text(f"witness w9 {WitnessKey.of(own)}\nquorum w9\n")
    assert run(folder, "--witnesses", path) == 2
    assert "has the log's own key: ignored" in capsys.readouterr().out


def test_a_cosigned_fork_is_a_fork(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Witnesses saw another history than the one that is shown."""
    forked = Checkpoint(KEY.name, 600, bytes(32)).encode()
    lines = "".join(cosign(WITNESSES[n], forked, AT) for n in (0, 1))
    (folder / "published" / "cosigned").write_bytes(
        KEY.sign_note(forked) + lines.encode()
    )
    assert run(folder, "--witnesses", policy(folder)) == 1
    out, _ = capsys.readouterr()
    assert "two histories were signed" in out


@pytest.mark.parametrize("text", ["nonsense\n", "quorum w\n", ""])
def test_a_policy_that_is_none_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = folder / "policy"
    path.write_text(text)
    assert run(folder, "--witnesses", path) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_chain_of_keys_is_followed_and_its_end_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = SigningKey(KEY.name, bytes(32))
    last = Checkpoint.parse(parse(notes(folder)[690]).text)
    told = endorse(KEY, fresh, last, "2013-04-02T00:00:00Z")
    (folder / "published" / "rotations").write_bytes(told)
    (folder / "published" / "anew").write_bytes(fresh.sign_note(last.encode()))
    assert run(folder) == 0
    out, _ = capsys.readouterr()
    assert "the first 690 events are those that were signed" in out
    torn = endorse(KEY, WITNESSES[0], last, "2013-04-02T00:00:00Z")
    (folder / "published" / "rotations").write_bytes(told + torn)
    assert run(folder) == 0
    assert "has 2 successors: none is followed" in capsys.readouterr().out
