"""One decision in the decision log: its row, the proof of it, what became of it.

Written apart from what writes the log: the row asked about is encoded here by itself,
in the bytes that `modelkeep.decisions.rows` documents, its neighbours in bulk, and the
batch's root is computed again from them all, so a row that was changed in its file does
not pass.
"""

from __future__ import annotations

from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from modelkeep.decisions.columns import encode_columns
from modelkeep.decisions.matrix import (
    Column,
    Decisions,
    Numbers,
    Words,
    leaves,
    number_matrix,
    outcome_matrix,
    root,
    row_matrix,
)
from modelkeep.decisions.rows import NEVER, UNSAID, Cell, Row, Schema, encode_row
from modelkeep.errors import Corrupt
from modelkeep.proof.merkle import leaf_hash, node_hash
from modelkeep.views import Reader
from modelkeep_services.audit.known.monitoring import (
    BatchRow,
    OutcomesRow,
    batches_around,
    outcomes_since,
)

SCHEMA: Final = b"modelkeep.schema"
FEATURE: Final = "feature."
COLUMNS_ONLY: Final = "this batch proves columns, not single rows"
ID_BYTES: Final = 16
KINDS: Final = {"f64": np.float64, "f32": np.float32, "i64": np.int64, "bool": np.uint8}


class Placed(NamedTuple):
    """A row's place among its batch's, and what leads from it to their root."""

    place: int
    rows: int
    proof: list[bytes]
    found_root: bytes


class Logged(NamedTuple):
    """A decision, the batch it lies in, and what shows that it does: nothing, of a
    single row, where the batch proves its columns.

    `found_root` is the root over the rows as they are now; the batch's own is in its
    event.
    """

    batch: BatchRow
    schema: Schema
    row: Row
    place: int
    rows: int
    encoded: bytes
    proof: list[bytes]
    found_root: bytes

    @property
    def not_proven(self) -> str:
        """Why the row alone is not proven; empty where it is."""
        return COLUMNS_ONLY if self.batch.proof == "columns" else ""

    @property
    def intact(self) -> bool:
        return self.batch.root == f"sha256:{self.found_root.hex()}"


class Known(NamedTuple):
    """What became true: 0, 1, or 2 for never; or a number, where outcomes are such."""

    outcome: int
    at: datetime
    number: float | None = None


class Told(NamedTuple):
    """What was said of a decision's outcome, in which batch, and where in that.

    `numbers` says that the model's outcomes are numbers.
    """

    known: Known
    numbers: bool
    batch: OutcomesRow
    place: int


def find(read: Reader, folder: Path, decision: UUID) -> Logged | None:
    """Raises Corrupt when an object is gone or is none."""
    for batch in batches_around(read, str(decision)):
        index = _index(folder / batch.address, decision)
        if index is not None:
            return _logged(folder / batch.address, batch, index)
    return None


def outcome(
    read: Reader, folder: Path, model: str, decision: UUID, decided: datetime
) -> Known | None:
    """Return what is known of a decision; the last word counts."""
    told = last_word(read, folder, model, decision, decided)
    return None if told is None else told.known


def last_word(
    read: Reader, folder: Path, model: str, decision: UUID, decided: datetime
) -> Told | None:
    """Return the last that was said of a decision's outcome, by when it was known."""
    last: Told | None = None
    for batch in outcomes_since(read, model, decided):
        if not batch.first_id <= str(decision) <= batch.last_id:
            continue
        if last is not None and not batch.contradictions:
            continue
        index = _index(folder / batch.address, decision)
        if index is not None:
            table = _read(folder / batch.address)
            numbers = "value" in table.column_names
            last = Told(_known(table, index), numbers, batch, index)
    return last


def placed(folder: Path, told: Told) -> Placed:
    """Prove an outcome in its batch."""
    table = _read(folder / told.batch.address)
    ids = np.frombuffer(_ids(table), dtype=np.uint8).reshape(-1, ID_BYTES)
    words = table["outcome"].to_numpy().astype(np.uint8)
    known = table["known_at"].cast(pa.int64()).to_numpy()
    if told.numbers:
        values = table["value"].fill_null(0.0).to_numpy().astype(np.float64)
        matrix = number_matrix(told.batch.model, ids, words, values, known)
    else:
        matrix = outcome_matrix(told.batch.model, ids, words, known)
    return _placed(leaves(matrix), told.place)


def _known(table: pa.Table, index: int) -> Known:
    number, word = None, int(table["outcome"][index].as_py())
    if "value" in table.column_names and word != NEVER:
        number = table["value"][index].as_py()
    return Known(
        word,
        table["known_at"][index].as_py(),
        None if number is None else float(number),
    )


def _index(path: Path, decision: UUID) -> int | None:
    ids, wanted = _ids(_read(path, ["id"])), decision.bytes
    at = ids.find(wanted)
    while at >= 0 and at % ID_BYTES:  # the end of one id and the start of the next
        at = ids.find(wanted, at + 1)
    return None if at < 0 else at // ID_BYTES


