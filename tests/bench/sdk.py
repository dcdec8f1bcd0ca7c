"""What logging a decision costs whoever serves it, and how many arrive a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import pyarrow as pa
from tests.bench.harness import Figure, Goal, Peer, in_turns, percentile
from tests.bench.monitoring_server import FEATURES, server

from modelkeep import Client
from modelkeep.sdk.frames import Frame

CALLS: Final = 10_000
SPACED: Final = 500
ROUNDS: Final = 5
BLOCK: Final = 60_000


def figures(folder: Path) -> Iterable[Figure]:
    with server(folder / "home") as (address, home, _):
        token = (home.tokens / "engineer.token").read_text()
        with Client(
            address,
            token=token,
            model="late",
            version="v1",
            max_queued_rows=1_000_000,
        ) as client:
            yield from _caller(client)
            yield from _framed(client)
            yield _whole(client)
            rates = [_delivered(client) for _ in range(ROUNDS + 1)]
            yield Figure(
                "sdk.delivered",
                median(rates[1:]),
                "rows/s",
                goal=Goal("value", ">=", 20_000),
            )


def _caller(client: Client) -> Iterable[Figure]:
    """Time each call by itself, as a request handler would feel it, beside the least
    that keeps a row: a copy of it in a deque. Both include what the clock takes.
    """
    features = {name: float(at) for at, name in enumerate(FEATURES)}
    taken, said, bare, spaced, bare_spaced = in_turns(
        ROUNDS,
        partial(_logged, client, features),
        partial(_said, client, features),
        partial(_kept, features),
        partial(_logged, client, features, SPACED, 0.001),
        partial(_kept, features, SPACED, 0.001),
    )
    if not client.flush(60) or client.stats.refused or client.stats.dropped:
        raise AssertionError(f"{client.stats}")
    yield Figure(
        "sdk.log_caller_p50",
        median(taken),
        "us",
        Peer("deque.append(dict(row))", median(bare)),
        Goal("value", "<=", 1.0),
    )
    yield Figure("sdk.log_caller_p99", percentile(taken, 99), "us")
    yield Figure("sdk.log_said_p50", median(said), "us")
    # A millisecond apart, so that little of it is still in the processor's caches.
    yield Figure(
        "sdk.log_spaced_p50",
        median(spaced),
        "us",
        Peer("deque.append(dict(row))", median(bare_spaced)),
    )


def _logged(
    client: Client,
    features: Mapping[str, float],
    calls: int = CALLS,
    pause_s: float = 0.0,
) -> list[float]:
    taken = []
    for _ in range(calls):
        if pause_s:
            time.sleep(pause_s)
        started = time.perf_counter_ns()
        client.log(features, 0.5)
        taken.append((time.perf_counter_ns() - started) / 1e3)
    return taken


def _said(client: Client, features: Mapping[str, float]) -> list[float]:
    """With what a handler that explains its answers would say."""
    taken = []
    for _ in range(CALLS):
        started = time.perf_counter_ns()
        client.log(
            features,
            0.5,
            use="desk",
            latency_ms=1.5,
            explained=True,
            explanation_ms=0.5,
            reference="UA17",
        )
        taken.append((time.perf_counter_ns() - started) / 1e3)
    return taken


def _kept(
    features: Mapping[str, float], calls: int = CALLS, pause_s: float = 0.0
) -> list[float]:
    rows: deque[Mapping[str, float]] = deque()
    taken = []
    for _ in range(calls):
        if pause_s:
            time.sleep(pause_s)
        started = time.perf_counter_ns()
        rows.append(dict(features))
        taken.append((time.perf_counter_ns() - started) / 1e3)
    return taken


def _framed(client: Client) -> Iterable[Figure]:
    """Time a batch job's call: from its table to packed messages in the queue."""
    rng = np.random.default_rng(5)
    columns = {name: rng.normal(size=BLOCK) for name in FEATURES}
    columns["score"] = rng.random(BLOCK)
    frames: dict[str, Frame] = {"numpy": columns, "arrow": pa.table(columns)}
    for library in ("pandas", "polars"):
        if find_spec(library) is not None:  # peers of `make bench`
            frames[library] = import_module(library).DataFrame(columns)
    for name, frame in frames.items():
        taken = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            client.log_frame(frame)
            taken.append((time.perf_counter() - started) / BLOCK * 1e6)
            if not client.flush(60):
                raise AssertionError(f"{client.stats}")
        yield Figure(f"sdk.log_frame_{name}", median(taken), "us/row")


def _whole(client: Client) -> Figure:
    """Time `log_many` of columns, likewise."""
    rng = np.random.default_rng(5)
    columns = {name: rng.normal(size=BLOCK) for name in FEATURES}
    scores, taken = rng.random(BLOCK), []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        client.log_many(columns, scores)
        taken.append((time.perf_counter() - started) / BLOCK * 1e6)
        if not client.flush(60):
            raise AssertionError(f"{client.stats}")
    return Figure("sdk.log_many_numpy", median(taken), "us/row")


def _delivered(client: Client) -> float:
    """Return rows a second from columns in the caller to an acknowledged event."""
    rng = np.random.default_rng()
    columns = {name: rng.normal(size=BLOCK) for name in FEATURES}
    started = time.perf_counter()
    client.log_many(columns, rng.random(BLOCK))
    if not client.flush(60):
        raise AssertionError(f"{client.stats}")
    return BLOCK / (time.perf_counter() - started)
