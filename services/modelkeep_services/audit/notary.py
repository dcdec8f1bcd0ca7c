"""The notary: signs how far the log has come, every second in which it moved.

What it signs leaves the machine's database: into the home's `checkpoints` folder, or
wherever MODELKEEP_CHECKPOINTS points (a mounted bucket, a folder that a witness reads),
and from there to whoever else `outside.py` names, by couriers that never keep it from
signing. Beside the checkpoints lie the public keys that judge them and the ledger's
writers. How old the events are that nothing vouches for yet is measured all the while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from modelkeep import telemetry
from modelkeep.errors import Corrupt, ModelkeepError, Unavailable
from modelkeep.home import Home
from modelkeep.ledger import stamp
from modelkeep.proof.checkpoint import Checkpoint, open_signed
from modelkeep.proof.errors import ProofError, Retired
from modelkeep.proof.note import SigningKey
from modelkeep_services.audit.carriers import Carriers
from modelkeep_services.audit.outside import Outside
from modelkeep_services.audit.signed import Signed
from modelkeep_services.audit.signing import (
    publish,
    publish_keys,
    rotate,
    signer_of,
    signing_key,
)
from modelkeep_services.audit.tails import UNCOSIGNED, UNSIGNED, Ages, Tail
from modelkeep_services.audit.trees import Tree

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
EVERY_EVENTS: Final = 1_000
LOOK_S: Final = 0.25
WRITERS: Final = "writers.vkeys"
"""The name that the writers' public keys are published under."""


def published(home: Home) -> Path:
    """Return where a home's checkpoints go."""
    return home.published


class Notary:
    """`start` it, `sign` at will, `close` it. `now` is the ledger's clock."""

    def __init__(
        self,
        home: Home,
        tree: Tree,
        folder: Path,
        now: Callable[[], datetime],
        outside: Outside | None = None,
    ) -> None:
        self.tree, self.folder = tree, folder
        self._home, self._now = home, now
        self._use(signing_key(home.keys, tree.origin))
        self._carriers = Carriers(outside or Outside(), folder, tree.origin, self._saw)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notary", daemon=True)
        self._size = -1
        self._at = 0.0
        self._complained = ""
        self._ages = Ages()
        self._tails: list[Tail] = []
        self._exposed: set[str] = set()

    def _use(self, key: SigningKey) -> None:
        self.key, self._signer = key, signer_of(self._home, key, self.folder)

    def start(self) -> None:
        with _told():
            self.folder.mkdir(parents=True, exist_ok=True)
            publish_keys(self._home, self.folder, self.key)
            writers = self._home.keys / WRITERS
            if writers.exists():
                publish(self.folder / WRITERS, writers.read_bytes())
            self._carriers.start()
        telemetry.observe("modelkeep.tail.events", "{event}", self._tail_events)
        telemetry.observe("modelkeep.tail.age", "s", self._tail_ages)
        self._thread.start()

    def sign(self) -> Signed:
        """Sign now. Raises Corrupt when the log is not the one signed before, and
        Unavailable when the folder cannot be written to.
        """
        # A tree looked at before another was signed would seem to have shrunk.
        with self._lock, _told():
            nodes = self.tree.frozen_tree()
            try:
                note = self._signer.sign(nodes, time=stamp(self._now()))
            except Retired:
                self._succeed()
                note = self._signer.sign(nodes, time=stamp(self._now()))
            signed, _ = open_signed(note, [self.key.verifier])
        whole = Signed(note, signed, nodes)
        if signed.size != self._size:
            self._carriers.give(whole)
        self._size, self._at = signed.size, time.monotonic()
        return whole

    @property
    def tails(self) -> list[Tail]:
        """How many events nothing vouches for, and how long, when last looked."""
        return self._tails

    def close(self) -> None:
        """Sign what is left, then stop."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._look(last=True)
        self._carriers.close()

    def _succeed(self) -> None:
        """Take the key that follows: somebody changed it, or had begun to."""
        key = signing_key(self._home.keys, self.tree.origin)
        if key == self.key:
            rotate(self._home, self.folder, self._now())
            key = signing_key(self._home.keys, self.tree.origin)
        self._use(key)
        publish_keys(self._home, self.folder, key)
        log.warning("checkpoints are signed by another key from now on: %s", key.key_id)

    def _saw(self, raw: bytes) -> Checkpoint:
        return self._signer.saw(raw)

    def _run(self) -> None:
        while not self._closing.wait(LOOK_S):
            self._look()

    def _look(self, *, last: bool = False) -> None:
        try:
            size = self.tree.frozen_tree().size
            grown = size - max(self._size, 0)
            # Less one look: so nothing waits for longer than it says.
            waited = time.monotonic() - self._at >= EVERY_S - LOOK_S
            self._ages.saw(size, time.monotonic())
            if grown >= EVERY_EVENTS or (grown and (waited or last)):
                self.sign()
            self._complained = ""
        except ModelkeepError as error:
            if str(error) != self._complained:
                log.error("no checkpoint was signed: %s", error)  # noqa: TRY400  # the message says it all
            self._complained = str(error)
        self._measure()

    def _measure(self) -> None:
        """Measure the tails; say when one has become too old, and when it is gone."""
        now = time.monotonic()
        signed = max(self._size, 0)
        self._tails = [self._ages.tail(UNSIGNED, signed, now)]
        oldest = signed
        if (cosigned := self._carriers.cosigned()) is not None:
            self._tails.append(self._ages.tail(UNCOSIGNED, cosigned, now))
            oldest = min(signed, cosigned)
        self._ages.forget(oldest)
        for tail in self._tails:
            if tail.exposed == (tail.kind in self._exposed):
                continue
            if tail.exposed:
                self._exposed.add(tail.kind)
                log.warning("nothing outside vouches for the newest events: %s", tail)
            else:
                self._exposed.discard(tail.kind)
                log.warning("the newest events are vouched for again: %s", tail)
            self._carriers.alarm(tail, self.tree.origin)

    def _tail_events(self) -> Iterator[tuple[str, float]]:
        for tail in self._tails:
            yield tail.kind, float(tail.events)

    def _tail_ages(self) -> Iterator[tuple[str, float]]:
        for tail in self._tails:
            yield tail.kind, tail.seconds


@contextmanager
def _told() -> Iterator[None]:
    """Say what the proof and the disk refuse in the ledger's own words."""
    try:
        yield
    except ProofError as error:
        raise Corrupt(str(error)) from error
    except OSError as error:
        raise Unavailable(f"checkpoints cannot be kept: {error}") from error
