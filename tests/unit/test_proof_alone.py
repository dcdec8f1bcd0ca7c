"""The proof imports the standard library and, to sign and verify, `cryptography`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBS = Path(__file__).parents[2] / "libs"
FILES = sorted((LIBS / "modelkeep" / "proof").glob("*.py"))


PACKAGES = {
    "note.py": frozenset({"cryptography"}),
    "timestamp.py": frozenset({"cryptography", "rfc3161_client"}),  # an extra
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_else_is_imported(path: Path) -> None:
    allowed = PACKAGES.get(path.name, frozenset())
    for name in imported(path):
        top = name.partition(".")[0]
        ours = name == "modelkeep.proof" or name.startswith("modelkeep.proof.")
        assert ours or top in sys.stdlib_module_names or top in allowed, name


def test_all_but_signatures_work_without_any_package() -> None:
    names = ", ".join(
        f"modelkeep.proof.{path.stem}" for path in FILES if path.stem != "__init__"
    )
    program = f"""
import sys
sys.modules["cryptography"] = None
import {names}
from modelkeep.proof.note import VerifierKey
key = VerifierKey.parse(
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
)
try:
    key.verifies(b"", bytes(64))
except ImportError:
    print("only signatures")
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(LIBS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "only signatures\n", done.stderr
