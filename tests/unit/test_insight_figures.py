"""Health, spending, KPIs, the queue and the funnel from events that others wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest

from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.events.alarm_watch import WatchStepped
from modelkeep.events.attention import (
    AlertEscalated,
    AutonomyLowered,
    AutonomyRaised,
    IncidentGrew,
    IncidentOpened,
    OnsetEstablished,
)
from modelkeep.events.base import Event
from modelkeep.events.debt import Cured, Entry, Incurred
from modelkeep.events.insight import BudgetDefined, Document
from modelkeep.events.inventory import (
    AppetiteSet,
    Artifact,
    CardAttached,
    Deployed,
    Drivers,
    FindingClosed,
    FindingRaised,
    ModelClassified,
    ModelRegistered,
    RoleAssigned,
    SloDefined,
    VerdictReceived,
    VerdictRevoked,
    VersionRegistered,
    version_digest,
)
from modelkeep.events.lineage import CompletenessAssessed
from modelkeep.events.monitoring import (
    AlertRaised,
    AlertResolved,
    BatchRecorded,
    EstimatedPerformance,
    FeatureFigure,
    LatencyFigure,
    MonitorConfigured,
    PerformanceFigure,
    Reading,
    SlotCounted,
    SlotCounts,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.policy import Approved, RuleSaid, VerdictGiven, VerdictSettled
from modelkeep.events.types import Money, Person
from modelkeep.ledger import Ledger, Order, stream_name
from modelkeep.stats.health import Mark
from modelkeep.store.sqlite import SqliteStore
from modelkeep.views import Reader
from modelkeep.viewset import ViewSet
from modelkeep_services.insight.funnel import funnel
from modelkeep_services.insight.health import health_of
from modelkeep_services.insight.kpis import Kpi, kpis
from modelkeep_services.insight.page_data import board
from modelkeep_services.insight.remediation import remediations
from modelkeep_services.insight.scorecard import scorecard
from modelkeep_services.insight.spending import Spending, spending_of
from modelkeep_services.insight.views import VIEWS, crossings, inventory
from modelkeep_services.insight.views.evidence import evidence

PERSON = Person(issuer="tests", subject="vera")
ARTIFACT = Artifact(name="m.onnx", digest="sha256:" + "1" * 64, media_type="x", size=9)
DIGEST = version_digest([ARTIFACT])
ANY = "sha256:" + "2" * 64
UUID_0 = str(UUID(int=0))
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass
class World:
    """A ledger in which any service may have said anything, and insight's views."""

    store: SqliteStore
    ledger: Ledger
    views: ViewSet
    said: Counter[str] = field(default_factory=Counter)

    def say(self, stream: str, *events: Event, at: datetime = MONDAY) -> list[str]:
        """Append events as their service would; return their ids."""
        self.said[stream] += 1
        # the same words on the same stream have the same ids, whatever others said
        command_id = str(uuid5(NAMESPACE_OID, f"{stream}/{self.said[stream]}"))
        silent = decider(None, lambda _, __, ___: list(events), lambda _, __: None)
        context = Context(
            Actor("tests", "someone", frozenset(), "main"),
            at,
            at,
            command_id,
        )
        category, _, key = stream.partition(" ")
        name = stream_name(category, "main", key)
        # each call decides for itself: no fold is shared between deciders
        self.ledger._folds.clear()
        done = self.ledger.execute(Order(name, silent, Command(), context, command_id))
        self.views.catch_up()
        last = self.store.read_stream(name, after=done.revision - len(events))
        return [str(recorded.uuid) for recorded in last]

    def read(self) -> Reader:
        return self._stack.enter_context(self.views.reader("main"))

    _stack: ExitStack = field(default_factory=ExitStack)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        SqliteStore(tmp_path / "ledger.db") as store,
        Ledger(store) as ledger,
        ViewSet("insight", VIEWS, store, tmp_path / "insight.db") as views,
        ExitStack() as stack,
    ):
        yield World(store, ledger, views, _stack=stack)


def registered(model: str = "credit", **changed: object) -> ModelRegistered:
    said = {
        "model": model,
        "title": f"The {model} model",
        "kind": "trained",
        "purpose": "decides",
        "owner": "olga",
        "owner_issuer": "tests",
        "business_line": "lending",
    }
    return ModelRegistered.model_validate(said | changed)


def classified(model: str = "credit", tier: int = 1) -> ModelClassified:
    return ModelClassified(
        model=model,
        tier=tier,
        derived_tier=tier,
        source="derived",
        drivers=Drivers(
            use="loans",
            exposure_share=0.1,
            exposure=4,
            purpose=4,
            harm=4,
            materiality=4,
            method=2,
            input_uncertainty=2,
            opacity=2,
            autonomy=2,
            complexity=2,
        ),
        rubric="r-1",
        rubric_digest=ANY,
        by=PERSON,
    )


def approved(world: World, model: str = "credit", at: datetime = MONDAY) -> str:
    """Register a version and let policy allow it; return the verdict's id."""
    world.say(
        f"model {model}",
        registered(model),
        classified(model),
        VersionRegistered(
            model=model,
            version="v1",
            digest=DIGEST,
            artifacts=(ARTIFACT,),
            registered_by=PERSON,
        ),
        at=at,
    )
    (settled,) = world.say(
        f"request {model}-1",
        settled_for(model),
        at=at,
    )[-1:]
    world.say(f"model {model}", received(model, settled), at=at)
    return settled


def settled_for(model: str) -> VerdictSettled:
    return VerdictSettled(
        request=f"{model}-1",
        action="deploy",
        model=model,
        version="v1",
        digest=DIGEST,
        environment="prod",
        verdict="allow",
        bundle=ANY,
        facts_digest=ANY,
        requested_by=PERSON,
    )


