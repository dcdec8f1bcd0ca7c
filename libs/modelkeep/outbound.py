"""Calls out: to addresses an operator named, and to nothing these can be turned into.

https, or http to this very machine. A name is resolved once a call, every address it
has is judged, and the one that was judged is the one connected to. Nothing is followed
elsewhere, no proxy is asked, and no answer is longer or later than said here. Private
addresses are called only where the operator listed the host; those that machines keep
for themselves (link-local, where clouds hand out credentials) never.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from modelkeep.errors import Invalid, Unavailable

PATIENCE_S: Final = 5.0
"""For each step of a call."""
LONGEST_S: Final = 15.0
"""For all of it, however busy or slow the other side is."""
MAX_ANSWER_BYTES: Final = 1 << 18

_PORTS: Final = {"https": 443, "http": 80}
_NAT64: Final = IPv6Network("64:ff9b::/96")
_SAFE_PATH: Final = re.compile(r"[!-~]*")

_Address = IPv4Address | IPv6Address


class Destination(NamedTuple):
    """`listed` says that the operator allowed this host even a private address."""

    scheme: str
    host: str
    port: int
    path: str
    listed: bool

    @classmethod
    def parse(cls, url: str, hosts: Collection[str] = ()) -> Destination:
        """Read an address; with `hosts`, only these and this machine may be called.

        Raises Invalid.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Invalid.field("url", f"{url!r}: {error}") from None
        host = (parts.hostname or "").rstrip(".")
        if parts.scheme not in _PORTS or not host:
            raise Invalid.field("url", f"{url!r} is no https address")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise Invalid.field("url", f"{url!r} holds a password or a fragment")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        if not _SAFE_PATH.fullmatch(path) or not host.isascii():
            raise Invalid.field("url", f"{url!r} holds what no address holds")
        if parts.scheme == "http" and not _this_machine(host):
            raise Invalid.field("url", f"{url!r} is not https, nor this machine")
        listed = host in {one.lower().rstrip(".") for one in hosts}
        if hosts and not listed and not _this_machine(host):
            raise Invalid.field("url", f"{host} is not among the hosts allowed")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path, listed)

    def beneath(self, path: str) -> Destination:
        """Return the address of `path` below this one."""
        return self._replace(path=f"{self.path.rstrip('/')}/{path}")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


class Reply(NamedTuple):
    status: int
    kind: str
    body: bytes


def post(to: Destination, body: bytes, headers: Mapping[str, str]) -> Reply:
    """Send `body`; raises Unavailable when no answer came, or one too long."""
    return _call(to, "POST", body, headers)


def get(to: Destination) -> Reply:
    """Raises Unavailable, as `post` does."""
    return _call(to, "GET", None, {})


def _call(
    to: Destination, method: str, body: bytes | None, headers: Mapping[str, str]
) -> Reply:
    connection = _Pinned(to, _resolved(to))
    given_up = threading.Timer(LONGEST_S, connection.hang_up)
    given_up.daemon = True
    given_up.start()
    try:
        sent = {"User-Agent": "modelkeep", "Connection": "close", **headers}
        connection.request(method, to.path or "/", body, sent)
        answer = connection.getresponse()
        content = answer.read(MAX_ANSWER_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{to}: {str(error) or type(error).__name__}") from None
    finally:
        given_up.cancel()
        connection.close()
    if len(content) > MAX_ANSWER_BYTES:
        raise Unavailable(f"{to} answered with more than {MAX_ANSWER_BYTES} bytes")
    return Reply(answer.status, answer.getheader("Content-Type", ""), content)


class _Pinned(http.client.HTTPConnection):
    """Connects to the address that was judged, whatever its name means by now."""

    def __init__(self, to: Destination, address: str) -> None:
        super().__init__(to.host, to.port, timeout=PATIENCE_S)
        self._to, self._address = to, address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self._to.port), PATIENCE_S)
        if self._to.scheme == "http":
            self.sock = plain
            return
        context = ssl.create_default_context()
        with contextlib.ExitStack() as unless_wrapped:
            unless_wrapped.callback(plain.close)
            self.sock = context.wrap_socket(plain, server_hostname=self._to.host)
            unless_wrapped.pop_all()

    def hang_up(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


def _resolved(to: Destination) -> str:
    try:
        found = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{to.host} has no address: {error}") from None
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if not _permitted(ip_address(address), to):
            raise Unavailable(f"{to.host} is {address}, which is not called")
    return addresses[0]


def _permitted(address: _Address, to: Destination) -> bool:
    meant = _meant(address)
    if _this_machine(to.host):
        return meant.is_loopback
    # A name that leads back here is somebody's trick.
    if meant.is_loopback or meant.is_link_local or meant.is_multicast:
        return False
    if meant.is_unspecified or meant.is_reserved:
        return False
    return to.listed or meant.is_global


def _meant(address: _Address) -> _Address:
    """Unwrap the IPv4 address that some IPv6 ones stand for."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address


def _this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
