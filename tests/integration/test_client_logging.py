"""The SDK against a real server: nothing blocks, nothing raises, nothing is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from tests.integration.conftest import Served
from tests.integration.watched import DAY, a_model, stub

from modelkeep import Client
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.running import address_of
from modelkeep.sdk.packing import Value

Serve = Callable[..., Served]


@pytest.fixture
def served(serve_once: Serve) -> Served:
    return serve_once("monitoring")


@pytest.fixture
def address(served: Served) -> str:
    found = address_of(served.node.home, "monitoring")
    assert found
    return found


@pytest.fixture
def client(served: Served, address: str) -> Iterator[Client]:
    if not stub_knows(served):
        a_model(served)
    token = dict(served.metadata("serving", "engineer"))["authorization"]
    with Client(
        address,
        token=token.removeprefix("Bearer "),
        model="late",
        version="v1",
        interval_s=0.02,
    ) as found:
        yield found


def stub_knows(served: Served) -> bool:
    try:
        tally(served)
    except grpc.RpcError:
        return False
    return True


def tally(served: Served) -> pb.GetMonitorResponse:
    served.settle()
    request = pb.GetMonitorRequest(model="late")
    found: pb.GetMonitorResponse = served.call(
        stub(served).GetMonitor, request, "auditor"
    )
    return found


def test_a_decision_and_its_outcome_arrive(served: Served, client: Client) -> None:
    decision = client.log(
        {"x": 3.0, "carrier": "UA", "weekday": 2},
        score=0.25,
        latency_ms=1.5,
        use="desk",
        explained=True,
        reason_codes=["R1"],
        reference="UA-17",
        at=DAY,
    )
    client.outcome(decision, 1, DAY + timedelta(hours=5))
    assert client.flush()
    assert client.stats.acknowledged == 2
    request = pb.FindDecisionRequest(model="late", reference="UA-17")
    served.settle()
    found = served.call(stub(served).FindDecision, request, "auditor")
    assert found.decision.decision == decision
    assert found.decision.at.ToDatetime(tzinfo=UTC) == DAY
    assert found.decision.explained
    assert found.outcome
    cells = {c.name: c.number or c.text for c in found.decision.features}
    assert cells == {"x": 3.0, "carrier": "UA", "weekday": 2.0}


def test_columns_arrive_as_rows_would(served: Served, client: Client) -> None:
    before = tally(served).rows
    ids = client.log_many(
        {"x": np.arange(3_000.0), "carrier": ["UA"] * 3_000},
        np.full(3_000, 0.5),
        latency_ms=np.full(3_000, 2.0),
    )
    client.outcomes_many((one, None, None) for one in ids[:10])
    assert client.flush()
    after = tally(served)
    assert after.rows - before == 3_000
    assert after.outcomes_never == 10


def test_what_a_caller_changes_later_stays_what_it_was(
    served: Served, client: Client
) -> None:
    features: dict[str, Value] = {"x": 1.0, "carrier": "UA"}
    reasons = ["R1"]
    decision = client.log(features, score=0.5, reason_codes=reasons)
    features["x"], features["y"] = 2.0, 3.0
    del features["carrier"]
    reasons.clear()
    assert client.flush()
    served.settle()
    request = pb.FindDecisionRequest(model="late", decision=decision)
    found = served.call(stub(served).FindDecision, request, "auditor")
    cells = {c.name: c.number or c.text for c in found.decision.features}
    assert cells == {"x": 1.0, "carrier": "UA"}
    assert found.decision.reason_codes


def test_what_is_told_together_leaves_together(client: Client) -> None:
    """However slowly it comes: the same calls make the same batches."""
    ids = client.log_many({"x": np.arange(20.0)}, np.full(20, 0.5))
    assert client.flush()
    queued = set()

    def slowly() -> Iterator[tuple[str, int, None]]:
        for one in ids:
            yield one, 1, None
            time.sleep(0.002)
            queued.add(client.stats.logged - 20)

    client.outcomes_many(slowly())
    assert queued == {0}
    assert client.flush()
    assert client.stats.acknowledged == 40


def test_a_reading_without_a_time_zone_is_refused_and_counted(client: Client) -> None:
    client.log_many(
        {"x": [1.0]},
        [0.5],
        readings={"weather": datetime(2026, 1, 1)},  # noqa: DTZ001  # that is wrong
    )
    assert client.stats.refused == 1


def test_many_threads_and_coroutines_log_at_once(
    served: Served, client: Client
) -> None:
    before = tally(served).rows

    def log() -> None:
        for number in range(500):
            client.log({"x": float(number)}, score=0.5)

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()

    async def serving() -> None:
        log()

    asyncio.run(serving())
    for thread in threads:
        thread.join()
    assert client.flush()
    assert tally(served).rows - before == 2_500
    assert client.stats.queued == 0


def test_nothing_that_is_logged_wrongly_raises(client: Client) -> None:
    decision = client.log({"x": 1.0}, score=float("nan"))
    assert len(decision) == 36
    client.log({"x": 1.0}, score=0.5, decision_id="not an id")
    client.log({"x": 1.0}, score=0.5, at=datetime(2026, 1, 1))  # noqa: DTZ001  # that is wrong
    client.log(None, score=0.5)  # type: ignore[arg-type]  # what a caller may do
    client.outcome("nonsense", 1)
    client.outcome(decision, 7)
    assert client.flush()
    assert client.stats.refused == 6
    assert client.stats.logged == 0


def test_what_is_found_wrong_later_is_refused_alone(client: Client) -> None:
    client.log({"x": 1.0}, score=0.5)
    client.log({"x": 1.0}, score=0.5, use=7)  # type: ignore[arg-type]  # what a caller may do
    client.log({"x": 2.0}, score=0.5)
    assert client.flush()
    assert (client.stats.acknowledged, client.stats.refused) == (2, 1)
    assert "7 is no name of a use" in client.stats.last_error


def test_a_batch_refused_for_good_spares_the_others(client: Client) -> None:
    decision = client.log({"x": 1.0}, score=0.5)
    assert client.flush()
    client.log({"x": 1.0}, score=0.5, use="Not A Name")
    client.log({"x": 2.0}, score=0.5)
    client.log({"y": 2.0}, score=0.5, decision_id=decision)
    assert client.flush()
    assert client.stats.acknowledged == 2
    assert client.stats.refused == 2
    assert client.stats.last_error


def test_a_server_that_is_away_costs_no_time_and_bounded_memory() -> None:
    with Client(
        "127.0.0.1:1",
        token="t",  # noqa: S106  # nobody will ask
        model="late",
        version="v1",
        max_queued_rows=100,
        interval_s=0.01,
    ) as client:
        for number in range(300):
            client.log({"x": float(number)}, score=0.5)
        assert not client.flush(timeout=0.3)
        assert client.stats.queued == 100
        assert client.stats.dropped == 200
        assert client.stats.retries >= 1
        client.close(timeout=0)
    assert client.stats.dropped == 300


def test_another_machine_needs_credentials() -> None:
    with pytest.raises(ValueError, match="another machine"):
        Client("models.example:50051", model="m", version="v")


def test_a_program_that_ends_without_closing_loses_nothing(
    served: Served, client: Client, address: str, tmp_path: Path
) -> None:
    before = tally(served).rows
    token = tmp_path / "token"
    token.write_text(client.metadata[0][1].removeprefix("Bearer "))
    program = f"""
from pathlib import Path
from modelkeep import Client
client = Client({address!r}, token=Path({str(token)!r}).read_text(), model="late",
                version="v1")
for number in range(50):
    client.log({{"x": float(number)}}, score=0.5)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert tally(served).rows - before == 50


def test_a_forked_child_begins_with_an_empty_queue(
    served: Served, address: str, client: Client, tmp_path: Path
) -> None:
    before = tally(served).rows
    token = tmp_path / "token"
    token.write_text(client.metadata[0][1].removeprefix("Bearer "))
    program = f"""
import os, sys
from pathlib import Path
from modelkeep import Client
client = Client({address!r}, token=Path({str(token)!r}).read_text(), model="late",
                version="v1")
child = os.fork()
for number in range(20 if child else 30):
    client.log({{"x": float(number)}}, score=0.5)
assert client.close(), client.stats
if child:
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert tally(served).rows - before == 50
