"""Alerts as people live with them: incidents, escalations, onsets, autonomy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from tests.integration.conftest import Served
from tests.integration.watched import (
    DANA,
    DAY,
    HAPPENING,
    SHA,
    Happen,
    a_model,
    baseline,
    happen,
    observe,
    rows,
    stub,
    tick,
)

from modelkeep.api.common.v1 import common_pb2 as common
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decider import Actor, Context
from modelkeep.events.base import Event
from modelkeep.events.insight import BudgetDefined, BudgetExhausted, Document
from modelkeep.events.inventory import Drivers, ModelClassified, RoleAssigned
from modelkeep.events.lineage import (
    Linked,
    ManifestRecorded,
    NodeRecorded,
    node_id,
    version_node,
)
from modelkeep.events.monitoring import (
    AlertRaised,
    BatchRecorded,
    DispositionRecorded,
    PerformanceFigure,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import Money
from modelkeep.ledger import Order, stream_name
from modelkeep.viewset import ViewSet
from modelkeep_services.monitoring.domain import MONITOR

Serve = Callable[..., Served]
MODELS = ("cards", "late", "loans")
VIEW = node_id("feature_view", "bank", "weather")
DATASET = node_id("dataset", "bank", "stations", owner="wendy")
CONSUMER = node_id("consumer", "bank", "pricing")
HOURS_168 = timedelta(hours=168)


@pytest.fixture
def served(serve: Serve) -> Served:
    found = serve("monitoring", scenario=True)
    tick(found, DAY)
    for model in MODELS:
        a_model(found, model)
    lineage(found)
    return found


def nodes() -> list[NodeRecorded]:
    told = [
        (VIEW, "feature_view", "weather", None),
        (DATASET, "dataset", "stations", "wendy"),
        (CONSUMER, "consumer", "pricing", None),
    ]
    told += [(version(one), "model_version", f"{one}/v1", None) for one in MODELS]
    return [
        NodeRecorded.model_validate(
            {
                "node": node,
                "kind": kind,
                "name": name,
                "namespace": "bank",
                "owner": owner,
            }
        )
        for node, kind, name, owner in told
    ]


def version(model: str) -> str:
    return version_node(model, "v1", SHA)


def links() -> list[Linked]:
    pairs = [(DATASET, VIEW)]
    for model in MODELS:
        pairs += [(VIEW, version(model)), (version(model), CONSUMER)]
    return [
        Linked(source_node=source, target_node=target, relation="feeds")
        for source, target in pairs
    ]


def lineage(served: Served) -> None:
    """Stations → weather → every model's version → pricing."""
    for node in nodes():
        happen(served, stream_name("node", "main", node.node), node)
    for link in links():
        happen(served, stream_name("node", "main", link.target_node), link)
    served.settle()


def manifest(served: Served) -> None:
    """The same, told in one call."""
    name = "manifest:" + "b" * 64
    end = ManifestRecorded(
        manifest=name, nodes=len(nodes()), links=len(links()), roots=(DATASET,)
    )
    happen(
        served,
        stream_name("manifest", "main", "b" * 64),
        *nodes(),
        *links(),
        end,
    )
    served.settle()


def alert(
    model: str = "late",
    kind: str = "feature_drift",
    vector: str = "data_drift",
    **changes: Any,
) -> AlertRaised:
    told = {
        "model": model,
        "alert": f"alert-{model}-{kind.replace('_', '-')}",
        "version": "v1",
        "environment": "prod",
        "kind": kind,
        "vector": vector,
        "severity": "high",
        "metric": kind,
        "feature": "weather" if kind == "feature_drift" else None,
        "value": 0.5,
        "threshold": 0.25,
        "n": 500,
        "start": DAY - timedelta(days=1),
        "end": DAY,
        "owner": f"{model}-owner",
        "cause": "weather is distributed otherwise",
        "due_at": DAY + HOURS_168,
        "thresholds": "default-1",
    }
    return AlertRaised.model_validate(told | changes)


def raise_alerts(served: Served, *alerts: AlertRaised) -> None:
    for one in alerts:
        monitored(served, one.model, one)
    served.settle()


def monitored(served: Served, model: str, *events: Event) -> None:
    """Say it on a stream that the service goes on writing: its state must be known."""
    saying = replace(MONITOR, decide=HAPPENING.decide)
    now = served.node.host.clock.now()
    actor = Actor("tests", "dana", frozenset(), "main")
    context = Context(actor, now, now, str(uuid4()))
    stream = stream_name("monitor", "main", model)
    order = Order(stream, saying, Happen(events=events), context, str(uuid4()))
    served.node.ledger.execute(order)


