"""The key that signs checkpoints: made once, kept 0600, replaced by one it endorsed.

In the home's `keys`: `checkpoint.key`, the signer's memory `checkpoint.state`, and
`rotations`, how one key followed another. `checkpoint.key.next` is there while a change
is under way; asking for the change again finishes it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from modelkeep.home import Home
from modelkeep.ledger import stamp
from modelkeep.proof import durable
from modelkeep.proof.note import SigningKey
from modelkeep.proof.rotation import ROTATIONS, Rotation
from modelkeep.proof.signer import Signer

LOG_KEY: Final = "checkpoint.vkey"
"""The name that the log's public key is published under."""
_KEY: Final = "checkpoint.key"
_NEXT: Final = "checkpoint.key.next"


def signing_key(keys: Path, origin: str) -> SigningKey:
    """Load or make the key that signs checkpoints, named as the ledger is."""
    return _loaded(keys / _KEY, origin)


def signer_of(home: Home, key: SigningKey, folder: Path) -> Signer:
    """Return the signer of a home, which publishes in `folder`."""
    state = home.keys / "checkpoint.state"
    return Signer(key, key.name, state=state, published=folder)


def rotate(
    home: Home, folder: Path, now: datetime, *, compromised: bool = False
) -> Rotation:
    """Replace the key by a new one, or finish doing so; raises ProofError, OSError.

    The old private key is gone afterwards. A running notary notices by itself.
    """
    old = SigningKey.load(home.keys / _KEY)
    new = _loaded(home.keys / _NEXT, old.name)
    signer = signer_of(home, old, folder)
    told = signer.rotate(new, time=stamp(now), compromised=compromised)
    (home.keys / _NEXT).replace(home.keys / _KEY)
    durable.sync_folder(home.keys)
    publish_keys(home, folder, new)
    return told


def publish_keys(home: Home, folder: Path, key: SigningKey) -> None:
    """Put where others see it what judges this log's checkpoints."""
    publish(folder / LOG_KEY, f"{key.verifier}\n".encode())
    changes = home.keys / ROTATIONS
    if changes.exists():
        publish(folder / ROTATIONS, changes.read_bytes())


def publish(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        durable.replace(path, content)


def _loaded(path: Path, name: str) -> SigningKey:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):  # another process was first
            SigningKey.generate(name).save(path)
    return SigningKey.load(path)
