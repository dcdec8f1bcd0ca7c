"""Exam packs: an archive whose every file is in a signed list, and no other.

`manifest.dsse.json` is a DSSE envelope around

    {"format": "modelkeep exam v1", "origin": "…", "as_of": "…", "made_at": "…",
     "files": [{"name": "inventory.csv", "sha256": "…", "size": 1234}, …]}

Nothing is unpacked: each file is hashed as it streams out of the archive, and no more
of it is read than the list says there is.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.proof.dsse import MAX_ENVELOPE_BYTES, open_sealed, read_object, text
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import VerifierKey

FORMAT: Final = "modelkeep exam v1"
KIND: Final = "application/vnd.modelkeep.exam+json"
MANIFEST: Final = "manifest.dsse.json"
KEYS: Final = "exams.vkeys"
MAX_FILES: Final = 5_000
PIECE: Final = 1 << 20
UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
"""What reading an archive raises: it was cut, changed, locked, or packed strangely."""


class Listed(NamedTuple):
    name: str
    sha256: str
    size: int


class Checked(NamedTuple):
    """What was signed by whom, and which files are otherwise (`wrong`)."""

    origin: str
    as_of: str
    made_at: str
    signers: tuple[str, ...]
    files: tuple[Listed, ...]
    wrong: tuple[str, ...]


def check(path: Path, keys: Iterable[VerifierKey]) -> Checked:
    """Hold an archive to its signed list. Safe on anything.

    Raises Malformed for what is no exam pack, BadSignature when none of `keys` signed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _checked(archive, list(keys))
    except UNREADABLE as error:
        raise Malformed(f"{path} cannot be read as an archive: {error}") from None


def _checked(archive: zipfile.ZipFile, keys: list[VerifierKey]) -> Checked:
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise Malformed(f"{len(entries)} files: {MAX_FILES} is the most")
    if MANIFEST not in archive.namelist():
        raise Malformed(f"it has no {MANIFEST}: it is no exam pack")
    with archive.open(MANIFEST) as file:
        opened = open_sealed(file.read(MAX_ENVELOPE_BYTES + 1), keys, KIND)
    said = read_object(opened.body, "a manifest")
    if text(said, "format") != FORMAT:
        raise Malformed(f"it is no {FORMAT}")
    files = _files(said)
    names = [one.filename for one in entries if one.filename != MANIFEST]
    known = {one.name for one in files}
    wrong = [f"{name} is not in the list" for name in names if name not in known]
    wrong += [
        f"{name} is there twice" for name, count in Counter(names).items() if count > 1
    ]
    wrong += [why for one in files if (why := _differs(archive, one, set(names)))]
    return Checked(
        text(said, "origin"),
        text(said, "as_of"),
        text(said, "made_at"),
        tuple(key.name for key in opened.signers),
        files,
        tuple(wrong),
    )


def _differs(archive: zipfile.ZipFile, one: Listed, there: set[str]) -> str:
    if one.name not in there:
        return f"{one.name} is missing"
    found, left = hashlib.sha256(), one.size
    try:
        with archive.open(one.name) as file:
            while left >= 0 and (piece := file.read(min(PIECE, left + 1))):
                found.update(piece)
                left -= len(piece)
    except UNREADABLE:
        return f"{one.name} was changed: it does not unpack"
    same = left == 0 and found.hexdigest() == one.sha256
    return "" if same else f"{one.name} was changed"


def _files(said: Mapping[str, object]) -> tuple[Listed, ...]:
    found = said.get("files")
    if not isinstance(found, list) or len(found) > MAX_FILES:
        raise Malformed(f"a manifest lists at most {MAX_FILES} files")
    return tuple(_listed(one) for one in found)


def _listed(one: object) -> Listed:
    if not isinstance(one, dict):
        raise Malformed("a file in the list is an object")
    size = one.get("size")
    if type(size) is not int or size < 0:
        raise Malformed("a file's size is a whole number")
    return Listed(text(one, "name"), text(one, "sha256"), size)
