"""A backup's list of contents: what every file is, and what the ledger in it came to.

It is written last. A folder without one is half a backup, which is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from modelkeep.errors import Corrupt

NAME: Final = "manifest.json"
FORMAT: Final = "modelkeep-backup/1"
PIECE: Final = 1 << 20
MAX_BYTES: Final = 1 << 30
_NONE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading something else comes to."""


class Kept(NamedTuple):
    """A file of a backup; `path` is relative, with slashes."""

    path: str
    size: int
    sha256: str
    private: bool = False


@dataclass(frozen=True)
class Manifest:
    """`checkpoint` is the newest note that was published before the copy, or empty.

    `root` is over all `events`, in hexadecimal; `position` is that of the last one.
    """

    origin: str
    events: int
    position: int
    root: str
    checkpoint: str
    made_at: str
    keys: bool
    files: tuple[Kept, ...]
    format: str = FORMAT

    def encode(self) -> bytes:
        plain = asdict(self) | {"files": [one._asdict() for one in self.files]}
        return json.dumps(plain, indent=1, sort_keys=True).encode()

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Raises Corrupt when it is none, or of another format."""
        try:
            found: dict[str, Any] = json.loads(raw)
            _check(found)
            files = tuple(Kept(**one) for one in found.pop("files"))
            return cls(**found, files=files)
        except _NONE as error:
            raise Corrupt(f"the manifest is none: {error}") from None


def _check(found: Mapping[str, Any]) -> None:
    if found["format"] != FORMAT:
        raise ValueError(f"its format is {found['format']!r}, not {FORMAT}")
    for name in ("origin", "root", "checkpoint", "made_at"):
        if not isinstance(found[name], str):
            raise TypeError(f"{name} is no text")
    for name in ("events", "position"):
        if not isinstance(found[name], int):
            raise TypeError(f"{name} is no number")
    for one in found["files"]:
        if not safe(one["path"]) or not isinstance(one["size"], int):
            raise ValueError(f"{one['path']!r} is not a file of a backup")


def safe(path: object) -> bool:
    r"""Whether it names something below a folder, and nowhere else.

    >>> safe("decisions/main/a.parquet"), safe("../a"), safe("/a"), safe("a\0")
    (True, False, False, False)
    """
    if not isinstance(path, str) or not path or not path.isprintable():
        return False
    parts = PurePosixPath(path).parts
    return path == "/".join(parts) and parts[0] != "/" and ".." not in parts


def kept(root: Path, path: Path, *, private: bool = False) -> Kept:
    """Describe a file that lies below `root`."""
    size, digest = measured(path)
    return Kept(path.relative_to(root).as_posix(), size, digest, private)


def measured(path: Path) -> tuple[int, str]:
    size, found = 0, hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            size += len(piece)
            found.update(piece)
    return size, found.hexdigest()