def received(model: str, source: str, **changed: object) -> VerdictReceived:
    said = {
        "model": model,
        "version": "v1",
        "digest": DIGEST,
        "action": "deploy",
        "environment": "prod",
        "verdict": "allow",
        "request": f"{model}-1",
        "source": source,
    }
    return VerdictReceived.model_validate(said | changed)


def live(world: World, model: str = "credit", at: datetime = MONDAY) -> str:
    source = approved(world, model, at)
    world.say(f"model {model}", deployed(model, source), at=at)
    return source


def deployed(model: str, source: str) -> Deployed:
    return Deployed(
        model=model,
        version="v1",
        digest=DIGEST,
        environment="prod",
        share=1.0,
        verdict_source=source,
        by=PERSON,
    )


def closed(
    figures: dict[str, Any],
    start: datetime = MONDAY,
    model: str = "credit",
    length: timedelta = DAY,
) -> WindowClosed:
    return WindowClosed(
        model=model,
        version="v1",
        environment="prod",
        window=f"w-{start:%Y%m%d%H}",
        start=start,
        end=start + length,
        figures=WindowFigures.model_validate({"rows": 1_000, **figures}),
        method="m-1",
    )


STABLE = {
    "features": [
        FeatureFigure(
            feature="income", psi=0.01, lo=0.1, hi=0.25, n=1_000, importance=1.0
        )
    ]
}


def performing(auc: float, *, n: int = 1_000) -> dict[str, Any]:
    figure = PerformanceFigure(
        metric="auc",
        value=auc,
        lower=auc - 0.02,
        upper=auc + 0.02,
        n=n,
        baseline=0.8,
    )
    return {"performance": [figure], "mature": True, "outcomes": n, "positives": 200}


def predicting(rmse: float, *, n: int = 1_000) -> dict[str, Any]:
    """A window of a model of numbers whose baseline's RMSE is 200."""
    figure = PerformanceFigure(
        metric="rmse",
        value=rmse,
        lower=rmse - 4,
        upper=rmse + 4,
        n=n,
        baseline=200.0,
    )
    return {
        "performance": [figure],
        "mature": True,
        "outcomes": n,
        "outcome_kind": "number",
    }


def batch(
    at: datetime, *, model: str = "credit", read_at: datetime | None = None
) -> BatchRecorded:
    return BatchRecorded(
        model=model,
        version="v1",
        environment="prod",
        batch=UUID_0,
        sent=(),
        rows=1,
        root=ANY,
        row_schema=ANY,
        address="a",
        file_digest=ANY,
        file_bytes=1,
        first_id=UUID_0,
        last_id=UUID_0,
        first_at=at,
        last_at=at,
        readings=(Reading(feed="bureau", last_at=read_at or at),),
    )


# --- health ------------------------------------------------------------------------


def test_a_model_nobody_measured_is_not_rated(world: World) -> None:
    live(world)
    health = health_of(world.read(), "credit", MONDAY)
    assert health.band == "not_rated"
    assert health.index.value is None
    assert health.rules.stamp.version == "health-v2"


def test_half_the_compulsory_reason_codes_missing_is_red(world: World) -> None:
    live(world)
    good = STABLE | performing(0.8) | {"explained": 1_000, "explanation_coverage": 1.0}
    world.say("monitor credit", closed(good))
    assert health_of(world.read(), "credit", MONDAY + DAY).band == "green"
    (event,) = world.say(
        "monitor credit",
        closed(
            good | {"reason_codes_owed": 400, "reason_codes_missing": 200},
            MONDAY + DAY,
        ),
    )
    health = health_of(world.read(), "credit", MONDAY + 2 * DAY)
    assert health.band == "red"
    assert health.index.worst == "explainability coverage"
    assert health.index.evidence == (event,)
    assert Mark.BREACH in health.index.marks


def test_a_new_model_whose_defaults_take_a_year_is_amber_and_not_red(
    world: World,
) -> None:
    live(world)
    world.say(
        "monitor credit",
        MonitorConfigured(
            model="credit",
            outcome_maturity_hours=8_760,
            feature_sla_hours={"bureau": 24},
        ),
    )
    world.say("decisions credit", batch(MONDAY + 10 * HOUR))
    young = STABLE | {
        "explained": 1_000,
        "explanation_coverage": 1.0,
        "pending": 1_000,
        "matures_at": MONDAY + timedelta(days=366),
    }
    world.say("monitor credit", closed(young))
    now = MONDAY + 12 * HOUR
    health = health_of(world.read(), "credit", now)
    assert health.band == "amber"
    assert Mark.IMMATURE in health.index.marks
    assert health.index.measured_weight == 0.65


@pytest.mark.parametrize(("auc", "band"), [(0.80, "amber"), (0.60, "red")])
def test_an_estimate_stands_in_for_immature_outcomes_and_is_amber_at_best(
    world: World, auc: float, band: str
) -> None:
    live(world)
    expected = EstimatedPerformance(
        figures=performing(auc)["performance"], n=1_000, caveat="blind"
    )
    waiting = STABLE | {"pending": 1_000, "matures_at": MONDAY + 2 * DAY}
    world.say("monitor credit", closed(waiting | {"estimated": expected}))
    health = health_of(world.read(), "credit", MONDAY + DAY)
    assert health.band == band
    assert Mark.IMMATURE in health.index.marks
    [outcomes] = [
        one for one in health.index.components if one.name == "outcome variance"
    ]
    assert f"auc is {auc:.4f} (estimated without labels" in outcomes.cause


