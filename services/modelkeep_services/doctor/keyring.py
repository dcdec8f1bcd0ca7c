"""Whether the keys are there, and whose they are to read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from modelkeep.home import Home
from modelkeep_services.doctor.finding import Finding, fail, ok, warn

NEEDED: Final = {
    "issuer.pem": "local tokens are signed with it",
    "writer.key": "appends are signed with it",
    "subjects.db": "personal fields are sealed with its keys",
}
PUBLIC: Final = frozenset({".vkey", ".vkeys", ".lock"})
OTHERS: Final = 0o077
PUT_BACK: Final = "put keys/epochs back: without it what was sealed reads [erased]"


def keyring(home: Home) -> Iterator[Finding]:
    yield present(home.keys)
    yield private(home)
    yield epochs(home)


def present(keys: Path) -> Finding:
    missing = [
        f"{name} ({why})" for name, why in NEEDED.items() if not _has(keys, name)
    ]
    if missing:
        return fail(
            "keys.present",
            f"missing in {keys}: {', '.join(missing)}",
            "restore them from where keys are kept; new ones are other keys",
        )
    return ok("keys.present", f"{', '.join(NEEDED)}")


def epochs(home: Home) -> Finding:
    """Whether what wraps the keystore's keys is there."""
    check = "keys.epochs"
    try:
        needed = _epochs(home.subjects)
    except apsw.Error as error:
        return fail(check, f"{home.subjects} cannot be read: {error}", PUT_BACK)
    lost = {name: keys for name, keys in needed.items() if not _has(home.epochs, name)}
    if lost:
        keys = sum(lost.values())
        return fail(check, f"{keys} keys lack {', '.join(sorted(lost))}", PUT_BACK)
    return ok(check, f"{sum(needed.values())} keys, {len(needed)} epochs")


def _epochs(subjects: Path) -> dict[str, int]:
    """How many keys each epoch wraps; none in a keystore from before there were any."""
    if not subjects.is_file():
        return {}
    file = apsw.Connection(str(subjects), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        made = file.execute(
            "select count(*) from sqlite_schema where name = 'subject_keys'"
        ).get
        found = "select epoch, count(*) from subject_keys group by epoch"
        return dict(file.execute(found)) if made else {}
    finally:
        file.close()


def private(home: Home) -> Finding:
    check = "keys.private"
    open_to_others = [
        f"{path} ({stat.S_IMODE(path.stat().st_mode):04o})"
        for path in _secrets(home)
        if stat.S_IMODE(path.stat().st_mode) & OTHERS
    ]
    if open_to_others:
        return fail(
            check,
            f"others may read {', '.join(open_to_others)}",
            "chmod 700 the folders and 600 the files; then make new keys and tokens",
        )
    foreign = [str(p) for p in _secrets(home) if p.stat().st_uid != _owner(home)]
    if foreign:
        return warn(
            check,
            f"not of the home's owner: {', '.join(foreign)}",
            "chown them to who runs Modelkeep",
        )
    return ok(check, "folders are 0700 and files 0600")


def _has(keys: Path, name: str) -> bool:
    return (keys / name).is_file()


def _owner(home: Home) -> int:
    return home.root.stat().st_uid


def _secrets(home: Home) -> Iterator[Path]:
    yield home.root
    if home.keys.is_dir():
        yield home.keys
        for path in sorted(home.keys.iterdir()):
            if path.is_file() and path.suffix not in PUBLIC:
                yield path
    if home.epochs.is_dir():
        yield home.epochs
        yield from sorted(path for path in home.epochs.iterdir() if path.is_file())
    if home.tokens.is_dir():
        yield home.tokens
        yield from sorted(path for path in home.tokens.iterdir() if path.is_file())
