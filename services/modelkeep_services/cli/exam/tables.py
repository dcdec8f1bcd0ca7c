"""Which tables an exam pack holds, and how each is asked of its service.

Every row comes through the same calls a portal makes, as of one moment: what the pack
says is what the services answer, and most rows name the event that made them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Final, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from modelkeep.api.common.v1.common_pb2 import AsOf, Page
from modelkeep.errors import Corrupt
from modelkeep_services.cli.asking import Absent, Asking
from modelkeep_services.cli.exam.cells import Row, columns, row

PAGE: Final = 500
SERVICES: Final = ("inventory", "lineage", "policy", "monitoring", "debt", "insight")


class Table(NamedTuple):
    """`rows` is the field of the answer that holds them; `each` asks once a model."""

    name: str
    title: str
    service: str
    rpc: str
    rows: str
    each: bool = False


TABLES: Final = (
    Table(
        "models", "Models, with tier and drivers", "inventory", "ListModels", "models"
    ),
    Table("roles", "Who holds which role", "inventory", "ListRoles", "roles"),
    Table(
        "versions",
        "Versions, with artifacts, card and validation",
        "inventory",
        "ListVersions",
        "versions",
    ),
    Table(
        "deployments",
        "What served where",
        "inventory",
        "ListDeployments",
        "deployments",
    ),
    Table(
        "reviews", "Reviews, planned and done", "inventory", "ListReviews", "reviews"
    ),
    Table(
        "findings",
        "Findings and their closure",
        "inventory",
        "ListFindings",
        "findings",
    ),
    Table(
        "slas",
        "Service levels for explanations and audits",
        "inventory",
        "ListSlas",
        "slas",
    ),
    Table(
        "slos", "What a metric out of its band costs", "inventory", "ListSlos", "slos"
    ),
    Table(
        "recorded_kpis", "Business figures as recorded", "inventory", "ListKpis", "kpis"
    ),
    Table(
        "changes",
        "All that happened to each model",
        "inventory",
        "ListHistory",
        "facts",
        each=True,
    ),
    Table("nodes", "Data, features, code and runs", "lineage", "ListNodes", "nodes"),
    Table(
        "bundles",
        "Rules: proposed, approved, in force",
        "policy",
        "ListBundles",
        "bundles",
    ),
    Table(
        "verdicts",
        "What was asked of the rules, and the answer",
        "policy",
        "ListVerdicts",
        "verdicts",
    ),
    Table(
        "exceptions",
        "Dated departures from a rule",
        "policy",
        "ListExceptions",
        "exceptions",
    ),
    Table(
        "delegations",
        "Roles that were lent",
        "policy",
        "ListDelegations",
        "delegations",
    ),
    Table(
        "envelopes",
        "Changes approved in advance",
        "policy",
        "ListEnvelopes",
        "envelopes",
    ),
    Table(
        "monitors",
        "How each model is watched",
        "monitoring",
        "GetMonitor",
        "monitor",
        each=True,
    ),
    Table(
        "windows",
        "Closed windows and their figures",
        "monitoring",
        "ListWindows",
        "windows",
        each=True,
    ),
    Table("alerts", "Alerts", "monitoring", "ListAlerts", "alerts"),
    Table("incidents", "Incidents", "monitoring", "ListIncidents", "incidents"),
    Table(
        "autonomy",
        "How far each model may decide alone",
        "monitoring",
        "ListAutonomy",
        "autonomy",
    ),
    Table("liabilities", "Model debt", "debt", "ListLiabilities", "liabilities"),
    Table(
        "health",
        "Health index and its components",
        "insight",
        "GetHealth",
        "health",
        each=True,
    ),
    Table("budgets", "Risk budgets", "insight", "ListBudgets", "budgets"),
    Table(
        "kpis",
        "Figures of governance, with the events they count",
        "insight",
        "ListKpis",
        "kpis",
    ),
    Table(
        "crossings",
        "Health bands and budgets that were crossed",
        "insight",
        "ListCrossings",
        "crossings",
    ),
)


def method(table: Table) -> MethodDescriptor:
    module = import_module(f"modelkeep.api.{table.service}.v1.{table.service}_pb2")
    service = module.DESCRIPTOR.services_by_name[f"{table.service.title()}Service"]
    return cast("MethodDescriptor", service.methods_by_name[table.rpc])


def shape(table: Table) -> Descriptor:
    """The message that one row is."""
    found = method(table).output_type.fields_by_name[table.rows].message_type
    if found is None:
        raise Corrupt(f"{table.rpc} answers with no rows in {table.rows}")
    return found


def names(table: Table) -> tuple[str, ...]:
    return columns(shape(table))


def fetch(
    asking: Asking, table: Table, as_of: AsOf, models: list[str]
) -> Iterator[Row]:
    """Every row, a page at a time. Raises ModelkeepErrors."""
    for model in models if table.each else [""]:
        for message in _pages(asking, table, as_of, model):
            yield row(message)


def _pages(asking: Asking, table: Table, as_of: AsOf, model: str) -> Iterator[Message]:
    stub, said = _stub(asking, table), method(table).input_type
    about = {"as_of": as_of} | ({"model": model} if model else {})
    paged, token = "page" in said.fields_by_name, ""
    while True:
        page = {"page": Page(size=PAGE, token=token)} if paged else {}
        request = GetMessageClass(said)(**about, **page)
        try:
            answer = asking(getattr(stub, table.rpc), request)
        except Absent:
            return  # nothing of this kind is known of this model
        found = getattr(answer, table.rows)
        yield from [found] if isinstance(found, Message) else found
        token = answer.next_token if paged else ""
        if not token:
            return


def _stub(asking: Asking, table: Table) -> object:
    module = import_module(f"modelkeep.api.{table.service}.v1.{table.service}_pb2_grpc")
    return asking.there.stub(
        table.service, getattr(module, f"{table.service.title()}ServiceStub")
    )
