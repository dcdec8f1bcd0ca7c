"""What a ledger is held against: keys, signed checkpoints, published leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from modelkeep.proof import checkpoint, note
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import Malformed, ProofError
from modelkeep.proof.merkle import HASH_BYTES, root_of
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.rotation import ROTATIONS, Eras, Rotation, read

LATEST: Final = "checkpoint"
HISTORY: Final = "checkpoints"
LEAVES: Final = "leaves"
"""The names a signer publishes under."""

_LONGEST_LINE: Final = 1 << 16
_LONGEST_KEYS: Final = 1 << 20


class Unusable(ProofError):
    """There is nothing here to verify against."""


class Unchecked(NamedTuple):
    """A checkpoint whose signature was not looked at yet, with its note."""

    checkpoint: Checkpoint
    raw: bytes


class Evidence:
    """Checkpoints by size, their signatures checked when it comes to them.

    A log signed every second has millions; a verdict needs a few.
    """

    def __init__(
        self,
        found: Sequence[Unchecked],
        keys: Sequence[VerifierKey],
        *,
        leaves: Path | None = None,
        rotations: Iterable[Rotation] = (),
    ) -> None:
        self.keys = keys
        self.eras = Eras(keys, rotations)
        self.leaves = leaves
        self.ignored = 0
        by_size = sorted(_once(found), key=lambda one: one.checkpoint.size)
        while by_size and not self.signers(by_size[-1]):
            by_size.pop()
            self.ignored += 1
        if not by_size:
            raise Unusable("no checkpoint here is signed by the key given")
        self.top = by_size[-1].checkpoint
        self.signed_by = self.signers(by_size[-1])
        self.all = [one for one in by_size if one.checkpoint.origin == self.top.origin]
        self.ignored += len(by_size) - len(self.all)

    def signers(self, one: Unchecked) -> Sequence[VerifierKey]:
        """Return who of the keys of its time signed it; nobody, when any did badly."""
        keys = self.eras.at(one.checkpoint.size)
        try:
            return checkpoint.open_signed(one.raw, keys)[1]
        except ProofError:
            return ()

    def published_leaves(self) -> list[bytes]:
        """Return the leaves behind the top checkpoint; none, when they are not its."""
        if self.leaves is None or not self.leaves.is_file():
            return []
        with self.leaves.open("rb") as file:
            blob = file.read(self.top.size * HASH_BYTES)
        leaves = cut(blob)
        whole = len(leaves) == self.top.size and root_of(leaves) == self.top.root
        return leaves if whole else []


def _once(found: Iterable[Unchecked]) -> Iterator[Unchecked]:
    """Drop what came again with more signatures: those of witnesses follow the log's.

    Two that differ are kept both, whichever is genuine.
    """
    longest: dict[Checkpoint, Unchecked] = {}
    others: set[Unchecked] = set()
    for one in found:
        kept = longest.setdefault(one.checkpoint, one)
        if one.raw.startswith(kept.raw):
            longest[one.checkpoint] = one
        elif not kept.raw.startswith(one.raw):
            others.add(one)
    yield from longest.values()
    yield from others


def cut(blob: bytes) -> list[bytes]:
    """Cut leaf hashes written one after another."""
    return [
        blob[at : at + HASH_BYTES]
        for at in range(0, len(blob) - len(blob) % HASH_BYTES, HASH_BYTES)
    ]


def gather(
    path: Path, keys: Sequence[VerifierKey], *, leaves: Path | None = None
) -> Evidence:
    """Read a file of checkpoints, or a folder of such; raises Unusable, OSError.

    Leaves, and changes of the key, are looked for beside them. What is no
    checkpoint is passed over: its signature would not have counted either.
    """
    beside = path if path.is_dir() else path.parent
    found = [one for file in _files(path) for one in _read(file)]
    if not found:
        raise Unusable(f"{path} holds no checkpoint")
    return Evidence(
        found,
        keys,
        leaves=leaves or beside / LEAVES,
        rotations=read(beside / ROTATIONS),
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.iterdir()
        if file.is_file() and file.name != LEAVES and not file.name.startswith(".")
    )


def _read(path: Path) -> Iterator[Unchecked]:
    with path.open("rb") as file:
        for raw in checkpoint.split_notes(_lines(file)):
            try:
                yield Unchecked(Checkpoint.parse(note.parse(raw).text), raw)
            except Malformed:
                continue


def _lines(file: BinaryIO) -> Iterator[bytes]:
    # a file without newlines is not read whole
    return iter(lambda: file.readline(_LONGEST_LINE), b"")


def read_keys(given: str) -> list[VerifierKey]:
    """Read a key, or a file with one on each line; `#` begins a comment.

    Raises Unusable when there is none.
    """
    text = given
    if "+" not in given or Path(given).is_file():
        with Path(given).open("rb") as file:
            text = file.read(_LONGEST_KEYS).decode(errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    keys = [VerifierKey.parse(line) for line in lines if line and line[0] != "#"]
    if not keys:
        raise Unusable(f"{given} holds no key")
    return keys
