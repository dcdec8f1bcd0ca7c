"""A key names its successor; each speaks for its own time, and nobody is led astray."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from modelkeep.proof import durable
from modelkeep.proof.checkpoint import Checkpoint, open_signed, split_notes
from modelkeep.proof.errors import BadSignature, Forked, Malformed, Retired
from modelkeep.proof.evidence import gather
from modelkeep.proof.merkle import Leaves, leaf_hash, root_of
from modelkeep.proof.note import SigningKey, parse
from modelkeep.proof.rotation import (
    Eras,
    Rotation,
    endorse,
    open_rotation,
    read,
)
from modelkeep.proof.signer import Signer

ORIGIN = "bank.example/ledger"
KEYS = [SigningKey(ORIGIN, bytes([n]) * 32) for n in range(6)]
LEAVES = [leaf_hash(b"%d" % n) for n in range(1000)]
NOW = "2026-01-01T00:00:00Z"


def tree(size: int) -> Leaves:
    return Leaves(LEAVES[:size])


def last(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root_of(LEAVES[:size]))


def rotated(old: int, new: int, size: int, *, compromised: bool = False) -> Rotation:
    raw = endorse(KEYS[old], KEYS[new], last(size), NOW, compromised=compromised)
    return open_rotation(raw)


def names(eras: Eras, size: int) -> list[int]:
    return sorted([one.verifier for one in KEYS].index(key) for key in eras.at(size))


def signer(folder: Path, key: int) -> Signer:
    return Signer(
        KEYS[key],
        ORIGIN,
        state=folder / "own" / "signer",
        published=folder / "published",
    )


# --- the statement ------------------------------------------------------------------


@pytest.mark.parametrize("compromised", [False, True])
def test_a_rotation_reads_as_it_is_written(compromised: bool) -> None:  # noqa: FBT001
    raw = endorse(KEYS[0], KEYS[1], last(5), NOW, compromised=compromised)
    told = open_rotation(raw)
    assert (told.old, told.new) == (KEYS[0].verifier, KEYS[1].verifier)
    assert (told.size, told.root, told.time) == (5, last(5).root, NOW)
    assert told.compromised is compromised
    assert Rotation.parse(told.encode()) == told


def test_both_keys_sign_it() -> None:
    text = rotated(0, 1, 5).encode()
    for signing in itertools.permutations(KEYS[:3], 1):
        with pytest.raises(BadSignature):
            open_rotation(signing[0].sign_note(text))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("size 5", "size 05"),
        ("size 5", "size -5"),
        ("size 5", "size x"),
        ("size 5\n", ""),
        ("from ", "frm "),
        ("root ", "root A"),
        ("v1", "v2"),
        (f"time {NOW}\n", f"time {NOW}\nmore x\n"),
        (f"time {NOW}\n", f"time {NOW}\nreason boredom\n"),
        (f"time {NOW}", "time "),
    ],
)
def test_what_is_no_rotation_is_refused(was: str, becomes: str) -> None:
    text = rotated(0, 1, 5).encode()
    assert was in text
    with pytest.raises(Malformed):
        Rotation.parse(text.replace(was, becomes, 1))


@pytest.mark.parametrize("text", ["", "\n", "a\n", "modelkeep key rotation v1\n"])
def test_almost_nothing_is_no_rotation(text: str) -> None:
    with pytest.raises(Malformed):
        Rotation.parse(text)


def test_a_key_does_not_follow_itself() -> None:
    with pytest.raises(Malformed):
        endorse(KEYS[0], KEYS[0], last(5), NOW)


def test_what_is_none_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rotations"
    assert list(read(path)) == []
    good = endorse(KEYS[0], KEYS[1], last(5), NOW)
    spoilt = good.replace(b"size 5", b"size 6")
    path.write_bytes(spoilt + good + b"anything\n" + KEYS[0].sign_note("a\n"))
    assert list(read(path)) == [rotated(0, 1, 5)]


# --- who speaks when ----------------------------------------------------------------

CHAIN = [rotated(0, 1, 10), rotated(1, 2, 20), rotated(2, 3, 20), rotated(3, 4, 30)]


@pytest.mark.parametrize("given", [0, 1, 2, 3, 4])
def test_any_key_of_the_chain_leads_to_all(given: int) -> None:
    for order in itertools.permutations(CHAIN):
        eras = Eras([KEYS[given].verifier], order)
        assert names(eras, 9) == [0]
        assert names(eras, 10) == [0, 1]
        assert names(eras, 11) == [1]
        assert names(eras, 20) == [1, 2, 3]
        assert names(eras, 29) == [3]
        assert names(eras, 10_000) == [4]
        assert not eras.warnings


def test_without_rotations_a_key_speaks_always() -> None:
    eras = Eras([KEYS[0].verifier, KEYS[1].verifier])
    assert names(eras, 0) == names(eras, 1 << 60) == [0, 1]


def test_a_stranger_is_not_believed() -> None:
    eras = Eras([KEYS[0].verifier], [rotated(4, 5, 5)])
    assert names(eras, 10) == [0]


def test_two_successors_are_none() -> None:
    eras = Eras([KEYS[0].verifier], [rotated(0, 1, 10), rotated(0, 2, 8)])
    assert names(eras, 8) == [0]
    assert names(eras, 9) == names(eras, 100) == []
    assert "2 successors" in eras.warnings[0]


def test_two_predecessors_are_none() -> None:
    eras = Eras([KEYS[2].verifier], [rotated(0, 2, 10), rotated(1, 2, 8)])
    assert names(eras, 5) == []
    assert names(eras, 100) == [2]
    assert "2 predecessors" in eras.warnings[0]


def test_a_ring_of_keys_ends() -> None:
    ring = [rotated(0, 1, 10), rotated(1, 2, 20), rotated(2, 0, 30)]
    assert names(Eras([KEYS[0].verifier], ring), 15) == [1]


def test_a_compromised_key_leads_nobody_to_the_next() -> None:
    told = [rotated(0, 1, 10), rotated(1, 2, 20, compromised=True)]
    before = Eras([KEYS[0].verifier], told)
    assert names(before, 15) == [1]
    assert names(before, 25) == []
    assert "compromised at 20 events" in before.warnings[0]
    after = Eras([KEYS[2].verifier], told)
    assert names(after, 25) == [2]
    assert names(after, 15) == []


# --- the signer ---------------------------------------------------------------------


def test_the_new_key_goes_on_where_the_old_one_ended(tmp_path: Path) -> None:
    signer(tmp_path, 0).sign(tree(100), time=NOW)
    told = signer(tmp_path, 0).rotate(KEYS[1], time=NOW, compromised=False)
    assert (told.size, told.root) == (100, last(100).root)
    with pytest.raises(Retired, match="is now"):
        signer(tmp_path, 0).sign(tree(200))
    signer(tmp_path, 1).sign(tree(200), time=NOW)
    signer(tmp_path, 1).rotate(KEYS[2], time=NOW, compromised=False)
    signer(tmp_path, 2).sign(tree(300), time=NOW)
    shutil.copy(tmp_path / "own" / "rotations", tmp_path / "published")
    for key in KEYS[:3]:
        evidence = gather(tmp_path / "published", [key.verifier])
        sizes = [one.checkpoint.size for one in evidence.all]
        assert sorted(set(sizes)) == [100, 200, 300]
        assert all(evidence.signers(one) for one in evidence.all)
    alone = gather(tmp_path / "published" / "checkpoint", [KEYS[2].verifier])
    assert alone.top.size == 300


def test_what_an_old_key_signs_later_does_not_count(tmp_path: Path) -> None:
    signer(tmp_path, 0).sign(tree(100))
    signer(tmp_path, 0).rotate(KEYS[1], time=NOW, compromised=False)
    shutil.copy(tmp_path / "own" / "rotations", tmp_path / "published")
    forged = KEYS[0].sign_note(Checkpoint(ORIGIN, 500, bytes(32)).encode())
    (tmp_path / "published" / "forged").write_bytes(forged)
    evidence = gather(tmp_path / "published", [KEYS[0].verifier])
    assert (evidence.top.size, evidence.ignored) == (100, 1)


def test_the_history_binds_the_new_key_too(tmp_path: Path) -> None:
    signer(tmp_path, 0).sign(tree(100))
    signer(tmp_path, 0).rotate(KEYS[1], time=NOW, compromised=False)
    with pytest.raises(Forked, match="100 were signed"):
        signer(tmp_path, 1).sign(tree(99))


def test_rotating_twice_is_once_and_never_to_another(tmp_path: Path) -> None:
    signer(tmp_path, 0).sign(tree(100))
    for _ in range(2):
        signer(tmp_path, 0).rotate(KEYS[1], time=NOW, compromised=False)
    with pytest.raises(Malformed, match="was named as its successor"):
        signer(tmp_path, 0).rotate(KEYS[2], time=NOW, compromised=False)
    assert len(list(read(tmp_path / "own" / "rotations"))) == 1


def test_a_key_that_signed_nothing_has_no_successor(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="nothing was signed yet"):
        signer(tmp_path, 0).rotate(KEYS[1], time=NOW, compromised=False)


class Crashed(Exception):
    pass


@pytest.mark.parametrize("deadly", [1, 2, 3, 4])
def test_a_crash_anywhere_is_finished_by_asking_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadly: int
) -> None:
    signer(tmp_path, 0).sign(tree(100))
    writes = 0
    real_append, real_replace = durable.append, durable.replace

    def append(path: Path, content: bytes, *, at: int) -> None:
        nonlocal writes
        writes += 1
        if writes == deadly:
            real_append(path, content[: len(content) // 2], at=at)
            raise Crashed
        real_append(path, content, at=at)

    def replace(path: Path, content: bytes, *, mode: int = 0o644) -> None:
        nonlocal writes
        writes += 1
        if writes == deadly:
            raise Crashed
        real_replace(path, content, mode=mode)

    monkeypatch.setattr(durable, "append", append)
    monkeypatch.setattr(durable, "replace", replace)
    with pytest.raises(Crashed):
        signer(tmp_path, 0).rotate(KEYS[1], time=NOW, compromised=False)
    signer(tmp_path, 0).rotate(KEYS[1], time=NOW, compromised=False)
    assert len(list(read(tmp_path / "own" / "rotations"))) == 1
    raw = signer(tmp_path, 1).sign(tree(200))
    assert open_signed(raw, [KEYS[1].verifier])[0].size == 200
    lines = (tmp_path / "published" / "checkpoints").read_bytes()
    history = split_notes(lines.splitlines(keepends=True))
    sizes = [Checkpoint.parse(parse(one).text).size for one in history]
    assert sizes == [100, 100, 200]


# --- restored from old copies -------------------------------------------------------

STATE, SEEN, LATEST, HISTORY = (
    "own/signer",
    "own/signer.seen",
    "published/checkpoint",
    "published/checkpoints",
)


@pytest.mark.parametrize(
    "restored",
    [
        restored
        for many in (1, 2)
        for restored in itertools.combinations((STATE, LATEST, HISTORY), many)
        if STATE in restored
    ],
)
@pytest.mark.parametrize("age", range(8))
def test_every_old_copy_is_refused_while_anything_newer_is_left(
    tmp_path: Path, restored: tuple[str, ...], age: int
) -> None:
    """Each of the last eight copies, of the memory alone or with half of the rest."""
    copies = []
    for size in range(100, 190, 10):
        signer(tmp_path, 0).sign(tree(size))
        copies.append({name: (tmp_path / name).read_bytes() for name in restored})
    for name, content in copies[age].items():
        (tmp_path / name).write_bytes(content)
    for size in (100 + 10 * age, 185, 300):
        with pytest.raises(Forked, match=r"180 events of .* does not remember"):
            signer(tmp_path, 0).sign(tree(size))


def test_a_copy_of_everything_is_refused_once_a_witness_shows_more(
    tmp_path: Path,
) -> None:
    signer(tmp_path, 0).sign(tree(100))
    shutil.copytree(tmp_path, tmp_path.with_name("backup"))
    kept_by_a_witness = signer(tmp_path, 0).sign(tree(200))
    shutil.rmtree(tmp_path)
    shutil.copytree(tmp_path.with_name("backup"), tmp_path)
    assert signer(tmp_path, 0).saw(kept_by_a_witness).size == 200
    for _ in range(2):
        with pytest.raises(Forked, match="200 events"):
            signer(tmp_path, 0).sign(tree(150))


def test_what_is_not_further_on_is_no_news(tmp_path: Path) -> None:
    old = signer(tmp_path, 0).sign(tree(100))
    signer(tmp_path, 0).sign(tree(200))
    assert signer(tmp_path, 0).saw(old).size == 100
    assert not (tmp_path / SEEN).exists()
    stranger = KEYS[3].sign_note(last(900).encode())
    with pytest.raises(BadSignature):
        signer(tmp_path, 0).saw(stranger)
    signer(tmp_path, 0).sign(tree(300))
