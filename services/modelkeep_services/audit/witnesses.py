"""Witnesses asked for their word (C2SP tlog-witness): what they gave is published.

Each is shown the newest checkpoint and the proof that it continues what that witness
saw last. The note with their lines goes into `cosigned`, one after another. One that
saw more of this log than was ever signed here means that an old copy runs: it is asked
for what it saw, and if our own key signed that, nothing is signed here any more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.errors import ModelkeepError, Unavailable
from modelkeep.outbound import Destination, get, post
from modelkeep.proof import durable
from modelkeep.proof.checkpoint import Checkpoint, newest
from modelkeep.proof.cosignature import WitnessKey, cosignatures
from modelkeep.proof.errors import ProofError
from modelkeep.proof.merkle import consistency_proof
from modelkeep.proof.note import parse, signature_line
from modelkeep.proof.policy import Policy, Witness
from modelkeep.proof.submission import PATH, Submission, seen_size
from modelkeep_services.audit.signed import Signed

log = logging.getLogger(__name__)

COSIGNED: Final = "cosigned"
POLICY: Final = "witnesses.policy"
EVERY_S: Final = 10.0
CONSULT_S: Final = 3.0
_ATTEMPTS: Final = 3
_SAID_CHARACTERS: Final = 120

Saw = Callable[[bytes], Checkpoint]
"""Shown a note that a witness kept; says what it is of. Raises ProofError."""


class Cosigned(NamedTuple):
    """The newest checkpoint with enough cosignatures, and the last of their times."""

    size: int
    time: int


class Witnesses:
    """`where` is each witness's address, by its name in the policy; `cosigned` is for
    how many events enough of them have vouched.
    """

    def __init__(
        self,
        policy: Policy,
        where: Mapping[str, Destination],
        folder: Path,
        origin: str,
        saw: Saw,
    ) -> None:
        self._policy, self._where, self._saw = policy, where, saw
        self._path, self._origin = folder / COSIGNED, origin
        self._seen = dict.fromkeys(where, 0)
        self._lines: dict[str, str] = {}
        self._about = b""
        self._lock = threading.Lock()
        last = last_cosigned(folder, policy)
        self.cosigned = 0 if last is None else last.size

    def consult(self) -> None:
        """Ask, before anything is signed, whether anyone saw more than we remember.

        Who does not answer within `CONSULT_S` is not waited for.
        """
        pool = ThreadPoolExecutor(len(self._where) or 1)
        try:
            asked = [
                pool.submit(self._recollect, one)
                for one in self._policy.witnesses
                if one.name in self._where
            ]
            for one in asked:
                try:
                    one.result(CONSULT_S)
                except (ModelkeepError, ProofError, OSError, TimeoutError) as error:
                    log.warning("a witness was not heard at the start: %s", error)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def carry(self, signed: Signed) -> None:
        """Ask them all at once; raises Unavailable when too few cosigned."""
        if signed.note != self._about:
            self._about, self._lines = signed.note, {}
        missing = [
            one
            for one in self._policy.witnesses
            if one.name in self._where and one.name not in self._lines
        ]
        troubles: list[str] = []
        with ThreadPoolExecutor(len(missing) or 1) as pool:
            for found in pool.map(lambda one: self._ask(one, signed), missing):
                troubles += found
        raw = signed.note + "".join(self._lines.values()).encode()
        given = [one.key for one in cosignatures(raw, self._policy.keys)]
        if given and len(troubles) < len(missing):
            at = self._path.stat().st_size if self._path.exists() else 0
            durable.append(self._path, raw, at=at)
        if not self._policy.met(given):
            raise Unavailable(
                f"{len(given)} of {len(self._policy.witnesses)} cosigned"
                f" {signed.checkpoint.size} events: {'; '.join(troubles) or 'too few'}"
            )
        self.cosigned = signed.checkpoint.size
        for trouble in troubles:
            log.warning("cosigned by enough, not by all: %s", trouble)

    def _ask(self, witness: Witness, signed: Signed) -> list[str]:
        """Keep the witness's line; return what went wrong, if anything did."""
        try:
            line = self._cosigned(witness, signed)
        except (ModelkeepError, ProofError) as error:
            return [f"{witness.name}: {error}"]
        with self._lock:
            self._lines[witness.name] = line
        return []

    def _cosigned(self, witness: Witness, signed: Signed) -> str:
        size, to = signed.checkpoint.size, self._where[witness.name].beneath(PATH)
        for _ in range(_ATTEMPTS):
            old = self._seen[witness.name]
            if old > size:
                self._recollect(witness)
                raise Unavailable(f"it saw {old} events, and {size} were signed here")
            proof = consistency_proof(signed.nodes, old, size)
            body = Submission(old, proof, signed.note).encode()
            reply = post(to, body, {"Content-Type": "text/plain; charset=utf-8"})
            if reply.status == HTTPStatus.OK:
                self._seen[witness.name] = size
                return _line(signed.note, reply.body, witness.key)
            if reply.status != HTTPStatus.CONFLICT:
                said = ascii(reply.body[:_SAID_CHARACTERS].decode(errors="replace"))
                raise Unavailable(f"{to} answered {reply.status} {said}")
            seen = seen_size(reply.body)
            if seen == old:
                raise Unavailable(f"it saw another history of {seen} events")
            self._seen[witness.name] = seen
        raise Unavailable(f"{to} says another size each time")

    def _recollect(self, witness: Witness) -> None:
        """Ask a witness what it saw last; ours answer, others need not."""
        name = sha256(self._origin.encode()).hexdigest()
        reply = get(self._where[witness.name].beneath(f"checkpoint/{name}"))
        if reply.status == HTTPStatus.OK:
            seen = self._saw(reply.body)
            self._seen[witness.name] = seen.size


def _line(note: bytes, body: bytes, key: WitnessKey) -> str:
    """Take this witness's line out of what it answered; raises ProofError."""
    if not cosignatures(note + body, [key]):
        raise Unavailable("it answered without a cosignature of its own")
    return next(
        signature_line(*one)
        for one in parse(note + body).signatures
        if (one.name, one.key_id) == (key.name, key.id)
    )


def last_cosigned(folder: Path, policy: Policy) -> Cosigned | None:
    """Return the newest of what was published that enough witnesses cosigned.

    The log's own signature is not looked at: the witnesses did.
    """
    for raw in newest(folder / COSIGNED):
        try:
            size = Checkpoint.parse(parse(raw).text).size
            given = cosignatures(raw, policy.keys)
        except ProofError:
            continue
        if given and policy.met([one.key for one in given]):
            return Cosigned(size, max(one.time for one in given))
    return None
