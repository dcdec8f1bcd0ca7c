"""The witness over real sockets: bounded, and it forgets nothing when it is killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkeep import witness as served
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.cosignature import WitnessKey, cosignatures
from modelkeep.proof.errors import Malformed
from modelkeep.proof.merkle import Leaves, consistency_proof, leaf_hash, root_at
from modelkeep.proof.note import SigningKey
from modelkeep.proof.submission import MAX_BODY_BYTES, Submission
from modelkeep.proof.witness import Witness
from modelkeep.witness import listening

LOG = SigningKey("bank.example/ledger", bytes(range(32)))
KEY = SigningKey("witness.example/w1", bytes(range(1, 33)))
LEAVES = Leaves([leaf_hash(b"%d" % n) for n in range(100)])
OTHERS = Leaves([leaf_hash(b"another %d" % n) for n in range(100)])


def signed(size: int, leaves: Leaves = LEAVES) -> bytes:
    root = root_at(leaves, size)
    return LOG.sign_note(Checkpoint(LOG.name, size, root).encode())


def body(old: int, new: int, leaves: Leaves = LEAVES) -> bytes:
    return Submission(
        old, consistency_proof(leaves, old, new), signed(new, leaves)
    ).encode()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    one = Witness(KEY, [LOG.verifier], tmp_path / "state", lambda: 1679315147)
    with listening(one, "127.0.0.1:0") as server:
        yield server.address


def ask(
    connection: http.client.HTTPConnection,
    content: bytes,
    path: str = "/add-checkpoint",
) -> tuple[int, bytes]:
    connection.request("POST", path, content)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_one_connection_asks_again_and_again(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=5)
    assert ask(connection, body(0, 50))[0] == 200
    status, line = ask(connection, body(50, 100))
    assert status == 200
    assert cosignatures(signed(100) + line, [WitnessKey.of(KEY)])
    assert ask(connection, body(50, 100)) == (409, b"100\n")
    assert ask(connection, body(0, 5), "/elsewhere")[0] == 404
    connection.request("GET", "/")
    assert connection.getresponse().read().decode() == f"{WitnessKey.of(KEY)}\n"
    connection.close()


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("", 411),
        ("x", 411),
        ("-1", 411),
        (str(MAX_BODY_BYTES + 1), 413),
        ("9" * 30, 413),
    ],
)
def test_a_body_without_end_is_not_read(address: str, length: str, status: int) -> None:
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.putrequest("POST", "/add-checkpoint")
    if length:
        connection.putheader("Content-Length", length)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_whoever_says_nothing_is_hung_up_on(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "PATIENCE_S", 0.05)
    monkeypatch.setattr(served._Handler, "timeout", 0.05)
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as silent:
        assert silent.recv(1) == b""


def test_whoever_goes_on_for_ever_is_hung_up_on(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "LONGEST_S", 0.1)
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nA: b")
        assert slow.recv(1) == b""


def test_more_than_there_is_room_for_are_turned_away(tmp_path: Path) -> None:
    one = Witness(KEY, [LOG.verifier], tmp_path / "state", lambda: 1)
    with listening(one, "127.0.0.1:0") as server:
        for _ in range(served.MAX_CONNECTIONS):
            server._room.acquire()
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as late:
            assert late.recv(1) == b""
        for _ in range(served.MAX_CONNECTIONS):
            server._room.release()
        connection = http.client.HTTPConnection(server.address, timeout=5)
        assert ask(connection, body(0, 5))[0] == 200
        connection.close()


def test_a_memory_that_fails_is_no_cosignature(address: str, tmp_path: Path) -> None:
    connection = http.client.HTTPConnection(address, timeout=5)
    assert ask(connection, body(0, 50))[0] == 200
    for path in (tmp_path / "state").iterdir():
        if len(path.name) == 64:
            path.write_bytes(b"")
    assert ask(connection, body(0, 50)) == (500, b"the witness cannot sign\n")
    connection.close()


@pytest.mark.parametrize(
    "address", ["0.0.0.0:1", "[::]:1", "host.example:1", "x", "a:b"]
)
def test_what_others_reach_has_a_certificate(tmp_path: Path, address: str) -> None:
    one = Witness(KEY, [LOG.verifier], tmp_path / "state", lambda: 1)
    with pytest.raises(Malformed), listening(one, address):
        pass


def started(folder: Path, *more: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "modelkeep.witness",
            f"--key={folder / 'w.key'}",
            "--name=witness.example/w1",
            f"--log={LOG.verifier}",
            f"--state={folder / 'state'}",
            "--listen=127.0.0.1:0",
            *more,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


def test_a_witness_that_was_killed_refuses_a_fork(tmp_path: Path) -> None:
    old = 0
    for new in (10, 20):
        process, said = started(tmp_path)
        with process:
            connection = http.client.HTTPConnection(
                said.split()[-1].removeprefix("http://"), timeout=5
            )
            if old:
                assert ask(connection, body(old, new, OTHERS))[0] == 422
                assert ask(connection, body(0, new, OTHERS)) == (409, b"%d\n" % old)
            assert ask(connection, body(old, new))[0] == 200
            connection.close()
            os.kill(process.pid, signal.SIGKILL)
        old = new
    assert (tmp_path / "w.key").stat().st_mode & 0o077 == 0


def test_it_ends_when_told(tmp_path: Path) -> None:
    process, said = started(tmp_path)
    with process:
        process.terminate()
    assert process.returncode == 0
    assert said.startswith("witness witness.example/w1+")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--listen", "0.0.0.0:1"),
        ("--log", "nowhere"),
        ("--log", "a+b+c"),
        ("--tls-cert", "nowhere"),
    ],
)
def test_it_says_in_one_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]
) -> None:
    KEY.save(tmp_path / "w.key")
    good = ("--key", str(tmp_path / "w.key"), "--log", str(LOG.verifier))
    code = served.main([*good, "--state", str(tmp_path / "state"), *wrong])
    assert code == served.USAGE_ERROR
    assert capsys.readouterr().err.count("\n") == 1


def test_a_witness_without_a_key_wants_a_name(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="--name"):
        served.witness_key(tmp_path / "w.key", None)


def test_it_needs_nothing_but_cryptography() -> None:
    program = """
import sys, json
import modelkeep.witness
print(json.dumps(sorted(name.partition(".")[0] for name in sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"grpc", "google", "numpy", "pydantic"} & set(json.loads(done.stdout))
