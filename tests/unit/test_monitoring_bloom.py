"""The callers' own ids: a filter's "no" is certain, and spares reading the object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from modelkeep.decisions.matrix import Decisions, Numbers, Words
from modelkeep.decisions.rows import Schema
from modelkeep.errors import Corrupt
from modelkeep_services.monitoring import objects
from modelkeep_services.monitoring.bloom import (
    _before_the_footer,
    _filter,
    may_hold,
    xxh64,
)
from modelkeep_services.monitoring.objects import Reference, find_reference

SCHEMA = Schema("m", "v", "prod", "", (("x", "f64"),))


def stored(folder: Path, references: list[str | None]) -> Path:
    """Store one object with these references, in this order."""
    rows, words = len(references), tuple(sorted({r for r in references if r}))
    codes = np.array([words.index(r) if r else -1 for r in references], np.int32)
    decisions = Decisions(
        schema=SCHEMA,
        ids=np.random.default_rng(rows).integers(0, 255, (rows, 16), dtype=np.uint8),
        times=np.full(rows, 1_700_000_000_000_000, np.int64),
        scores=np.linspace(0, 1, rows),
        latency_ms=np.full(rows, np.nan),
        explained=np.ones(rows, np.uint8),
        reason_codes=np.ones(rows, np.uint8),
        references=Words(codes, words),
        columns=(Numbers(np.linspace(0, 9, rows), np.ones(rows, bool)),),
    )
    return folder / objects.store_decisions(folder, "main", decisions).address


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("", 0xEF46DB3751D8E999),
        ("a", 0xD24EC4F1A98C6E5B),
        ("abc", 0x44BC2CF5AD770999),
        ("Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_the_hash_is_xxh64(text: str, hashed: int) -> None:
    assert xxh64(text.encode()) == hashed


def test_what_is_there_is_never_denied_whatever_its_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    names = [
        "é漢😀" * (n % 40) + f"{n}" + "x" * int(rng.integers(90)) for n in range(999)
    ]
    path = stored(tmp_path, [*names, None])
    for row, name in enumerate(names):
        assert may_hold(path, "reference", xxh64(name.encode()))
        if row % 100 == 0:
            assert find_reference(path, Reference.of(name)) == row


def test_what_is_not_there_is_denied_but_once_in_a_hundred(tmp_path: Path) -> None:
    path = stored(tmp_path, [f"order-{n}" for n in range(2_000)])
    absent = [xxh64(f"nobody-{n}".encode()) for n in range(5_000)]
    mistaken = sum(may_hold(path, "reference", one) for one in absent)
    assert mistaken <= 0.02 * len(absent)


def test_an_object_that_says_no_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path, [f"order-{n}" for n in range(200)])
    nobody = stored(tmp_path, [None] * 10)
    absent = next(
        one
        for one in (Reference.of(f"nobody-{n}") for n in range(100))
        if not may_hold(path, "reference", one.hashed)
    )

    def read(*_: object, **__: object) -> pa.Table:
        raise AssertionError("the column was read")

    monkeypatch.setattr(parquet, "read_table", read)
    assert find_reference(path, absent) is None
    assert find_reference(nobody, Reference.of("order-1")) is None


def test_of_two_rows_with_one_id_the_first_is_found(tmp_path: Path) -> None:
    path = stored(tmp_path, [None, "b", "a", "b", None])
    assert find_reference(path, Reference.of("b")) == 1
    assert find_reference(path, Reference.of("a")) == 2


def test_an_object_without_a_filter_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.parquet"
    words = pa.array(["a", None, "b"]).dictionary_encode()
    parquet.write_table(pa.table({"reference": words}), path)
    assert may_hold(path, "reference", xxh64(b"nobody"))
    assert find_reference(path, Reference.of("b")) == 2
    assert find_reference(path, Reference.of("nobody")) is None


def test_an_object_that_is_gone_or_broken_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="gone"):
        find_reference(tmp_path / "gone.parquet", Reference.of("a"))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(Corrupt, match="cannot be read"):
        find_reference(broken, Reference.of("a"))


@pytest.mark.parametrize("rows", [1, 2, 30, 80, 1_000, 5_000])
def test_the_filter_is_where_the_footer_says_it_is(tmp_path: Path, rows: int) -> None:
    path = stored(tmp_path, [f"order-{n}" for n in range(rows)])
    found = _before_the_footer(path)
    chunk = parquet.read_metadata(path).row_group(0).column(6)
    assert chunk.path_in_schema == "reference"
    assert found is not None
    ends = chunk.bloom_filter_offset + chunk.bloom_filter_length
    assert found.start + found.blocks * 32 == ends


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("filtered", [["reference"], ["reference", "other"], []])
def test_what_is_not_one_filter_is_not_taken_for_one(
    tmp_path: Path, groups: int, filtered: list[str]
) -> None:
    path = tmp_path / "foreign.parquet"
    words = [f"order-{n}" for n in range(300)]
    parquet.write_table(
        pa.table({"reference": words, "other": words[::-1]}),
        path,
        row_group_size=300 // groups,
        bloom_filter_options={name: {"ndv": 300, "fpp": 0.01} for name in filtered},
    )
    alone = groups == 1 and filtered == ["reference"]
    assert (_before_the_footer(path) is not None) == alone
    assert all(may_hold(path, "reference", xxh64(word.encode())) for word in words)
    assert (_filter(path, "reference") is not None) == (
        groups == 1 and "reference" in filtered
    )


def test_a_file_too_short_for_a_filter_has_none(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", b"\0\0\0\0PAR1", b"\xff\0\0\0PAR1"):
        path = tmp_path / "short.parquet"
        path.write_bytes(content)
        assert _before_the_footer(path) is None
