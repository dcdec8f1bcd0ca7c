"""Columns off the wire: many looked at together are what each would be alone."""

from __future__ import annotations

import numpy as np
import pytest

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.matrix import Numbers
from modelkeep.errors import Invalid
from modelkeep_services.monitoring.columns import joined_column, read_columns

ROWS = 5


def sent(name: str, *values: float, **more: object) -> pb.Column:
    told = np.array(values, "<f8").tobytes()
    return pb.Column(name=name, values=told, **more)  # type: ignore[arg-type]  # its own fields


def read(*columns: pb.Column) -> dict[str, Numbers]:
    found = {}
    for name, dtype, column in read_columns(columns, ROWS):
        assert dtype == "f64"
        assert isinstance(column, Numbers)
        found[name] = column
    return found


def test_columns_read_together_are_those_read_alone() -> None:
    gaps, whole = (1.0, np.nan, -3.0, 2.0, np.inf), (4.0, 9.0, -1.0, 0.0, -0.0)
    bits = bytes([0b11111])
    together = read(sent("b", *gaps), sent("a", *whole))
    alone = read(sent("b", *gaps, validity=bits), sent("a", *whole, validity=bits))
    assert list(together) == list(alone) == ["a", "b"]
    for name, column in together.items():
        np.testing.assert_array_equal(column.values, alone[name].values)
        np.testing.assert_array_equal(column.valid, alone[name].valid)
        assert column.whole == alone[name].whole
    assert together["a"].span == (-1.0, 9.0)
    assert together["b"].span is None


def test_the_span_of_parts_is_that_of_all_and_unknown_where_one_has_gaps() -> None:
    one, other = read(sent("a", 1, 2, 3, 4, 5)), read(sent("a", 9, 2, 3, 4, -5))
    both = joined_column([one["a"], other["a"]])
    assert isinstance(both, Numbers)
    assert both.span == (-5.0, 9.0)
    gap = read(sent("a", 1, 2, np.nan, 4, 5))
    parted = joined_column([one["a"], gap["a"]])
    assert isinstance(parted, Numbers)
    assert (parted.span, parted.whole) == (None, False)


def test_a_column_among_others_that_is_too_short_is_named() -> None:
    short = pb.Column(name="b", values=b"1234567")
    with pytest.raises(Invalid, match="has 7 bytes, not 40"):
        read(sent("a", 1, 2, 3, 4, 5), short)
    with pytest.raises(Invalid, match="is there twice"):
        read(sent("a", 1, 2, 3, 4, 5), sent("a", 1, 2, 3, 4, 5))
