"""What monitoring must refuse, and the good requests it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.bad_inputs.cases import ABSENT, INVALID, Bad, Good
from tests.integration.conftest import Served
from tests.integration.watched import DAY, a_model, baseline, observe, rows, stub, tick

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb

SERVICE = "monitoring"
NEEDS = ("monitoring",)
SCENARIO = True
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["MonitoringService"]

LOGGED = rows(200, shift=5.0)
FRESH = rows(20, seed=7)
EARLIER = rows(600, start=DAY - timedelta(days=1), seed=9)
WINDOW = "v1.prod.20260105t000000z.20260106t000000z"
START, END = Timestamp(), Timestamp()
START.FromDatetime(DAY)
END.seconds = START.seconds + 86_400
LATER, NEVER = Timestamp(seconds=END.seconds + 86_400), Timestamp(seconds=10**15)
TAKEN = frozenset({grpc.StatusCode.ALREADY_EXISTS})
REFUSED = frozenset({grpc.StatusCode.FAILED_PRECONDITION})


def prepare(served: Served) -> None:
    tick(served, DAY)
    a_model(served)
    baseline(served)
    observe(served, LOGGED.request(batch=SENT.batch))
    observe(served, EARLIER.request(use="marketing"))
    tick(served, END.ToDatetime(tzinfo=DAY.tzinfo))
    close = pb.CloseWindowRequest(model="late", version="v1", start=START, end=END)
    served.call(stub(served).CloseWindow, close, "operator")
    contract = pb.RegisterContractRequest()
    contract.CopyFrom(CONTRACT)
    served.call(stub(served).RegisterContract, contract, "owner")
    served.settle()
    earlier = pb.CloseWindowRequest(model="late", version="v1", end=START)
    earlier.start.seconds = START.seconds - 86_400
    served.call(stub(served).CloseWindow, earlier, "operator")
    served.settle()
    listed = served.call(stub(served).ListAlerts, pb.ListAlertsRequest(), "auditor")
    by_kind = {alert.kind: alert for alert in listed.alerts}
    speak_of(
        by_kind[pb.ALERT_KIND_FEATURE_DRIFT], by_kind[pb.ALERT_KIND_UNAPPROVED_USE]
    )
    for use in ("", "desk"):
        request = pb.ProposeAutonomyRequest(use=use)
        request.MergeFrom(PROPOSAL)
        served.call(stub(served).ProposeAutonomy, request, "owner", subject="olga")


def speak_of(alert: pb.Alert, other: pb.Alert) -> None:
    """Alerts and incidents that are not each other's: each is resolved once."""
    BOTH.alert, BOTH.incident = alert.alert, other.incident
    for good in GOOD:
        fields = good.request.DESCRIPTOR.fields_by_name
        if "alert" in fields:
            setattr(good.request, "alert", alert.alert)  # noqa: B010  # a message has what its descriptor says
        elif "incident" in fields:
            setattr(good.request, "incident", other.incident)  # noqa: B010  # likewise


SENT = LOGGED.request()
BASELINE = pb.RegisterBaselineRequest(
    header=pb.BaselineHeader(model="late", version="v1", baseline="again"),
    columns=SENT.columns,
    scores=SENT.scores,
)
OUTCOMES = pb.RecordOutcomesRequest(
    batch=str(UUID(int=77)),
    model="late",
    rows=1,
    decision_ids=LOGGED.ids[0].bytes,
    outcomes=b"\1",
    known_at=np.array([START.seconds * 1_000_000], "<i8").tobytes(),
)
CONTRACT = pb.RegisterContractRequest(
    model="late",
    contract="inputs",
    columns=[pb.ColumnContract(column="x", maximum=1e6)],
    on_breach=pb.BREACH_POLICY_MARK,
)
SNAPSHOT = pb.CheckSnapshotRequest(
    header=pb.SnapshotHeader(
        model="late",
        digest="sha256:" + "b" * 64,
        purpose=pb.SNAPSHOT_PURPOSE_TRAINING,
    ),
    rows=SENT.rows,
    columns=SENT.columns,
)
DISPOSITION = pb.RecordDispositionRequest(
    model="late",
    decision=str(LOGGED.ids[3]),
    disposition=pb.DISPOSITION_ACCEPTED,
    reason="agrees with the desk",
)
FOUND = pb.FindDecisionRequest(model="late", decision=str(LOGGED.ids[3]))

