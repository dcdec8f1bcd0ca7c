"""What the SDK puts on the wire, and what it does with what it cannot."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from modelkeep import Client
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.sdk import packing
from modelkeep.sdk.batches import (
    MAX_BYTES,
    NEVER,
    Outcome,
    Row,
    Source,
    Whole,
    blocks,
    least_bytes,
    outcome_requests,
    requests,
)
from modelkeep.sdk.outcomes import OutcomeKind, Truth, of_numbers, outcome_of
from modelkeep.sdk.uuid7 import mint, mint_many, octets

SOURCE = Source("m", "v", "prod")
NAN = float("nan")


def row(number: int, use: str = "", **features: packing.Value) -> Row:
    return rowed(number, use, features)


def rowed(number: int, use: str, features: Mapping[str, packing.Value]) -> Row:
    key = number.to_bytes(16, "big")
    values = tuple(features.values())
    return Row(use, tuple(features), values, key, 7, 0.5, None, 2, 2, None)


def test_numbers_are_doubles_and_none_is_missing() -> None:
    found = packing.column("a", (1.0, None, 3))
    assert found.dtype == pb.DTYPE_UNSPECIFIED
    np.testing.assert_array_equal(np.frombuffer(found.values, "<f8"), [1.0, NAN, 3.0])


def test_integers_that_doubles_cannot_hold_stay_integers() -> None:
    found = packing.column("a", (2**60 + 1, None))
    assert found.dtype == pb.DTYPE_I64
    assert array("q", found.values)[0] == 2**60 + 1
    assert found.validity == b"\x01"


def test_truth_values_and_text_keep_their_kind() -> None:
    truths = packing.column("a", (True, None, False))
    assert (truths.dtype, truths.values, truths.validity) == (
        pb.DTYPE_BOOL,
        b"\1\0\0",
        b"\x05",
    )
    text = packing.column("b", ("x", None, "y", "x"))
    assert array("i", text.values).tolist() == [0, -1, 1, 0]
    assert list(text.dictionary) == ["x", "y"]


def test_what_is_neither_is_spelled_out() -> None:
    found = packing.column("a", (1.0, [2]))  # type: ignore[arg-type]  # what a caller may do
    assert list(found.dictionary) == ["1.0", "[2]"]


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.array([1.0, 2.0]), pb.DTYPE_UNSPECIFIED),
        (np.array([1.0, 2.0], np.float32), pb.DTYPE_F32),
        (np.array([1, 2], np.int16), pb.DTYPE_I64),
        (np.array([True, False]), pb.DTYPE_BOOL),
        (np.array(["a", "b"]), pb.DTYPE_UTF8),
    ],
)
def test_arrays_are_taken_as_they_are(given: packing.Array, dtype: int) -> None:
    assert packing.column("a", given).dtype == dtype


def test_a_column_of_text_stays_text_when_all_of_it_is_missing() -> None:
    texts: set[str] = set()
    list(requests(SOURCE, [row(1, a="x")], texts))
    [again] = requests(SOURCE, [row(2, a=None)], texts)
    assert again.columns[0].dtype == pb.DTYPE_UTF8


def test_rows_are_grouped_by_use_and_features() -> None:
    rows = [row(1, a=1.0), row(2, "desk", a=1.0), row(3, b=1.0), row(4, a=2.0)]
    found = list(requests(SOURCE, rows, set()))
    assert [(one.use, one.rows) for one in found] == [("", 2), ("desk", 1), ("", 1)]


def test_a_decision_logged_twice_is_packed_once() -> None:
    [found] = requests(SOURCE, [row(1, a=1.0), row(1, a=2.0)], set())
    assert found.rows == 1


def test_no_message_exceeds_the_limit() -> None:
    rows = [rowed(n, "", {f"f{c}": float(c) for c in range(50)}) for n in range(5_000)]
    found = list(requests(SOURCE, rows, set()))
    assert len(found) > 1
    assert all(one.ByteSize() <= MAX_BYTES for one in found)
    assert sum(one.rows for one in found) == 5_000


def test_columns_are_cut_where_a_message_is_full() -> None:
    n = 100_000
    whole = Whole(
        {"x": np.arange(n, dtype=np.float64)},
        [bytes(16)] * n,
        [0] * n,
        np.full(n, 0.5),
        None,
        explained=True,
        reason_codes=None,
        references=None,
    )
    found = list(blocks(SOURCE, "", whole))
    assert sum(block.rows for block in found) == n
    joined = b"".join(block.request.columns[0].values for block in found)
    assert joined == np.arange(n, dtype="<f8").tobytes()
    assert all(set(block.request.explained) == {1} for block in found)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(500),
        np.zeros(500, np.float32),
        np.zeros(500, np.float16),
        np.zeros(500, np.longdouble),
        np.zeros(500, np.int8),
        np.zeros(500, np.uint64),
        np.zeros(500, bool),
        np.array(["a"] * 500),
        np.array([None] * 500),
        [True] * 500,
        [1.0] * 500,
    ],
)
def test_no_message_is_shorter_than_foreseen(values: packing.Values) -> None:
    whole = Whole(
        {"x": values},
        [bytes(16)] * 500,
        [0] * 500,
        np.full(500, 0.5),
        None,
        explained=None,
        reason_codes=None,
        references=None,
    )
    [block] = blocks(SOURCE, "", whole)
    assert 0 < least_bytes(whole, 500) <= block.request.ByteSize()
    assert least_bytes(whole, 1) == 0  # one row is sent, however long


def test_columns_of_two_lengths_are_an_error() -> None:
    whole = Whole(
        {"x": [1.0]},
        [bytes(16)] * 2,
        [0, 0],
        [0.1, 0.2],
        None,
        explained=None,
        reason_codes=None,
        references=None,
    )
    with pytest.raises(ValueError, match="x has 1 rows, not 2"):
        list(blocks(SOURCE, "", whole))


def test_columns_say_when_their_feeds_were_read() -> None:
    n = 100_000
    whole = Whole(
        {"x": np.zeros(n)},
        [bytes(16)] * n,
        [0] * n,
        np.full(n, 0.5),
        None,
        explained=None,
        reason_codes=None,
        references=None,
        readings={"weather": 7},
    )
    found = list(blocks(SOURCE, "", whole))
    assert len(found) > 1
    for block in found:
        [reading] = block.request.readings
        assert (reading.feed, reading.last_at) == ("weather", 7)


def test_of_two_words_on_one_decision_the_last_is_sent() -> None:
    one = Outcome(bytes(16), 1, 5)
    [found] = outcome_requests("m", [one, one._replace(value=NEVER)])
    assert (found.rows, found.outcomes) == (1, bytes([NEVER]))


def test_outcomes_that_are_numbers_leave_as_doubles() -> None:
    told = [
        outcome_of(number.to_bytes(16, "big"), value, 5, number=True)
        for number, value in enumerate((12.7, 1, None))
    ]
    [found] = outcome_requests("m", told)
    assert np.frombuffer(found.values, "<f8").tolist() == [12.7, 1.0, 0.0]
    assert (found.never, found.outcomes, found.rows) == (b"\0\0\1", b"", 3)


def test_outcomes_of_two_kinds_leave_apart() -> None:
    one = outcome_of(bytes(16), 1, 5, number=False)
    other = outcome_of(bytes(15) + b"1", 1, 5, number=True)
    binary, number = outcome_requests("m", [one, other])
    assert (binary.outcomes, binary.values) == (b"\1", b"")
    assert np.frombuffer(number.values, "<f8").tolist() == [1.0]
    assert binary.batch != number.batch


@pytest.mark.parametrize(
    ("kind", "values", "found"),
    [
        (None, [0, 1, None, True], False),
        (None, [0.0, 1.0, NAN], False),
        (None, [0, 12.7], True),
        (None, [1, 2, np.int64(7)], False),
        (None, [2, 0.5], True),
        (None, [np.float32(0.5)], True),
        (None, ["text", 1], False),
        ("number", [0, 1], True),
        ("binary", [0, 12.7], False),
    ],
)
def test_outcomes_are_numbers_where_declared_or_where_one_is_a_float_beside_0_and_1(
    kind: OutcomeKind | None, values: list[Truth], *, found: bool
) -> None:
    assert of_numbers(kind, values) is found


def test_what_is_no_outcome_of_its_kind_is_an_error() -> None:
    for value, number in ((NAN, True), (float("inf"), True), (2, False), (0.5, False)):
        with pytest.raises(ValueError, match="outcome"):
            outcome_of(bytes(16), value, 5, number=number)


def test_decision_ids_carry_their_time() -> None:
    at = int(datetime(2013, 4, 1, tzinfo=UTC).timestamp()) * 10**9
    key, text = mint(at)
    later, _ = mint(at + 1_000_000)
    assert int(text.replace("-", "")[:12], 16) == at // 10**6
    assert octets(text) == key < later
    assert text[14] == "7"
    assert text[19] in "89ab"


def test_the_same_rows_are_the_same_batch() -> None:
    [first] = requests(SOURCE, [row(1, a=1.0), row(2, a=2.0)], set())
    [again] = requests(SOURCE, [row(1, a=1.0), row(2, a=2.0)], set())
    [other] = requests(SOURCE, [row(1, a=1.0), row(3, a=2.0)], set())
    assert first.batch == again.batch != other.batch
    one = Outcome(bytes(16), 1, 5)
    [told] = outcome_requests("m", [one])
    [contrary] = outcome_requests("m", [one._replace(value=0)])
    assert told.batch != contrary.batch


def test_a_reference_and_a_time_make_the_same_id_each_time() -> None:
    at = datetime(2013, 4, 1, tzinfo=UTC)
    with Client("127.0.0.1:1", token="t", model="m", version="v") as client:  # noqa: S106  # nobody is asked
        found = client.decision_id(at, "UA17")
        assert found == client.decision_id(at, "UA17") != client.decision_id(at, "UA18")
    assert found[14] == "7"


def test_what_is_no_id_is_an_error() -> None:
    for bad in ("", "x", "00"):
        with pytest.raises(ValueError, match=r"."):
            octets(bad)


def test_ids_minted_together_are_like_ids_minted_alone() -> None:
    moments = [1_700_000_000_123_456_789, 1_700_000_000_123_456_789, 0]
    keys, texts = mint_many(moments)
    assert len(set(keys)) == len(keys) == 3
    for moment, key, text in zip(moments, keys, texts, strict=True):
        alone, _ = mint(moment)
        assert key[:8] == alone[:8]
        assert key[8] >> 6 == 2
        assert octets(text) == key
        assert UUID(text).version == 7
