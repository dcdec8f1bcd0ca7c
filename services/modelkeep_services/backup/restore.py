"""Make a home from a backup: verified first, then moved into place, never half.

Up to a position it becomes a fork: another ledger under another name, which its own
signer signs for, and which no key of the first one's signer comes along to.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import apsw

from modelkeep.errors import Corrupt, Invalid, Refused, Unavailable
from modelkeep.home import Home
from modelkeep.proof import durable
from modelkeep.proof.checkpoint import Checkpoint, open_signed
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import gather
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.survey import survey
from modelkeep.store.copying import Progress, fork, silent, sync_file
from modelkeep.store.port import START
from modelkeep.store.ranks import STRIDE
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.backup.manifest import MAX_BYTES, NAME, Manifest, measured
from modelkeep_services.backup.take import TAR, surveyed
from modelkeep_services.doctor.log import MARK
from modelkeep_services.doctor.objects import Named

UNFINISHED: Final = ".restoring"
SIGNERS: Final = ("checkpoint", "rotations")
"""What the names of the signer's keys, memory and changes of keys begin with."""
PIECE: Final = 1 << 20


class Restored(NamedTuple):
    """`origin` is the new home's; `fork_of` the old one's name where that is another.

    `signed` are the events that a checkpoint vouches for, by a key that was given
    (`trusted`) or by the backup's own.
    """

    origin: str
    fork_of: str
    events: int
    position: int
    signed: int
    trusted: bool


class Outside(NamedTuple):
    """What is known of the log from elsewhere: its keys, and checkpoints."""

    keys: tuple[VerifierKey, ...] = ()
    checkpoints: Path | None = None


def restore(
    backup: Path,
    home: Home,
    *,
    until: int | datetime | None = None,
    outside: Outside = Outside(),  # noqa: B008  # a constant
    progress: Progress = silent,
) -> Restored:
    """Make `home`, which must not be there yet, from a backup.

    `until` is a position, or a moment of the ledger's own time: what came later is left
    out. Raises Corrupt when the backup is not what was taken or what was signed,
    Refused when more was signed than it holds, Invalid for an `until` before it.
    """
    if home.root.exists() and (not home.root.is_dir() or any(home.root.iterdir())):
        raise Refused("restore.new", f"{home.root} is not empty: name another --home")
    try:
        with _unfinished(home) as folder:
            made = _unpacked(backup, folder)
            _check_files(folder, made)
            _check_ledger(folder, made)
            signed = _signed(folder, made, outside, forks=until is not None)
            origin, events, at = made.origin, made.events, made.position
            if until is not None:
                origin, events, at = _forked(folder, made, until, progress)
            _settle(folder)
            if home.root.exists():
                home.root.rmdir()
            folder.rename(home.root)
            durable.sync_folder(home.root.parent)
    except OSError as error:
        raise Unavailable(f"the home cannot be made: {error}") from error
    return Restored(
        origin,
        made.origin if until is not None else "",
        events,
        at,
        signed,
        bool(outside.keys),
    )


@contextmanager
def _unfinished(home: Home) -> Iterator[Path]:
    home.root.parent.mkdir(parents=True, exist_ok=True)
    folder = home.root.with_name(home.root.name + UNFINISHED)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpacked(backup: Path, folder: Path) -> Manifest:
    if backup.is_dir():
        made = _manifest(backup / NAME)
        for one in made.files:
            source, target = backup / one.path, folder / one.path
            if not source.is_file() or source.is_symlink():
                raise Corrupt(f"{one.path} is missing in the backup")
            _make_room(target, private=one.private)
            shutil.copyfile(source, target)
        return made
    if backup.suffix != TAR or not backup.is_file():
        raise Invalid.field("backup", f"{backup} is no folder and no .tar file")
    try:
        with tarfile.open(backup, mode="r:") as tar:
            return _extracted(tar, folder)
    except tarfile.TarError as error:
        raise Corrupt(f"{backup} is no whole backup: {error}") from None


def _manifest(path: Path) -> Manifest:
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise Corrupt(f"there is no {path}: half a backup, or none")
    return Manifest.parse(path.read_bytes())


def _extracted(tar: tarfile.TarFile, folder: Path) -> Manifest:
    """Write what the manifest lists, of the size it says, and nothing else."""
    first = tar.next()
    if first is None or first.name != NAME or not first.isreg():
        raise Corrupt(f"it does not begin with {NAME}")
    if first.size > MAX_BYTES:
        raise Corrupt(f"{NAME} has {first.size:,} bytes")
    opened = tar.extractfile(first)
    made = Manifest.parse(b"" if opened is None else opened.read())
    for one in made.files:
        member = tar.next()
        if member is None or not member.isreg():
            raise Corrupt(f"{one.path} is missing in the backup")
        if (member.name, member.size) != (one.path, one.size):
            raise Corrupt(f"{member.name} is there where {one.path} was due")
        content = tar.extractfile(member)
        target = folder / one.path
        _make_room(target, private=one.private)
        with target.open("wb") as file:
            while content is not None and (piece := content.read(PIECE)):
                file.write(piece)
    return made


