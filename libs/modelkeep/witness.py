"""`modelkeep-witness`: a witness on a machine of somebody else's (C2SP tlog-witness).

Needs Python and `cryptography`, nothing of the ledger: only the public keys of the logs
it watches. It answers `POST /add-checkpoint`; `GET /` with its own public key; and,
which the protocol does not ask for, `GET /checkpoint/<SHA-256 of the origin, in hex>`
with what it saw last, by which a ledger that runs from an old copy learns that it does.
Without TLS it listens on loopback alone, for whatever does TLS in front of it.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.proof.cosignature import WitnessKey
from modelkeep.proof.errors import Malformed, ProofError
from modelkeep.proof.evidence import read_keys
from modelkeep.proof.note import SigningKey, VerifierKey
from modelkeep.proof.submission import MAX_BODY_BYTES, PATH
from modelkeep.proof.witness import Answer, Witness

log = logging.getLogger(__name__)

DEFAULT_ADDRESS: Final = "127.0.0.1:8084"
MAX_CONNECTIONS: Final = 64
"""At once; whoever comes after these is hung up on."""
LONGEST_S: Final = 30.0
"""A connection's life, however busy or slow it is."""
PATIENCE_S: Final = 5.0

LATEST: Final = "/checkpoint/"
USAGE_ERROR: Final = 2
_PORT_DIGITS: Final = 5
_LOOK_S: Final = 0.1


class Certificate(NamedTuple):
    """PEM files."""

    chain: Path
    key: Path


def witness_key(path: Path, name: str | None) -> SigningKey:
    """Load the key at `path`, or make one called `name` there, for its owner alone.

    Raises Malformed, also when there is neither a key nor a name.
    """
    if not path.exists():
        if name is None:
            raise Malformed(f"there is no {path}: name the witness (--name) to make it")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        SigningKey.generate(name).save(path)
    return SigningKey.load(path)


@contextlib.contextmanager
def listening(
    witness: Witness, address: str, certificate: Certificate | None = None
) -> Iterator[_Server]:
    """Answer on `address` until the block is left; `.address` says where.

    Raises Malformed for an address that is none, or that others reach without TLS;
    OSError when it is taken.
    """
    host, port = _split(address)
    if certificate is None and not _loopback(host):
        raise Malformed(f"{address} is not loopback: give it a certificate")
    with _Server(host, port, witness, certificate) as one:
        thread = threading.Thread(
            target=one.serve_forever, args=(_LOOK_S,), name="witness", daemon=True
        )
        thread.start()
        try:
            yield one
        finally:
            one.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = True
    allow_reuse_port = False

    def __init__(
        self,
        host: str,
        port: int,
        witness: Witness,
        certificate: Certificate | None,
    ) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.witness = witness
        self.greeting = f"{WitnessKey.of(witness.key)}\n".encode()
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self._room = threading.Semaphore(MAX_CONNECTIONS)
        super().__init__((host, port), _Handler)

    @property
    def address(self) -> str:
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def process_request(self, request: _Request, client_address: object) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        given_up = threading.Timer(LONGEST_S, _hang_up, (request,))
        given_up.daemon = True
        given_up.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            given_up.cancel()
            self._room.release()

    def finish_request(self, request: _Request, client_address: object) -> None:
        # In the connection's own thread: a handshake may take as long as it likes.
        assert isinstance(request, socket.socket)  # noqa: S101, of a stream server
        request.settimeout(PATIENCE_S)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with self._tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, _: _Request, client_address: object) -> None:
        log.info("%s hung up: %r", client_address, sys.exc_info()[1])


_Request = socket.socket | tuple[bytes, socket.socket]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "modelkeep-witness"
    sys_version = ""
    timeout = PATIENCE_S
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/":
            self._say(Answer(HTTPStatus.OK, self.server.greeting))
        elif self.path.startswith(LATEST) and (seen := self._latest()) is not None:
            self._say(Answer(HTTPStatus.OK, seen))
        else:
            self._say(_said(HTTPStatus.NOT_FOUND, f"POST to /{PATH}"))

    def _latest(self) -> bytes | None:
        return self.server.witness.latest(self.path.removeprefix(LATEST))

    def do_POST(self) -> None:
        self._say(self._answered())

    def _answered(self) -> Answer:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self.close_connection = True
            return _said(HTTPStatus.LENGTH_REQUIRED, "say how long the body is")
        if len(length) > len(str(MAX_BODY_BYTES)) or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return _said(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "that is too long")
        body = self.rfile.read(int(length))
        if self.path != f"/{PATH}":
            return _said(HTTPStatus.NOT_FOUND, f"POST to /{PATH}")
        try:
            return self.server.witness.add_checkpoint(body)
        except (ProofError, OSError):
            # Its memory failed it: better no witness than one that forgets.
            log.exception("nothing was cosigned")
            return _said(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness cannot sign")

    def _say(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, its name
        log.info("%s %s", self.address_string(), ascii(format % args))


def _said(status: HTTPStatus, why: str) -> Answer:
    return Answer(status, f"{why}\n".encode())


def _hang_up(request: _Request) -> None:
    with contextlib.suppress(OSError):
        assert isinstance(request, socket.socket)  # noqa: S101, of a stream server
        request.shutdown(socket.SHUT_RDWR)


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if (
        not colon
        or not (port.isascii() and port.isdecimal())
        or len(port) > _PORT_DIGITS
    ):
        raise Malformed(f"{address!r} is no host:port")
    return host.strip("[]"), int(port)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    key: SigningKey,
    logs: Sequence[VerifierKey],
    folder: Path,
    address: str,
    certificate: Certificate | None,
) -> None:
    """Run until told to stop (SIGINT, SIGTERM). Raises ProofError, OSError."""
    stop = threading.Event()
    witness = Witness(key, logs, folder, lambda: int(time.time()))
    with listening(witness, address, certificate) as server:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, lambda *_: stop.set())
        where = f"{'https' if certificate else 'http'}://{server.address}"
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        sys.stdout.write(f"witness {WitnessKey.of(key)} {where}\n")
        sys.stdout.flush()
        stop.wait()


def certificate_of(chain: Path | None, key: Path | None) -> Certificate | None:
    """Pair what was given; raises Malformed when one of the two is missing."""
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise Malformed("a certificate and its key go together")
    return Certificate(chain, key)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        serve(
            witness_key(given.key, given.name),
            [key for one in given.log for key in read_keys(one)],
            given.state,
            given.listen,
            certificate_of(given.tls_cert, given.tls_key),
        )
    except (ProofError, OSError, ImportError) as error:
        sys.stderr.write(f"modelkeep-witness: {error}\n")
        return USAGE_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelkeep-witness",
        description="Cosign the checkpoints of ledgers that only ever grow. Run it"
        " where whoever runs the ledger has no say.",
    )
    parser.add_argument(
        "--key", type=Path, required=True, help="the witness's private key, a 0600 file"
    )
    parser.add_argument("--name", help="make the key, if there is none, of this name")
    parser.add_argument(
        "--log",
        action="append",
        required=True,
        help="a ledger's public key, or a file with some; may be said again",
    )
    parser.add_argument(
        "--state", type=Path, required=True, help="the folder it remembers in"
    )
    parser.add_argument("--listen", default=DEFAULT_ADDRESS, help="host:port")
    parser.add_argument("--tls-cert", type=Path, help="PEM")
    parser.add_argument("--tls-key", type=Path, help="PEM")
    return parser


if __name__ == "__main__":
    sys.exit(main())
