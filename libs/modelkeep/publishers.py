"""OpenSSF model signatures, by a publisher's elliptic-curve key: who made which files.

What `model_signing sign key` writes: a Sigstore bundle around a DSSE envelope around an
in-toto statement that lists each file with its digest. Only the list is read here: that
a file has its digest is checked where the file is. A signature that was made without a
key of the publisher's own (by certificate, or keyless by Sigstore) is refused by name:
to judge one needs roots of trust that are not here.

https://github.com/ossf/model-signing-spec
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from modelkeep.proof.dsse import IN_TOTO, pae, read_object, text
from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.proof.note import unbase64

MAX_SIGNATURE_BYTES: Final = 1 << 20
MAX_FILES: Final = 10_000
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://model_signing/signature/v1.0"
BUNDLE: Final = re.compile(
    r"application/vnd\.dev\.sigstore\.bundle(\.v0\.3\+json|\+json;version=0\.[123])"
)
SHA256: Final = re.compile(r"[0-9a-f]{64}")
HASHES: Final[Mapping[int, hashes.HashAlgorithm]] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    521: hashes.SHA512(),
}
"""What goes with a curve of so many bits."""


class Publisher(NamedTuple):
    """Somebody whose signature counts. `fingerprint` is the SHA-256 of the PEM file,
    which is how a signature hints at its key.
    """

    name: str
    fingerprint: str
    key: ec.EllipticCurvePublicKey


class SignedFile(NamedTuple):
    """`digest` is `sha256:` and 64 hexadecimal digits."""

    name: str
    digest: str


class SignedModel(NamedTuple):
    publisher: Publisher
    name: str
    files: tuple[SignedFile, ...]

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(one.digest for one in self.files)


def read_publisher(name: str, pem: bytes) -> Publisher:
    """Raises Malformed for what is no public key on P-256, P-384 or P-521."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise Malformed(f"the key of {name} is not a public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size not in HASHES:
        raise Malformed(f"the key of {name} is not on P-256, P-384 or P-521")
    return Publisher(name, hashlib.sha256(pem).hexdigest(), key)


def verify(raw: bytes, publishers: Iterable[Publisher]) -> SignedModel:
    """Return what one of `publishers` signed. Safe on anything.

    Raises Malformed, and BadSignature where none of them signed it.
    """
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise Malformed(f"{len(raw)} bytes: {MAX_SIGNATURE_BYTES} is the most")
    bundle = read_object(raw, "a model signature")
    if not BUNDLE.fullmatch(text(bundle, "mediaType")):
        raise Malformed("it is no Sigstore bundle of a version that is read here")
    material = _object(bundle, "verificationMaterial")
    if "publicKey" not in material:
        raise Malformed("it was not signed by a key: certificates are not judged here")
    envelope = _object(bundle, "dsseEnvelope")
    if text(envelope, "payloadType") != IN_TOTO:
        raise Malformed(f"it holds no {IN_TOTO}")
    body = unbase64(text(envelope, "payload"))
    publisher = _signer(pae(IN_TOTO, body), _signature(envelope), publishers)
    return _statement(body, publisher)


def _signature(envelope: Mapping[str, object]) -> bytes:
    found = envelope.get("signatures")
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
        raise Malformed("a model signature has one signature")
    return unbase64(text(found[0], "sig"))


def _signer(
    signed: bytes, signature: bytes, publishers: Iterable[Publisher]
) -> Publisher:
    for one in publishers:
        try:
            one.key.verify(signature, signed, ec.ECDSA(HASHES[one.key.key_size]))
        except InvalidSignature:
            continue
        return one
    raise BadSignature("signed by no publisher that is trusted here")


def _statement(body: bytes, publisher: Publisher) -> SignedModel:
    said = read_object(body, "a statement")
    if text(said, "_type") != STATEMENT or text(said, "predicateType") != PREDICATE:
        raise Malformed("it does not speak of a model's files")
    subject = said.get("subject")
    if not isinstance(subject, list) or len(subject) != 1:
        raise Malformed("it speaks of one model")
    about = _as_object(subject[0], "its subject")
    files = _files(_object(said, "predicate").get("resources"))
    # The subject's digest is over the files': a list that was cut is not the one meant.
    whole = hashlib.sha256(b"".join(bytes.fromhex(one.digest[7:]) for one in files))
    if text(_object(about, "digest"), "sha256") != whole.hexdigest():
        raise Malformed("its files do not add up to its digest")
    return SignedModel(publisher, text(about, "name"), files)


def _files(listed: object) -> tuple[SignedFile, ...]:
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_FILES:
        raise Malformed(f"it lists 1 to {MAX_FILES} files")
    files = tuple(_file(_as_object(one, "a file")) for one in listed)
    if len({one.name for one in files}) != len(files):
        raise Malformed("it lists a file twice")
    return files


def _file(one: Mapping[str, object]) -> SignedFile:
    if text(one, "algorithm") != "sha256":
        raise Malformed("its files are not listed by SHA-256")
    digest = text(one, "digest")
    if not SHA256.fullmatch(digest):
        raise Malformed("a file's digest is 64 hexadecimal digits")
    return SignedFile(text(one, "name"), f"sha256:{digest}")


def _object(found: Mapping[str, object], name: str) -> Mapping[str, object]:
    return _as_object(found.get(name), name)


def _as_object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Malformed(f"{what} is missing, or no object")
    return value
