"""The verifier as one file: `python modelkeep-verify.pyz`, with `cryptography` beside.

It is this program's own `modelkeep.proof`, which imports nothing else of it: the file
can be read, and compared with the one that an examiner brings.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

import modelkeep
from modelkeep import proof

MAIN: Final = b"from modelkeep.proof.__main__ import main\n\nmain()\n"
SHEBANG: Final = b"#!/usr/bin/env python3\n"
WHEN: Final = (1980, 1, 1, 0, 0, 0)
"""The same program, the same bytes: an archive would tell when it was made."""


def checker() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        add(archive, "__main__.py", MAIN)
        add(archive, "modelkeep/__init__.py", _source(Path(modelkeep.__file__)))
        folder = Path(proof.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).as_posix()
            add(archive, f"modelkeep/proof/{inside}", _source(path))
    return SHEBANG + out.getvalue()


def _source(path: Path) -> bytes:
    return path.read_bytes()


def add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Put a file in, without the hour or the machine it was made on."""
    entry = zipfile.ZipInfo(name, WHEN)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
