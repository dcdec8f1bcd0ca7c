"""Files are made in memory that is used again, and come out as they would anywhere."""

from __future__ import annotations

import gc
import mmap
from collections import deque
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from modelkeep_services.monitoring import rooms


def table(rows: int) -> pa.Table:
    return pa.table({"x": np.arange(rows, dtype=np.float64)})


def plain(rows: int) -> bytes:
    whole = pa.BufferOutputStream()
    parquet.write_table(table(rows), whole)
    found: bytes = whole.getvalue().to_pybytes()
    return found


def test_a_room_that_was_used_leaves_nothing_in_the_next_file() -> None:
    for rows in (50_000, 10, 1_000):
        with rooms.made(partial(parquet.write_table, table(rows))) as content:
            assert bytes(content) == plain(rows)


def test_a_file_too_large_for_a_room_is_made_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms, "_rooms", deque([mmap.mmap(-1, 4_096)]))
    with rooms.made(partial(parquet.write_table, table(50_000))) as content:
        assert bytes(content) == plain(50_000)


def test_two_files_at_once_have_a_room_each() -> None:
    write = partial(parquet.write_table, table(1_000))
    other = partial(parquet.write_table, table(2_000))
    with rooms.made(write) as one, rooms.made(other) as two:
        assert (bytes(one), bytes(two)) == (plain(1_000), plain(2_000))


def test_columns_have_their_room_to_themselves_as_long_as_one_of_them_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free: deque[mmap.mmap] = deque(maxlen=2)
    monkeypatch.setattr(rooms, "_rooms", free)
    column = rooms.block(3, 100)[1, 10:20]
    column[:] = 7.0
    gc.collect()
    assert not free

    other = rooms.block(3, 100)
    other[:] = 1.0
    np.testing.assert_array_equal(column, np.full(10, 7.0))

    del column
    gc.collect()
    (room,) = free
    assert np.frombuffer(rooms.block(1, 200), dtype=np.float64)[110] == 7.0
    assert not room.closed


@pytest.mark.parametrize(("columns", "rows"), [(0, 10), (10, 0), (100, 65_536)])
def test_columns_that_need_no_room_or_more_than_one_have_memory_of_their_own(
    monkeypatch: pytest.MonkeyPatch, columns: int, rows: int
) -> None:
    monkeypatch.setattr(rooms, "_rooms", deque())
    assert rooms.block(columns, rows).shape == (columns, rows)
    gc.collect()
    assert not rooms._rooms
