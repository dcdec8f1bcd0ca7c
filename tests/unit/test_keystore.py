"""Keys that can be forgotten: wrapped by epochs, destroyed for good, outlived."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelkeep import keystore as keys
from modelkeep.errors import Corrupt, Unavailable
from modelkeep.key_service import Ended, KeyService, LocalKeys
from modelkeep.keystore import (
    ERASED,
    EVERY_PURPOSE,
    KEPT_AFTER,
    TURNED_AFTER,
    Keystore,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "subjects.db"


@pytest.fixture
def keystore(path: Path) -> Iterator[Keystore]:
    with Keystore(path) as keystore:
        yield keystore


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def wrapped(keystore: Keystore, key_id: str) -> bytes:
    row = keystore._row(key_id)
    assert row is not None
    return row.wrapped


def clear(keystore: Keystore, key_id: str) -> bytes:
    row = keystore._row(key_id)
    assert row is not None
    return keystore._unwrap(row)


class TestDestruction:
    def test_what_was_sealed_is_erased_and_the_rest_is_not(
        self, keystore: Keystore
    ) -> None:
        post = keystore.seal("main", "erin", "post", "name", "Erin")
        study = keystore.seal("main", "erin", "study", "name", "Erin")
        dana = keystore.seal("main", "dana", "post", "name", "Dana")
        gone = keystore.destroy("main", [post.key_id], "e1", NOW)
        assert gone == [post.key_id]
        assert keystore.open("main", "name", post) == ERASED
        assert keystore.open("main", "name", study) == "Erin"
        assert keystore.open("main", "name", dana) == "Dana"

    def test_again_it_does_nothing(self, keystore: Keystore) -> None:
        key_id = keystore.seal("main", "erin", "post", "name", "Erin").key_id
        keystore.destroy("main", [key_id], "e1", NOW)
        assert keystore.destroy("main", [key_id, "0" * 32], "e2", NOW + DAY) == []
        (stone,) = keystore.destroyed("main", "erin")
        assert stone == (key_id, "post", "e1", NOW)

    def test_another_tenants_keys_stay(self, keystore: Keystore) -> None:
        sealed = keystore.seal("main", "erin", "post", "name", "Erin")
        assert keystore.destroy("other", [sealed.key_id], "e1", NOW) == []
        assert keystore.open("main", "name", sealed) == "Erin"

    def test_a_tombstone_does_not_say_whose_it_was(
        self, keystore: Keystore, path: Path
    ) -> None:
        key_id = keystore.seal("main", "erin.example", "post", "name", "Erin").key_id
        keystore.destroy("main", [key_id], "e1", NOW)
        assert b"erin" not in on_disk(path.parent)
        assert keystore.whose("main", key_id) is None

    def test_a_subject_may_come_back_with_a_fresh_key(self, keystore: Keystore) -> None:
        old = keystore.seal("main", "erin", "post", "name", "Erin")
        keystore.destroy("main", [old.key_id], "e1", NOW)
        new = keystore.seal("main", "erin", "post", "name", "Erin")
        assert new.key_id != old.key_id
        assert keystore.open("main", "name", old) == ERASED
        assert keystore.open("main", "name", new) == "Erin"

    @pytest.mark.parametrize("every", [1, 3])
    def test_no_file_holds_a_destroyed_key(
        self, keystore: Keystore, path: Path, every: int
    ) -> None:
        """Among many, so that pages split and rows are moved within them."""
        ids = [
            keystore.seal("main", f"s{n:03}.example", "post", "name", "x").key_id
            for n in range(120)
        ]
        doomed = ids[::every]
        keys = {i: (clear(keystore, i), wrapped(keystore, i)) for i in ids}
        before = on_disk(path.parent)
        assert all(keys[i][1] in before for i in doomed)  # so that a miss means a miss
        assert len(keystore.destroy("main", doomed, "e1", NOW)) == len(doomed)
        # Not even while the keystore is open and its journal there.
        after = on_disk(path.parent)
        assert path.with_name("subjects.db-wal").exists()
        assert path.with_name("subjects.db-shm").exists()
        for i in doomed:
            assert keys[i][0] not in after
            assert keys[i][1] not in after
        names = [f"s{n:03}.example".encode() for n in range(0, 120, every)]
        assert not [name for name in names if name in after]
        assert all(keys[i][1] in after for i in ids if i not in doomed)

    @pytest.mark.parametrize("seed", [3, 7])
    def test_no_file_holds_a_row_that_was_moved_before_it_was_deleted(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        """SQLite moves rows from page to page and does not wipe where they were. With
        these seeds a keystore that is not written anew still has one.
        """
        chance = random.Random(seed)  # noqa: S311  # to be the same each time
        monkeypatch.setattr(keys, "secrets", Chance(chance))
        left: dict[str, tuple[bytes, bytes]] = {}
        with Keystore(path, Elsewhere()) as keystore:
            keystore._file.execute("pragma synchronous=off")  # only to be quicker
            for number in range(3):
                for one in range(60):
                    filling = "x" * chance.randrange(60)
                    who = f"sub-{number}-{one}-{filling}.subj"
                    key_id = keystore.seal("main", who, "p", "f", "t").key_id
                    left[key_id] = wrapped(keystore, key_id), who.encode()
                doomed = chance.sample(sorted(left), 30)
                keystore.destroy("main", doomed, "e1", NOW)
                disk = on_disk(path.parent)
                for key_id in doomed:
                    for trace in left.pop(key_id):
                        assert trace not in disk

    def test_a_reader_who_stays_makes_it_wait(
        self, keystore: Keystore, path: Path
    ) -> None:
        """The journal cannot be emptied under a reader: it is not said to be done."""
        keystore._file.set_busy_timeout(10)
        key_id = keystore.seal("main", "erin", "post", "name", "Erin").key_id
        reader = apsw.Connection(str(path))
        reader.execute("begin")
        reader.execute("select count(*) from subject_keys").fetchall()
        with pytest.raises(Unavailable, match="journal"):
            keystore.destroy("main", [key_id], "e1", NOW)
        reader.execute("commit")
        assert keystore.destroy("main", [key_id], "e1", NOW) == []  # it is gone
        assert path.with_name("subjects.db-wal").stat().st_size == 0
        reader.close()


class Chance:
    """As `secrets`, and yet the same each time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def token_bytes(self, size: int) -> bytes:
        return self._chance.randbytes(size)

    def token_hex(self, size: int) -> str:
        return self.token_bytes(size).hex()


