"""The optional kernel says what hashlib and numpy say, or is not used at all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.test_monitoring_rows import decisions

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions import digests, matrix
from modelkeep.decisions.kernel import Kernel, Values, build
from modelkeep.decisions.matrix import Numbers
from modelkeep.errors import Invalid
from modelkeep.stats import bins, fine, scores
from modelkeep.stats.fine import FineBaseline
from modelkeep_services.monitoring import columns


def built(path: Path, *options: str) -> Kernel:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler: cc")
    build(path, *options)
    found = Kernel.load(path)
    if found is None:
        pytest.skip("this processor has no instructions for SHA-256")
    return found


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return built(tmp_path_factory.mktemp("kernel") / "_kernel.so")


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


def test_what_is_hashed_in_two_pieces_has_the_hash_of_the_whole(
    compiled: Kernel,
) -> None:
    chance = np.random.default_rng(3)
    octets = chance.integers(0, 256, 4_096).astype(np.uint8)
    told = []
    for front in (1, 7, 45, 63, 64, 65, 128, 545):
        for body in (0, 1, 8, 18, 19, 55, 56, 63, 64, 128, 1_000, 4_096):
            # three of a size: two are hashed side by side, the third is alone
            told += [
                (octets[at : at + front].tobytes(), octets[at : at + body])
                for at in (0, 1, 2)
            ]
    wanted = [sha256(front + body.tobytes()).digest() for front, body in told]
    assert compiled.digests(told).tobytes() == b"".join(wanted)


def test_numbers_are_hashed_as_they_lie_in_memory(compiled: Kernel) -> None:
    numbers = np.arange(1_000, dtype="<f8")
    told = [(b"a", numbers), (b"b", numbers), (b"c", numbers.astype("<i4"))]
    wanted = [sha256(front + body.tobytes()).digest() for front, body in told]
    assert compiled.digests(told).tobytes() == b"".join(wanted)


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
    for given in (narrow, apart, {"b": np.arange(20.0) - 5}, {}):
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


def test_columns_have_the_leaves_that_hashlib_gives_them(
    compiled: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for one in (None, compiled):
        monkeypatch.setattr(digests, "kernel", lambda one=one: one)
        found.append(digests.column_leaves(decisions()))
    assert found[0] == found[1]


@pytest.mark.parametrize("odd", [None, np.nan, np.inf, -1.0])
def test_a_batch_is_read_or_refused_as_without_it(
    compiled: Kernel, monkeypatch: pytest.MonkeyPatch, odd: float | None
) -> None:
    found = []
    for one in (None, compiled):
        monkeypatch.setattr(columns, "kernel", lambda one=one: one)
        found += [said_of(name, odd) for name in ("scores", "latency_ms", "column")]
    assert found[:3] == found[3:]


def octets_of(columns: Sequence[NDArray[np.float64]]) -> list[bytes]:
    return [column.tobytes() for column in columns]


def said_of(name: str, odd: float | None) -> object:
    """What becomes of a batch with an odd value at its end."""
    told = {one: np.linspace(0, 1, 40) for one in ("scores", "latency_ms", "column")}
    if odd is not None:
        told[name][39] = odd
    request = pb.ObserveRequest(
        model="m",
        version="v1",
        rows=40,
        decision_ids=b"".join(bytes([at]) * 16 for at in range(40)),
        times=np.arange(40, dtype="<i8").tobytes(),
        scores=told["scores"].tobytes(),
        latency_ms=told["latency_ms"].tobytes(),
        columns=[pb.Column(name="a", values=told["column"].tobytes())],
    )
    try:
        (column,) = columns.decisions(request).columns
    except Invalid as refused:
        return str(refused)
    assert isinstance(column, Numbers)
    return column.span, column.whole, column.valid.tolist()


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 33, 4_000])
def test_columns_end_where_numpy_says_that_they_do(compiled: Kernel, rows: int) -> None:
    chance = np.random.default_rng(rows)
    given = [chance.normal(size=rows) for _ in range(40)]
    given += [np.full(rows, one) for one in (np.inf, -np.inf, 0.0, -0.0, np.nan)]
    for at, column in enumerate(given[:30]):
        column[at * 7 % rows] = (np.nan, -np.nan, np.inf)[at % 3]
    low, high = compiled.spans(octets_of(given)).T
    np.testing.assert_array_equal(low, [column.min() for column in given])
    np.testing.assert_array_equal(high, [column.max() for column in given])


def test_a_missing_value_is_seen_wherever_it_lies(compiled: Kernel) -> None:
    for rows in (16, 35):
        given = [np.zeros(rows) for _ in range(rows)]
        for at, column in enumerate(given):
            column[at] = np.nan
        assert np.isnan(compiled.spans(octets_of(given))).all()


@pytest.mark.parametrize("size", [0, 1, 2, 100, 5_000])
def test_what_is_sought_is_placed_as_numpy_places_it(
    compiled: Kernel, size: int
) -> None:
    chance = np.random.default_rng(size)
    for most in (3, 2**63):  # many alike, and hardly any
        known = np.sort(chance.integers(0, most, size, dtype=np.uint64))
        for count in (0, 1, 700):
            asked = np.sort(chance.integers(0, most, count, dtype=np.uint64))
            found = compiled.places(known, asked)
            np.testing.assert_array_equal(found, np.searchsorted(known, asked))


def run_of(chance: np.random.Generator, most: int, size: int) -> tuple[Values, ...]:
    """Ids in their order, of which some may be alike."""
    return (
        np.sort(chance.integers(0, most, size, dtype=np.uint64)),
        chance.integers(0, 9, size, dtype=np.uint64),
        np.full(size, most % 100, dtype=np.int32),
        np.arange(size, dtype=np.int32) - 1,
    )


@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (5, 0), (1, 1), (700, 900)])
def test_runs_are_merged_as_a_stable_sort_merges_them(
    compiled: Kernel, sizes: tuple[int, int]
) -> None:
    chance = np.random.default_rng(sum(sizes))
    for most in (3, 2**63):  # many alike, and hardly any
        one, other = (run_of(chance, most, size) for size in sizes)
        order = np.argsort(np.concatenate([one[0], other[0]]), kind="stable")
        found = compiled.merge(one, other)
        for column, first, second in zip(found, one, other, strict=True):
            wanted = np.concatenate([first, second])[order]
            np.testing.assert_array_equal(column, wanted)
            assert column.dtype == wanted.dtype


def test_a_processor_that_does_one_at_a_time_counts_the_same(
    compiled: Kernel, tmp_path: Path
) -> None:
    narrow = built(tmp_path / "_kernel.so", "-DNARROW=1")
    given = [values(3_000), values(3_001)[:-1], np.linspace(0, 1, 3_000)]
    edges = np.array([[-1.0, 0.0, 0.5], [1.0, np.inf, np.nan]])
    found = []
    for one in (compiled, narrow):
        reached, cells = np.zeros((2, 3), np.int64), np.zeros((4, 259), np.int64)
        one.reach(given, edges, reached)
        one.fold(given, np.array([[0.5, 3.0, -1.0, 2.0]] * 3), cells[:3])
        assert one.scores(given[2], cells[3])
        found.append((reached, cells, one.spans(octets_of(given))))
    for wide, plain in zip(*found, strict=True):
        np.testing.assert_array_equal(wide, plain)


@pytest.mark.usefixtures("compiled")
def test_a_library_of_another_form_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "_kernel.so"
    build(path)
    assert Kernel.load(path) is not None
    monkeypatch.setattr("modelkeep.decisions.kernel.FORM", 1)
    assert Kernel.load(path) is None


def test_what_is_not_a_kernel_is_not_used(tmp_path: Path) -> None:
    other = tmp_path / "_kernel.so"
    assert Kernel.load(other) is None
    other.write_bytes(b"not a library")
    assert Kernel.load(other) is None