def incidents(served: Served, **asked: Any) -> list[pb.Incident]:
    served.settle()
    request = pb.ListIncidentsRequest(**asked)
    answer = served.call(stub(served).ListIncidents, request, "risk_officer")
    return list(answer.incidents)


def alerts_of(served: Served, model: str = "late") -> list[pb.Alert]:
    served.settle()
    request = pb.ListAlertsRequest(model=model)
    return list(served.call(stub(served).ListAlerts, request, "auditor").alerts)


def refused(method: Any, served: Served, request: Any, *roles: str) -> str:
    with pytest.raises(grpc.RpcError) as error:
        served.call(method, request, *roles)
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    return str(error.value.details())


# --- incidents ---------------------------------------------------------------------


def costly(minor: int, currency: str = "USD") -> dict[str, Any]:
    money = Money(minor=minor, currency=currency)
    return {"money_per_hour": money, "money_basis": "assumption", "slo": "s"}


def test_one_bad_dataset_is_one_incident_with_owner_money_and_blast_radius(
    served: Served,
) -> None:
    raise_alerts(
        served,
        alert("late", **costly(100)),
        alert("cards", severity="critical", **costly(250)),
        alert("loans", **costly(70, "EUR")),
        # A second alert of one SLO does not cost the hour twice.
        alert("late", "performance", "concept_shift", **costly(120)),
    )
    [found] = incidents(served)
    assert (found.cause.kind, found.cause.node) == (pb.CAUSE_KIND_DATASET, DATASET)
    assert (found.cause.rule, found.owner) == ("named-input", "wendy")
    assert found.severity == common.SEVERITY_CRITICAL
    assert list(found.models) == list(MODELS)
    assert list(found.downstream_models) == list(MODELS)
    assert list(found.consumers) == ["pricing"]
    money = {one.currency: one.minor for one in found.money_per_hour}
    assert money == {"USD": 370, "EUR": 70}
    assert found.money_assumed
    assert list(found.vectors) == [
        common.RISK_VECTOR_CONCEPT_SHIFT,
        common.RISK_VECTOR_DATA_DRIFT,
    ]
    assert found.alerts == found.open_alerts == 4
    [consequence] = found.consequences
    merged = incidents(served, include_merged=True)
    assert {one.incident for one in merged} == {found.incident, consequence}
    asked = pb.GetIncidentRequest(incident=found.incident)
    shown = served.call(stub(served).GetIncident, asked, "auditor").alerts
    assert [a.consequence for a in shown].count(consequence) == 1
    assert {a.incident for a in alerts_of(served)} == {found.incident, consequence}


def test_whichever_stream_comes_first_the_incidents_are_the_same(serve: Serve) -> None:
    told = [
        alert("late"),
        alert("cards"),
        alert("late", "prediction_drift", start=DAY - timedelta(hours=30)),
    ]
    found = set()
    for order in (told, told[::-1], (told[1], told[2], told[0])):
        served = serve("monitoring", scenario=True)
        tick(served, DAY)
        for model in MODELS:
            a_model(served, model)
        lineage(served)
        raise_alerts(served, *order)
        found.add(frozenset(partition(served)))
    assert len(found) == 1


@pytest.mark.parametrize("told", ["nodes", "manifest"])
def test_lineage_told_after_the_alerts_gives_the_same_incident(
    serve: Serve, told: str
) -> None:
    served = serve("monitoring", scenario=True)
    tick(served, DAY)
    for model in MODELS:
        a_model(served, model)
    raise_alerts(served, alert("late"), alert("cards"))
    resolve = pb.ResolveAlertRequest(
        model="cards", alert=alert("cards").alert, true_alarm=True, reason="seen"
    )
    raise_alerts(served, alert("loans"))
    served.call(stub(served).ResolveAlert, resolve, "owner")
    apart = incidents(served)
    assert {one.cause.rule for one in apart} == {"own"}
    assert len(apart) == 3
    (manifest if told == "manifest" else lineage)(served)
    [found] = incidents(served, open_only=True)
    assert found.cause.node == DATASET
    assert list(found.models) == ["late", "loans"]
    request = pb.GetIncidentRequest(incident=found.incident)
    shown = served.call(stub(served).GetIncident, request, "owner").alerts
    assert {a.incident for m in ("late", "loans") for a in alerts_of(served, m)} == {
        found.incident
    }
    assert len(shown) == 2


