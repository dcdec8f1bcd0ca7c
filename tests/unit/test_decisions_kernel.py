"""The optional kernel says what hashlib and numpy say, or is not used at all."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from modelkeep.decisions import matrix
from modelkeep.decisions.kernel import Kernel, build
from modelkeep.stats import bins, fine, scores
from modelkeep.stats.fine import FineBaseline


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


def values(rows: int) -> NDArray[np.float64]:
    """Values of every size, among them all that is odd."""
    chance = np.random.default_rng(rows)
    found = chance.normal(size=rows) * 10.0 ** chance.integers(-320, 300, rows)
    odd = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -1.0, 1.0, 127.0, -127]
    found[: len(odd)] = odd
    found[len(odd) : rows // 2] = chance.normal(3, 2, rows // 2 - len(odd))
    return found


@pytest.mark.parametrize("rows", [30, 1_000, 8_192, 20_000])
def test_values_are_counted_as_numpy_counts_them(
    compiled: Kernel, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    given = {"a": values(rows), "b": values(rows + 1)[:-1], "c": np.full(rows, 3.0)}
    fitted = {"a": np.linspace(0, 99, rows), "b": given["b"], "c": given["c"]}
    with np.errstate(all="ignore"):
        layout = FineBaseline.fit(fitted).layout
    matrix_of = bins.edge_matrix([bins.fit_edges(one) for one in fitted.values()])
    found = []
    for one in (None, compiled):
        monkeypatch.setattr(fine, "kernel", lambda one=one: one)
        monkeypatch.setattr(bins, "kernel", lambda one=one: one)
        counts = fine.count_fine(layout, given).counts
        found.append((counts, bins.count_bins([*given.values()], matrix_of)))
    for plain, fast in zip(*found, strict=True):
        np.testing.assert_array_equal(plain, fast)


def test_a_column_that_is_missing_or_narrow_is_counted_all_the_same(
    compiled: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = FineBaseline.fit({"a": np.arange(9.0), "b": np.arange(9.0)}).layout
    narrow = {"a": np.arange(20, dtype=np.float32)}
    apart = {"a": np.arange(40.0)[::2]}
    for given in (narrow, apart):
        monkeypatch.setattr(fine, "kernel", lambda: None)
        plain = fine.count_fine(layout, given)
        monkeypatch.setattr(fine, "kernel", lambda: compiled)
        assert fine.count_fine(layout, given) == plain


@pytest.mark.parametrize("odd", [None, np.nan, -1e-9, 1.0000001, 1.0, -0.0])
def test_scores_are_counted_as_numpy_counts_them(
    compiled: Kernel, monkeypatch: pytest.MonkeyPatch, odd: float | None
) -> None:
    chance = np.random.default_rng(4)
    for rows in (1, 7_000, 70_001):
        given = chance.random(rows)
        given[: rows // 3] = chance.integers(0, 65, rows // 3) / 64
        if odd is not None:
            given[rows // 2] = odd
        monkeypatch.setattr(scores, "kernel", lambda: None)
        plain = scores.count_scores(given)
        monkeypatch.setattr(scores, "kernel", lambda: compiled)
        np.testing.assert_array_equal(scores.count_scores(given), plain)


def test_what_is_not_a_kernel_is_not_used(tmp_path: Path) -> None:
    other = tmp_path / "_kernel.so"
    assert Kernel.load(other) is None
    other.write_bytes(b"not a library")
    assert Kernel.load(other) is None
