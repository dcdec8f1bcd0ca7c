"""Keys that wrap keys: the port to whoever keeps them, and a keeper on this machine.

A subject's key lies in the keystore wrapped by the key of an *epoch*. Ending an epoch
makes whatever is wrapped under it useless, wherever a copy of it went: that is how a
backup of the keystore is outlived. `LocalKeys` keeps one file an epoch, 0600, in a
folder of its own, which is to be left out of backups (or put on another volume).
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelkeep.errors import Corrupt, Unavailable
from modelkeep.identity import write_private

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class Ended(Unavailable):
    """The epoch's key is not there: what it wrapped cannot be had, by anybody if it was
    destroyed, or until it is put back.
    """


class KeyService(Protocol):
    """Thread-safe, shared by the processes of a home.

    `bound` is authenticated with what is wrapped: it must be the same to unwrap. Each
    may raise Unavailable, and is then asked again.
    """

    def begin(self) -> str:
        """Make an epoch's key, durable on return, and name it in at most 64 letters."""

    def wrap(self, epoch: str, key: bytes, bound: bytes) -> bytes:
        """Raises Ended."""

    def unwrap(self, epoch: str, wrapped: bytes, bound: bytes) -> bytes:
        """Raises Ended, and Corrupt for what was not wrapped so."""

    def end(self, epoch: str) -> None:
        """Destroy an epoch's key; one that is gone already is no error."""


class LocalKeys:
    """256-bit keys in files, AES-256-GCM: nonce, then ciphertext and tag.

    Ending overwrites a file, syncs it and unlinks it. A journalling or copy-on-write
    file system, a snapshot or a flash disk may keep the old blocks all the same: who
    needs more has the folder on a medium that can forget, or another key service.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin(self) -> str:
        epoch = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        write_private(self._folder / epoch, secrets.token_bytes(KEY_BYTES))
        self._settle()
        return epoch

    def wrap(self, epoch: str, key: bytes, bound: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._key(epoch)).encrypt(nonce, key, bound)

    def unwrap(self, epoch: str, wrapped: bytes, bound: bytes) -> bytes:
        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            return AESGCM(self._key(epoch)).decrypt(nonce, sealed, bound)
        except (InvalidTag, ValueError):
            raise Corrupt(f"a key does not unwrap in epoch {epoch}") from None

    def end(self, epoch: str) -> None:
        path = self._folder / epoch
        try:
            with path.open("r+b") as file:
                file.write(bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return
        self._settle()

    def _key(self, epoch: str) -> bytes:
        # Read each time: another process may have ended it.
        try:
            return (self._folder / epoch).read_bytes()
        except FileNotFoundError:
            raise Ended(f"the keys of epoch {epoch} are gone") from None

    def _settle(self) -> None:
        """Return when names made or removed are on the disk."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
