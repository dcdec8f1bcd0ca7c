"""Signed notes against the published example, and against whatever anyone may send."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelkeep.proof import note
from modelkeep.proof.errors import BadSignature, Malformed, ProofError
from modelkeep.proof.note import SigningKey, VerifierKey

# The example of the Go checksum database's note package, which C2SP took over.
PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PRIVATE = (
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
)
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ"
    "SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

KEY = VerifierKey.parse(PUBLIC)
PETER = SigningKey.parse(PRIVATE)
OTHER = SigningKey("witness.example", bytes(32))


def test_the_published_note_is_signed_and_verified_to_the_letter() -> None:
    assert PETER.sign_note(TEXT) == NOTE
    assert note.verify(NOTE, [KEY]) == (TEXT, [KEY])


def test_keys_are_written_as_published() -> None:
    assert str(KEY) == PUBLIC
    assert str(PETER.verifier) == PUBLIC
    assert PETER.key_id == "c74f20a3"


def test_a_signature_by_someone_else_is_passed_over() -> None:
    both = NOTE + OTHER.sign_note(TEXT).rpartition(b"\n\n")[2]
    assert note.verify(both, [KEY]) == (TEXT, [KEY])
    assert note.verify(both, [OTHER.verifier]) == (TEXT, [OTHER.verifier])
    assert note.verify(both, [KEY, OTHER.verifier])[1] == [KEY, OTHER.verifier]


def test_a_note_signed_by_nobody_known_is_refused() -> None:
    with pytest.raises(BadSignature, match="none of the keys"):
        note.verify(NOTE, [OTHER.verifier])
    with pytest.raises(BadSignature):
        note.verify(NOTE, [])


def test_one_bad_signature_by_a_known_key_spoils_the_note() -> None:
    forged = NOTE.replace(b"your problem is", b"my problem is")
    good = OTHER.sign_note(forged.rpartition(b"\n\n")[0].decode() + "\n")
    both = forged + good.rpartition(b"\n\n")[2]
    assert note.verify(both, [OTHER.verifier])
    with pytest.raises(BadSignature, match="PeterNeumann does not fit"):
        note.verify(both, [OTHER.verifier, KEY])


def test_a_key_of_the_same_name_is_another_key() -> None:
    namesake = SigningKey("PeterNeumann", bytes(32))
    with pytest.raises(BadSignature):
        note.verify(namesake.sign_note(TEXT), [KEY])


def test_signing_the_same_twice_counts_once() -> None:
    twice = NOTE + NOTE.rpartition(b"\n\n")[2]
    assert note.verify(twice, [KEY]) == (TEXT, [KEY])


@given(at=st.integers(0, len(NOTE) - 1), bit=st.integers(0, 7))
def test_no_bit_of_a_note_can_be_turned(at: int, bit: int) -> None:
    turned = NOTE[:at] + bytes([NOTE[at] ^ (1 << bit)]) + NOTE[at + 1 :]
    with pytest.raises(ProofError):
        note.verify(turned, [KEY])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash\n",
        TEXT.encode(),
        NOTE[:-1],
        NOTE + b"\n",
        NOTE + b"more\n",
        NOTE.replace("—".encode(), b"-"),
        NOTE.replace(b" x08go", b"  x08go"),
        NOTE.replace(b" x08go", b"\tx08go"),
        NOTE.replace(b"PeterNeumann ", b" "),
        NOTE.replace(b"PeterNeumann ", b"Peter+Neumann "),
        NOTE.replace(b"nAM=\n", b"nAM\n"),
        NOTE.replace(b"nAM=\n", b"nAN=\n"),  # other spelling, same bytes
        NOTE.replace(b"nAM=\n", b"nAM= \n"),
        NOTE.replace(b"your problem,", b"your problem,\r"),
        NOTE.replace(b"your problem,", b"your problem,\0"),
        NOTE.replace(b"your problem,", b"your problem,\xff"),
        TEXT.encode() + "\n— PeterNeumann x08gow==\n".encode(),  # an id, no signature
        b"a" * (note.MAX_NOTE_BYTES + 1),
        TEXT.encode() + b"\n" + NOTE.rpartition(b"\n\n")[2] * (note.MAX_SIGNATURES + 1),
    ],
)
def test_what_is_no_note_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        note.parse(raw)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@example(NOTE)
def test_anything_is_parsed_or_refused(raw: bytes) -> None:
    try:
        parsed = note.parse(raw)
    except Malformed:
        return
    assert parsed.signatures
    assert raw.startswith(parsed.text.encode() + b"\n")


printable = st.characters(min_codepoint=32, exclude_categories=["Cs"])
texts = st.text(printable | st.just("\n"), max_size=200).map(lambda text: text + "\n")
names = st.text(printable, min_size=1, max_size=20).filter(
    lambda name: "+" not in name and not any(map(str.isspace, name))
)


@given(text=texts, name=names, seed=st.binary(min_size=32, max_size=32))
def test_what_was_signed_verifies(text: str, name: str, seed: bytes) -> None:
    key = SigningKey(name, seed)
    public = VerifierKey.parse(str(key.verifier))
    assert note.verify(key.sign_note(text), [public]) == (text, [public])


@pytest.mark.parametrize("text", ["", "no newline", "a\rb\n", "a\tb\n", "\0\n"])
def test_some_texts_cannot_be_signed(text: str) -> None:
    with pytest.raises(Malformed):
        PETER.sign_note(text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        PUBLIC.replace("c74f20a3", "c74f20a4"),
        PUBLIC.replace("c74f20a3", "C74F20A3"),
        PUBLIC.replace("c74f20a3", "c74f20"),
        PUBLIC.replace("Peter", "Pete r"),
        PUBLIC.replace("PeterNeumann", ""),
        PUBLIC.replace("ARpc", "AXpc"),
        PUBLIC[:-1],
        PUBLIC[:-4],
        PUBLIC.replace("+ARpc", "+AhpcAA=="),
    ],
)
def test_what_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(Malformed):
        VerifierKey.parse(line)
    with pytest.raises(Malformed):
        SigningKey.parse(line)


def test_a_point_off_the_curve_verifies_nothing() -> None:
    for public in (bytes(32), b"\xff" * 32, b"\x02" + bytes(31)):
        assert not VerifierKey("x", public).verifies(b"message", bytes(64))


def test_a_key_is_kept_to_its_owner(tmp_path: Path) -> None:
    key = SigningKey.generate("bank.example/ledger")
    path = tmp_path / "key"
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path) == key
    assert base64.b64encode(key.seed).decode() not in repr(key)
    assert repr(key.seed) not in repr(key)
    with pytest.raises(FileExistsError):
        SigningKey.generate("another").save(path)
    path.chmod(0o640)
    with pytest.raises(Malformed, match="open to others"):
        SigningKey.load(path)


def test_two_generated_keys_are_two() -> None:
    assert SigningKey.generate("a") != SigningKey.generate("a")
    with pytest.raises(Malformed):
        SigningKey.generate("with space")
