"""Witnesses are asked over real sockets, and one that saw more stops the signer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.test_audit_courier import until
from tests.unit.test_audit_notary import Fake
from tests.unit.test_outbound import server

from modelkeep.errors import Corrupt, Unavailable
from modelkeep.home import Home
from modelkeep.outbound import Destination
from modelkeep.proof.checkpoint import Checkpoint, open_signed, split_notes
from modelkeep.proof.cosignature import WitnessKey, cosignatures
from modelkeep.proof.merkle import Leaves, leaf_hash, root_at
from modelkeep.proof.note import SigningKey
from modelkeep.proof.policy import Policy
from modelkeep.proof.witness import Witness
from modelkeep.witness import listening
from modelkeep_services.audit import tails
from modelkeep_services.audit.notary import Notary, published
from modelkeep_services.audit.outside import Outside
from modelkeep_services.audit.signed import Signed
from modelkeep_services.audit.signing import rotate, signing_key
from modelkeep_services.audit.tails import Ages
from modelkeep_services.audit.witnesses import Witnesses, last_cosigned

ORIGIN = "bank.example/ledger"
LOG = SigningKey(ORIGIN, bytes(range(32)))
LEAVES = [leaf_hash(b"%d" % n) for n in range(400)]
KEYS = {
    name: SigningKey(f"{name}.example/w", bytes([n]) * 32)
    for n, name in enumerate("abc", 1)
}
NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)


def signed(size: int, leaves: list[bytes] = LEAVES, key: SigningKey = LOG) -> Signed:
    nodes = Leaves(leaves[:size])
    told = Checkpoint(ORIGIN, size, root_at(nodes, size))
    return Signed(key.sign_note(told.encode()), told, nodes)


@contextmanager
def standing(
    folder: Path, *names: str, logs: tuple[SigningKey, ...] = (LOG,)
) -> Iterator[dict[str, str]]:
    """Witnesses of these names, and where each is."""
    with ExitStack() as stack:
        where = {}
        for name in names:
            keys = [log.verifier for log in logs]
            one = Witness(KEYS[name], keys, folder / name, lambda: int(time.time()))
            there = stack.enter_context(listening(one, "127.0.0.1:0"))
            where[name] = f"http://{there.address}"
        yield where


def policy(where: dict[str, str], quorum: str) -> Outside:
    text = "".join(
        f"witness {name} {WitnessKey.of(KEYS[name])} {url}\n"
        for name, url in where.items()
    )
    text += f"group all-of-them {quorum} {' '.join(where)}\nquorum all-of-them\n"
    read = Policy.parse(text)
    addresses = {name: Destination.parse(url) for name, url in where.items()}
    return Outside(policy=read, policy_text=text.encode(), witnesses=addresses)


def asked(folder: Path, outside: Outside) -> Witnesses:
    assert outside.policy is not None

    def saw(raw: bytes) -> Checkpoint:
        return open_signed(raw, [LOG.verifier])[0]

    folder.mkdir(exist_ok=True)
    return Witnesses(outside.policy, outside.witnesses, folder, ORIGIN, saw)


def cosigned(folder: Path) -> list[tuple[int, int]]:
    """Sizes in `cosigned`, and how many vouch for each."""
    keys = [WitnessKey.of(key) for key in KEYS.values()]
    lines = (folder / "cosigned").read_bytes().splitlines(keepends=True)
    return [
        (
            open_signed(raw, [LOG.verifier])[0].size,
            len(cosignatures(raw, keys)),
        )
        for raw in split_notes(lines)
    ]


def test_all_are_asked_and_their_lines_are_published(tmp_path: Path) -> None:
    with standing(tmp_path, "a", "b") as where:
        outside = policy(where, "all")
        one = asked(tmp_path / "out", outside)
        for size in (1, 100, 101, 400):
            one.carry(signed(size))
            assert one.cosigned == size
        # another process, which knows nothing of what they saw
        asked(tmp_path / "out", outside).carry(signed(400))
    assert cosigned(tmp_path / "out") == [
        (1, 2),
        (100, 2),
        (101, 2),
        (400, 2),
        (400, 2),
    ]
    assert outside.policy is not None
    last = last_cosigned(tmp_path / "out", outside.policy)
    assert last is not None
    assert last.size == 400
    assert abs(last.time - time.time()) < 600


def test_too_few_are_not_enough_and_the_rest_is_asked_again(tmp_path: Path) -> None:
    with standing(tmp_path, "a") as where:
        nobody = {"b": "http://127.0.0.1:1"}
        outside = policy({**where, **nobody}, "2")
        one = asked(tmp_path / "out", outside)
        for _ in range(2):
            with pytest.raises(Unavailable, match="1 of 2 cosigned 5 events: b: "):
                one.carry(signed(5))
    assert one.cosigned == 0
    assert cosigned(tmp_path / "out") == [(5, 1)]
    assert outside.policy is not None
    assert last_cosigned(tmp_path / "out", outside.policy) is None


def test_enough_are_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with standing(tmp_path, "a", "b") as where:
        one = asked(tmp_path / "out", policy({**where, "c": "http://127.0.0.1:1"}, "2"))
        one.carry(signed(5))
    assert one.cosigned == 5
    assert "not by all: c: " in caplog.text


def test_a_fork_is_not_cosigned(tmp_path: Path) -> None:
    others = [leaf_hash(b"another"), *LEAVES[1:]]
    with standing(tmp_path, "a") as where:
        one = asked(tmp_path / "out", policy(where, "1"))
        one.carry(signed(100))
        for size in (100, 200):
            with pytest.raises(Unavailable, match=r"another history|answered 422"):
                one.carry(signed(size, others))
    assert cosigned(tmp_path / "out") == [(100, 1)]
    assert (tmp_path / "a" / "conflicts").exists()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"", "without a cosignature"),
        (200, b"\xe2\x80\x94 a.example/w AAAAAAAA\n", "without a cosignature"),
        (404, b"who\n\x1b[31m", r"answered 404 '.*\\x1b"),
        (409, b"x\n", "a size and a newline"),
        (409, b"999\n", "it saw 999 events, and 5 were signed here"),
        (409, b"0\n", "another history of 0 events"),
        (302, b"", "answered 302"),
    ],
)
def test_a_witness_that_talks_nonsense_is_not_believed(
    tmp_path: Path, status: int, body: bytes, said: str
) -> None:
    with server(status, body=body) as (url, _):
        one = asked(tmp_path / "out", policy({"a": url}, "1"))
        with pytest.raises(Unavailable, match=said):
            one.carry(signed(5))
    assert not (tmp_path / "out" / "cosigned").exists()


# --- with the notary ----------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").make()


Build = Callable[[], Notary]


def test_the_notary_has_its_checkpoints_cosigned(home: Home, tmp_path: Path) -> None:
    tree = Fake(ORIGIN, LEAVES[:10])
    key = signing_key(home.keys, ORIGIN)
    with standing(tmp_path, "a", logs=(key,)) as where:
        outside = policy(where, "1")
        one = Notary(home, tree, published(home), lambda: NOON, outside)
        one.start()
        assert outside.policy is not None
        until((published(home) / "cosigned").exists)
        until(lambda: [tail.events for tail in one.tails] == [0, 0])
        one.close()
    assert (published(home) / "witnesses.policy").read_bytes() == outside.policy_text
    raw = (published(home) / "cosigned").read_bytes()
    assert open_signed(raw, [key.verifier])[0].size == 10


def test_a_machine_restored_from_an_old_copy_signs_nothing(
    home: Home, tmp_path: Path
) -> None:
    """The ledger, the signer's memory and all that was published, a week old."""
    key = signing_key(home.keys, ORIGIN)
    with standing(tmp_path, "a", logs=(key,)) as where:
        outside = policy(where, "1")

        def run(size: int) -> Notary:
            tree = Fake(ORIGIN, LEAVES[:size])
            return Notary(home, tree, published(home), lambda: NOON, outside)

        first = run(100)
        first.start()
        first.close()
        shutil.copytree(home.root, tmp_path / "copy")
        later = run(200)
        later.start()
        later.close()
        shutil.rmtree(home.root)
        shutil.copytree(tmp_path / "copy", home.root)
        again = run(150)
        again.start()
        with pytest.raises(Corrupt, match="200 events"):
            again.sign()
        again.close()
    assert b"\n150\n" not in (published(home) / "checkpoints").read_bytes()


