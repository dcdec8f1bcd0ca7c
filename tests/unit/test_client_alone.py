"""The SDK needs grpcio and protobuf, and nothing else."""

from __future__ import annotations

import subprocess
import sys

POISONED = """
import sys

ALLOWED = {"grpc", "google", "modelkeep", "cython_runtime", "_cython_3_1_4"}

class Poison:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in {"numpy", "pydantic", "pyarrow", "pandas", "scipy", "apsw", "jwt",
                    "cryptography", "opentelemetry", "rich", "typer", "yaml"}:
            raise ImportError(f"{name} is not here")
        return None

sys.meta_path.insert(0, Poison())
from modelkeep import Client

with Client("127.0.0.1:1", token="t", model="m", version="v", exit_s=0) as client:
    decision = client.log({"a": 1.0, "b": "x", "c": None}, score=0.5)
    client.log_many({"a": [1.0, 2.0]}, [0.1, 0.2])
    client.outcome(decision, 1)
    assert client.stats.logged == 4
    client.close(timeout=0)
assert client.stats.dropped == 4
print(decision)
"""


UNPROVABLE = (
    POISONED.partition("from modelkeep import Client")[0]
    + """
import base64, json
import grpc
from modelkeep import NotAdmitted
from modelkeep.proof.dsse import IN_TOTO
from modelkeep.sdk.admit import Admission, Question

KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
QUESTION = Question("m", "v", "prod", (b"weights",))
signature = {"keyid": "", "sig": base64.b64encode(bytes(64)).decode()}
permit = {"payload": "e30=", "payloadType": IN_TOTO, "signatures": [signature]}
with grpc.insecure_channel("127.0.0.1:1") as channel:
    admission = Admission(channel, tuple, QUESTION, KEY)
    try:
        admission._opened(json.dumps(permit).encode(), "", "", 0.0)
    except NotAdmitted as no:
        print(no)
"""
)


def test_the_sdk_imports_and_logs_with_grpcio_and_protobuf_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", POISONED],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 36


def test_a_permit_that_cannot_be_proven_is_not_believed() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNPROVABLE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "install modelkeep[admission]" in done.stdout
