"""kill -9 of running services while clients write: nothing acknowledged is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import grpc
import pytest

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.running import address_of
from modelkeep.store.sqlite import SqliteStore

COMMAND = (sys.executable, "-m", "modelkeep_services")
CLIENTS = 4
START_S = 60.0
CALL_S = 10.0
TO_TELL_ABOUT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass
class Story:
    """What clients asked, and what they were told is written."""

    home: Home
    said: dict[str, tuple[int, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    enough: threading.Event = field(default_factory=threading.Event)
    wrong: list[BaseException] = field(default_factory=list)


@contextmanager
def up(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """Run all services until killed; a process that answers."""
    command = [*COMMAND, "up", "--listen", "127.0.0.1:0", "--home", str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_S
            while address_of(home, "inventory") is None:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def client(story: Story, number: int) -> None:
    """Register models one by one; ask again under the same id until told."""
    try:
        token = LocalIssuer.open(story.home.keys).issue(
            f"owner-{number}", frozenset({"owner"})
        )
        metadata = (("authorization", f"Bearer {token}"),)
        made = 0
        while not story.enough.is_set():
            _register(story, metadata, number, made)
            made += 1
    except BaseException as error:  # noqa: BLE001  # a thread's failure is the test's
        story.wrong.append(error)


def _register(
    story: Story, metadata: tuple[tuple[str, str], ...], number: int, made: int
) -> None:
    model = f"model-{number}-{made}"
    request = inv.RegisterModelRequest(
        request_id=str(UUID(int=(number << 64) + made + (7 << 76) + (1 << 63))),
        model=model,
        title="Written while the lights go out",
        kind=inv.MODEL_KIND_TRAINED,
        purpose="to be counted",
        owner=f"owner-{number}",
        business_line="lending",
        approved_uses=["counting"],
    )
    while not story.enough.is_set():
        address = address_of(story.home, "inventory")
        if address is None:
            time.sleep(0.02)
            continue
        with grpc.insecure_channel(address) as channel:
            try:
                answer = InventoryServiceStub(channel).RegisterModel(
                    request, timeout=CALL_S, metadata=metadata
                )
            except grpc.RpcError as error:
                if error.code() not in TO_TELL_ABOUT:
                    raise
                time.sleep(0.02)
                continue
        with story.lock:
            story.said[model] = (answer.written.position, answer.written.revision)
        return


def kill_often(home: Home, rounds: int) -> None:
    chance = random.Random(20130401)  # noqa: S311, a seed to repeat it with
    story = Story(home.make())
    LocalIssuer.open(home.keys)
    threads = [
        threading.Thread(target=client, args=(story, number))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(rounds):
            with up(home) as process:
                _wait_for(story, len(story.said) + chance.randrange(1, 60))
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL
        # What was under way when the last one died gets its answer from the next.
        with up(home):
            _wait_for(story, len(story.said) + 2 * CLIENTS)
            story.enough.set()
            for thread in threads:
                thread.join()
    finally:
        story.enough.set()
        for thread in threads:
            thread.join()
    assert not story.wrong, story.wrong
    check(story)


def _wait_for(story: Story, many: int) -> None:
    deadline = time.monotonic() + START_S
    while len(story.said) < many:
        assert not story.wrong, story.wrong
        assert time.monotonic() < deadline
        time.sleep(0.005)


def check(story: Story) -> None:
    """Every acknowledged model is where it was said to be, and is there once."""
    registered: Counter[str] = Counter()
    found: dict[str, tuple[int, int]] = {}
    ids: Counter[bytes] = Counter()
    with SqliteStore(story.home.ledger) as store:
        for one in store.read_all():
            ids[one.id] += 1
            if one.name == "inventory.model-registered":
                registered[one.stream] += 1
                found[one.stream] = (one.position, one.version)
    assert set(ids.values()) == {1}
    assert set(registered.values()) == {1}
    for model, (position, revision) in story.said.items():
        at, version = found[f"model-main.{model}"]
        assert (at, version) <= (position, revision), model
    again = subprocess.run(
        [*COMMAND, "replay", "--home", str(story.home.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_kill_of_all_services_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_often(Home(tmp_path / "home"), 1)


@pytest.mark.slow
def test_two_hundred_kills_of_all_services_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    kill_often(Home(tmp_path / "home"), 200)
