"""Tables of every make become the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.sdk import frames, packing
from modelkeep.sdk.batches import Block, Source
from modelkeep.sdk.frames import About, Roles, columns_of
from modelkeep.sdk.sender import Sender
from modelkeep_services.monitoring import columns

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"x": 1.5, "n": 7, "ok": True, "who": "ana", "score": 0.25, "at": NOON},
    {"x": None, "n": 8, "ok": False, "who": None, "score": 0.5, "at": NOON},
    {"x": -2.0, "n": 9, "ok": True, "who": "ana", "score": 0.75, "at": NOON},
]
DATA = {name: [row[name] for row in ROWS] for name in ROWS[0]}


def _pandas() -> Any:
    return pytest.importorskip("pandas").DataFrame(DATA)


def _polars() -> Any:
    return pytest.importorskip("polars").DataFrame(DATA)


FRAMES = {
    "columns": lambda: DATA,
    "rows": lambda: ROWS,
    "arrow": lambda: pa.table(DATA),
    "chunks": lambda: pa.concat_tables([pa.table(DATA)[:1], pa.table(DATA)[1:]]),
    "batch": lambda: pa.RecordBatch.from_pylist(ROWS),
    "pandas": _pandas,
    "polars": _polars,
}


def sent(frame: Any, **changes: Any) -> list[pb.ObserveRequest]:
    found: list[pb.ObserveRequest] = []

    class Caught(Sender):
        def put_blocks(self, blocks: Sequence[Block]) -> None:
            found.extend(block.request for block in blocks)

    source = Source("m", "v", "prod")
    sender = Caught(source, lambda: None, lambda: (), 1_000_000, 1.0, 1.0)  # type: ignore[arg-type, return-value]  # it never sends
    names = changes.pop("names", None)
    roles = Roles("score", None, "at", None, None, None)._replace(**changes)
    frames.log(source, sender, frame, names, roles, About("", None, None), 1.0)
    return found


@pytest.mark.parametrize("make", FRAMES)
def test_every_make_of_table_says_the_same(make: str) -> None:
    [request] = sent(FRAMES[make]())
    read = columns.decisions(request)
    assert read.scores.tolist() == [0.25, 0.5, 0.75]
    assert read.times.tolist() == [int(NOON.timestamp()) * 1_000_000] * 3
    named = dict(zip([n for n, _ in read.schema.columns], read.columns, strict=True))
    assert set(named) == {"x", "n", "ok", "who"}
    x, who = named["x"], named["who"]
    assert x.values.dtype == columns.F8  # type: ignore[union-attr]  # numbers
    assert x.valid.tolist() == [True, False, True]  # type: ignore[union-attr]  # numbers
    assert (x.values[0], x.values[2]) == (1.5, -2.0)  # type: ignore[union-attr]  # numbers
    assert [who.dictionary[c] if c >= 0 else None for c in who.codes] == [  # type: ignore[union-attr]  # words
        "ana",
        None,
        "ana",
    ]
    assert [float(v) for v in named["n"].values] == [7, 8, 9]  # type: ignore[union-attr]  # numbers
    assert [bool(v) for v in named["ok"].values] == [True, False, True]  # type: ignore[union-attr]  # numbers


def test_an_array_takes_its_names_from_the_caller_or_from_itself() -> None:
    matrix = np.array([[1.0, 0.1], [2.0, 0.2]])
    [request] = sent(matrix, names=["x", "score"], at=None)
    assert columns.decisions(request).scores.tolist() == [0.1, 0.2]
    fields = np.array([(1.0, 0.1)], dtype=[("x", "f8"), ("score", "f4")])
    [request] = sent(fields, at=None)
    assert [c.name for c in request.columns] == ["x"]
    with pytest.raises(ValueError, match="a name for each column"):
        sent(matrix, at=None)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 3], pa.int16()),
        pa.array([2**60 + 1, None], pa.int64()),
        pa.array([True, None, False]),
        pa.array([1.5, None], pa.float32()),
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
        pa.array(["a", None, "b"], pa.large_string()),
        pa.array([None, None], pa.float64()),
        pa.array([NOON, None], pa.timestamp("ns", "UTC")),
    ],
)
def test_a_slice_of_an_arrow_column_is_packed_like_a_column_of_its_own(
    values: Any,
) -> None:
    whole = dict(columns_of(pa.table({"c": pa.chunked_array([values, values])})))["c"]
    size = len(values)
    for start in range(size):
        part = packing.column("c", whole[start : start + size])
        alone = pa.concat_arrays([values[start:], values[:start]])
        rows = list(columns.read_columns([part], size))
        again = packing.column("c", dict(columns_of(pa.table({"c": alone})))["c"])
        expected = list(columns.read_columns([again], size))
        assert rows[0][1] == expected[0][1]
        assert _values(rows[0][2]) == _values(expected[0][2])


def _values(column: Any) -> list[Any]:
    if hasattr(column, "codes"):
        return [column.dictionary[c] if c >= 0 else None for c in column.codes]
    pairs = zip(column.values.tolist(), column.valid.tolist(), strict=True)
    return [value if valid else None for value, valid in pairs]


def test_what_cannot_be_sent_is_said_before_anything_is() -> None:
    with pytest.raises(ValueError, match="no column risk"):
        sent(DATA, scores="risk")
    with pytest.raises(ValueError, match="row 1: nan is no score"):
        sent(DATA | {"score": [0.1, float("nan"), 0.2]})
    with pytest.raises(ValueError, match="no time zone"):
        sent(DATA | {"at": [NOON.replace(tzinfo=None)] * 3})
    with pytest.raises(ValueError, match="has 2 rows"):
        sent(DATA | {"x": [1.0, 2.0]})
