"""Checkpoints, keys, witnesses and the notary alone, as people run them."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from tests.commands import COMMAND, around, good, run
from tests.doubles.kurrentdb import Double
from tests.unit.test_outbound import server

from modelkeep.home import Home
from modelkeep.proof.__main__ import main as verifier
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.cosignature import WitnessKey
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.note import SigningKey, parse
from modelkeep.proof.policy import Policy
from modelkeep.proof.witness import Witness
from modelkeep.store import open_store
from modelkeep.store.port import ANY, NewEvent, Store
from modelkeep.store.sqlite import SqliteStore
from modelkeep.witness import listening
from modelkeep_services.audit import tails
from modelkeep_services.audit.signing import signing_key
from modelkeep_services.audit.witnesses import last_cosigned
from modelkeep_services.cli import sidecar, status

METADATA = (
    b'{"known_at":"2026-01-01T00:00:00.000000Z","tenant":"main","schema_version":"1"}'
)


def write(store: Store, first: int, many: int) -> None:
    events = [
        NewEvent(UUID(int=n + 1), "a.b", 1, b'{"n":%d}' % n, METADATA)
        for n in range(first, first + many)
    ]
    store.append("model-main.m", events, expected=ANY)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = Home(tmp_path / "home").make()
    with SqliteStore(place.ledger) as store:
        write(store, 0, 10)
    return place.root


def until(true: Callable[[], bool]) -> None:
    """Wait for what a process does that may have to start first."""
    for _ in range(3_000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def is_signed(folder: Path, size: int) -> bool:
    """Whether the published checkpoint is of so many events."""
    try:
        raw = (folder / "checkpoint").read_bytes()
    except FileNotFoundError:
        return False
    return Checkpoint.parse(parse(raw).text).size == size


@contextmanager
def running(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=around(home, env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_key_is_changed_and_all_verifies(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def verified(key: str) -> str:
        """What an examiner is told who holds this key and no list of writers."""
        ledger, folder = str(home / "ledger.db"), str(home / "checkpoints")
        assert verifier([ledger, "--checkpoint", folder, "--key", key]) == 0
        return capsys.readouterr().out

    done = run(home, "checkpoint", "rotate")
    assert done.returncode == 1
    assert "nothing was signed yet" in done.stderr
    good(home, "checkpoint")
    first = (home / "checkpoints" / "checkpoint.vkey").read_text()
    told = json.loads(good(home, "checkpoint", "rotate", "--json"))
    assert (told["old"], told["size"]) == (first.strip(), 10)
    with SqliteStore(home / "ledger.db") as store:
        write(store, 10, 5)
    good(home, "checkpoint")
    for key in (first.strip(), told["new"]):
        assert "the first 15 events are those that were signed" in verified(key)
    third = good(home, "checkpoint", "rotate", "--compromised")
    assert "hand the new key over yourself" in third
    assert "given up as compromised at 15 events" in verified(told["new"])


def test_another_writer_signs_what_starts_from_now_on(home: Path) -> None:
    told = json.loads(good(home, "checkpoint", "rotate", "--writer", "--json"))
    assert told["writer"] in (home / "keys" / "writers.vkeys").read_text()
    wrong = run(home, "checkpoint", "rotate", "--writer", "--compromised")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1


def test_status_says_what_nothing_vouches_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "10 events are unsigned" in good(home, "status")
    good(home, "checkpoint")
    assert json.loads(good(home, "status", "--json"))["tails"] == [
        {"kind": "unsigned", "events": 0, "seconds": 0.0, "exposed": False}
    ]
    with SqliteStore(home / "ledger.db") as store:
        write(store, 10, 5)
    (tail,) = json.loads(run(home, "status", "--json").stdout)["tails"]
    assert (tail["kind"], tail["events"]) == ("unsigned", 5)
    monkeypatch.setitem(tails.LIMITS_S, "unsigned", -1.0)
    assert status.run(Home(home), (), None, as_json=False) == 1
    monkeypatch.setitem(tails.LIMITS_S, "unsigned", 3_600.0)
    assert status.run(Home(home), (), None, as_json=False) == 0


@pytest.mark.parametrize(
    ("arguments", "env", "code", "said"),
    [
        (("witness", "--key=w", "--log=x", "--state=s"), {}, 2, "name the witness"),
        (("notary",), {"MODELKEEP_WEBHOOKS": "http://a.example"}, 2, "is not https"),
        (("notary", "--store", "nosuch:store"), {}, 2, "no kind of store"),
        (("notary", "--check"), {}, 1, "nothing to compare with"),
        (("serve", "audit"), {"MODELKEEP_WITNESSES": "/nowhere"}, 2, "/nowhere"),
        (("status",), {"MODELKEEP_WITNESSES": "/nowhere"}, 2, "/nowhere"),
        (("notary", "--home", "empty"), {}, 1, "no ledger in"),
    ],
)
def test_what_cannot_be_is_one_line(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    env: dict[str, str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(home)
    done = run(home, *arguments, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_second_persons_witness_vouches_for_the_notarys_checkpoints(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A notary, a witness and a webhook, each a process or a server of its own."""
    good(home, "checkpoint")
    log_key = str(home / "checkpoints" / "checkpoint.vkey")
    asked = ["--key", str(tmp_path / "w.key"), "--name", "auditor.example/w"]
    asked += ["--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0"]
    policy = tmp_path / "policy"
    with (
        server(204) as (hook, seen),
        running(home, "witness", *asked, "--log", log_key) as witness,
    ):
        assert witness.stdout is not None
        _, key, where = witness.stdout.readline().split()
        policy.write_text(f"witness auditor {key} {where}\nquorum auditor\n")
        env = {
            "MODELKEEP_WITNESSES": str(policy),
            "MODELKEEP_WEBHOOKS": f"{hook}/in",
        }
        with running(home, "notary", env=env) as notary:
            until((home / "checkpoints" / "cosigned").exists)
            with SqliteStore(home / "ledger.db") as store:
                write(store, 10, 5)
            until(lambda: any(b'"size": 15' in body for _, _, body in seen))
            second = run(home, "notary")
            assert second.returncode == 1
            assert "audit of" in second.stderr
            notary.send_signal(signal.SIGTERM)
            assert notary.wait(60) == 0
        assert "cosigned" in good(home, "status", env=env)
    arguments = ["--checkpoint", str(home / "checkpoints"), "--key", log_key]
    code = verifier([str(home / "ledger.db"), *arguments, "--witnesses", str(policy)])
    out, _ = capsys.readouterr()
    assert code == 0, out
    assert "15 events were cosigned by auditor.example/w" in out


