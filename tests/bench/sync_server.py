"""The same writes behind gRPC's threads instead of its event loop, for comparison.

What the guard and the table do is kept, as far as threads need it; who calls waits in a
thread of its own until the event is durable. Only for `python -m tests.bench.ledger`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import grpc
from google.protobuf.message import Message

from modelkeep import rpc
from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.home import Home
from modelkeep.identity import ROLES, Identity, require
from modelkeep.node import Node
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.inventory.service import service

ANSWER: Final = pb.RegisterModelResponse()
Handle = Callable[[Message, Identity], Message]


def main() -> None:
    home = Home(Path(sys.argv[1])).make()
    threads = int(sys.argv[2])
    with SqliteStore(home.ledger) as store, Node(home, store, [service]) as node:
        table = {row.rpc: row for row in node.running["inventory"].service.writes}

        def register(request: Message, identity: Identity) -> Message:
            order, key = rpc._order(  # the same work, minus the loop
                table["RegisterModel"], node.host, request, identity.actor
            )
            written = node.ledger.execute(order)
            answer = pb.RegisterModelResponse()
            answer.written.position = written.position
            answer.written.revision, answer.written.id = written.revision, key
            return answer

        def guarded(handle: Handle) -> Callable[[Message, object], Message]:
            def behave(request: Message, context: grpc.ServicerContext) -> Message:
                token = dict(context.invocation_metadata())["authorization"]
                identity = node.gatekeeper.identify(str(token).removeprefix("Bearer "))
                require(identity.actor, ROLES, "bench")
                return handle(request, identity)

            return behave  # type: ignore[return-value]  # gRPC hands it its context

        methods = {
            "modelkeep.api.inventory.v1.InventoryService": {
                "RegisterModel": guarded(register)
            },
            "bench.Echo": {
                "Guarded": guarded(lambda _, __: ANSWER),
                "Bare": lambda _, __: ANSWER,
            },
        }
        server = grpc.server(ThreadPoolExecutor(threads), options=rpc.OPTIONS)
        server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(
                    name,
                    {
                        method: grpc.unary_unary_rpc_method_handler(
                            behave,
                            request_deserializer=pb.RegisterModelRequest.FromString,
                            response_serializer=pb.RegisterModelResponse.SerializeToString,
                        )
                        for method, behave in handlers.items()
                    },
                )
                for name, handlers in methods.items()
            )
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.stop(None).wait()


if __name__ == "__main__":
    main()
