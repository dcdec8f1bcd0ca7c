"""Facts come from what others said, with their events; what is stated says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from tests.unit.judged import DIGEST, OTHER

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.decider import Command, Context, decider
from modelkeep.errors import NotFound, Refused
from modelkeep.events import inventory as says
from modelkeep.events.attention import AutonomyLowered, AutonomyRaised
from modelkeep.events.base import Event
from modelkeep.events.insight import (
    BudgetDefined,
    BudgetExhausted,
    BudgetSlowed,
    Document,
)
from modelkeep.events.lineage import CompletenessAssessed
from modelkeep.events.monitoring import (
    AlertRaised,
    ContractRegistered,
    FeatureFigure,
    PerformanceFigure,
    WindowClosed,
    WindowFigures,
)
from modelkeep.events.types import Person
from modelkeep.ledger import Ledger, Order
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing.deciding import actor
from modelkeep.views import AnyView
from modelkeep.viewset import ViewSet
from modelkeep_services.policy import evidence, seen, views
from modelkeep_services.policy.domain.request import (
    Evaluate,
    StatedEvidence,
    StatedRetraining,
)
from modelkeep_services.policy.domain.request import FeatureFigure as Stated

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
EVE = actor("eve", "engineer")
SOURCE = str(uuid4())
DOCUMENT = Document(version="budgets-1", digest=DIGEST)


class Say(Command):
    """Carries nothing: the events are the decider's."""


class World:
    """A ledger of other services' events, and policy's views of it."""

    def __init__(self, ledger: Ledger, seen_by: ViewSet) -> None:
        self.ledger, self.views = ledger, seen_by

    def say(self, *events: Event, at: datetime = NOW) -> None:
        who = actor("world", "owner")
        order = Order(
            f"model-main.{uuid4()}",
            decider(None, lambda _, __, ___: events, lambda _, __: None),
            Say(),
            Context(who, at, at, str(uuid4())),
            "world",
        )
        self.ledger.execute(order)

    def gathered(self, ask: Evaluate) -> evidence.Gathered:
        self.views.catch_up()
        with self.views.reader("main") as read:
            return evidence.gather(ask, EVE, NOW, read)

    def facts(self, ask: Evaluate) -> Facts:
        return self.gathered(ask).facts(())


@contextmanager
def living(folder: Path) -> Iterator[World]:
    rows: list[AnyView] = [*views.VIEWS, *seen.VIEWS]
    with (
        SqliteStore(folder / "ledger.db") as store,
        Ledger(store) as ledger,
        ViewSet("policy", rows, store, folder / "views.db") as seen_by,
    ):
        yield World(ledger, seen_by)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with living(tmp_path) as made:
        made.say(
            says.ModelRegistered(
                model="credit",
                title="Who pays back",
                kind="trained",
                purpose="to lend",
                owner="olga",
                owner_issuer="tests",
                approved_uses=("lending",),
            ),
            version("v1", DIGEST),
        )
        yield made


def version(name: str, digest: str, features: int | None = 2) -> Event:
    return says.VersionRegistered(
        model="credit",
        version=name,
        digest=digest,
        artifacts=(says.Artifact(name="m", digest=digest, media_type="o", size=1),),
        feature_count=features,
        registered_by=Person(issuer="tests", subject="reg"),
    )


def validation(outcome: str = "approved", **more: object) -> Event:
    return says.ValidationRecorded.model_validate(
        {
            "model": "credit",
            "version": "v1",
            "digest": DIGEST,
            "outcome": outcome,
            "validator": Person(issuer="tests", subject="val"),
            **more,
        }
    )


def window(
    name: str, day: int, auc: float | None, psi: float = 0.01, environment: str = "prod"
) -> Event:
    performance = PerformanceFigure(metric="auc", value=auc or 0.0, n=500)
    start = datetime(2026, 3, day, tzinfo=UTC)
    return WindowClosed(
        model="credit",
        version=name,
        environment=environment,
        window=f"{name}-{day}",
        start=start,
        end=start + timedelta(days=1),
        figures=WindowFigures(
            rows=500,
            features=(
                FeatureFigure(feature="income", psi=psi, n=500),
                FeatureFigure(feature="age", psi=0.0, n=500),
            ),
            mature=auc is not None,
            performance=(performance,) if auc is not None else (),
            explanation_coverage=0.97,
            breaches={"income.null_rate": 3},
        ),
        method="windows 1",
    )


def ask(**more: object) -> Evaluate:
    said = {"action": "promote", "model": "credit", "version": "v1", **more}
    return Evaluate.model_validate({"environment": "prod", "use": "lending", **said})