def test_a_witness_that_is_late_stops_an_old_copy_all_the_same(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there at the start: the copy signs once, and then no more."""
    key = signing_key(home.keys, ORIGIN)
    with standing(tmp_path, "a", logs=(key,)) as where:
        outside = policy(where, "1")
        tree = Fake(ORIGIN, LEAVES[:100])

        def run(place: Home) -> Notary:
            return Notary(place, tree, published(place), lambda: NOON, outside)

        run(home).sign()
        shutil.copytree(home.root, tmp_path / "copy")
        tree.kept = LEAVES[:200]
        later = run(home)
        later.start()
        later.close()
        monkeypatch.setattr(Witnesses, "consult", lambda _: None)
        tree.kept = LEAVES[:150]
        again = run(Home(tmp_path / "copy"))
        again.start()
        until((tmp_path / "copy" / "keys" / "checkpoint.state.seen").exists)
        tree.kept = LEAVES[:160]
        with pytest.raises(Corrupt, match="200 events"):
            again.sign()
        again.close()


def test_a_running_notary_takes_the_key_that_follows(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    tree = Fake(ORIGIN, LEAVES[:10])
    one = Notary(home, tree, published(home), lambda: NOON)
    one.start()
    first = one.key
    one.sign()
    told = rotate(home, published(home), NOON)
    tree.kept = LEAVES[:20]
    assert open_signed(one.sign().note, [told.new])[0].size == 20
    one.close()
    assert one.key.verifier == told.new != first.verifier
    assert "another key" in caplog.text
    folder = published(home)
    assert (folder / "checkpoint.vkey").read_text().strip() == str(told.new)
    assert str(first.verifier) in (folder / "rotations").read_text()


@pytest.mark.parametrize("deadly", ["rotations", "checkpoint.state", "checkpoint.key"])
def test_a_change_of_key_that_was_cut_short_is_finished(
    home: Home, monkeypatch: pytest.MonkeyPatch, deadly: str
) -> None:
    tree = Fake(ORIGIN, LEAVES[:10])
    one = Notary(home, tree, published(home), lambda: NOON)
    one.sign()

    real = Path.replace

    def crash(path: Path, target: Path) -> None:
        if target.name == deadly:
            raise OSError("the power went")
        real(path, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", crash)
        with pytest.raises(OSError, match="power"):
            rotate(home, published(home), NOON)
    tree.kept = LEAVES[:20]
    assert one.sign().checkpoint.size == 20  # and the notary finishes what was begun
    rotate(home, published(home), NOON)
    tree.kept = LEAVES[:30]
    assert one.sign().checkpoint.size == 30
    assert one.key == signing_key(home.keys, ORIGIN)


# --- tails --------------------------------------------------------------------------


def test_a_tail_is_as_old_as_its_oldest_event() -> None:
    ages = Ages()
    ages.saw(10, 100.0)
    ages.saw(10, 150.0)
    ages.saw(20, 200.0)
    assert ages.tail("unsigned", 0, 300.0) == ("unsigned", 20, 200.0)
    assert ages.tail("unsigned", 10, 300.0) == ("unsigned", 10, 100.0)
    assert ages.tail("unsigned", 15, 300.0) == ("unsigned", 5, 100.0)
    assert ages.tail("unsigned", 20, 300.0) == ("unsigned", 0, 0.0)
    ages.forget(15)
    assert ages.tail("unsigned", 15, 300.0) == ("unsigned", 5, 100.0)


def test_ages_are_remembered_in_bounds_and_never_too_young() -> None:
    ages = Ages()
    for n in range(1, 10_000):
        ages.saw(n, float(n))
    assert len(ages._marks) <= tails._MARKS
    for vouched in (0, 1, 5_000, 9_998):
        tail = ages.tail("uncosigned", vouched, 10_000.0)
        assert tail.events == 9_999 - vouched
        assert tail.seconds >= 10_000.0 - (vouched + 1)


def test_a_tail_that_is_too_old_is_said_once_and_told(
    home: Home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tails.LIMITS_S, "unsigned", -1.0)
    tree = Fake(ORIGIN, LEAVES[:10])
    with server(204) as (url, seen):
        outside = Outside(webhooks=(Destination.parse(url),), secret=bytes(24))
        one = Notary(home, tree, published(home), lambda: NOON, outside)
        one.sign()
        tree.kept = [bytes(32)] * 12
        one._carriers.start()
        for _ in range(3):
            one._look(last=True)
        said = [record.getMessage() for record in caplog.records]
        assert sum("nothing outside vouches" in text for text in said) == 1
        assert one.tails[0].events == 2
        tree.kept = LEAVES[:12]
        one.sign()
        one._look()
        assert "vouched for again" in caplog.text
        until(lambda: any(b"modelkeep.tail" in body for _, _, body in seen))
        one.close()