def test_outcomes_that_should_be_here_and_are_not_are_overdue(world: World) -> None:
    live(world)
    waiting = STABLE | {"pending": 1_000, "matures_at": MONDAY + 2 * DAY}
    world.say("monitor credit", closed(waiting))
    early = health_of(world.read(), "credit", MONDAY + 3 * DAY)
    late = health_of(world.read(), "credit", MONDAY + 6 * DAY)
    assert Mark.IMMATURE in early.index.marks
    assert Mark.OVERDUE in late.index.marks
    assert late.band == "red"


def test_late_outcomes_correct_the_window_they_belong_to(world: World) -> None:
    live(world)
    waiting = STABLE | {"pending": 1_000, "matures_at": MONDAY + 2 * DAY}
    window = closed(waiting)
    world.say("monitor credit", window)
    said = window.model_dump(exclude={"figures"})
    figures = WindowFigures.model_validate({"rows": 1_000} | STABLE | performing(0.79))
    world.say(
        "monitor credit",
        WindowRestated(**said, figures=figures, restatement=1),
        at=MONDAY + 3 * DAY,
    )
    health = health_of(world.read(), "credit", MONDAY + 9 * DAY)
    assert health.band == "green"
    # and what was known before is still known to have been known
    past = world.read()
    then = past.at(past.when(MONDAY + 2 * DAY))
    assert Mark.IMMATURE in health_of(then, "credit", MONDAY + 2 * DAY).index.marks


@pytest.mark.parametrize(
    ("auc", "band"), [(0.80, "green"), (0.77, "green"), (0.74, "amber"), (0.69, "red")]
)
def test_degradation_counts_as_far_as_its_bound_supports_it(
    world: World, auc: float, band: str
) -> None:
    # warning at .77, hard at .74; the favourable bound is .02 above
    live(world)
    world.say("monitor credit", closed(STABLE | performing(auc)))
    assert health_of(world.read(), "credit", MONDAY + DAY).band == band


@pytest.mark.parametrize(
    ("rmse", "band"), [(150, "green"), (222, "green"), (230, "amber"), (250, "red")]
)
def test_errors_of_numbers_degrade_by_shares_of_the_baselines(
    world: World, rmse: float, band: str
) -> None:
    # warning at 220, hard at 240; the favourable bound is 4 below
    live(world)
    world.say("monitor credit", closed(STABLE | predicting(rmse)))
    assert health_of(world.read(), "credit", MONDAY + DAY).band == band


def test_an_slo_replaces_the_house_limits_of_its_metric(world: World) -> None:
    live(world)
    world.say("monitor credit", closed(STABLE | performing(0.80)))
    slo = SloDefined(
        model="credit",
        slo="sharp",
        metric="auc",
        nominal=0.95,
        warning=0.92,
        hard=0.90,
        direction="falls",
    )
    world.say("model credit", slo)
    health = health_of(world.read(), "credit", MONDAY + DAY)
    assert (health.band, health.index.worst) == ("red", "outcome variance")


def test_a_feed_that_rests_at_the_weekend_is_green_on_monday(world: World) -> None:
    friday = datetime(2026, 3, 6, 18, tzinfo=UTC)
    live(world)
    world.say(
        "monitor credit",
        MonitorConfigured(model="credit", feature_sla_hours={"bureau": 24}),
        closed(STABLE | performing(0.8), friday - DAY),
    )
    world.say("decisions credit", batch(friday, read_at=friday))
    monday = health_of(world.read(), "credit", friday + timedelta(hours=63))
    assert monday.band == "green"
    tuesday = health_of(world.read(), "credit", friday + timedelta(hours=63 + 24))
    assert (tuesday.band, tuesday.index.worst) == ("amber", "data freshness")


def test_between_the_runs_of_a_cadence_inputs_may_rest(world: World) -> None:
    live(world)
    world.say(
        "monitor credit",
        MonitorConfigured(
            model="credit",
            cadence_hours=720,
            grace_hours=48,
            feature_sla_hours={"bureau": 24},
        ),
        closed(STABLE | performing(0.8)),
    )
    world.say("decisions credit", batch(MONDAY, read_at=MONDAY - HOUR))
    assert health_of(world.read(), "credit", MONDAY + 29 * DAY).band == "green"
    assert health_of(world.read(), "credit", MONDAY + 31 * DAY).band == "green"
    assert health_of(world.read(), "credit", MONDAY + 33 * DAY).band == "red"


def test_a_declared_input_that_never_came_is_overdue(world: World) -> None:
    live(world)
    monitor = MonitorConfigured(model="credit", feature_sla_hours={"weather": 24})
    world.say("monitor credit", monitor, closed(STABLE | performing(0.8)))
    world.say("decisions credit", batch(MONDAY))
    index = health_of(world.read(), "credit", MONDAY).index
    assert (index.worst, index.colour) == ("data freshness", "red")
    assert Mark.OVERDUE in index.marks


def test_health_is_zero_while_an_unapproved_version_serves(world: World) -> None:
    source = live(world)
    world.say("monitor credit", closed(STABLE | performing(0.8)))
    assert health_of(world.read(), "credit", MONDAY + DAY).band == "green"
    (revoked,) = world.say(
        "model credit",
        VerdictRevoked(
            model="credit",
            request="credit-1",
            reason="a material change",
            verdicts=(source,),
            source=source,
        ),
        at=MONDAY + DAY,
    )
    index = health_of(world.read(), "credit", MONDAY + DAY).index
    assert (index.value, index.colour, index.worst) == (0.0, "red", "approval")
    assert index.evidence == (revoked,)


def test_a_conditional_approval_that_expired_approves_nothing(world: World) -> None:
    live(world)
    read = world.read()
    assert health_of(read, "credit", MONDAY).index.worst != "approval"
    (source,) = world.say("request other", settled_for("other"))
    world.say("model other", registered("other"))
    world.say(
        "model other",
        received("other", source, expires_at=MONDAY + DAY, max_traffic_share=1.0),
        deployed("other", source),
    )
    read = world.read()
    assert health_of(read, "other", MONDAY).index.worst != "approval"
    assert health_of(read, "other", MONDAY + 2 * DAY).index.worst == "approval"


