"""All of Modelkeep over PostgreSQL, as people run it: real processes, a real server."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from tests.commands import COMMAND, TIMEOUT_S, around, good, run
from tests.integration.audit_story import tell_all, telling
from tests.servers import postgresql

from modelkeep.api.audit.v1.audit_pb2 import GetCheckpointRequest
from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.events import load_all
from modelkeep.home import Home
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.report import PROVEN
from modelkeep.proof.verify import verify
from modelkeep.running import address_of
from modelkeep.store import open_store
from modelkeep.store.moving import carry
from modelkeep.store.ranked import RankedStore
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.audit.signing import LOG_KEY
from modelkeep_services.cli.asking import audit
from modelkeep_services.cli.connect import connected
from modelkeep_services.wiring import builds

pytestmark = pytest.mark.skipif(
    bool(postgresql.absent()), reason=postgresql.absent() or "-"
)
PASSWORD = "not-to-be-seen"  # noqa: S105  # which is what is tested

TITLE = "Kept where the bank keeps everything"


@pytest.fixture
def url() -> str:
    """Where nobody asks for a password, one may be given all the same."""
    plain = postgresql.shared().uri(schema=f"up_{uuid4().hex[:16]}")
    return plain.replace("postgres@", f"postgres:{PASSWORD}@")


@contextmanager
def up(home: Home, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "up", "--listen", "127.0.0.1:0", "--store", url]
    with subprocess.Popen(
        command,
        env=around(home.root),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while address_of(home, "inventory") is None:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


Metadata = tuple[tuple[str, str], ...]


def register(channel: grpc.Channel, metadata: Metadata, model: str) -> int:
    """Register a model; return where that is written."""
    answer = InventoryServiceStub(channel).RegisterModel(
        inv.RegisterModelRequest(
            request_id=str(uuid4()),
            model=model,
            title=TITLE,
            kind=inv.MODEL_KIND_TRAINED,
            purpose="to be found again",
            owner="owner",
            business_line="lending",
            approved_uses=["testing"],
        ),
        timeout=30,
        metadata=metadata,
    )
    return answer.written.position


def found(channel: grpc.Channel, metadata: Metadata, model: str, position: int) -> str:
    """Return the model's title from the view that has heard of a position."""
    inventory = InventoryServiceStub(channel)
    asked = inv.GetModelRequest(model=model, not_before=position)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            answer = inventory.GetModel(asked, timeout=30, metadata=metadata)
        except grpc.RpcError as error:  # the views' own process is not up yet
            late = time.monotonic() > deadline
            if late or error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        else:
            return answer.model.title


def test_services_answer_sign_and_prove_over_postgresql(
    tmp_path: Path, url: str
) -> None:
    load_all()
    home = Home(tmp_path / "home").make()
    here = {"inventory": builds()["inventory"]}
    with connected(home, here, "owner", store_url=url, fresh=True) as there:
        told = there.channels["inventory"], there.metadata
        register(*told, "fraud")
        position = register(*told, "credit")
        assert found(*told, "credit", position) == TITLE
    assert home.views("inventory").exists()
    assert not home.ledger.exists()
    with audit(home, builds(), url) as ask:
        signed = ask(ask.audit.GetCheckpoint, GetCheckpointRequest()).checkpoint
    with open_store(url) as store:
        assert isinstance(store, RankedStore)
        assert store.tree() == (signed.size, signed.root)
        with SqliteStore(tmp_path / "examined.db", origin=store.origin) as file:
            carry(store, file, lambda _done, _total: None)
    keys = read_keys(str(home.published / LOG_KEY))
    with LedgerFile(tmp_path / "examined.db") as file_:
        report = verify(file_, gather(home.published, keys))
    assert report.exit_code == PROVEN
    assert report.size == signed.size >= 2


