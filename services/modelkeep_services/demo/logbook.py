"""The demo's decisions on the wire: columns in, an acknowledgement a durable batch.

Ids are minted from when a decision was made and which it is, so the same story has the
same ids; a live caller leaves this to the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep_services.demo.cast import Desks
from modelkeep_services.demo.decisions import Columns, Instants, Numbers, Rows, Words
from modelkeep_services.demo.stage import CALL_S, SCRIPT, Person

Ids = NDArray[np.uint8]
"""One row of 16 bytes a decision: UUIDv7."""

MOST_ROWS: Final = 3_000
"""In one message: it must stay below 1 MiB."""


def mint(model: str, at: Instants, rows: Rows) -> Ids:
    """Return UUIDv7 whose random bits are the model's and the row's own."""
    salt = np.frombuffer(uuid5(SCRIPT, model).bytes[:5], dtype=np.uint8)
    stamp = at.astype("datetime64[ms]").astype(np.int64)
    ids = np.empty((len(rows), 16), dtype=np.uint8)
    for place in range(6):
        ids[:, place] = (stamp >> (8 * (5 - place))) & 0xFF
    ids[:, 6] = 0x70
    ids[:, 7] = salt[0]
    ids[:, 8] = 0x80
    ids[:, 9:12] = salt[1:4]
    for place in range(4):
        ids[:, 12 + place] = (rows >> (8 * (3 - place))) & 0xFF
    return ids


def spelled(ids: Ids, row: int) -> str:
    return str(UUID(bytes=ids[row].tobytes()))


def micros(at: Instants) -> bytes:
    return at.astype("datetime64[us]").astype("<i8").tobytes()


def column(name: str, values: Numbers | Words) -> pb.Column:
    if values.dtype.kind == "f":
        numbers = values.astype("<f8").tobytes()
        return pb.Column(name=name, dtype=pb.DTYPE_F64, values=numbers)
    words, codes = np.unique(values, return_inverse=True)
    return pb.Column(
        name=name,
        dtype=pb.DTYPE_UTF8,
        values=codes.astype("<i4").tobytes(),
        dictionary=words.tolist(),
    )


def observe(
    desks: Desks,
    serving: Person,
    header: pb.ObserveRequest,
    ids: Ids,
    at: Instants,
    columns: Columns,
    figures: Mapping[str, bytes],
    references: Words,
) -> int:
    """Log decisions of one version, in as many messages as needed; return how many.

    `header` says which model, version, environment and use; `figures` holds scores,
    latency, explained and reason codes as bytes, one value a row.
    """
    wide = {name: len(value) // len(ids) for name, value in figures.items()}
    requests = []
    for start in range(0, len(ids), MOST_ROWS):
        end = min(start + MOST_ROWS, len(ids))
        request = pb.ObserveRequest()
        request.CopyFrom(header)
        request.batch = str(uuid5(SCRIPT, f"{header.model}/{spelled(ids, start)}"))
        request.rows = end - start
        request.decision_ids = ids[start:end].tobytes()
        request.times = micros(at[start:end])
        for name, value in figures.items():
            setattr(request, name, value[start * wide[name] : end * wide[name]])
        request.references.CopyFrom(column("", references[start:end]))
        cut = ((name, values[start:end]) for name, values in columns.items())
        request.columns.extend(column(name, values) for name, values in cut)
        request.flush = end == len(ids)
        requests.append(request)
    answers = desks.monitoring.Observe(
        iter(requests), timeout=CALL_S, metadata=serving.metadata
    )
    return sum(answer.rows for answer in answers)


def outcomes(
    desks: Desks,
    serving: Person,
    model: str,
    ids: Ids,
    true: Numbers,
    known_at: Instants,
) -> int:
    """Say what became true; NaN says that it will never be known."""
    if not len(ids):
        return 0
    said = np.where(np.isnan(true), 2, np.nan_to_num(true)).astype(np.uint8)
    requests = [
        pb.RecordOutcomesRequest(
            batch=str(uuid5(SCRIPT, f"outcomes/{model}/{spelled(ids, start)}")),
            model=model,
            rows=len(ids[start : start + MOST_ROWS]),
            decision_ids=ids[start : start + MOST_ROWS].tobytes(),
            outcomes=said[start : start + MOST_ROWS].tobytes(),
            known_at=micros(known_at[start : start + MOST_ROWS]),
        )
        for start in range(0, len(ids), MOST_ROWS)
    ]
    answers = desks.monitoring.RecordOutcomes(
        iter(requests), timeout=CALL_S, metadata=serving.metadata
    )
    return sum(answer.matched for answer in answers)
