"""Take a backup of a home while it works.

The order matters. What follows the ledger (checkpoints, the signer's memory, how far
reactions have come) is copied before it, and what it names (the decision log's
objects) after it: so nothing in the backup speaks of an event that is not in it, and
everything that its events speak of is there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from modelkeep.errors import Corrupt, Refused, Unavailable
from modelkeep.home import Home
from modelkeep.proof import durable
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import LATEST
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.note import parse
from modelkeep.proof.survey import Survey, survey
from modelkeep.store.copying import Progress, copy_database, silent, sync_file
from modelkeep.store.ranks import STRIDE
from modelkeep_services.backup.manifest import NAME, Kept, Manifest, kept
from modelkeep_services.doctor.objects import Named, digest_of, within

TAR: Final = ".tar"
UNFINISHED: Final = ".partial"
PASSING: Final = frozenset({".lock", ".new", ".partial"})
"""Endings of files that mean nothing once their process is gone."""
BESIDE: Final = ("-wal", "-shm", "-turn", "-room", "-bell", "-kept")


def take(
    home: Home, out: Path, *, keys: bool = False, progress: Progress = silent
) -> Manifest:
    """Copy `home` to a folder, or to one file when `out` ends in `.tar`.

    Raises Refused when `out` is there already, Corrupt when the home's ledger or one of
    its objects is not whole, and Unavailable for what cannot be read or written.
    """
    if out.exists():
        raise Refused("backup.new", f"{out} is there already: name another")
    if not home.ledger.is_file():
        raise Unavailable(f"no ledger in {home.root}")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _unfinished(out) as folder:
            made = _fill(home, folder, keys=keys, progress=progress)
            if out.suffix == TAR:
                _pack(folder, made, out)
            else:
                durable.replace(folder / NAME, made.encode())
                folder.rename(out)
            durable.sync_folder(out.parent)
    except OSError as error:
        raise Unavailable(f"the backup cannot be made: {error}") from error
    return made


@contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """A folder beside `out` for this process alone; what a dead one left is removed."""
    folder = out.with_name(out.name + UNFINISHED)
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("backup.alone", f"another backup to {out} is made") from None
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _fill(home: Home, folder: Path, *, keys: bool, progress: Progress) -> Manifest:
    files = [*_published(home, folder), *_databases(home.root / "reactors", folder)]
    if keys:
        files += _keys(home, folder)
    latest = folder / "checkpoints" / LATEST
    note = latest.read_bytes() if latest.exists() else b""
    ledger = folder / "ledger.db"
    copy_database(home.ledger, ledger, progress)
    files.append(kept(folder, ledger))
    named = Named()
    found = surveyed(ledger, note, named)
    files += _objects(home, folder, named)
    files += _copied(home.artifacts, folder / "artifacts", folder)
    files += _copied(home.publishers, folder / "keys" / "publishers", folder)
    if home.scenario.exists():
        files.append(_copy(home.scenario, folder / "scenario", folder))
    return Manifest(
        origin=found.origin,
        events=found.events,
        position=(found.events - 1) * STRIDE,
        root=found.root.hex(),
        checkpoint=note.decode(),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        keys=keys,
        files=tuple(files),
    )


def surveyed(ledger: Path, note: bytes, named: Named) -> Survey:
    """Read a copied ledger whole. Raises Corrupt when it does not hold together, or is
    not the one that the checkpoint in `note` was signed of.
    """
    try:
        signed = Checkpoint.parse(parse(note).text) if note else None
        with LedgerFile(ledger) as file:
            sizes = [] if signed is None else [signed.size]
            found = survey(file, sizes=sizes, seen=named.see)
            faults = [*found.faults, *file.faults(5)]
    except ProofError as error:
        raise Corrupt(str(error)) from error
    if faults:
        raise Corrupt(f"{ledger.name} is damaged: {'; '.join(faults)}")
    if signed is not None and (
        signed.origin != found.origin or found.roots.get(signed.size) != signed.root
    ):
        raise Corrupt(
            f"{found.origin} is not the ledger of which {signed.size:,} events were"
            " signed: run `modelkeep verify`"
        )
    return found


def _published(home: Home, folder: Path) -> Iterator[Kept]:
    """The newest note first: the history beside it is then as long or longer."""
    if not home.published.is_dir():
        return
    to = folder / "checkpoints"
    to.mkdir()
    names = sorted(home.published.iterdir(), key=lambda path: path.name != LATEST)
    for path in names:
        if path.is_file() and _lasting(path):
            yield _copy(path, to / path.name, folder)


def _databases(source: Path, folder: Path) -> Iterator[Kept]:
    if not source.is_dir():
        return
    to = folder / source.name
    to.mkdir()
    for path in sorted(source.glob("*.db")):
        copy_database(path, to / path.name)
        yield kept(folder, to / path.name)


def _keys(home: Home, folder: Path) -> Iterator[Kept]:
    """Not `keys/epochs`: with it, an old keystore opens what was erased since."""
    to = folder / "keys"
    to.mkdir(mode=0o700)
    for path in sorted(home.keys.iterdir()):
        if not path.is_file() or not _lasting(path):
            continue
        copy = to / path.name
        if path.suffix == ".db":
            copy.touch(mode=0o600)
            copy_database(path, copy)
        else:
            _copy(path, copy, folder)
        copy.chmod(0o600)
        yield kept(folder, copy, private=True)


def _objects(home: Home, folder: Path, named: Named) -> Iterator[Kept]:
    for address, digest in named.digests.items():
        source = within(home.decisions, address)
        if not source.is_file():
            raise Corrupt(f"the object {address} is gone")
        copy = folder / "decisions" / address
        copy.parent.mkdir(parents=True, exist_ok=True)
        one = _copy(source, copy, folder)
        if digest_of(copy) != digest:
            raise Corrupt(f"the object {address} is not what was recorded")
        yield one


def _copied(source: Path, to: Path, folder: Path) -> Iterator[Kept]:
    if not source.is_dir():
        return
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink() and _lasting(path):
            copy = to / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            yield _copy(path, copy, folder)


def _lasting(path: Path) -> bool:
    name = path.name
    return path.suffix not in PASSING and name[0] != "." and not name.endswith(BESIDE)


def _copy(source: Path, target: Path, folder: Path) -> Kept:
    shutil.copyfile(source, target, follow_symlinks=False)
    sync_file(target)
    return kept(folder, target)


def _pack(folder: Path, made: Manifest, out: Path) -> None:
    """Write one file; whoever reads it knows first what must be in it."""
    packed = out.with_name(f"{out.name}{UNFINISHED}-file")
    try:
        (folder / NAME).write_bytes(made.encode())
        with packed.open("wb") as raw:
            packed.chmod(0o600)
            with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for name in (NAME, *(one.path for one in made.files)):
                    tar.add(folder / name, arcname=name, recursive=False)
            raw.flush()
            os.fsync(raw.fileno())
        packed.rename(out)
    finally:
        packed.unlink(missing_ok=True)