def test_an_unknown_model_or_version_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.gathered(ask(model="churn"))
    with pytest.raises(NotFound):
        world.gathered(ask(version="v9"))
    with pytest.raises(NotFound):
        world.gathered(ask(target_version="v9"))


def test_a_digest_that_is_not_the_versions_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="is sha256:a"):
        world.gathered(ask(digest=OTHER))


def test_what_nobody_said_is_absent_and_not_zero(world: World) -> None:
    facts = world.facts(ask())
    assert not facts.model.HasField("tier")
    assert not facts.evidence.HasField("performance")
    assert not facts.evidence.HasField("psi_max")
    assert not facts.evidence.HasField("lineage_complete")
    assert not facts.evidence.HasField("validated_at")
    assert not facts.HasField("budget")
    assert facts.version.card_present.value is False
    assert facts.evidence.open_findings.HasField("critical")


def test_every_fact_cites_the_event_behind_it(world: World) -> None:
    known = world.gathered(ask())
    assert len(evidence.cited(known)) == 2  # the registration and the version


def test_the_people_of_a_model_are_parties(world: World) -> None:
    world.say(
        says.RoleAssigned(
            model="credit", role="engineer", subject="dev", issuer="tests"
        ),
        says.RoleAssigned(model="credit", role="owner", subject="otto", issuer="tests"),
        says.RoleVacated(model="credit", role="owner", subject="olga", issuer="tests"),
    )
    known = world.gathered(ask())
    said = {one.person.subject: one.why for one in evidence.parties(known)}
    assert said == {
        "eve": "the requester",
        "reg": "who registered the version",
        "dev": "a developer",
        "otto": "the owner",
    }
    assert known.facts(()).model.owner.subject.value == "otto"


def test_a_validators_figures_come_before_all_others(world: World) -> None:
    world.say(
        validation(metrics={"auc": 0.78, "sample_size": 900}), window("v1", 2, 0.6)
    )
    known = world.gathered(ask(evidence=StatedEvidence(performance=0.99)))
    facts = known.facts(())
    assert facts.evidence.performance.value == 0.78
    assert facts.evidence.sample_size.value == 900
    assert "evidence.performance" not in {one.fact for one in known.stated}


def test_live_windows_come_before_what_is_stated(world: World) -> None:
    world.say(window("v1", 2, 0.61), window("v1", 3, None, psi=0.3))
    facts = world.facts(ask(evidence=StatedEvidence(performance=0.99)))
    assert facts.evidence.performance.value == 0.61  # the last that was mature
    assert facts.evidence.psi_max.value == 0.3
    assert facts.evidence.contract_breaches.value == 3
    assert facts.evidence.explained_share.value == 0.97


def test_what_only_the_requester_knows_is_marked_with_its_sources(world: World) -> None:
    said = StatedEvidence(
        performance=0.7,
        champion_performance=0.71,
        features=(Stated(name="income", psi=0.05), Stated(name="age", psi=0.02)),
        sources=(SOURCE,),
    )
    known = world.gathered(ask(evidence=said))
    facts = known.facts(())
    assert facts.evidence.performance.value == 0.7
    assert facts.evidence.champion_performance.value == 0.71
    assert facts.evidence.psi_max.value == 0.05
    marked = {one.fact: one.sources for one in known.stated}
    assert marked["evidence.champion_performance"] == (SOURCE,)
    assert SOURCE in evidence.cited(known)


def test_one_feature_that_was_not_measured_leaves_the_worst_unknown(
    world: World,
) -> None:
    said = StatedEvidence(
        features=(Stated(name="income", psi=0.05), Stated(name="age"))
    )
    facts = world.facts(ask(evidence=said))
    assert not facts.evidence.HasField("psi_max")
    assert len(facts.evidence.features) == 2


def test_the_champion_is_who_else_serves_there(world: World) -> None:
    assert world.facts(ask()).evidence.has_champion.value is False
    world.say(
        version("v0", OTHER),
        says.Deployed(
            model="credit",
            version="v0",
            digest=OTHER,
            environment="prod",
            share=1.0,
            verdict_source=SOURCE,
            by=EVE.person,
        ),
        window("v0", 4, 0.72),
    )
    facts = world.facts(ask())
    assert facts.evidence.has_champion.value is True
    assert facts.evidence.champion_performance.value == 0.72
    assert facts.deployment.current_digest.value == OTHER
    assert facts.deployment.current_traffic_share.value == 0.0
    assert world.facts(ask(environment="dev")).evidence.has_champion.value is False


