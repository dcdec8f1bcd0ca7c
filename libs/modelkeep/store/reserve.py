"""Space that an append may not use: what is needed to free some, and to end well."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modelkeep.errors import DiskFull, Invalid

RESERVE_MIB: Final = 256
VARIABLE: Final = "MODELKEEP_RESERVE_MIB"
MIB: Final = 1 << 20


def reserved() -> int:
    """Return how many bytes must stay free: MODELKEEP_RESERVE_MIB, or 256 MiB.

    Raises Invalid when that is no number of MiB.
    """
    said = os.environ.get(VARIABLE, str(RESERVE_MIB))
    if not said.isascii() or not said.isdigit():
        raise Invalid.field(VARIABLE, f"{said!r} is no number of MiB")
    return int(said) * MIB


def check_space(folder: Path, reserve: int) -> None:
    """Raises DiskFull when less than `reserve` bytes are free. Costs microseconds."""
    if reserve:
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        if free < reserve:
            raise DiskFull(
                f"{free // MIB} MiB are free under {folder}, and {reserve // MIB} must"
                " stay so: free some"
            )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Write a file below `folder`. Raises DiskFull when there is no room for it."""
    check_space(folder, reserved())
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DiskFull(f"there is no space left under {folder}") from error
