"""Monitoring over gRPC: decisions in, windows closed, alerts out, rows proven."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import cast
from uuid import uuid4

import grpc
import numpy as np
import pytest
from tests.integration.conftest import TIMEOUT_S, Served
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
from modelkeep.events.base import decode
from modelkeep.events.monitoring import ContractBreached, SlotCounted
from modelkeep.proof.merkle import leaf_hash, verify_inclusion
from modelkeep.store.port import Filter
from modelkeep.viewfile import Halt
from modelkeep.views import fact
from modelkeep.viewset import ViewSet

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


def alerts(served: Served, *, open_only: bool = False) -> list[pb.Alert]:
    served.settle()
    request = pb.ListAlertsRequest(model="late", open_only=open_only)
    return list(served.call(stub(served).ListAlerts, request, "auditor").alerts)


def test_drift_goes_from_the_wire_to_an_alert(served: Served) -> None:
    baseline(served)
    drifted = rows(shift=5.0)
    [ack] = observe(served, drifted.request(use="desk"))
    assert not ack.replayed
    assert ack.rows == 200
    tick(served, DAY + timedelta(days=1))
    window = close(served)
    figures = {f.feature: f for f in window.figures.features}
    assert figures["x"].psi > figures["x"].hi > figures["x"].lo
    assert figures["carrier"].psi < figures["carrier"].lo
    assert window.figures.rows == 200
    assert window.figures.baseline == "spring"
    [alert] = alerts(served)
    assert alert.kind == pb.ALERT_KIND_FEATURE_DRIFT
    assert (alert.feature, alert.owner) == ("x", "olga")
    assert "PSI" in alert.cause
    assert alert.sources


def test_a_batch_sent_twice_counts_once(served: Served) -> None:
    request = rows().request()
    [first] = observe(served, request)
    [again] = observe(served, request)
    assert again.replayed
    assert (again.position, again.root) == (first.position, first.root)
    other = rows(seed=2).request(batch=request.batch)
    with pytest.raises(grpc.RpcError) as refused:
        observe(served, other)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_one_row_can_be_proven(served: Served) -> None:
    logged = rows()
    [ack] = observe(served, logged.request())
    request = pb.FindDecisionRequest(
        decision=str(logged.ids[17]), not_before=ack.position
    )
    found = served.call(stub(served).FindDecision, request, "auditor")
    assert found.decision.score == logged.scores[17]
    root = bytes.fromhex(ack.root.removeprefix("sha256:"))
    leaf = leaf_hash(found.row)
    assert verify_inclusion(leaf, found.index, 200, list(found.proof), root)
    assert not verify_inclusion(leaf, found.index + 1, 200, list(found.proof), root)


def test_a_decision_is_found_by_the_callers_own_id(served: Served) -> None:
    for seed in (1, 2, 3):
        logged = rows(seed=seed, start=DAY + timedelta(hours=seed))
        words = [f"order-{seed}-{row}" for row in range(200)]
        references = pb.Column(
            name="reference",
            dtype=pb.DTYPE_UTF8,
            values=np.arange(200, dtype="<i4").tobytes(),
            dictionary=words,
        )
        [ack] = observe(served, logged.request(references=references))
    request = pb.FindDecisionRequest(
        model="late", reference="order-2-17", not_before=ack.position
    )
    found = served.call(stub(served).FindDecision, request, "auditor")
    assert found.decision.reference == "order-2-17"
    assert found.decision.decision == str(rows(seed=2).ids[17])
    request.reference = "order-4-17"
    with pytest.raises(grpc.RpcError) as unknown:
        served.call(stub(served).FindDecision, request, "auditor")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def count(served: Served) -> int:
    request = pb.CountSlotRequest(model="late", version="v1")
    request.start.FromDatetime(DAY)
    request.end.FromDatetime(DAY + timedelta(days=1))
    return int(
        served.call(stub(served).CountSlot, request, "operator").written.position
    )


def slots(served: Served) -> list[SlotCounted]:
    name = Filter("name", ("monitoring.slot-counted",))
    found = served.node.host.store.read_all(only=name)
    return [cast("SlotCounted", fact(one).event) for one in found]


def test_a_slot_counts_what_its_window_does_and_raises_nothing(served: Served) -> None:
    baseline(served)
    logged = rows(shift=5.0)
    observe(served, logged.request(use="desk"))
    tick(served, DAY + timedelta(days=2))
    count(served)
    assert (slots(served)[-1].counts.pending, alerts(served)) == (200, [])
    said = bytes([2] * 10 + [1, 0] * 95)
    outcomes(served, logged.ids, said, DAY + timedelta(days=2))
    assert count(served) == count(served)  # nothing is new
    early, late = slots(served)
    assert (early.counts.outcomes, late.counts.outcomes) == (0, 190)
    figures = close(served).figures
    assert late.counts.bad == dict(figures.bad)
    assert (late.counts.never, late.counts.positives) == (10, figures.positives)
    assert list(late.counts.sources) == list(figures.sources)


def test_late_outcomes_restate_a_window_and_keep_both(served: Served) -> None:
    baseline(served)
    configure = pb.ConfigureMonitorRequest(model="late", outcome_maturity_hours=48)
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    logged = rows()
    observe(served, logged.request())
    tick(served, DAY + timedelta(days=1))
    closed = close(served)
    assert closed.figures.outcomes == 0
    assert not closed.figures.mature
    # All come true, whatever was said; ten never will.
    said = bytes([1] * 190 + [2] * 10)
    told = outcomes(served, logged.ids, said, DAY + timedelta(days=2))
    assert (told.matched, told.never) == (200, 10)
    tick(served, DAY + timedelta(days=3))
    asked = pb.GetWindowRequest(model="late", window=closed.window)
    restated = served.call(stub(served).GetWindow, asked, "auditor").window
    assert restated.restatements == 1
    assert restated.figures.mature
    assert (restated.figures.outcomes, restated.figures.never) == (190, 10)
    asked.as_of.time.FromDatetime(DAY + timedelta(days=2))
    then = served.call(stub(served).GetWindow, asked, "auditor").window
    assert then.figures == closed.figures
    [gap] = [a for a in alerts(served) if a.kind == pb.ALERT_KIND_CALIBRATION]
    assert gap.money_per_hour.minor == 120_000
    assert gap.money_basis == pb.MONEY_BASIS_ASSUMPTION
    assert gap.play == "retrain"


def test_people_acknowledge_resolve_and_make_precision(served: Served) -> None:
    baseline(served)
    observe(served, rows(shift=5.0).request())
    tick(served, DAY + timedelta(days=1))
    close(served)
    [alert] = alerts(served)
    acknowledge = pb.AcknowledgeAlertRequest(model="late", alert=alert.alert)
    served.call(stub(served).AcknowledgeAlert, acknowledge, "owner")
    tick(served, DAY + timedelta(days=30))
    [late] = alerts(served, open_only=True)
    assert late.overdue
    resolve = pb.ResolveAlertRequest(
        model="late", alert=alert.alert, true_alarm=True, reason="a new airport"
    )
    served.call(stub(served).ResolveAlert, resolve, "owner")
    assert not alerts(served, open_only=True)
    asked = pb.GetAlertPrecisionRequest(model="late")
    [rule] = served.call(stub(served).GetAlertPrecision, asked, "risk_officer").rules
    assert (rule.raised, rule.precision) == (1, 1.0)


def test_a_cadence_without_decisions_is_silence(served: Served) -> None:
    configure = pb.ConfigureMonitorRequest(
        model="late", cadence_hours=24, closed_by=pb.CLOSED_BY_CLOCK, grace_hours=1
    )
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    observe(served, rows().request())
    tick(served, DAY + timedelta(days=1, hours=1))
    asked = pb.ListWindowsRequest(model="late")
    [window] = served.call(stub(served).ListWindows, asked, "auditor").windows
    assert window.figures.rows == 200
    assert not alerts(served)
    tick(served, DAY + timedelta(days=2, hours=1))
    [alert] = alerts(served)
    assert alert.kind == pb.ALERT_KIND_SILENCE


def test_a_broken_contract_sets_the_batch_aside(served: Served) -> None:
    contract = pb.RegisterContractRequest(
        model="late",
        contract="inputs",
        columns=[pb.ColumnContract(column="x", maximum=20.0)],
        on_breach=pb.BREACH_POLICY_QUARANTINE,
    )
    served.call(stub(served).RegisterContract, contract, "owner")
    served.settle()
    good, bad = rows(seed=1), rows(seed=2)
    bad.x[:3] = 1_000.0
    acks = observe(served, good.request(), bad.request())
    assert [ack.quarantined for ack in acks] == [False, True]
    tick(served, DAY + timedelta(days=1))
    window = close(served)
    assert (window.figures.rows, window.figures.quarantined) == (200, 200)
    assert dict(window.figures.breaches) == {"x.maximum": 3}
    [alert] = [a for a in alerts(served) if a.kind == pb.ALERT_KIND_CONTRACT]
    assert alert.feature == "x"


def test_a_contract_binds_the_next_batch_of_a_stream_that_goes_on(
    served: Served,
) -> None:
    batches = [rows(seed=seed) for seed in (1, 2, 3)]
    for batch in batches:
        batch.x[:3] = 1_000.0
    first, second, third = (batch.request(flush=True) for batch in batches)
    contract = pb.RegisterContractRequest(
        model="late",
        contract="inputs",
        columns=[pb.ColumnContract(column="x", maximum=20.0)],
        on_breach=pb.BREACH_POLICY_QUARANTINE,
    )
    sent = SimpleQueue[pb.ObserveRequest | None]()
    said = stub(served).Observe(
        iter(sent.get, None), timeout=TIMEOUT_S, metadata=served.metadata("serving")
    )
    sent.put(first)
    sent.put(second)
    free = [next(said).quarantined for _ in range(2)]
    served.call(stub(served).RegisterContract, contract, "owner")
    served.settle()
    sent.put(third)
    bound = next(said).quarantined
    sent.put(None)
    assert (free, bound) == ([False, False], True)
    assert not list(said)


def test_while_the_views_are_halted_no_batch_is_taken(served: Served) -> None:
    first = rows(seed=1).request()
    observe(served, first)
    served.settle()
    [again] = observe(served, first)  # it moves nothing, and what is known is read
    assert again.replayed
    views = served.node.running["monitoring"].views
    views.halt = Halt(views.position + 1, "planted", "for a test")
    with pytest.raises(grpc.RpcError) as refused:
        observe(served, rows(seed=3).request())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


DOCUMENT = """
kind: DataContract
apiVersion: v3.1.0
id: late
version: 1.0.0
status: active
schema:
  - name: late
    properties:
      - name: x
        logicalType: number
        required: true
        logicalTypeOptions: {maximum: 20}
        quality:
          - {type: sql, query: "select 1", mustBe: 0}
