"""The notary: signs how far the log has come, every second in which it moved.

What it signs leaves the machine's database: into the home's `checkpoints` folder, or
wherever MODELKEEP_CHECKPOINTS points (a mounted bucket, a folder that a witness reads).
Beside the checkpoints lie the public keys that judge them and the ledger's writers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.errors import Corrupt, ModelkeepError, Unavailable
from modelkeep.home import Home
from modelkeep.ledger import stamp
from modelkeep.proof import durable
from modelkeep.proof.checkpoint import Checkpoint, open_signed
from modelkeep.proof.errors import ProofError
from modelkeep.proof.merkle import Nodes
from modelkeep.proof.note import SigningKey
from modelkeep.proof.signer import Signer
from modelkeep_services.audit.trees import Tree

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
EVERY_EVENTS: Final = 1_000
LOOK_S: Final = 0.25
LOG_KEY: Final = "checkpoint.vkey"
WRITERS: Final = "writers.vkeys"
"""The names that public keys are published under."""


class Signed(NamedTuple):
    """A checkpoint as signed, and the tree it was signed of."""

    note: bytes
    checkpoint: Checkpoint
    nodes: Nodes


def published(home: Home) -> Path:
    """Return where a home's checkpoints go."""
    return home.published


def signing_key(keys: Path, origin: str) -> SigningKey:
    """Load or make the key that signs checkpoints, named as the ledger is."""
    path = keys / "checkpoint.key"
    if not path.exists():
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):  # another process was first
            SigningKey.generate(origin).save(path)
    return SigningKey.load(path)


class Notary:
    """`start` it, `sign` at will, `close` it. `now` is the ledger's clock."""

    def __init__(
        self, home: Home, tree: Tree, folder: Path, now: Callable[[], datetime]
    ) -> None:
        self.tree, self.folder = tree, folder
        self._home, self._now = home, now
        self.key = signing_key(home.keys, tree.origin)
        self._signer = Signer(
            self.key,
            tree.origin,
            state=home.keys / "checkpoint.state",
            published=folder,
        )
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notary", daemon=True)
        self._size = -1
        self._at = 0.0
        self._complained = ""

    def start(self) -> None:
        with _told():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._publish(LOG_KEY, f"{self.key.verifier}\n".encode())
            writers = self._home.keys / WRITERS
            if writers.exists():
                self._publish(WRITERS, writers.read_bytes())
        self._thread.start()

    def sign(self) -> Signed:
        """Sign now. Raises Corrupt when the log is not the one signed before, and
        Unavailable when the folder cannot be written to.
        """
        # A tree looked at before another was signed would seem to have shrunk.
        with self._lock, _told():
            nodes = self.tree.frozen_tree()
            note = self._signer.sign(nodes, time=stamp(self._now()))
            signed, _ = open_signed(note, [self.key.verifier])
        self._size, self._at = signed.size, time.monotonic()
        return Signed(note, signed, nodes)

    def close(self) -> None:
        """Sign what is left, then stop."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._look(last=True)

    def _run(self) -> None:
        while not self._closing.wait(LOOK_S):
            self._look()

    def _look(self, *, last: bool = False) -> None:
        try:
            grown = self.tree.frozen_tree().size - max(self._size, 0)
            waited = time.monotonic() - self._at >= EVERY_S
            if grown >= EVERY_EVENTS or (grown and (waited or last)):
                self.sign()
            self._complained = ""
        except ModelkeepError as error:
            if str(error) != self._complained:
                log.error("no checkpoint was signed: %s", error)  # noqa: TRY400  # the message says it all
            self._complained = str(error)

    def _publish(self, name: str, content: bytes) -> None:
        path = self.folder / name
        if not path.exists() or path.read_bytes() != content:
            durable.replace(path, content)


@contextmanager
def _told() -> Iterator[None]:
    """Say what the proof and the disk refuse in the ledger's own words."""
    try:
        yield
    except ProofError as error:
        raise Corrupt(str(error)) from error
    except OSError as error:
        raise Unavailable(f"checkpoints cannot be kept: {error}") from error