def test_what_was_deployed_in_time_stays_approved(world: World) -> None:
    (source,) = world.say("request other", settled_for("other"))
    world.say(
        "model other",
        registered("other"),
        received("other", source, expires_at=MONDAY + DAY),
        deployed("other", source),
    )
    read = world.read()
    assert health_of(read, "other", MONDAY + 2 * DAY).index.worst != "approval"


def test_decisions_of_a_version_nobody_deployed_are_unapproved(world: World) -> None:
    live(world)
    swapped = batch(MONDAY + DAY).model_copy(
        update={"version": "v2", "deployed": False}
    )
    world.say("decisions credit", batch(MONDAY))
    assert health_of(world.read(), "credit", MONDAY + DAY).index.worst != "approval"
    (event,) = world.say("decisions credit", swapped)
    index = health_of(world.read(), "credit", MONDAY + DAY).index
    assert (index.value, index.evidence) == (0.0, (event,))


# --- spending ----------------------------------------------------------------------


def budget(**changed: object) -> BudgetDefined:
    said = {
        "model": "credit",
        "budget": "errors",
        "kind": "degradation",
        "metric": "errors",
        "p0": 0.10,
        "p1": 0.20,
        "expected_events": 31_000,
        "period": "month",
        "period_end": datetime(2026, 4, 1, tzinfo=UTC),
        "document": Document(version="d", digest=ANY),
    }
    return BudgetDefined.model_validate(said | changed)


def spent(world: World, now: datetime, name: str = "errors") -> Spending:
    row = world.read().get(crossings.budgets, f"credit/{name}")
    assert row is not None
    return spending_of(world.read(), row, now)


def errors(bad: int, n: int = 1_000, pending: int = 0) -> dict[str, Any]:
    return {
        "rows": n + pending,
        "outcomes": n,
        "pending": pending,
        "bad": {"errors": bad},
    }


def test_a_budget_is_spent_by_the_bad_events_beyond_the_accepted_rate(
    world: World,
) -> None:
    world.say("insight credit", budget())
    first = datetime(2026, 3, 1, tzinfo=UTC)
    for day in range(10):
        world.say("monitor credit", closed(errors(410), first + day * DAY))
    found = spent(world, first + 10 * DAY)
    # (410 - 100) * 10 of 31,000 * .1
    assert found.status.spent == 1.0
    assert found.status.hard_stop == "human"
    assert not found.permission(attended=True, remedy=False).allowed
    assert found.permission(attended=False, remedy=True).allowed
    assert len(found.evidence) == 10
    earlier = spent(world, first + 5 * DAY)
    assert earlier.status.spent == 0.5
    assert earlier.ahead
    assert spent(world, datetime(2026, 4, 2, tzinfo=UTC)).status.spent == 0


def test_pending_outcomes_burn_at_the_rate_of_those_that_came(world: World) -> None:
    world.say("insight credit", budget())
    world.say("monitor credit", closed(errors(200)))
    world.say("monitor credit", closed(errors(0, 0, pending=1_000), MONDAY + DAY))
    status = spent(world, MONDAY + 2 * DAY).status
    assert status.confirmed == round(100 / 3_100, 4)
    assert status.provisional == round(100 / 3_100, 4)
    # before anything is known, what is pending costs nothing
    world.say("insight credit", budget(budget="young", p0=0.5, p1=0.9))
    assert spent(world, MONDAY, "young").status.spent == 0


def counted(
    figures: dict[str, Any], start: datetime, length: timedelta = 6 * HOUR
) -> SlotCounted:
    return SlotCounted(
        model="credit",
        version="v1",
        environment="prod",
        start=start,
        end=start + length,
        counts=SlotCounts.model_validate(figures),
    )


def test_a_slot_within_a_window_counts_its_decisions_once(world: World) -> None:
    world.say("insight credit", budget())
    world.say("monitor credit", counted(errors(50, 100), MONDAY))
    world.say("monitor credit", counted(errors(10, 100), MONDAY + 2 * DAY))
    apart = spent(world, MONDAY + 7 * DAY).status.spent
    world.say("monitor credit", closed(errors(60, 200), length=7 * DAY))
    found = spent(world, MONDAY + 7 * DAY)
    assert found.status.spent == apart == round(40 / 3_100, 4)
    assert sum(slot.n for slot in found.slots) == 200
    # what only the window has counted is counted there
    world.say("monitor credit", closed(errors(160, 700), MONDAY + 7 * DAY, length=DAY))
    assert sum(slot.n for slot in spent(world, MONDAY + 8 * DAY).slots) == 900


def test_a_slot_counted_again_replaces_what_was_pending(world: World) -> None:
    world.say("insight credit", budget())
    world.say("monitor credit", counted(errors(40, 100, pending=900), MONDAY))
    early = spent(world, MONDAY + DAY).status
    assert (early.confirmed, early.provisional) == (0.0097, 0.0871)
    world.say("monitor credit", counted(errors(250, 1_000), MONDAY))
    late = spent(world, MONDAY + DAY).status
    assert (late.confirmed, late.provisional) == (0.0484, 0.0)


def test_only_slots_as_short_as_a_burn_window_make_it_page(world: World) -> None:
    """Half of all are wrong in the last six hours: b_max / 8 is 1.125, burn is 4."""
    world.say("insight credit", budget())
    for day in range(3):
        world.say("monitor credit", counted(errors(100), MONDAY + day * DAY, DAY))
    evening = MONDAY + 3 * DAY + 18 * HOUR
    world.say("monitor credit", counted(errors(160), MONDAY + 3 * DAY, 18 * HOUR))
    assert spent(world, evening).status.firing == ()
    world.say("monitor credit", counted(errors(150, 300), evening))
    [slow] = spent(world, evening + 6 * HOUR).status.firing
    assert (slow.rule, slow.severity, slow.long_burn) == ("slow", "page", 4.0)
    assert slow.events == 300


