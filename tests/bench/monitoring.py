"""What logging and judging decisions costs: durable rows a second, a window's close."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Final
from uuid import uuid4

import grpc
import numpy as np
from tests.bench.harness import Figure, Goal
from tests.bench.monitoring_server import BULK, FEATURES, Served, server

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.sdk.uuid7 import mint

START: Final = datetime(2024, 1, 5, tzinfo=UTC)
"""Long enough ago for every window to be over."""
LATE: Final = "late"
ROWS: Final = 4_000
BATCHES: Final = 64
DAILY: Final = 900
ROUNDS: Final = 5
DAYS: Final = 30
Metadata = tuple[tuple[str, str], ...]


def figures(folder: Path) -> Iterable[Figure]:
    yield from _one_server(folder)
    yield from _two_servers(folder)


def _one_server(folder: Path) -> Iterator[Figure]:
    with server(folder / "home") as served:
        metadata = {role: _bearer(served, role) for role in ("engineer", "operator")}
        with grpc.insecure_channel(served.address) as channel:
            stub = MonitoringServiceStub(channel)
            for model in (LATE, BULK):
                _baseline(stub, metadata["engineer"], model)
            yield from _streamed(stub, metadata["engineer"], served)
            yield from _daily(stub, metadata, served)


def _bearer(served: Served, role: str) -> Metadata:
    token = (served.home.tokens / f"{role}.token").read_text()
    return (("authorization", f"Bearer {token}"),)


def _streamed(
    stub: MonitoringServiceStub, engineer: Metadata, served: Served
) -> Iterator[Figure]:
    """Of rows proven one by one, and of those proven by columns, in turns."""
    found: dict[str, list[tuple[float, float]]] = {LATE: [], BULK: []}
    for turn in range(ROUNDS + 1):
        for model, turns in found.items():
            before = served.cpu_s()
            rate = _stream(stub, engineer, model, turn)
            spent = (served.cpu_s() - before) / (BATCHES * ROWS) * 1e6
            turns.append((rate, spent))
    for model, name, wished in (
        (LATE, "monitoring.observe_stream", 250_000),
        (BULK, "monitoring.observe_stream_columns", 1_000_000),
    ):
        rates, costs = zip(*found[model][1:], strict=True)
        goal = Goal("value", ">=", wished)
        yield Figure(name, median(rates), "rows/s", goal=goal)
        # What a busy machine cannot hide: two cores at 250k rows/s have 8 us a row.
        yield Figure(f"{name}_cpu", median(costs), "us/row")


def _two_servers(folder: Path) -> Iterator[Figure]:
    """Of batches proven by columns, into two servers at once, each with its ledger.

    Python's threads take turns in one process: this is what the processors can do.
    """
    with ExitStack() as open_, ThreadPoolExecutor(2) as pool:
        streams = [_bulk_stream(open_, folder / name) for name in ("one", "other")]
        rates = []
        for turn in range(ROUNDS + 1):
            batches = list(_batches(BULK, turn))
            started = time.perf_counter()
            under_way = [pool.submit(send, batches) for send in streams]
            acks = [one.result() for one in under_way]
            if acks != [BATCHES, BATCHES]:
                raise AssertionError(f"{acks} acknowledgements")
            rates.append(2 * BATCHES * ROWS / (time.perf_counter() - started))
    goal = Goal("value", ">=", 1_000_000)
    yield Figure(
        "monitoring.observe_two_servers", median(rates[1:]), "rows/s", goal=goal
    )


def _bulk_stream(
    open_: ExitStack, home: Path
) -> Callable[[list[pb.ObserveRequest]], int]:
    """Start a server; return what sends it batches and counts the answers."""
    served = open_.enter_context(server(home))
    metadata = _bearer(served, "engineer")
    channel = open_.enter_context(grpc.insecure_channel(served.address))
    stub = MonitoringServiceStub(channel)
    _baseline(stub, metadata, BULK)

    def send(batches: list[pb.ObserveRequest]) -> int:
        given = stub.Observe(iter(batches), timeout=60, metadata=metadata)
        return len(list(given))

    return send


def _daily(
    stub: MonitoringServiceStub, metadata: dict[str, Metadata], served: Served
) -> Iterator[Figure]:
    engineer, operator = metadata["engineer"], metadata["operator"]
    logged, closed, costs = [], [], []
    for day in range(DAYS):
        at = START + timedelta(days=400 + day)
        request = _request(DAILY, at)
        logged.append(_timed(partial(_observe, stub, engineer, request)))
        before = served.cpu_s()
        closed.append(_timed(partial(_close, stub, operator, at)))
        costs.append(served.cpu_s() - before)
    yield Figure(
        "monitoring.observe_daily",
        median(logged) * 1e3,
        "ms",
        goal=Goal("value", "<=", 15),
    )
    yield Figure(
        "monitoring.close_window",
        median(closed) * 1e3,
        "ms",
        goal=Goal("value", "<=", 20),
    )
    # The clock that counts it is too coarse for a single one.
    yield Figure("monitoring.close_window_cpu", mean(costs) * 1e3, "ms")


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _batches(model: str, hour: int) -> Iterator[pb.ObserveRequest]:
    """Yield what a busy serving stack sends: a thousand decisions a second of its own
    time, one batch after the other.
    """
    for number in range(BATCHES):
        after = timedelta(hours=hour, milliseconds=number * ROWS)
        yield _request(ROWS, START + after, model)


def _stream(
    stub: MonitoringServiceStub, metadata: Metadata, model: str, hour: int
) -> float:
    """Return durable rows a second of one stream that does not wait."""
    batches = list(_batches(model, hour))
    started = time.perf_counter()
    acks = list(stub.Observe(iter(batches), timeout=60, metadata=metadata))
    if len(acks) != BATCHES:
        raise AssertionError(f"{len(acks)} acknowledgements")
    return BATCHES * ROWS / (time.perf_counter() - started)


def _observe(
    stub: MonitoringServiceStub, metadata: Metadata, request: pb.ObserveRequest
) -> None:
    list(stub.Observe(iter([request]), timeout=60, metadata=metadata))


def _close(stub: MonitoringServiceStub, metadata: Metadata, at: datetime) -> None:
    request = pb.CloseWindowRequest(request_id=str(uuid4()), model=LATE, version="v1")
    request.start.FromDatetime(at)
    request.end.FromDatetime(at + timedelta(hours=12))
    stub.CloseWindow(request, timeout=60, metadata=metadata)


def _request(rows: int, at: datetime, model: str = LATE) -> pb.ObserveRequest:
    rng = np.random.default_rng()
    micros = int(at.timestamp() * 1e6) + np.arange(rows) * 1_000
    return pb.ObserveRequest(
        batch=str(uuid4()),
        model=model,
        version="v1",
        rows=rows,
        decision_ids=b"".join(mint(one * 1_000)[0] for one in micros.tolist()),
        times=micros.astype("<i8").tobytes(),
        scores=rng.random(rows).tobytes(),
        latency_ms=rng.random(rows).tobytes(),
        columns=[
            pb.Column(name=name, values=rng.normal(size=rows).tobytes())
            for name in FEATURES
        ],
    )


def _baseline(stub: MonitoringServiceStub, metadata: Metadata, model: str) -> None:
    data = _request(ROWS, START)
    request = pb.RegisterBaselineRequest(
        request_id=str(uuid4()),
        header=pb.BaselineHeader(model=model, version="v1", baseline="bench"),
        columns=data.columns,
        scores=data.scores,
    )
    list(stub.RegisterBaseline(iter([request]), timeout=60, metadata=metadata))
