"""Insight over real sockets: budgets, crossings as they happen, rows watched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from tests.integration.bad_inputs.insight import define, registered, say
from tests.integration.conftest import TIMEOUT_S, Served

from modelkeep.api.common.v1.common_pb2 import AsOf
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.api.insight.v1.insight_pb2_grpc import InsightServiceStub
from modelkeep.clock import CLOCK, CLOCK_STREAM, Tick
from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.events.inventory import ModelRegistered, SloDefined
from modelkeep.events.monitoring import (
    FeatureFigure,
    MonitorConfigured,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import Money
from modelkeep.ledger import Order, body_hash, stream_name
from modelkeep_services.insight.board import render

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
Serve = Callable[..., Served]


class Insight:
    """A scenario with insight alone: the others are spoken for."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.stub: Any = InsightServiceStub(served.channel)

    def ask(self, rpc: str, request: Any, *roles: str) -> Any:
        self.served.settle()
        return self.served.call(
            getattr(self.stub, rpc), request, *roles or ("auditor",)
        )

    def tick(self, instant: datetime) -> None:
        actor = Actor("tests", "clock", frozenset({"operator"}), "main", human=False)
        command = Tick(instant=instant)
        context = Context(actor, instant, instant, str(uuid4()))
        self.served.node.ledger.execute(
            Order(CLOCK_STREAM, CLOCK, command, context, body_hash(command))
        )
        self.served.settle()

    def window(self, day: int, bad: int, n: int = 1_000, *, again: int = 0) -> str:
        """A day's decisions, told at its end."""
        start = MARCH + day * DAY
        said = {
            "model": "flights",
            "version": "v1",
            "environment": "prod",
            "window": f"w-{day}",
            "start": start,
            "end": start + DAY,
            "figures": WindowFigures(rows=n, outcomes=n, bad={"errors": bad}),
            "method": "m-1",
        }
        event = (
            WindowRestated.model_validate(said | {"restatement": again})
            if again
            else WindowClosed.model_validate(said)
        )
        return say(self.served, "monitor flights", str(uuid4()), event)

    def crossings(self) -> list[str]:
        answer = self.ask("ListCrossings", pb.ListCrossingsRequest(model="flights"))
        return [one.what for one in answer.crossings]


@pytest.fixture
def insight(serve: Serve) -> Insight:
    found = Insight(serve("insight", scenario=True))
    found.tick(MARCH)
    say(found.served, "model flights", str(uuid4()), registered())
    return found


def test_a_budget_is_agreed_spent_exhausted_and_closed_with_its_month(
    insight: Insight,
) -> None:
    insight.ask("DefineBudget", define(), "owner")
    causes = []
    for day in range(10):
        insight.tick(MARCH + (day + 1) * DAY)
        causes.append(insight.window(day, 520))
    asked = pb.GetBudgetRequest(model="flights", budget="errors")
    budget = insight.ask("GetBudget", asked).budget
    # 270 of 1,000 beyond the accepted 250, ten times, of 25,000 * .1
    assert budget.spent == 1.08
    assert (budget.events, budget.bad) == (10_000, 5_200)
    assert budget.hard_stop == pb.HARD_STOP_HUMAN
    assert not budget.attended.allowed
    assert budget.remedy.allowed
    assert {one.rule for one in budget.firing} >= {"creep"}
    assert set(budget.evidence) == set(causes)
    assert budget.document.version == "budget-v1"
    assert insight.crossings() == ["budget-slowed", "budget-exhausted"]
    insight.tick(datetime(2026, 4, 1, tzinfo=UTC))
    assert insight.crossings()[-1] == "budget-period-closed"
    told = insight.ask("ListCrossings", pb.ListCrossingsRequest()).crossings
    assert told[-1].at.ToDatetime(tzinfo=UTC) == datetime(2026, 4, 1, tzinfo=UTC)
    assert told[-1].source
    assert insight.ask("GetBudget", asked).budget.spent == 0


