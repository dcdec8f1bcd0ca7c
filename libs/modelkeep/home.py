"""Where everything embedded lives: one folder, and what is where in it.

DIR/ledger.db            the log (with its -wal and -shm while open)
DIR/keys/                issuer.pem writer.pem checkpoint key, subjects.db (0600)
DIR/keys/publishers/       whose signatures over model files count, one PEM each
DIR/keys/epochs/         what the keys in subjects.db are wrapped by: not in backups
DIR/tokens/<role>.token  for local clients (0600)
DIR/scenario             exists when the ledger's clock is moved by hand
DIR/run/<service>        locked by the process that runs it; says its address
DIR/views/<service>.db   disposable
DIR/reactors/            how far each reaction has come; not disposable
DIR/decisions/           the decision log's Parquet objects
DIR/artifacts/           content-addressed, unless MODELKEEP_ARTIFACTS says where
DIR/checkpoints/         signed checkpoints: publish or copy these elsewhere
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

DEFAULT: Final = ".modelkeep"
VARIABLE: Final = "MODELKEEP_HOME"
PUBLISHED: Final = "MODELKEEP_CHECKPOINTS"
EPOCHS: Final = "MODELKEEP_EPOCHS"


class Home(NamedTuple):
    root: Path

    @classmethod
    def find(cls, given: Path | None = None) -> Home:
        """Take `given`, or MODELKEEP_HOME, or `.modelkeep` in the working directory."""
        return cls((given or Path(os.environ.get(VARIABLE, DEFAULT))).absolute())

    def make(self) -> Home:
        """Make the folders that others may not read, before anything is put there."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.keys.mkdir(exist_ok=True, mode=0o700)
        return self

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def publishers(self) -> Path:
        """The public keys of those whose signatures over model files count."""
        return self.keys / "publishers"

    @property
    def subjects(self) -> Path:
        """The keystore."""
        return self.keys / "subjects.db"

    @property
    def epochs(self) -> Path:
        """Where the keys that wrap the keystore's are: another volume, if so said."""
        return Path(os.environ.get(EPOCHS) or self.keys / "epochs")

    @property
    def tokens(self) -> Path:
        return self.root / "tokens"

    @property
    def decisions(self) -> Path:
        return self.root / "decisions"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def published(self) -> Path:
        """Where what is signed, and the public keys that judge it, are published."""
        return Path(os.environ.get(PUBLISHED) or self.checkpoints)

    @property
    def scenario(self) -> Path:
        """Exists when this ledger's time is a scenario's, not the machine's."""
        return self.root / "scenario"

    def run(self, service: str) -> Path:
        """The lock of a running service; its content is the address it answers on."""
        return self.root / "run" / service

    def views(self, service: str) -> Path:
        return self.root / "views" / f"{service}.db"

    def reactors(self, service: str) -> Path:
        return self.root / "reactors" / f"{service}.db"
