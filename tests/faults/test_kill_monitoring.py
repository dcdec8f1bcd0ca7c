"""kill -9 between an acknowledgement and the window's close: every row counts once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import numpy as np
import pytest
from tests.bench.monitoring_server import seed
from tests.integration.watched import Rows, rows

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.node import Node
from modelkeep.running import address_of
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.monitoring.service import service

START_S = 60.0
CALL_S = 30.0
LONG_AGO = datetime(2024, 1, 5, tzinfo=UTC)
TO_TELL_ABOUT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)


@contextmanager
def up(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """Run monitoring until killed; a process that answers."""
    command = [sys.executable, "-m", "modelkeep_services", "serve", "monitoring"]
    command += ["--home", str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_S
            while address_of(home, "monitoring") is None:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def batches(count: int, size: int) -> list[pb.ObserveRequest]:
    found = []
    for number in range(count):
        data: Rows = rows(size, start=LONG_AGO, seed=number + 1)
        ids = [UUID(int=(number + 1) << 64 | row) for row in range(size)]
        found.append(
            data.request(
                batch=str(uuid4()),
                decision_ids=b"".join(one.bytes for one in ids),
                flush=number % 3 == 0,
            )
        )
    return found


def send(
    home: Home,
    metadata: tuple[tuple[str, str], ...],
    asked: list[pb.ObserveRequest],
    told: dict[str, pb.ObserveResponse],
    process: subprocess.Popen[bytes] | None,
    after: int,
) -> None:
    """Stream batches; kill the server after so many acknowledgements."""
    address = address_of(home, "monitoring")
    assert address is not None
    with grpc.insecure_channel(address) as channel:
        stub = MonitoringServiceStub(channel)
        try:
            for heard, ack in enumerate(
                stub.Observe(iter(asked), timeout=CALL_S, metadata=metadata), 1
            ):
                told[ack.batch] = ack
                if process is not None and heard == after:
                    process.send_signal(signal.SIGKILL)
        except grpc.RpcError as error:
            if error.code() not in TO_TELL_ABOUT:
                raise


def close(home: Home, metadata: tuple[tuple[str, str], ...]) -> pb.WindowFigures:
    request = pb.CloseWindowRequest(request_id=str(uuid4()), model="late", version="v1")
    request.start.FromDatetime(LONG_AGO)
    request.end.FromDatetime(LONG_AGO + timedelta(days=1))
    address = address_of(home, "monitoring")
    assert address is not None
    with grpc.insecure_channel(address) as channel:
        stub = MonitoringServiceStub(channel)
        written = stub.CloseWindow(request, timeout=CALL_S, metadata=metadata).written
        asked = pb.GetWindowRequest(
            model="late",
            version="v1",
            start=request.start,
            end=request.end,
            not_before=written.position,
        )
        window = stub.GetWindow(asked, timeout=CALL_S, metadata=metadata).window
    return window.figures


def killed_while_observing(home: Home, rounds: int) -> None:
    chance = random.Random(20130401)  # noqa: S311, a seed to repeat it with
    with (
        SqliteStore(home.make().ledger) as store,
        Node(home, store, [service]) as node,
    ):
        seed(node)
    token = LocalIssuer.open(home.keys).issue("eve", frozenset({"engineer"}))
    metadata = (("authorization", f"Bearer {token}"),)
    size, asked = 100, batches(24, 100)
    told: dict[str, pb.ObserveResponse] = {}
    for _ in range(rounds):
        with up(home) as process:
            # All of them, each time: a client cannot know which were recorded.
            send(home, metadata, asked, told, process, chance.randrange(1, 12))
            process.kill()
            assert process.wait() == -signal.SIGKILL
    first = dict(told)
    with up(home):
        send(home, metadata, asked, told, None, 0)
        assert len(told) == len(asked)
        for batch, ack in first.items():
            assert (told[batch].root, told[batch].position) == (ack.root, ack.position)
        figures = close(home, metadata)
    assert figures.rows == size * len(asked)
    assert figures.quarantined == 0


def test_a_kill_between_acknowledgement_and_close_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    killed_while_observing(Home(tmp_path / "home"), 1)


def killed_while_told_numbers(home: Home) -> None:
    with (
        SqliteStore(home.make().ledger) as store,
        Node(home, store, [service]) as node,
    ):
        seed(node)
    token = LocalIssuer.open(home.keys).issue("eve", frozenset({"engineer"}))
    metadata = (("authorization", f"Bearer {token}"),)
    asked = batches(6, 100)
    told = [numbers(one, place) for place, one in enumerate(asked)]
    with up(home) as process:
        with grpc.insecure_channel(address_of(home, "monitoring") or "") as channel:
            stub = MonitoringServiceStub(channel)
            configure = pb.ConfigureMonitorRequest(
                request_id=str(uuid4()),
                model="late",
                outcome_kind=pb.OUTCOME_KIND_NUMBER,
            )
            stub.ConfigureMonitor(configure, timeout=CALL_S, metadata=metadata)
            list(stub.Observe(iter(asked), timeout=CALL_S, metadata=metadata))
            answers = stub.RecordOutcomes(iter(told), timeout=CALL_S, metadata=metadata)
            next(iter(answers))
            process.kill()
        assert process.wait() == -signal.SIGKILL
    with up(home):
        with grpc.insecure_channel(address_of(home, "monitoring") or "") as channel:
            stub = MonitoringServiceStub(channel)
            again = list(
                stub.RecordOutcomes(iter(told), timeout=CALL_S, metadata=metadata)
            )
        assert again[0].replayed
        assert sum(one.duplicates + one.contradictions for one in again) == 0
        figures = close(home, metadata)
    error = np.concatenate(
        [
            np.frombuffer(one.scores, "<f8") - np.frombuffer(its.values, "<f8")
            for one, its in zip(asked, told, strict=True)
        ]
    )
    found = {one.metric: one for one in figures.performance}
    assert (figures.outcomes, found["mae"].n) == (600, 600)
    assert found["mae"].value == pytest.approx(np.abs(error).mean(), rel=1e-8)


def numbers(of: pb.ObserveRequest, place: int) -> pb.RecordOutcomesRequest:
    truth = np.random.default_rng(place).normal(1e4, 10, of.rows)
    return pb.RecordOutcomesRequest(
        batch=str(uuid4()),
        model=of.model,
        rows=of.rows,
        decision_ids=of.decision_ids,
        values=truth.astype("<f8").tobytes(),
        known_at=of.times,
    )


def test_a_kill_while_numbers_are_told_loses_and_doubles_none(tmp_path: Path) -> None:
    killed_while_told_numbers(Home(tmp_path / "home"))


@pytest.mark.slow
def test_fifty_kills_between_acknowledgements_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    killed_while_observing(Home(tmp_path / "home"), 50)
