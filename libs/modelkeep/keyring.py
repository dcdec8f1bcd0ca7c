"""A key for each purpose: made once, kept in the home, its public half published.

It lies beside the ledger's others (0600) and signs nothing but what it is for. One line
is published for each key that a home ever had, so that one that was replaced still
judges what it signed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.proof import durable
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import SigningKey


class Purpose(NamedTuple):
    """`file` is the key's in the home; `published` is that of the public halves."""

    name: str
    file: str
    published: str


def purpose_key(home: Home, purpose: Purpose) -> SigningKey:
    """Load or make the key, and publish its public half. Raises Unavailable."""
    path = home.keys / purpose.file
    try:
        if not path.exists():
            home.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):  # another process was first
                SigningKey.generate(purpose.name).save(path)
        key = SigningKey.load(path)
        _publish(home, f"{key.verifier}\n", purpose.published)
    except (OSError, Malformed) as error:
        raise Unavailable(f"{purpose.name} has no key to sign with: {error}") from error
    return key


def _publish(home: Home, line: str, published: str) -> None:
    home.published.mkdir(parents=True, exist_ok=True)
    path = home.published / published
    known = path.read_text() if path.exists() else ""
    if line not in known:
        durable.replace(path, (known + line).encode())