ONSET = pb.EstablishOnsetRequest(
    model="late", onset=START, reason="the feed changed then"
)
BOTH = pb.EstablishOnsetRequest(model="late", onset=START, reason="both")
PROPOSAL = pb.ProposeAutonomyRequest(
    model="late", level=pb.AUTONOMY_LEVEL_ADVISE, reason="it earned it"
)

GOOD = (
    Good(
        "RegisterBaseline",
        BASELINE,
        ("engineer",),
        required=("header", "scores"),
    ),
    Good("RegisterContract", CONTRACT, ("owner",), "model", ("columns", "on_breach")),
    Good("CheckSnapshot", SNAPSHOT, ("engineer",), required=("header", "rows")),
    Good(
        "ListSnapshots",
        pb.ListSnapshotsRequest(model="late"),
        ("auditor",),
        "model",
        ("model",),
    ),
    Good(
        "ConfigureMonitor",
        pb.ConfigureMonitorRequest(
            model="late", cadence_hours=24, closed_by=pb.CLOSED_BY_CALLER
        ),
        ("owner",),
        "model",
        ("model",),
    ),
    Good(
        "ChooseProof",
        pb.ChooseProofRequest(
            model="late", proof=pb.DECISION_PROOF_ROWS, reason="as before"
        ),
        ("risk_officer",),
        "model",
        ("model", "proof", "reason"),
    ),
    Good(
        "Observe",
        FRESH.request(),
        ("serving",),
        "model",
        ("batch", "model", "version", "rows", "decision_ids", "times", "scores"),
    ),
    Good(
        "RecordOutcomes",
        OUTCOMES,
        ("serving",),
        "model",
        ("batch", "model", "rows", "decision_ids", "outcomes", "known_at"),
    ),
    Good(
        "CloseWindow",
        pb.CloseWindowRequest(model="late", version="v1", start=START, end=END),
        ("operator",),
        "version",
        ("model", "version", "start", "end"),
    ),
    Good(
        "CountSlot",
        pb.CountSlotRequest(model="late", version="v1", start=START, end=END),
        ("operator",),
        "version",
        ("model", "version", "start", "end"),
    ),
    Good(
        "RecordDisposition",
        DISPOSITION,
        ("owner",),
        "decision",
        ("model", "decision", "disposition", "reason"),
    ),
    Good(
        "AcknowledgeAlert",
        pb.AcknowledgeAlertRequest(model="late"),
        ("owner",),
        "alert",
        ("model", "alert"),
    ),
    Good(
        "ResolveAlert",
        pb.ResolveAlertRequest(model="late", true_alarm=True, reason="a storm"),
        ("owner",),
        "alert",
        ("model", "alert", "true_alarm", "reason"),
    ),
    Good(
        "GetMonitor",
        pb.GetMonitorRequest(model="late"),
        ("auditor",),
        "model",
        ("model",),
    ),
    Good(
        "GetBaseline",
        pb.GetBaselineRequest(model="late", version="v1"),
        ("auditor",),
        "version",
        ("model", "version"),
    ),
    Good(
        "GetWindow",
        pb.GetWindowRequest(model="late", window=WINDOW),
        ("auditor",),
        "window",
        ("model", "window"),
    ),
    Good(
        "ListWindows",
        pb.ListWindowsRequest(model="late"),
        ("auditor",),
        "model",
        ("model",),
    ),
    Good(
        "GetProfile",
        pb.GetProfileRequest(model="late", window=WINDOW),
        ("auditor",),
        "window",
        ("model", "window"),
    ),
    Good(
        "Compare",
        pb.CompareRequest(
            model="late",
            before=pb.ComparedSide(baseline=pb.BaselineSide(version="v1")),
            after=pb.ComparedSide(window=WINDOW),
        ),
        ("auditor",),
        "model",
        ("model", "before", "after"),
    ),
    Good(
        "ListBatches",
        pb.ListBatchesRequest(model="late"),
        ("auditor",),
        "model",
        ("model",),
    ),
    Good("FindDecision", FOUND, ("auditor",), "decision", ("decision",)),
    Good("ListAlerts", pb.ListAlertsRequest(model="late"), ("auditor",), "model"),
    Good(
        "GetAlertPrecision",
        pb.GetAlertPrecisionRequest(model="late"),
        ("auditor",),
        "model",
    ),
    Good(
        "GetFalseAlarms",
        pb.GetFalseAlarmsRequest(model="late"),
        ("auditor",),
        "model",
    ),
    Good(
        "GetOverrideRate",
        pb.GetOverrideRateRequest(model="late"),
        ("auditor",),
        "model",
        ("model",),
    ),
    Good("ListIncidents", pb.ListIncidentsRequest(model="late"), ("auditor",), "model"),
    Good(
        "GetIncident", pb.GetIncidentRequest(), ("auditor",), "incident", ("incident",)
    ),
    Good(
        "AcknowledgeIncident",
        pb.AcknowledgeIncidentRequest(),
        ("owner",),
        "incident",
        ("incident",),
    ),
    Good(
        "ResolveIncident",
        pb.ResolveIncidentRequest(true_alarm=True, reason="a storm"),
        ("owner",),
        "incident",
        ("incident", "true_alarm", "reason"),
    ),
    Good("EstablishOnset", ONSET, ("owner",), "alert", ("onset", "reason")),
    Good(
        "ProposeAutonomy",
        PROPOSAL,
        ("owner",),
        "model",
        ("model", "level", "reason"),
    ),
    Good(
        "ApproveAutonomy",
        pb.ApproveAutonomyRequest(model="late", proposal="any-1"),
        ("risk_officer",),
        "proposal",
        ("model", "proposal"),
    ),
    Good(
        "RejectAutonomy",
        pb.RejectAutonomyRequest(
            model="late", use="desk", proposal="desk-1", reason="not yet"
        ),
        ("risk_officer",),
        "proposal",
        ("model", "proposal", "reason"),
    ),
    Good(
        "LowerAutonomy",
        pb.LowerAutonomyRequest(
            model="late", level=pb.AUTONOMY_LEVEL_SHADOW, reason="an audit"
        ),
        ("owner",),
        "model",
        ("model", "level", "reason"),
    ),
    Good("ListAutonomy", pb.ListAutonomyRequest(model="late"), ("auditor",), "model"),
)


