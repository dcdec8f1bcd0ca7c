"""Checkpoints are what C2SP says, and the signer never signs two histories."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.proof import durable
from modelkeep.proof.checkpoint import Checkpoint, open_signed, split_notes, stamped
from modelkeep.proof.errors import BadSignature, Forked, Malformed
from modelkeep.proof.merkle import Leaves, leaf_hash, root_of
from modelkeep.proof.note import SigningKey
from modelkeep.proof.signer import Signer

ORIGIN = "bank.example/ledger"
KEY = SigningKey(ORIGIN, bytes(range(32)))
LEAVES = [leaf_hash(b"%d" % n) for n in range(2000)]


def signer(folder: Path, key: SigningKey = KEY, origin: str = ORIGIN) -> Signer:
    return Signer(
        key, origin, state=folder / "own" / "signer", published=folder / "published"
    )


def tree(size: int, *, altered: int | None = None) -> Leaves:
    leaves = LEAVES[:size]
    if altered is not None:
        leaves[altered] = leaf_hash(b"another")
    return Leaves(leaves)


def opened(raw: bytes) -> Checkpoint:
    return open_signed(raw, [KEY.verifier])[0]


def published(folder: Path) -> list[Checkpoint]:
    lines = (
        (folder / "published" / "checkpoints").read_bytes().splitlines(keepends=True)
    )
    return [opened(raw) for raw in split_notes(lines)]


def test_a_checkpoint_reads_as_it_is_written() -> None:
    text = (
        "bank.example/ledger\n3\n"
        "4xYmN9YcCJ1v1GZZE3TmuRxqZjBsCLVwTmRDdf+oUfM=\ntime 2013-04-01T00:00:00Z\n"
    )
    parsed = Checkpoint.parse(text)
    assert (parsed.origin, parsed.size, parsed.time) == (
        ORIGIN,
        3,
        "2013-04-01T00:00:00Z",
    )
    assert parsed.encode() == text
    assert Checkpoint(ORIGIN, 3, parsed.root).time is None


lines = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=20
)


@given(
    origin=lines,
    size=st.integers(0, 1 << 60),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(lines, max_size=3).map(tuple),
)
def test_any_checkpoint_reads_as_it_is_written(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    written = Checkpoint(origin, size, root, extensions)
    assert Checkpoint.parse(written.encode()) == written


ROOT = "4xYmN9YcCJ1v1GZZE3TmuRxqZjBsCLVwTmRDdf+oUfM="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        "origin\n3\n",
        f"origin\n3\n{ROOT}",
        f"\n3\n{ROOT}\n",
        f"origin\n03\n{ROOT}\n",
        f"origin\n-3\n{ROOT}\n",
        f"origin\n+3\n{ROOT}\n",
        f"origin\n3 \n{ROOT}\n",
        f"origin\n٣\n{ROOT}\n",
        f"origin\n{'9' * 40}\n{ROOT}\n",
        f"origin\nx\n{ROOT}\n",
        f"origin\n3\n{ROOT[:-4]}\n",
        f"origin\n3\n{ROOT[:-1]}\n",
        f"origin\n3\n{ROOT}\n\n",
        f"origin\n3\n{ROOT}\n\nmore\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Checkpoint.parse(text)


@given(st.text(max_size=200))
def test_anything_is_a_checkpoint_or_refused(text: str) -> None:
    try:
        parsed = Checkpoint.parse(text)
    except Malformed:
        return
    assert parsed.encode() == text


@given(st.lists(st.binary(max_size=60)))
def test_any_bytes_are_cut_into_notes(chunks: list[bytes]) -> None:
    kept = b"".join(split_notes(chunks))
    assert len(kept) <= sum(map(len, chunks))


def test_a_checkpoint_of_broken_lines_is_not_written() -> None:
    with pytest.raises(Malformed):
        Checkpoint("a\nb", 1, bytes(32)).encode()
    with pytest.raises(Malformed):
        Checkpoint("a", 1, bytes(32), ("",)).encode()


def test_every_checkpoint_is_signed_remembered_and_published(tmp_path: Path) -> None:
    for size in (0, 1, 300, 1000):
        raw = signer(tmp_path).sign(
            tree(size), time=f"2013-01-01T00:00:{size % 60:02}Z"
        )
        assert opened(raw) == Checkpoint(
            ORIGIN,
            size,
            root_of(LEAVES[:size]),
            (stamped(f"2013-01-01T00:00:{size % 60:02}Z"),),
        )
        assert signer(tmp_path).last() == opened(raw)
        assert (tmp_path / "published" / "checkpoint").read_bytes() == raw
    assert [one.size for one in published(tmp_path)] == [0, 1, 300, 1000]
    assert (tmp_path / "published" / "leaves").read_bytes() == b"".join(LEAVES[:1000])
    assert (tmp_path / "own" / "signer").stat().st_mode & 0o077 == 0


def test_a_log_that_has_not_grown_gets_its_note_again(tmp_path: Path) -> None:
    first = signer(tmp_path).sign(tree(10), time="2013-01-01T00:00:00Z")
    assert signer(tmp_path).sign(tree(10), time="2014-01-01T00:00:00Z") == first
    assert len(published(tmp_path)) == 1


@pytest.mark.parametrize("size", [0, 1, 299])
def test_a_shorter_log_is_refused(tmp_path: Path, size: int) -> None:
    signer(tmp_path).sign(tree(300))
    with pytest.raises(Forked, match=f"has {size} events, and 300 were signed"):
        signer(tmp_path).sign(tree(size))
    assert [one.size for one in published(tmp_path)] == [300]


@pytest.mark.parametrize("altered", [0, 255, 256, 299])
@pytest.mark.parametrize("size", [300, 301, 1000])
def test_another_history_is_refused(tmp_path: Path, altered: int, size: int) -> None:
    signer(tmp_path).sign(tree(300))
    with pytest.raises(Forked):
        signer(tmp_path).sign(tree(size, altered=altered))
    assert [one.size for one in published(tmp_path)] == [300]
    # the true history can still be signed
    assert opened(signer(tmp_path).sign(tree(1000))).size == 1000
    assert (tmp_path / "published" / "leaves").read_bytes() == b"".join(LEAVES[:1000])


def test_inner_nodes_that_do_not_fit_the_leaves_are_refused(tmp_path: Path) -> None:
    class Forged(Leaves):
        def nodes(self, level: int, start: int, end: int) -> list[bytes]:
            return [bytes(32) for _ in super().nodes(level, start, end)]

    with pytest.raises(Forked):
        signer(tmp_path).sign(Forged(LEAVES[:300]))


def test_a_signer_restored_from_a_backup_does_not_sign(tmp_path: Path) -> None:
    signer(tmp_path).sign(tree(100))
    backup = (tmp_path / "own" / "signer").read_bytes()
    signer(tmp_path).sign(tree(200))
    (tmp_path / "own" / "signer").write_bytes(backup)
    with pytest.raises(Forked, match="does not remember"):
        signer(tmp_path).sign(tree(150))


def test_a_signer_without_its_memory_does_not_sign(tmp_path: Path) -> None:
    signer(tmp_path).sign(tree(100))
    (tmp_path / "own" / "signer").unlink()
    with pytest.raises(Forked, match="does not remember"):
        signer(tmp_path).sign(tree(200))


def test_a_forged_memory_is_refused(tmp_path: Path) -> None:
    signer(tmp_path).sign(tree(100))
    state = tmp_path / "own" / "signer"
    good = json.loads(state.read_text())
    other = SigningKey(ORIGIN, bytes(32))
    note = Checkpoint(ORIGIN, 100, root_of(LEAVES[:100])).encode()
    for forged, error in (
        ({**good, "note": other.sign_note(note).decode()}, BadSignature),
        ({**good, "edge": good["edge"].replace("a", "b")}, Malformed),
        ({**good, "edge": "00"}, Malformed),
        ({**good, "offset": None}, Malformed),
        ({}, Malformed),
    ):
        state.write_text(json.dumps(forged))
        with pytest.raises(error):
            signer(tmp_path).sign(tree(200))
    state.write_text("[")
    with pytest.raises(Malformed):
        signer(tmp_path).last()


def test_the_memory_of_another_log_is_refused(tmp_path: Path) -> None:
    signer(tmp_path).sign(tree(100))
    with pytest.raises(Malformed, match=r"not of other\.example"):
        signer(tmp_path, origin="other.example").sign(tree(200))


class Crashed(Exception):
    pass


def test_a_crash_anywhere_leaves_a_signer_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write in turn is the last one, cut in half."""
    writes = 0
    deadly = 0
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
    for deadly in range(1, 5):
        folder = tmp_path / str(deadly)
        writes = -100
        signer(folder).sign(tree(100))
        writes = 0
        with pytest.raises(Crashed):
            signer(folder).sign(tree(400))
        writes = -100
        assert opened(signer(folder).sign(tree(500))).size == 500
        sizes = [one.size for one in published(folder)]
        assert sizes in ([100, 500], [100, 400, 500])
        leaves = (folder / "published" / "leaves").read_bytes()
        assert leaves == b"".join(LEAVES[:500])


def test_lost_leaves_are_published_again_if_they_are_the_same(tmp_path: Path) -> None:
    signer(tmp_path).sign(tree(300))
    leaves = tmp_path / "published" / "leaves"
    leaves.unlink()
    with pytest.raises(Forked):
        signer(tmp_path).sign(tree(400, altered=7))
    assert not leaves.exists()
    signer(tmp_path).sign(tree(400))
    assert leaves.read_bytes() == b"".join(LEAVES[:400])


def test_signers_at_once_sign_one_history(tmp_path: Path) -> None:
    def sign(size: int) -> None:
        try:
            signer(tmp_path).sign(tree(size))
        except Forked:
            refused.append(size)

    refused: list[int] = []
    threads = [threading.Thread(target=sign, args=(100 * n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sizes = [one.size for one in published(tmp_path)]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == 800
    assert len(sizes) + len(refused) == 8
    for one in published(tmp_path):
        assert one.root == root_of(LEAVES[: one.size])