class TestEpochs:
    def test_no_key_lies_in_the_clear(self, keystore: Keystore, path: Path) -> None:
        key_id = keystore.seal("main", "erin", "post", "name", "Erin").key_id
        assert clear(keystore, key_id) not in on_disk(path.parent)

    def test_keys_survive_a_new_epoch(self, keystore: Keystore) -> None:
        sealed = keystore.seal("main", "erin", "post", "name", "Erin")
        name = keystore.name_of("main", "erin")
        before = wrapped(keystore, sealed.key_id)
        keystore.rotate(NOW)
        assert wrapped(keystore, sealed.key_id) != before
        assert keystore.open("main", "name", sealed) == "Erin"
        assert keystore.name_of("main", "erin") == name

    def test_an_order_given_again_is_one_epoch(self, keystore: Keystore) -> None:
        assert keystore.rotate(NOW, "o1") == keystore.rotate(NOW + DAY, "o1")
        assert keystore.rotate(NOW + DAY, "o2") != keystore.rotate(NOW, "o1")
        assert len(keystore.epochs()) == 3

    def test_an_epoch_in_use_does_not_end(self, keystore: Keystore) -> None:
        (epoch,) = keystore.epochs()
        with pytest.raises(Unavailable, match="is in use"):
            keystore.end(epoch.name, NOW)

    def test_an_old_copy_opens_until_its_epoch_ends(
        self, keystore: Keystore, path: Path, tmp_path: Path
    ) -> None:
        """A backup of the keystore alone: erased here, and there within 30 days."""
        sealed = keystore.seal("main", "erin", "post", "name", "Erin")
        keystore.name_of("main", "erin")
        keystore._forget()
        backup = tmp_path / "backup.db"
        shutil.copy(path, backup)
        start = keystore.epochs()[0].since
        keystore.destroy("main", [sealed.key_id], "e1", start)
        service = LocalKeys(path.parent / "epochs")
        with Keystore(backup, service) as old:
            assert old.open("main", "name", sealed) == "Erin"  # the danger
        assert TURNED_AFTER + KEPT_AFTER == 30 * DAY
        for day in range(30):
            keystore.turn(start + day * DAY)
        with Keystore(backup, service) as old:
            assert old.open("main", "name", sealed) == "Erin"
        keystore.turn(start + 30 * DAY)
        with Keystore(backup, service) as old:
            assert old.open("main", "name", sealed) == ERASED
        first, second = keystore.epochs()
        assert (first.ended, first.keys) == (start + 30 * DAY, 0)
        assert (second.until, second.keys) == (None, 1)  # the salt

    def test_one_put_back_without_its_epochs_seals_again(
        self, keystore: Keystore, path: Path, tmp_path: Path
    ) -> None:
        erin = keystore.seal("main", "erin", "post", "name", "Erin")
        keystore.name_of("main", "erin")
        keystore._forget()
        shutil.copy(path, tmp_path / "back.db")
        elsewhere = LocalKeys(tmp_path / "epochs")
        with Keystore(tmp_path / "back.db", elsewhere) as back:
            assert back.open("main", "name", erin) == ERASED
            dana = back.seal("main", "dana", "post", "name", "Dana")
            assert back.open("main", "name", dana) == "Dana"
            with pytest.raises(Unavailable, match="are gone"):
                back.seal("main", "erin", "post", "name", "Erin")
        # They were only elsewhere: with them it opens again.
        shutil.copytree(path.parent / "epochs", tmp_path / "epochs", dirs_exist_ok=True)
        with Keystore(tmp_path / "back.db", elsewhere) as back:
            assert back.open("main", "name", erin) == "Erin"
            assert back.give_up() == 0

    def test_keys_that_no_epoch_opens_can_be_given_up(
        self, keystore: Keystore, path: Path
    ) -> None:
        erin = keystore.seal("main", "erin", "post", "name", "Erin")
        for file in (path.parent / "epochs").iterdir():
            file.unlink()
        with Keystore(path) as back:
            assert back.give_up() == 1
            back.end(back.epochs()[0].name, NOW)
            again = back.seal("main", "erin", "post", "name", "Erin")
            assert back.open("main", "name", again) == "Erin"
            assert back.open("main", "name", erin) == ERASED

    def test_another_process_seals_in_the_new_epoch(
        self, keystore: Keystore, path: Path
    ) -> None:
        with Keystore(path) as other:
            other.seal("main", "erin", "post", "name", "Erin")
            (old,) = keystore.epochs()
            new = keystore.rotate(NOW)
            sealed = other.seal("main", "dana", "post", "name", "Dana")
            row = other._row(sealed.key_id)
            assert row is not None
            assert row.epoch == new
            keystore.end(old.name, NOW)
            assert other.open("main", "name", sealed) == "Dana"

    def test_a_wrapped_key_is_bound_to_whose_it_is(self, keystore: Keystore) -> None:
        erin = keystore.seal("main", "erin", "post", "name", "Erin")
        dana = keystore.seal("main", "dana", "post", "name", "Dana")
        keystore._file.execute(
            "update subject_keys set wrapped = ? where key_id = ?",
            (wrapped(keystore, erin.key_id), dana.key_id),
        )
        with pytest.raises(Corrupt):
            keystore.open("main", "name", dana)


