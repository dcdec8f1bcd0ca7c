"""Insight's table: request to command, moment to figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from google.protobuf.message import Message

from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Invalid, NotFound
from modelkeep.events.types import Money
from modelkeep.identity import ROLES
from modelkeep.pages import page_of
from modelkeep.paging import page
from modelkeep.service import (
    Asked,
    Host,
    Service,
    Target,
    asked_time,
    read,
    stream,
    write,
)
from modelkeep.stats.budget import Permission, total
from modelkeep.wire import fill
from modelkeep_services.insight import domain, listing
from modelkeep_services.insight.documents import (
    budget_rules,
    health_rules,
    kpi_rules,
    queue_rules,
)
from modelkeep_services.insight.funnel import funnel
from modelkeep_services.insight.health import health_of
from modelkeep_services.insight.kpis import kpis
from modelkeep_services.insight.page_data import board
from modelkeep_services.insight.periods import period_of
from modelkeep_services.insight.reactions import REACTORS
from modelkeep_services.insight.remediation import remediations
from modelkeep_services.insight.scorecard import scorecard
from modelkeep_services.insight.spending import Spending, spending_of
from modelkeep_services.insight.views import VIEWS, crossings, inventory, monitoring
from modelkeep_services.insight.views.evidence import evidence

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["InsightService"]
BUDGETERS: Final = frozenset({"owner", "business_owner", "risk_officer"})
QUARTER: Final = timedelta(days=90)
CITED: Final = 50
MAX_IDS: Final = 1_000
MAX_WORD: Final = 1_000

Q = TypeVar("Q", bound=Message)


# --- budgets -----------------------------------------------------------------------


def insight_stream(command: domain.DefineBudget, _: Context) -> Target:
    return Target("insight", command.model)


def priced(command: domain.DefineBudget, asked: Asked) -> domain.DefineBudget:
    """Add what the budget is worth and by which document it is judged."""
    if asked.read.get(inventory.models, command.model) is None:
        raise NotFound("model", command.model)
    _countable(command, asked)
    rules = budget_rules()
    return command.model_copy(
        update={
            "metric": command.metric or rules.says.metrics[command.kind],
            "worth": _worth(command, asked),
            "least_events": rules.says.budget.least_events,
            "document": rules.stamp,
        }
    )


def _countable(command: domain.DefineBudget, asked: Asked) -> None:
    """Raises Invalid for a budget of which no outcome could spend anything."""
    monitor = asked.read.get(monitoring.monitors, command.model)
    numbers = monitor is not None and monitor.outcome_kind == "number"
    of_outcomes = command.kind in {"degradation", "false_positive_rate"}
    if numbers and of_outcomes and command.band is None:
        raise Invalid.field(
            "band", "is compulsory: outcomes that are numbers are not good or bad"
        )


def _worth(command: domain.DefineBudget, asked: Asked) -> Money | None:
    """All of a budget is the limit's rate kept up for the whole period: its hours."""
    if command.slo is None:
        return None
    slo = asked.read.get(inventory.slos, f"{command.model}/{command.slo}")
    if slo is None:
        raise NotFound("SLO", f"{command.model}/{command.slo}")
    if slo.money_per_hour is None:
        return None
    span = period_of(asked.now, command.period, command.periods)
    minor = round(slo.money_per_hour.minor * span.hours)
    return Money(minor=minor, currency=slo.money_per_hour.currency)


def get_budget(request: pb.GetBudgetRequest, asked: Asked) -> pb.GetBudgetResponse:
    key = f"{request.model}/{request.budget}"
    row = asked.read.get(crossings.budgets, key)
    if row is None:
        raise NotFound("budget", key)
    spending = spending_of(asked.read, row, asked_time(request, asked))
    return pb.GetBudgetResponse(budget=_budget(spending))


def list_budgets(
    request: pb.ListBudgetsRequest, asked: Asked
) -> pb.ListBudgetsResponse:
    prefix = f"{request.model}/" if request.model else ""
    rows, token = page(asked.read, crossings.budgets, request.page, prefix)
    now = asked_time(request, asked)
    return pb.ListBudgetsResponse(
        budgets=[_budget(spending_of(asked.read, row, now)) for _, row in rows],
        next_token=token,
    )


