"""What the SDK says beside its rows, as the window shows it that they fell into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import numpy as np
import pytest
from tests.integration.conftest import Served
from tests.integration.watched import DAY, a_model, stub, tick

from modelkeep import Client
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.running import address_of
from modelkeep.sdk.resources import Process, Usage, Used

Serve = Callable[..., Served]
Logging = Callable[..., AbstractContextManager[Client]]
NOON = DAY + timedelta(hours=12)
AT_NOON = np.datetime64(NOON.replace(tzinfo=None))


@pytest.fixture
def served(serve: Serve) -> Served:
    found = serve("monitoring", scenario=True)
    tick(found, DAY)
    a_model(found)
    return found


@pytest.fixture
def logging(served: Served) -> Logging:
    """Open a client; all it logged is acknowledged when it closes."""
    address = address_of(served.node.home, "monitoring")
    assert address
    token = dict(served.metadata("serving", "engineer"))["authorization"]

    @contextmanager
    def opened(usage: Usage | None = None) -> Iterator[Client]:
        with Client(
            address,
            token=token.removeprefix("Bearer "),
            model="late",
            version="v1",
            interval_s=0.02,
            usage=usage,
        ) as client:
            yield client
            assert client.flush()
            assert client.stats.refused == client.stats.dropped == 0, client.stats

    return opened


def figures(served: Served) -> pb.WindowFigures:
    """Close the day."""
    served.settle()
    tick(served, DAY + timedelta(days=1))
    request = pb.CloseWindowRequest(model="late", version="v1")
    request.start.FromDatetime(DAY)
    request.end.FromDatetime(DAY + timedelta(days=1))
    written = served.call(stub(served).CloseWindow, request, "operator").written
    asked = pb.GetWindowRequest(
        model="late",
        version="v1",
        start=request.start,
        end=request.end,
        not_before=written.position,
    )
    window: pb.Window = served.call(stub(served).GetWindow, asked, "auditor").window
    return window.figures


def test_explanations_are_timed_however_they_are_logged(
    served: Served, logging: Logging
) -> None:
    with logging() as client:
        for number in range(10):
            client.log({"x": 1.0}, 0.5, explained=True, explanation_ms=10.0, at=NOON)
            client.log({"x": float(number)}, 0.5, explained=False, at=NOON)
        client.log_many(
            {"x": np.arange(20.0)},
            np.full(20, 0.5),
            explanation_ms=[20.0] * 10 + [None] * 10,
            at=[NOON] * 20,
        )
        client.log_frame(
            {
                "x": np.arange(30.0),
                "score": np.full(30, 0.5),
                "took": np.where(np.arange(30) < 10, 200.0, np.nan),
                "at": np.full(30, AT_NOON),
            },
            explanation_ms="took",
            at="at",
        )
    found = figures(served)
    took = found.explanation_ms
    assert (found.rows, took.n) == (70, 30)
    assert took.p50 == pytest.approx(20, rel=0.016)
    assert took.p95 == pytest.approx(200, rel=0.016)
    assert found.resources.rows == 0


def test_what_a_table_used_is_told_whole_however_many_batches_it_takes(
    served: Served, logging: Logging
) -> None:
    rows = 10_000
    columns = {f"x{at}": np.zeros(rows) for at in range(20)}
    used = Used(cpu_seconds=12.5, memory_bytes=2**30, cost=(101, "USD"))
    with logging() as client:
        client.log_frame(
            {**columns, "score": np.full(rows, 0.5), "at": np.full(rows, AT_NOON)},
            at="at",
            used=used,
        )
        client.log_many(
            {"x0": [1.0]}, [0.5], at=[NOON], used=Used(cost=(7, "EUR"), memory_bytes=1)
        )
    found = figures(served).resources
    assert found.rows == rows + 1
    assert found.cpu_seconds == pytest.approx(12.5)
    assert found.memory_bytes == 2**30
    assert [(one.minor, one.currency) for one in found.cost] == [
        (7, "EUR"),
        (101, "USD"),
    ]


def test_what_is_asked_for_is_told_of_every_row(
    served: Served, logging: Logging
) -> None:
    told: list[Used] = []

    def usage() -> Used:
        told.append(Used(0.25, 1_000 + len(told), (3, "USD")))
        return told[-1]

    with logging(usage) as client:
        for number in range(50):
            client.log({"x": float(number)}, 0.5, at=NOON, use="desk" * (number % 2))
        assert client.flush()
        client.log_many({"x": [1.0, 2.0]}, [0.5, 0.5], at=[NOON, NOON])
    found = figures(served).resources
    assert found.rows == 52
    assert found.cpu_seconds == pytest.approx(0.25 * len(told))
    assert found.memory_bytes == 1_000 + len(told) - 1
    assert [(one.minor, one.currency) for one in found.cost] == [(3 * len(told), "USD")]


def test_a_process_may_be_measured_without_a_word(
    served: Served, logging: Logging
) -> None:
    with logging(Process()) as client:
        client.log({"x": 1.0}, 0.5, at=NOON)
    found = figures(served).resources
    assert found.rows == 1
    assert 0 < found.cpu_seconds < 60
    assert found.memory_bytes > 1_000_000


def test_a_usage_that_fails_costs_no_decision(served: Served, logging: Logging) -> None:
    def broken() -> Used:
        raise OSError("no such file")

    with logging(broken) as client:
        client.log({"x": 1.0}, 0.5, at=NOON)
        client.log_many({"x": [1.0]}, [0.5], at=[NOON])
        assert client.flush()
        assert "no such file" in client.stats.last_error
    found = figures(served)
    assert (found.rows, found.resources.rows) == (2, 0)
