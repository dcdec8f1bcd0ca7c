"""Durable objects: one Parquet file for many rows, named by its content.

Under the decisions folder: `<tenant>/<model>/<month>/<sha256>.parquet`, the month being
that of the earliest row. A file is complete and fsynced, its name too, before any event
speaks of it; one that no event speaks of (the append failed) is harmless.
"""

from __future__ import annotations

import threading
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from modelkeep.decisions.matrix import (
    Column,
    Decisions,
    Floats,
    Numbers,
    Octets,
    Times,
    Words,
)
from modelkeep.decisions.rows import NEVER, UNSAID, Schema
from modelkeep.errors import Corrupt
from modelkeep.events.monitoring import OutcomeKind
from modelkeep.proof import durable
from modelkeep.store.reserve import writing
from modelkeep_services.monitoring import rooms
from modelkeep_services.monitoring.bloom import may_hold, xxh64
from modelkeep_services.monitoring.codecs import LEVEL, codecs_of
from modelkeep_services.monitoring.columns import MAX_ROWS

FEATURE: Final = "feature."
SCHEMA_KEY: Final = b"modelkeep.schema"
ESSENTIALS: Final = ("id", "time", "score")
MISTAKEN: Final = 0.01
"""How often a filter says perhaps of an id that is not there."""


_WRITING: Final = tuple(threading.Lock() for _ in range(64))
"""Two threads that write the same rows must not share a half-written file."""


class Stored(NamedTuple):
    """Where an object is, below the decisions folder, and what its bytes are."""

    address: str
    digest: str
    size: int


class Essentials(NamedTuple):
    """What joining and windows need of every row."""

    ids: Octets
    times: Times
    scores: NDArray[np.float64]


class Reference(NamedTuple):
    """A caller's own id, and its hash in the objects' Bloom filters."""

    text: str
    hashed: int

    @classmethod
    def of(cls, text: str) -> Reference:
        return cls(text, xxh64(text.encode()))


class Outcomes(NamedTuple):
    """`outcomes` are 0, 1 or NEVER. Where they are numbers, `values` has these beside
    zeros, and 0 where one will never be known.
    """

    ids: Octets
    outcomes: Octets
    known: Times
    values: Floats | None = None

    @property
    def kind(self) -> OutcomeKind:
        return "binary" if self.values is None else "number"


def store_decisions(folder: Path, tenant: str, rows: Decisions) -> Stored:
    columns: dict[str, pa.Array] = {
        "id": _ids(rows.ids),
        "time": pa.array(rows.times, type=pa.timestamp("us", tz="UTC")),
        "score": pa.array(rows.scores),
        "latency_ms": pa.array(rows.latency_ms, mask=np.isnan(rows.latency_ms)),
        "explained": pa.array(rows.explained),
        "reason_codes": pa.array(rows.reason_codes),
        "reference": _words(rows.references),
    }
    for (name, dtype), column in zip(rows.schema.columns, rows.columns, strict=True):
        columns[FEATURE + name] = _arrow(column, dtype)
    table = _table(columns, {SCHEMA_KEY: rows.schema.to_json()})
    named = int(np.count_nonzero(rows.references.codes >= 0))
    within = f"{tenant}/{rows.schema.model}/{_month(rows.times)}"
    return _store(folder, within, table, named=named)


def store_outcomes(folder: Path, tenant: str, model: str, rows: Outcomes) -> Stored:
    columns: dict[str, pa.Array] = {
        "id": _ids(rows.ids),
        "outcome": pa.array(rows.outcomes),
        "known_at": pa.array(rows.known, type=pa.timestamp("us", tz="UTC")),
    }
    if rows.values is not None:
        columns["value"] = pa.array(rows.values, mask=rows.outcomes == NEVER)
    within = f"{tenant}/{model}/{_month(rows.known)}"
    return _store(folder, within, _table(columns, {}))


def load_essentials(path: Path) -> Essentials:
    table = _read(path, list(ESSENTIALS))
    return Essentials(
        _ids_back(table["id"]),
        _int64(table["time"]),
        table["score"].to_numpy().astype(np.float64),
    )


def load_ids(path: Path) -> Octets:
    return _ids_back(_read(path, ["id"])["id"])


def find_reference(path: Path, wanted: Reference) -> int | None:
    """Return the first row with this id; most objects without it are not read."""
    try:
        if not may_hold(path, "reference", wanted.hashed):
            return None
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    references = _words_back(_read(path, ["reference"])["reference"])
    if wanted.text not in references.dictionary:
        return None
    code = references.dictionary.index(wanted.text)
    return int(np.flatnonzero(references.codes == code)[0])


def load_outcomes(path: Path) -> Outcomes:
    table = _read(path)
    values: Floats | None = None
    if "value" in table.column_names:
        values = table["value"].fill_null(0.0).to_numpy().astype(np.float64)
    return Outcomes(
        _ids_back(table["id"]),
        table["outcome"].to_numpy().astype(np.uint8),
        _int64(table["known_at"]),
        values,
    )


def load_decisions(path: Path) -> Decisions:
    """Read everything. Raises Corrupt when it is not what `store_decisions` wrote."""
    table = _read(path)
    try:
        schema = Schema.from_json(table.schema.metadata[SCHEMA_KEY])
    except (KeyError, TypeError, ValueError):
        raise Corrupt(f"{path.name} does not say what its rows are") from None
    latency = table["latency_ms"].to_numpy(zero_copy_only=False)
    return Decisions(
        schema=schema,
        ids=_ids_back(table["id"]),
        times=_int64(table["time"]),
        scores=table["score"].to_numpy().astype(np.float64),
        latency_ms=latency.astype(np.float64),
        explained=table["explained"].to_numpy().astype(np.uint8),
        reason_codes=table["reason_codes"].to_numpy().astype(np.uint8),
        references=_words_back(table["reference"]),
        columns=tuple(
            _column_back(table[FEATURE + name], dtype) for name, dtype in schema.columns
        ),
    )