def _budget(spending: Spending) -> pb.Budget:
    status = spending.status
    counted = total(spending.slots)
    said = fill(pb.Budget(), spending.row)
    fill(
        said,
        {
            "period_start": spending.span.start,
            "period_end": spending.span.end,
            "spent": status.spent,
            "spent_low": status.low,
            "confirmed": status.confirmed,
            "provisional": status.provisional,
            "elapsed": status.elapsed,
            "burn": status.burn,
            "firing": status.firing,
            "exhausted_at": spending.exhausted_at,
            "hard_stop": status.hard_stop,
            "unattended": _may(spending, attended=False, remedy=False),
            "attended": _may(spending, attended=True, remedy=False),
            "remedy": _may(spending, attended=False, remedy=True),
            "events": round(counted.n - counted.pending),
            "bad": sum(round(slot.bad) for slot in spending.slots),
            "pending": round(counted.pending),
            "evidence": spending.evidence[:CITED],
            "defined_by": spending.row.event,
            "document": spending.rules.stamp,
        },
    )
    return said


def _may(spending: Spending, *, attended: bool, remedy: bool) -> Permission:
    return spending.permission(attended=attended, remedy=remedy)


# --- health and scorecard ----------------------------------------------------------


def get_health(request: pb.GetHealthRequest, asked: Asked) -> pb.GetHealthResponse:
    if asked.read.get(inventory.models, request.model) is None:
        raise NotFound("model", request.model)
    now = asked_time(request, asked)
    health = health_of(asked.read, request.model, now)
    index = health.index
    said = pb.Health(model=request.model)
    fill(
        said,
        {
            "index": index.value,
            "colour": health.band,
            "worst": index.worst,
            "cause": index.cause,
            "evidence": index.evidence,
            "marks": index.marks,
            "measured_weight": index.measured_weight,
            "document": health.rules.stamp,
            "at": now,
        },
    )
    for part in index.components:
        fill(
            said.components.add(),
            {
                "name": part.name,
                "weight": part.weight,
                "score": part.score,
                "colour": part.colour.replace(" ", "_"),
                "cause": part.cause,
                "evidence": part.evidence,
                "marks": part.marks,
            },
        )
    return pb.GetHealthResponse(health=said)


def get_scorecard(
    request: pb.GetScorecardRequest, asked: Asked
) -> pb.GetScorecardResponse:
    now = asked_time(request, asked)
    if request.business_line:
        mine = [
            row
            for _, row in asked.read.scan(inventory.models)
            if row.business_line == request.business_line
        ]
        rows, token = page_of(mine, request.page)
    else:
        found, token = page(asked.read, inventory.models, request.page)
        rows = [row for _, row in found]
    return pb.GetScorecardResponse(
        lines=[
            fill(pb.ScorecardLine(), line) for line in scorecard(asked.read, now, rows)
        ],
        next_token=token,
        document=fill(pb.Document(), health_rules().stamp),
    )


# --- KPIs, delivery, remediation ---------------------------------------------------


def list_kpis(request: pb.ListKpisRequest, asked: Asked) -> pb.ListKpisResponse:
    since = _instant(request, "since")
    found = kpis(asked.read, asked_time(request, asked), since)
    rows, token = page_of(found, request.page)
    return pb.ListKpisResponse(
        kpis=[fill(pb.Kpi(), row) for row in rows],
        next_token=token,
        document=fill(pb.Document(), kpi_rules().stamp),
    )


def get_funnel(request: pb.GetFunnelRequest, asked: Asked) -> pb.GetFunnelResponse:
    prefix = f"{request.model}/" if request.model else ""
    found = funnel(asked.read, asked_time(request, asked), prefix)
    rows, token = page_of(found.deliveries, request.page)
    return pb.GetFunnelResponse(
        gates=[fill(pb.Gate(), gate) for gate in found.gates],
        blocking=[fill(pb.Blocking(), one) for one in found.blocking],
        deliveries=[fill(pb.Delivery(), row) for row in rows],
        next_token=token,
    )