"""


def test_a_standard_document_binds_and_says_what_it_leaves(served: Served) -> None:
    pytest.importorskip("open_data_contract_standard")
    request = pb.RegisterContractRequest(
        model="late",
        contract="inputs",
        document=DOCUMENT,
        on_breach=pb.BREACH_POLICY_QUARANTINE,
    )
    answer = served.call(stub(served).RegisterContract, request, "owner")
    [column] = answer.columns
    assert (column.column, column.maximum, column.max_null_rate) == ("x", 20.0, 0.0)
    assert [one.place for one in answer.unenforced] == [
        "schema[0].properties[0].quality[0]"
    ]
    served.settle()
    bad = rows(seed=2)
    bad.x[:30] = 1_000.0
    bad.x[40] = np.nan
    [ack] = observe(served, bad.request())
    assert (ack.breaches, ack.quarantined) == (2, True)
    events = served.node.store.read_stream("decisions-main.late")
    told = [decode(e.name, e.schema_version, e.data) for e in events]
    found = {e.rule: e for e in told if isinstance(e, ContractBreached)}
    assert {rule: (e.count, e.of) for rule, e in found.items()} == {
        "maximum": (30, 200),
        "null_rate": (1, 200),
    }
    assert found["maximum"].examples == tuple(str(one) for one in bad.ids[:20])


def test_a_document_that_cannot_be_read_changes_nothing(served: Served) -> None:
    request = pb.RegisterContractRequest(
        model="late",
        contract="inputs",
        document="kind: [",
        on_breach=pb.BREACH_POLICY_MARK,
    )
    with pytest.raises(grpc.RpcError) as refused:
        served.call(stub(served).RegisterContract, request, "owner")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "document" in str(refused.value.details())


def test_an_unapproved_use_is_a_lapse(served: Served) -> None:
    observe(served, rows().request(use="marketing"))
    tick(served, DAY + timedelta(days=1))
    close(served)
    [alert] = alerts(served)
    assert alert.kind == pb.ALERT_KIND_UNAPPROVED_USE


def test_dispositions_make_an_override_rate(served: Served) -> None:
    logged = rows()
    observe(served, logged.request())
    for row, word in enumerate(("ACCEPTED", "ACCEPTED", "OVERRIDDEN", "ESCALATED")):
        request = pb.RecordDispositionRequest(
            model="late",
            decision=str(logged.ids[row]),
            disposition=pb.Disposition.Value(f"DISPOSITION_{word}"),
            reason="local knowledge",
            comment="Ms Smith called",
        )
        served.call(stub(served).RecordDisposition, request, "business_owner")
    served.settle()
    asked = pb.GetOverrideRateRequest(model="late")
    found = served.call(stub(served).GetOverrideRate, asked, "validator")
    assert (found.accepted, found.overridden, found.rate) == (2, 1, 0.25)


def test_state_is_rebuilt_from_events_and_objects(served: Served) -> None:
    from modelkeep_services.monitoring.book import Books  # noqa: PLC0415  # only here

    logged = rows()
    observe(served, logged.request())
    outcomes(served, logged.ids[:50], bytes([1] * 50), DAY + timedelta(days=1))
    book = Books(served.store, served.node.home.decisions).of("main", "late")
    book.catch_up()
    assert len(book.ids) == 200
    assert np.count_nonzero(book.rows(book.batches[0]).outcomes == 1) == 50


def test_a_replay_gives_the_same_views(served: Served, tmp_path: Path) -> None:
    baseline(served)
    logged = rows(shift=5.0)
    observe(served, logged.request(use="marketing"))
    outcomes(served, logged.ids, bytes([1] * 200), DAY + timedelta(hours=9))
    tick(served, DAY + timedelta(days=1))
    close(served)
    served.settle()
    views = served.node.running["monitoring"]
    with ViewSet(
        "again", views.service.views, served.store, tmp_path / "again.db"
    ) as again:
        again.catch_up()
        assert again.digests() == views.views.digests()


def test_batches_of_two_kinds_are_recorded_in_the_order_they_came(
    served: Served,
) -> None:
    requests = [
        rows(5, seed=seed).request(use=f"use-{seed}", flush=seed == 7)
        for seed in range(1, 8)
    ]
    observe(served, *requests)
    served.settle()
    listed = served.call(
        stub(served).ListBatches, pb.ListBatchesRequest(model="late"), "auditor"
    )
    assert [batch.use for batch in listed.batches] == [
        f"use-{seed}" for seed in range(1, 8)
    ]


def test_a_baseline_may_be_taken_from_the_log(served: Served) -> None:
    logged = rows(500)
    observe(served, logged.request())
    header = pb.BaselineHeader(
        model="late", version="v1", baseline="first-week", from_log=True
    )
    header.period_start.FromDatetime(DAY)
    header.period_end.FromDatetime(DAY + timedelta(hours=5))
    request = pb.RegisterBaselineRequest(request_id=str(uuid4()), header=header)
    list(
        stub(served).RegisterBaseline(
            iter([request]), timeout=20, metadata=served.metadata("engineer")
        )
    )
    served.settle()
    asked = pb.GetBaselineRequest(model="late", version="v1")
    found = served.call(stub(served).GetBaseline, asked, "auditor")
    assert (found.baseline, found.rows) == ("first-week", 300)


def test_a_version_nobody_registered_logs_nothing(served: Served) -> None:
    head = served.store.head()
    with pytest.raises(grpc.RpcError) as refused:
        observe(served, rows().request(version="v9", batch=str(uuid4())))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert served.store.head() == head
