"""An authority's time on a checkpoint, once a day (RFC 3161), kept beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelkeep.errors import Unavailable
from modelkeep.outbound import post
from modelkeep.proof import durable, timestamp
from modelkeep.proof.timestamp import ANSWER, FOLDER, NOTE, Stamp
from modelkeep_services.audit.outside import Timestamping
from modelkeep_services.audit.signed import Signed
from modelkeep_services.audit.signing import publish

EVERY_S: Final = 86_400.0
LOOK_S: Final = 60.0
"""How often it looks whether a day has passed."""
ROOTS: Final = "timestamp-roots.pem"
_QUERY: Final = "application/timestamp-query"


class Timestamps:
    """`now` tells seconds since 1970; the files kept say when it was last asked."""

    def __init__(
        self,
        asked: Timestamping,
        folder: Path,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._asked, self._published, self._now = asked, folder, now
        self._folder = folder / FOLDER

    def carry(self, signed: Signed) -> None:
        """Have it stamped, if that is due. Raises Unavailable, ProofError, OSError."""
        if self._now() - self._last() < EVERY_S:
            return
        question = timestamp.question(signed.note)
        reply = post(self._asked.authority, question.body, {"Content-Type": _QUERY})
        if reply.status != 200:  # noqa: PLR2004  # HTTP's own
            raise Unavailable(f"{self._asked.authority} answered {reply.status}")
        vouching = timestamp.certificates(self._asked.roots)
        stamp = Stamp(signed.note, reply.body)
        timestamp.stamped_at(stamp, vouching, nonce=question.nonce)
        self._keep(signed.checkpoint.size, stamp)

    def _keep(self, size: int, stamp: Stamp) -> None:
        self._folder.mkdir(exist_ok=True)
        publish(self._published / ROOTS, self._asked.roots.read_bytes())
        name = timestamp.named(size, stamp.raw)
        durable.replace(self._folder / f"{name}{NOTE}", stamp.raw)
        durable.replace(self._folder / f"{name}{ANSWER}", stamp.answer)

    def _last(self) -> float:
        found = self._folder.glob(f"*{ANSWER}")
        return max((path.stat().st_mtime for path in found), default=0.0)
