"""Keys outside the ledger: what seals personal fields, so that they can be forgotten.

One 256-bit key for each (tenant, subject), AES-256-GCM with a fresh nonce a field. The
ledger stores and hashes ciphertext only. `DIR/keys/subjects.db` is readable by its
owner alone.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Final, Self

import apsw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelkeep.errors import Corrupt
from modelkeep.events.types import Sealed

ERASED: Final = "[erased]"


class Keystore:
    """Thread-safe; several processes of one home share the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self._lock = threading.Lock()
        self._file = apsw.Connection(str(path))
        self._file.set_busy_timeout(5_000)
        self._file.execute(
            """
            pragma journal_mode=wal; pragma synchronous=full; pragma secure_delete=on;
            create table if not exists keys(
              tenant text not null, subject text not null,
              key_id text unique not null, key blob not null,
              primary key(tenant, subject)
            ) without rowid
            """
        ).fetchall()

    def seal(self, tenant: str, subject: str, field: str, plain: str) -> Sealed:
        """`field` is bound in: a ciphertext moved to another field does not open."""
        key_id, key = self._key_of(tenant, subject)
        nonce = secrets.token_bytes(12)
        sealed = AESGCM(key).encrypt(nonce, plain.encode(), _bound(tenant, field))
        return Sealed(
            key_id=key_id,
            nonce=b64encode(nonce).decode(),
            ciphertext=b64encode(sealed).decode(),
        )

    def open(self, tenant: str, field: str, sealed: Sealed) -> str:
        """Return the plain text, or `[erased]` when its key is gone. Raises Corrupt."""
        row = self._row(
            "select key_id, key from keys where key_id = ?", (sealed.key_id,)
        )
        if row is None:
            return ERASED
        _, found = row
        try:
            plain = AESGCM(found).decrypt(
                b64decode(sealed.nonce),
                b64decode(sealed.ciphertext),
                _bound(tenant, field),
            )
        except (InvalidTag, ValueError):
            raise Corrupt(f"{field} does not open with key {sealed.key_id}") from None
        return plain.decode()

    def pseudonym(self, tenant: str, subject: str, plain: str) -> str:
        """HMAC-SHA-256 under the subject's key: equal text, equal name, no way back."""
        _, key = self._key_of(tenant, subject)
        return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()

    def _key_of(self, tenant: str, subject: str) -> tuple[str, bytes]:
        query = "select key_id, key from keys where tenant = ? and subject = ?"
        found = self._row(query, (tenant, subject))
        if found is None:
            new = (tenant, subject, secrets.token_hex(16), secrets.token_bytes(32))
            with self._lock:
                self._file.execute("insert or ignore into keys values(?, ?, ?, ?)", new)
            found = self._row(query, (tenant, subject))
        if found is None:
            raise Corrupt(f"the key of a subject of {tenant} cannot be kept")
        return found

    def _row(self, query: str, given: tuple[str, ...]) -> tuple[str, bytes] | None:
        with self._lock:
            return next(iter(self._file.execute(query, given)), None)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bound(tenant: str, field: str) -> bytes:
    return f"{tenant}|{field}".encode()
