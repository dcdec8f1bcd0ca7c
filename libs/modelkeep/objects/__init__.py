"""Bytes under their own SHA-256, on a disk or in a bucket: never opened, only hashed.

with open_objects("s3://models/archive?region=eu-west-1") as objects: ...
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Final

from modelkeep.errors import Invalid
from modelkeep.home import Home
from modelkeep.objects.disk import Disk
from modelkeep.objects.port import PIECE, Objects, Stored, hexadecimal, stream_digest

__all__ = [
    "PIECE",
    "Objects",
    "Stored",
    "artifacts_of",
    "hexadecimal",
    "open_objects",
    "stream_digest",
]

VARIABLE: Final = "MODELKEEP_ARTIFACTS"


def open_objects(where: str | Path) -> Objects:
    """A folder, or `s3://bucket/prefix` with pyarrow's options as a query.

    Raises Invalid for another scheme; nothing is reached before it is needed.
    """
    scheme, there, _ = str(where).partition("://")
    if not there:
        return Disk(Path(where))
    if scheme != "s3":
        raise Invalid.field("artifacts", f"{scheme}:// is neither a folder nor s3://")
    return _bucket(str(where))


@lru_cache(maxsize=8)
def _bucket(uri: str) -> Objects:
    """One client for each address: it keeps connections."""
    from modelkeep.objects.bucket import Bucket  # noqa: PLC0415  # loads pyarrow

    return Bucket(uri)


def artifacts_of(home: Home) -> Objects:
    """Where a home's artifacts are: in it, or where MODELKEEP_ARTIFACTS says."""
    return open_objects(os.environ.get(VARIABLE) or home.artifacts)