def test_a_material_change_undoes_a_validation(world: World) -> None:
    world.say(validation())
    assert world.facts(ask()).evidence.validation_outcome.value == "passed"
    world.say(
        says.ChangeClassified(
            model="credit",
            change="c1",
            version="v1",
            digest=DIGEST,
            kinds=("data",),
            material=True,
            rationale="another bureau",
            by=EVE.person,
        )
    )
    facts = world.facts(ask())
    assert not facts.evidence.HasField("validation_outcome")
    assert facts.version.material_change.value is True


def test_a_conditional_validation_ends(world: World) -> None:
    soon = NOW + timedelta(days=2)
    world.say(validation("conditional", valid_until=soon))
    known = world.gathered(ask())
    assert known.expires_at == soon
    world.say(validation("conditional", valid_until=NOW))
    assert not world.facts(ask()).evidence.HasField("validation_outcome")


def test_an_accepted_finding_does_not_count_until_its_acceptance_ends(
    world: World,
) -> None:
    finding = says.FindingRaised(
        model="credit",
        finding="f1",
        title="It leaks",
        severity="high",
        vector="data_drift",
        owner="olga",
        due_at=NOW,
        raised_by=EVE.person,
    )
    world.say(finding)
    assert world.facts(ask()).evidence.open_findings.high.value == 1
    accepted = says.RiskAccepted(
        model="credit",
        subject="f1",
        until=NOW + timedelta(days=1),
        awaits=NOW + timedelta(days=1),
        reason="it is fixed next week",
        accepted_by=EVE.person,
    )
    world.say(accepted)
    assert world.facts(ask()).evidence.open_findings.high.value == 0
    world.say(accepted.model_copy(update={"until": NOW}))
    assert world.facts(ask()).evidence.open_findings.high.value == 1


def test_lineage_of_another_digest_is_not_this_versions(world: World) -> None:
    traced = CompletenessAssessed(
        node="model_version:" + "c" * 64,
        model="credit",
        version="v1",
        digest=OTHER,
        standard="lineage-1",
        share=1.0,
        present=(),
        missing=(),
    )
    world.say(traced)
    assert not world.facts(ask()).evidence.HasField("lineage_complete")
    world.say(traced.model_copy(update={"digest": DIGEST}))
    assert world.facts(ask()).evidence.lineage_complete.value == 1.0


def test_a_period_that_ends_on_a_months_last_day_is_followed_by_the_next(
    world: World,
) -> None:
    world.say(
        BudgetDefined(
            model="credit",
            budget="errors",
            kind="degradation",
            metric="false_positive_rate",
            p0=0.1,
            p1=0.2,
            expected_events=1000,
            period="month",
            period_end=datetime(2025, 12, 31, tzinfo=UTC),
            document=DOCUMENT,
        )
    )
    # NOW lies between 28 February and 31 March: a month's end, and not its 28th.
    assert world.facts(ask()).budget.elapsed.value == pytest.approx(15.5 / 31, abs=1e-4)


def test_the_worst_budget_speaks_and_exhaustion_lasts_its_period(world: World) -> None:
    for name in ("errors", "latency"):
        world.say(
            BudgetDefined(
                model="credit",
                budget=name,
                kind="degradation",
                metric="false_positive_rate",
                p0=0.1,
                p1=0.2,
                expected_events=1000,
                period="month",
                period_end=datetime(2026, 2, 1, tzinfo=UTC),
                document=DOCUMENT,
            )
        )
    facts = world.facts(ask())
    assert facts.budget.spent_lower.value == 0.0
    assert facts.budget.elapsed.value == pytest.approx(14.5 / 31, abs=1e-4)
    assert facts.budget.exhausted.value is False
    period = {
        "model": "credit",
        "period_start": datetime(2026, 3, 1, tzinfo=UTC),
        "period_end": datetime(2026, 4, 1, tzinfo=UTC),
        "document": DOCUMENT,
        "source": SOURCE,
    }
    slowed = {**period, "budget": "errors", "spent": 0.9, "spent_low": 0.8}
    world.say(BudgetSlowed.model_validate({**slowed, "elapsed": 0.45}))
    assert world.facts(ask()).budget.spent_lower.value == 0.8
    world.say(BudgetExhausted.model_validate({**slowed, "hard_stop": "human"}))
    facts = world.facts(ask(remedies_cause=True))
    assert facts.budget.exhausted.value is True
    assert facts.budget.remedies_cause.value is True


