"""A witness: cosigns what continues the history it saw, and remembers it for ever.

Its answers are those of C2SP tlog-witness 1.0. What it saw last of a log is in a file
of that log's own, written before it answers, so that a witness that was killed, or lost
its power, refuses a fork all the same. A checkpoint that is signed by the log and does
not continue what was seen is kept in `conflicts`: it is the proof that the log lies.
"""

from __future__ import annotations

import fcntl
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.proof import checkpoint, cosignature, durable
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.proof.merkle import EMPTY_ROOT, verify_consistency
from modelkeep.proof.note import SigningKey, VerifierKey, parse
from modelkeep.proof.submission import SIZE_TYPE, Submission

CONFLICTS: Final = "conflicts"
MAX_CONFLICTS_BYTES: Final = 1 << 20
"""One of them is proof enough; a lying log does not fill the disk."""

_NAME: Final = re.compile("[0-9a-f]{64}")


class Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    kind: str = "text/plain; charset=utf-8"


class Witness:
    """Thread-safe; one process a folder. `now` tells seconds since 1970.

    `logs` are the keys it trusts, each named as its log is: a log may have several.
    Raises Malformed when two of them, or one and the witness, are the same key.
    """

    def __init__(
        self,
        key: SigningKey,
        logs: Iterable[VerifierKey],
        folder: Path,
        now: Callable[[], int],
    ) -> None:
        self.key, self._folder, self._now = key, folder, now
        self._logs: dict[str, list[VerifierKey]] = {}
        for log in logs:
            if log.public == key.verifier.public:
                raise Malformed(f"the key of {log.name} is the witness's own")
            self._logs.setdefault(log.name, []).append(log)
        self._lock = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a submission. Raises OSError when it cannot be remembered, and
        Malformed when what was remembered cannot be read: then nothing is cosigned.
        """
        try:
            asked = Submission.parse(body)
            text = parse(asked.raw).text
            seen = Checkpoint.parse(text)
        except Malformed as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        keys = self._logs.get(seen.origin)
        if keys is None:
            return _refusal(HTTPStatus.NOT_FOUND, "this log is not known here")
        try:
            checkpoint.open_signed(asked.raw, keys)
        except BadSignature as error:
            return _refusal(HTTPStatus.FORBIDDEN, str(error))
        if asked.old > seen.size:
            return _refusal(HTTPStatus.BAD_REQUEST, "the old size is beyond the new")
        with self._alone(seen.origin) as path:
            return self._judge(asked, seen, text, path)

    def latest(self, name: str) -> bytes | None:
        """Return what it saw last of the log whose origin has this SHA-256, in hex."""
        if not _NAME.fullmatch(name):
            return None
        path = self._folder / name
        return path.read_bytes() if path.exists() else None

    def _judge(
        self, asked: Submission, seen: Checkpoint, text: str, path: Path
    ) -> Answer:
        last = _recall(path, seen.origin)
        if asked.old != last.size:
            return _conflict(last)
        if seen.size == last.size and seen.root != last.root:
            self._testify(asked.raw)
            return _conflict(last)
        if not _continues(last, seen, asked.proof):
            self._testify(asked.raw)
            return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "the proof does not hold")
        line = cosignature.cosign(self.key, text, self._now())
        durable.replace(path, asked.raw)
        return Answer(HTTPStatus.OK, line.encode())

    def _testify(self, raw: bytes) -> None:
        path = self._folder / CONFLICTS
        at = path.stat().st_size if path.exists() else 0
        if at + len(raw) <= MAX_CONFLICTS_BYTES:
            durable.append(path, raw, at=at)

    @contextmanager
    def _alone(self, origin: str) -> Iterator[Path]:
        """Between reading what was seen and writing what is, nobody else may."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # An origin may hold what no file name can.
        path = self._folder / sha256(origin.encode()).hexdigest()
        with self._lock, (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path


def _recall(path: Path, origin: str) -> Checkpoint:
    if not path.exists():
        return Checkpoint(origin, 0, EMPTY_ROOT)
    last = Checkpoint.parse(parse(path.read_bytes()).text)
    if last.origin != origin:
        raise Malformed(f"{path} is a checkpoint of {last.origin}")
    return last


def _continues(last: Checkpoint, seen: Checkpoint, proof: Iterable[bytes]) -> bool:
    hashes = list(proof)
    if seen.size == last.size:
        return not hashes and seen.root == last.root
    if last.size == 0:
        return not hashes  # of nothing, anything is the continuation
    return verify_consistency(last.size, last.root, seen.size, seen.root, hashes)


def _conflict(last: Checkpoint) -> Answer:
    return Answer(HTTPStatus.CONFLICT, b"%d\n" % last.size, SIZE_TYPE)


def _refusal(status: HTTPStatus, why: str) -> Answer:
    return Answer(status, f"{why}\n".encode())
