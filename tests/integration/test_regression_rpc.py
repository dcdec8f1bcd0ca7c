"""A model that predicts numbers, over gRPC: outcomes in, errors and alerts out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.integration.conftest import Served
from tests.integration.watched import (
    DAY,
    Rows,
    a_model,
    happen,
    numbers,
    observe,
    outcomes,
    rows,
    stub,
    tick,
)

from modelkeep import Client
from modelkeep.api.audit.v1.audit_pb2 import WhyRequest
from modelkeep.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.events.inventory import SloDefined
from modelkeep.events.types import Money
from modelkeep.ledger import stream_name
from modelkeep.running import address_of
from modelkeep.viewset import ViewSet

Serve = Callable[..., Served]
Floats = NDArray[np.float64]
NUMBER = pb.OUTCOME_KIND_NUMBER


@pytest.fixture
def served(serve: Serve) -> Served:
    """A model of prices: it is off by some 10 of some 100,000."""
    found = serve("monitoring", scenario=True)
    tick(found, DAY)
    a_model(found)
    return found


def declare(served: Served, **changes: Any) -> None:
    asked: dict[str, Any] = {"model": "late", "outcome_kind": NUMBER} | changes
    request = pb.ConfigureMonitorRequest(**asked)
    served.call(stub(served).ConfigureMonitor, request, "owner")


def priced(seed: int = 1, n: int = 200, start: datetime = DAY) -> tuple[Rows, Floats]:
    """Return decisions whose scores are prices, and what was paid."""
    found = rows(n, seed=seed, start=start)
    chance = np.random.default_rng(seed)
    paid = 1e5 + chance.lognormal(3, 1, n)
    found.scores = paid + chance.normal(0, 10, n)
    return found, paid


def baseline(served: Served) -> None:
    data, paid = priced(99, 1_000)
    sent = data.request()
    request = pb.RegisterBaselineRequest(
        request_id=str(uuid4()),
        header=pb.BaselineHeader(model="late", version="v1", baseline="spring"),
        columns=sent.columns,
        scores=sent.scores,
        outcome_values=paid.astype("<f8").tobytes(),
    )
    answers = stub(served).RegisterBaseline(
        iter([request]), timeout=30, metadata=served.metadata("engineer")
    )
    assert next(iter(answers)).written.position


def close(served: Served, day: int = 0) -> pb.Window:
    request = pb.CloseWindowRequest(model="late", version="v1")
    request.start.FromDatetime(DAY + timedelta(days=day))
    request.end.FromDatetime(DAY + timedelta(days=day + 1))
    written = served.call(stub(served).CloseWindow, request, "operator").written
    asked = pb.GetWindowRequest(model="late", version="v1")
    asked.start.CopyFrom(request.start)
    asked.end.CopyFrom(request.end)
    asked.not_before = written.position
    found: pb.Window = served.call(stub(served).GetWindow, asked, "auditor").window
    return found


def alerts(served: Served) -> list[pb.Alert]:
    served.settle()
    request = pb.ListAlertsRequest(model="late")
    return list(served.call(stub(served).ListAlerts, request, "auditor").alerts)


def seen(window: pb.Window) -> dict[str, pb.PerformanceFigure]:
    return {one.metric: one for one in window.figures.performance}


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as found:
        call()
    return found.value.code(), found.value.details() or ""


def test_a_window_says_what_scikit_learn_says_of_prices(served: Served) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    declare(served)
    baseline(served)
    logged, paid = priced()
    observe(served, logged.request())
    told = numbers(served, logged.ids, paid.tolist(), DAY + timedelta(days=1))
    assert (told.matched, told.never, told.contradictions) == (200, 0, 0)
    tick(served, DAY + timedelta(days=1))
    window = close(served)
    found = seen(window)
    said = logged.scores
    assert set(found) == {"rmse", "mae", "mean_error"}
    assert found["rmse"].value == pytest.approx(
        metrics.root_mean_squared_error(paid, said), rel=1e-8
    )
    assert found["mae"].value == pytest.approx(
        metrics.mean_absolute_error(paid, said), rel=1e-8
    )
    assert found["mean_error"].value == pytest.approx((said - paid).mean(), rel=1e-7)
    for one in found.values():
        assert one.lower < one.value < one.upper
        assert one.HasField("baseline_lower")
    figures = window.figures
    assert figures.outcome_kind == NUMBER
    assert figures.actual_mean == pytest.approx(paid.mean(), rel=1e-8)
    assert not figures.HasField("estimated")
    assert dict(figures.bad) == {}
    assert not figures.HasField("label_drift")


def test_late_numbers_restate_a_window_and_corrections_do_so_again(
    served: Served,
) -> None:
    declare(served, outcome_maturity_hours=48)
    baseline(served)
    logged, paid = priced()
    observe(served, logged.request())
    tick(served, DAY + timedelta(days=1))
    early = close(served)
    assert (early.figures.mature, early.figures.pending) == (False, 200)
    assert "numbers" in early.figures.unestimated
    # all is 50 dearer than it would have been, and ten are never sold
    never = bytes(190) + bytes([1] * 10)
    gone = [float("nan")] * 10
    told = numbers(
        served,
        logged.ids,
        [*(paid[:190] + 50), *gone],
        DAY + timedelta(days=2),
        never=never,
    )
    assert (told.matched, told.never) == (200, 10)
    tick(served, DAY + timedelta(days=3))
    restated = close(served)
    assert restated.restatements == 1
    assert (restated.figures.mature, restated.figures.never) == (True, 10)
    assert restated.figures.unestimated == ""
    raised = {one.metric: one for one in alerts(served)}
    assert raised["rmse"].kind == pb.ALERT_KIND_PERFORMANCE
    assert raised["mean_error"].kind == pb.ALERT_KIND_CALIBRATION
    assert "too low on average" in raised["mean_error"].cause
    # the same again changes nothing; another price is a contradiction, and counts
    later = DAY + timedelta(days=4)
    told = numbers(
        served, logged.ids[:3], [paid[0] + 50, paid[1] + 50, paid[2] - 1e4], later
    )
    assert (told.duplicates, told.contradictions) == (2, 1)
    tick(served, later)
    again = close(served)
    assert again.restatements == 2
    error = logged.scores[:190] - paid[:190] - 50
    error[2] = logged.scores[2] - paid[2] + 1e4
    rmse = float(np.sqrt((error**2).mean()))
    assert seen(again)["rmse"].value == pytest.approx(rmse, rel=1e-8)


def test_an_slo_on_mae_raises_an_alert_with_its_money(served: Served) -> None:
    declare(served, thresholds=pb.Thresholds(version="own", mae_rise=10, rmse_rise=10))
    happen(
        served,
        stream_name("model", "main", "late"),
        SloDefined(
            model="late",
            slo="prices",
            metric="mae",
            nominal=8.0,
            warning=12.0,
            hard=20.0,
            direction="rises",
            money_per_hour=Money(minor=500, currency="EUR"),
        ),
    )
    baseline(served)
    logged, paid = priced()
    logged.scores = paid + 3 * (logged.scores - paid)
    observe(served, logged.request())
    numbers(served, logged.ids, paid.tolist(), DAY + timedelta(days=1))
    tick(served, DAY + timedelta(days=1))
    close(served)
    [alert] = [one for one in alerts(served) if one.kind == pb.ALERT_KIND_SLO]
    assert (alert.metric, alert.slo, alert.money_per_hour.minor) == (
        "mae",
        "prices",
        500,
    )


def test_windows_of_numbers_add_up_in_a_comparison(served: Served) -> None:
    declare(served)
    baseline(served)
    errors = []
    for day in range(2):
        start = DAY + timedelta(days=day)
        logged, paid = priced(day + 1, start=start)
        observe(served, logged.request())
        numbers(served, logged.ids, paid.tolist(), start + timedelta(days=1))
        tick(served, start + timedelta(days=1))
        close(served, day)
        errors.append(logged.scores - paid)
    served.settle()
    request = pb.CompareRequest(model="late")
    request.before.baseline.version = "v1"
    period = request.after.period
    period.version = "v1"
    period.start.FromDatetime(DAY)
    period.end.FromDatetime(DAY + timedelta(days=2))
    found = served.call(stub(served).Compare, request, "auditor")
    by_metric = {one.metric: one for one in found.performance}
    assert set(by_metric) == {"rmse", "mae", "mean_error"}
    error = np.concatenate(errors)
    rmse = float(np.sqrt((error**2).mean()))
    assert by_metric["rmse"].after.value == pytest.approx(rmse, rel=1e-8)
    assert by_metric["rmse"].after.n == 400
    assert by_metric["rmse"].lower < by_metric["rmse"].upper


def test_a_decisions_number_is_found(served: Served) -> None:
    declare(served)
    logged, _ = priced()
    observe(served, logged.request())
    later = DAY + timedelta(days=1)
    numbers(served, logged.ids[:2], [12.7, 0.0], later, never=b"\0\1")
    served.settle()
    for row, (value, never) in enumerate([(12.7, False), (0.0, True)]):
        request = pb.FindDecisionRequest(model="late", decision=str(logged.ids[row]))
        found = served.call(stub(served).FindDecision, request, "auditor")
        assert (found.outcome_value, found.outcome_never) == (value, never)
        assert not found.HasField("outcome")


def test_outcomes_of_two_kinds_are_refused_and_both_are_named(served: Served) -> None:
    logged, paid = priced()
    observe(served, logged.request())
    later = DAY + timedelta(days=1)
    code, why = refused(lambda: numbers(served, logged.ids[:1], [paid[0]], later))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "declared binary (0 or 1), and these are numbers" in why
    declare(served)
    _, why = refused(lambda: outcomes(served, logged.ids[:1], b"\1", later))
    assert "declared numbers, and these are binary (0 or 1)" in why
    numbers(served, logged.ids[:1], [paid[0]], later)
    # what is recorded stands; what is not said stays as it was
    _, why = refused(lambda: declare(served, outcome_kind=pb.OUTCOME_KIND_BINARY))
    assert "recorded as numbers" in why
    declare(served, outcome_kind=pb.OUTCOME_KIND_UNSPECIFIED, outcome_maturity_hours=1)
    served.settle()
    asked = pb.GetMonitorRequest(model="late")
    found = served.call(stub(served).GetMonitor, asked, "auditor").monitor
    assert (found.outcome_kind, found.outcome_maturity_hours) == (NUMBER, 1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"values": np.array([np.nan], "<f8").tobytes()}, "values"),
        ({"values": np.array([np.inf], "<f8").tobytes()}, "values"),
        ({"values": b"\0" * 7}, "values"),
        ({"outcomes": b"\1"}, "values"),
        ({"never": b"\2"}, "never"),
        ({"never": b"\0\0"}, "never"),
        ({"values": b"", "outcomes": b"\1", "never": b"\0"}, "never"),
        ({"values": b""}, "outcomes"),
    ],
)
def test_what_is_no_number_is_refused_by_the_name_of_its_field(
    served: Served, changes: dict[str, bytes], field: str
) -> None:
    declare(served)
    logged, paid = priced()
    later = DAY + timedelta(days=1)
    code, why = refused(
        lambda: numbers(served, logged.ids[:1], [paid[0]], later, **changes)
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert why.startswith(f"{field}:")


def test_a_replay_of_numbers_gives_the_same_views(
    served: Served, tmp_path: Path
) -> None:
    declare(served)
    baseline(served)
    logged, paid = priced()
    observe(served, logged.request())
    numbers(served, logged.ids, paid.tolist(), DAY + timedelta(hours=9))
    tick(served, DAY + timedelta(days=1))
    closed = close(served)
    asked = pb.GetProfileRequest(model="late", window=closed.window)
    sums = served.call(stub(served).GetProfile, asked, "auditor").errors
    assert sums.n == 200
    assert "p" in sums.fourth
    served.settle()
    views = served.node.running["monitoring"]
    with ViewSet(
        "again", views.service.views, served.store, tmp_path / "again.db"
    ) as again:
        again.catch_up()
        assert again.digests() == views.views.digests()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """Of a caller who declares nothing."""
    token = dict(served.metadata("serving", "engineer"))["authorization"]
    with Client(
        address_of(served.node.home, "monitoring") or "",
        model="late",
        version="v1",
        token=token.removeprefix("Bearer "),
        interval_s=0.01,
    ) as found:
        yield found


def test_the_client_tells_numbers_by_what_they_are(
    served: Served, client: Client
) -> None:
    declare(served)
    data, paid = priced(99, 300)
    client.register_baseline(
        "spring", {"x": data.x}, data.scores, outcomes=[*paid[:299].tolist(), None]
    )
    one = client.log({"x": 1.0}, score=14.0, at=DAY)
    other = client.log({"x": 1.0}, score=2.0, at=DAY)
    then = DAY + timedelta(hours=1)
    client.outcomes_many([(one, 12.7, then), (other, 1, then)])
    assert client.flush()
    assert (client.stats.refused, client.stats.acknowledged) == (0, 4)
    tick(served, DAY + timedelta(days=1))
    found = seen(close(served))
    assert found["mae"].value == pytest.approx(1.15)
    mae = float(np.abs(data.scores - paid)[:299].mean())
    assert found["mae"].baseline == pytest.approx(mae, rel=1e-8)


def test_the_client_says_what_was_refused_and_both_kinds(client: Client) -> None:
    decision = client.log({"x": 1.0}, score=0.5, at=DAY)
    client.outcome(decision, 12.7)
    assert client.flush()
    assert client.stats.refused == 1
    assert "binary (0 or 1), and these are numbers" in client.stats.last_error
    client.outcome(decision, 1)
    assert client.flush()
    assert client.stats.refused == 1


def test_a_client_that_declares_numbers_sends_a_one_as_a_number(
    served: Served, client: Client
) -> None:
    declare(served)
    declared = Client(
        address_of(served.node.home, "monitoring") or "",
        model="late",
        version="v1",
        token=dict(client.metadata)["authorization"].removeprefix("Bearer "),
        outcome_kind="number",
    )
    with declared:
        ids = [declared.log({"x": 1.0}, score=3.0, at=DAY) for _ in range(3)]
        for decision, value in zip(ids, (1, True, None), strict=True):
            declared.outcome(decision, value, DAY + timedelta(hours=1))
        assert declared.flush()
        assert declared.stats.refused == 0
    tick(served, DAY + timedelta(days=1))
    window = close(served)
    assert (window.figures.outcomes, window.figures.never) == (2, 1)
    assert seen(window)["rmse"].value == 2.0


def test_a_baseline_of_numbers_is_refused_where_outcomes_are_yes_or_no(
    served: Served,
) -> None:
    code, why = refused(lambda: baseline(served))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "declared binary (0 or 1), and these are numbers" in why


def test_a_baseline_from_the_log_has_its_errors(served: Served) -> None:
    declare(served)
    logged, paid = priced()
    observe(served, logged.request())
    later = DAY + timedelta(days=1)
    numbers(served, logged.ids[:150], paid[:150].tolist(), later)
    header = pb.BaselineHeader(
        model="late", version="v1", baseline="logged", from_log=True
    )
    header.period_start.FromDatetime(DAY)
    header.period_end.FromDatetime(later)
    request = pb.RegisterBaselineRequest(request_id=str(uuid4()), header=header)
    list(
        stub(served).RegisterBaseline(
            iter([request]), timeout=30, metadata=served.metadata("engineer")
        )
    )
    served.settle()
    asked = pb.GetBaselineRequest(model="late", version="v1")
    found = served.call(stub(served).GetBaseline, asked, "auditor")
    error = (logged.scores - paid)[:150]
    by_metric = {one.metric: one.value for one in found.performance}
    assert found.outcomes == 150
    assert by_metric["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-8)


def test_why_tells_a_decisions_number(serve: Serve) -> None:
    served = serve("monitoring", "audit", scenario=True)
    tick(served, DAY)
    a_model(served)
    declare(served)
    logged, _ = priced()
    observe(served, logged.request())
    later = DAY + timedelta(days=1)
    numbers(served, logged.ids[:2], [12.7, 0.0], later, never=b"\0\1")
    tick(served, later)
    asked = AuditServiceStub(served.channel).Why
    found = [
        served.call(asked, WhyRequest(decision=str(one)), "auditor").decision
        for one in logged.ids[:3]
    ]
    assert found[0].outcome_value == 12.7
    assert not found[0].HasField("outcome")
    assert (found[1].outcome, found[1].HasField("outcome_value")) == (2, False)
    assert not found[2].HasField("outcome_known_at")