def test_false_positives_are_counted_over_the_negatives(world: World) -> None:
    kind = {"kind": "false_positive_rate", "metric": "false_positives"}
    world.say("insight credit", budget(**kind))
    figures = errors(0) | {"positives": 200, "bad": {"false_positives": 160}}
    world.say("monitor credit", closed(figures))
    slots = spent(world, MONDAY + DAY).slots
    assert (slots[0].n, slots[0].bad) == (800, 160)


def test_an_auc_spends_the_windows_that_are_proven_out_of_band(world: World) -> None:
    kind = {"kind": "auc", "metric": "auc", "band": 0.03, "p0": 0.05, "p1": 0.5}
    world.say("insight credit", budget(**kind))
    world.say("monitor credit", closed(performing(0.70)))
    world.say("monitor credit", closed(performing(0.76), MONDAY + DAY))
    world.say("monitor credit", closed({"pending": 1_000}, MONDAY + 2 * DAY))
    first, second, third = spent(world, MONDAY + 3 * DAY).slots
    assert (first.n, first.bad, first.trials) == (1_000, 1_000, 1.0)
    assert (second.n, second.bad) == (1_000, 0)
    assert (third.n, third.pending) == (0, 1_000)


def test_an_error_of_numbers_spends_the_windows_that_rise_out_of_band(
    world: World,
) -> None:
    kind = {"kind": "degradation", "metric": "rmse", "band": 20, "p0": 0.05, "p1": 0.5}
    world.say("insight credit", budget(**kind))
    world.say("monitor credit", closed(predicting(230)))
    world.say("monitor credit", closed(predicting(223), MONDAY + DAY))
    world.say("monitor credit", closed(predicting(100), MONDAY + 2 * DAY))
    slots = spent(world, MONDAY + 3 * DAY).slots
    assert [(slot.n, slot.bad) for slot in slots] == [
        (1_000, 1_000),
        (1_000, 0),
        (1_000, 0),
    ]


def test_slow_answers_and_broken_rows_have_budgets_too(world: World) -> None:
    world.say(
        "insight credit",
        budget(budget="slow", kind="latency", metric="slow"),
        budget(budget="data", kind="data_quality", metric="contract"),
    )
    figures = {
        "latency_ms": LatencyFigure(p50=1, p95=2, p99=3, n=900),
        "bad": {"slow": 45},
        "quarantined": 100,
        "breaches": {"age.minimum": 30, "age.present": 10},
    }
    world.say("monitor credit", closed(figures))
    (slow,) = spent(world, MONDAY + DAY, "slow").slots
    assert (slow.n, slow.bad) == (900, 45)
    (data,) = spent(world, MONDAY + DAY, "data").slots
    assert (data.n, data.bad) == (1_100, 130)


def test_figures_that_cannot_be_are_bounded_and_stop_nobody(world: World) -> None:
    live(world)
    world.say("insight credit", budget(kind="false_positive_rate"))
    flat = FeatureFigure(feature="x", psi=0.3, lo=0.2, hi=0.2, n=9, importance=1)
    odd = errors(900) | {"positives": 800, "features": [flat], "explained": 2_000}
    odd |= {"explanation_coverage": 1, "reason_codes_missing": 7}
    world.say("monitor credit", closed(odd))
    (slot,) = spent(world, MONDAY + DAY).slots
    assert (slot.n, slot.bad) == (200, 200)
    index = health_of(world.read(), "credit", MONDAY + DAY).index
    scores = {part.name: part.score for part in index.components}
    assert scores["feature stability"] is None
    assert scores["explainability coverage"] == 100


# --- KPIs --------------------------------------------------------------------------


def alert(name: str = "a1", **changed: object) -> AlertRaised:
    said = {
        "model": "credit",
        "alert": name,
        "kind": "feature_drift",
        "vector": "data_drift",
        "severity": "high",
        "metric": "feature_psi",
        "value": 0.4,
        "threshold": 0.25,
        "n": 1_000,
        "start": MONDAY,
        "end": MONDAY + DAY,
        "owner": "olga",
        "cause": "income drifted",
        "due_at": MONDAY + 8 * DAY,
        "thresholds": "default-1",
    }
    return AlertRaised.model_validate(said | changed)


def resolve(name: str = "a1", *, true_alarm: bool = True) -> AlertResolved:
    return AlertResolved(
        model="credit", alert=name, by=PERSON, true_alarm=true_alarm, reason="done"
    )


def kpi(world: World, name: str, group: str = "") -> Kpi:
    found = kpis(world.read(), MONDAY + 30 * DAY)
    return next(one for one in found if (one.kpi, one.group) == (name, group))


def test_kpis_without_events_have_no_value(world: World) -> None:
    assert kpi(world, "time_to_detection").value is None
    assert kpi(world, "human_governance").value is None


def test_detection_remediation_and_precision_cite_the_alerts_they_count(
    world: World,
) -> None:
    world.say("model credit", registered())
    (one,) = world.say("monitor credit", alert("a1"), at=MONDAY + 26 * HOUR)
    (two,) = world.say("monitor credit", alert("a2"), at=MONDAY + 30 * HOUR)
    (good,) = world.say("monitor credit", resolve("a1"), at=MONDAY + 36 * HOUR)
    (bad,) = world.say(
        "monitor credit", resolve("a2", true_alarm=False), at=MONDAY + 50 * HOUR
    )
    detection = kpi(world, "time_to_detection")
    assert (detection.value, detection.evidence) == (26.0, (one,))
    remediation = kpi(world, "time_to_remediation")
    assert (remediation.value, remediation.evidence) == (10.0, (one, good))
    precision = kpi(world, "alert_precision", "feature_drift")
    assert (precision.value, precision.denominator) == (0.5, 2)
    assert set(precision.evidence) == {good, bad}
    assert two not in detection.evidence


