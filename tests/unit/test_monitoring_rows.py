"""A row's canonical bytes: the same from one row alone and from a whole batch."""

from __future__ import annotations

import struct
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from modelkeep.decisions.matrix import (
    Decisions,
    Numbers,
    Words,
    leaves,
    number_matrix,
    outcome_matrix,
    root,
    row_matrix,
)
from modelkeep.decisions.rows import (
    Cell,
    Row,
    Schema,
    encode_number,
    encode_outcome,
    encode_row,
    outcome_schema,
)
from modelkeep.proof.merkle import row_inclusion, row_root, verify_inclusion
from modelkeep_services.monitoring import objects

SCHEMA = Schema(
    "late",
    "v1",
    "prod",
    "desk",
    (("b", "bool"), ("f", "f32"), ("i", "i64"), ("w", "utf8"), ("x", "f64")),
)
N = 7


def decisions() -> Decisions:
    rng = np.random.default_rng(3)
    some = np.array([True, False, True, True, True, False, True])
    all_of = np.ones(N, dtype=np.bool_)
    return Decisions(
        schema=SCHEMA,
        ids=rng.integers(0, 256, (N, 16)).astype(np.uint8),
        times=np.arange(N, dtype=np.int64) * 1_000_000,
        scores=rng.random(N),
        latency_ms=np.where(some, 1.5, np.nan),
        explained=np.array([0, 1, 2, 0, 1, 2, 0], dtype=np.uint8),
        reason_codes=np.array([2, 2, 1, 0, 0, 1, 2], dtype=np.uint8),
        references=Words(np.array([-1, 0, 1, -1, 2, 2, 0], np.int32), ("a", "é", "")),
        columns=(
            Numbers(np.array([1, 0, 1, 0, 1, 0, 1], np.uint8), some),
            Numbers(rng.random(N).astype(np.float32), all_of),
            Numbers(np.arange(N, dtype=np.int64) - 3, some),
            Words(np.array([0, 1, -1, 1, 0, 0, 1], np.int32), ("UA", "B6")),
            Numbers(np.where(some, -0.0, np.nan), some),
        ),
    )


def one_by_one(rows: Decisions) -> list[bytes]:
    return [encode_row(rows.schema, row(rows, at)) for at in range(len(rows))]


def row(rows: Decisions, at: int) -> Row:
    def word(words: Words) -> str | None:
        code = int(words.codes[at])
        return None if code < 0 else words.dictionary[code]

    def cell(dtype: str, column: Numbers | Words) -> Cell:
        if isinstance(column, Words):
            return word(column)
        if not column.valid[at]:
            return None
        value = column.values[at].item()
        return bool(value) if dtype == "bool" else value

    latency = float(rows.latency_ms[at])
    named = zip(rows.schema.columns, rows.columns, strict=True)
    return Row(
        rows.ids[at].tobytes(),
        int(rows.times[at]),
        float(rows.scores[at]),
        None if np.isnan(latency) else latency,
        objects.said(int(rows.explained[at])),
        objects.said(int(rows.reason_codes[at])),
        word(rows.references),
        [cell(dtype, column) for (_, dtype), column in named],
    )


def test_one_row_and_a_batch_of_them_are_the_same_bytes() -> None:
    rows = decisions()
    matrix = row_matrix(rows)
    assert [bytes(line[1:]) for line in matrix] == one_by_one(rows)
    assert root(leaves(matrix)) == row_root(one_by_one(rows))


def test_the_bytes_are_those_the_page_says() -> None:
    rows = decisions()
    first = one_by_one(rows)[0]
    assert len(first) == SCHEMA.width
    assert first[:32] == sha256(SCHEMA.to_json()).digest()
    assert first[32:48] == rows.ids[0].tobytes()
    assert struct.unpack("<qd", first[48:64]) == (0, rows.scores[0])
    assert first[64:73] == b"\1" + struct.pack("<d", 1.5)
    assert first[73:75] == b"\0\2"
    assert first[75:108] == bytes(33)
    assert first[108:110] == b"\1\1"
    assert first[-42:-9] == b"\1" + sha256(b"UA").digest()


def test_a_schema_is_read_back() -> None:
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA
    with pytest.raises(ValueError, match="is not"):
        Schema.from_json('{"format": "other"}')


