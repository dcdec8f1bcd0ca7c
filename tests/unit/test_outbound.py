"""Calls out reach what an operator named, and nothing that can be made of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from modelkeep import outbound
from modelkeep.errors import Invalid, Unavailable
from modelkeep.outbound import Destination, get, post


class Handler(BaseHTTPRequestHandler):
    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"good")
    seen: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.path, dict(self.headers), body))
        status, headers, content = self.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server(
    status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"good"
) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    kind = type(
        "Answering",
        (Handler,),
        {"answer": (status, headers or {}, body), "seen": seen},
    )
    with HTTPServer(("127.0.0.1", 0), kind) as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{one.server_port}", seen
        finally:
            one.shutdown()
            thread.join()


def test_it_sends_and_hears() -> None:
    with server(201, {"Content-Type": "text/x"}) as (url, seen):
        reply = post(Destination.parse(f"{url}/a?b=c"), b"body", {"X-A": "b"})
        assert reply == (201, "text/x", b"good")
        assert get(Destination.parse(url).beneath("d")).status == 201
    path, headers, body = seen[0]
    assert (path, headers["X-A"], body) == ("/a?b=c", "b", b"body")
    assert seen[1][0] == "/d"


def test_nothing_is_followed_elsewhere() -> None:
    with server() as (other, reached):
        with server(307, {"Location": other}) as (url, _):
            assert post(Destination.parse(url), b"", {}).status == 307
        assert not reached


def test_an_answer_has_an_end() -> None:
    with (
        server(body=b"x" * (outbound.MAX_ANSWER_BYTES + 1)) as (url, _),
        pytest.raises(Unavailable, match="more than"),
    ):
        get(Destination.parse(url))


def test_who_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "LONGEST_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match="127"):
            get(Destination.parse(url))


def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(Unavailable, match="refused"):
        post(Destination.parse(url), b"", {})


@pytest.mark.parametrize(
    "url",
    [
        "http://bank.example/",
        "ftp://bank.example/",
        "file:///etc/passwd",
        "https://",
        "bank.example",
        "https://me:secret@bank.example/",
        "https://me@bank.example/",
        "https://bank.example:x/",
        "https://bank.example:99999/",
        "https://bank.example/a b",
        "https://bank.example/#there",
        "https://b\u00e4nk.example/",
        "https://[::1",
        "http://127.0.0.1.bank.example/",
    ],
)
def test_what_is_no_safe_address_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        Destination.parse(url)


def test_hosts_that_are_not_listed_are_refused() -> None:
    hosts = ["Hook.bank.example"]
    assert Destination.parse("https://hook.bank.example/x", hosts).listed
    assert Destination.parse("http://localhost:8084", hosts).port == 8084
    with pytest.raises(Invalid, match="not among the hosts"):
        Destination.parse("https://other.example/", hosts)


NEVER = [
    "127.0.0.1",
    "::1",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "0.0.0.0",  # noqa: S104  # called, not listened on
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "255.255.255.255",
]
PRIVATE = ["10.1.2.3", "192.168.0.1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
PUBLIC = ["93.184.216.34", "2606:2800:220:1::1"]


def meaning(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def resolve(*_: object, **__: object) -> list[Any]:
        return [(0, 0, 0, "", (address, 443)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("hosts", [(), ("bank.example",)])
def test_some_addresses_are_never_called(
    monkeypatch: pytest.MonkeyPatch, address: str, hosts: tuple[str, ...]
) -> None:
    to = Destination.parse("https://bank.example/", hosts)
    for addresses in ((address,), (PUBLIC[0], address)):
        meaning(monkeypatch, *addresses)
        with pytest.raises(Unavailable, match="not called"):
            get(to)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_called_where_the_host_is_listed(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    meaning(monkeypatch, address)
    called: list[object] = []

    def connect(where: object, _: float) -> None:
        called.append(where)
        raise OSError("enough")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(Unavailable, match="not called"):
        get(Destination.parse("https://bank.example/"))
    with pytest.raises(Unavailable, match="enough"):
        get(Destination.parse("https://bank.example/", ["bank.example"]))
    assert called == [(address, 443)]


def test_the_address_that_was_judged_is_the_one_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that means another address a moment later is not asked again."""
    asked: list[object] = []
    called: list[object] = []

    def resolve(host: object, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (PUBLIC[0] if len(asked) == 1 else "127.0.0.1", 443))]

    def connect(where: object, _: float) -> None:
        called.append(where)
        raise OSError("enough")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(Unavailable, match="enough"):
        get(Destination.parse("https://bank.example/"))
    assert (asked, called) == (["bank.example"], [(PUBLIC[0], 443)])


def test_loopback_by_name_must_be_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    meaning(monkeypatch, PUBLIC[0])
    with pytest.raises(Unavailable, match="not called"):
        get(Destination.parse("http://localhost/"))
