"""A checkpoint (C2SP tlog-checkpoint 1.0): the log's name, size and root, to be signed.

    bank.example/ledger
    1024
    4xYmN9Yc…=
    time 2013-04-01T00:00:00Z

What follows the first three lines are extensions: ours is the time of signing by the
ledger's clock, which puts a bracket around the events between two checkpoints.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from modelkeep.proof import note
from modelkeep.proof.errors import Malformed
from modelkeep.proof.merkle import HASH_BYTES
from modelkeep.proof.note import VerifierKey

_FIXED_LINES: Final = 3
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_MARK: Final = "\N{EM DASH} ".encode()
_TIME: Final = "time "
_LAST_BYTES: Final = 1 << 16


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def time(self) -> str | None:
        """When it was signed, as the signer wrote it; None when it did not."""
        return next(
            (
                line.removeprefix(_TIME)
                for line in self.extensions
                if line.startswith(_TIME)
            ),
            None,
        )

    def encode(self) -> str:
        lines = (
            self.origin,
            str(self.size),
            base64.b64encode(self.root).decode(),
            *self.extensions,
        )
        if not all(lines) or any("\n" in line for line in lines):
            raise Malformed("a checkpoint's lines are neither empty nor broken")
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note's text; raises Malformed. Says nothing of signatures."""
        lines = text.split("\n")
        if len(lines) <= _FIXED_LINES or lines.pop():
            raise Malformed("a checkpoint has three lines or more")
        origin, size, root, *extensions = lines
        if not origin or not all(extensions):
            raise Malformed("a checkpoint has no empty lines")
        if not _SIZE.fullmatch(size):
            raise Malformed(f"{size[:30]!r} is no size of a log")
        decoded = note.unbase64(root)
        if len(decoded) != HASH_BYTES:
            raise Malformed(f"a root of {len(decoded)} bytes")
        return cls(origin, int(size), decoded, tuple(extensions))


def stamped(time: str) -> str:
    """Return the extension line that says when (RFC 3339)."""
    return _TIME + time


def open_signed(
    raw: bytes, keys: Iterable[VerifierKey]
) -> tuple[Checkpoint, list[VerifierKey]]:
    """Return a checkpoint and those of `keys` that signed it.

    Raises Malformed, BadSignature.
    """
    text, signers = note.verify(raw, keys)
    return Checkpoint.parse(text), signers


def newest(path: Path) -> Iterator[bytes]:
    """Yield the last notes of a file of them, newest first; none if it is not there.

    A crash may have cut the very last: whoever asks must be ready for what is none.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LAST_BYTES, 0))
        lines = file.read().splitlines(keepends=True)
    yield from reversed(list(split_notes(lines)))


def split_notes(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a file of checkpoints, one after another, into single notes.

    A checkpoint has no empty line within, so a note ends where its signatures do.
    """
    gathered: list[bytes] = []
    signed = False
    for line in lines:
        signature = line.startswith(_MARK)
        if signed and not signature:
            yield b"".join(gathered)
            gathered, signed = [], False
        if gathered or line.strip():
            gathered.append(line)
        signed = signed or signature
    if gathered:
        yield b"".join(gathered)