@contextmanager
def notary_here(home: Path, store: str) -> Iterator[None]:
    """What `modelkeep notary` does, in a thread: no process has to start."""
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=sidecar.run,
        args=(Home(home).make(), store, lambda _: ready.set(), stop),
    )
    thread.start()
    try:
        assert ready.wait(60)
        yield
    finally:
        stop.set()
        thread.join()


def test_the_notary_alone_has_its_checkpoints_cosigned_and_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short version of what follows, all of it in this process."""
    folder, policy = home / "checkpoints", tmp_path / "policy"
    with SqliteStore(home / "ledger.db") as store:
        log_key = signing_key(Home(home).keys, store.origin).verifier
    key = SigningKey("auditor.example/w", bytes(32))
    witness = Witness(key, [log_key], tmp_path / "state", lambda: 1679315147)
    with server(204) as (hook, seen), listening(witness, "127.0.0.1:0") as there:
        policy.write_text(
            f"witness auditor {WitnessKey.of(key)} http://{there.address}\n"
            "quorum auditor\n"
        )
        monkeypatch.setenv("MODELKEEP_WITNESSES", str(policy))
        monkeypatch.setenv("MODELKEEP_WEBHOOKS", f"{hook}/in")
        with notary_here(home, str(home / "ledger.db")):
            until((folder / "cosigned").exists)
            with SqliteStore(home / "ledger.db") as store:
                write(store, 10, 5)
            until(lambda: any(b'"size": 15' in body for _, _, body in seen))
    found = last_cosigned(folder, Policy.load(policy))
    assert found == (15, 1679315147)


def test_the_notary_alone_signs_what_kurrentdb_holds(tmp_path: Path) -> None:
    """Over our double of its protocol: positions have gaps, others write between."""
    home = tmp_path / "home"
    with Double() as double, open_store(double.uri) as store:
        for size in (10, 20):
            write(store, size - 10, 10)
            double.log.write_system_event()
            with notary_here(home, double.uri):
                until(partial(is_signed, home / "checkpoints", size))
        asked = ("notary", "--store", double.uri, "--check", "--json")
        checked = json.loads(good(home, *asked))
        assert checked == {"events": 20, "signed": 20, "same": True}
        tamper(double, 3)
        assert run(home, *asked).returncode == 1


@pytest.mark.slow
def test_the_notary_alone_signs_what_kurrentdb_holds_and_goes_on_when_killed(
    tmp_path: Path,
) -> None:
    """Over our double of its protocol: positions have gaps, others write between."""
    home = tmp_path / "home"
    folder = home / "checkpoints"
    with Double() as double, open_store(double.uri) as store:
        asked = ("notary", "--store", double.uri)
        for size in (10, 20):
            write(store, size - 10, 10)
            double.log.write_system_event()
            with running(home, *asked):
                until(partial(is_signed, folder, size))
        write(store, 20, 3)
        said = run(home, "status", "--json", *asked[1:]).stdout
        assert json.loads(said)["tails"][0]["events"] == 3
        checked = json.loads(good(home, *asked, "--check", "--json"))
        assert checked == {"events": 23, "signed": 20, "same": True}
        evidence = gather(folder, read_keys(str(folder / "checkpoint.vkey")))
        assert [one.checkpoint.size for one in evidence.all] == [10, 20]
        tamper(double, 3)
        done = run(home, *asked, "--check")
    assert done.returncode == 1
    assert "NOT what was signed" in done.stdout


def tamper(double: Double, event: int) -> None:
    """Change an event as whoever has the database's files can."""
    for index, record in enumerate(double.log._records):
        if record.event.id.int == event:
            altered = record.event._replace(data=b'{"n":99}')
            double.log._records[index] = record._replace(event=altered)
