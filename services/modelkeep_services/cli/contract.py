"""`modelkeep contract check`: a file against a contract, before a model learns from it.

With a document, here and now; with a model, by the contract that binds it, and the
verdict is recorded under the file's digest.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import uuid4

import pyarrow as pa
from pyarrow import csv, parquet

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.errors import Invalid
from modelkeep.events.monitoring import ContractRegistered
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep.sdk import frames, packing
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import Asking
from modelkeep_services.cli.connect import connected
from modelkeep_services.monitoring import columns, odcs, snapshots
from modelkeep_services.monitoring.contract import Check, Table

ROWS: Final = 16_384
MAX_BYTES: Final = 1_000_000
SHOWN: Final = 5
"""Examples on the screen; the event has up to twenty."""


def local(file: Path, document: Path, table: str | None, key: str) -> bool:
    """Check a file with a document; print the verdict and return it."""
    terms = odcs.read(_text(document), table)
    contract = ContractRegistered(
        model="file", contract="document", on_breach="mark", **dict(terms)
    )
    check = Check(contract.columns, closed=False)
    now = time.time_ns() // 1000
    for part in parts(file):
        held = {
            name: (dtype, column)
            for name, dtype, column in columns.read_columns(part.columns, part.rows)
        }
        name = snapshots.namer(held[key][1] if key in held else None, check.rows)
        check.add(Table(held, part.rows, now, name))
    found = [
        pb.SnapshotBreach(**dict(one))
        for one in snapshots.told(snapshots.found_in(check, contract))
    ]
    for one in terms.unenforced:
        screen.point("-", "dim", f"not checked: {one.place}: {one.promise}")
    return show(file, document.name, check.rows, found)


def recorded(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    file: Path,
    model: str,
    node: str,
    purpose: str,
    key: str,
) -> bool:
    """Check a file with the contract that binds a model; the verdict is an event."""
    header = pb.SnapshotHeader(
        model=model,
        node=node,
        key=key,
        digest=digest(file),
        purpose=pb.SnapshotPurpose.Value(f"SNAPSHOT_PURPOSE_{purpose.upper()}"),
    )

    def requests() -> Iterator[pb.CheckSnapshotRequest]:
        yield pb.CheckSnapshotRequest(request_id=str(uuid4()), header=header)
        yield from parts(file)

    needed = {"monitoring": builds["monitoring"]}
    with connected(home, needed, "engineer", store_url=store_url) as there:
        stub = there.stub("monitoring", MonitoringServiceStub)
        [answer] = Asking(there)(
            lambda asked, **how: list(stub.CheckSnapshot(asked, **how)), requests()
        )
    shown = show(file, answer.contract, answer.rows, answer.breaches)
    screen.line(f"recorded at {answer.written.position} for {answer.digest}")
    return shown


def show(
    file: Path, contract: str, rows: int, found: Sequence[pb.SnapshotBreach]
) -> bool:
    if found:
        screen.table(
            ("column", "rule", "rows", "of", "examples"),
            [
                (one.column, one.rule, str(one.count), str(one.of), _some(one.examples))
                for one in found
            ],
        )
    verdict = screen.word("kept") if not found else screen.word("rejected")
    screen.line(f"{file.name}: {rows} rows, contract {contract} ", verdict)
    return not found


def _some(examples: Sequence[str]) -> str:
    more = " …" if len(examples) > SHOWN else ""
    return ", ".join(examples[:SHOWN]) + more


def parts(file: Path) -> Iterator[pb.CheckSnapshotRequest]:
    """Read a Parquet or CSV file, a message at a time. Raises Invalid."""
    try:
        for batch in _batches(file):
            yield from _fitting(batch)
    except (pa.ArrowException, OSError, UnicodeError) as wrong:
        raise Invalid.field("file", f"{file.name}: {wrong}") from None


def digest(file: Path) -> str:
    found = sha256()
    try:
        with file.open("rb") as opened:
            while piece := opened.read(1 << 20):
                found.update(piece)
    except OSError as wrong:
        raise Invalid.field("file", str(wrong)) from None
    return f"sha256:{found.hexdigest()}"


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    if file.suffix == ".csv":
        with csv.open_csv(file) as reader:
            yield from reader
    elif file.suffix in {".parquet", ".pq"}:
        with parquet.ParquetFile(file) as opened:
            yield from opened.iter_batches(ROWS)
    else:
        raise Invalid.field("file", f"{file.name} is neither .csv nor .parquet")


def _fitting(batch: pa.RecordBatch) -> Iterator[pb.CheckSnapshotRequest]:
    if not batch.num_rows:
        return
    if batch.num_rows <= columns.MAX_ROWS:
        request = pb.CheckSnapshotRequest(
            rows=batch.num_rows,
            columns=[
                packing.column(name, values)
                for name, values in frames.columns_of(batch)
            ],
        )
        if batch.num_rows == 1 or request.ByteSize() <= MAX_BYTES:
            yield request
            return
    half = batch.num_rows // 2
    yield from _fitting(batch.slice(0, half))
    yield from _fitting(batch.slice(half))


def _text(document: Path) -> str:
    try:
        return document.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as wrong:
        raise Invalid.field("contract", str(wrong)) from None
