"""Model signatures: what the reference tool wrote is read, and nothing else is."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.signed_models import (
    FILES,
    KEY,
    SIGNATURE,
    public,
    signed,
    statement,
)

from modelkeep.proof.errors import BadSignature, Malformed, ProofError
from modelkeep.publishers import (
    MAX_FILES,
    Publisher,
    read_publisher,
    verify,
)

ACME = read_publisher("acme", KEY)


def test_what_the_reference_tool_signed_is_read() -> None:
    found = verify(SIGNATURE, [ACME])
    assert found.publisher.name == "acme"
    assert {one.name: one.digest for one in found.files} == {
        name: f"sha256:{sha256(content).hexdigest()}" for name, content in FILES.items()
    }


def test_the_hint_in_a_signature_is_the_fingerprint_of_the_key() -> None:
    hint = json.loads(SIGNATURE)["verificationMaterial"]["publicKey"]["hint"]
    assert ACME.fingerprint == hint


@given(st.integers(0, len(SIGNATURE) - 1), st.integers(1, 255))
def test_no_byte_of_a_signature_can_be_another(place: int, flip: int) -> None:
    raw = bytearray(SIGNATURE)
    raw[place] ^= flip
    try:
        found = verify(bytes(raw), [ACME])
    except ProofError:
        return
    # What is not read may be anything; what is, is what was signed.
    assert found == verify(SIGNATURE, [ACME])


def test_nobody_who_is_not_trusted_signs() -> None:
    other = _publisher(ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(BadSignature, match="no publisher that is trusted"):
        verify(SIGNATURE, [other])
    with pytest.raises(BadSignature):
        verify(SIGNATURE, [])
    assert verify(SIGNATURE, [other, ACME]).publisher == ACME


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_each_curve_goes_with_its_own_hash(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    assert len(verify(signed(key, statement()), [_publisher(key)]).files) == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "a model's files"),
        ({"subject": []}, "one model"),
        ({"subject": [{"name": "m", "digest": {"sha256": "0" * 64}}]}, "add up"),
        ({"predicate": {"resources": []}}, "files"),
        ({"predicate": {"resources": [{}] * (MAX_FILES + 1)}}, "files"),
        ({"predicate": {"resources": ["a.onnx"]}}, "no object"),
        ({"predicate": {}}, "files"),
    ],
)
def test_what_was_signed_must_be_a_list_of_a_models_files(
    change: dict[str, Any], why: str
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Malformed, match=why):
        verify(signed(key, statement() | change), [_publisher(key)])


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("algorithm", "blake2b", "SHA-256"),
        ("digest", "ABC", "64"),
        ("digest", "../../etc/passwd", "64"),
        ("name", "tok.json", "twice"),
        ("name", 7, "text"),
    ],
)
def test_a_file_must_be_named_once_with_its_digest(
    name: str, value: object, why: str
) -> None:
    key, said = ec.generate_private_key(ec.SECP256R1()), statement()
    said["predicate"]["resources"][0][name] = value
    with pytest.raises(Malformed, match=why):
        verify(signed(key, said), [_publisher(key)])


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "JSON"),
        (b"[]", "object"),
        (b'{"mediaType":"text/plain"}', "Sigstore"),
        (b"x" * (2 << 20), "the most"),
        (SIGNATURE.replace(b'"publicKey"', b'"certificate"'), "certificates"),
        (SIGNATURE.replace(b"vnd.in-toto+json", b"json"), "in-toto"),
    ],
)
def test_what_is_no_signature_by_a_key_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        verify(raw, [ACME])


def test_only_elliptic_curves_that_the_standard_names_are_keys() -> None:
    weak = rsa.generate_private_key(65_537, 2_048).public_key()
    pem = weak.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (pem, b"", b"-----BEGIN PUBLIC KEY-----\nAA==\n"):
        with pytest.raises(Malformed, match="acme"):
            read_publisher("acme", wrong)


def _publisher(key: ec.EllipticCurvePrivateKey) -> Publisher:
    return read_publisher("other", public(key))
