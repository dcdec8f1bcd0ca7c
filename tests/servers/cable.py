"""A cable between a client and a server's socket: it may be cut, or carry nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self


class Cable:
    """Listens on loopback at `port`; what comes goes to a Unix socket, and back."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._listens = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listens.getsockname()[1])
        self._carries = threading.Event()
        self._carries.set()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Carry nothing from now on; both ends stay connected."""
        self._carries.clear()

    def restore(self) -> None:
        """Carry again, first what was held back."""
        self._carries.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listens.close()
        self.restore()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self._listens.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._ends += [client, server]
                for here, there in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._carry, args=(here, there), daemon=True
                    ).start()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while what := here.recv(1 << 16):
                self._carries.wait()
                there.sendall(what)
        with suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)
