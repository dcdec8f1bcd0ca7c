"""Cosignatures, policies and what a witness is sent are what C2SP says."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.proof.checkpoint import open_signed
from modelkeep.proof.cosignature import LATEST, WitnessKey, cosign, cosignatures
from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.proof.note import SigningKey, VerifierKey, parse
from modelkeep.proof.policy import Policy
from modelkeep.proof.submission import Submission, seen_size

LOG = SigningKey("bank.example/ledger", bytes(range(32)))
KEY = SigningKey("witness.example/w1", bytes(range(1, 33)))
WITNESS = WitnessKey.of(KEY)
TEXT = "bank.example/ledger\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
NOTE = LOG.sign_note(TEXT)

# Of the specification: a log's and two witnesses' lines, by keys we do not hold.
PUBLISHED = (
    "example.com/behind-the-sofa\n20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\N{EM DASH} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRD"
    "eOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\N{EM DASH} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeol"
    "MI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


def cosigned(time: int = 1679315147, key: SigningKey = KEY) -> bytes:
    return NOTE + cosign(key, TEXT, time).encode()


def test_a_cosignature_is_read_with_its_time() -> None:
    assert cosignatures(cosigned(), [WITNESS]) == [(WITNESS, 1679315147)]
    assert cosignatures(cosigned(), []) == []
    assert cosignatures(NOTE, [WITNESS]) == []


def test_what_is_signed_is_what_the_specification_says() -> None:
    *_, last = parse(cosigned()).signatures
    message = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
    assert last.key_id == WITNESS.id
    assert last.signature[:8] == (1679315147).to_bytes(8, "big")
    assert VerifierKey(KEY.name, WITNESS.public).verifies(message, last.signature[8:])


def test_the_published_example_has_the_published_time() -> None:
    *_, last = parse(PUBLISHED).signatures
    assert int.from_bytes(last.signature[:8], "big") == 1679315147
    assert len(last.signature) == 72


def test_the_log_still_signs_a_note_that_witnesses_signed() -> None:
    signed, signers = open_signed(cosigned(), [LOG.verifier])
    assert signed.size == 20852163
    assert signers == [LOG.verifier]


@given(st.integers(0, LATEST), st.integers(min_value=0, max_value=71))
def test_any_change_spoils_a_cosignature(time: int, at: int) -> None:
    *_, last = parse(cosigned(time)).signatures
    spoilt = bytearray(last.signature)
    spoilt[at] ^= 1
    assert not WITNESS.verifies(
        TEXT, int.from_bytes(spoilt[:8], "big"), bytes(spoilt[8:])
    )


def test_a_cosignature_that_does_not_fit_is_not_passed_over() -> None:
    other = NOTE + cosign(KEY, TEXT.replace("20852163", "20852164"), 5).encode()
    with pytest.raises(BadSignature):
        cosignatures(other, [WITNESS])


@pytest.mark.parametrize("time", [-1, LATEST + 1])
def test_a_time_that_cannot_be_is_not_signed(time: int) -> None:
    with pytest.raises(Malformed):
        cosign(KEY, TEXT, time)


def test_a_plain_signature_is_no_cosignature() -> None:
    """The same key, signing as a log does, has another id and another message."""
    plain = NOTE + KEY.sign_note(TEXT).rpartition(b"\n\n")[2]
    assert cosignatures(plain, [WITNESS]) == []


def test_a_witness_key_reads_as_it_is_written() -> None:
    assert WitnessKey.parse(str(WITNESS)) == WITNESS
    assert str(WITNESS).startswith("witness.example/w1+")
    with pytest.raises(Malformed, match="not an Ed25519"):
        WitnessKey.parse(str(KEY.verifier))
    with pytest.raises(Malformed, match="another id"):
        WitnessKey.parse(str(WITNESS).replace("w1+", "w2+"))


# --- what a witness is sent ---------------------------------------------------------


@given(st.integers(0, 1 << 60), st.lists(st.binary(min_size=32, max_size=32)))
def test_any_submission_reads_as_it_is_written(old: int, proof: list[bytes]) -> None:
    sent = Submission(old, proof[:63], NOTE)
    assert Submission.parse(sent.encode()) == sent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 5\n" + NOTE,
        b"old 05\n\n" + NOTE,
        b"old -5\n\n" + NOTE,
        b"Old 5\n\n" + NOTE,
        b"old 5\nAAAA\n\n" + NOTE,
        b"old 5\n\xff\n\n" + NOTE,
        b"old 5\n" + b"A" * 44 + b"\n\n" + NOTE,
        b"old 5\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + NOTE,
        b"old 5\n\n" + b"x" * (1 << 16),
    ],
)
def test_what_is_no_submission_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        Submission.parse(body)


@given(st.binary(max_size=300))
def test_anything_is_a_submission_or_refused(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert Submission.parse(body).encode() == body


def test_the_size_seen_is_read() -> None:
    assert seen_size(b"20852014\n") == 20852014
    for wrong in (b"", b"5", b"05\n", b"-5\n", b"5\n5\n"):
        with pytest.raises(Malformed):
            seen_size(wrong)


# --- policies -----------------------------------------------------------------------

KEYS = {
    name: WitnessKey.of(SigningKey(f"{name}.example", bytes([n]) * 32))
    for n, name in enumerate(("X1", "X2", "X3", "Y1", "Y2", "Y3"))
}
WITNESSES = "".join(
    f"witness {name} {key} https://{name}.example\n" for name, key in KEYS.items()
)
POLICY = f"""
# two organisations
log {LOG.verifier}
{WITNESSES}
group X-witnesses 2 X1 X2 X3
group Y-witnesses any Y1 Y2 Y3
\tgroup  X-and-Y  all X-witnesses Y-witnesses
quorum X-and-Y
"""


@pytest.mark.parametrize(
    ("who", "met"),
    [
        ("X1 X2 Y3", True),
        ("X1 X2 X3 Y1 Y2 Y3", True),
        ("X1 X2 X3", False),
        ("X1 Y1", False),
        ("", False),
    ],
)
def test_a_quorum_is_met_or_not(who: str, met: bool) -> None:  # noqa: FBT001
    policy = Policy.parse(POLICY)
    assert policy.met([KEYS[name] for name in who.split()]) is met
    assert policy.logs == (LOG.verifier,)
    assert policy.witnesses[0].url == "https://X1.example"


def test_no_quorum_is_met_by_nobody() -> None:
    policy = Policy.parse("quorum none\n")
    assert policy.met([])
    assert policy.witnesses == ()


A, B = KEYS["X1"], KEYS["X2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has a quorum"),
        (f"witness a {A}\n", "has a quorum"),
        ("quorum a\n", "line 1: 'a' was not named"),
        (f"group g any a\nwitness a {A}\nquorum g\n", "line 1: 'a' was not named"),
        (f"witness a {A}\nwitness a {B}\nquorum a\n", "line 2: 'a' is named already"),
        (f"witness none {A}\nquorum none\n", "'none' is named"),
        (f"witness a {A}\nwitness b {A}\nquorum a\n", "line 2: the key of witness b"),
        (f"witness a {A}\ngroup g 2 a\nquorum g\n", "2 of 1"),
        (f"witness a {A}\ngroup g 0 a\nquorum g\n", "0 of 1"),
        (f"witness a {A}\ngroup g x a\nquorum g\n", "'x' of 1"),
        (f"witness a {A}\ngroup g all\nquorum g\n", "no line of a policy"),
        (f"witness a {A}\ngroup g all a a\nquorum g\n", "a is a member twice"),
        (f"witness a {A}\nquorum a\nquorum a\n", "line 3: 'quorum a'"),
        (f"witness a {LOG.verifier}\nquorum a\n", "not an Ed25519"),
        ("quorum none\r\n", "line 1: a control character"),
        ("quorum", "'quorum' is no line"),
    ],
)
def test_a_policy_that_says_nothing_clear_is_refused(text: str, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        Policy.parse(text)
