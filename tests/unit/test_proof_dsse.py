"""Envelopes: one body, one kind, one reading, and nothing moved between them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from modelkeep.proof import dsse
from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.proof.note import SigningKey

KEY = SigningKey.generate("modelkeep-verdicts")
OTHER = SigningKey.generate("somebody")
BODY = b'{"hello":"w\xc3\xb6rld"}'
SEALED = dsse.seal(dsse.IN_TOTO, BODY, KEY)


def changed(**parts: Any) -> bytes:
    return json.dumps(json.loads(SEALED) | parts).encode()


def signature(**parts: Any) -> bytes:
    envelope = json.loads(SEALED)
    return changed(signatures=[envelope["signatures"][0] | parts])


def opened(raw: bytes, *keys: SigningKey) -> dsse.Opened:
    known = [key.verifier for key in keys or (KEY,)]
    return dsse.open_sealed(raw, known, dsse.IN_TOTO)


def test_what_was_sealed_is_opened_with_who_sealed_it() -> None:
    assert opened(SEALED) == (BODY, [KEY.verifier])


def test_what_is_signed_is_as_the_specification_spells_it() -> None:
    # The one vector of https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    said = dsse.pae("http://example.com/HelloWorld", b"hello world")
    assert said == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    # Lengths count bytes, not characters.
    assert dsse.pae("ö", "ä".encode()) == b"DSSEv1 2 \xc3\xb6 2 \xc3\xa4"


def test_two_may_sign_and_one_who_is_known_is_enough() -> None:
    both = dsse.seal(dsse.IN_TOTO, BODY, KEY, OTHER)
    assert opened(both, KEY, OTHER).signers == [KEY.verifier, OTHER.verifier]
    assert opened(both).signers == [KEY.verifier]


def test_a_signature_without_a_hint_is_tried_with_every_key() -> None:
    assert opened(signature(keyid=""), OTHER, KEY).signers == [KEY.verifier]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (changed(payload=base64.b64encode(BODY + b" ").decode()), BadSignature),
        (signature(sig=base64.b64encode(bytes(64)).decode()), BadSignature),
        (signature(sig=base64.b64encode(b"short").decode()), BadSignature),
        (signature(keyid=dsse.key_id(OTHER.verifier)), BadSignature),
        (dsse.seal(dsse.IN_TOTO, BODY, OTHER), BadSignature),
        (changed(payloadType="application/json"), Malformed),
        (dsse.seal("application/json", BODY, KEY), Malformed),
        (changed(payload=json.loads(SEALED)["payload"] + "\n"), Malformed),
        (changed(payload=json.loads(SEALED)["payload"].rstrip("=") + "A"), Malformed),
        (changed(payload=7), Malformed),
        (changed(signatures=[]), Malformed),
        (changed(signatures=[{}] * 101), Malformed),
        (changed(signatures="no"), Malformed),
        (signature(keyid=7), Malformed),
        (SEALED[:-2] + b',"payload":"AA=="}', Malformed),
        (SEALED.replace(b'"sig":', b'"sig":"AA==","sig":'), Malformed),
        (SEALED + b" " * dsse.MAX_ENVELOPE_BYTES, Malformed),
        (b"[" * 100_000, Malformed),
        (b'{"payload": NaN}', Malformed),
        (b"\xff", Malformed),
        (b"[]", Malformed),
        (b"", Malformed),
    ],
)
def test_whatever_else_it_is_is_refused(raw: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        opened(raw)


def test_one_bad_signature_by_a_known_key_spoils_it() -> None:
    envelope = json.loads(dsse.seal(dsse.IN_TOTO, BODY, KEY, OTHER))
    envelope["signatures"][1]["sig"] = base64.b64encode(bytes(64)).decode()
    with pytest.raises(BadSignature, match="somebody"):
        opened(json.dumps(envelope).encode(), KEY, OTHER)
    # Who knows nothing of the other takes no notice.
    assert opened(json.dumps(envelope).encode()).signers == [KEY.verifier]


def test_base64_has_one_spelling() -> None:
    odd = dsse.seal(dsse.IN_TOTO, BODY + b".", KEY)
    assert b'==","payloadType' in odd
    # The bits under the padding are not looked at by most decoders.
    letter = odd.index(b'==","payloadType') - 1
    twin = bytes([odd[letter] + 1])
    with pytest.raises(Malformed, match="spelling"):
        opened(odd[:letter] + twin + odd[letter + 1 :])


def test_another_implementation_reads_ours_and_we_read_its() -> None:
    peer = pytest.importorskip("securesystemslib.dsse")
    signer = pytest.importorskip("securesystemslib.signer")
    theirs = peer.Envelope.from_dict(json.loads(SEALED))
    assert theirs.pae() == dsse.pae(dsse.IN_TOTO, BODY)
    name = dsse.key_id(KEY.verifier)
    said = {"public": KEY.verifier.public.hex()}
    key = signer.SSlibKey(name, "ed25519", "ed25519", said)
    assert set(theirs.verify([key], threshold=1)) == {name}
    again = json.dumps(theirs.to_dict()).encode()
    assert opened(again) == (BODY, [KEY.verifier])
