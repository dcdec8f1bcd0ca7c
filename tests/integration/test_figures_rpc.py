"""What a closed window says, over gRPC: distances, estimates, groups, explanations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import numpy as np
import pytest
from tests.integration.conftest import Served
from tests.integration.watched import (
    DANA,
    DAY,
    a_model,
    baseline,
    happen,
    observe,
    outcomes,
    rows,
    stub,
    tick,
)

from modelkeep.api.common.v1.common_pb2 import (
    RISK_VECTOR_FAIRNESS,
    SEVERITY_HIGH,
    Money,
)
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.events.inventory import SlaAccepted, SlaTerms
from modelkeep.ledger import stream_name

Serve = Callable[..., Served]


@pytest.fixture
def served(serve: Serve) -> Served:
    found = serve("monitoring", scenario=True)
    tick(found, DAY)
    a_model(found)
    return found


def close(served: Served) -> pb.Window:
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
    found: pb.Window = served.call(stub(served).GetWindow, asked, "auditor").window
    return found


def alerts(served: Served) -> list[pb.Alert]:
    served.settle()
    request = pb.ListAlertsRequest(model="late")
    return list(served.call(stub(served).ListAlerts, request, "auditor").alerts)


def test_a_window_says_every_distance_of_a_feature(served: Served) -> None:
    baseline(served)
    drifted = rows(shift=1.0)
    drifted.carrier = ["ZZ" if row % 4 == 0 else "UA" for row in range(200)]
    observe(served, drifted.request(use="desk"))
    tick(served, DAY + timedelta(days=1))
    figures = {f.feature: f for f in close(served).figures.features}
    x, carrier = figures["x"], figures["carrier"]
    assert 0.1 < x.ks <= x.ks_most
    assert x.ks_p < 0.01
    assert x.wasserstein == pytest.approx(0.5, abs=0.15)
    assert x.js > x.js_by_chance
    assert x.HasField("beyond")
    assert (carrier.unseen, list(carrier.unseen_examples)) == (50, ["ZZ"])
    assert carrier.unseen_risen
    assert carrier.chi_square_p < 0.01
    assert not carrier.HasField("ks")


def test_a_part_of_a_batch_is_measured_from_its_rows(served: Served) -> None:
    baseline(served)
    # the last hundred rows lie beyond the window's end
    late = rows(300, start=DAY + timedelta(days=1) - timedelta(minutes=200))
    observe(served, late.request())
    tick(served, DAY + timedelta(days=2))
    window = close(served)
    x = next(f for f in window.figures.features if f.feature == "x")
    assert window.figures.rows == x.n == 200
    assert x.HasField("ks")


def test_an_immature_window_is_estimated_and_mature_outcomes_replace_that(
    served: Served,
) -> None:
    baseline(served)
    configure = pb.ConfigureMonitorRequest(model="late", outcome_maturity_hours=48)
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    logged = rows()
    observe(served, logged.request())
    outcomes(served, logged.ids[:20], bytes(20), DAY + timedelta(hours=5))
    tick(served, DAY + timedelta(days=1))
    closed = close(served)
    expected = closed.figures.estimated
    assert "blind to concept drift" in expected.caveat
    # of all rows, and apart from what the twenty measured
    assert expected.n == 200
    assert {figure.n for figure in closed.figures.performance} >= {20}
    said = {figure.metric: figure for figure in expected.figures}
    assert not closed.figures.HasField("label_drift")
    truth = np.random.default_rng(7).random(200) < logged.scores
    outcomes(served, logged.ids, truth.tobytes(), DAY + timedelta(days=2))
    tick(served, DAY + timedelta(days=3))
    asked = pb.GetWindowRequest(model="late", window=closed.window)
    restated = served.call(stub(served).GetWindow, asked, "auditor").window
    assert restated.figures.mature
    assert not restated.figures.HasField("estimated")
    assert restated.closed_at == closed.closed_at
    assert restated.HasField("restated_at")
    measured = {figure.metric: figure for figure in restated.figures.performance}
    assert "log_loss" in measured
    for metric in ("auc", "brier", "accuracy", "precision", "recall"):
        assert said[metric].lower <= measured[metric].upper
        assert measured[metric].lower <= said[metric].upper


def test_groups_that_are_not_treated_alike_are_an_alert(served: Served) -> None:
    baseline(served, threshold=0.5)
    configure = pb.ConfigureMonitorRequest(model="late")
    configure.fairness.add(
        column="carrier",
        reference="UA",
        groups=["B6", "DL"],
        favourable=pb.FAVOURABLE_YES,
    )
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    served.settle()
    asked = pb.GetMonitorRequest(model="late")
    kept = served.call(stub(served).GetMonitor, asked, "auditor").monitor
    assert list(kept.fairness) == list(configure.fairness)
    logged = rows()
    words = np.array(["UA", "B6", "DL", "??"])[np.arange(200) % 4]
    logged.carrier = list(words)
    # every UA gets a yes, one B6 in two, most DL
    row = np.arange(200) // 4
    yes = (words == "UA") | ((words == "B6") & (row % 2 == 0))
    yes |= (words == "DL") & (row % 10 != 0)
    logged.scores = np.where(yes, 0.8, 0.3)
    observe(served, logged.request())
    tick(served, DAY + timedelta(days=1))
    [seen] = close(served).figures.fairness
    assert (seen.column, seen.reference, seen.undeclared) == ("carrier", "UA", 50)
    told = {group.group: group for group in seen.groups}
    assert [(g.n, g.favoured) for g in seen.groups] == [(50, 50), (50, 25), (50, 45)]
    assert told["B6"].impact.judgement == pb.JUDGED_BREACHED
    assert told["B6"].impact.value == 0.5
    assert told["DL"].impact.judgement != pb.JUDGED_BREACHED
    assert not told["UA"].HasField("impact")
    [alert] = [a for a in alerts(served) if a.kind == pb.ALERT_KIND_FAIRNESS]
    assert alert.feature == "carrier=B6"
    assert alert.vector == RISK_VECTOR_FAIRNESS


def test_a_column_that_nobody_logs_leaves_groups_empty(served: Served) -> None:
    baseline(served)
    configure = pb.ConfigureMonitorRequest(model="late")
    configure.fairness.add(
        column="age", reference="old", groups=["young"], favourable=pb.FAVOURABLE_NO
    )
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    observe(served, rows().request())
    tick(served, DAY + timedelta(days=1))
    [seen] = close(served).figures.fairness
    assert [group.n for group in seen.groups] == [0, 0]
    assert seen.undeclared == 200
    assert seen.groups[1].parity.judgement == pb.JUDGED_UNSURE


def test_a_concept_that_changed_is_told_apart_from_other_cases(served: Served) -> None:
    baseline(served)
    # scores always say less than comes true: no gap of calibration is the limit's
    configure = pb.ConfigureMonitorRequest(model="late")
    configure.thresholds.version = "concept-only"
    configure.thresholds.calibration_gap = 1.0
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    logged = rows(1_000)
    observe(served, logged.request())
    truth = np.random.default_rng(7).random(1_000) < logged.scores + 0.3
    outcomes(served, logged.ids, truth.tobytes(), DAY + timedelta(days=1))
    tick(served, DAY + timedelta(days=2))
    figures = close(served).figures
    assert figures.concept_drift.rate > 0.15
    assert abs(figures.concept_drift.mix) < 0.05
    assert figures.label_drift.n == figures.concept_drift.n == 1_000
    [alert] = [a for a in alerts(served) if a.kind == pb.ALERT_KIND_CONCEPT_DRIFT]
    assert alert.value == figures.concept_drift.rate
    assert alert.severity == SEVERITY_HIGH


def pair(n: int, seed: int, *, apart: bool = False) -> list[pb.Column]:
    """Two columns that move together, or each as it does but apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(10, 2, n)
    y = rng.permutation(x) if apart else x
    return [pb.Column(name=k, values=v.tobytes()) for k, v in (("x", x), ("y", y))]


