"""The verification of an export: a piece of the log against what was signed of it all.

The root at its end is computed from its own events, and shown to be the beginning of
the log that a checkpoint was signed for. Checkpoints given from outside are compared
with it too, where they are of a size within the piece.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from modelkeep.proof import checkpoint, export
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.crowd import Check, here
from modelkeep.proof.errors import Malformed, ProofError
from modelkeep.proof.evidence import Evidence, Unchecked, Unusable, cut
from modelkeep.proof.export import Exported, Head
from modelkeep.proof.leaf import Leafer
from modelkeep.proof.merkle import Frontier, verify_consistency
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.reading import NO_LEAF, Progress, Seen, Watch, silent
from modelkeep.proof.report import Piece, Problem, Report
from modelkeep.proof.verify import differences
from modelkeep.proof.writers import Signable, Writers, Written

_AT_ONCE: Final = 512


def verify_export(
    path: Path,
    keys: Sequence[VerifierKey],
    outside: Evidence | None = None,
    *,
    writers: Sequence[VerifierKey] | None = None,
    watch: Watch | None = None,
    check: Check = here,
    progress: Progress = silent,
) -> Report:
    """Return what is proven and what is not.

    Raises Malformed for a file that is no export, Unusable when its checkpoint is not
    signed by any of `keys`.
    """
    started = time.perf_counter()
    with path.open("rb") as file:
        head = export.read_head(file)
        own, signers = _own(head, keys)
        report = Report(
            ledger=str(path),
            origin=head.origin,
            signers=[str(key) for key in signers],
            size=own.size,
            root=own.root,
            time=own.time,
            piece=Piece(head.first, head.end, outside is not None),
        )
        reading = _Reading(head, own.origin, report, outside, writers, watch, check)
        reading.run(file, progress)
    _judge(head, own, report, reading, outside)
    report.seconds = time.perf_counter() - started
    return report


def read_head(path: Path) -> Head:
    """Read what an export says of itself; raises Malformed, OSError."""
    with path.open("rb") as file:
        return export.read_head(file)


def _own(
    head: Head, keys: Sequence[VerifierKey]
) -> tuple[Checkpoint, Sequence[VerifierKey]]:
    """Return the checkpoint that came with an export."""
    try:
        own, signers = checkpoint.open_signed(head.checkpoint, keys)
    except ProofError as error:
        raise Unusable(f"the checkpoint in it: {error}") from None
    if (own.origin, own.size) != (head.origin, head.size):
        raise Malformed(
            f"its checkpoint is of {own.size} events of {own.origin}, it says"
            f" {head.size} of {head.origin}"
        )
    return own, signers


class _Reading:
    """The pass over an export's events. `roots` are those at checkpoints' sizes."""

    def __init__(
        self,
        head: Head,
        origin: str,
        report: Report,
        outside: Evidence | None,
        writers: Sequence[VerifierKey] | None,
        watch: Watch | None,
        check: Check,
    ) -> None:
        self._head, self._report, self._watch = head, report, watch
        self._leafer = Leafer(origin)
        self._versions: dict[str, int] = {}
        self._writers = (
            Writers(
                writers, late=head.first > 0, early=head.end < head.size, check=check
            )
            if writers is not None
            else None
        )
        sizes = {one.checkpoint.size for one in outside.all} if outside else set()
        self._sizes = sorted(
            (size for size in sizes if head.first <= size <= head.end), reverse=True
        )
        self.edge: Frontier = head.edge.copy()
        self.count = 0
        self.leaves = bytearray()
        self.roots: dict[int, bytes] = {}

    def run(self, file: BinaryIO, progress: Progress) -> None:
        head, report = self._head, self._report
        total = head.end - head.first
        waiting: list[bytes] = []
        try:
            for line in export.lines(file):
                waiting.append(self._read(head.first + self.count, line))
                self.leaves += waiting[-1]
                self.count += 1
                if len(waiting) == _AT_ONCE:
                    self._grow(waiting)
                    waiting.clear()
                    progress(self.count, total)
        except Malformed as error:
            report.add(Problem("damaged", f"{error}, after {self.count} events"))
        self._grow(waiting)
        report.events, report.streams = self.count, len(self._versions)
        if self._writers:
            report.vouched = self._writers.finish()
            for leaf, stream, version, reason in report.vouched.doubts:
                text = f"event {leaf} ({stream}@{version}): {reason}"
                report.add(Problem("writer", text, leaf, stream, version))

    def _read(self, leaf: int, line: bytes) -> bytes:
        try:
            event = export.decode(line)
            made = self._leafer.leaf(*event)
        except Malformed as error:
            text = f"event {leaf} is no event ({error})"
            self._report.add(Problem("malformed", text, leaf))
            return NO_LEAF
        self._follow(leaf, event)
        return made

    def _follow(self, leaf: int, event: Exported) -> None:
        """Tell whoever watches of it, and say when its version is out of step."""
        due = self._versions.get(event.stream)
        if due is None and not self._head.first:
            due = 0
        if due not in {None, event.version}:
            text = f"has version {event.version} where {due} was due"
            self._report.add(problem("version", leaf, event, text))
        self._versions[event.stream] = event.version + 1
        if self._writers:
            told = Signable(event.id, *event[3:])
            written = Written(leaf, event.stream, event.version, told)
            self._writers.take(written)
        if self._watch and event.name in self._watch.names:
            self._watch.take(Seen(leaf, *event))

    def _grow(self, leaves: Sequence[bytes]) -> None:
        start, at = self.edge.size, 0
        while self._sizes and self._sizes[-1] <= start + len(leaves):
            size = self._sizes.pop()
            self.edge.extend(leaves[at : size - start])
            at = size - start
            self.roots[size] = self.edge.root()
        self.edge.extend(leaves[at:])


def problem(kind: str, leaf: int, event: Exported, text: str) -> Problem:
    told = f"event {leaf} ({event.stream}@{event.version} {event.name}) {text}"
    return Problem(kind, told, leaf, event.stream, event.version, event.name)


def _judge(
    head: Head,
    own: Checkpoint,
    report: Report,
    reading: _Reading,
    outside: Evidence | None,
) -> None:
    """Hold what was read against what was signed."""
    missing = head.end - head.first - report.events
    if missing:
        text = f"{abs(missing):,} events {'are missing' if missing > 0 else 'too many'}"
        report.add(Problem("shorter" if missing > 0 else "inserted", text))
    agreed = _begins(reading.edge, own, head) and not missing
    if agreed:
        report.proven = report.events
    else:
        report.add(Problem("root", "these are not the events that were signed"))
        for found in _differing(head, reading, outside):
            report.add(found)
    report.checkpoints, report.agreeing = 1, int(agreed)
    for one in _comparable(head, outside):
        report.checkpoints += 1
        root = reading.roots.get(one.checkpoint.size)
        if one.checkpoint.size == own.size:
            root = own.root
        if root == one.checkpoint.root:
            report.agreeing += 1
        elif outside and outside.signers(one):
            text = f"another history was signed at {one.checkpoint.size:,} events"
            report.add(Problem("forked" if agreed else "root", text))
    report.compared = report.checkpoints - 1


def _begins(edge: Frontier, own: Checkpoint, head: Head) -> bool:
    """Say whether what was read is the beginning of what was signed."""
    if edge.size == own.size:
        return not head.proof and edge.root() == own.root
    if not edge.size:
        return not head.proof
    proof = list(head.proof)
    return verify_consistency(edge.size, edge.root(), own.size, own.root, proof)


def _comparable(head: Head, outside: Evidence | None) -> Iterator[Unchecked]:
    for one in outside.all if outside else ():
        size = one.checkpoint.size
        if size == head.size or head.first <= size <= head.end:
            yield one


def _differing(
    head: Head, reading: _Reading, outside: Evidence | None
) -> Iterator[Problem]:
    """Name what differs from published leaves, where a checkpoint proves those."""
    found = cut(bytes(reading.leaves))
    signed = outside.published_leaves()[head.first : head.end] if outside else []
    for old, new in differences(signed, found) if signed else ():
        leaf = head.first + (new if new is not None else old or 0)
        if new is None:
            yield Problem("missing", f"leaf {leaf} is missing: it was signed", leaf)
        elif old is None:
            yield Problem("inserted", f"event {leaf} was put in", leaf)
        else:
            text = f"event {leaf} is not the one that was signed"
            yield Problem("altered", text, leaf)
