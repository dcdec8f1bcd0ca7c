"""A time-stamping authority of the tests' own: OpenSSL's, behind a socket."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

CONFIGURATION = """
[tsa]
serial = {folder}/serial
default_policy = 1.2.3.4
digests = sha256, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
"""


class Authority:
    """Its root, its certificate and its key in `folder`."""

    def __init__(self, folder: Path, name: str = "Time") -> None:
        self.folder, self.asked = folder, 0
        folder.mkdir(parents=True)
        (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))
        (folder / "eku").write_text("extendedKeyUsage = critical,timeStamping\n")
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        root = ("-subj", f"/CN={name} Root", "-keyout", "root.key", "-out", "root.pem")
        self._openssl("req", "-x509", *new, "-days", "30", *root)
        leaf = ("-subj", f"/CN={name}", "-keyout", "tsa.key", "-out", "tsa.csr")
        self._openssl("req", *new, *leaf)
        signing = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial")
        extra = ("-extfile", "eku", "-days", "29", "-in", "tsa.csr", "-out", "tsa.pem")
        self._openssl("x509", "-req", *signing, *extra)

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def answer(self, query: bytes) -> bytes:
        self.asked += 1
        (self.folder / "query").write_bytes(query)
        told = ("-config", "tsa.cnf", "-section", "tsa", "-queryfile", "query")
        signing = ("-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "answer")
        self._openssl("ts", "-reply", *told, *signing)
        return (self.folder / "answer").read_bytes()

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], cwd=self.folder, check=True, capture_output=True
        )


@contextmanager
def open_for_business(authority: Authority) -> Iterator[str]:
    """Answer on loopback; yields the address."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(authority.answer(body))

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/tsa"
        finally:
            server.shutdown()
            thread.join()
