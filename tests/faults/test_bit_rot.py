"""Bit rot: whatever bit of an event turns, the verifier says which event it was."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from tests.attacks import EVENTS, KEY, ORIGIN, SIGNED, write

from modelkeep.proof.evidence import Evidence, gather
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.report import TAMPERED
from modelkeep.proof.signer import Signer
from modelkeep.proof.verify import verify
from modelkeep.store.sqlite import SqliteStore

CONTENT: Final = ("id", "data", "metadata")
"""The bytes of an event. Its numbers and names are turned in `test_proof_verify.py`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rot")
    write(folder / "ledger.db")
    signer = Signer(
        KEY, ORIGIN, state=folder / "signer", published=folder / "published"
    )
    with SqliteStore(folder / "ledger.db") as store:
        signer.sign(store.frozen_tree(SIGNED[-1]))
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        db.execute("pragma journal_mode = delete")
    return folder


def places(path: Path) -> list[tuple[int, int, int]]:
    """Return each event's bytes as they lie in the file: event, start and length."""
    raw = path.read_bytes()
    found: list[tuple[int, int, int]] = []
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(f"select position, {', '.join(CONTENT)} from event")  # noqa: S608, ours
        for position, *contents in rows:
            for content in contents:
                start = raw.find(content)
                once = raw.find(content, start + 1) < 0
                if start >= 0 and once:  # what spills over pages lies in pieces
                    found.append((position // 10, start, len(content)))
    return found


def flips(path: Path, many: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Choose bits of events: the event, the byte in the file, the bit."""
    random_ = random.Random(seed)  # noqa: S311, to be the same again
    whole = [one for one in places(path) if one[0] < SIGNED[-1]]
    assert len(whole) > EVENTS
    for _ in range(many):
        event, start, length = random_.choice(whole)
        yield event, start + random_.randrange(length), 1 << random_.randrange(8)


def named(path: Path, evidence: Evidence, event: int) -> bool:
    with LedgerFile(path) as ledger:
        report = verify(ledger, evidence)
    altered = [one.leaf for one in report.problems if one.kind == "altered"]
    return report.exit_code == TAMPERED and altered == [event]


def rot(folder: Path, tmp_path: Path, many: int, seed: int) -> None:
    path = tmp_path / "ledger.db"
    shutil.copyfile(folder / "ledger.db", path)
    evidence = gather(folder / "published", [KEY.verifier])
    missed: list[tuple[int, int, int]] = []
    with path.open("r+b") as file:
        for event, at, bit in flips(path, many, seed):
            file.seek(at)
            (byte,) = file.read(1)
            for value in (byte ^ bit, byte):
                file.seek(at)
                file.write(bytes([value]))
                file.flush()
                if value != byte and not named(path, evidence, event):
                    missed.append((event, at, bit))
    assert missed == []


def test_ten_bits_that_turned_are_each_reported(folder: Path, tmp_path: Path) -> None:
    rot(folder, tmp_path, many=10, seed=1)


@pytest.mark.slow
def test_a_thousand_bits_that_turned_are_each_reported(
    folder: Path, tmp_path: Path
) -> None:
    rot(folder, tmp_path, many=1_000, seed=2)
