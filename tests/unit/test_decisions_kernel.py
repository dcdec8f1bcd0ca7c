"""The optional kernel says what hashlib says, or is not used at all."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from modelkeep.decisions import matrix
from modelkeep.decisions.kernel import Kernel, build


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler: cc")
    path = tmp_path_factory.mktemp("kernel") / "_kernel.so"
    build(path)
    found = Kernel.load(path)
    if found is None:
        pytest.skip("this processor has no instructions for SHA-256")
    return found


def test_rows_of_every_width_have_the_hashes_that_hashlib_gives_them(
    compiled: Kernel,
) -> None:
    chance = np.random.default_rng(1)
    for width in (*range(200), 334, 4_096):
        rows = chance.integers(0, 256, (3, width)).astype(np.uint8)
        told = [sha256(row.tobytes()).digest() for row in rows]
        assert compiled.leaves(rows).tobytes() == b"".join(told)


def test_any_number_of_rows_has_the_root_that_hashlib_gives_them(
    compiled: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(2)
    for count in (*range(1, 70), 1_023, 1_024, 1_025):
        rows = chance.integers(0, 256, (count, 40)).astype(np.uint8)
        monkeypatch.setattr(matrix, "kernel", lambda: None)
        leaves = matrix.leaves(rows)
        root = matrix.root(leaves)
        monkeypatch.setattr(matrix, "kernel", lambda: compiled)
        assert matrix.leaves(rows) == leaves
        assert matrix.root(leaves) == root


def test_rows_that_do_not_lie_end_to_end_are_hashed_as_they_read(
    compiled: Kernel,
) -> None:
    rows = np.arange(60, dtype=np.uint8).reshape(10, 6)[::2, 1:4]
    told = [sha256(row.tobytes()).digest() for row in rows]
    assert compiled.leaves(rows).tobytes() == b"".join(told)


def test_what_is_not_a_kernel_is_not_used(tmp_path: Path) -> None:
    other = tmp_path / "_kernel.so"
    assert Kernel.load(other) is None
    other.write_bytes(b"not a library")
    assert Kernel.load(other) is None