def test_retraining_is_counted_over_thirty_days(world: World) -> None:
    old = NOW - timedelta(days=31)
    world.say(version("v2", OTHER), at=old)
    facts = world.facts(
        ask(action="retrain", retraining=StatedRetraining(challenger_performance=0.7))
    )
    assert facts.retraining.runs_30d.value == 1
    assert facts.retraining.challenger_performance.value == 0.7
    assert not facts.retraining.HasField("unattended")


def test_open_alerts_are_figures(world: World) -> None:
    world.say(
        AlertRaised(
            model="credit",
            alert="a1",
            kind="performance",
            vector="concept_shift",
            severity="critical",
            metric="auc",
            value=0.6,
            threshold=0.7,
            n=500,
            cause="it lost to the champion",
            due_at=NOW,
            thresholds="default-1",
        )
    )
    metrics = world.facts(ask()).evidence.metrics
    assert metrics["open_alerts"] == 1.0
    assert metrics["open_alerts_critical"] == 1.0
    assert metrics["open_alerts_high"] == 0.0


def counted(day: int, **figures: object) -> Event:
    start = datetime(2026, 3, day, tzinfo=UTC)
    return WindowClosed(
        model="credit",
        version="v1",
        environment="prod",
        window=f"counted-{day}",
        start=start,
        end=start + timedelta(days=1),
        figures=WindowFigures.model_validate({"rows": 900, **figures}),
        method="windows 1",
    )


def group(name: str, judgement: str | None, ratio: float | None) -> dict[str, object]:
    gap = {"n": 300, "reference_n": 300, "value": ratio, "judgement": judgement}
    return {"group": name, "n": 300, "favoured": 100, "impact": gap}


def test_a_window_counts_what_law_asks_for(world: World) -> None:
    world.say(
        counted(
            10,
            reason_codes_owed=40,
            reason_codes_missing=1,
            out_of_bounds=2,
            unapproved_use={"lending": 1, "hiring": 3},
            undeployed=5,
            explanation_ms={"p50": 1.0, "p95": 80.0, "p99": 90.0, "n": 900},
        )
    )
    found = world.facts(ask()).evidence
    assert found.decisions.value == 900
    assert (found.reason_codes_owed.value, found.reason_codes_missing.value) == (40, 1)
    assert found.out_of_bounds.value == 2
    assert found.unapproved_use.value == 4
    assert found.undeployed.value == 5
    assert found.explanation_p95_ms.value == 80.0


def test_the_worst_of_the_groups_speaks_for_all(world: World) -> None:
    groups = [
        {"group": "men", "n": 300, "favoured": 200},
        group("women", "breached", 0.7),
        group("others", "unsure", 0.9),
    ]
    column = {"column": "sex", "reference": "men", "favourable": "no"}
    world.say(counted(10, fairness=({**column, "groups": groups},)))
    found = world.facts(ask()).evidence
    assert found.groups_compared.value == 2
    assert found.groups_breached.value == 1
    assert found.groups_unsure.value == 1
    assert found.impact_ratio_min.value == 0.7


def test_a_group_with_too_few_people_leaves_the_worst_unknown(world: World) -> None:
    column = {"column": "sex", "reference": "men", "favourable": "no"}
    groups = [group("women", "holds", 0.9), group("others", "unsure", None)]
    world.say(counted(10, fairness=({**column, "groups": groups},)))
    assert not world.facts(ask()).evidence.HasField("impact_ratio_min")


def test_without_groups_nothing_is_said_of_fairness(world: World) -> None:
    world.say(counted(10))
    found = world.facts(ask()).evidence
    assert not found.HasField("groups_compared")
    assert not found.HasField("impact_ratio_min")


def test_the_next_review_is_the_earliest_that_is_open(world: World) -> None:
    assert not world.facts(ask()).model.HasField("review_due_at")
    for name, day in (("periodic-1", 20), ("event-1", 18), ("event-2", 17)):
        due = datetime(2026, 3, day, tzinfo=UTC)
        world.say(
            says.ReviewScheduled(model="credit", review=name, kind="event", due_at=due)
        )
    done = {"model": "credit", "kind": "event", "due_at": NOW}
    by = Person(issuer="tests", subject="val")
    world.say(
        says.ReviewCompleted(
            review="event-1", outcome="satisfactory", notes="read", by=by, **done
        ),
        says.ReviewCancelled(review="event-2", reason="twice", **done),
    )
    assert world.facts(ask()).model.review_due_at.ToDatetime().day == 20


