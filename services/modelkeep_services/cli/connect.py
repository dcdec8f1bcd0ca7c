"""Reach the services of a home: those that run, and the others started for the call.

A command works the same whether `modelkeep up` is running or not: each service is asked
where it runs, and what does not run is started here, answers, and is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc

from modelkeep.errors import Late, Unavailable
from modelkeep.home import Home
from modelkeep.node import Build, Node
from modelkeep.running import address_of
from modelkeep.store import open_store

S = TypeVar("S")

Metadata = tuple[tuple[str, str], ...]
TIMEOUT_S: Final = 30.0
LOOK_S: Final = 0.1

Tell = Callable[[int, int], None]
"""Told how far the views of services started here are, of how far they must come."""


@dataclass(frozen=True)
class Connected:
    """Channels by service name, and the credential that goes with each call."""

    channels: Mapping[str, grpc.Channel]
    metadata: Metadata

    def stub(self, service: str, make: Callable[[grpc.Channel], S]) -> S:
        return make(self.channels[service])


@contextmanager
def connected(
    home: Home,
    builds: Mapping[str, Build],
    role: str,
    *,
    store_url: str | None = None,
    fresh: bool = False,
    token: str | None = None,
    tell: Tell = lambda _done, _total: None,
) -> Iterator[Connected]:
    """Reach every service in `builds`, with the token of `role` of this home, or with
    the one given.

    Raises Unavailable when there is no ledger to ask, unless a `fresh` one will do.
    """
    if not (store_url or fresh or home.ledger.exists()):
        raise Unavailable(
            f"no ledger in {home.root}: run `modelkeep up` or `demo` first"
        )
    with ExitStack() as stack:
        running = {name: address_of(home, name) for name in builds}
        absent = {
            name: builds[name] for name, where in running.items() if where is None
        }
        if absent:
            here = stack.enter_context(_started(home, absent, store_url, tell))
            running |= dict.fromkeys(absent, here)
        if token is None:
            token = (home.tokens / f"{role}.token").read_text()
        channels = {
            name: stack.enter_context(grpc.insecure_channel(address))
            for name, address in running.items()
            if address is not None
        }
        yield Connected(channels, (("authorization", f"Bearer {token.strip()}"),))


@contextmanager
def _started(
    home: Home, builds: Mapping[str, Build], store_url: str | None, tell: Tell
) -> Iterator[str]:
    """Run `builds` in this process on a port of their own, caught up with the log."""
    stop, ready = threading.Event(), threading.Event()
    bound: list[int] = []

    def bind(port: int) -> None:
        bound.append(port)
        ready.set()

    with (
        open_store(store_url or str(home.ledger)) as store,
        Node(home, store, list(builds.values())) as node,
    ):
        _catch_up(node, tell)
        server = threading.Thread(
            target=node.serve,
            args=("127.0.0.1:0",),
            kwargs={"ready": bind, "stop": stop},
        )
        server.start()
        try:
            if not ready.wait(TIMEOUT_S):
                raise Unavailable("the services did not start")
            yield f"127.0.0.1:{bound[0]}"
        finally:
            stop.set()
            server.join()


def _catch_up(node: Node, tell: Tell) -> None:
    """Wait for the views, however long the log: somebody is told how far they are."""
    head = node.store.head()
    while True:
        try:
            return node.catch_up(LOOK_S)
        except Late:
            tell(min(one.views.position for one in node.running.values()), head)
