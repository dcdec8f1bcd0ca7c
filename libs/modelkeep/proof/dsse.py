"""Signed envelopes (DSSE 1.0, Ed25519): a body, what kind it is, and who signed both.

    {"payload": "<base64>", "payloadType": "application/vnd.in-toto+json",
     "signatures": [{"keyid": "modelkeep-verdicts+1f0a9c3e", "sig": "<base64>"}]}

What is signed is `pae`: type and body with their lengths, so that nothing can be moved
from one to the other. The body is only ever read after its signature held. Two readers
must not read two things: base64 has one spelling, and no key of JSON comes twice.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, cast

from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.proof.note import SigningKey, VerifierKey, unbase64

MAX_ENVELOPE_BYTES: Final = 1 << 20
MAX_SIGNATURES: Final = 100
IN_TOTO: Final = "application/vnd.in-toto+json"
"""The type of a body that is an in-toto Statement."""


class Opened(NamedTuple):
    """A body that was signed, and who of the keys given signed it."""

    body: bytes
    signers: Sequence[VerifierKey]


def pae(kind: str, body: bytes) -> bytes:
    """Return what is signed.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    named = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(named), named, len(body), body)


def key_id(key: VerifierKey) -> str:
    """Return how an envelope names a key: a hint, which proves nothing."""
    return f"{key.name}+{key.id.hex()}"


def seal(kind: str, body: bytes, *keys: SigningKey) -> bytes:
    """Return an envelope of `body`, signed by each of `keys`, in one line of JSON."""
    signed = pae(kind, body)
    envelope = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": kind,
        "signatures": [
            {
                "keyid": key_id(key.verifier),
                "sig": base64.b64encode(key.sign(signed)).decode(),
            }
            for key in keys
        ],
    }
    return json.dumps(envelope, separators=(",", ":")).encode() + b"\n"


def open_sealed(
    raw: bytes,
    keys: Iterable[VerifierKey],
    kind: str,
    *,
    most: int = MAX_ENVELOPE_BYTES,
) -> Opened:
    """Return the body of an envelope of that kind. Safe on anything.

    Raises Malformed, and BadSignature when none of `keys` signed it, or one did badly.
    Signatures by other keys are passed over: others may have signed it too.
    """
    if len(raw) > most:
        raise Malformed(f"{len(raw)} bytes: {most} is the most")
    envelope = read_object(raw, "an envelope")
    body = unbase64(text(envelope, "payload"))
    said = text(envelope, "payloadType")
    if said != kind:
        raise Malformed(f"it holds {said!r}, not {kind}")
    signed, signers = pae(said, body), list[VerifierKey]()
    known = list(keys)
    for hint, signature in _signatures(envelope):
        for key in known:
            if hint not in {"", key_id(key)} or key in signers:
                continue
            if key.verifies(signed, signature):
                signers.append(key)
            elif hint:
                raise BadSignature(f"the signature by {hint} does not fit")
    if not signers:
        raise BadSignature("signed by none of the keys given")
    return Opened(body, signers)


def _signatures(envelope: Mapping[str, object]) -> list[tuple[str, bytes]]:
    found = envelope.get("signatures")
    if not isinstance(found, list) or not 0 < len(found) <= MAX_SIGNATURES:
        raise Malformed(f"an envelope has 1 to {MAX_SIGNATURES} signatures")
    listed: list[tuple[str, bytes]] = []
    for one in found:
        if not isinstance(one, dict):
            raise Malformed("a signature is an object")
        hint = one.get("keyid", "")
        if not isinstance(hint, str):
            raise Malformed("a keyid is text")
        listed.append((hint, unbase64(text(one, "sig"))))
    return listed


# --- JSON that has one reading -----------------------------------------------------


def is_utf8(text: str) -> bool:
    """False where it holds half a character, which JSON can spell: it has no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_object(raw: bytes, what: str) -> dict[str, object]:
    """Read an object; raises Malformed, too for a key that comes twice, for NaN and
    for half a character.
    """
    try:
        found = json.loads(
            raw.decode(), object_pairs_hook=_once, parse_constant=_no_number
        )
        if b"\\u" in raw:  # so half a character can be spelled, which is no text
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is JSON: {error}") from None
    if not isinstance(found, dict):
        raise Malformed(f"{what} is a JSON object")
    return cast("dict[str, object]", found)


def text(found: Mapping[str, object], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} is missing, or no text")
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number")