def test_a_restatement_that_clears_a_budget_eases_it_and_never_exhausts_it_twice(
    insight: Insight,
) -> None:
    insight.ask("DefineBudget", define(), "owner")
    insight.tick(MARCH + 2 * DAY)
    insight.window(0, 1_000, 4_000)
    insight.window(1, 4_000, 4_000)
    assert insight.crossings() == ["budget-slowed", "budget-exhausted"]
    insight.window(1, 1_000, 4_000, again=1)
    assert insight.crossings()[2:] == ["budget-eased"]
    insight.window(1, 4_000, 4_000, again=2)
    assert insight.crossings()[3:] == ["budget-slowed"]


def test_what_was_known_then_is_answered_for_then(insight: Insight) -> None:
    insight.ask("DefineBudget", define(), "owner")
    insight.tick(MARCH + DAY)
    insight.window(0, 500)
    insight.tick(MARCH + 2 * DAY)
    insight.window(1, 500)
    asked = pb.GetBudgetRequest(model="flights", budget="errors")
    assert insight.ask("GetBudget", asked).budget.spent == 0.2
    past = AsOf()
    past.time.FromDatetime(MARCH + DAY + timedelta(hours=1))
    asked.as_of.CopyFrom(past)
    budget = insight.ask("GetBudget", asked).budget
    assert budget.spent == 0.1
    assert budget.elapsed == round((25 / 24) / 31, 4)


def test_money_comes_from_the_slo_and_a_strange_slo_is_refused(
    insight: Insight,
) -> None:
    request = define()
    request.slo = "on-time"
    with pytest.raises(grpc.RpcError) as refused:
        insight.ask("DefineBudget", request, "owner")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    slo = SloDefined(
        model="flights",
        slo="on-time",
        metric="errors",
        nominal=0.2,
        warning=0.3,
        hard=0.4,
        direction="rises",
        money_per_hour=Money(minor=10_000, currency="USD"),
    )
    say(insight.served, "model flights", str(uuid4()), slo)
    request.request_id = ""
    insight.ask("DefineBudget", request, "owner")
    (budget,) = insight.ask("ListBudgets", pb.ListBudgetsRequest()).budgets
    # 100 dollars an hour, for the 744 hours of March
    assert (budget.worth.minor, budget.worth.currency) == (7_440_000, "USD")


def test_a_budget_that_no_number_could_spend_is_refused(insight: Insight) -> None:
    watched = MonitorConfigured(model="flights", outcome_kind="number")
    say(insight.served, "monitor flights", str(uuid4()), watched)
    with pytest.raises(grpc.RpcError) as refused:
        insight.ask("DefineBudget", define(), "owner")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "band" in (refused.value.details() or "")
    banded = define()
    banded.metric, banded.band = "rmse", 5.0
    assert insight.ask("DefineBudget", banded, "owner").written.position


def test_a_retry_gets_the_first_answer_and_a_change_needs_a_reason(
    insight: Insight,
) -> None:
    request = define()
    request.request_id = str(uuid4())
    first = insight.ask("DefineBudget", request, "owner").written
    again = insight.ask("DefineBudget", request, "owner").written
    assert again.replayed
    assert again.position == first.position
    other = define()
    other.p1 = 0.4
    other.reason = ""
    with pytest.raises(grpc.RpcError) as refused:
        insight.ask("DefineBudget", other, "owner")
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_the_first_tick_of_a_day_looks_at_every_model_and_records_its_colour(
    insight: Insight,
) -> None:
    waiting = WindowClosed(
        model="flights",
        version="v1",
        environment="prod",
        window="w-0",
        start=MARCH - DAY,
        end=MARCH,
        figures=WindowFigures(
            rows=1_000,
            pending=1_000,
            matures_at=MARCH,
            features=(FeatureFigure(feature="wind", psi=0, lo=0.1, hi=0.2, n=1_000),),
        ),
        method="m-1",
    )
    say(insight.served, "monitor flights", str(uuid4()), waiting)
    insight.tick(MARCH + 2 * DAY)
    assert insight.crossings() == []
    # 72 hours after their outcomes had matured they are overdue
    insight.tick(MARCH + 3 * DAY)
    insight.tick(MARCH + 3 * DAY + timedelta(hours=6))
    assert insight.crossings() == []
    insight.tick(MARCH + 4 * DAY)
    assert insight.crossings() == ["health-band-changed"]
    insight.tick(MARCH + 5 * DAY)
    assert insight.crossings() == ["health-band-changed"]
    health = insight.ask("GetHealth", pb.GetHealthRequest(model="flights")).health
    assert health.colour == pb.COLOUR_RED
    assert "overdue" in health.marks
    assert [one.name for one in health.components] == [
        "data freshness",
        "feature stability",
        "outcome variance",
        "explainability coverage",
    ]