@pytest.mark.slow
def test_a_home_over_postgresql_answers_signs_and_is_verified(
    tmp_path: Path, url: str
) -> None:
    home = Home(tmp_path / "home").make()
    with up(home, url) as process:
        token = (home.tokens / "owner.token").read_text().strip()
        with grpc.insecure_channel(address_of(home, "inventory") or "") as channel:
            bearer = (("authorization", f"Bearer {token}"),)
            position = register(channel, bearer, "credit")
            assert found(channel, bearer, "credit", position) == TITLE
        signed = json.loads(good(home.root, "checkpoint", "--json", "--store", url))
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=TIMEOUT_S)[0]
        assert process.returncode == 0
    assert "postgresql://postgres@/postgres" in said
    assert PASSWORD not in said
    assert not home.ledger.exists()
    assert home.views("inventory").exists()
    assert int(signed["checkpoint"]["size"]) > 1

    again = json.loads(good(home.root, "replay", "--json", "--store", url))
    assert again["equal"]
    status = json.loads(good(home.root, "status", "--json", "--store", url))
    assert status["signed"] >= int(signed["checkpoint"]["size"])

    # The verifier reads files: an examiner's copy is one.
    file = tmp_path / "examined.db"
    copied = json.loads(
        good(home.root, "store", "copy", "--from", url, "--to", str(file), "--json")
    )
    assert copied["events"] == copied["written"] == status["head"] // 10 + 1
    verified = run(home.root, "verify", "--ledger", str(file))
    assert verified.returncode == 0, verified.stdout
    assert "PROVEN" in verified.stdout

    # One event changed behind everybody's back: the copy is refused, and tells which.
    _tamper(url)
    other = tmp_path / "tampered.db"
    refused = run(home.root, "store", "copy", "--from", url, "--to", str(other))
    assert refused.returncode == 1
    assert "is not what was written" in refused.stderr
    assert PASSWORD not in refused.stderr
    assert run(home.root, "verify", "--ledger", str(other)).returncode == 1


def _tamper(url: str) -> None:
    import psycopg  # noqa: PLC0415  # an extra

    from modelkeep.store.postgres_link import Address  # noqa: PLC0415

    with psycopg.connect(postgresql.shared().uri(), autocommit=True) as db:
        db.execute(f"set search_path = {Address.parse(url).schema}".encode())
        db.execute("alter table event disable trigger all")
        db.execute("update event set data = '{}' where position = 0")


@pytest.mark.slow
def test_a_home_moves_from_its_file_to_postgresql(tmp_path: Path, url: str) -> None:
    home = Home(tmp_path / "home").make()
    with SqliteStore(home.ledger) as store, telling(home, store) as story:
        tell_all(story)
        origin, head = store.origin, store.head()
    signed = json.loads(good(home.root, "checkpoint", "--json"))["checkpoint"]
    good(home.root, "store", "copy", "--from", str(home.ledger), "--to", url)
    home.ledger.rename(tmp_path / "kept.db")
    # What was signed, projected and reacted to goes on where it stood.
    status = json.loads(good(home.root, "status", "--json", "--store", url))
    assert (status["origin"], status["head"]) == (origin, head)
    assert {one["position"] for one in status["followers"]} == {head}
    again = json.loads(good(home.root, "checkpoint", "--json", "--store", url))
    assert int(again["checkpoint"]["size"]) == int(signed["size"])
    assert again["checkpoint"]["root"] == signed["root"]
    assert json.loads(good(home.root, "replay", "--json", "--store", url))["equal"]


def test_each_wrong_copy_is_one_line(tmp_path: Path, url: str) -> None:
    for source, target, code, told in (
        (str(tmp_path / "no.db"), url, 1, "no ledger in"),
        (url, url, 2, "is the ledger to copy from"),
        (url, "mysql://host/db", 2, "is no kind of store"),
        (url, "postgresql://host/db?schema=No", 2, "is no schema"),
    ):
        done = run(tmp_path, "store", "copy", "--from", source, "--to", target)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1)
        assert told in done.stderr
        assert PASSWORD not in done.stderr
