"""Rules of a contract, over one batch and over many parts of one data set."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from modelkeep.decisions.matrix import Column, Numbers, Words
from modelkeep.events.monitoring import ColumnContract
from modelkeep_services.monitoring.contract import HOUR, Breach, Check, Table

NOW = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000


def floats(*values: float) -> tuple[str, Column]:
    found = np.array(values, np.float64)
    return "f64", Numbers(found, ~np.isnan(found))


def words(*values: str | None) -> tuple[str, Column]:
    known = tuple(sorted({v for v in values if v is not None}))
    codes = [-1 if v is None else known.index(v) for v in values]
    return "utf8", Words(np.array(codes, np.int32), known)


def table(at: int = NOW, **columns: tuple[str, Column]) -> Table:
    rows = len(next(iter(columns.values()))[1])
    return Table(columns, rows, at, lambda row: f"row {row}")


def check(promised: ColumnContract, *parts: Table) -> list[Breach]:
    found = Check([promised], closed=False)
    for part in parts:
        found.add(part)
    return found.breaches()


def told(promised: dict[str, Any], *values: Any) -> dict[str, int]:
    make = words if any(isinstance(v, str) for v in values) else floats
    found = check(ColumnContract(column="x", **promised), table(x=make(*values)))
    return {one.rule: one.broken for one in found}


@pytest.mark.parametrize(
    ("promised", "values", "broken"),
    [
        ({"minimum": 1, "maximum": 2}, (1.0, 2.0, np.nan), {}),
        ({"minimum": 1, "maximum": 2}, (-np.inf, np.inf), {"minimum": 1, "maximum": 1}),
        ({"exclusive_minimum": 1}, (1.0, 1.5), {"minimum": 1}),
        ({"exclusive_maximum": 2}, (2.0, 1.5), {"maximum": 1}),
        ({"kind": "integer"}, (1.0, 2.5, np.nan), {"integer": 1}),
        ({"kind": "string"}, (1.0,), {"dtype": 1}),
        ({"kind": "number"}, ("one",), {"dtype": 1}),
        ({"categories": ("1", "2")}, (1.0, 2.0, 3.0, np.nan), {"category": 1}),
        ({"categories": ("a",)}, ("a", "b", None), {"category": 1}),
        ({"categories": ("a",), "max_invalids": 1}, ("a", "b"), {}),
        ({"categories": ("a",), "max_invalid_rate": 0.4}, ("a", "b"), {"category": 1}),
        ({"max_nulls": 1}, (np.nan, 1.0), {}),
        ({"max_nulls": 0}, (np.nan, 1.0), {"null_rate": 1}),
        ({"max_nulls": 0, "missing_words": ("?",)}, ("?", "a"), {"null_rate": 1}),
        ({"max_duplicates": 0}, (1.0, 2.0, 1.0, np.nan, np.nan), {"unique": 1}),
        ({"max_duplicates": 0}, (0.0, -0.0), {"unique": 1}),
        ({"max_duplicate_rate": 0.5}, ("a", "a", "b"), {}),
        ({"min_length": 2, "max_length": 3}, ("a", "ab", "abcd"), {"length": 2}),
        ({"kind": "moment"}, ("2026-01-05", "soon"), {"format": 1}),
    ],
)
def test_a_rule_counts_the_rows_that_broke_it(
    promised: dict[str, Any], values: tuple[Any, ...], broken: dict[str, int]
) -> None:
    assert told(promised, *values) == broken


def test_the_newest_value_decides_whether_data_are_fresh() -> None:
    promised = ColumnContract(column="x", kind="moment", max_age_hours=24)
    old = table(x=words("2025-11-05", "2026-01-03T23:00:00+00:00"))
    [one] = check(promised, old)
    assert (one.rule, one.broken, one.of) == ("freshness", 2, 2)
    assert not check(promised, old, table(x=words("2026-01-04T12:00:00")))


def test_an_input_read_beside_the_rows_may_be_stale() -> None:
    promised = ColumnContract(column="x", kind="moment", max_age_hours=1)
    part = table(y=floats(1.0))
    stale = part._replace(readings={"x": NOW - 2 * HOUR})
    assert [one.rule for one in check(promised, stale)] == ["freshness"]
    assert not check(promised, part._replace(readings={"x": NOW - HOUR}))
    assert [one.rule for one in check(promised, part)] == ["present"]


def test_a_snapshot_in_parts_is_judged_like_one_in_one_part() -> None:
    rng = np.random.default_rng(4)
    values = rng.integers(0, 400, 1_000).astype(np.float64)
    values[rng.random(1_000) < 0.1] = np.nan
    promised = ColumnContract(
        column="x", minimum=5, max_null_rate=0.01, max_duplicates=0
    )
    whole = check(promised, table(x=floats(*values)))
    cuts = [0, 1, 17, 500, 999, 1_000]
    parts = [table(x=floats(*values[a:b])) for a, b in pairwise(cuts)]
    in_parts = check(promised, *parts)
    assert {(b.rule, b.broken, b.of) for b in whole} == {
        (b.rule, b.broken, b.of) for b in in_parts
    }
    assert {b.rule for b in whole} == {"minimum", "null_rate", "unique"}
    distinct = len(np.unique(values[~np.isnan(values)]))
    again = np.count_nonzero(~np.isnan(values)) - distinct
    assert {b.broken for b in whole if b.rule == "unique"} == {again}


def test_twenty_rows_are_named_and_no_more() -> None:
    [one] = check(ColumnContract(column="x", minimum=5), table(x=floats(*[1.0] * 50)))
    assert one.examples == tuple(f"row {row}" for row in range(20))
