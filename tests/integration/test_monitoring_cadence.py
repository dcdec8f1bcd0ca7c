"""Windows of seconds, of minutes and of runs: closed at the watermark, never silent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import grpc
import pytest
from tests.integration.conftest import Serve, Served
from tests.integration.watched import (
    DAY,
    a_model,
    baseline,
    observe,
    outcomes,
    rows,
    stub,
    tick,
)

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def served(serve: Serve) -> Served:
    found = serve("monitoring", scenario=True)
    a_model(found)
    return found


def configure(served: Served, length: timedelta, **changes: Any) -> None:
    request = pb.ConfigureMonitorRequest(
        model="late", cadence_hours=length / timedelta(hours=1), **changes
    )
    request.anchor.FromDatetime(DAY)
    served.call(stub(served).ConfigureMonitor, request, "owner")


def windows(served: Served) -> Sequence[pb.Window]:
    asked = pb.ListWindowsRequest(model="late")
    found = served.call(stub(served).ListWindows, asked, "auditor").windows
    return sorted(found, key=lambda one: one.start.ToDatetime())


def kinds(served: Served) -> list[int]:
    asked = pb.ListAlertsRequest(model="late")
    found = served.call(stub(served).ListAlerts, asked, "auditor").alerts
    return [alert.kind for alert in found]


def log(served: Served, start: timedelta, every: timedelta, n: int, seed: int) -> None:
    logged = rows(n, seed=seed)
    logged.times = [DAY + start + row * every for row in range(n)]
    observe(served, logged.request())


@pytest.mark.parametrize(
    ("cadence", "length"),
    [(pb.CADENCE_STREAMING, 10 * SECOND), (pb.CADENCE_MICRO_BATCH, 5 * MINUTE)],
)
def test_the_clock_closes_windows_at_the_watermark(
    served: Served, cadence: pb.Cadence, length: timedelta
) -> None:
    late = length / 2
    configure(
        served,
        length,
        cadence=cadence,
        closed_by=pb.CLOSED_BY_CLOCK,
        allowed_lateness_hours=late / timedelta(hours=1),
    )
    asked = pb.GetMonitorRequest(model="late")
    monitor = served.call(stub(served).GetMonitor, asked, "auditor").monitor
    assert monitor.cadence == cadence
    assert monitor.allowed_lateness_hours == monitor.grace_hours > 0
    log(served, timedelta(0), length / 20, 60, seed=1)
    tick(served, DAY + length)
    assert not windows(served)
    tick(served, DAY + length + late)
    assert [one.figures.rows for one in windows(served)] == [20]
    tick(served, DAY + 3 * length + late)
    assert [one.figures.rows for one in windows(served)] == [20, 20, 20]
    assert not kinds(served)
    tick(served, DAY + 4 * length + late)
    assert kinds(served) == [pb.ALERT_KIND_SILENCE]


def test_rows_behind_the_watermark_restate_their_window_and_are_counted(
    served: Served,
) -> None:
    baseline(served, 1_000)
    configure(
        served,
        MINUTE,
        cadence=pb.CADENCE_STREAMING,
        closed_by=pb.CLOSED_BY_CLOCK,
        allowed_lateness_hours=30 / 3_600,
    )
    log(served, timedelta(0), SECOND, 60, seed=1)
    # Before the watermark has passed: nothing about them is late.
    tick(served, DAY + MINUTE + 20 * SECOND)
    log(served, timedelta(0), SECOND, 10, seed=2)
    tick(served, DAY + MINUTE + 30 * SECOND)
    [first] = windows(served)
    assert (first.figures.rows, first.figures.late, first.restatements) == (70, 0, 0)
    log(served, timedelta(0), SECOND, 5, seed=3)
    log(served, MINUTE, SECOND, 30, seed=4)
    tick(served, DAY + 2 * MINUTE + 30 * SECOND)
    again, second = windows(served)
    assert (again.figures.rows, again.figures.late, again.restatements) == (75, 5, 1)
    assert (second.figures.rows, second.figures.late) == (30, 0)
    # Nothing more came: the next look restates nothing.
    log(served, 2 * MINUTE, SECOND, 30, seed=5)
    tick(served, DAY + 3 * MINUTE + 30 * SECOND)
    assert [one.restatements for one in windows(served)] == [1, 0, 0]


def test_outcomes_of_rows_that_were_late_are_found(served: Served) -> None:
    configure(
        served, MINUTE, closed_by=pb.CLOSED_BY_CLOCK, outcome_maturity_hours=1 / 60
    )
    logged = rows(10)
    logged.times = [DAY + row * SECOND for row in range(10)]
    early = outcomes(served, logged.ids[:4], bytes(4), DAY + MINUTE)
    assert (early.matched, early.unmatched) == (0, 4)
    observe(served, logged.request())
    tick(served, DAY + MINUTE)
    assert windows(served)[0].figures.outcomes == 4
    told = outcomes(served, logged.ids, bytes([1] * 10), DAY + 2 * MINUTE)
    assert (told.matched, told.contradictions) == (10, 4)
    tick(served, DAY + 2 * MINUTE)
    [first] = [one for one in windows(served) if one.figures.rows]
    assert (first.figures.positives, first.restatements) == (10, 1)


def test_a_run_is_closed_by_its_caller_and_missed_when_it_does_not_come(
    served: Served,
) -> None:
    configure(
        served,
        timedelta(days=1),
        cadence=pb.CADENCE_BATCH,
        allowed_lateness_hours=2.0,
    )
    log(served, timedelta(hours=3), SECOND, 50, seed=1)
    tick(served, DAY + timedelta(days=1, hours=2))
    assert not windows(served)
    run = pb.CloseWindowRequest(model="late", version="v1")
    run.start.FromDatetime(DAY + timedelta(hours=3))
    run.end.FromDatetime(DAY + timedelta(hours=4))
    served.call(stub(served).CloseWindow, run, "serving")
    [window] = windows(served)
    assert window.figures.rows == 50
    assert not kinds(served)
    tick(served, DAY + timedelta(days=2, hours=2))
    assert kinds(served) == [pb.ALERT_KIND_SILENCE]


@pytest.mark.parametrize(
    "wrong",
    [
        {"cadence": pb.CADENCE_STREAMING, "cadence_hours": 1.0},
        {"cadence": pb.CADENCE_MICRO_BATCH, "cadence_hours": 24.0},
        {
            "cadence": pb.CADENCE_BATCH,
            "cadence_hours": 24.0,
            "closed_by": pb.CLOSED_BY_CLOCK,
        },
        {"allowed_lateness_hours": 1.0},
        {"allowed_lateness_hours": 1.0, "grace_hours": 2.0, "cadence_hours": 24.0},
    ],
)
def test_a_cadence_that_contradicts_itself_is_refused(
    served: Served, wrong: dict[str, Any]
) -> None:
    request = pb.ConfigureMonitorRequest(model="late", **wrong)
    with pytest.raises(grpc.RpcError) as error:
        served.call(stub(served).ConfigureMonitor, request, "owner")
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
