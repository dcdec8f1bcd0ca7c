"""Monitoring's table: request to command, row to response, streams to their takers."""

from __future__ import annotations

from typing import Final, TypeVar

from modelkeep.api.common.v1.common_pb2 import RiskVector
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Invalid, NotFound
from modelkeep.identity import FIRST_LINE, MACHINES, ROLES, SECOND_LINE
from modelkeep.paging import page
from modelkeep.service import (
    Asked,
    Host,
    Personal,
    Service,
    Target,
    read,
    stream,
    write,
)
from modelkeep.wire import fill
from modelkeep_services.monitoring import (
    alarm_reactions,
    alarm_service,
    alarm_views,
    attention_reactions,
    attention_service,
    attention_views,
    commands,
    domain,
    findings_reactions,
    findings_views,
    naming,
    odcs,
    proof_views,
    sides,
    views,
)
from modelkeep_services.monitoring.asking import kept, require_model
from modelkeep_services.monitoring.attention_service import alert_message
from modelkeep_services.monitoring.baselines import BaselineTaker
from modelkeep_services.monitoring.book import Books
from modelkeep_services.monitoring.closing import Closer
from modelkeep_services.monitoring.columns import slug_of
from modelkeep_services.monitoring.compare import compare_sides
from modelkeep_services.monitoring.find import batch_message, find_decision
from modelkeep_services.monitoring.observe import Observer
from modelkeep_services.monitoring.outcomes import OutcomeTaker
from modelkeep_services.monitoring.proof_service import (
    CHOOSERS,
    prepare_proof,
    tell_proof,
)
from modelkeep_services.monitoring.reactions import money, reactor
from modelkeep_services.monitoring.skew import view_contract
from modelkeep_services.monitoring.snapshots import check_snapshot, digest_of
from modelkeep_services.monitoring.wire_values import instant

R = TypeVar("R")

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["MonitoringService"]
LOGGERS: Final = MACHINES | {"engineer"}
WATCHERS: Final = FIRST_LINE | SECOND_LINE


def monitor_stream(command: commands.MonitorCommand, _: Context) -> Target:
    return Target("monitor", command.model)


def read_contract(
    command: commands.RegisterContract, asked: Asked
) -> commands.RegisterContract:
    """Raises Invalid for a document that cannot be read."""
    require_model(asked.read, command.model)
    if (command.document is None) == (not command.columns):
        raise Invalid.field("columns", "state columns or a document: one of them")
    found: dict[str, object] = {
        "views": tuple(view_contract(asked.read, one) for one in command.feature_views)
    }
    if command.document is not None:
        found["read"] = odcs.read(command.document, command.schema_object)
    return command.model_copy(update=found)


def tell_contract(
    answer: pb.RegisterContractResponse, command: commands.RegisterContract, _: Asked
) -> None:
    if command.read is None:
        fill(answer, {"columns": command.columns})
    else:
        fill(answer, command.read)


# --- what is watched ---------------------------------------------------------------


def get_monitor(request: pb.GetMonitorRequest, asked: Asked) -> pb.GetMonitorResponse:
    model = require_model(asked.read, request.model)
    answer = pb.GetMonitorResponse()
    row = asked.read.get(views.monitors, model)
    if row is not None:
        fill(answer.monitor, row.event)
        if row.next_due_at is not None:
            answer.monitor.next_due_at.FromDatetime(row.next_due_at)
        alarm_service.tell_watches(answer, row.event, asked.read)
    contract = asked.read.get(views.contracts, model)
    if contract is not None:
        answer.contract = contract.event.contract
    tell_proof(answer, asked.read, model)
    tally = asked.read.get(views.tallies, model)
    return answer if tally is None else fill(answer, tally)


def get_baseline(
    request: pb.GetBaselineRequest, asked: Asked
) -> pb.GetBaselineResponse:
    model = require_model(asked.read, request.model)
    key = f"{model}/{slug_of('version', request.version)}"
    if request.baseline:
        key = f"{key}/{slug_of('baseline', request.baseline)}"
    row = asked.read.get(views.baselines, key)
    if row is None:
        raise NotFound("baseline", key)
    answer = fill(pb.GetBaselineResponse(), row.event)
    return fill(answer, {"registered_at": row.registered_at, "source": row.source})


# --- windows -----------------------------------------------------------------------


def get_window(request: pb.GetWindowRequest, asked: Asked) -> pb.GetWindowResponse:
    model = require_model(asked.read, request.model)
    start, end = instant("start", request, "start"), instant("end", request, "end")
    window = request.window
    if not window and start is not None and end is not None:
        version = slug_of("version", request.version)
        environment = slug_of("environment", request.environment, "prod")
        window = naming.window_id(version, environment, start, end)
    if not window:
        raise Invalid.field("window", "say its id, or its version, start and end")
    row = asked.read.get(views.windows, f"{model}/{slug_of('window', window)}")
    if row is None:
        raise NotFound("window", f"{model}/{window}")
    return pb.GetWindowResponse(window=fill(pb.Window(), row))