def partition(served: Served) -> Iterable[tuple[str, str, frozenset[str]]]:
    for one in incidents(served, include_merged=True):
        asked = pb.GetIncidentRequest(incident=one.incident)
        answer = served.call(stub(served).GetIncident, asked, "auditor")
        members = frozenset(f"{a.model}/{a.alert}" for a in answer.alerts)
        yield one.incident, one.merged_into, members


def test_a_person_resolves_an_incident_with_all_its_alerts(served: Served) -> None:
    raise_alerts(served, alert("late"), alert("cards"), alert("late", "calibration"))
    [found] = incidents(served)
    acknowledge = pb.AcknowledgeIncidentRequest(incident=found.incident)
    served.call(stub(served).AcknowledgeIncident, acknowledge, "owner")
    states = [a.status for m in ("late", "cards") for a in alerts_of(served, m)]
    assert states == [pb.ALERT_STATUS_ACKNOWLEDGED] * 3
    resolve = pb.ResolveIncidentRequest(
        incident=found.incident, true_alarm=True, reason="the feed is repaired"
    )
    served.call(stub(served).ResolveIncident, resolve, "owner", subject="olga")
    assert not incidents(served, open_only=True, include_merged=True)
    for one in alerts_of(served):
        assert (one.status, one.true_alarm) == (pb.ALERT_STATUS_RESOLVED, True)
        assert one.resolved_by.subject == "olga"
    again = alert("loans", end=DAY + timedelta(days=1))
    tick(served, DAY + timedelta(days=1))
    raise_alerts(served, again)
    [reopened] = incidents(served, open_only=True)
    assert (reopened.incident, reopened.reopened) == (found.incident, 1)
    asked = pb.GetIncidentRequest(incident=found.incident)
    asked.as_of.time.FromDatetime(DAY)
    then = served.call(stub(served).GetIncident, asked, "auditor").incident
    assert (then.status, then.alerts) == (pb.ALERT_STATUS_RESOLVED, 3)


def test_an_incident_ends_with_the_last_of_its_alerts(served: Served) -> None:
    raise_alerts(served, alert("late"), alert("cards"))
    for model in ("late", "cards"):
        [found] = incidents(served)
        assert found.status == pb.ALERT_STATUS_OPEN
        resolve = pb.ResolveAlertRequest(
            model=model,
            alert=alert(model).alert,
            true_alarm=False,
            reason="a holiday",
        )
        served.call(stub(served).ResolveAlert, resolve, "owner")
        served.settle()
    [found] = incidents(served)
    assert found.status == pb.ALERT_STATUS_RESOLVED
    assert not found.HasField("resolved_by")


def test_a_consequence_outlives_its_cause_in_the_list(served: Served) -> None:
    raise_alerts(served, alert("late"), alert("late", "calibration"))
    [cause] = incidents(served, open_only=True)
    resolve = pb.ResolveAlertRequest(
        model="late", alert=alert().alert, true_alarm=True, reason="repaired"
    )
    served.call(stub(served).ResolveAlert, resolve, "owner")
    [left] = incidents(served, open_only=True)
    assert left.merged_into == cause.incident
    assert left.cause.family == "consequence"


def test_a_repeat_makes_no_incident_grow(served: Served) -> None:
    baseline(served)
    for day in range(2):
        shifted = rows(start=DAY + timedelta(days=day), shift=5.0, seed=day + 1)
        observe(served, shifted.request())
        tick(served, DAY + timedelta(days=day + 1))
        request = pb.CloseWindowRequest(model="late", version="v1")
        request.start.FromDatetime(DAY + timedelta(days=day))
        request.end.FromDatetime(DAY + timedelta(days=day + 1))
        served.call(stub(served).CloseWindow, request, "operator")
    [found] = incidents(served, model="late")
    assert (found.alerts, found.cause.rule) == (1, "only-view")
    asked = pb.GetIncidentRequest(incident=found.incident)
    [shown] = served.call(stub(served).GetIncident, asked, "auditor").alerts
    assert shown.repeats == 1


# --- escalation --------------------------------------------------------------------