def test_columns_that_part_are_found_where_a_limit_is_stated(served: Served) -> None:
    reference = rows(2_000, seed=9).request()
    request = pb.RegisterBaselineRequest(
        request_id=str(uuid4()),
        header=pb.BaselineHeader(model="late", version="v1", baseline="pair"),
        columns=pair(2_000, 9),
        scores=reference.scores,
    )
    call = stub(served).RegisterBaseline
    list(call(iter([request]), timeout=20, metadata=served.metadata("engineer")))
    configure = pb.ConfigureMonitorRequest(model="late")
    configure.thresholds.version = "together-1"
    configure.thresholds.misfit_rise = 0.5
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    served.settle()
    observe(served, rows().request(columns=pair(200, 1, apart=True)))
    tick(served, DAY + timedelta(days=1))
    seen = close(served).figures.misfit
    assert seen.n == 200
    assert seen.lower > 0.5
    assert set(seen.by_column) == {"x", "y"}
    [alert] = alerts(served)
    assert alert.kind == pb.ALERT_KIND_MULTIVARIATE_DRIFT
    assert alert.value == seen.error


def beside(milliseconds: float, minor: int, memory: int) -> dict[str, Any]:
    """What a sender says beside two hundred rows, half of them explained."""
    took = np.where(np.arange(200) < 100, milliseconds, np.nan)
    return {
        "explanation_ms": took.tobytes(),
        "resources": pb.Resources(
            cpu_seconds=1.5,
            memory_bytes=memory,
            cost=[Money(minor=minor, currency="USD")],
        ),
    }


def test_explanations_are_timed_and_resources_added_up(served: Served) -> None:
    happen(
        served,
        stream_name("model", "main", "late"),
        SlaAccepted(
            model="late",
            sla="explain",
            kind="explainability",
            terms=SlaTerms(coverage=0.0, explanation_p95_ms=50.0),
            proposed_by=DANA,
            accepted_by=DANA,
        ),
    )
    first, second = rows(), rows(seed=2, start=DAY + timedelta(hours=5))
    observe(served, first.request(**beside(10, 7, 2**30)))
    observe(served, second.request(**beside(200, 5, 2**31)))
    silent = rows(10, seed=3, start=DAY + timedelta(hours=9))
    observe(served, silent.request())
    tick(served, DAY + timedelta(days=1))
    figures = close(served).figures
    took, used = figures.explanation_ms, figures.resources
    assert (figures.rows, took.n, used.rows) == (410, 200, 400)
    assert took.p50 == pytest.approx(10, rel=0.016)
    assert took.p95 == pytest.approx(200, rel=0.016)
    assert (used.cpu_seconds, used.memory_bytes) == (3.0, 2**31)
    assert [(one.minor, one.currency) for one in used.cost] == [(12, "USD")]
    [alert] = [a for a in alerts(served) if a.kind == pb.ALERT_KIND_EXPLANATIONS]
    assert (alert.metric, alert.threshold) == ("explanation_p95_ms", 50.0)


def test_what_a_sender_says_beside_its_rows_must_fit_them(served: Served) -> None:
    for wrong in (
        {"explanation_ms": bytes(8)},
        {"resources": pb.Resources(cpu_seconds=-1.0)},
    ):
        with pytest.raises(grpc.RpcError) as refused:
            observe(served, rows().request(**wrong))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