def list_remediations(
    request: pb.ListRemediationsRequest, asked: Asked
) -> pb.ListRemediationsResponse:
    found = [
        one
        for one in remediations(asked.read, asked_time(request, asked))
        if request.model in {"", one.model} and request.owner in {"", one.owner}
    ]
    rows, token = page_of(found, request.page)
    return pb.ListRemediationsResponse(
        remediations=[fill(pb.Remediation(), row) for row in rows],
        next_token=token,
        document=fill(pb.Document(), queue_rules().stamp),
    )


# --- the board, crossings, events --------------------------------------------------


def get_board(request: pb.GetBoardRequest, asked: Asked) -> pb.GetBoardResponse:
    now = asked_time(request, asked)
    since = _instant(request, "since") or now - QUARTER
    if since > now:
        raise Invalid.field("since", "is later than the moment asked for")
    return fill(pb.GetBoardResponse(), board(asked.read, now, since))


def list_crossings(
    request: pb.ListCrossingsRequest, asked: Asked
) -> pb.ListCrossingsResponse:
    prefix = f"{request.model}/" if request.model else ""
    rows, token = page(asked.read, crossings.crossings, request.page, prefix)
    return pb.ListCrossingsResponse(
        crossings=[fill(pb.Crossing(event_id=row.event), row) for _, row in rows],
        next_token=token,
    )


def get_events(request: pb.GetEventsRequest, asked: Asked) -> pb.GetEventsResponse:
    """Unknown ids are left out: a figure's evidence is always known."""
    if not request.ids:
        raise Invalid.field("ids", "is empty")
    if len(request.ids) > MAX_IDS:
        raise Invalid.field("ids", f"are more than {MAX_IDS}")
    rows = (asked.read.get(evidence, id_) for id_ in request.ids)
    found = [fill(pb.EventSummary(), row) for row in rows if row is not None]
    if not found:
        raise NotFound("event", request.ids[0][:100])
    return pb.GetEventsResponse(events=found)


def _instant(
    request: pb.ListKpisRequest | pb.GetBoardRequest, field: str
) -> datetime | None:
    if not request.HasField("since"):
        return None
    try:
        return request.since.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid.field(field, "is not a time between years 1 and 9999") from None


WRITES = [
    write(
        "DefineBudget",
        domain.DefineBudget,
        domain.INSIGHT,
        insight_stream,
        BUDGETERS,
        prepare=priced,
    ),
]


def _bounded(
    answer: Callable[[Q, Asked], Message],
) -> Callable[[Q, Asked], Message]:
    """Refuse a request whose words are longer than any that are known."""

    def checked(request: Q, asked: Asked) -> Message:
        for field, value in request.ListFields():
            if isinstance(value, str) and len(value) > MAX_WORD:
                raise Invalid.field(field.name, f"is longer than {MAX_WORD} characters")
        return answer(request, asked)

    return checked


READS = [
    read("GetBudget", _bounded(get_budget), ROLES),
    read("ListBudgets", _bounded(list_budgets), ROLES),
    read("GetHealth", _bounded(get_health), ROLES),
    read("GetScorecard", _bounded(get_scorecard), ROLES),
    read("ListKpis", _bounded(list_kpis), ROLES),
    read("GetFunnel", _bounded(get_funnel), ROLES),
    read("ListRemediations", _bounded(list_remediations), ROLES),
    read("GetBoard", _bounded(get_board), ROLES),
    read("ListCrossings", _bounded(list_crossings), ROLES),
    read("GetEvents", _bounded(get_events), ROLES),
    read("List", _bounded(listing.list_rows), ROLES),
]
STREAMS = [stream("Watch", listing.watch, ROLES)]


def service(_: Host) -> Service:
    return Service(
        name="insight",
        descriptor=DESCRIPTOR,
        writes=WRITES,
        reads=READS,
        streams=STREAMS,
        views=VIEWS,
        reactors=REACTORS,
    )
