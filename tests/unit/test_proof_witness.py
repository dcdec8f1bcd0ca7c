"""A witness cosigns what continues the history it saw, and never a fork of it."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest

from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.cosignature import WitnessKey, cosignatures
from modelkeep.proof.errors import Malformed
from modelkeep.proof.merkle import Leaves, consistency_proof, leaf_hash, root_at
from modelkeep.proof.note import SigningKey
from modelkeep.proof.submission import SIZE_TYPE, Submission
from modelkeep.proof.witness import MAX_CONFLICTS_BYTES, Answer, Witness

ORIGIN = "bank.example/ledger"
LOG = SigningKey(ORIGIN, bytes(range(32)))
KEY = SigningKey("witness.example/w1", bytes(range(1, 33)))
LEAVES = [leaf_hash(b"%d" % n) for n in range(600)]
OTHERS = [leaf_hash(b"another"), *LEAVES[1:]]
NOON = 1679315147


def witness(folder: Path, *logs: SigningKey) -> Witness:
    keys = [log.verifier for log in logs or (LOG,)]
    return Witness(KEY, keys, folder / "state", lambda: NOON)


def signed(size: int, leaves: list[bytes] = LEAVES, key: SigningKey = LOG) -> bytes:
    root = root_at(Leaves(leaves), size)
    return key.sign_note(Checkpoint(key.name, size, root).encode())


def ask(
    one: Witness, old: int, new: int, leaves: list[bytes] = LEAVES, **more: object
) -> Answer:
    proof = consistency_proof(Leaves(leaves), old, new) if old <= new else []
    raw = more.get("raw", signed(new, leaves))
    assert isinstance(raw, bytes)
    return one.add_checkpoint(Submission(old, proof, raw).encode())


def test_it_cosigns_what_continues(tmp_path: Path) -> None:
    old = 0
    for new in (1, 1, 255, 256, 257, 600):
        answer = ask(witness(tmp_path), old, new)
        assert answer.status == HTTPStatus.OK
        assert cosignatures(signed(new) + answer.body, [WitnessKey.of(KEY)]) == [
            (WitnessKey.of(KEY), NOON)
        ]
        old = new


def test_an_empty_log_is_a_beginning(tmp_path: Path) -> None:
    one = witness(tmp_path)
    assert ask(one, 0, 0).status == HTTPStatus.OK
    assert ask(one, 0, 5).status == HTTPStatus.OK
    other = LOG.sign_note(Checkpoint(ORIGIN, 0, bytes(32)).encode())
    assert ask(witness(tmp_path / "2"), 0, 0, raw=other).status == HTTPStatus.CONFLICT


def test_it_tells_whoever_is_behind_what_it_saw(tmp_path: Path) -> None:
    ask(witness(tmp_path), 0, 300)
    for old in (0, 299, 301):
        answer = ask(witness(tmp_path), old, 400)
        assert answer == (HTTPStatus.CONFLICT, b"300\n", SIZE_TYPE)


@pytest.mark.parametrize("new", [300, 301, 600])
def test_it_refuses_a_fork_and_keeps_the_proof_of_it(tmp_path: Path, new: int) -> None:
    ask(witness(tmp_path), 0, 300)
    answer = ask(witness(tmp_path), 300, new, OTHERS)
    expected = HTTPStatus.CONFLICT if new == 300 else HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.status == expected
    kept = (tmp_path / "state" / "conflicts").read_bytes()
    assert kept == signed(new, OTHERS)
    # and goes on with the history it saw
    assert ask(witness(tmp_path), 300, 600).status == HTTPStatus.OK


def test_a_shorter_history_is_not_cosigned(tmp_path: Path) -> None:
    ask(witness(tmp_path), 0, 300)
    assert ask(witness(tmp_path), 0, 200).status == HTTPStatus.CONFLICT
    assert ask(witness(tmp_path), 300, 200).status == HTTPStatus.BAD_REQUEST


def test_a_proof_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    one = witness(tmp_path)
    for proof in ([], [bytes(32)]):
        ask(one, 0, 300)
        body = Submission(300, proof, signed(400)).encode()
        assert one.add_checkpoint(body).status == HTTPStatus.UNPROCESSABLE_ENTITY
    first = Submission(0, [bytes(32)], signed(5)).encode()
    fresh = witness(tmp_path / "fresh")
    assert fresh.add_checkpoint(first).status == HTTPStatus.UNPROCESSABLE_ENTITY


def test_only_logs_it_knows_and_their_keys_are_heard(tmp_path: Path) -> None:
    one = witness(tmp_path)
    stranger = SigningKey("other.example", bytes(32))
    answer = ask(one, 0, 5, raw=signed(5, key=stranger))
    assert answer.status == HTTPStatus.NOT_FOUND
    namesake = SigningKey(ORIGIN, bytes(32))
    answer = ask(one, 0, 5, raw=signed(5, key=namesake))
    assert answer.status == HTTPStatus.FORBIDDEN
    assert not (tmp_path / "state").exists()


def test_a_log_may_have_changed_its_key(tmp_path: Path) -> None:
    fresh = SigningKey(ORIGIN, bytes(32))
    one = witness(tmp_path, LOG, fresh)
    assert ask(one, 0, 300).status == HTTPStatus.OK
    assert ask(one, 300, 400, raw=signed(400, key=fresh)).status == HTTPStatus.OK
    assert ask(one, 400, 401, OTHERS).status == HTTPStatus.UNPROCESSABLE_ENTITY


def test_logs_do_not_mix(tmp_path: Path) -> None:
    second = SigningKey("bank.example/second", bytes(32))
    one = witness(tmp_path, LOG, second)
    assert ask(one, 0, 300).status == HTTPStatus.OK
    answer = ask(one, 0, 200, raw=signed(200, OTHERS, second))
    assert answer.status == HTTPStatus.OK


def test_a_witness_does_not_vouch_for_itself(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="the witness's own"):
        witness(tmp_path, SigningKey(ORIGIN, KEY.seed))


def test_a_memory_that_cannot_be_read_is_no_beginning(tmp_path: Path) -> None:
    ask(witness(tmp_path), 0, 300)
    (memory,) = (
        path
        for path in (tmp_path / "state").iterdir()
        if path.name not in {"lock", "conflicts"}
    )
    memory.write_bytes(b"")
    with pytest.raises(Malformed):
        ask(witness(tmp_path), 0, 5)
    other = SigningKey("other.example", bytes(32))
    memory.write_bytes(signed(5, key=other))
    with pytest.raises(Malformed, match=r"of other\.example"):
        ask(witness(tmp_path), 0, 5)


def test_what_cannot_be_remembered_is_not_cosigned(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(OSError, match="state"):
        ask(witness(tmp_path), 0, 5)


def test_a_lying_log_does_not_fill_the_disk(tmp_path: Path) -> None:
    ask(witness(tmp_path), 0, 300)
    conflicts = tmp_path / "state" / "conflicts"
    conflicts.write_bytes(b"x" * (MAX_CONFLICTS_BYTES - 1))
    ask(witness(tmp_path), 300, 400, OTHERS)
    assert conflicts.stat().st_size == MAX_CONFLICTS_BYTES - 1


@pytest.mark.parametrize(
    "body", [b"", b"old 0\n\nno note", b"old 0\n\n" + LOG.sign_note("a\nb\nc\n")]
)
def test_what_is_no_submission_is_a_bad_request(tmp_path: Path, body: bytes) -> None:
    assert witness(tmp_path).add_checkpoint(body).status == HTTPStatus.BAD_REQUEST