def test_an_alert_nobody_acts_on_goes_up_and_is_shown_in_lists(served: Served) -> None:
    for role, subject in (("risk_officer", "rita"), ("business_owner", "bob")):
        told = RoleAssigned.model_validate(
            {"model": "late", "role": role, "subject": subject, "issuer": "tests"}
        )
        happen(served, stream_name("model", "main", "late"), told)
    raise_alerts(served, alert())
    for share, role, to in (
        (0.25, "owner", "olga"),
        (0.5, "risk_officer", "rita"),
        (1.0, "risk_officer", "rita"),
        (2.0, "business_owner", "bob"),
    ):
        tick(served, DAY + HOURS_168 * share)
        [found] = alerts_of(served)
        assert (found.escalation.role, found.escalation.to) == (role, to)
    assert found.escalation.steps == len(found.escalation.sources) == 4
    assert not found.escalation.HasField("next_at")
    tick(served, DAY + HOURS_168 * 9)
    [found] = alerts_of(served)
    assert found.escalation.steps == 4
    [incident] = incidents(served)
    assert incident.escalation_step == 4


def test_an_acknowledged_alert_goes_up_only_when_it_is_late(served: Served) -> None:
    raise_alerts(served, alert())
    acknowledge = pb.AcknowledgeAlertRequest(model="late", alert=alert().alert)
    served.call(stub(served).AcknowledgeAlert, acknowledge, "owner")
    served.settle()
    tick(served, DAY + HOURS_168 * 0.9)
    [found] = alerts_of(served)
    assert not found.HasField("escalation")
    tick(served, DAY + HOURS_168)
    [found] = alerts_of(served)
    assert (found.escalation.step, found.escalation.steps) == (3, 1)
    assert found.escalation.because == pb.WAITING_UNRESOLVED


# --- since when, and how often rightly ---------------------------------------------


def test_an_onset_is_established_and_moves_the_incidents_start(served: Served) -> None:
    raise_alerts(served, alert())
    [found] = incidents(served)
    assert found.started_at.ToDatetime(DAY.tzinfo) == DAY - timedelta(days=1)
    request = pb.EstablishOnsetRequest(
        incident=found.incident,
        reason="the vendor changed its stations",
        evidence=[found.source],
    )
    request.onset.FromDatetime(DAY - timedelta(days=5))
    served.call(stub(served).EstablishOnset, request, "validator", subject="vera")
    [found] = incidents(served)
    assert found.started_at == request.onset
    assert found.onset.basis == pb.ONSET_BASIS_PERSON
    assert found.onset.by.subject == "vera"
    late = pb.EstablishOnsetRequest(
        model="late", alert=alert().alert, reason="it must have been today"
    )
    late.onset.FromDatetime(DAY + timedelta(days=1))
    told = refused(stub(served).EstablishOnset, served, late, "owner")
    assert "before that onset" in told


def test_late_outcomes_that_show_it_earlier_move_the_onset_back(
    served: Served,
) -> None:
    raise_alerts(
        served,
        alert("late", "calibration", "concept_shift", metric="calibration_gap"),
    )
    gap = PerformanceFigure(
        metric="calibration_gap", value=0.2, lower=0.15, upper=0.25, n=500
    )
    start = DAY - timedelta(days=9)
    restated = WindowRestated(
        model="late",
        version="v1",
        environment="prod",
        window="w",
        start=start,
        end=start + timedelta(days=1),
        figures=WindowFigures(rows=500, outcomes=500, mature=True, performance=(gap,)),
        method="windows/1",
        restatement=1,
    )
    monitored(served, "late", restated)
    [found] = alerts_of(served)
    assert found.onset.onset.ToDatetime(DAY.tzinfo) == start
    assert found.onset.basis == pb.ONSET_BASIS_RESTATEMENT
    assert len(found.onset.evidence) == 1


def test_the_worst_incident_is_listed_first_and_pages_fit_together(
    served: Served,
) -> None:
    raise_alerts(
        served,
        alert("late", "latency", "operational_regression", severity="medium"),
        alert("cards", "reason_codes", "governance_lapse", severity="critical"),
        alert("loans", "latency", "operational_regression", severity="high"),
    )
    request = pb.ListIncidentsRequest(page=common.Page(size=2))
    first = served.call(stub(served).ListIncidents, request, "owner")
    request.page.token = first.next_token
    second = served.call(stub(served).ListIncidents, request, "owner")
    listed = [one.models[0] for one in (*first.incidents, *second.incidents)]
    assert listed == ["cards", "loans", "late"]
    assert not second.next_token


