"""The optional decoder, built once for whoever tests with it."""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

from modelkeep.policy.decode import Compiled, build


@lru_cache(maxsize=1)
def built() -> Compiled | None:
    """Return None where there is nothing to build it with."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if shutil.which("cc") is None or not headers.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "_decode.so"
        build(path)
        found = Compiled.load(path)
    assert found is not None, "what was built does not agree with protobuf"
    return found


def compiled() -> Compiled:
    """Skips, by name, where there is nothing to build it with."""
    found = built()
    if found is None:
        pytest.skip("there is no C compiler, or not the headers of this Python: cc")
    return found
