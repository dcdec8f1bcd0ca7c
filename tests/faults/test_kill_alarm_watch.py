"""kill -9 after a window closed: its detectors count it once, where they stood."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import grpc
from tests.bench.monitoring_server import seed
from tests.faults.test_kill_monitoring import CALL_S, LONG_AGO, up
from tests.integration.watched import rows

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.events import load_all
from modelkeep.events.alarm_watch import WatchStepped
from modelkeep.events.base import Event, decode
from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.monitoring import BaselineRegistered, WindowClosed
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.ledger import stream_name
from modelkeep.node import Node
from modelkeep.running import address_of
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing.deciding import given
from modelkeep_services.monitoring.alarm_eyes import WATCH, asked_of, eyes
from modelkeep_services.monitoring.alarm_watch import StepWatch
from modelkeep_services.monitoring.service import service
from modelkeep_services.monitoring.windows import Reference

DAYS = 9
SETTLED_S = 60.0
ONE_DAY = timedelta(days=1)
Metadata = tuple[tuple[str, str], ...]


def said(home: Home, category: str) -> list[Event]:
    load_all()
    with SqliteStore(home.ledger) as store:
        stream = stream_name(category, "main", "late")
        return [
            decode(one.name, one.schema_version, one.data)
            for one in store.read_stream(stream)
        ]


def prepared(home: Home, metadata: Metadata) -> None:
    address = address_of(home, "monitoring")
    assert address is not None
    with grpc.insecure_channel(address) as channel:
        stub = MonitoringServiceStub(channel)
        reference = rows(4_000, seed=99).request()
        baseline = pb.RegisterBaselineRequest(
            request_id=str(uuid4()),
            header=pb.BaselineHeader(model="late", version="v1", baseline="spring"),
            columns=reference.columns,
            scores=reference.scores,
        )
        list(stub.RegisterBaseline(iter([baseline]), timeout=CALL_S, metadata=metadata))
        monitor = pb.ConfigureMonitorRequest(
            request_id=str(uuid4()),
            model="late",
            cadence_hours=24,
            closed_by=pb.CLOSED_BY_CALLER,
            false_alarms=pb.FalseAlarms(version="ours-1"),
        )
        stub.ConfigureMonitor(monitor, timeout=CALL_S, metadata=metadata)
        list(stub.Observe(iter(decisions()), timeout=CALL_S, metadata=metadata))


def decisions() -> list[pb.ObserveRequest]:
    found = []
    for day in range(DAYS):
        shift = 1.5 if day >= DAYS // 2 else 0.0
        data = rows(200, start=LONG_AGO + day * ONE_DAY, seed=day + 1, shift=shift)
        ids = b"".join(UUID(int=(day + 1) << 64 | row).bytes for row in range(200))
        found.append(data.request(batch=str(uuid4()), decision_ids=ids))
    return found


def closing(day: int) -> pb.CloseWindowRequest:
    # The same id each time: a client that heard nothing asks again.
    request = pb.CloseWindowRequest(
        request_id=str(UUID(int=day + 1)), model="late", version="v1"
    )
    request.start.FromDatetime(LONG_AGO + day * ONE_DAY)
    request.end.FromDatetime(LONG_AGO + (day + 1) * ONE_DAY)
    return request


def close(home: Home, metadata: Metadata, days: Sequence[int]) -> None:
    address = address_of(home, "monitoring")
    assert address is not None
    with grpc.insecure_channel(address) as channel:
        for day in days:
            MonitoringServiceStub(channel).CloseWindow(
                closing(day), timeout=CALL_S, metadata=metadata
            )


def undisturbed(home: Home) -> list[Event]:
    """What the detectors say of the same windows where nothing is ever killed."""
    past, found = given(WATCH), list[Event]()
    reference: Reference | None = None
    for event in said(home, "monitor"):
        if isinstance(event, BaselineRegistered):
            reference = Reference(event.baseline, event.profile, 0.5, event.performance)
        if isinstance(event, WindowClosed):
            assert reference is not None
            budget = FalseAlarms(version="ours-1")
            asked = asked_of(budget, 24.0, 1, reference)
            command = StepWatch(
                model=event.model,
                version=event.version,
                environment=event.environment,
                window=event.window,
                start=event.start,
                end=event.end,
                cadence_hours=24.0,
                false_alarms=budget.false_alarms,
                period=budget.period,
                eyes=eyes(asked, event.profile, event.figures),
            )
            outcome = past.when(command)
            found += outcome.events
            past = outcome.and_then()
    return found


def test_a_kill_after_a_window_closed_counts_it_once_and_goes_on(
    tmp_path: Path,
) -> None:
    chance = random.Random(20130401)  # noqa: S311, a seed to repeat it with
    home = Home(tmp_path / "home")
    with (
        SqliteStore(home.make().ledger) as store,
        Node(home, store, [service]) as node,
    ):
        seed(node)
    token = LocalIssuer.open(home.keys).issue("eve", frozenset({"engineer"}))
    metadata = (("authorization", f"Bearer {token}"),)
    done = 0
    for step in (3, 3):
        with up(home) as process:
            if not done:
                prepared(home, metadata)
            # The window before may have been answered and not been counted.
            close(home, metadata, range(max(0, done - 1), done + step))
            done += step
            time.sleep(chance.random() * 0.02)
            process.kill()
            assert process.wait() == -signal.SIGKILL
    with up(home):
        close(home, metadata, range(done - 1, DAYS))
        deadline = time.monotonic() + SETTLED_S
        while len(said(home, "watch")) < DAYS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    counted = said(home, "watch")
    assert counted == undisturbed(home)
    assert any(
        step.alarm is not None
        for event in counted
        if isinstance(event, WatchStepped)
        for step in event.steps
    )
