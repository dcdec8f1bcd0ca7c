"""Objects in a folder: written beside, fsynced, and renamed to their digest."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from modelkeep.errors import DiskFull, NotFound, Unavailable
from modelkeep.objects.port import PIECE, Stored, hexadecimal, stream_digest

ENDINGS: Final = (".onnx", ".cdx.json")
"""Homes of before named graphs and cards by what they are."""


class Disk:
    """`FOLDER/<64 hexadecimal digits>`, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: BinaryIO) -> Stored:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return self._write(content)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            kind = DiskFull if full else Unavailable
            raise kind(f"{self._folder}: {error.strerror}") from None

    def _write(self, content: BinaryIO) -> Stored:
        made, size = hashlib.sha256(), 0
        handle, fresh = tempfile.mkstemp(dir=self._folder, prefix="new.")
        try:
            with open(handle, "wb") as file:  # noqa: PTH123  # a descriptor, no path
                while piece := content.read(PIECE):
                    file.write(piece)
                    made.update(piece)
                    size += len(piece)
                file.flush()
                os.fsync(file.fileno())
            digest = f"sha256:{made.hexdigest()}"
            # Before it is looked for: a rename over the same bytes changes nothing, and
            # mends what had rotted.
            Path(fresh).replace(self._folder / made.hexdigest())
            _sync(self._folder)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(fresh).unlink()
            raise
        return Stored(digest, size)

    @contextmanager
    def open(self, digest: str) -> Iterator[BinaryIO]:
        try:
            file = self._path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound("artifact", digest) from None
        except OSError as error:
            raise Unavailable(f"{self._folder}: {error.strerror}") from None
        with file:
            yield file

    def found(self, digest: str, *, within_s: float) -> str:
        with self.open(digest) as content:
            try:
                return stream_digest(content, within_s=within_s).digest
            except OSError as error:
                raise Unavailable(f"{digest}: {error.strerror}") from None

    def _path(self, digest: str) -> Path:
        plain = self._folder / hexadecimal(digest)
        if plain.exists():
            return plain
        before = (plain.with_suffix(end) for end in ENDINGS)
        return next((one for one in before if one.exists()), plain)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
