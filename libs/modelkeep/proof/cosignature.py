"""Cosignatures (C2SP tlog-cosignature, Ed25519): a witness's word for a checkpoint.

    cosignature/v1
    time 1679315147
    bank.example/ledger
    1024
    4xYmN9Yc…=

is what a witness signs: two lines, then the checkpoint's text. It says that at that
time this was the longest history the witness had seen of this log, and that it
continues every one it had seen before. In the note its line holds, after the key's id,
eight bytes of the time (big-endian, seconds since 1970) and the 64 of the signature.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

from modelkeep.proof import note
from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.proof.note import SigningKey, VerifierKey

_COSIGNATURE: Final = b"\4"
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
LATEST: Final = (1 << 63) - 1
"""No cosignature says a later second than this."""


@dataclass(frozen=True)
class WitnessKey:
    """A witness's public key and name; `str` gives its C2SP line."""

    name: str
    public: bytes

    @classmethod
    def of(cls, key: SigningKey) -> Self:
        """Return the public half of a key that a witness holds."""
        return cls(key.name, key.verifier.public)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read `name+hexid+base64`; raises Malformed."""
        name, key_id, public = note.key_parts(line.strip(), "witness key", _COSIGNATURE)
        key = cls(name, public)
        if key.id != key_id:
            raise Malformed(f"witness key {name!r} has another id than it says")
        return key

    @cached_property
    def id(self) -> bytes:
        return note.key_id_of(self.name, self.public, _COSIGNATURE)

    @cached_property
    def _verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.public)

    def verifies(self, text: str, time: int, signature: bytes) -> bool:
        return self._verifier.verifies(_message(text, time), signature)

    def __str__(self) -> str:
        material = base64.b64encode(_COSIGNATURE + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{material}"


class Cosigned(NamedTuple):
    """Who vouches for a checkpoint, and since when: seconds since 1970."""

    key: WitnessKey
    time: int


def cosign(key: SigningKey, text: str, time: int) -> str:
    """Return the signature line of a witness, newline included.

    `text` is a checkpoint's, `time` in seconds since 1970; raises Malformed when it is
    none that can be written.
    """
    if not 0 <= time <= LATEST:
        raise Malformed(f"{time} is no time of a cosignature")
    signed = time.to_bytes(_TIME_BYTES, "big") + key.sign(_message(text, time))
    return note.signature_line(key.name, WitnessKey.of(key).id, signed)


def cosignatures(raw: bytes, keys: Iterable[WitnessKey]) -> list[Cosigned]:
    """Return who of `keys` cosigned a note, and when they say they did.

    Lines by others are passed over. Raises Malformed, and BadSignature when a line by
    one of `keys` does not fit.
    """
    text, signatures = note.parse(raw)
    known = {(key.name, key.id): key for key in keys}
    found: dict[WitnessKey, int] = {}
    for name, key_id, signed in signatures:
        key = known.get((name, key_id))
        if key is None or key in found:
            continue
        time, signature = _taken_apart(signed)
        if not key.verifies(text, time, signature):
            raise BadSignature(f"the cosignature by {name} does not fit the text")
        found[key] = time
    return [Cosigned(*one) for one in found.items()]


def _taken_apart(signed: bytes) -> tuple[int, bytes]:
    time = int.from_bytes(signed[:_TIME_BYTES], "big")
    if len(signed) != _TIME_BYTES + _SIGNATURE_BYTES or time > LATEST:
        raise BadSignature("a cosignature is eight bytes of time and 64 of signature")
    return time, signed[_TIME_BYTES:]


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
