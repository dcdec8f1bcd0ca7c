"""A server for the ledger's bench: the inventory, and two echoes beside it.

Its views are kept by a process beside it, as those of `modelkeep up` are.

`bench.Echo/Guarded` does what the guard does and nothing else; `bench.Echo/Bare` does
nothing at all. Prints its port, serves until its standard input closes.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Final

import grpc
from google.protobuf.message import Message

from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.home import Home
from modelkeep.identity import ROLES, Identity
from modelkeep.node import Node
from modelkeep.rpc import Context_, Rpc
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.inventory.service import service
from modelkeep_services.wiring import projector

ANSWER: Final = pb.RegisterModelResponse()


async def _guarded(_: Message, __: Identity, ___: float) -> Message:
    return ANSWER


async def _bare(_: Message, __: Context_) -> Message:
    return ANSWER


class Measured(Node):
    def _add(self, server: grpc.aio.Server, rpc: Rpc) -> None:
        super()._add(server, rpc)
        handlers = {"Guarded": rpc.unary("bench.Echo.Guarded", ROLES, _guarded)}
        handlers["Bare"] = _bare
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "bench.Echo",
                    {
                        name: grpc.unary_unary_rpc_method_handler(
                            handler,
                            request_deserializer=pb.RegisterModelRequest.FromString,
                            response_serializer=pb.RegisterModelResponse.SerializeToString,
                        )
                        for name, handler in handlers.items()
                    },
                ),
            )
        )


def _tell(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


def main() -> None:
    home = Home(Path(sys.argv[1])).make()
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    beside = projector(home, str(home.ledger), ["inventory"])
    with (
        SqliteStore(home.ledger) as store,
        Measured(home, store, [service], projector=beside) as node,
    ):
        node.serve("127.0.0.1:0", ready=_tell, stop=stop)


if __name__ == "__main__":
    main()