def list_windows(
    request: pb.ListWindowsRequest, asked: Asked
) -> pb.ListWindowsResponse:
    model = require_model(asked.read, request.model)
    version = slug_of("version", request.version) if request.version else ""
    rows, token = kept(
        asked.read,
        views.windows,
        request.page,
        f"{model}/",
        lambda row: version in {"", row.version},
    )
    return pb.ListWindowsResponse(
        windows=[fill(pb.Window(), row) for row in rows], next_token=token
    )


def get_profile(request: pb.GetProfileRequest, asked: Asked) -> pb.GetProfileResponse:
    model = require_model(asked.read, request.model)
    window = slug_of("window", request.window)
    row = asked.read.get(views.profiles, f"{model}/{window}")
    if row is None:
        raise NotFound("window", f"{model}/{window}")
    return fill(pb.GetProfileResponse(), row)


def list_batches(
    request: pb.ListBatchesRequest, asked: Asked
) -> pb.ListBatchesResponse:
    model = require_model(asked.read, request.model)
    rows, token = page(asked.read, views.batches, request.page, f"{model}/")
    return pb.ListBatchesResponse(
        batches=[batch_message(row) for _, row in rows], next_token=token
    )


def list_snapshots(
    request: pb.ListSnapshotsRequest, asked: Asked
) -> pb.ListSnapshotsResponse:
    prefix = f"{require_model(asked.read, request.model)}/"
    if request.digest:
        prefix += f"{digest_of('digest', request.digest)}/"
    rows, token = page(asked.read, views.snapshots, request.page, prefix)
    return pb.ListSnapshotsResponse(
        snapshots=[fill(pb.Snapshot(), row) for _, row in rows], next_token=token
    )


# --- alerts -------------------------------------------------------------


def list_alerts(request: pb.ListAlertsRequest, asked: Asked) -> pb.ListAlertsResponse:
    prefix = f"{require_model(asked.read, request.model)}/" if request.model else ""
    vector = RiskVector.Name(request.vector).removeprefix("RISK_VECTOR_").lower()

    def keep(row: views.AlertRow) -> bool:
        wanted = not request.open_only or row.status != "resolved"
        return wanted and vector in {"unspecified", row.vector}

    rows, token = kept(asked.read, views.alerts, request.page, prefix, keep)
    return pb.ListAlertsResponse(
        alerts=[alert_message(row, asked.read) for row in rows], next_token=token
    )


# --- the table ---------------------------------------------------------------------

READS = [
    read("GetMonitor", get_monitor, ROLES),
    read("GetBaseline", get_baseline, ROLES),
    read("GetWindow", get_window, ROLES),
    read("ListWindows", list_windows, ROLES),
    read("GetProfile", get_profile, ROLES),
    read("Compare", compare_sides, ROLES),
    read("ListBatches", list_batches, ROLES),
    read("ListSnapshots", list_snapshots, ROLES),
    read("FindDecision", find_decision, ROLES),
    read("ListAlerts", list_alerts, ROLES),
    *attention_service.READS,
    *alarm_service.READS,
]


VIEWS: Final = (
    *views.VIEWS,
    sides.layouts,
    *proof_views.VIEWS,
    *attention_views.VIEWS,
    *alarm_views.VIEWS,
    *findings_views.VIEWS,
)


def service(host: Host) -> Service:
    books = Books(host.store, host.home.decisions)
    closer = Closer(books)
    watched = (domain.MONITOR, monitor_stream)
    return Service(
        name="monitoring",
        descriptor=DESCRIPTOR,
        writes=[
            write(
                "RegisterContract",
                commands.RegisterContract,
                *watched,
                WATCHERS,
                prepare=read_contract,
                respond=tell_contract,
            ),
            write(
                "ConfigureMonitor",
                commands.ConfigureMonitor,
                *watched,
                WATCHERS,
                prepare=closer.prepare_monitor,
            ),
            write(
                "ChooseProof",
                commands.ChooseProof,
                *watched,
                CHOOSERS,
                prepare=prepare_proof,
            ),
            write(
                "CloseWindow",
                commands.CloseWindow,
                *watched,
                LOGGERS | {"operator"},
                prepare=closer.prepare,
            ),
            write(
                "CountSlot",
                commands.CountSlot,
                *watched,
                LOGGERS | {"operator"},
                prepare=closer.prepare_slot,
            ),
            write(
                "RecordDisposition",
                commands.RecordDisposition,
                *watched,
                WATCHERS,
                sealed={"comment": Personal("decision", "disposition")},
                prepare=closer.prepare_disposition,
            ),
            write("AcknowledgeAlert", commands.AcknowledgeAlert, *watched, WATCHERS),
            write("ResolveAlert", commands.ResolveAlert, *watched, WATCHERS),
            *attention_service.WRITES,
        ],
        reads=READS,
        streams=[
            stream(
                "RegisterBaseline",
                BaselineTaker(books).take,
                FIRST_LINE | {"validator"},
            ),
            stream("CheckSnapshot", check_snapshot, LOGGERS | WATCHERS),
            stream("Observe", Observer(books).observe, LOGGERS),
            stream("RecordOutcomes", OutcomeTaker(books).take, LOGGERS),
        ],
        views=VIEWS,
        reactors=[
            reactor(books, closer),
            money,
            *attention_reactions.REACTORS,
            *alarm_reactions.REACTORS,
            *findings_reactions.REACTORS,
        ],
    )
