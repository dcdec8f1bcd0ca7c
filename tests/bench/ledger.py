"""How fast commands become durable over gRPC, beside an echo behind the same guard."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import grpc
from tests.bench.harness import Figure, Goal, Peer

from modelkeep.api.inventory.v1 import inventory_pb2 as pb

REGISTER: Final = "/modelkeep.api.inventory.v1.InventoryService/RegisterModel"
GUARDED: Final = "/bench.Echo/Guarded"
BARE: Final = "/bench.Echo/Bare"
CALLERS: Final = 64
CALLS: Final = 30
ROUNDS: Final = 7


def figures(folder: Path) -> Iterable[Figure]:
    with _server(folder / "home") as (address, token):
        rates = asyncio.run(_measure(address, token))
    register, guarded, bare = (
        median(rates[name]) for name in (REGISTER, GUARDED, BARE)
    )
    yield Figure(
        "ledger.grpc_append",
        register,
        "commands/s",
        Peer("an echo behind the same guard", guarded),
        Goal("ratio", ">=", 0.6),
    )
    yield Figure(
        "ledger.grpc_append_bare",
        register,
        "commands/s",
        Peer("a bare echo", bare),
    )


@contextmanager
def _server(home: Path) -> Iterator[tuple[str, str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.grpc_server", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        port = process.stdout.readline().strip()
        token = (home / "tokens" / "owner.token").read_text()
        yield f"127.0.0.1:{port}", token


async def _measure(address: str, token: str) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {REGISTER: [], GUARDED: [], BARE: []}
    metadata = (("authorization", f"Bearer {token}"),)
    async with grpc.aio.insecure_channel(address) as channel:
        calls = {
            name: channel.unary_unary(
                name,
                request_serializer=pb.RegisterModelRequest.SerializeToString,
                response_deserializer=pb.RegisterModelResponse.FromString,
            )
            for name in rates
        }

        async def caller(call: Callable[..., object]) -> None:
            for _ in range(CALLS):
                await call(_request(), metadata=metadata, timeout=30)  # type: ignore[misc]  # a call is awaitable

        for turn in range(ROUNDS + 1):
            for name, call in calls.items():
                started = time.perf_counter()
                await asyncio.gather(*(caller(call) for _ in range(CALLERS)))
                if turn:  # the first warms up
                    elapsed = time.perf_counter() - started
                    rates[name].append(CALLERS * CALLS / elapsed)
    return rates


def _request() -> pb.RegisterModelRequest:
    return pb.RegisterModelRequest(
        request_id=str(uuid4()),
        model=f"model-{uuid4().hex[:12]}",
        title="A model to be measured",
        kind=pb.MODEL_KIND_TRAINED,
        purpose="to see how fast it is registered",
        owner="bench",
    )