def onset(hours: int, **subject: str) -> OnsetEstablished:
    said = {"onset": MONDAY - hours * HOUR, "basis": "person", "reason": "r"}
    return OnsetEstablished.model_validate(said | subject | {"by": PERSON})


def grouped(name: str, kind: type[IncidentOpened | IncidentGrew]) -> Event:
    said: dict[str, object] = {
        "incident": "inc-a-1",
        "alert": {
            "model": "credit",
            "alert": name,
            "kind": "feature_drift",
            "vector": "data_drift",
            "severity": "high",
        },
    }
    if kind is IncidentOpened:
        said["cause"] = {"kind": "model", "name": "credit", "rule": "own"}
        said["document"] = {"version": "incidents-1", "digest": ANY}
    return kind.model_validate(said)


def test_detection_is_measured_from_the_onset_as_later_established(
    world: World,
) -> None:
    world.say("model credit", registered())
    (one,) = world.say("monitor credit", alert("a1"), at=MONDAY + 10 * HOUR)
    (two,) = world.say("monitor credit", alert("a2"), at=MONDAY + 20 * HOUR)
    (three,) = world.say("monitor credit", alert("a3"), at=MONDAY + 30 * HOUR)
    before = kpi(world, "time_to_detection")
    assert (before.value, before.denominator, before.assumed) == (20.0, 3, 3)
    world.say(
        "incident inc-a", grouped("a1", IncidentOpened), grouped("a2", IncidentGrew)
    )
    (whole,) = world.say("onset inc-a-1", onset(30, incident="inc-a-1"))
    (own,) = world.say("onset credit.a2", onset(40, model="credit", alert="a2"))
    found = kpi(world, "time_to_detection")
    # Forty hours, its own word sixty, and thirty from the window's start.
    assert found.value == pytest.approx((40 + 60 + 30) / 3, abs=1e-4)
    assert found.assumed == 1
    assert set(found.evidence) == {one, two, three, whole, own}
    assert "assumed" in found.rule


def test_the_queue_says_to_whom_an_alert_went_up(world: World) -> None:
    world.say("model credit", registered())
    world.say("monitor credit", alert("a1"))
    called = AlertEscalated(
        model="credit",
        alert="a1",
        step=2,
        role="risk_officer",
        because="unacknowledged",
        due_at=MONDAY + 4 * DAY,
    )
    (event,) = world.say("escalation credit", called, at=MONDAY + 4 * DAY)
    (one,) = remediations(world.read(), MONDAY + 5 * DAY)
    assert "escalated to the risk officer" in one.reasons
    assert event in one.evidence


def autonomy(kind: type[Event], low: str, high: str, **said: object) -> Event:
    levels = {"from_level": low, "to_level": high, "by": PERSON}
    return kind.model_validate({"model": "credit", "use": "any"} | levels | said)


def test_the_scorecard_says_how_far_a_model_decides_alone(world: World) -> None:
    world.say("model credit", registered())
    models = [row for _, row in world.read().scan(inventory.models)]
    (line,) = scorecard(world.read(), MONDAY, models)
    assert line.autonomy == ()
    world.say(
        "autonomy credit",
        autonomy(AutonomyRaised, "shadow", "advise", proposal="any-1"),
    )
    (lowered,) = world.say(
        "autonomy credit",
        autonomy(
            AutonomyLowered, "advise", "shadow", because="budget_exhausted", reason="r"
        ),
    )
    (line,) = scorecard(world.read(), MONDAY, models)
    assert line.autonomy == ("any: shadow",)
    assert lowered in line.evidence


def test_findings_are_remediated_too(world: World) -> None:
    world.say("model credit", registered(), finding())
    world.say(
        "model credit",
        FindingClosed(model="credit", finding="f1", evidence="e", closed_by=PERSON),
        at=MONDAY + DAY,
    )
    assert kpi(world, "time_to_remediation").value == 24.0


def finding(**changed: object) -> FindingRaised:
    said = {
        "model": "credit",
        "finding": "f1",
        "title": "No challenger was tried",
        "severity": "medium",
        "vector": "governance_lapse",
        "owner": "olga",
        "due_at": MONDAY + 30 * DAY,
        "raised_by": PERSON,
    }
    return FindingRaised.model_validate(said | changed)


def test_a_card_and_whole_lineage_make_a_model_complete(world: World) -> None:
    live(world)
    assert kpi(world, "complete_lineage_and_card").value == 0.0
    (card,) = world.say(
        "model credit",
        CardAttached(
            model="credit", version="v1", digest=DIGEST, card_digest=ANY, size=1
        ),
    )
    (traced,) = world.say(
        "node x",
        CompletenessAssessed(
            node="model_version:" + "3" * 64,
            model="credit",
            version="v1",
            digest=DIGEST,
            standard="s",
            share=1.0,
            present=("dataset",),
            missing=(),
        ),
    )
    found = kpi(world, "complete_lineage_and_card")
    assert (found.value, found.numerator, found.denominator) == (1.0, 1, 1)
    assert {card, traced} <= set(found.evidence)


