"""The notary: what it signs, where that goes, and what it refuses."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from modelkeep import home as places
from modelkeep.errors import Corrupt, Unavailable
from modelkeep.home import Home
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.merkle import Leaves
from modelkeep.proof.note import parse
from modelkeep.store.port import ANY, NewEvent
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.audit import notary as rooms
from modelkeep_services.audit.notary import Notary, published

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").make()


@pytest.fixture
def store(home: Home) -> Iterator[SqliteStore]:
    with SqliteStore(home.ledger) as opened:
        yield opened


def notary(home: Home, store: SqliteStore) -> Notary:
    return Notary(home, store, published(home), lambda: NOON)


def write(store: SqliteStore, many: int) -> None:
    events = [
        NewEvent(uuid4(), "a.b", 1, b"{}", b'{"schema_version":"1"}')
        for _ in range(many)
    ]
    store.append("model-main.m", events, expected=ANY)


def test_it_signs_the_tree_at_the_ledgers_time(home: Home, store: SqliteStore) -> None:
    write(store, 5)
    signed = notary(home, store).sign()
    assert (signed.checkpoint.size, signed.checkpoint.root) == store.tree()
    assert signed.checkpoint.origin == store.origin
    assert signed.checkpoint.time == "2013-04-01T12:00:00.000000Z"


def test_its_key_is_for_its_owner_and_stays(home: Home, store: SqliteStore) -> None:
    first, second = notary(home, store), notary(home, store)
    assert first.key == second.key
    assert stat.S_IMODE((home.keys / "checkpoint.key").stat().st_mode) == 0o600


def test_it_publishes_what_judges_it(home: Home, store: SqliteStore) -> None:
    home.keys.mkdir(exist_ok=True)
    (home.keys / "writers.vkeys").write_text("a writer\n")
    write(store, 5)
    one = notary(home, store)
    one.start()
    one.close()
    folder = home.checkpoints
    assert (folder / "writers.vkeys").read_text() == "a writer\n"
    evidence = gather(folder, read_keys(str(folder / "checkpoint.vkey")))
    assert evidence.top.size == 5


def test_closing_signs_what_is_left(
    home: Home, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "LOOK_S", 3_600.0)
    one = notary(home, store)
    one.start()
    write(store, 7)
    one.close()
    latest = (home.checkpoints / "checkpoint").read_bytes()
    assert Checkpoint.parse(parse(latest).text).size == 7


def test_many_may_ask_at_once(home: Home, store: SqliteStore) -> None:
    one = notary(home, store)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(10):
                write(store, 1)
                one.sign()
        except BaseException as error:  # noqa: BLE001  # told to the test
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert one.sign().checkpoint.size == 40


class Fake:
    """A tree that can be told to be another."""

    def __init__(self, origin: str, leaves: list[bytes]) -> None:
        self.origin, self.kept = origin, leaves

    def frozen_tree(self) -> Leaves:
        return Leaves(list(self.kept))

    def leaf_index(self, position: int) -> int:
        return position


def test_it_refuses_a_shorter_and_another_history(home: Home) -> None:
    tree = Fake("bank.example/ledger", [bytes([n]) * 32 for n in range(10)])
    one = Notary(home, tree, published(home), lambda: NOON)
    one.sign()
    tree.kept = tree.kept[:9]
    with pytest.raises(Corrupt, match="9 events, and 10 were signed"):
        one.sign()
    tree.kept = [bytes(32)] * 10
    with pytest.raises(Corrupt, match="not the history"):
        one.sign()


def test_it_says_once_why_it_does_not_sign(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    tree = Fake("bank.example/ledger", [bytes([n]) * 32 for n in range(10)])
    one = Notary(home, tree, published(home), lambda: NOON)
    one.sign()
    tree.kept = [bytes(32)] * 12
    for _ in range(3):
        one._look(last=True)
    assert len(caplog.records) == 1
    assert "no checkpoint was signed" in caplog.text


def test_a_folder_that_cannot_be_written_is_said(
    home: Home, store: SqliteStore
) -> None:
    write(store, 1)
    (home.root / "file").touch()
    one = Notary(home, store, home.root / "file" / "checkpoints", lambda: NOON)
    with pytest.raises(Unavailable, match="checkpoints cannot be kept"):
        one.sign()


def test_the_environment_says_where_checkpoints_go(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(places.PUBLISHED, raising=False)
    assert published(home) == home.checkpoints
    monkeypatch.setenv(places.PUBLISHED, str(tmp_path / "away"))
    assert published(home) == tmp_path / "away"
