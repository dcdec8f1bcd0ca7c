"""Columns have canonical bytes: the same one by one and at once, however they came."""

from __future__ import annotations

import dataclasses
import struct
from hashlib import sha256

import numpy as np
from tests.unit.test_monitoring_rows import SCHEMA, N, decisions, row

from modelkeep.decisions.columns import column_head, encode_columns
from modelkeep.decisions.digests import column_leaves
from modelkeep.decisions.matrix import Decisions, Numbers, Words
from modelkeep.proof.merkle import leaf_hash
from modelkeep_services.monitoring.columns import joined, parted


def one_by_one(rows: Decisions) -> list[bytes]:
    told = [row(rows, at) for at in range(len(rows))]
    return [leaf_hash(column) for column in encode_columns(rows.schema, told)]


def test_columns_at_once_are_those_written_value_by_value() -> None:
    rows = decisions()
    assert column_leaves(rows) == one_by_one(rows)
    assert len(column_leaves(rows)) == 7 + len(SCHEMA.columns)


def test_the_bytes_of_a_column_are_those_the_page_says() -> None:
    rows = decisions()
    told = [row(rows, at) for at in range(N)]
    columns = list(encode_columns(SCHEMA, told))
    schema = sha256(SCHEMA.to_json()).digest()
    head = schema + struct.pack("<iq", 0, 7)
    assert columns[0] == head + rows.ids.tobytes()
    assert columns[3][44:45] == bytes([0b1011101])
    assert columns[3][53:61] == bytes(8)
    words = b"\2\0\0\0" + b"\2\0\0\0B6" + b"\2\0\0\0UA"
    codes = np.array([1, 0, -1, 0, 1, 1, 0], "<i4").tobytes()
    assert columns[7 + 3][44:] == words + codes
    assert columns[1][:44] == column_head(schema, 1, N)


def test_a_value_that_changes_changes_its_columns_leaf_alone() -> None:
    rows = decisions()
    scores = rows.scores.copy()
    scores[3] += 1e-12
    changed = column_leaves(dataclasses.replace(rows, scores=scores))
    differ = [a != b for a, b in zip(changed, column_leaves(rows), strict=True)]
    assert [at for at, other in enumerate(differ) if other] == [2]


def test_what_is_missing_is_zeros_whatever_was_sent_in_its_place() -> None:
    rows = decisions()
    numbers = rows.columns[2]
    assert isinstance(numbers, Numbers)
    values = np.where(numbers.valid, numbers.values, 77)
    other = (*rows.columns[:2], Numbers(values, numbers.valid), *rows.columns[3:])
    assert column_leaves(dataclasses.replace(rows, columns=other)) == column_leaves(
        rows
    )


def test_the_order_of_a_dictionary_and_words_unused_change_nothing() -> None:
    rows = decisions()
    turned = Words(np.array([3, 1, -1, 1, 0, 3, 1], np.int32), ("UA", "B6", "?", "UA"))
    other = (*rows.columns[:3], turned, *rows.columns[4:])
    assert column_leaves(dataclasses.replace(rows, columns=other)) == column_leaves(
        rows
    )


def test_batches_that_became_one_object_are_told_apart_again() -> None:
    rows = decisions()
    again = dataclasses.replace(rows, ids=rows.ids[::-1].copy())
    parts = list(parted(joined([rows, again]), (N, N)))
    assert [column_leaves(one) for one in parts] == [
        column_leaves(one) for one in (rows, again)
    ]