def observed(
    what: str, field: str, codes: frozenset[grpc.StatusCode] = INVALID, **changes: Any
) -> Bad:
    request = FRESH.request(**changes)
    return Bad("Observe", what, request, ("serving",), codes, field)


def budgeted(
    what: str, field: str, wrong: pb.FalseAlarms, cadence: float | None = 24
) -> Bad:
    request = pb.ConfigureMonitorRequest(
        model="late",
        cadence_hours=cadence,
        closed_by=pb.CLOSED_BY_CALLER,
        false_alarms=wrong,
    )
    return Bad("ConfigureMonitor", what, request, ("owner",), INVALID, field)


def seasonal(what: str, season: int, **sent: Any) -> Bad:
    request = pb.RegisterBaselineRequest(
        header=BASELINE.header, columns=SENT.columns, scores=SENT.scores, **sent
    )
    request.header.season = season  # type: ignore[assignment]  # maybe none at all
    field = "times" if sent else "season"
    return Bad("RegisterBaseline", what, request, ("engineer",), INVALID, field)


def compared(
    what: str,
    field: str,
    codes: frozenset[grpc.StatusCode] = INVALID,
    features: Sequence[str] = (),
    **after: Any,
) -> Bad:
    request = pb.CompareRequest(
        model="late",
        before=pb.ComparedSide(window=WINDOW),
        after=pb.ComparedSide(**after),
        features=features,
    )
    return Bad("Compare", what, request, ("auditor",), codes, field)