def test_autonomy_is_of_the_use_asked_for_and_begins_in_the_shadow(
    world: World,
) -> None:
    assert world.facts(ask()).model.autonomy.value == 0
    assert not world.facts(ask(use=None)).model.HasField("autonomy")
    by = Person(issuer="tests", subject="val")
    step = {"model": "credit", "by": by}
    world.say(
        AutonomyRaised(
            use="lending", proposal="p", from_level="confirm", to_level="act", **step
        )
    )
    assert world.facts(ask()).model.autonomy.value == 3
    assert world.facts(ask(use="hiring")).model.autonomy.value == 0
    world.say(
        AutonomyLowered(
            use="lending",
            from_level="act",
            to_level="confirm",
            because="person",
            reason="too fast",
            **step,
        )
    )
    assert world.facts(ask()).model.autonomy.value == 1


def sla(name: str, kind: str, **terms: object) -> Event:
    by = Person(issuer="tests", subject="olga")
    return says.SlaAccepted.model_validate(
        {
            "model": "credit",
            "sla": name,
            "kind": kind,
            "terms": {"coverage": 0.9, **terms},
            "proposed_by": by,
            "accepted_by": by,
        }
    )


def test_the_strictest_promise_binds(world: World) -> None:
    assert not world.facts(ask()).promises.ListFields()
    world.say(
        sla("bank", "explainability", explanation_p95_ms=300.0),
        sla("law", "explainability", coverage=0.99, reason_codes=True),
        sla("exam", "audit", response_hours=72),
        sla("board", "audit", response_hours=48),
    )
    found = world.facts(ask()).promises
    assert found.explained_share.value == 0.99
    assert found.explanation_p95_ms.value == 300.0
    assert found.reason_codes.value
    assert found.audit_response_hours.value == 48


def test_data_is_kept_out_when_every_contract_keeps_it_out(world: World) -> None:
    found = world.facts(ask()).evidence
    assert not found.contract_registered.value
    assert found.HasField("contract_registered")
    assert not found.HasField("contract_quarantines")
    for name, on_breach in (("a", "quarantine"), ("b", "mark")):
        world.say(
            ContractRegistered.model_validate(
                {
                    "model": "credit",
                    "contract": name,
                    "columns": (),
                    "on_breach": on_breach,
                }
            )
        )
        found = world.facts(ask()).evidence
        assert found.contract_registered.value
        assert found.contract_quarantines.value is (on_breach == "quarantine")


def test_what_a_validator_recorded_is_told_from_what_is_stated(world: World) -> None:
    world.say(validation(metrics={"recall": 0.9}))
    stated = StatedEvidence(metrics={"exit_plan": 1.0})
    found = world.facts(ask(evidence=stated)).evidence
    assert dict(found.validated) == {"recall": 0.9}
    assert found.metrics["exit_plan"] == 1.0


def test_a_finding_past_its_date_is_overdue(world: World) -> None:
    by = Person(issuer="tests", subject="val")
    for name, day in (("late", 10), ("early", 20)):
        world.say(
            says.FindingRaised(
                model="credit",
                finding=name,
                title="a gap",
                severity="low",
                vector="governance_lapse",
                owner="olga",
                due_at=datetime(2026, 3, day, tzinfo=UTC),
                raised_by=by,
            )
        )
    assert world.facts(ask()).evidence.findings_overdue.value == 1


def test_who_overrides_without_reason_shows(world: World) -> None:
    assert world.facts(ask()).evidence.oversight_alerts.value == 0
    for name, kind in (("a1", "performance"), ("a2", "rubber_stamping")):
        world.say(
            AlertRaised(
                model="credit",
                alert=name,
                kind=kind,
                vector="governance_lapse",
                severity="high",
                metric="override_rate",
                value=0.0,
                threshold=0.01,
                n=500,
                cause="nobody is ever overruled",
                due_at=NOW,
                thresholds="default-1",
            )
        )
    assert world.facts(ask()).evidence.oversight_alerts.value == 1


def test_a_vendor_has_a_product(world: World) -> None:
    world.say(
        says.ModelRegistered(
            model="bought",
            title="Bought",
            kind="vendor",
            purpose="to score",
            owner="olga",
            owner_issuer="tests",
            vendor=says.Vendor(name="Acme", product="Scores 3"),
        )
    )
    found = world.facts(ask(model="bought", version=None)).model
    assert (found.vendor.value, found.product.value) == ("Acme", "Scores 3")


def test_a_rebuild_gives_the_same_rows(world: World) -> None:
    world.say(validation(), window("v1", 2, 0.61), window("v1", 3, None))
    world.views.catch_up()
    before = world.views.digests()
    world.views.rebuild()
    assert world.views.digests() == before
