"""The verifier writes a row's bytes again, and they are those that the log hashed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.decisions import rows as log
from modelkeep.proof import row
from modelkeep.proof.errors import Malformed

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "f64": st.floats(allow_nan=False),
    "f32": st.floats(allow_nan=False, width=32),
    "i64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "utf8": WORDS,
}
SAID = st.sampled_from([None, True, False])
COLUMNS = st.lists(st.sampled_from(sorted(CELLS)), max_size=6)


@st.composite
def logged(draw: st.DrawFn) -> tuple[log.Schema, log.Row]:
    dtypes = draw(COLUMNS)
    columns = tuple((f"c{n}", dtype) for n, dtype in enumerate(dtypes))
    schema = log.Schema("m", "1", "prod", draw(WORDS), columns)
    cells = [draw(st.one_of(st.none(), CELLS[dtype])) for dtype in dtypes]
    return schema, log.Row(
        id=draw(st.binary(min_size=16, max_size=16)),
        at=draw(st.integers(0, 2**53)),
        score=draw(CELLS["f64"]),
        latency_ms=draw(st.one_of(st.none(), CELLS["f64"])),
        explained=draw(SAID),
        reason_codes=draw(SAID),
        reference=draw(st.one_of(st.none(), WORDS)),
        values=cells,
    )


@settings(max_examples=50)
@given(logged())
def test_a_row_has_the_same_bytes_in_the_log_and_in_a_check(
    told: tuple[log.Schema, log.Row],
) -> None:
    schema, said = told
    read = row.read_schema(schema.to_json().decode())
    assert row.decision(read, row.Row(*said)) == log.encode_row(schema, said)


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2), st.integers(0, 2**53))
def test_an_outcome_has_the_same_bytes(of: bytes, became: int, at: int) -> None:
    assert row.outcome("m", of, became, at) == log.encode_outcome("m", of, became, at)


@given(
    st.binary(min_size=16, max_size=16),
    st.one_of(st.none(), CELLS["f64"]),
    st.integers(0, 2**53),
)
def test_a_number_has_the_same_bytes(of: bytes, value: float | None, at: int) -> None:
    assert row.number("m", of, value, at) == log.encode_number("m", of, value, at)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("bool", 1),
        ("i64", True),
        ("i64", 2**63),
        ("i64", 1.0),
        ("f64", True),
        ("f64", "nan"),
        ("utf8", 3),
        ("utf8", "\ud800"),
    ],
)
def test_a_value_of_another_type_is_no_row(dtype: str, value: row.Cell) -> None:
    schema = row.read_schema(
        log.Schema("m", "1", "prod", "", (("a", dtype),)).to_json().decode()
    )
    said = row.Row(bytes(16), 0, 0.5, None, None, None, None, [value])
    with pytest.raises(Malformed):
        row.decision(schema, said)


@pytest.mark.parametrize(
    "schema",
    [
        "{}",
        "[]",
        '{"format": "modelkeep.row/2"}',
        json.dumps(
            json.loads(log.Schema("m", "1", "prod", "", ()).to_json())
            | {"columns": [["a", "f16"]]}
        ),
    ],
)
def test_a_schema_that_is_none_is_refused(schema: str) -> None:
    with pytest.raises(Malformed):
        row.read_schema(schema)
