"""A process: a store, a ledger, some services, one server. Opened, served, closed.

Everything is wired here and visible in `modelkeep_services.__main__`; nothing connects
at import.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, NamedTuple, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from modelkeep import __version__, operations, telemetry
from modelkeep.apart import Projector
from modelkeep.clock import Clock, clock_of
from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.identity import Gatekeeper, Issuer, LocalIssuer, writer_key
from modelkeep.key_service import KeyService, LocalKeys
from modelkeep.keystore import Keystore
from modelkeep.ledger import Ledger
from modelkeep.reactor import ReactorSet
from modelkeep.rpc import MAX_HELD, OPTIONS, Rpc
from modelkeep.running import Claim, claim
from modelkeep.service import Host, Service
from modelkeep.store.port import Store
from modelkeep.timekeeper import Timekeeper
from modelkeep.viewset import ViewSet

log = logging.getLogger(__name__)

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
THREADS: Final = 16
HEALTH_S: Final = 1.0
COLLECT_EVERY: Final = (100_000, 20, 100)

Build = Callable[[Host], Service]


class Tls(NamedTuple):
    """PEM bytes. With `client_ca`, clients without its certificate are turned away."""

    key: bytes
    certificate: bytes
    client_ca: bytes | None = None


@dataclass
class Running:
    """One service with what it keeps going."""

    service: Service
    views: ViewSet
    reactors: ReactorSet


@dataclass
class Node:
    """`open` starts views and reactors; `serve` answers until told to stop.

    `projector` is the command of a process that keeps the views; without it they are
    kept in this one. `key_service` keeps what wraps the keystore's keys, in place of
    files in this home.
    """

    home: Home
    store: Store
    builds: Sequence[Build]
    clock: Clock | None = None
    issuers: Sequence[Issuer] = ()
    local_issuer: bool = True
    tls: Tls | None = None
    key_service: KeyService | None = None
    projector: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.home.make()
        self._resources = contextlib.ExitStack()
        self._claims: list[Claim] = []
        self.running: dict[str, Running] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self._open(opening)
            self._resources = opening.pop_all()
        return self

    def _open(self, opening: contextlib.ExitStack) -> None:
        keys = self.key_service or LocalKeys(self.home.epochs)
        keystore = opening.enter_context(Keystore(self.home.subjects, keys))
        signer = writer_key(self.home.keys)
        self.ledger = opening.enter_context(Ledger(self.store, signer=signer))
        clock = self.clock or clock_of(self.home, self.store)
        self.host = Host(self.home, self.store, self.ledger, clock, keystore)
        self.gatekeeper = Gatekeeper([*self._local(), *self.issuers])
        for build in self.builds:
            service = build(self.host)
            self._claims.append(opening.enter_context(claim(self.home, service.name)))
            opening.callback(service.closing)
            views = opening.enter_context(self._views(service))
            reactors = opening.enter_context(self._reactors(service, views))
            self.running[service.name] = Running(service, views, reactors)
        self._start(opening)
        # Operations reads no view; these cannot halt, so it can always say what has.
        beside = self.home.views("operations-" + "-".join(self.running))
        self._no_views = opening.enter_context(
            ViewSet("operations", (), self.store, beside)
        )
        opening.enter_context(Timekeeper(self.host, self._view_sets()))
        telemetry.observe("modelkeep.view.lag", "s", self._lag)
        telemetry.observe("modelkeep.halted", "1", self._halts)

    def _start(self, opening: contextlib.ExitStack) -> None:
        if self.projector:
            opening.enter_context(Projector(self.projector, self._view_sets()))
        for one in self.running.values():
            if not self.projector:
                one.views.start()
            one.reactors.start()

    def _local(self) -> Iterable[Issuer]:
        if self.local_issuer:
            issuer = LocalIssuer.open(self.home.keys)
            issuer.write_tokens(self.home.tokens)
            yield issuer

    def _views(self, service: Service) -> ViewSet:
        return ViewSet(
            service.name,
            service.views,
            self.store,
            self.home.views(service.name),
            saw=self.host.clock.saw,
        )

    def _reactors(self, service: Service, views: ViewSet) -> ReactorSet:
        return ReactorSet(
            service.name,
            service.reactors,
            self.ledger,
            views,
            self.host.clock,
            self.home.reactors(service.name),
        )

    def _view_sets(self) -> list[ViewSet]:
        return [one.views for one in self.running.values()]

    def _lag(self) -> Iterator[tuple[str, float]]:
        for name, one in self.running.items():
            yield name, one.views.lag_s

    def _halts(self) -> Iterator[tuple[str, float]]:
        for name, one in self.running.items():
            yield f"{name}/views", float(one.views.halt is not None)
            yield f"{name}/reactors", float(one.reactors.halt is not None)

    def catch_up(self, timeout: float) -> None:
        """Wait until every view has applied what the store holds now."""
        head = self.store.head()
        for one in self.running.values():
            one.views.wait_for(head, timeout)

    @property
    def halted(self) -> bool:
        return any(halt for _, halt in self._halts())

    @property
    def well(self) -> bool:
        """Whether to send it more: nothing halted, and the store still writes."""
        return not self.halted and not getattr(self.store, "broken", "")

    def __exit__(self, *_: object) -> None:
        # All at once: each would be waited for in turn. What answers leaves before what
        # it reads, so that nothing is answered from rows that have stopped.
        for one in self.running.values():
            one.reactors.leave()
        for one in self.running.values():
            one.views.leave()
        self._resources.close()

    def serve(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        ready: Callable[[int], None] = lambda _: None,
        stop: threading.Event | None = None,
    ) -> None:
        """Answer on `address` until `stop` is set. `ready` is told the bound port.

        Raises Unavailable when the port is taken, and where `address` is not loopback
        without TLS: tokens would travel in the clear.
        """
        stopping = stop or threading.Event()
        stop_telemetry = telemetry.switch_on("modelkeep", __version__)
        try:
            with _less_collecting():
                asyncio.run(self._serve(address, ready, stopping))
        finally:
            stop_telemetry()

    async def _serve(
        self, address: str, ready: Callable[[int], None], stop: threading.Event
    ) -> None:
        _refuse_exposure(address, self.tls)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="rpc") as executor:
            server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=MAX_HELD)
            try:
                self._add(server, Rpc(self.gatekeeper, executor))
                try:
                    port = _bind(server, address, self.tls)
                finally:
                    # also without a port: a server that never ran cannot be stopped,
                    # and the process would end with an error that says nothing
                    await server.start()
                for one in self._claims:
                    one.answers_on(f"{address.rpartition(':')[0]}:{port}")
                ready(port)
                await asyncio.get_running_loop().run_in_executor(None, stop.wait)
            finally:
                await server.stop(grace=2.0)

    def _add(self, server: grpc.aio.Server, rpc: Rpc) -> None:
        services = list(self.running.values())
        handlers = [rpc.handler(one.service, self.host, one.views) for one in services]
        ours = operations.service(self.host, lambda: self.running)
        handlers.append(rpc.handler(ours, self.host, self._no_views))
        names = [one.service.descriptor.full_name for one in services]
        names.append(ours.descriptor.full_name)
        server.add_generic_rpc_handlers(tuple(handlers))
        status = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(status, server)
        self._health = [
            asyncio.ensure_future(self._watch_health(status, name))
            for name in ("", *names)
        ]
        reflection.enable_server_reflection(
            (*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )

    async def _watch_health(self, status: health.aio.HealthServicer, name: str) -> None:
        serving = health_pb2.HealthCheckResponse.ServingStatus
        while True:
            now = serving.SERVING if self.well else serving.NOT_SERVING
            await status.set(name, now)
            await asyncio.sleep(HEALTH_S)


@contextlib.contextmanager
def _less_collecting() -> Iterator[None]:
    """Events and rows are no cycles: to look for some in every 700 took a fifth of the
    time of an import. What was there before the first call is not looked at again.
    """
    before = gc.get_threshold()
    gc.set_threshold(*COLLECT_EVERY)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def _bind(server: grpc.aio.Server, address: str, tls: Tls | None) -> int:
    try:
        if tls is None:
            return server.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials(
            [(tls.key, tls.certificate)],
            root_certificates=tls.client_ca,
            require_client_auth=tls.client_ca is not None,
        )
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise Unavailable(
            f"{address} is taken: is another Modelkeep running?"
        ) from None


def _refuse_exposure(address: str, tls: Tls | None) -> None:
    host = address.rpartition(":")[0].strip("[]")
    if tls is None and not _loopback(host):
        raise Unavailable(
            f"{address} is not loopback: give it a certificate (--tls-cert)"
        )


def _loopback(host: str) -> bool:
    if host in {"localhost", "unix"}:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