def given_verdict(verdict: str, *rules: str) -> VerdictGiven:
    return VerdictGiven(
        request="credit-1",
        action="deploy",
        model="credit",
        version="v1",
        digest=DIGEST,
        environment="prod",
        tier=1,
        verdict=verdict,
        bundle=ANY,
        bundle_name="b",
        bundle_version="1",
        engine="e",
        descriptor=ANY,
        facts="",
        facts_digest=ANY,
        stood_at=0,
        rules=tuple(
            RuleSaid(
                rule=rule,
                policy="p",
                kind="require",
                severity="high",
                outcome="false",
                denies=True,
                text=f"{rule} failed",
            )
            for rule in rules
        ),
        requested_by=PERSON,
        human=True,
        expires_at=MONDAY + 90 * DAY,
    )


def test_governance_needs_people_in_roles_and_in_the_approval(world: World) -> None:
    world.say("request credit-1", given_verdict("pending"))
    (yes,) = world.say(
        "request credit-1",
        Approved(
            request="credit-1",
            model="credit",
            action="deploy",
            environment="prod",
            digest=DIGEST,
            by=PERSON,
            roles=("validator",),
            at=MONDAY,
        ),
    )
    live(world)
    assert kpi(world, "human_governance").value == 0.0
    world.say(
        "model credit",
        RoleAssigned(model="credit", role="validator", subject="vera", issuer="tests"),
    )
    found = kpi(world, "human_governance")
    assert (found.value, found.denominator) == (1.0, 1)
    assert yes in found.evidence


# --- delivery and the queue --------------------------------------------------------


def test_the_funnel_counts_days_at_each_gate_and_names_what_blocks(
    world: World,
) -> None:
    world.say(
        "model credit",
        registered(),
        VersionRegistered(
            model="credit",
            version="v1",
            digest=DIGEST,
            artifacts=(ARTIFACT,),
            registered_by=PERSON,
        ),
    )
    (no,) = world.say(
        "request credit-1", given_verdict("deny", "promotion/card"), at=MONDAY + DAY
    )
    found = funnel(world.read(), MONDAY + 2 * DAY)
    assert [(g.gate, g.reached, g.waiting) for g in found.gates] == [
        ("registered", 1, 1),
        ("approved", 0, 0),
        ("live", 0, 0),
    ]
    assert found.gates[0].longest_wait_days == 2.0
    assert [(b.rule, b.times, b.evidence) for b in found.blocking] == [
        ("promotion/card", 1, (no,))
    ]
    assert found.deliveries[0].blocked_by == ("promotion/card",)
    (settled,) = world.say(
        "request credit-1", settled_for("credit"), at=MONDAY + 3 * DAY
    )
    world.say("model credit", received("credit", settled), at=MONDAY + 3 * DAY)
    world.say("model credit", deployed("credit", settled), at=MONDAY + 5 * DAY)
    found = funnel(world.read(), MONDAY + 6 * DAY)
    assert [(g.gate, g.reached, g.median_days) for g in found.gates] == [
        ("registered", 1, 3.0),
        ("approved", 1, 2.0),
        ("live", 1, None),
    ]
    assert not found.blocking


def incurred(source: str | None = None) -> Incurred:
    entries = (
        Entry(account="owed", unit="minutes", amount=120),
        Entry(account="incurred", unit="minutes", amount=-120),
    )
    return Incurred(
        liability="l1",
        model="credit",
        entries=entries,
        kind="governance",
        vector="governance_lapse",
        origin="finding" if source else "hand",
        title="A finding is open",
        severity="medium",
        tier=1,
        minutes=120,
        points_per_30d=24_000_000,
        overdue_times=2,
        owner="olga",
        since=MONDAY,
        due_at=MONDAY + 10 * DAY,
        card="rates-1",
        source=source,
        by=PERSON,
    )


def test_the_queue_ranks_by_severity_tier_burn_money_and_cure(world: World) -> None:
    world.say("model credit", registered(), classified())
    world.say("model spam", registered("spam"), classified("spam", 4))
    euros = Money(minor=40_000, currency="EUR")
    world.say(
        "monitor credit",
        alert("cheap"),
        alert("dear", money_per_hour=euros, money_basis="assumption"),
    )
    world.say("monitor spam", alert("meh", model="spam"))
    found = remediations(world.read(), MONDAY + DAY)
    assert [(one.rank, one.id) for one in found] == [
        (1, "dear"),
        (2, "cheap"),
        (3, "meh"),
    ]
    # 10 points, tier 1 counts 8, twice for the dearest, 8 hours to cure
    assert found[0].score == 20.0
    assert found[0].reasons == (
        "high severity (10 points)",
        "tier 1 (times 8)",
        "400 EUR an hour (assumption)",
        "8 h to cure",
    )
    late = remediations(world.read(), MONDAY + 9 * DAY)
    assert late[0].overdue
    assert late[0].score == 40.0


def test_a_debt_that_a_finding_caused_is_not_listed_twice(world: World) -> None:
    world.say("model credit", registered(), classified())
    (cause,) = world.say("model credit", finding())
    (debt,) = world.say("debt l1", incurred(cause))
    (one,) = remediations(world.read(), MONDAY + DAY)
    assert (one.kind, one.evidence) == ("finding", (cause, debt))
    # 24 points carried, 2 hours to cure
    assert one.score == 12.0
    cured = Cured(
        liability="l1", model="credit", by=PERSON, at=MONDAY + DAY, evidence="done"
    )
    world.say("debt l1", cured)
    (one,) = remediations(world.read(), MONDAY + DAY)
    assert one.evidence == (cause,)


# --- scorecard and board -----------------------------------------------------------


def test_the_scorecard_has_a_line_a_model(world: World) -> None:
    live(world)
    world.say("insight credit", budget())
    world.say("monitor credit", closed(errors(200) | STABLE | performing(0.69)))
    world.say("monitor credit", alert())
    world.say("debt l1", incurred())
    models = [row for _, row in world.read().scan(inventory.models)]
    (line,) = scorecard(world.read(), MONDAY + 11 * DAY, models)
    assert (line.tier, line.owner, line.business_line) == (1, "olga", "lending")
    assert (line.colour, line.worst) == ("red", "outcome variance")
    assert line.live_versions == ("prod: v1",)
    assert (line.budget, line.open_alerts, line.debt_minutes) == ("errors", 1, 120)
    # overdue since a day: charged twice
    assert line.debt_carrying_micro == 48_000_000
    assert (line.next_due, line.next_due_at) == ("alert a1", MONDAY + 8 * DAY)