def _make_room(target: Path, *, private: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if private:
        target.touch(mode=0o600)


def _check_files(folder: Path, made: Manifest) -> None:
    for one in made.files:
        if measured(folder / one.path) != (one.size, one.sha256):
            raise Corrupt(f"{one.path} is not what was backed up")


def _check_ledger(folder: Path, made: Manifest) -> None:
    ledger = folder / "ledger.db"
    if not ledger.is_file():
        raise Corrupt("there is no ledger in the backup")
    found = surveyed(ledger, made.checkpoint.encode(), Named())
    if (found.origin, found.events, found.root.hex()) != (
        made.origin,
        made.events,
        made.root,
    ):
        raise Corrupt("the ledger is not the one that the manifest tells of")


def _signed(folder: Path, made: Manifest, outside: Outside, *, forks: bool) -> int:
    """Return how many events a checkpoint vouches for, having held it and those from
    elsewhere against the ledger.
    """
    keys = outside.keys or tuple(_own_keys(folder / "checkpoints" / "checkpoint.vkey"))
    size = 0
    try:
        if made.checkpoint and keys:
            size = open_signed(made.checkpoint.encode(), keys)[0].size
        if outside.checkpoints is not None:
            newest = gather(outside.checkpoints, keys).top
            _continue_from(folder, newest, forks=forks)
            size = max(size, min(newest.size, made.events))
    except ProofError as error:
        raise Corrupt(f"the checkpoint does not vouch for it: {error}") from None
    return size


def _own_keys(path: Path) -> Iterable[VerifierKey]:
    if path.is_file():
        yield VerifierKey.parse(path.read_text())


def _continue_from(folder: Path, newest: Checkpoint, *, forks: bool) -> None:
    with LedgerFile(folder / "ledger.db") as file:
        found = survey(file, sizes=[newest.size])
    if newest.origin != found.origin:
        raise Corrupt(f"the checkpoints are of {newest.origin}, not {found.origin}")
    if newest.size > found.events:
        if forks:
            return
        raise Refused(
            "restore.older",
            f"{newest.size:,} events of {found.origin} were signed and this backup"
            f" holds {found.events:,}: it cannot go on so. --until makes a fork",
        )
    if found.roots.get(newest.size) != newest.root:
        raise Corrupt(f"{found.origin} is not the ledger that was signed")


# --- up to a moment ----------------------------------------------------------------


def _forked(
    folder: Path, made: Manifest, until: int | datetime, progress: Progress
) -> tuple[str, int, int]:
    ledger, whole = folder / "ledger.db", folder / "whole.db"
    ledger.rename(whole)
    upto = until if isinstance(until, int) else _position_at(whole, until)
    if upto < 0:
        raise Invalid.field("until", "is before the first event")
    upto = min(upto, made.position)
    origin = f"{made.origin}/fork-{uuid4().hex[:12]}"
    events = fork(whole, ledger, origin, upto, progress)
    _forget_after(folder, upto)
    _keep_no_signer(folder)
    mark = {
        "of": made.origin,
        "origin": origin,
        "until": upto,
        "events": events,
        "root_of_original": made.root,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (folder / MARK).write_text(json.dumps(mark, indent=1))
    _remove_database(whole)
    return origin, events, (events - 1) * STRIDE


def _position_at(ledger: Path, moment: datetime) -> int:
    """The last position before the first event known later than `moment`."""
    upto = START
    with SqliteStore(ledger) as store:
        for recorded in store.read_all():
            if datetime.fromisoformat(recorded.meta["known_at"]) > moment:
                break
            upto = recorded.position
    for suffix in ("-turn", "-room", "-bell"):
        ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
    return upto


def _forget_after(folder: Path, upto: int) -> None:
    """Reactions and objects of events that are not there are not there either."""
    for path in sorted((folder / "reactors").glob("*.db")):
        db = apsw.Connection(str(path))
        try:
            db.execute("update checkpoints set position = min(position, ?)", (upto,))
        finally:
            db.close()
    named = Named()
    with LedgerFile(folder / "ledger.db") as file:
        survey(file, seen=named.see)
    for path in sorted((folder / "decisions").rglob("*.parquet")):
        if path.relative_to(folder / "decisions").as_posix() not in named.digests:
            path.unlink()


def _keep_no_signer(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for path in sorted((folder / "keys").glob("*")):
        if path.is_file() and path.name.startswith(SIGNERS):
            path.unlink()


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """Return when all of it is on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync_file(path)
            if path.parent.name == "keys":
                path.chmod(0o600)
