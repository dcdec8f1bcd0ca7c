"""Declared money, over real sockets: KPIs confirm it, alerts and the board say so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest
from tests.integration.bad_inputs.inventory import artifact, register, slo
from tests.integration.conftest import Served
from tests.integration.watched import DAY, observe, rows, stub, tick

from modelkeep.api.insight.v1 import insight_pb2 as ins
from modelkeep.api.insight.v1.insight_pb2_grpc import InsightServiceStub
from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb

ONE = timedelta(days=1)
ROWS = 50


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    found = serve("inventory", "monitoring", "insight", scenario=True)
    tick(found, DAY)
    desk = InventoryServiceStub(found.channel)
    found.call(desk.RegisterModel, register("late"), "owner")
    version = inv.RegisterVersionRequest(
        model="late", version="v1", artifacts=[artifact("a")]
    )
    found.call(desk.RegisterVersion, version, "engineer")
    found.call(desk.DefineSlo, slo("late"), "owner")
    found.settle()
    return found


def live(served: Served, day: int, *, slow: bool, earned: float | None) -> None:
    """Log a day's decisions, close its window, and record its revenue when told."""
    start = DAY + day * ONE
    logged = rows(ROWS, start=start, seed=day + 1)
    latency = np.full(ROWS, 300.0 if slow else 20.0, "<f8").tobytes()
    observe(served, logged.request(latency_ms=latency))
    tick(served, start + ONE)
    close = pb.CloseWindowRequest(model="late", version="v1")
    close.start.FromDatetime(start)
    close.end.FromDatetime(start + ONE)
    served.call(stub(served).CloseWindow, close, "operator")
    served.settle()
    if earned is not None:
        kpi = inv.RecordKpiRequest(model="late", kpi="revenue", value=earned)
        kpi.period_start.FromDatetime(start)
        kpi.period_end.FromDatetime(start + ONE)
        served.call(InventoryServiceStub(served.channel).RecordKpi, kpi, "owner")
        served.settle()


def the_slo(served: Served, at: datetime | None = None) -> inv.Slo:
    asked = inv.ListSlosRequest(model="late")
    if at is not None:
        asked.as_of.time.FromDatetime(at)
    desk = InventoryServiceStub(served.channel)
    [found] = served.call(desk.ListSlos, asked, "auditor").slos
    assert isinstance(found, inv.Slo)
    return found


def slow_alert(served: Served) -> pb.Alert:
    asked = pb.ListAlertsRequest(model="late", open_only=True)
    found = served.call(stub(served).ListAlerts, asked, "auditor").alerts
    [alert] = [one for one in found if one.slo == "prompt"]
    assert isinstance(alert, pb.Alert)
    return alert


def test_kpis_confirm_declared_money_and_later_alerts_say_so(served: Served) -> None:
    for day in range(6):
        slow = day >= 3
        # 50 euros an hour, 24 hours; the days differ a little besides.
        earned = (1_200.0 if slow else 2_400.0) + (10.0 if day % 2 else -10.0)
        live(served, day, slow=slow, earned=earned)
    alert = slow_alert(served)
    assert alert.money_per_hour.minor == 5_000
    assert (alert.money_basis, alert.money_check) == (pb.MONEY_BASIS_ASSUMPTION, "")
    check = the_slo(served).money_check
    assert check.verdict == inv.MONEY_VERDICT_CONFIRMED
    assert check.lower <= 5_000 <= check.upper
    assert (check.periods_in_band, check.periods_out_of_band) == (3, 3)
    ids = {str(one.uuid) for one in served.store.read_all()}
    assert {check.event_id, *check.sources} <= ids

    resolve = pb.ResolveAlertRequest(
        model="late", alert=alert.alert, true_alarm=True, reason="a slow disk"
    )
    served.call(stub(served).ResolveAlert, resolve, "owner")
    live(served, 6, slow=True, earned=None)
    again = slow_alert(served)
    assert again.alert != alert.alert
    assert again.money_basis == pb.MONEY_BASIS_CONFIRMED
    assert again.money_check == check.event_id

    # On the fourth evening three days were in band and one was not.
    then = the_slo(served, DAY + 4 * ONE + timedelta(hours=1)).money_check
    assert then.verdict == inv.MONEY_VERDICT_NOT_YET
    assert (then.periods_in_band, then.HasField("observed")) == (3, False)

    board = served.call(
        InsightServiceStub(served.channel).GetBoard, ins.GetBoardRequest(), "auditor"
    )
    [declared] = board.declared
    assert (declared.slo, declared.basis) == ("prompt", "confirmed")
    assert declared.observed.currency == "EUR"
    assert check.event_id in declared.evidence
    assert check.event_id in {event.id for event in board.events}


def test_money_declared_anew_waits_for_nobody(served: Served) -> None:
    for day in range(6):
        wobble = 10.0 if day % 2 else -10.0
        live(served, day, slow=day >= 3, earned=2_400.0 + wobble)
    assert the_slo(served).money_check.verdict == inv.MONEY_VERDICT_CONTRADICTED
    other = slo("late", kpi_direction=inv.DIRECTION_RISES, kpi_tolerance=1.0)
    served.call(InventoryServiceStub(served.channel).DefineSlo, other, "owner")
    served.settle()
    found = the_slo(served).money_check
    assert (found.tolerance, found.declared.minor) == (1.0, 5_000)
    assert found.verdict == inv.MONEY_VERDICT_NOT_YET
    assert found.HasField("observed")
