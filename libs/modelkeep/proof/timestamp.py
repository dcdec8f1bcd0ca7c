"""RFC 3161: a time-stamping authority's word that a checkpoint was there at a time.

What it signs is the digest of the whole signed note. Beside the checkpoints, in the
folder `timestamps`, `<size>-<id>.note` is what was stamped and `.tsr` the answer as it
came. Needs the extra `timestamp` (`rfc3161-client`): without it nothing is asked, and a
verification says that it could not look.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.proof.note import MAX_NOTE_BYTES

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

FOLDER: Final = "timestamps"
NOTE: Final = ".note"
ANSWER: Final = ".tsr"
MAX_ANSWER_BYTES: Final = 1 << 18
MAX_ROOTS_BYTES: Final = 1 << 20


class Question(NamedTuple):
    """`body` is sent; `nonce` must come back."""

    body: bytes
    nonce: int | None


class Stamp(NamedTuple):
    """A note and what an authority answered of it: nothing of it was checked."""

    raw: bytes
    answer: bytes


def possible() -> bool:
    """Say whether the package is there."""
    return find_spec("rfc3161_client") is not None


def question(raw: bytes) -> Question:
    """Return what to ask an authority about a note."""
    # Imported here, as everywhere in this file: an extra.
    from rfc3161_client import (  # noqa: PLC0415
        HashAlgorithm,
        TimestampRequestBuilder,
    )

    asked = (
        TimestampRequestBuilder()
        .data(raw)
        .hash_algorithm(HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)
        .build()
    )
    return Question(asked.as_bytes(), asked.nonce)


def stamped_at(
    stamp: Stamp, vouching: list[Certificate], *, nonce: int | None = None
) -> datetime:
    """Return when the authority says the note was there, in UTC.

    `vouching` are certificates, those signed by themselves being the ones to end at.
    Raises Malformed, and BadSignature when it is of another note, another question or
    signed by somebody these do not vouch for.
    """
    from rfc3161_client import (  # noqa: PLC0415, an extra
        VerifierBuilder,
        decode_timestamp_response,
    )
    from rfc3161_client.errors import VerificationError  # noqa: PLC0415, an extra

    try:
        answer = decode_timestamp_response(stamp.answer)
    except ValueError as error:
        raise Malformed(f"this is no answer of RFC 3161: {error}") from None
    builder = VerifierBuilder()
    for one in vouching:
        if one.issuer == one.subject:
            builder = builder.add_root_certificate(one)
        else:
            builder = builder.add_intermediate_certificate(one)
    if nonce is not None:
        builder = builder.nonce(nonce)
    try:
        builder.build().verify_message(answer, stamp.raw)
        told: datetime = answer.tst_info.gen_time
    except (VerificationError, ValueError) as error:
        raise BadSignature(f"the time stamp does not hold: {error}") from None
    return told.astimezone(UTC)


def certificates(path: Path) -> list[Certificate]:
    """Read a PEM file; raises Malformed, OSError."""
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415, signatures

    with path.open("rb") as file:
        pem = file.read(MAX_ROOTS_BYTES)
    try:
        found = list(dict.fromkeys(load_pem_x509_certificates(pem)))
    except ValueError as error:
        raise Malformed(f"{path} holds no certificate: {error}") from None
    if not any(one.issuer == one.subject for one in found):
        raise Malformed(f"{path} holds no certificate that is signed by itself")
    return found


def named(size: int, raw: bytes) -> str:
    """Return what the two files of a stamped note are called, without their ends."""
    return f"{size:020}-{sha256(raw).hexdigest()[:16]}"


def kept(folder: Path) -> Iterator[Stamp]:
    """Yield the stamps beside published checkpoints, the longest history first."""
    place = folder / FOLDER
    if not place.is_dir():
        return
    for path in sorted(place.glob(f"*{ANSWER}"), reverse=True):
        note = path.with_suffix(NOTE)
        if note.is_file():
            yield Stamp(_start(note, MAX_NOTE_BYTES), _start(path, MAX_ANSWER_BYTES))


def _start(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)