def load_column(path: Path, name: str) -> Column | None:
    """Read one column of the rows; None where they have none of that name."""
    try:
        told = parquet.read_schema(path, memory_map=True).metadata[SCHEMA_KEY]
        dtype = dict(Schema.from_json(told).columns).get(name)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    except (KeyError, TypeError, ValueError):
        raise Corrupt(f"{path.name} does not say what its rows are") from None
    if dtype is None:
        return None
    return _column_back(_read(path, [FEATURE + name])[FEATURE + name], dtype)


def said(flag: int) -> bool | None:
    return None if flag == UNSAID else bool(flag)


def _month(times: Times) -> str:
    return str(times.min().astype("datetime64[us]").astype("datetime64[M]"))


def _store(
    folder: Path, within: str, table: pa.Table, *, named: int | None = None
) -> Stored:
    """`named`: how many rows have a reference; None where the table has none."""
    words = [f.name for f in table.schema if pa.types.is_dictionary(f.type)]
    codecs = codecs_of(table)
    write = partial(
        parquet.write_table,
        table,
        compression=codecs,
        compression_level={n: LEVEL for n, codec in codecs.items() if codec != "none"},
        # Trying a dictionary on numbers takes longer than writing them.
        use_dictionary=[name for name in words if name != "reference"],
        write_statistics=["id"],
        write_batch_size=MAX_ROWS,  # a column at once
        # Where nobody has one, an empty filter says so without a look at the column.
        bloom_filter_options=None
        if named is None
        else {"reference": {"ndv": max(named, 1), "fpp": MISTAKEN}},
    )
    with rooms.made(write) as content:
        digest = sha256(content).hexdigest()
        address = f"{within}/{digest}.parquet"
        path = folder / address
        if not path.parent.is_dir():
            _make(folder, path.parent)
        lock = _WRITING[int(digest[:2], 16) % len(_WRITING)]
        with lock, writing(folder):
            if not path.exists():
                durable.replace(path, content)
        return Stored(address, f"sha256:{digest}", len(content))


def _table(columns: dict[str, pa.Array], metadata: dict[bytes, bytes]) -> pa.Table:
    # Of a column that may have nulls, Parquet writes for each value whether it is one:
    # where none is, saying so beforehand takes half of what writing costs.
    fields = [
        pa.field(name, column.type, nullable=column.null_count > 0)
        for name, column in columns.items()
    ]
    return pa.table(list(columns.values()), schema=pa.schema(fields, metadata))


def _make(folder: Path, wanted: Path) -> None:
    # A new folder is durable when the one above it says so.
    missing = [p for p in (wanted, *wanted.parents) if not p.exists()]
    wanted.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        durable.sync_folder(made.parent)
        if made == folder:
            break


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return parquet.read_table(
            path, columns=columns, use_threads=False, memory_map=True
        )
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> Corrupt:
    if isinstance(error, FileNotFoundError):
        return Corrupt(f"the object {path.name} is gone")
    return Corrupt(f"the object {path.name} cannot be read: {error}")


def _ids(ids: Octets) -> pa.Array:
    octets = pa.py_buffer(np.ascontiguousarray(ids))
    return pa.Array.from_buffers(pa.binary(16), len(ids), [None, octets])


def _ids_back(column: pa.ChunkedArray) -> Octets:
    whole = column.combine_chunks()
    octets = np.frombuffer(whole.buffers()[1], dtype=np.uint8)
    found: Octets = octets[whole.offset * 16 : (whole.offset + len(whole)) * 16]
    return found.reshape(len(whole), 16)


def _int64(column: pa.ChunkedArray) -> Times:
    found: Times = column.cast(pa.int64()).to_numpy()
    return found


def _arrow(column: Column, dtype: str) -> pa.Array:
    if isinstance(column, Words):
        return _words(column)
    values = column.values.astype(np.bool_) if dtype == "bool" else column.values
    if column.whole:
        return pa.array(values, from_pandas=False)  # no copy of it
    return pa.array(values, mask=~column.valid, from_pandas=False)


def _words(column: Words) -> pa.Array:
    codes = pa.array(column.codes, mask=column.codes < 0)
    return pa.DictionaryArray.from_arrays(
        codes, pa.array(column.dictionary, type=pa.string())
    )


def _words_back(column: pa.ChunkedArray) -> Words:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # no rows at all
        whole = pa.concat_arrays(whole.chunks)
    if not pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_encode()
    codes = whole.indices.fill_null(-1).to_numpy().astype(np.int32)
    return Words(codes, tuple(whole.dictionary.to_pylist()))


_BACK: Final = {"f64": np.float64, "f32": np.float32, "i64": np.int64, "bool": np.uint8}


def _column_back(column: pa.ChunkedArray, dtype: str) -> Column:
    if dtype == "utf8":
        return _words_back(column)
    valid = column.is_valid().to_numpy().astype(np.bool_)
    filled = column.fill_null(False if dtype == "bool" else 0)  # a value
    return Numbers(filled.to_numpy().astype(_BACK[dtype]), valid)
