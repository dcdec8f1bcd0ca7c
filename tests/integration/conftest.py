"""Real sockets: a process's worth of services on a port of its own, and its tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from modelkeep.clock import clock_of
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.node import Node
from modelkeep.store.port import Store
from modelkeep.store.sqlite import SqliteStore

TIMEOUT_S = 20.0


@dataclass
class Served:
    """A running node, reached over loopback."""

    node: Node
    store: Store
    channel: grpc.Channel
    issuer: LocalIssuer
    tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    def metadata(
        self, *roles: str, subject: str = "", tenant: str = "main"
    ) -> tuple[tuple[str, str], ...]:
        """A credential: `subject` is named after its roles unless told."""
        key = (*roles, subject, tenant)
        if key not in self.tokens:
            self.tokens[key] = self.issuer.issue(
                subject or f"a-{'-'.join(roles)}", frozenset(roles), tenant=tenant
            )
        return (("authorization", f"Bearer {self.tokens[key]}"),)

    def call(
        self,
        method: Callable[..., Any],
        request: Any,
        *roles: str,
        subject: str = "",
        tenant: str = "main",
    ) -> Any:
        """Call with a deadline, a credential and, for a write without, a request id."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = str(uuid4())
        return method(
            request,
            timeout=TIMEOUT_S,
            metadata=self.metadata(*roles, subject=subject, tenant=tenant),
        )

    def settle(self) -> None:
        """Wait until every view and reaction has seen all there is."""
        head = -2
        while head != self.store.head():
            head = self.store.head()
            for one in self.node.running.values():
                one.views.wait_for(head, TIMEOUT_S)
                one.reactors.wait_for(head, TIMEOUT_S)


Serve = Callable[..., Served]


@contextmanager
def serving(folder: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(*services: str, scenario: bool = False) -> Served:
            home = Home(folder / f"home-{uuid4().hex[:8]}").make()
            store = stack.enter_context(SqliteStore(home.ledger))
            clock = clock_of(home, store, scenario=scenario)
            builds = [
                import_module(f"modelkeep_services.{name}.service").service
                for name in services
            ]
            node = stack.enter_context(Node(home, store, builds, clock=clock))
            stop, ready, ports = threading.Event(), threading.Event(), list[int]()

            def tell(port: int) -> None:
                ports.append(port)
                ready.set()

            server = threading.Thread(
                target=node.serve,
                args=("127.0.0.1:0",),
                kwargs={"ready": tell, "stop": stop},
            )
            server.start()
            stack.callback(server.join)
            stack.callback(stop.set)
            assert ready.wait(TIMEOUT_S)
            channel = stack.enter_context(
                grpc.insecure_channel(f"127.0.0.1:{ports[0]}")
            )
            return Served(node, store, channel, LocalIssuer.open(home.keys))

        yield start


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve("inventory", "policy", scenario=True)` starts them on a fresh ledger."""
    with serving(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def serve_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The same, shared by the tests of a module."""
    with serving(tmp_path_factory.mktemp("served")) as start:
        yield start
