"""A time-stamping authority is asked once a day, and its word is checked."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.unit.authority import Authority, open_for_business
from tests.unit.test_outbound import server

pytest.importorskip("rfc3161_client", reason="the extra `timestamp` is not installed")
if shutil.which("openssl") is None:
    pytest.skip("there is no openssl to be an authority", allow_module_level=True)

from modelkeep.errors import Invalid, Unavailable
from modelkeep.home import Home
from modelkeep.outbound import Destination
from modelkeep.proof import timestamp
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.proof.evidence import gather
from modelkeep.proof.merkle import Leaves, leaf_hash, root_at
from modelkeep.proof.note import SigningKey
from modelkeep.proof.timestamp import Stamp, certificates, kept, question, stamped_at
from modelkeep.proof.vouching import vouching
from modelkeep_services.audit.outside import ROOTS, TIMESTAMPS, Outside, Timestamping
from modelkeep_services.audit.signed import Signed
from modelkeep_services.audit.timestamps import Timestamps

KEY = SigningKey("bank.example/ledger", bytes(range(32)))
LEAVES = Leaves([leaf_hash(b"%d" % n) for n in range(10)])


def signed(size: int) -> Signed:
    told = Checkpoint(KEY.name, size, root_at(LEAVES, size))
    return Signed(KEY.sign_note(told.encode()), told, LEAVES)


NOTE = signed(5).note


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "a")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "b", "Another")


def published(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "checkpoints").write_bytes(signed(5).note + signed(10).note)
    return folder


def test_a_stamp_says_when(authority: Authority) -> None:
    asked = question(NOTE)
    stamp = Stamp(NOTE, authority.answer(asked.body))
    roots = certificates(authority.root)
    at = stamped_at(stamp, roots, nonce=asked.nonce)
    assert abs(at.timestamp() - time.time()) < 600
    assert stamped_at(stamp, roots) == at


def test_a_stamp_that_does_not_fit_is_refused(
    authority: Authority, stranger: Authority
) -> None:
    asked = question(NOTE)
    answer = authority.answer(asked.body)
    roots = certificates(authority.root)
    with pytest.raises(BadSignature):
        stamped_at(Stamp(NOTE + b"\n", answer), roots)
    with pytest.raises(BadSignature):
        stamped_at(Stamp(NOTE, answer), roots, nonce=(asked.nonce or 0) + 1)
    with pytest.raises(BadSignature):
        stamped_at(Stamp(NOTE, answer), certificates(stranger.root))
    with pytest.raises(BadSignature):
        stamped_at(Stamp(NOTE, stranger.answer(asked.body)), roots)
    with pytest.raises(Malformed):
        stamped_at(Stamp(NOTE, b"anything"), roots)


def test_any_change_of_an_answer_is_refused(authority: Authority) -> None:
    """Every 7th byte: of what is not signed, a change that passes changes nothing."""
    asked = question(NOTE)
    answer = authority.answer(asked.body)
    roots = certificates(authority.root)
    at = stamped_at(Stamp(NOTE, answer), roots)
    for index in range(0, len(answer), 7):
        spoilt = bytearray(answer)
        spoilt[index] ^= 1
        try:
            assert stamped_at(Stamp(NOTE, bytes(spoilt)), roots) == at
        except (BadSignature, Malformed):
            continue


@pytest.mark.parametrize("pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAA\n"])
def test_what_vouches_for_nobody_is_refused(tmp_path: Path, pem: str) -> None:
    path = tmp_path / "roots.pem"
    path.write_text(pem)
    with pytest.raises(Malformed):
        certificates(path)


def test_an_end_without_a_root_is_refused(authority: Authority) -> None:
    with pytest.raises(Malformed, match="signed by itself"):
        certificates(authority.folder / "tsa.pem")


def test_it_is_asked_once_a_day_also_after_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    folder = published(tmp_path / "out")
    before = authority.asked
    with open_for_business(authority) as url:
        asked = Timestamping(Destination.parse(url), authority.root)
        Timestamps(asked, folder).carry(signed(5))
        Timestamps(asked, folder).carry(signed(10))
        assert authority.asked == before + 1
        for path in (folder / "timestamps").iterdir():
            os.utime(path, (0, time.time() - 86_401))
        Timestamps(asked, folder).carry(signed(10))
    assert authority.asked == before + 2
    assert [stamp.raw for stamp in kept(folder)] == [signed(10).note, signed(5).note]
    assert (folder / "timestamp-roots.pem").read_bytes() == authority.root.read_bytes()


def test_an_answer_that_does_not_hold_is_not_kept(
    authority: Authority, tmp_path: Path
) -> None:
    folder = published(tmp_path / "out")
    other = authority.answer(question(NOTE).body)
    for status, body, error in (
        (200, other, BadSignature),
        (200, b"", Malformed),
        (503, b"", Unavailable),
    ):
        with server(status, body=body) as (url, _):
            asked = Timestamping(Destination.parse(url), authority.root)
            with pytest.raises(error):
                Timestamps(asked, folder).carry(signed(5))
    assert not (folder / "timestamps").exists()


def test_the_verifier_says_since_when_it_was_there(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    folder = published(tmp_path / "out")
    with open_for_business(authority) as url:
        asked = Timestamping(Destination.parse(url), authority.root)
        Timestamps(asked, folder).carry(signed(5))
    evidence = gather(folder, [KEY.verifier])
    told = vouching(evidence, folder, roots=authority.root)
    assert told.stamped == 5
    assert "the first 5 events were there by 2" in " ".join(told.proven(10))
    assert list(told.proven(4)) == []
    other = vouching(evidence, folder, roots=stranger.root)
    assert other.stamped == 0
    assert "no time stamp here holds" in " ".join(other.unproven(10))


def test_a_stamp_on_a_checkpoint_that_is_not_here_proves_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    folder = published(tmp_path / "out")
    forked = KEY.sign_note(Checkpoint(KEY.name, 7, bytes(32)).encode())
    name = folder / "timestamps" / timestamp.named(7, forked)
    name.parent.mkdir()
    name.with_suffix(".note").write_bytes(forked)
    answer = authority.answer(question(forked).body)
    name.with_suffix(".tsr").write_bytes(answer)
    told = vouching(gather(folder, [KEY.verifier]), folder, roots=authority.root)
    assert told.stamped == 0
    assert "7 events is not here" in " ".join(told.warnings)


def test_the_environment_is_checked_at_the_start(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {TIMESTAMPS: "https://tsa.example/", ROOTS: str(authority.root)}
    outside = Outside.configured(Home(tmp_path), given)
    assert outside.timestamping is not None
    with pytest.raises(Invalid, match=ROOTS):
        Outside.configured(Home(tmp_path), {**given, ROOTS: "/nowhere"})
    monkeypatch.setattr(timestamp, "possible", lambda: False)
    with pytest.raises(Invalid, match=r"modelkeep\[timestamp\]"):
        Outside.configured(Home(tmp_path), given)


def test_without_the_extra_the_verifier_says_that_it_could_not_look(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = published(tmp_path / "out")
    monkeypatch.setattr(timestamp, "possible", lambda: False)
    told = vouching(gather(folder, [KEY.verifier]), folder, roots=authority.root)
    assert "need the extra" in " ".join(told.warnings)
