"""Columns off the wire, ids found again, contracts checked: arrays in, facts out."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from tests.integration.watched import DAY, micros, rows

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.matrix import Numbers, Words
from modelkeep.errors import Invalid
from modelkeep.events.monitoring import ColumnContract
from modelkeep_services.monitoring import columns
from modelkeep_services.monitoring.contract import breaches, merged
from modelkeep_services.monitoring.ids import ABSENT, Ids, ends, repeats


def column(**changes: object) -> pb.Column:
    given: dict[str, object] = {"name": "x", "values": bytes(16)}
    return pb.Column(**(given | changes))  # type: ignore[arg-type]  # a test's own fields


def observed(*extra: pb.Column, n: int = 2) -> pb.ObserveRequest:
    request = rows(n).request()
    del request.columns[:]
    request.columns.extend(extra)
    return request


def invalid(request: pb.ObserveRequest) -> str:
    with pytest.raises(Invalid) as error:
        columns.decisions(request)
    return str(error.value.violations[0].field)


def test_a_batch_is_read_as_it_was_written() -> None:
    logged = rows(5)
    found = columns.decisions(logged.request(use="desk"))
    assert found.schema.columns == (("carrier", "utf8"), ("x", "f64"))
    assert found.schema.environment == "prod"
    assert found.times[0] == micros(DAY)
    carrier, x = found.columns
    assert isinstance(carrier, Words)
    assert isinstance(x, Numbers)
    assert [carrier.dictionary[code] for code in carrier.codes] == logged.carrier
    np.testing.assert_array_equal(x.values, logged.x)


def test_nan_and_invalid_values_are_missing() -> None:
    values = np.array([np.nan, 2.0], "<f8").tobytes()
    found = columns.decisions(observed(column(values=values))).columns[0]
    assert isinstance(found, Numbers)
    assert found.valid.tolist() == [False, True]
    bits = column(dtype=pb.DTYPE_I64, validity=b"\x02")
    found = columns.decisions(observed(bits)).columns[0]
    assert isinstance(found, Numbers)
    assert found.valid.tolist() == [False, True]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (column(name=""), "columns.name"),
        (column(name="a\nb"), "columns.name"),
        (column(values=bytes(15)), "columns.x.values"),
        (column(dtype=99), "columns.x.dtype"),
        (column(validity=bytes(2)), "columns.x.validity"),
        (column(dtype=pb.DTYPE_BOOL, values=b"\0\2"), "columns.x.values"),
        (column(dictionary=["a"]), "columns.x.dictionary"),
        (
            column(dtype=pb.DTYPE_UTF8, values=bytes(8), dictionary=[]),
            "columns.x.values",
        ),
        (
            column(dtype=pb.DTYPE_UTF8, values=bytes(8), dictionary=["x" * 1_001]),
            "columns.x.dictionary",
        ),
    ],
)
def test_a_column_that_is_wrong_is_named(bad: pb.Column, field: str) -> None:
    assert invalid(observed(bad)) == field


def test_a_column_that_is_there_twice_is_named() -> None:
    assert invalid(observed(column(), column())) == "columns.x"


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_what_is_no_score_is_refused(score: float) -> None:
    request = observed()
    request.scores = np.array([0.5, score], "<f8").tobytes()
    assert invalid(request) == "scores"


def test_rows_are_bounded_and_decisions_unique() -> None:
    request = observed()
    request.rows = 65_537
    assert invalid(request) == "rows"
    request.rows = 0
    assert invalid(request) == "rows"
    request = observed()
    request.decision_ids = bytes(32)
    assert invalid(request) == "decision_ids"


def test_batches_are_joined_with_one_dictionary() -> None:
    one, two = rows(3, seed=1), rows(3, seed=2)
    one.carrier, two.carrier = ["UA", None, "B6"], ["DL", "UA", None]
    found = columns.joined([columns.decisions(r.request()) for r in (one, two)])
    carrier = found.columns[0]
    assert isinstance(carrier, Words)
    spelled = [carrier.dictionary[c] if c >= 0 else None for c in carrier.codes]
    assert spelled == ["UA", None, "B6", "DL", "UA", None]
    part = columns.taken(found, found.times == found.times[0])
    assert len(part) == 2


def test_ids_are_found_whatever_the_order_they_came_in() -> None:
    rng = np.random.default_rng(4)
    ids = Ids()
    kept = [
        rng.integers(0, 256, (int(n), 16)).astype(np.uint8)
        for n in rng.integers(1, 400, 60)
    ]
    for batch, some in enumerate(kept):
        ids.add(some, batch)
    assert len(ids) == sum(map(len, kept))
    assert len(ids._runs) < 12
    for batch, some in enumerate(kept):
        found = ids.find(some)
        assert (found.batches == batch).all()
        assert (found.rows == np.arange(len(some))).all()
    stranger = ids.find(np.zeros((1, 16), np.uint8))
    assert stranger.batches.tolist() == [ABSENT]


def test_ids_that_end_in_zeros_are_not_confused() -> None:
    ids = Ids()
    first, second = bytes(15) + b"\1", b"\1" + bytes(15)
    ids.add(np.frombuffer(first + second, np.uint8).reshape(2, 16), 3)
    asked = np.frombuffer(second + first + bytes(16), np.uint8).reshape(3, 16)
    assert ids.find(asked).rows.tolist() == [1, 0, ABSENT]


def test_ids_are_found_again_however_many_runs_they_went_through() -> None:
    rng = np.random.default_rng(8)
    ids = Ids()
    batches = [rng.integers(0, 3, (n, 16), dtype=np.uint8) for n in (1, 700, 64, 3_000)]
    place: dict[bytes, tuple[int, int]] = {}
    for number, batch in enumerate(batches):
        new = np.unique(batch, axis=0)
        fresh = np.array([bytes(one) not in place for one in new])
        ids.add(new[fresh], number)
        place |= {bytes(one): (number, row) for row, one in enumerate(new[fresh])}
    asked = np.concatenate([*batches, rng.integers(0, 3, (500, 16), dtype=np.uint8)])
    found = ids.find(asked)
    told = zip(found.batches.tolist(), found.rows.tolist(), strict=True)
    assert list(told) == [place.get(bytes(one), (ABSENT, ABSENT)) for one in asked]


def test_two_ids_crafted_to_look_alike_are_two() -> None:
    odd, mask = 0x9E37_79B9_7F4A_7C15, 2**64 - 1

    def spread(first: int) -> int:
        found = first * odd & mask
        return found ^ found >> 32

    def crafted(first: int) -> bytes:
        return first.to_bytes(8, "big") + spread(first).to_bytes(8, "big")

    alike = np.frombuffer(b"".join(map(crafted, range(1, 40))), np.uint8).reshape(
        -1, 16
    )
    ids = Ids()
    ids.add(alike[:20], 0)
    ids.add(alike[20:30], 1)
    found = ids.find(alike)
    assert found.rows.tolist() == [*range(20), *range(10), *[ABSENT] * 9]
    assert not repeats(alike)
    assert repeats(np.concatenate([alike, alike[3:4]]))


def test_the_ends_of_ids_are_those_of_their_bytes() -> None:
    rng = np.random.default_rng(9)
    some = rng.integers(0, 2, (500, 16), dtype=np.uint8)
    keys = sorted(map(bytes, some))
    assert ends(some) == (keys[0], keys[-1])


def test_a_contract_names_column_rule_counts_and_rows() -> None:
    logged = rows(10)
    logged.x[:2] = [-5.0, 900.0]
    logged.x[2] = np.nan
    logged.carrier = ["ZZ", *["UA"] * 9]
    found = breaches(
        columns.decisions(logged.request()),
        [
            ColumnContract(column="x", minimum=0, maximum=100, max_null_rate=0.05),
            ColumnContract(column="carrier", categories=("UA", "B6")),
            ColumnContract(column="gone"),
            ColumnContract(column="may_be_absent", required=False),
        ],
        closed=False,
    )
    told = {(b.column, b.rule): (b.broken, b.of) for b in found}
    assert told == {
        ("x", "null_rate"): (1, 10),
        ("x", "minimum"): (1, 10),
        ("x", "maximum"): (1, 10),
        ("carrier", "category"): (1, 10),
        ("gone", "present"): (10, 10),
    }
    low = next(b for b in found if b.rule == "minimum")
    assert low.examples == (str(logged.ids[0]),)
    assert UUID(low.examples[0]) == logged.ids[0]


def test_a_contract_may_close_the_list_and_fix_the_kind() -> None:
    promised = [ColumnContract(column="x", dtype="i64")]
    found = breaches(columns.decisions(rows(4).request()), promised, closed=True)
    assert {(b.column, b.rule) for b in found} == {
        ("x", "dtype"),
        ("carrier", "unknown"),
    }


def test_breaches_of_batches_that_became_one_object_add_up() -> None:
    promised = [ColumnContract(column="gone")]
    parts = [
        breach
        for seed in (1, 2)
        for breach in breaches(
            columns.decisions(rows(8, seed=seed).request()), promised, closed=False
        )
    ]
    [one] = merged(parts, 16)
    assert (one.broken, one.of, len(one.examples)) == (16, 16, 16)
