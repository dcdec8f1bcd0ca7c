"""Connections that are cut anywhere: whoever asks again gets one event an id."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import UUID

import grpc
import pytest
from tests.faults.besieged import Besieged, besieged

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.home import Home
from modelkeep.store.sqlite import SqliteStore

CALL_S: Final = 10.0
AGAIN: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)
MOST_TRIES: Final = 200


class Proxy:
    """Passes bytes on both ways, and cuts each connection after a random number."""

    def __init__(self, to: tuple[str, int], chance: random.Random, most: int) -> None:
        self._to, self._chance, self._most = to, chance, most
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.cuts = 0
        self._threads: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._to)
            except OSError:
                client.close()  # cut before it began
                continue
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Anywhere: in the request, between the two, or in the answer.
            left = [self._chance.randrange(200, self._most)]
            for source, target in ((client, server), (server, client)):
                threading.Thread(
                    target=self._pass, args=(source, target, left), daemon=True
                ).start()

    def _pass(
        self, source: socket.socket, target: socket.socket, left: list[int]
    ) -> None:
        with suppress(OSError):
            while data := source.recv(4_096):
                passed, left[0] = data[: max(left[0], 0)], left[0] - len(data)
                target.sendall(passed)
                if left[0] <= 0:
                    self.cuts += 1
                    break
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        self._listening.close()


@contextmanager
def proxied(server: Besieged, seed: int, most: int) -> Iterator[Proxy]:
    chance = random.Random(seed)  # noqa: S311, a seed to repeat it with
    proxy = Proxy(server.host, chance, most)
    try:
        yield proxy
    finally:
        proxy.close()


def register(
    server: Besieged, proxy: Proxy, client: int, appends: int, tries: Counter[str]
) -> None:
    """Register models; ask again under the same id until there is an answer."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 10),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 20),
        ("grpc.enable_retries", 0),
    ]
    with grpc.insecure_channel(proxy.address, options=options) as channel:
        stub = InventoryServiceStub(channel)
        for number in range(appends):
            request = server.register(f"cut-{client}-{number}")
            request.request_id = str(UUID(int=(client << 64) + number + (7 << 76)))
            for _ in range(MOST_TRIES):
                try:
                    answer = stub.RegisterModel(
                        request, timeout=CALL_S, metadata=server.metadata
                    )
                except grpc.RpcError as error:
                    if error.code() not in AGAIN:
                        raise
                    tries["again"] += 1
                else:
                    tries["replayed"] += answer.written.replayed
                    break
            else:
                raise AssertionError("never answered")


def cut_often(
    server: Besieged, home: Home, appends: int, clients: int = 2
) -> Counter[str]:
    tries: Counter[str] = Counter()
    failed: list[BaseException] = []
    with proxied(server, 20130401, 20_000) as proxy:

        def run(client: int) -> None:
            try:
                register(server, proxy, client, appends // clients, tries)
            except BaseException as error:  # noqa: BLE001  # the test must be told
                failed.append(error)

        threads = [threading.Thread(target=run, args=(one,)) for one in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tries["cut"] = proxy.cuts
    assert not failed, failed
    made = registered(home, "cut-")
    assert len(made) == appends // clients * clients
    assert set(made.values()) == {1}
    return tries


def registered(home: Home, prefix: str) -> Counter[str]:
    """Count the events of each model whose name begins so."""
    with SqliteStore(home.ledger) as store:
        return Counter(
            one.stream for one in store.read_all() if f".{prefix}" in one.stream
        )


def test_of_each_request_there_is_one_event_however_often_the_line_is_cut(
    server: Besieged, home: Home
) -> None:
    tries = cut_often(server, home, 160)
    assert tries["cut"] > 0
    assert tries["again"] > 0


@pytest.mark.slow
def test_of_a_hundred_thousand_requests_there_is_one_event_each(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path / "home")
    with besieged(home) as server:
        tries = cut_often(server, home, 100_000, clients=4)
    print(dict(tries))  # noqa: T201
    assert tries["replayed"] > 0


def test_an_id_of_another_body_is_refused_and_nothing_is_written(
    server: Besieged, home: Home
) -> None:
    reuse_often(server, home, 40)


@pytest.mark.slow
def test_ten_thousand_ids_of_another_body_are_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with besieged(home) as server:
        reuse_often(server, home, 10_000)


def reuse_often(server: Besieged, home: Home, cases: int) -> None:
    """Ask twice with one id and something else about the second, over the wire."""
    chance = random.Random(20130401)  # noqa: S311, a seed to repeat it with
    with grpc.insecure_channel(server.address) as channel:
        stub = InventoryServiceStub(channel)

        def ask(request: inv.RegisterModelRequest) -> inv.RegisterModelResponse:
            return stub.RegisterModel(request, timeout=30, metadata=server.metadata)

        for number in range(cases):
            first = server.register(f"reused-{number}")
            told = ask(first)
            other = inv.RegisterModelRequest()
            other.CopyFrom(first)
            field = chance.choice(["title", "purpose", "owner", "business_line"])
            setattr(other, field, f"other-{number}")
            with pytest.raises(grpc.RpcError) as refused:
                ask(other)
            assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS, field
            again = ask(first)
            assert again.written.replayed
            assert again.written.position == told.written.position
    made = registered(home, "reused-")
    assert len(made) == cases
    assert set(made.values()) == {1}, made.most_common(3)