def test_every_row_can_be_proven_and_no_other() -> None:
    lines = one_by_one(decisions())
    whole = row_root(lines)
    for at in range(N):
        leaf = sha256(b"\0" + lines[at]).digest()
        proof = row_inclusion(lines, at)
        assert verify_inclusion(leaf, at, N, proof, whole)
        assert not verify_inclusion(leaf, (at + 1) % N, N, proof, whole)


@pytest.mark.parametrize("n", range(1, 20))
def test_the_root_by_levels_is_the_root(n: int) -> None:
    lines = [bytes([at]) for at in range(n)]
    hashes = [sha256(b"\0" + line).digest() for line in lines]
    assert root(hashes) == row_root(lines)


def test_an_object_gives_back_what_was_hashed(tmp_path: Path) -> None:
    rows = decisions()
    stored = objects.store_decisions(tmp_path, "main", rows)
    back = objects.load_decisions(tmp_path / stored.address)
    assert (row_matrix(back) == row_matrix(rows)).all()
    body = (tmp_path / stored.address).read_bytes()
    assert stored.digest == f"sha256:{sha256(body).hexdigest()}"
    assert stored.size == len(body)


def test_outcomes_have_canonical_bytes_too(tmp_path: Path) -> None:
    ids = decisions().ids
    said = np.array([0, 1, 2, 0, 1, 2, 1], np.uint8)
    known = np.arange(N, dtype=np.int64)
    matrix = outcome_matrix("late", ids, said, known)
    assert bytes(matrix[4, 1:]) == encode_outcome("late", ids[4].tobytes(), 1, 4)
    assert bytes(matrix[4, 1:33]) == outcome_schema("late")
    given = objects.Outcomes(ids, said, known)
    stored = objects.store_outcomes(tmp_path, "main", "late", given)
    back = objects.load_outcomes(tmp_path / stored.address)
    for was, found in zip(given, back, strict=True):
        np.testing.assert_array_equal(was, found)


def test_outcomes_that_are_numbers_have_canonical_bytes_too(tmp_path: Path) -> None:
    ids = decisions().ids
    never = np.array([0, 0, 2, 0, 0, 0, 0], np.uint8)
    values = np.array([0.0, -7.5, 0.0, 1e9, 1.0, 12.7, 3.0])
    known = np.arange(N, dtype=np.int64)
    matrix = number_matrix("late", ids, never, values, known)
    for row in range(N):
        said = None if never[row] else float(values[row])
        found = encode_number("late", ids[row].tobytes(), said, row)
        assert bytes(matrix[row, 1:]) == found
    given = objects.Outcomes(ids, never, known, values)
    stored = objects.store_outcomes(tmp_path, "main", "late", given)
    back = objects.load_outcomes(tmp_path / stored.address)
    assert back.kind == "number"
    for was, again in zip(given, back, strict=True):
        np.testing.assert_array_equal(was, again)


def test_numbers_are_packed_only_where_that_saves_space(tmp_path: Path) -> None:
    n = 5_000
    rng = np.random.default_rng(1)
    whole = np.ones(n, dtype=np.bool_)
    rows = Decisions(
        schema=Schema("late", "v1", "prod", "", (("few", "f64"), ("noise", "f64"))),
        ids=rng.integers(0, 256, (n, 16)).astype(np.uint8),
        times=np.arange(n, dtype=np.int64),
        scores=rng.random(n).round(2),
        latency_ms=np.full(n, np.nan),
        explained=np.full(n, 2, dtype=np.uint8),
        reason_codes=np.full(n, 2, dtype=np.uint8),
        references=Words(np.full(n, -1, np.int32), ()),
        columns=(
            Numbers(rng.integers(0, 9, n).astype(np.float64), whole),
            Numbers(rng.normal(size=n), whole),
        ),
    )
    stored = objects.store_decisions(tmp_path, "main", rows)
    read = parquet.ParquetFile(tmp_path / stored.address)
    with read as file:
        group = file.metadata.row_group(0)
        codecs = {
            group.column(at).path_in_schema: group.column(at).compression
            for at in range(group.num_columns)
        }
    assert codecs["feature.few"] == codecs["score"] == codecs["latency_ms"] == "ZSTD"
    assert codecs["feature.noise"] == "UNCOMPRESSED"
    again = objects.load_decisions(tmp_path / stored.address)
    np.testing.assert_array_equal(again.scores, rows.scores)
