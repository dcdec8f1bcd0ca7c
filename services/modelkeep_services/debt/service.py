"""Debt's table: request to command, row to response."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.api.debt.v1 import debt_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Invalid, NotFound
from modelkeep.identity import FIRST_LINE, ROLES, SECOND_LINE
from modelkeep.paging import DEFAULT_SIZE, MAX_SIZE, page
from modelkeep.service import Asked, Host, Service, Target, asked_time, read, write
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.debt import domain, reactions, views
from modelkeep_services.debt.domain import LIABILITY
from modelkeep_services.debt.liability import Liability
from modelkeep_services.debt.rates import CARD, MICRO
from modelkeep_services.debt.statement import statement

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["DebtService"]
KEEPERS: Final = FIRST_LINE | SECOND_LINE
ACCEPTERS: Final = frozenset({"risk_officer"})

Named = (
    domain.Incur
    | domain.Reassess
    | domain.LinkIncident
    | domain.Cure
    | domain.Accept
    | domain.RecordDrag
)


# --- writes ------------------------------------------------------------------------


def debt_stream(command: Named, _: Context) -> Target:
    return Target("debt", command.liability)


def with_tier(command: domain.Incur, asked: Asked) -> domain.Incur:
    model = asked.read.get(views.models, command.model)
    if model is None:
        raise NotFound("model", command.model)
    return command.model_copy(update={"tier": model.charged_as})


# --- liabilities -------------------------------------------------------------------


def _shown(row: Liability, now: datetime) -> pb.Liability:
    shown = fill(pb.Liability(), row)
    shown.status = pb.Status.Value(f"STATUS_{row.status.upper()}")
    shown.carrying = row.carrying(now)
    shown.overdue = row.status == "open" and row.overdue(now)
    shown.unposted = row.unposted(now) if now > row.upto else 0
    shown.ratio = min(_ratio(row, now), 1e12)
    return shown


def _ratio(row: Liability, now: datetime) -> float:
    """Points a 30 days for an hour of cure; what costs nothing to cure comes first."""
    carrying = row.carrying(now) / MICRO
    minutes = CARD.cost_minutes(row.minutes, row.money)
    if not carrying:
        return 0.0
    return round(60 * carrying / minutes, 4) if minutes else float("inf")


def _posting(row: views.PostingRow) -> pb.Posting:
    return fill(pb.Posting(), row)


def get_liability(
    request: pb.GetLiabilityRequest, asked: Asked
) -> pb.GetLiabilityResponse:
    row = asked.read.get(views.liabilities, request.liability)
    if row is None:
        raise NotFound("liability", request.liability)
    keys = asked.read.scan(views.postings, f"{row.liability}/")
    found = [asked.read.get(views.journal, pointer.key) for _, pointer in keys]
    return pb.GetLiabilityResponse(
        liability=_shown(row, asked_time(request, asked)),
        postings=[_posting(one) for one in found if one is not None],
    )


def list_liabilities(
    request: pb.ListLiabilitiesRequest, asked: Asked
) -> pb.ListLiabilitiesResponse:
    now = asked_time(request, asked)
    status = pb.Status.Name(request.status or pb.STATUS_OPEN)
    rows = [
        row
        for row in _rows(asked.read, request.model)
        if f"STATUS_{row.status.upper()}" == status and _of_kind(row, request.kind)
    ]
    rows.sort(key=lambda row: (-_ratio(row, now), row.liability))
    some, token = _ranked(rows, request.page)
    return pb.ListLiabilitiesResponse(
        liabilities=[_shown(row, now) for row in some], next_token=token
    )


def _rows(read: Reader, model: str) -> list[Liability]:
    if not model:
        return [row for _, row in read.scan(views.liabilities)]
    found = [
        read.get(views.liabilities, pointer.key)
        for _, pointer in read.scan(views.of_model, f"{model}/")
    ]
    return [row for row in found if row is not None]


def _of_kind(row: Liability, kind: pb.DebtKind.ValueType) -> bool:
    return not kind or pb.DebtKind.Name(kind) == f"DEBT_KIND_{row.kind.upper()}"


def _ranked(rows: list[Liability], asked: Page) -> tuple[list[Liability], str]:
    """A page of what is ranked: the token says how many came before."""
    size = asked.size or DEFAULT_SIZE
    if size > MAX_SIZE:
        raise Invalid.field("page.size", f"is more than {MAX_SIZE}")
    try:
        start = int(urlsafe_b64decode(asked.token.encode())) if asked.token else 0
    except (Base64Error, ValueError):
        start = -1
    if start < 0:
        raise Invalid.field("page.token", "is not one this service gave")
    end = start + size
    token = urlsafe_b64encode(str(end).encode()).decode() if end < len(rows) else ""
    return rows[start:end], token


# --- the books ---------------------------------------------------------------------


def stated(request: pb.StatementRequest, asked: Asked) -> pb.StatementResponse:
    now = asked_time(request, asked)
    end = _moment(request, "end") or now
    start = _moment(request, "start")
    if start is not None and start >= end:
        raise Invalid.field("start", "is not before end")
    rows = {row.liability: row for row in _rows(asked.read, request.model)}
    lines = statement(
        (row for _, row in asked.read.scan(views.journal)),
        rows.values(),
        _groups(request, rows, asked.read),
        start,
        end,
    )
    return pb.StatementResponse(lines=[_line(line) for line in lines])


def _line(line: object) -> pb.Line:
    return fill(pb.Line(), line)


def _moment(request: pb.StatementRequest, name: str) -> datetime | None:
    if not request.HasField(name):  # type: ignore[arg-type]  # start or end
        return None
    stamp: Timestamp = getattr(request, name)
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid.field(name, "is not a time between years 1 and 9999") from None


def _groups(
    request: pb.StatementRequest, rows: dict[str, Liability], read: Reader
) -> Callable[[str], str | None]:
    """Name the group of a liability that is asked for, and None for the others."""
    lines = {key: row.business_line or "" for key, row in read.scan(views.models)}
    groups: dict[str, str] = {}
    for row in rows.values():
        line = lines.get(row.model, "")
        asked_for = not request.business_line or request.business_line == line
        if asked_for and _of_kind(row, request.kind):
            groups[row.liability] = {
                pb.GROUPING_MODEL: row.model,
                pb.GROUPING_BUSINESS_LINE: line,
                pb.GROUPING_KIND: row.kind,
            }.get(request.grouping, "")
    return groups.get


def journal(request: pb.JournalRequest, asked: Asked) -> pb.JournalResponse:
    rows, token = page(asked.read, views.journal, request.page)
    return pb.JournalResponse(
        postings=[_posting(row) for _, row in rows], next_token=token
    )


WRITES = [
    write("Incur", domain.Incur, LIABILITY, debt_stream, KEEPERS, prepare=with_tier),
    write("Reassess", domain.Reassess, LIABILITY, debt_stream, KEEPERS),
    write("LinkIncident", domain.LinkIncident, LIABILITY, debt_stream, KEEPERS),
    write("Cure", domain.Cure, LIABILITY, debt_stream, KEEPERS),
    write("Accept", domain.Accept, LIABILITY, debt_stream, ACCEPTERS),
    write("RecordDrag", domain.RecordDrag, LIABILITY, debt_stream, KEEPERS),
]
READS = [
    read("GetLiability", get_liability, ROLES),
    read("ListLiabilities", list_liabilities, ROLES),
    read("Statement", stated, ROLES),
    read("Journal", journal, ROLES),
]


VIEWS: Final = views.VIEWS


def service(_: Host) -> Service:
    return Service(
        name="debt",
        descriptor=DESCRIPTOR,
        writes=WRITES,
        reads=READS,
        views=VIEWS,
        reactors=[
            reactions.owed,
            reactions.ended,
            reactions.changed,
            reactions.charged,
        ],
    )