class Elsewhere:
    """Keys that never touch this machine's disk, as a key service would keep them."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.answers = True

    def begin(self) -> str:
        name = f"alias/epoch-{len(self.keys)}"
        self.keys[name] = AESGCM.generate_key(256)
        return name

    def wrap(self, epoch: str, key: bytes, bound: bytes) -> bytes:
        return bytes(12) + AESGCM(self._key(epoch)).encrypt(bytes(12), key, bound)

    def unwrap(self, epoch: str, wrapped: bytes, bound: bytes) -> bytes:
        return AESGCM(self._key(epoch)).decrypt(bytes(12), wrapped[12:], bound)

    def end(self, epoch: str) -> None:
        self.keys.pop(epoch, None)

    def _key(self, epoch: str) -> bytes:
        if not self.answers:
            raise Unavailable("the key service does not answer")
        if epoch not in self.keys:
            raise Ended(epoch)
        return self.keys[epoch]


class TestKeyServices:
    @pytest.fixture(params=["files", "elsewhere"])
    def service(self, request: pytest.FixtureRequest, tmp_path: Path) -> KeyService:
        return Elsewhere() if request.param == "elsewhere" else LocalKeys(tmp_path)

    def test_what_it_wrapped_it_unwraps_until_the_end(
        self, service: KeyService
    ) -> None:
        epoch, other = service.begin(), service.begin()
        assert epoch != other
        sealed = service.wrap(epoch, b"k" * 32, b"erin")
        assert service.unwrap(epoch, sealed, b"erin") == b"k" * 32
        service.end(epoch)
        service.end(epoch)
        with pytest.raises(Ended):
            service.unwrap(epoch, sealed, b"erin")
        with pytest.raises(Ended):
            service.wrap(epoch, b"k" * 32, b"erin")

    def test_an_ended_file_is_overwritten_before_it_goes(self, tmp_path: Path) -> None:
        service = LocalKeys(tmp_path)
        epoch = service.begin()
        same = tmp_path / "same"
        same.hardlink_to(tmp_path / epoch)
        service.end(epoch)
        assert same.read_bytes() == bytes(32)

    def test_a_keystore_works_with_one_elsewhere(self, path: Path) -> None:
        service = Elsewhere()
        with Keystore(path, service) as keystore:
            sealed = keystore.seal("main", "erin", "post", "name", "Erin")
            keystore.rotate(NOW)
            assert keystore.open("main", "name", sealed) == "Erin"
            service.answers = False
            # Not `[erased]`: that would be a lie.
            with pytest.raises(Unavailable, match="does not answer"):
                keystore.open("main", "name", sealed)
        assert not (path.parent / "epochs").exists()


class TestOldHomes:
    KEY = bytes(range(32))

    @pytest.fixture
    def old(self, path: Path) -> Path:
        """As a keystore was before keys had purposes, opened and left by a crash."""
        path.parent.mkdir()
        with_old = apsw.Connection(str(path))
        with_old.execute(
            """
            pragma journal_mode=wal;
            create table keys(
              tenant text not null, subject text not null,
              key_id text unique not null, key blob not null,
              primary key(tenant, subject)
            ) without rowid
            """
        ).fetchall()
        with_old.execute(
            "insert into keys values('main', 'erin', ?, ?)", ("a" * 32, self.KEY)
        )
        with_old.close()
        return path

    def sealed(self, keystore: Keystore) -> object:
        from base64 import b64encode  # noqa: PLC0415

        nonce = b"n" * 12
        found = AESGCM(self.KEY).encrypt(nonce, b"Erin", b"main|name")
        text = [b64encode(part).decode() for part in (nonce, found)]
        sample = keystore.seal("main", "x", "post", "name", "x")
        return sample.model_copy(
            update={"key_id": "a" * 32, "nonce": text[0], "ciphertext": text[1]}
        )

    def test_what_they_sealed_still_opens(self, old: Path) -> None:
        for _ in range(2):
            with Keystore(old) as keystore:
                sealed = self.sealed(keystore)
                assert keystore.open("main", "name", sealed) == "Erin"  # type: ignore[arg-type]  # a Sealed
                (key,) = keystore.keys_of("main", "erin")
                assert key == ("a" * 32, "erin", EVERY_PURPOSE)

    def test_their_keys_are_wrapped_at_once(self, old: Path) -> None:
        assert self.KEY in on_disk(old.parent)
        with Keystore(old):
            assert self.KEY not in on_disk(old.parent)

    def test_a_retry_from_then_is_still_recognised(self, old: Path) -> None:
        import hashlib  # noqa: PLC0415
        import hmac  # noqa: PLC0415

        before = hmac.new(self.KEY, b"Erin", hashlib.sha256).hexdigest()
        with Keystore(old) as keystore:
            keystore.seal("main", "erin", "post", "name", "Erin")
            assert keystore.pseudonym("main", "erin", "post", "Erin") == before
