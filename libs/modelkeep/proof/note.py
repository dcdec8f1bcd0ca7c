"""Signed notes (C2SP signed-note 1.0, Ed25519): a text, a blank line, signature lines.

    bank.example/ledger
    1024
    4xYmN9Yc…=

    — bank.example/ledger x08go/ZJkuBS…=

A signature line holds the key's name and, in base64, four bytes of key id before the
signature. Lines by keys one does not know are ignored: witnesses add theirs. A line by
a known key that does not verify spoils the note.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from modelkeep.proof import durable
from modelkeep.proof.errors import BadSignature, Malformed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

MAX_NOTE_BYTES: Final = 1 << 20
MAX_SIGNATURES: Final = 100

ED25519: Final = b"\1"
"""Says of a key that it signs texts as they stand."""

_ID_BYTES: Final = 4
_KEY_BYTES: Final = 32
_MARK: Final = "\N{EM DASH} "
_KEY_ID: Final = re.compile("[0-9a-f]{8}")
_PRIVATE: Final = "PRIVATE+KEY+"


class Signature(NamedTuple):
    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A parsed note. That it parsed says nothing of its signatures."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True)
class VerifierKey:
    """A public key and the name it signs under; `str` gives its C2SP line."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read `name+hexid+base64`; raises Malformed."""
        name, key_id, public = key_parts(line.strip(), "public key")
        key = cls(name, public)
        if key.id != key_id:
            raise Malformed(f"public key {name!r} has another id than it says")
        return key

    @cached_property
    def id(self) -> bytes:
        return key_id_of(self.name, self.public)

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        # Imported here: parsing and Merkle proofs must work without the package.
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

        return ed25519.Ed25519PublicKey.from_public_bytes(self.public)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415, as above

        try:
            self._key.verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def __str__(self) -> str:
        material = base64.b64encode(ED25519 + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{material}"


@dataclass(frozen=True)
class SigningKey:
    """A private key. Not shown by `repr`; stored in a file only its owner reads."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Self:
        _check_name(name)
        return cls(name, os.urandom(_KEY_BYTES))

    @classmethod
    def parse(cls, line: str) -> Self:
        line = line.strip()
        if not line.startswith(_PRIVATE):
            raise Malformed("this is no private key")
        name, key_id, seed = key_parts(line.removeprefix(_PRIVATE), "private key")
        key = cls(name, seed)
        if key.verifier.id != key_id:
            raise Malformed(f"private key {name!r} has another id than it says")
        return key

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key `save`d; raises Malformed, also when others may read the file."""
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Malformed(
                f"{path} is open to others: chmod 600 it, or make a new key"
            )
        return cls.parse(path.read_text())

    def save(self, path: Path) -> None:
        """Write the key to a new file; raises FileExistsError, never replaces."""
        material = base64.b64encode(ED25519 + self.seed).decode()
        line = f"{_PRIVATE}{self.name}+{self.key_id}+{material}\n"
        durable.create(path, line.encode(), mode=0o600)

    @cached_property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self._key.public_key().public_bytes_raw())

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        # Imported here: parsing and Merkle proofs must work without the package.
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

        return ed25519.Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def key_id(self) -> str:
        return self.verifier.id.hex()

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of Ed25519 over `message`."""
        return self._key.sign(message)

    def sign_note(self, text: str) -> bytes:
        """Return a note of `text`, which must end a line."""
        _check_text(text)
        line = signature_line(self.name, self.verifier.id, self.sign(text.encode()))
        return f"{text}\n{line}".encode()


def parse(raw: bytes) -> Note:
    """Take a note apart; raises Malformed. Safe on anything."""
    if len(raw) > MAX_NOTE_BYTES:
        raise Malformed(f"a note of {len(raw)} bytes: {MAX_NOTE_BYTES} is the most")
    try:
        content = raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a note is UTF-8") from error
    text, blank, lines = content.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Malformed("a note has a text, a blank line and lines of signatures")
    _check_text(text + "\n")
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise Malformed(f"{len(signatures)} signatures: {MAX_SIGNATURES} is the most")
    return Note(text + "\n", tuple(map(_signature, signatures)))


def verify(raw: bytes, keys: Iterable[VerifierKey]) -> tuple[str, list[VerifierKey]]:
    """Return the text and who of `keys` signed it.

    Raises Malformed, and BadSignature when none did or when one did badly.
    """
    note = parse(raw)
    known = {(key.name, key.id): key for key in keys}
    message = note.text.encode()
    signers: list[VerifierKey] = []
    for name, key_id, signature in note.signatures:
        key = known.get((name, key_id))
        if key is None or key in signers:
            continue
        if not key.verifies(message, signature):
            raise BadSignature(f"the signature by {name} does not fit the text")
        signers.append(key)
    if not signers:
        raise BadSignature("signed by none of the keys given")
    return note.text, signers


def signature_line(name: str, key_id: bytes, signature: bytes) -> str:
    """Return the line that a note ends with, newline included."""
    return f"{_MARK}{name} {base64.b64encode(key_id + signature).decode()}\n"


def key_id_of(name: str, public: bytes, algorithm: bytes = ED25519) -> bytes:
    """Return the four bytes that tell a key from its namesakes."""
    return sha256(name.encode() + b"\n" + algorithm + public).digest()[:_ID_BYTES]


def _signature(line: str) -> Signature:
    name, space, content = line.removeprefix(_MARK).partition(" ")
    if not line.startswith(_MARK) or not space:
        raise Malformed("a signature line is a dash, a name and base64")
    _check_name(name)
    signed = unbase64(content)
    if len(signed) <= _ID_BYTES:
        raise Malformed(f"the signature by {name} is empty")
    return Signature(name, signed[:_ID_BYTES], signed[_ID_BYTES:])


def unbase64(content: str) -> bytes:
    """Decode the one spelling that encoding gives; raises Malformed on any other."""
    try:
        raw = base64.b64decode(content, validate=True)
    except ValueError as error:
        raise Malformed("this is not base64") from error
    if base64.b64encode(raw).decode() != content:
        raise Malformed("this is base64 with another spelling")
    return raw


def key_parts(
    line: str, kind: str, algorithm: bytes = ED25519
) -> tuple[str, bytes, bytes]:
    """Cut `name+hexid+base64` into name, id and key; raises Malformed, naming `kind`.

    What the id must be is left to the caller.
    """
    # base64 may hold a plus itself
    name, _, rest = line.partition("+")
    key_id, _, material = rest.partition("+")
    _check_name(name)
    raw = unbase64(material)
    if len(raw) != 1 + _KEY_BYTES or raw[:1] != algorithm:
        raise Malformed(f"{kind} {name!r} is not an Ed25519 one")
    if not _KEY_ID.fullmatch(key_id):
        raise Malformed(f"{kind} {name!r} has an id that is not 8 hex digits")
    return name, bytes.fromhex(key_id), raw[1:]


def _check_name(name: str) -> None:
    if not name or "+" in name or any(map(_unnamable, name)):
        raise Malformed(f"{name!r} cannot name a key: no spaces, no plus")


def _unnamable(character: str) -> bool:
    surrogate = "\ud800" <= character <= "\udfff"  # bytes of a command line, undecoded
    return surrogate or character.isspace()


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise Malformed("a note's text ends with a newline")
    if any(character < " " and character != "\n" for character in text):
        raise Malformed("a note's text has no control characters")
