"""Keys outside the ledger: what seals personal fields, so that they can be forgotten.

One 256-bit key for each (tenant, subject, purpose), AES-256-GCM with a fresh nonce a
field, bound to tenant, subject, purpose and field. The ledger stores and hashes
ciphertext only. `DIR/keys/subjects.db` is readable by its owner alone and holds each
key wrapped by the key of an epoch (`key_service.py`), never in the clear.

Destroying a key leaves a tombstone: its random id, and the subject's name only as an
HMAC under a salt that the keystore keeps. A keystore of an older home had one key a
subject, in the clear: these are wrapped when it is opened, and still open what they
sealed. They are said to be for the purpose `""`: all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Self

import apsw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelkeep.errors import Corrupt, Unavailable
from modelkeep.events.types import Sealed
from modelkeep.key_service import Ended, KeyService, LocalKeys
from modelkeep.rowstore import transaction

ERASED: Final = "[erased]"
EVERY_PURPOSE: Final = ""
"""Of a key made before keys had purposes."""

TURNED_AFTER: Final = timedelta(days=23)
KEPT_AFTER: Final = timedelta(days=7)
"""An epoch is the current one so long, and kept so long afterwards: a copy of the
keystore is useless 30 days after it was taken, whatever it was taken of."""

_SALT: Final = "pseudonyms"
_SCHEMA: Final = """
create table if not exists meta(name text primary key, value) without rowid;
create table if not exists epochs(
  epoch text primary key, since text not null, until text, ended text,
  ordered text unique
) without rowid;
create table if not exists subject_keys(
  key_id text primary key,
  tenant text not null, subject text not null, purpose text not null,
  epoch text not null, wrapped blob not null,
  unique(tenant, subject, purpose)
) without rowid;
create table if not exists destroyed(
  key_id text primary key, tenant text not null, name text not null,
  purpose text not null, erasure text not null, at text not null
) without rowid;
"""


class SubjectKey(NamedTuple):
    """A living key: whose it is, and what it seals. `key_id` alone is ever logged."""

    key_id: str
    subject: str
    purpose: str


class Tombstone(NamedTuple):
    """A key that was destroyed, when, and by which erasure."""

    key_id: str
    purpose: str
    erasure: str
    at: datetime


class Epoch(NamedTuple):
    """`keys` are those wrapped in it now. The current epoch has no `until`."""

    name: str
    since: datetime
    until: datetime | None
    ended: datetime | None
    keys: int


class _Row(NamedTuple):
    key_id: str
    tenant: str
    subject: str
    purpose: str
    epoch: str
    wrapped: bytes


class Keystore:
    """Thread-safe; several processes of one home share the file.

    `service` keeps the epochs' keys: files beside it, unless another is given.
    """

    def __init__(self, path: Path, service: KeyService | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self._path = path
        self._service = service or LocalKeys(path.parent / "epochs")
        self._lock = threading.RLock()
        self._file = apsw.Connection(str(path))
        self._file.set_busy_timeout(5_000)
        self._file.execute(
            "pragma journal_mode=wal; pragma synchronous=full; pragma secure_delete=on;"
            "pragma temp_store=memory;" + _SCHEMA
        ).fetchall()
        self._begin()

    def _begin(self) -> None:
        """Have an epoch, and wrap what an older keystore has in the clear.

        A keystore that was put back without its epochs gets a new one: it seals again,
        and what it sealed before is not lost to whoever puts them back, too.
        """
        with self._lock:
            if self._old() or not self._has_epoch():
                with transaction(self._file):
                    if not self._has_epoch():
                        self._supersede(datetime.now(UTC))
                        self._open_epoch(datetime.now(UTC), ordered=None)
                    if self._old():
                        self._wrap_old()
                self._forget()

    def _has_epoch(self) -> bool:
        current = self._current()
        if current is None:
            return False
        try:
            self._service.wrap(current, b"", b"")
        except Ended:
            return False
        return True

    def _old(self) -> bool:
        return bool(
            self._file.execute(
                "select count(*) from sqlite_schema where name = 'keys'"
            ).get
        )

    def _wrap_old(self) -> None:
        for found in self._file.execute(
            "select key_id, tenant, subject, '', '', key from keys"
        ).fetchall():
            old = _Row._make(found)
            self._put(old.key_id, old.tenant, old.subject, EVERY_PURPOSE, old.wrapped)
        self._file.execute("drop table keys")

    # --- sealing -------------------------------------------------------------------

    def seal(
        self, tenant: str, subject: str, purpose: str, field: str, plain: str
    ) -> Sealed:
        """All four are bound in: a ciphertext moved to another place does not open."""
        key_id, key = self._key_of(tenant, subject, purpose)
        nonce = secrets.token_bytes(12)
        bound = _bound(tenant, subject, purpose, field)
        return Sealed(
            key_id=key_id,
            nonce=b64encode(nonce).decode(),
            ciphertext=b64encode(
                AESGCM(key).encrypt(nonce, plain.encode(), bound)
            ).decode(),
        )

    def open(self, tenant: str, field: str, sealed: Sealed) -> str:
        """Return the plain text, or `[erased]` when its key is gone. Raises Corrupt."""
        row = self._row(sealed.key_id)
        if row is None:
            return ERASED
        bound = _bound(tenant, row.subject, row.purpose, field)
        try:
            plain = AESGCM(self._unwrap(row)).decrypt(
                b64decode(sealed.nonce), b64decode(sealed.ciphertext), bound
            )
        except Ended:
            return ERASED
        except (InvalidTag, ValueError):
            raise Corrupt(f"{field} does not open with key {sealed.key_id}") from None
        return plain.decode()

    def pseudonym(self, tenant: str, subject: str, purpose: str, plain: str) -> str:
        """HMAC-SHA-256 under the subject's key: equal text, equal name, no way back."""
        old = self._row_of(tenant, subject, EVERY_PURPOSE)
        if old is not None:  # or a retry from before there were purposes looks new
            return _hmac(self._unwrap(old), plain)
        _, key = self._key_of(tenant, subject, purpose)
        return _hmac(key, plain)

    def name_of(self, tenant: str, subject: str) -> str:
        """A subject's name where it must outlive its keys and yet not be said: HMAC
        under the tenant's salt. Who has the salt can test a guess: destroy it last.
        """
        return _hmac(self._salt(tenant), subject)

    def _salt(self, tenant: str) -> bytes:
        return self._key_of(tenant, "", _SALT)[1]

    def _key_of(self, tenant: str, subject: str, purpose: str) -> tuple[str, bytes]:
        found = self._row_of(tenant, subject, purpose)
        if found is None:
            with self._lock, transaction(self._file):
                found = self._row_of(tenant, subject, purpose)
                if found is None:
                    new = secrets.token_hex(16), secrets.token_bytes(32)
                    self._put(new[0], tenant, subject, purpose, new[1])
                    return new
        return found.key_id, self._unwrap(found)

    def _put(
        self, key_id: str, tenant: str, subject: str, purpose: str, key: bytes
    ) -> None:
        """Within a transaction: so that the epoch is the current one for everybody."""
        epoch = self._current()
        if epoch is None:
            raise Corrupt(f"{self._path.name} has no epoch")
        row = _Row(key_id, tenant, subject, purpose, epoch, b"")
        wrapped = self._service.wrap(epoch, key, _whose(row))
        self._file.execute(
            "insert into subject_keys values(?, ?, ?, ?, ?, ?)",
            row._replace(wrapped=wrapped),
        )

    def _unwrap(self, row: _Row) -> bytes:
        return self._service.unwrap(row.epoch, row.wrapped, _whose(row))

    # --- what there is -------------------------------------------------------------

    def keys_of(self, tenant: str, subject: str) -> list[SubjectKey]:
        """A subject's living keys, by purpose."""
        rows = self._rows(
            "tenant = ? and subject = ? order by purpose", tenant, subject
        )
        return [SubjectKey(row.key_id, row.subject, row.purpose) for row in rows]

    def whose(self, tenant: str, key_id: str) -> SubjectKey | None:
        """Whose a key is, while it lives."""
        for row in self._rows("tenant = ? and key_id = ?", tenant, key_id):
            return SubjectKey(row.key_id, row.subject, row.purpose)
        return None

    def named(self, tenant: str, name: str) -> str | None:
        """Who is called so (`name_of`) among those with a living key."""
        salt = self._salt(tenant)
        rows = self._rows("tenant = ? and subject <> ''", tenant)
        said = (row.subject for row in rows if _hmac(salt, row.subject) == name)
        return next(said, None)

    def destroyed(self, tenant: str, subject: str) -> list[Tombstone]:
        """A subject's keys that were destroyed, oldest first."""
        name = self.name_of(tenant, subject)
        with self._lock:
            found = self._file.execute(
                """
                select key_id, purpose, erasure, at from destroyed
                where tenant = ? and name = ? order by at, key_id
                """,
                (tenant, name),
            ).fetchall()
        return [
            Tombstone(str(key_id), str(purpose), str(erasure), _at(at))
            for key_id, purpose, erasure, at in found
        ]

    # --- destruction ---------------------------------------------------------------

    def destroy(
        self, tenant: str, key_ids: Sequence[str], erasure: str, at: datetime
    ) -> list[str]:
        """Destroy keys and return those that were there. Again, it does nothing.

        On return no file of the keystore holds them, nor whose they were. Raises
        Unavailable where another process reads for too long: then ask again.
        """
        with self._lock:
            salt = self._salt(tenant)
            with transaction(self._file):
                gone = [
                    row
                    for key_id in key_ids
                    for row in self._rows("tenant = ? and key_id = ?", tenant, key_id)
                ]
                for row in gone:
                    self._bury(row, _hmac(salt, row.subject), erasure, at)
            self._forget()
        return [row.key_id for row in gone]

    def _bury(self, row: _Row, name: str, erasure: str, at: datetime) -> None:
        self._file.execute(
            "insert or ignore into destroyed values(?, ?, ?, ?, ?, ?)",
            (row.key_id, row.tenant, name, row.purpose, erasure, at.isoformat()),
        )
        self._delete(row)

    def _forget(self) -> None:
        """Leave nothing of what was deleted in any file.

        SQLite overwrites what it deletes, but not the copies that it left behind when
        it moved rows from page to page: so all pages are written anew. Then the journal
        is emptied: until that, it holds pages as they were before.
        """
        try:
            self._file.execute("vacuum")
            self._file.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.BusyError, apsw.LockedError):
            raise Unavailable("the keystore's journal is being read") from None
        journal = self._path.with_name(f"{self._path.name}-wal")
        with suppress(FileNotFoundError):
            if journal.stat().st_size:
                raise Unavailable("the keystore's journal is not empty yet")

    # --- what the log says was destroyed ---------------------------------------------

    @property
    def heard(self) -> int | None:
        """Up to where the log's destructions were carried out here; None: nothing."""
        with self._lock:
            found = self._file.execute(
                "select value from meta where name = 'heard'"
            ).get
        return None if found is None else int(found)

    def hear(self, position: int) -> None:
        with self._lock:
            self._file.execute(
                """
                insert into meta values('heard', ?)
                on conflict do update set value = max(value, excluded.value)
                """,
                (position,),
            )

    # --- epochs --------------------------------------------------------------------

    def epochs(self) -> list[Epoch]:
        with self._lock:
            found = self._file.execute(
                """
                select epoch, since, until, ended, (
                  select count(*) from subject_keys k where k.epoch = e.epoch
                ) from epochs e order by since, epoch
                """
            ).fetchall()
        return [
            Epoch(
                str(name),
                _at(since),
                _moment(until),
                _moment(ended),
                int(str(keys)),
            )
            for name, since, until, ended, keys in found
        ]

    def turn(self, now: datetime) -> None:
        """Begin an epoch when the current one is old, and end those kept long enough.

        `now` is the machine's time, not the ledger's: copies age by it.
        """
        current = next((e for e in self.epochs() if e.until is None), None)
        if current is not None and current.since + TURNED_AFTER <= now:
            self.rotate(now)
        for one in self.epochs():
            if one.until and not one.ended and one.until + KEPT_AFTER <= now:
                self.end(one.name, now)

    def rotate(self, now: datetime, ordered: str | None = None) -> str:
        """Begin an epoch and wrap every key anew in it; return its name.

        `ordered` names the order: given again, it is answered with the same epoch.
        """
        with self._lock:
            with transaction(self._file):
                before = self._file.execute(
                    "select epoch from epochs where ordered = ?", (ordered,)
                ).get
                if before is not None:
                    return str(before)
                self._supersede(now)
                epoch = self._open_epoch(now, ordered)
                self._rewrap(epoch)
            self._forget()
        return epoch

    def _supersede(self, now: datetime) -> None:
        self._file.execute(
            "update epochs set until = ? where until is null", (now.isoformat(),)
        )

    def _open_epoch(self, now: datetime, ordered: str | None) -> str:
        epoch = self._service.begin()
        self._file.execute(
            "insert into epochs values(?, ?, null, null, ?)",
            (epoch, now.isoformat(), ordered),
        )
        return epoch

    def _rewrap(self, epoch: str) -> None:
        for row in self._rows("epoch <> ?", epoch):
            with suppress(Ended):  # nobody can open it any more, here or elsewhere
                key = self._unwrap(row)
                self._file.execute(
                    "update subject_keys set epoch = ?, wrapped = ? where key_id = ?",
                    (epoch, self._service.wrap(epoch, key, _whose(row)), row.key_id),
                )

    def give_up(self) -> int:
        """Delete the keys that no epoch here opens, and return how many there were: so
        that their subjects can be sealed for again.
        """
        lost = 0
        with self._lock:
            with transaction(self._file):
                for row in self._rows("true"):
                    try:
                        self._unwrap(row)
                    except Ended:
                        self._delete(row)
                        lost += 1
            if lost:
                self._forget()
        return lost

    def _delete(self, row: _Row) -> None:
        self._file.execute("delete from subject_keys where key_id = ?", (row.key_id,))

    def end(self, epoch: str, now: datetime) -> None:
        """Destroy an epoch's key. Raises Unavailable while a key here needs it."""
        with self._lock, transaction(self._file):
            needed = self._file.execute(
                "select count(*) from subject_keys where epoch = ?", (epoch,)
            ).get
            if needed or epoch == self._current():
                raise Unavailable(f"epoch {epoch} is in use")
            self._service.end(epoch)  # again, after a crash before the commit
            self._file.execute(
                "update epochs set ended = ? where epoch = ?",
                (now.isoformat(), epoch),
            )

    def _current(self) -> str | None:
        found = self._file.execute("select epoch from epochs where until is null").get
        return None if found is None else str(found)

    # --- rows ----------------------------------------------------------------------

    def _row(self, key_id: str) -> _Row | None:
        return next(iter(self._rows("key_id = ?", key_id)), None)

    def _row_of(self, tenant: str, subject: str, purpose: str) -> _Row | None:
        where = "tenant = ? and subject = ? and purpose = ?"
        return next(iter(self._rows(where, tenant, subject, purpose)), None)

    def _rows(self, where: str, *given: str) -> list[_Row]:
        with self._lock:
            found = self._file.execute(
                f"select * from subject_keys where {where}",  # noqa: S608  # ours
                given,
            ).fetchall()
        return [_Row._make(row) for row in found]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bound(tenant: str, subject: str, purpose: str, field: str) -> bytes:
    if purpose == EVERY_PURPOSE:
        return f"{tenant}|{field}".encode()  # as it was sealed then
    return json.dumps(["modelkeep.sealed/2", tenant, subject, purpose, field]).encode()


def _whose(row: _Row) -> bytes:
    """What a wrapped key is bound to: it cannot be given to somebody else."""
    return json.dumps([row.key_id, row.tenant, row.subject, row.purpose]).encode()


def _hmac(key: bytes, plain: str) -> str:
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()


def _at(found: object) -> datetime:
    return datetime.fromisoformat(str(found))


def _moment(found: object) -> datetime | None:
    return None if found is None else _at(found)