def test_precision_is_told_by_rule_and_quarter(served: Served) -> None:
    raise_alerts(served, alert("late"), alert("cards"))
    for model, true_alarm in (("late", True), ("cards", False)):
        resolve = pb.ResolveAlertRequest(
            model=model,
            alert=alert(model).alert,
            true_alarm=true_alarm,
            reason="looked at it",
        )
        served.call(stub(served).ResolveAlert, resolve, "owner")
    tick(served, DAY + timedelta(days=100))
    raise_alerts(served, alert("loans"))
    request = pb.GetAlertPrecisionRequest(by_quarter=True)
    told = served.call(stub(served).GetAlertPrecision, request, "auditor").rules
    assert [(one.quarter, one.raised, one.unresolved) for one in told] == [
        ("2026Q1", 2, 0),
        ("2026Q2", 1, 1),
    ]
    assert told[0].precision == 0.5
    assert not told[1].HasField("precision")


# --- overrides and autonomy --------------------------------------------------------


def dispose(
    served: Served, at: datetime, counts: dict[str, int], model: str = "late"
) -> None:
    """So many dispositions at one moment of the scenario."""
    tick(served, at)
    told = [
        DispositionRecorded.model_validate(
            {
                "model": model,
                "decision": str(UUID(int=int(at.timestamp()) << 32 | n)),
                "disposition": word,
                "reason": "a storm is coming" if word == "overridden" else "agreed",
                "by": DANA,
            }
        )
        for n, word in enumerate(w for w, count in counts.items() for _ in range(count))
    ]
    monitored(served, model, *told)
    served.settle()


def test_a_drift_of_overrides_is_an_alert_once_a_month(served: Served) -> None:
    dispose(served, DAY + timedelta(hours=1), {"accepted": 380, "overridden": 20})
    recent = DAY + timedelta(days=40)
    dispose(served, recent, {"accepted": 120, "overridden": 80})
    for day in (1, 2):
        dispose(served, recent + timedelta(days=day), {"accepted": 1})
    [found] = [a for a in alerts_of(served) if a.kind == pb.ALERT_KIND_OVERRIDE_DRIFT]
    assert (found.value, found.baseline, found.n) == (0.4, 0.05, 200)
    assert "the rate rose" in found.cause
    assert found.owner == "olga"
    request = pb.GetOverrideRateRequest(model="late")
    request.start.FromDatetime(recent)
    told = served.call(stub(served).GetOverrideRate, request, "risk_officer")
    assert told.finding == pb.OVERRIDE_FINDING_ROSE
    assert (told.reference_n, told.reference_rate) == (400, 0.05)
    assert told.change_lower > 0.02
    assert [(r.reason, r.count) for r in told.reasons] == [("a storm is coming", 80)]


def test_reviewers_who_never_disagree_are_an_alert(served: Served) -> None:
    dispose(served, DAY + timedelta(hours=1), {"accepted": 500})
    assert not alerts_of(served)
    dispose(served, DAY + timedelta(days=1), {"accepted": 1})
    [found] = alerts_of(served)
    assert found.kind == pb.ALERT_KIND_RUBBER_STAMPING
    assert found.vector == common.RISK_VECTOR_GOVERNANCE_LAPSE


def decided(served: Served, count: int, model: str = "late") -> None:
    """So many decisions in the log, whatever they were."""
    batch = str(uuid4())
    told = BatchRecorded.model_validate(
        {
            "model": model,
            "version": "v1",
            "environment": "prod",
            "batch": batch,
            "sent": [],
            "rows": count,
            "root": SHA,
            "row_schema": SHA,
            "address": "a",
            "file_digest": SHA,
            "file_bytes": 1,
            "first_id": batch,
            "last_id": batch,
            "first_at": DAY,
            "last_at": DAY,
        }
    )
    happen(served, stream_name("decisions", "main", model), told)


def classify(served: Served, tier: int, model: str = "late") -> None:
    told = ModelClassified(
        model=model,
        tier=tier,
        derived_tier=tier,
        source="derived",
        drivers=Drivers(
            use="desk",
            exposure_share=0.01,
            exposure=2,
            purpose=2,
            harm=2,
            materiality=2,
            method=2,
            input_uncertainty=2,
            opacity=2,
            autonomy=2,
            complexity=2,
        ),
        rubric="r",
        rubric_digest=SHA,
        by=DANA,
    )
    happen(served, stream_name("model", "main", model), told)