def test_every_figure_of_the_board_opens_its_events(insight: Insight) -> None:
    insight.ask("DefineBudget", define(), "owner")
    insight.tick(MARCH + DAY)
    insight.window(0, 900)
    page = insight.ask("GetBoard", pb.GetBoardRequest())
    told = {event.id for event in page.events}
    for part in (page.headline, page.business_lines, page.changes, page.scorecard):
        assert part
        for one in part:
            assert set(one.evidence) <= told
    html = render(page, checkpoint="<b>signed</b>")
    assert "&lt;b&gt;signed&lt;/b&gt;" in html
    assert 'href="#e1"' in html
    assert '<tr id="e1">' in html
    asked = pb.GetEventsRequest(ids=sorted(told))
    assert len(insight.ask("GetEvents", asked).events) == len(told)


def test_anybody_lists_rows_and_watches_them_change(insight: Insight) -> None:
    listed = insight.ask("List", pb.ListRequest(view="models", prefix="fl"))
    assert [row.key for row in listed.rows] == ["flights"]
    assert listed.rows[0].body["title"] == "Late flights"
    watching = insight.stub.Watch(
        pb.WatchRequest(view="models"),
        timeout=TIMEOUT_S,
        metadata=insight.served.metadata("auditor"),
    )
    snapshot = next(watching)
    assert snapshot.caught_up
    assert [row.key for row in snapshot.rows] == ["flights"]
    other = registered("hotels")
    say(insight.served, "model hotels", str(uuid4()), other)
    change = next(watching)
    assert [row.key for row in change.rows] == ["hotels"]
    assert change.position > snapshot.position
    watching.cancel()
    resumed = insight.stub.Watch(
        pb.WatchRequest(view="models", from_position=snapshot.position),
        timeout=TIMEOUT_S,
        metadata=insight.served.metadata("auditor"),
    )
    assert [row.key for row in next(resumed).rows] == ["hotels"]
    resumed.cancel()


def test_a_large_snapshot_comes_in_parts(insight: Insight) -> None:
    many = [f"m-{number:04d}" for number in range(1_100)]
    for name in many:
        say_quickly(insight.served, registered(name))
    insight.served.settle()
    watching = insight.stub.Watch(
        pb.WatchRequest(view="models"),
        timeout=TIMEOUT_S,
        metadata=insight.served.metadata("auditor"),
    )
    keys: list[str] = []
    parts = 0
    for message in watching:
        parts += 1
        keys += [row.key for row in message.rows]
        if message.caught_up:
            break
        assert message.position == 0
    watching.cancel()
    assert keys == ["flights", *many]
    assert parts == 3


def say_quickly(served: Served, event: ModelRegistered) -> None:
    silent = decider(None, lambda _, __, ___: [event], lambda _, __: None)
    now = served.node.host.clock.now()
    actor = Actor("tests", "someone", frozenset(), "main")
    context = Context(actor, now, now, str(uuid4()))
    stream = stream_name("model", "main", event.model)
    served.node.ledger.execute(Order(stream, silent, Command(), context, "h"))


def test_another_tenant_sees_nothing(insight: Insight) -> None:
    answer = insight.served.call(
        insight.stub.GetScorecard, pb.GetScorecardRequest(), "auditor", tenant="other"
    )
    assert not answer.lines