def over(start: Timestamp, end: Timestamp, version: str = "v1") -> pb.PeriodSide:
    return pb.PeriodSide(version=version, start=start, end=end)


NANS = np.full(20, np.nan).tobytes()
MORE = (
    seasonal("a season of no name", 99),
    seasonal("a season without times", pb.SEASON_HOUR_OF_DAY),
    seasonal("too few bytes of times", pb.SEASON_HOUR_OF_DAY, times=bytes(9)),
    budgeted("a budget without a cadence", "false_alarms", pb.FalseAlarms(), None),
    budgeted(
        "no false alarm at all",
        "false_alarms",
        pb.FalseAlarms(false_alarms=0.0),
    ),
    budgeted(
        "NaN false alarms",
        "false_alarms",
        pb.FalseAlarms(false_alarms=float("nan")),
    ),
    budgeted(
        "a period of no name",
        "period",
        pb.FalseAlarms(period=99),  # type: ignore[arg-type]  # that is wrong
    ),
    budgeted(
        "a detector without a part",
        "missing",
        pb.FalseAlarms(shares=pb.AlarmShares(missing=0.0)),
    ),
    budgeted(
        "a tolerance of all rows",
        "absolute",
        pb.FalseAlarms(tolerance=pb.AlarmTolerance(absolute=1.0)),
    ),
    budgeted("a bet on nothing", "odds", pb.FalseAlarms(odds=[1.0])),
    budgeted("more bets than are held", "odds", pb.FalseAlarms(odds=[2.0] * 11)),
    observed("score NaN", "scores", scores=NANS),
    observed("score infinite", "scores", scores=np.full(20, np.inf).tobytes()),
    observed("too many rows", "rows", rows=65_537),
    observed("too few bytes of times", "times", times=bytes(7)),
    observed("a time in no year", "times", times=np.full(20, 2**62).tobytes()),
    observed(
        "a latency below zero", "latency_ms", latency_ms=np.full(20, -1.0).tobytes()
    ),
    observed("a flag of three", "explained", explained=bytes([3] * 20)),
    observed("an id twice", "decision_ids", decision_ids=bytes(320)),
    observed(
        "too many columns",
        "columns",
        columns=[pb.Column(name=f"c{n}") for n in range(2_001)],
    ),
    observed("short column", "x", columns=[pb.Column(name="x", values=bytes(8))]),
    observed("unknown dtype", "x", columns=[pb.Column(name="x", dtype=99)]),  # type: ignore[arg-type]  # that is wrong
    observed(
        "a feed in no year", "last_at", readings=[pb.Reading(feed="f", last_at=-1)]
    ),
    observed("a batch id used for others", "", TAKEN, batch=SENT.batch),
    observed(
        "a decision logged before",
        "",
        REFUSED,
        decision_ids=b"".join(one.bytes for one in LOGGED.ids[:20]),
    ),
    Bad(
        "RecordOutcomes",
        "an outcome of three",
        pb.RecordOutcomesRequest(
            batch=OUTCOMES.batch,
            model="late",
            rows=1,
            decision_ids=OUTCOMES.decision_ids,
            outcomes=b"\3",
            known_at=OUTCOMES.known_at,
        ),
        ("serving",),
        INVALID,
        "outcomes",
    ),
    Bad(
        "RecordOutcomes",
        "numbers of a model of yes and no",
        pb.RecordOutcomesRequest(
            batch=OUTCOMES.batch,
            model="late",
            rows=1,
            decision_ids=OUTCOMES.decision_ids,
            values=np.array([12.7], "<f8").tobytes(),
            known_at=OUTCOMES.known_at,
        ),
        ("serving",),
        REFUSED,
        "",
    ),
    Bad(
        "RecordOutcomes",
        "a number that is infinite",
        pb.RecordOutcomesRequest(
            batch=OUTCOMES.batch,
            model="late",
            rows=1,
            decision_ids=OUTCOMES.decision_ids,
            values=np.array([np.inf], "<f8").tobytes(),
            known_at=OUTCOMES.known_at,
        ),
        ("serving",),
        INVALID,
        "values",
    ),
    Bad(
        "RegisterBaseline",
        "importance NaN",
        pb.RegisterBaselineRequest(
            header=pb.BaselineHeader(
                model="late",
                version="v1",
                baseline="again",
                importances={"x": float("nan")},
            ),
            columns=SENT.columns,
            scores=SENT.scores,
        ),
        ("engineer",),
        INVALID,
        "importances",
    ),
    Bad(
        "RegisterBaseline",
        "score NaN",
        pb.RegisterBaselineRequest(
            header=BASELINE.header, columns=FRESH.request().columns, scores=NANS
        ),
        ("engineer",),
        INVALID,
        "scores",
    ),
    Bad(
        "CountSlot",
        "not over",
        pb.CountSlotRequest(
            model="late",
            version="v1",
            start=START,
            end=Timestamp(seconds=END.seconds + 1),
        ),
        ("operator",),
        REFUSED,
    ),
    Bad(
        "CloseWindow",
        "not over",
        pb.CloseWindowRequest(
            model="late",
            version="v1",
            start=START,
            end=Timestamp(seconds=END.seconds + 1),
        ),
        ("operator",),
        REFUSED,
    ),
    compared("an empty side", "after"),
    compared("a window that is no name", "window", window="No Such"),
    compared("an unknown window", "", ABSENT, window="v1.prod.never"),
    compared(
        "a baseline of no version", "version", baseline=pb.BaselineSide(version="")
    ),
    compared(
        "an unknown baseline",
        "",
        ABSENT,
        baseline=pb.BaselineSide(version="v1", baseline="never"),
    ),
    compared("a period the wrong way", "start", period=over(END, START)),
    compared("a period in no year", "end", period=over(START, NEVER)),
    compared("a period of no version", "version", period=over(START, END, "")),
    compared("an unknown version", "", ABSENT, period=over(START, END, "v9")),
    compared("a period without windows", "", ABSENT, period=over(END, LATER)),
    compared("too many features", "features", features=["x"] * 101, window=WINDOW),
    compared("an unknown feature", "features", features=["y"], window=WINDOW),
    compared("a feature without a name", "features", features=[""], window=WINDOW),
    Bad("EstablishOnset", "an incident and an alert", BOTH, ("owner",), INVALID),
    Bad(
        "EstablishOnset",
        "an event id of no form",
        pb.EstablishOnsetRequest(
            model="late",
            alert="alert-1",
            onset=START,
            reason="r",
            evidence=["not-an-id"],
        ),
        ("owner",),
        INVALID,
        "evidence",
    ),
    Bad(
        "ProposeAutonomy",
        "two levels at once",
        pb.ProposeAutonomyRequest(
            model="late", level=pb.AUTONOMY_LEVEL_ACT, reason="at once"
        ),
        ("owner",),
        REFUSED,
    ),
    Bad(
        "ProposeAutonomy",
        "a use nobody approved",
        pb.ProposeAutonomyRequest(
            model="late",
            use="marketing",
            level=pb.AUTONOMY_LEVEL_ADVISE,
            reason="elsewhere",
        ),
        ("owner",),
        REFUSED,
    ),
    Bad(
        "LowerAutonomy",
        "upwards",
        pb.LowerAutonomyRequest(model="late", level=pb.AUTONOMY_LEVEL_ACT, reason="up"),
        ("owner",),
        REFUSED,
    ),
)