DOCUMENT = Document(version="budget-v1", digest=SHA)


def budget(served: Served, model: str = "late") -> None:
    told = BudgetDefined(
        model=model,
        budget="wrong",
        kind="degradation",
        metric="wrong",
        p0=0.01,
        p1=0.02,
        expected_events=10_000,
        period="month",
        period_end=DAY + timedelta(days=26),
        document=DOCUMENT,
    )
    happen(served, stream_name("insight", "main", model), told)


def exhaust(served: Served, model: str = "late") -> None:
    told = BudgetExhausted(
        model=model,
        budget="wrong",
        period_start=DAY,
        period_end=DAY + timedelta(days=26),
        spent=1.2,
        spent_low=1.0,
        hard_stop="human",
        document=DOCUMENT,
        source=str(UUID(int=5)),
    )
    happen(served, stream_name("insight", "main", model), told)
    served.settle()


def level(served: Served) -> pb.Autonomy:
    served.settle()
    request = pb.ListAutonomyRequest(model="late")
    [found] = served.call(stub(served).ListAutonomy, request, "auditor").autonomy
    return found  # type: ignore[no-any-return]  # a stub's answer


def proposal(name: str, use: str = "") -> pb.ProposeAutonomyRequest:
    wanted = pb.AutonomyLevel.Value(f"AUTONOMY_LEVEL_{name.upper()}")
    return pb.ProposeAutonomyRequest(
        model="late", use=use, level=wanted, reason="it earned it"
    )


def test_autonomy_is_raised_by_evidence_and_lowered_when_budget_burns(
    served: Served,
) -> None:
    propose = stub(served).ProposeAutonomy
    told = refused(propose, served, proposal("advise"), "owner")
    assert "0 of 500 decisions" in told
    decided(served, 20_000)
    classify(served, 3)
    budget(served)
    dispose(served, DAY + timedelta(hours=2), {"accepted": 1_180, "overridden": 20})
    for name in ("advise", "confirm", "act"):
        answer = served.call(propose, proposal(name), "owner")
        assert answer.autonomy.level == proposal(name).level
    assert answer.autonomy.evidence.dispositions == 1_200
    exhaust(served)
    found = level(served)
    assert (found.level, found.because) == (
        pb.AUTONOMY_LEVEL_ADVISE,
        "budget_exhausted",
    )
    told = refused(propose, served, proposal("confirm"), "owner")
    assert "no budget left in wrong" in told


def test_a_tier_1_model_passes_a_human(served: Served) -> None:
    decided(served, 1_000)
    classify(served, 1)
    answer = served.call(
        stub(served).ProposeAutonomy, proposal("advise", "desk"), "owner"
    )
    waiting = answer.autonomy
    assert (waiting.level, waiting.proposed_level) == (
        pb.AUTONOMY_LEVEL_UNSPECIFIED + 1,
        pb.AUTONOMY_LEVEL_ADVISE,
    )
    approve = pb.ApproveAutonomyRequest(
        model="late", use="desk", proposal=waiting.proposal
    )
    served.call(stub(served).ApproveAutonomy, approve, "risk_officer")
    assert level(served).level == pb.AUTONOMY_LEVEL_ADVISE
    lower = pb.LowerAutonomyRequest(
        model="late", use="desk", level=pb.AUTONOMY_LEVEL_SHADOW, reason="an audit"
    )
    served.call(stub(served).LowerAutonomy, lower, "validator")
    assert level(served).because == "person"
    told = refused(
        stub(served).ProposeAutonomy, served, proposal("advise", "marketing"), "owner"
    )
    assert "not an approved use" in told


def test_a_replay_gives_the_same_views(served: Served, tmp_path: Path) -> None:
    raise_alerts(served, alert("late"), alert("cards"), alert("late", "calibration"))
    tick(served, DAY + HOURS_168)
    decided(served, 1_000)
    classify(served, 1)
    served.call(stub(served).ProposeAutonomy, proposal("advise"), "owner")
    [found] = incidents(served)
    resolve = pb.ResolveIncidentRequest(
        incident=found.incident, true_alarm=True, reason="repaired"
    )
    served.call(stub(served).ResolveIncident, resolve, "owner")
    exhaust(served)
    views = served.node.running["monitoring"]
    with ViewSet(
        "again", views.service.views, served.store, tmp_path / "again.db"
    ) as again:
        again.catch_up()
        assert again.digests() == views.views.digests()
