"""Good requests of insight, from which bad ones are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.bad_inputs.cases import INVALID, Bad, Good
from tests.integration.conftest import Served

from modelkeep.api.common.v1.common_pb2 import AsOf, Page
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.events.base import Event
from modelkeep.events.inventory import ModelRegistered
from modelkeep.ledger import Order, stream_name

SERVICE: Final = "insight"
NEEDS: Final = ("insight",)
DESCRIPTOR: Final = pb.DESCRIPTOR.services_by_name["InsightService"]
MODEL: Final = "flights"
READER: Final = ("auditor",)
OWNER: Final = ("owner",)
EVENT_ID: Final = "00000000-0000-0000-0000-00000000beef"


def say(served: Served, stream: str, command_id: str, *events: Event) -> str:
    """Append what another service would have said; return the last event's id."""
    silent = decider(None, lambda _, __, ___: list(events), lambda _, __: None)
    now = served.node.host.clock.now()
    context = Context(
        Actor("tests", "someone", frozenset(), "main"), now, now, command_id
    )
    category, _, key = stream.partition(" ")
    name = stream_name(category, "main", key)
    served.node.ledger.execute(Order(name, silent, Command(), context, command_id))
    served.settle()
    (last,) = served.store.read_stream(name, backwards=True, limit=1)
    return str(last.uuid)


def registered(model: str = MODEL) -> ModelRegistered:
    return ModelRegistered(
        model=model,
        title="Late flights",
        kind="trained",
        purpose="Says whether a flight will be late",
        owner="olga",
        owner_issuer="tests",
        business_line="travel",
    )


def define() -> pb.DefineBudgetRequest:
    return pb.DefineBudgetRequest(
        model=MODEL,
        budget="errors",
        kind=pb.BUDGET_KIND_DEGRADATION,
        metric="errors",
        p0=0.25,
        p1=0.35,
        expected_events=25_000,
        period=pb.PERIOD_MONTH,
        periods=1,
        reason="agreed",
    )


def prepare(served: Served) -> None:
    event = say(served, f"model {MODEL}", EVENT_ID, registered())
    stub = served.channel.unary_unary(
        f"/{DESCRIPTOR.full_name}/DefineBudget",
        pb.DefineBudgetRequest.SerializeToString,
        pb.DefineBudgetResponse.FromString,
    )
    served.call(stub, define(), *OWNER)
    for good in GOOD:
        if good.rpc == "GetEvents":
            good.request.ids[:] = [event]  # type: ignore[attr-defined]  # that RPC's


NO_KEY, NO_PLACE = "_w==", "LTE="
"""Tokens that decode to what no page ever gave."""
PAST: Final = Timestamp(seconds=1_700_000_000)

GOOD: Sequence[Good] = (
    Good(
        "DefineBudget",
        define(),
        OWNER,
        about="model",
        required=("model", "budget", "kind", "p0", "p1", "expected_events", "period"),
    ),
    Good(
        "GetBudget", pb.GetBudgetRequest(model=MODEL, budget="errors"), READER, "model"
    ),
    Good("ListBudgets", pb.ListBudgetsRequest(model=MODEL), READER),
    Good("GetHealth", pb.GetHealthRequest(model=MODEL), READER, "model"),
    Good("GetScorecard", pb.GetScorecardRequest(business_line="travel"), READER),
    Good("ListKpis", pb.ListKpisRequest(since=PAST), READER),
    Good("GetFunnel", pb.GetFunnelRequest(model=MODEL), READER),
    Good("ListRemediations", pb.ListRemediationsRequest(model=MODEL), READER),
    Good("GetBoard", pb.GetBoardRequest(since=PAST), READER),
    Good("ListCrossings", pb.ListCrossingsRequest(model=MODEL), READER),
    Good("GetEvents", pb.GetEventsRequest(), READER),
    Good("List", pb.ListRequest(view="models"), READER, required=("view",)),
    Good("Watch", pb.WatchRequest(view="models"), READER, required=("view",)),
)


def _bad(rpc: str, what: str, request: object, field: str, *roles: str) -> Bad:
    return Bad(rpc, what, request, roles or READER, INVALID, field)  # type: ignore[arg-type]  # a request


def _wrong(**changed: object) -> pb.DefineBudgetRequest:
    request = define()
    for name, value in changed.items():
        setattr(request, name, value)
    return request


def _no_band() -> pb.DefineBudgetRequest:
    request = _wrong(kind=pb.BUDGET_KIND_AUC, metric="auc")
    request.ClearField("band")
    return request


MORE: Sequence[Bad] = (
    _bad("DefineBudget", "p1 below p0", _wrong(p1=0.2), "p1", *OWNER),
    _bad("DefineBudget", "p0 negative", _wrong(p0=-0.2), "p0", *OWNER),
    _bad(
        "DefineBudget",
        "nothing expected",
        _wrong(expected_events=0),
        "expected_events",
        *OWNER,
    ),
    _bad("DefineBudget", "an AUC without a band", _no_band(), "band", *OWNER),
    _bad("DefineBudget", "a name that is none", _wrong(budget="A b"), "budget", *OWNER),
    _bad("GetEvents", "no ids", pb.GetEventsRequest(), "ids"),
    _bad("GetEvents", "too many", pb.GetEventsRequest(ids=["x"] * 1_001), "ids"),
    _bad("GetEvents", "too long", pb.GetEventsRequest(ids=["x" * 5_000]), "ids"),
    _bad("List", "unknown view", pb.ListRequest(view="secrets"), "view"),
    _bad("Watch", "unknown view", pb.WatchRequest(view="secrets"), "view"),
    _bad(
        "Watch",
        "negative",
        pb.WatchRequest(view="models", from_position=-5),
        "from_position",
    ),
    _bad(
        "List",
        "too many rows",
        pb.ListRequest(view="models", page=Page(size=5_000)),
        "size",
    ),
    _bad(
        "List",
        "a strange token",
        pb.ListRequest(view="models", page=Page(token=NO_KEY)),
        "token",
    ),
    _bad(
        "ListKpis",
        "a strange token",
        pb.ListKpisRequest(page=Page(token=NO_PLACE)),
        "token",
    ),
    _bad(
        "GetHealth",
        "before any position",
        pb.GetHealthRequest(model=MODEL, as_of=AsOf(position=-1)),
        "position",
    ),
    _bad(
        "GetBoard",
        "since tomorrow",
        pb.GetBoardRequest(since=Timestamp(seconds=32_503_680_000)),
        "since",
    ),
)