def _ids(table: pa.Table) -> bytes:
    whole = table["id"].combine_chunks()
    start = whole.offset * ID_BYTES
    return bytes(whole.buffers()[1][start : start + len(whole) * ID_BYTES])


def _logged(path: Path, batch: BatchRow, index: int) -> Logged:
    table = _read(path)
    try:
        schema = Schema.from_json(table.schema.metadata[SCHEMA])
        (row,) = _rows(table.slice(index, 1), schema)
        encoded = encode_row(schema, row)
        if batch.proof == "columns":
            placed = _in_columns(table, schema, batch, index)
        else:
            hashes = leaves(row_matrix(_decisions(table, schema)))
            hashes[index] = leaf_hash(encoded)
            placed = _placed(hashes, index)
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise Corrupt(f"the object {path.name} does not read: {error}") from None
    return Logged(batch, schema, row, encoded=encoded, **placed._asdict())


def _placed(hashes: list[bytes], index: int) -> Placed:
    """Prove a leaf; the subtrees beside its path are hashed in bulk (RFC 9162, 2.1)."""
    start, end = 0, len(hashes)
    beside: list[tuple[bytes, bool]] = []
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        left = index >= middle
        beside.append(
            (root(hashes[start:middle] if left else hashes[middle:end]), left)
        )
        start, end = (middle, end) if left else (start, middle)
    node = hashes[index]
    for sibling, left in reversed(beside):
        node = node_hash(sibling, node) if left else node_hash(node, sibling)
    path = [sibling for sibling, _ in reversed(beside)]
    return Placed(index, len(hashes), path, node)


def _decisions(table: pa.Table, schema: Schema) -> Decisions:
    latency = table["latency_ms"].to_numpy(zero_copy_only=False)
    return Decisions(
        schema=schema,
        ids=np.frombuffer(_ids(table), dtype=np.uint8).reshape(-1, ID_BYTES),
        times=table["time"].cast(pa.int64()).to_numpy(),
        scores=table["score"].to_numpy().astype(np.float64),
        latency_ms=latency.astype(np.float64),
        explained=table["explained"].to_numpy().astype(np.uint8),
        reason_codes=table["reason_codes"].to_numpy().astype(np.uint8),
        references=_words(table["reference"]),
        columns=tuple(
            _column(table[FEATURE + name], dtype) for name, dtype in schema.columns
        ),
    )


def _column(column: pa.ChunkedArray, dtype: str) -> Column:
    if dtype == "utf8":
        return _words(column)
    valid: NDArray[np.bool_] = column.is_valid().to_numpy().astype(np.bool_)
    filled = column.fill_null(False if dtype == "bool" else 0)  # a value
    return Numbers(filled.to_numpy().astype(KINDS[dtype]), valid)


def _words(column: pa.ChunkedArray) -> Words:
    whole = column.combine_chunks()
    if not pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_encode()
    codes = whole.indices.fill_null(-1).to_numpy().astype(np.int32)
    return Words(codes, tuple(whole.dictionary.to_pylist()))


def _in_columns(table: pa.Table, schema: Schema, batch: BatchRow, index: int) -> Placed:
    """Hash the columns of each batch that was sent, and of rows too many: none of
    these proves a row.
    """
    rows = _rows(table, schema)
    ends = [*accumulate(batch.parts)]
    if ends[-1] < len(rows):
        ends.append(len(rows))
    hashes = [
        leaf_hash(one)
        for start, end in pairwise([0, *ends])
        for one in encode_columns(schema, rows[start:end])
    ]
    return Placed(index, len(rows), [], root(hashes))


def _rows(table: pa.Table, schema: Schema) -> list[Row]:
    features = [table[FEATURE + name].to_pylist() for name, _ in schema.columns]
    values: list[tuple[Cell, ...]] = (
        list(zip(*features, strict=True)) if features else [()] * table.num_rows
    )
    columns = (
        table["id"].to_pylist(),
        table["time"].cast(pa.int64()).to_pylist(),
        table["score"].to_pylist(),
        table["latency_ms"].to_pylist(),
        [_said(flag) for flag in table["explained"].to_pylist()],
        [_said(flag) for flag in table["reason_codes"].to_pylist()],
        table["reference"].to_pylist(),
        values,
    )
    return [Row._make(cells) for cells in zip(*columns, strict=True)]


def _said(flag: int) -> bool | None:
    return None if flag == UNSAID else bool(flag)


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        # not `read_table`, which would first import what reads many files as one
        with parquet.ParquetFile(path, memory_map=True) as file:
            return file.read(columns=columns, use_threads=False)
    except FileNotFoundError:
        raise Corrupt(f"the object {path.name} is gone") from None
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"the object {path.name} cannot be read: {error}") from None
