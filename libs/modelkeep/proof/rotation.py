"""The change of a log's key: the old key names its successor, and both sign it.

    modelkeep key rotation v1
    bank.example/ledger
    from bank.example/ledger+1f2e3d4c+AX…
    to bank.example/ledger+5a6b7c8d+AX…
    size 1024
    root 4xYmN9Yc…=
    time 2013-04-01T00:00:00Z

Up to that size the old key's checkpoints count, from it on the new one's. Whoever holds
either key follows the chain to the others; who was given a key that has two successors
follows neither. `reason compromised` at the end says that the old key may be in others'
hands: then nobody is led by it to the new one, which must be had in another way.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from modelkeep.proof import note
from modelkeep.proof.checkpoint import Checkpoint, split_notes
from modelkeep.proof.errors import BadSignature, Malformed, ProofError
from modelkeep.proof.merkle import HASH_BYTES
from modelkeep.proof.note import SigningKey, VerifierKey

ROTATIONS: Final = "rotations"
"""The name they are published under: one after another, oldest first."""

MAX_ROTATIONS_BYTES: Final = 1 << 20
_FORMAT: Final = "modelkeep key rotation v1"
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_FIELDS: Final = ("from", "to", "size", "root", "time")
_COMPROMISED: Final = "reason compromised"


class Rotation(NamedTuple):
    """`size` and `root` are of the last checkpoint that the old key signed."""

    origin: str
    old: VerifierKey
    new: VerifierKey
    size: int
    root: bytes
    time: str
    compromised: bool = False

    def encode(self) -> str:
        values = (
            str(self.old),
            str(self.new),
            str(self.size),
            base64.b64encode(self.root).decode(),
            self.time,
        )
        told = [f"{name} {value}" for name, value in zip(_FIELDS, values, strict=True)]
        reason = [_COMPROMISED] if self.compromised else []
        lines = (_FORMAT, self.origin, *told, *reason)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note's text; raises Malformed. Says nothing of signatures."""
        kind, origin, *lines = [*text.split("\n"), ""]
        compromised = _COMPROMISED in lines
        told = lines[: len(_FIELDS)]
        if kind != _FORMAT or len(told) != len(_FIELDS):
            raise Malformed("this is no rotation of a key")
        old, new, size, root, time = map(_value, _FIELDS, told)
        if not _SIZE.fullmatch(size):
            raise Malformed(f"{size[:30]!r} is no size of a log")
        decoded = note.unbase64(root)
        if len(decoded) != HASH_BYTES:
            raise Malformed(f"a root of {len(decoded)} bytes")
        read = cls(
            origin,
            VerifierKey.parse(old),
            VerifierKey.parse(new),
            int(size),
            decoded,
            time,
            compromised,
        )
        if read.encode() != text or read.old == read.new:
            raise Malformed("this is no rotation of a key")
        return read


def _value(name: str, line: str) -> str:
    found, _, value = line.partition(" ")
    if found != name or not value:
        raise Malformed(f"a rotation has a line {name!r} here")
    return value


def endorse(
    old: SigningKey,
    new: SigningKey,
    last: Checkpoint,
    time: str,
    *,
    compromised: bool = False,
) -> bytes:
    """Return the statement that `new` signs from `last` on, by both keys.

    `time` is RFC 3339, UTC. Raises Malformed when it is the same key.
    """
    text = Rotation(
        last.origin, old.verifier, new.verifier, last.size, last.root, time, compromised
    ).encode()
    Rotation.parse(text)
    own = note.signature_line(new.name, new.verifier.id, new.sign(text.encode()))
    return old.sign_note(text) + own.encode()


def open_rotation(raw: bytes) -> Rotation:
    """Return what both keys signed; raises Malformed, BadSignature."""
    told = Rotation.parse(note.parse(raw).text)
    _, signers = note.verify(raw, [told.old, told.new])
    if len(signers) != 2:  # noqa: PLR2004  # the old one and the new one
        raise BadSignature("a rotation is signed by the old key and by the new")
    return told


def read(path: Path) -> Iterator[Rotation]:
    """Yield the rotations in a file, if it is there; what is none is passed over.

    Who takes one away, or adds one that does not hold, gains nothing by it: keys that
    nobody leads to are not believed.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        lines = file.read(MAX_ROTATIONS_BYTES).splitlines(keepends=True)
    for raw in split_notes(lines):
        try:
            yield open_rotation(raw)
        except ProofError:
            continue


class Era(NamedTuple):
    """A key and the sizes that it speaks for; `last` is None while it signs."""

    key: VerifierKey
    first: int
    last: int | None


class _Link(NamedTuple):
    """Where a key's time begins or ends, and whose it is beyond: None, nobody's that
    this key leads to.
    """

    size: int | None
    key: VerifierKey | None


class Eras:
    """Which keys count for which sizes, beginning with those that were given.

    `warnings` say where the chain was not followed, and why.
    """

    def __init__(
        self, keys: Sequence[VerifierKey], rotations: Iterable[Rotation] = ()
    ) -> None:
        self._known = list(dict.fromkeys(rotations))
        self.warnings: list[str] = []
        self.all = list(dict.fromkeys(era for key in keys for era in self._of(key)))

    def at(self, size: int) -> list[VerifierKey]:
        """Return the keys whose checkpoints of this size count."""
        found = (
            era.key
            for era in self.all
            if era.first <= size and (era.last is None or size <= era.last)
        )
        return list(dict.fromkeys(found))

    def _of(self, given: VerifierKey) -> Iterator[Era]:
        came, went = self._came(given), self._went(given)
        yield Era(given, came.size or 0, went.size)
        seen = {given}
        while came.key and came.key not in seen:
            seen.add(came.key)
            key, last = came.key, came.size
            came = self._came(key)
            yield Era(key, came.size or 0, last)
        while went.key and went.key not in seen:
            seen.add(went.key)
            key, first = went.key, went.size
            went = self._went(key)
            yield Era(key, first or 0, went.size)

    def _came(self, key: VerifierKey) -> _Link:
        found = [one for one in self._known if one.new == key]
        if len(found) > 1:
            return self._torn(found, key, "predecessors")
        if not found:
            return _Link(None, None)
        # What a key in others' hands says of the past is worth nothing.
        return _Link(found[0].size, None if found[0].compromised else found[0].old)

    def _went(self, key: VerifierKey) -> _Link:
        found = [one for one in self._known if one.old == key]
        if len(found) > 1:
            return self._torn(found, key, "successors")
        if not found:
            return _Link(None, None)
        if found[0].compromised:
            self._warn(
                f"the key {key.id.hex()} was given up as compromised at"
                f" {found[0].size:,} events: its successor must be had another way"
            )
            return _Link(found[0].size, None)
        return _Link(found[0].size, found[0].new)

    def _torn(self, found: list[Rotation], key: VerifierKey, what: str) -> _Link:
        """Two stories were signed: neither is followed."""
        self._warn(f"the key {key.id.hex()} has {len(found)} {what}: none is followed")
        return _Link(min(one.size for one in found), None)

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