def test_the_board_compares_two_moments_and_every_number_cites_events(
    world: World,
) -> None:
    live(world)
    worth = Money(minor=1_000_000, currency="EUR")
    world.say("insight credit", budget(slo="sharp", worth=worth))
    world.say(
        "appetite lending",
        AppetiteSet(business_line="lending", text="Little.", share=0.2, set_by=PERSON),
    )
    world.say("monitor credit", closed(errors(410) | STABLE), at=MONDAY + 2 * DAY)
    world.say("monitor credit", alert(), at=MONDAY + 2 * DAY)
    world.say("debt l1", incurred(), at=MONDAY + 2 * DAY)
    page = board(world.read(), MONDAY + 3 * DAY, MONDAY + DAY)
    (lending,) = page.business_lines
    assert lending.worth == worth
    assert lending.spent == Money(minor=100_000, currency="EUR")
    assert (lending.share, lending.appetite_share, lending.within) == (0.1, 0.2, True)
    (owed,) = page.debt
    assert (owed.kind, owed.open, owed.open_before) == ("governance", 1, 0)
    assert [change.text for change in page.changes] == ["high alert: income drifted"]
    assert page.top_risks[0].kind in {"alert", "debt"}
    told = {event.id for event in page.events}
    cited = {e for figure in page.headline for e in figure.evidence}
    assert cited
    assert cited <= told
    assert {doc.version for doc in page.documents} == {
        "health-v2",
        "budget-v1",
        "queue-v1",
        "kpis-v1",
    }


def test_every_event_that_a_view_applies_can_be_cited(world: World) -> None:
    (event,) = world.say("model credit", registered())
    row = world.read().get(evidence, event)
    assert row is not None
    assert row.name == "inventory.model-registered"
    assert row.says.startswith("model credit; title The credit model")


def test_no_row_depends_on_how_streams_were_interleaved(
    world: World, tmp_path: Path
) -> None:
    told: list[tuple[str, Event]] = [
        ("model credit", registered()),
        ("model credit", classified()),
        ("request credit-1", given_verdict("deny", "p/r")),
        ("request credit-1", settled_for("credit")),
        ("model credit", received("credit", UUID_0)),
        ("model credit", deployed("credit", UUID_0)),
        ("decisions credit", batch(MONDAY)),
        ("decisions credit", batch(MONDAY - DAY)),
        ("monitor credit", closed(errors(100) | STABLE)),
        ("monitor credit", alert()),
        ("insight credit", budget()),
        ("debt l1", incurred()),
    ]
    for stream, event in told:
        world.say(stream, event)
    with (
        SqliteStore(tmp_path / "other.db") as store,
        Ledger(store) as ledger,
        ViewSet("insight", VIEWS, store, tmp_path / "other-insight.db") as views,
    ):
        other = World(store, ledger, views)
        for stream in sorted({stream for stream, _ in told}, reverse=True):
            for event in [event for where, event in told if where == stream]:
                other.say(stream, event)
        assert views.digests(history=False) == world.views.digests(history=False)


def test_a_rebuild_gives_the_same_rows(world: World) -> None:
    live(world)
    world.say("insight credit", budget())
    world.say("monitor credit", closed(errors(410) | STABLE), alert())
    world.say("debt l1", incurred())
    before = world.views.digests()
    world.views.rebuild()
    assert world.views.digests() == before


def watched(allowed: float = 1.0) -> WatchStepped:
    terms = {
        "baseline": "spring",
        "profile": "sha256:" + "a" * 64,
        "budget": "ours-1",
        "document": "sha256:" + "b" * 64,
        "false_alarms": 0.5,
        "windows": 92,
        "sharing": 1,
    }
    step = {
        "monitor": "features",
        "terms": terms,
        "value": 1.0,
        "threshold": 184.0,
        "windows": 1,
        "n": 1_000,
        "evidence": "{}",
    }
    said = {
        "model": "credit",
        "version": "v1",
        "environment": "prod",
        "window": "w1",
        "start": MONDAY,
        "end": MONDAY + DAY,
        "false_alarms": allowed,
        "period": "quarter",
        "steps": [step],
        "method": "alarm-watch/1",
    }
    return WatchStepped.model_validate(said)


def within(world: World, now: datetime) -> list[Kpi]:
    found = kpis(world.read(), now)
    return [one for one in found if one.kpi == "within_false_alarms"]


def test_false_alarms_are_counted_against_what_the_owner_allowed_this_quarter(
    world: World,
) -> None:
    now = MONDAY + 20 * DAY
    assert not within(world, now)
    (window,) = world.say("watch credit", watched())
    for name in ("a1", "a2", "a3", "a4"):
        metric = "feature_psi" if name == "a4" else "feature_evidence"
        world.say("monitor credit", alert(name, metric=metric))
    (first,) = world.say("monitor credit", resolve("a1", true_alarm=False))
    world.say("monitor credit", resolve("a2"))
    world.say("monitor credit", resolve("a4", true_alarm=False))
    [kpi_of] = within(world, now)
    assert (kpi_of.numerator, kpi_of.denominator) == (1, 1)
    assert set(kpi_of.evidence) == {window, first}
    world.say("monitor credit", resolve("a3", true_alarm=False))
    assert [one.value for one in within(world, now)] == [0.0]
    assert not within(world, MONDAY + 60 * DAY)
