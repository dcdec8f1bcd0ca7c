"""How fast commands become durable over gRPC, beside an echo behind the same guard.

python -m tests.bench.ledger [threads …]      gRPC's threads instead of its loop
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import grpc
from tests.bench.harness import OUT, Figure, Goal, Peer

from modelkeep.api.inventory.v1 import inventory_pb2 as pb

REGISTER: Final = "/modelkeep.api.inventory.v1.InventoryService/RegisterModel"
GUARDED: Final = "/bench.Echo/Guarded"
BARE: Final = "/bench.Echo/Bare"
CALLERS: Final = 64
CALLS: Final = 30
ROUNDS: Final = 7


def figures(folder: Path) -> Iterable[Figure]:
    with _server(folder / "home", "tests.bench.grpc_server") as (address, token):
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
def _server(home: Path, *module: str) -> Iterator[tuple[str, str]]:
    name, *arguments = module
    with subprocess.Popen(
        [sys.executable, "-m", name, str(home), *arguments],
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


def main() -> None:
    for threads in sys.argv[1:] or ("16", "64"):
        with tempfile.TemporaryDirectory(dir=OUT) as folder:
            home = Path(folder) / "home"
            with _server(home, "tests.bench.sync_server", threads) as (address, token):
                rates = asyncio.run(_measure(address, token))
        register, guarded, bare = (
            median(rates[name]) for name in (REGISTER, GUARDED, BARE)
        )
        sys.stdout.write(
            f"{threads} threads: {register:,.0f} commands/s, {register / guarded:.2f}"
            f" of a guarded echo, {register / bare:.2f} of a bare one\n"
        )


if __name__ == "__main__":
    main()
