"""How many durable events a second lineage takes in calls that carry a thousand."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import grpc
from tests.bench.harness import Figure, Goal

from modelkeep.api.lineage.v1 import lineage_pb2 as pb

RECORD: Final = "/modelkeep.api.lineage.v1.LineageService/RecordManifest"
NODES: Final = 500
LINKS: Final = 498
EVENTS: Final = NODES + LINKS + 2  # its own node, and what ends it
CALLS: Final = 30
AT_ONCE: Final = 4
ROUNDS: Final = 5


def figures(folder: Path) -> Iterable[Figure]:
    with _server(folder / "home") as (address, token):
        rates = [_import(address, token) for _ in range(ROUNDS + 1)]
    yield Figure(
        "lineage.import_bulk",
        median(rates[1:]),
        "events/s",
        goal=Goal("value", ">=", 20_000),
    )


@contextmanager
def _server(home: Path) -> Iterator[tuple[str, str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.lineage_server", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        port = process.stdout.readline().strip()
        token = (home / "tokens" / "engineer.token").read_text()
        yield f"127.0.0.1:{port}", token


def _import(address: str, token: str) -> float:
    """Return durable events a second: each manifest is new, four are under way."""
    metadata = (("authorization", f"Bearer {token}"),)
    requests = [_request().SerializeToString() for _ in range(CALLS)]
    with grpc.insecure_channel(address) as channel:
        record: grpc.UnaryUnaryMultiCallable[bytes, pb.RecordManifestResponse] = (
            channel.unary_unary(
                RECORD, response_deserializer=pb.RecordManifestResponse.FromString
            )
        )
        waiting: deque[grpc.Future[pb.RecordManifestResponse]] = deque()
        started = time.perf_counter()
        for request in requests:
            if len(waiting) >= AT_ONCE:
                _check(waiting.popleft().result())
            waiting.append(record.future(request, metadata=metadata, timeout=30))
        for answer in waiting:
            _check(answer.result())
        return CALLS * EVENTS / (time.perf_counter() - started)


def _check(answer: pb.RecordManifestResponse) -> None:
    if answer.written.revision != EVENTS - 1:
        raise AssertionError(f"{answer.written.revision + 1} events, not {EVENTS}")


def _request() -> pb.RecordManifestRequest:
    """Feature views, each of a table before it: a warehouse as it is crawled."""
    of = uuid4().hex
    return pb.RecordManifestRequest(
        request_id=str(uuid4()),
        nodes=[
            pb.ManifestNode(
                kind=pb.NODE_KIND_FEATURE_VIEW,
                namespace="features",
                name=f"{of}/view-{at}",
                digest=f"sha256:{at:064x}",
                owner="bench",
                ttl_hours=24,
                key=str(at),
            )
            for at in range(NODES)
        ],
        links=[
            pb.ManifestLink(source=str(at), target=str(at + 1), relation="feeds")
            for at in range(LINKS)
        ],
    )
