"""One decision in the decision log: its row, the proof of it, what became of it.

Written apart from what writes the log: rows are encoded one by one here, in the bytes
that `modelkeep.decisions.rows` documents, and the batch's root is computed again from
them, so a row that was changed in its file does not pass.
"""

from __future__ import annotations

from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import pyarrow as pa
from pyarrow import parquet

from modelkeep.decisions.columns import encode_columns
from modelkeep.decisions.rows import UNSAID, Cell, Row, Schema, encode_row
from modelkeep.errors import Corrupt
from modelkeep.proof.merkle import Leaves, inclusion_proof, leaf_hash, root_of
from modelkeep.views import Reader
from modelkeep_services.audit.known.monitoring import (
    BatchRow,
    batches_around,
    outcomes_since,
)

SCHEMA: Final = b"modelkeep.schema"
FEATURE: Final = "feature."
COLUMNS_ONLY: Final = "this batch proves columns, not single rows"


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
    known = None
    for batch in outcomes_since(read, model, decided):
        if known is not None and not batch.contradictions:
            continue
        index = _index(folder / batch.address, decision)
        if index is not None:
            known = _known(_read(folder / batch.address), index)
    return known


def _known(table: pa.Table, index: int) -> Known:
    number = None
    if "value" in table.column_names:
        number = table["value"][index].as_py()
    return Known(
        int(table["outcome"][index].as_py()),
        table["known_at"][index].as_py(),
        None if number is None else float(number),
    )


def _index(path: Path, decision: UUID) -> int | None:
    ids: list[bytes] = _read(path, ["id"])["id"].to_pylist()
    try:
        return ids.index(decision.bytes)
    except ValueError:
        return None


def _logged(path: Path, batch: BatchRow, index: int) -> Logged:
    table = _read(path)
    try:
        schema = Schema.from_json(table.schema.metadata[SCHEMA])
        rows = _rows(table, schema)
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"the object {path.name} does not read: {error}") from None
    if batch.proof == "columns":
        proof: list[bytes] = []
        found_root = _column_root(batch, schema, rows)
    else:
        leaves = [leaf_hash(encode_row(schema, row)) for row in rows]
        proof = inclusion_proof(Leaves(leaves), index, len(leaves))
        found_root = root_of(leaves)
    return Logged(
        batch=batch,
        schema=schema,
        row=rows[index],
        place=index,
        rows=len(rows),
        encoded=encode_row(schema, rows[index]),
        proof=proof,
        found_root=found_root,
    )


def _column_root(batch: BatchRow, schema: Schema, rows: list[Row]) -> bytes:
    """Return the root over the columns of each batch sent, and of rows too many."""
    ends = [*accumulate(batch.parts)]
    if ends[-1] < len(rows):
        ends.append(len(rows))
    leaves = []
    for start, end in pairwise([0, *ends]):
        leaves += [leaf_hash(one) for one in encode_columns(schema, rows[start:end])]
    return root_of(leaves)


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
        return parquet.read_table(path, columns=columns, use_threads=False)
    except FileNotFoundError:
        raise Corrupt(f"the object {path.name} is gone") from None
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"the object {path.name} cannot be read: {error}") from None
