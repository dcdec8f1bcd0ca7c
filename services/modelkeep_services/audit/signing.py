"""The key that dossiers are signed with: it signs nothing else.

It lies beside the ledger's other keys (`keys/dossier.key`, 0600). Its public half is
published where the checkpoints are, one line for each home that ever signed, so that a
key that was replaced still judges what it signed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.proof import durable
from modelkeep.proof.dossier import KEYS
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import SigningKey

KEY: Final = "dossier.key"
NAME: Final = "modelkeep-dossiers"


def signing_key(home: Home) -> SigningKey:
    """Load or make the key, and publish its public half. Raises Unavailable."""
    path = home.keys / KEY
    try:
        if not path.exists():
            home.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):  # another process was first
                SigningKey.generate(NAME).save(path)
        key = SigningKey.load(path)
        _publish(home, f"{key.verifier}\n")
    except (OSError, Malformed) as error:
        raise Unavailable(f"dossiers cannot be signed: {error}") from error
    return key


def _publish(home: Home, line: str) -> None:
    home.published.mkdir(parents=True, exist_ok=True)
    path = home.published / KEYS
    known = path.read_text() if path.exists() else ""
    if line not in known:
        durable.replace(path, (known + line).encode())
